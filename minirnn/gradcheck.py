"""Is this gradient right? A check of anybody's hand-written backward pass, which says what is wrong.

A gradient of n entries need not cost n evaluations. Along one random direction v the slope of f is
``(gradient * v).sum()``: a few evaluations for a whole parameter, and a wrong gradient has no reason to be wrong only
across v. That is the check, :func:`check_direction`. When it fails, the single entries are asked which are wrong.

The truth comes from :mod:`minirnn.derivatives`: the complex step, or central differences where complex numbers do not
pass. Who is accused, and of what, is weighed in :mod:`minirnn.evidence`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minirnn import derivatives, evidence
from minirnn.checks import Array, Params, Rng
from minirnn.derivatives import LossFunction, complex_step_gradient, copied, numerical_gradient
from minirnn.evidence import Finding, Truth, compare_entries, distrust_of_complex_step, explain, largest, misfit
from minirnn.plots import plot_error_vs_eps

__all__ = ["Finding", "GradientReport", "assert_gradients", "check_gradients", "check_layer"]
__all__ += ["complex_step_gradient", "numerical_gradient", "plot_error_vs_eps"]
Gradients = Params | Callable[[Params], Params]


# --- the check --------------------------------------------------------------------------------------


def check_direction(truth: Truth, name: str, g: Any, v: Array) -> Finding:
    """The check itself: along v, the slope of the loss must be ``(g * v).sum()``."""
    if getattr(g, "dtype", None) == np.float32 and truth.witness(name, v).coarse:
        g = g.astype(np.float64)  # the loss has no more digits
    if fault := misfit(g, truth.params[name]):
        return Finding(name, "WRONG", fault)
    if np.isfinite(g).all():
        error = float(abs((g * v).sum() - truth.slope(name, v)) / max(largest(g), truth.floor))
        if error <= truth.tolerance:
            return Finding(name, "ok", f"relative error {error:.1e} along a random direction", error)
    return compare_entries(truth, name, g, v)


def check_gradients(
    loss_fn: LossFunction, params: Params, grads: Gradients, tolerance: float = 1e-10, rng: Rng = 0
) -> "GradientReport":
    """Hold hand-written gradients against numerical ones.

    Parameters
    ----------
    loss_fn : function
        Takes a dict like ``params`` and returns the scalar whose gradients are claimed.
    params : dict of float64 arrays
        Any arrays the function depends on: weights, but an input or a state just as well. They are not changed.
    grads : dict of arrays, or function
        The claimed gradient of each. A function that computes them from ``params`` is asked at a second point too, and
        the report says if a gradient is wrong by a sign, a factor or a transposition at both.
    tolerance : float
        Largest error that passes, relative to the parameter's largest gradient entry. By central differences, which are
        used where complex numbers do not pass, it is at least 1e-6.
    rng : Generator or int
        Draws one direction for each parameter, and the second point.

    Raises
    ------
    ValueError
        If a parameter is not float64, names do not fit, the loss is no finite scalar, or is not the same twice.
    """
    given = claimed(loss_fn, params, grads)
    rng = np.random.default_rng(rng)
    directions = {name: rng.choice([-1, 1], p.shape) * rng.uniform(0.5, 1.5, p.shape) for name, p in params.items()}
    second = {name: p + rng.normal(0, 0.1, p.shape) for name, p in params.items()}
    floor = 1e-5 * max((largest(g) for name, g in given.items() if not misfit(g, params[name])), default=0) + 1e-300
    reason = distrust_of_complex_step(loss_fn, params, directions)
    truth = Truth(loss_fn, params, bool(reason), max(tolerance, 1e-6) if reason else tolerance, floor)
    findings = [check_direction(truth, name, given[name], v) for name, v in directions.items()]
    if callable(grads):
        findings = [explain(finding, grads, truth, replace(truth, params=second)) for finding in findings]
    return GradientReport(tuple(findings), f"central differences, because {reason}" if reason else "the complex step")


def assert_gradients(
    loss_fn: LossFunction, params: Params, grads: Gradients, tolerance: float = 1e-10, rng: Rng = 0
) -> None:
    """:func:`check_gradients` for a test: AssertionError with the whole report unless everything is right."""
    report = check_gradients(loss_fn, params, grads, tolerance, rng)
    if not report.ok:
        raise AssertionError(f"\n{report}")


@dataclass(frozen=True)
class GradientReport:
    """The result of a check, a finding per line: print it, ask whether it is ``ok``, or take ``report["Whh"]``."""

    findings: tuple[Finding, ...]
    method: str  # which numerical derivative was used and, if it was not the complex step, why

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        return {finding.name: finding for finding in self.findings}[name]

    def __str__(self) -> str:
        right = [finding.name for finding in self.findings if finding.ok]
        return "\n".join([*map(str, self.findings), f"{len(right)} of {len(self.findings)} pass, by {self.method}"])


def check_layer(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Params, tolerance: float = 1e-10, rng: Rng = 0
) -> GradientReport:
    """Check one layer: ``out, cache = forward(*inputs)``, and ``backward(dout, cache)`` the gradients of the inputs.

    The upstream gradient ``dout`` is drawn at random, and the loss is ``(out * dout).sum()``. What is no derivative is
    checked as well: neither function changes what it was given, backward answers the same twice, and it is linear in
    ``dout`` over four orders of magnitude (clipping, for one, is not).

    Parameters
    ----------
    forward : function
        Takes the arrays of ``inputs`` in their order; returns an array, or a tuple of arrays, and a cache.
    backward : function
        Takes ``dout``, an array or a tuple like ``out``, and the cache; returns a dict with the names of ``inputs``, or
        the gradients in their order. A backward that wants its arguments differently is wrapped in a lambda.
    inputs, tolerance, rng
        As the ``params``, ``tolerance`` and ``rng`` of :func:`check_gradients`, which also says what is raised.
    """
    derivatives.check_float64(inputs)
    rng = np.random.default_rng(rng)
    fresh = copied(inputs)
    answer = forward(*fresh.values())
    forward_is_pure = same(fresh, inputs)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise ValueError(f"forward must return its output and a cache, (out, cache), got {type(answer).__name__}")
    out, cache = answer
    several = isinstance(out, tuple)
    a, b = (tuple(rng.standard_normal(np.shape(o)) for o in (out if several else (out,))) for _ in range(2))

    def ask(dout: tuple[Array, ...], cache: Any) -> Params:
        answer = backward(dout if several else dout[0], cache)
        answer = (answer,) if isinstance(answer, np.ndarray | np.generic) else answer
        if isinstance(answer, tuple | list) and len(answer) == len(inputs):
            return dict(zip(inputs, answer, strict=True))
        if not isinstance(answer, dict):
            got = f"{len(answer)} of them" if isinstance(answer, tuple | list) else type(answer).__name__
            raise ValueError(f"backward must return the gradients of {', '.join(inputs)}, got {got}")
        return answer

    def loss(p: Params) -> Any:
        out, _ = forward(*p.values())
        return sum((o * da).sum() for o, da in zip(out if several else (out,), a, strict=True))

    report = check_gradients(loss, inputs, lambda p: ask(leaves(a), forward(*p.values())[1]), tolerance, rng)
    dout, before = leaves(a), leaves(cache)
    first = leaves(ask(dout, cache))
    facts = [
        ("pure forward", forward_is_pure, "forward changes its inputs in place: copy first"),
        ("pure upstream", same(dout, a), "backward changes an upstream gradient in place: copy it first"),
        ("pure cache", same(cache, before), "backward changes the cache in place: copy first"),
        ("repeatable", same(ask(leaves(a), cache), first), "asked twice, backward gives two answers"),
    ]
    zero, one, large = (
        ask(tuple(np.array(c * d) for d in b), forward(*copied(inputs).values())[1]) for c in (0, 1, 1e4)
    )
    fit = [
        n for n, p in inputs.items() if all(not misfit(g.get(n), p) and np.isfinite(g[n]).all() for g in (one, large))
    ]
    if fit:
        answers = [{n: g[n] for n in fit} for g in (zero, one, large)]
        facts.append(("linear", *evidence.linearity(answers, facts[-1][1])))
    extra = (Finding(name, "ok", "") if ok else Finding(name, "WRONG", bad) for name, ok, bad in facts)
    return GradientReport((*report.findings, *extra), report.method)


# --- who is accused, and of what ----------------------------------------------------------------------


def claimed(loss_fn: LossFunction, params: Params, grads: Gradients) -> Params:
    """The claimed gradients; ValueError if they, the parameters or the loss are nothing that can be checked."""
    derivatives.check_float64(params)
    derivatives.check_loss(loss_fn, params)
    given = grads(copied(params)) if callable(grads) else grads
    if not isinstance(given, dict):
        raise ValueError(f"grads must be a dict of arrays, or a function that returns one, got {type(given).__name__}")
    if differ := sorted(params.keys() ^ given.keys()):
        raise ValueError(f"params and grads must have the same names, these differ: {differ}")
    return given


def arrays_of(tree: Any) -> list[Array]:
    """The arrays themselves in nested tuples, lists and dicts, in order."""
    branches = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    return [tree] if isinstance(tree, np.ndarray) else [array for branch in branches for array in arrays_of(branch)]


def leaves(tree: Any) -> tuple[Array, ...]:
    """Copies of them."""
    return tuple(array.copy() for array in arrays_of(tree))


def same(tree: Any, other: Any) -> bool:
    """Whether two trees hold the same arrays, bit for bit."""
    a, b = arrays_of(tree), arrays_of(other)
    return len(a) == len(b) and all(np.array_equal(p, q, equal_nan=True) for p, q in zip(a, b, strict=True))
