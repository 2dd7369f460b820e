"""Is this gradient right? A check of anybody's hand-written backward pass, which says what is wrong.

A gradient of n entries need not cost n evaluations. Along one random direction v the slope of f is
``(gradient * v).sum()``: a few evaluations for a whole parameter, and a wrong gradient has no reason to be wrong only
across v. That is the check, :func:`check_direction`; all the rest of this file is about what to say when it fails.
The single entries are asked then, to say which are wrong.

The truth comes from :mod:`minirnn.derivatives`: the complex step, or central differences where complex numbers do not
pass. A function that takes ``.real`` somewhere loses its complex derivative without a word, so the two are compared
before the complex step is believed; and since at a kink they contradict each other, and in float32 neither is exact,
nobody is accused there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minirnn import derivatives
from minirnn.checks import Array, Params, Rng
from minirnn.derivatives import LossFunction, complex_step_gradient, copied, numerical_gradient, unit
from minirnn.plots import plot_error_vs_eps

__all__ = ["Finding", "GradientReport", "assert_gradients", "check_gradients", "check_layer"]
__all__ += ["complex_step_gradient", "numerical_gradient", "plot_error_vs_eps"]

Gradients = Params | Callable[[Params], Params]
ENTRIES = 1000  # of a larger parameter only a sample of the entries is looked at
PRECISION = "it is right to six digits or so: something is computed in float32, or by a numerical derivative"


# --- the check --------------------------------------------------------------------------------------


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
    sizes = [
        float(np.abs(g[np.isfinite(g)]).max(initial=0)) for name, g in given.items() if not misfit(g, params[name])
    ]
    floor = 1e-5 * max(sizes, default=0) + 1e-300
    reason = derivatives.distrust_of_complex_step(loss_fn, params, directions)
    truth = Truth(loss_fn, params, bool(reason), max(tolerance, 1e-6) if reason else tolerance, floor)
    findings = [check_direction(truth, name, given[name], v) for name, v in directions.items()]
    if callable(grads):
        findings = [explain(finding, grads, truth, replace(truth, params=second)) for finding in findings]
    return GradientReport(tuple(findings), f"central differences, because {reason}" if reason else "the complex step")


def check_direction(truth: "Truth", name: str, g: Any, v: Array) -> "Finding":
    """The check itself: along v, the slope of the loss must be ``(g * v).sum()``."""
    if getattr(g, "dtype", None) == np.float32 and truth.witness(name, v).coarse:
        g = g.astype(np.float64)  # the loss is no better
    if fault := misfit(g, truth.params[name]):
        return Finding(name, "WRONG", fault)
    if np.isfinite(g).all():
        error = float(abs((g * v).sum() - truth.slope(name, v)) / max(np.abs(g).max(initial=0), truth.floor))
        if error <= truth.tolerance:
            return Finding(name, "ok", f"relative error {error:.1e} along a random direction", error)
    return compare_entries(truth, name, g, v)


@dataclass(frozen=True)
class Truth:
    """The slopes of a loss at one point, and how closely a gradient has to agree."""

    loss_fn: LossFunction
    params: Params
    central: bool  # by central differences, not by the complex step
    tolerance: float
    floor: float  # a gradient that should be zero is rounding, 1e-16 of the others: measured against this, not itself

    def slope(self, name: str, v: Array) -> float:
        if self.central:
            return derivatives.central_slope(self.loss_fn, self.params, name, v).slope
        return derivatives.complex_slope(self.loss_fn, self.params, name, v)

    def witness(self, name: str, v: Array) -> derivatives.Central:
        """A second opinion, which knows its own limits."""
        return derivatives.central_slope(self.loss_fn, self.params, name, v, measure_noise=True)


def assert_gradients(
    loss_fn: LossFunction, params: Params, grads: Gradients, tolerance: float = 1e-10, rng: Rng = 0
) -> None:
    """:func:`check_gradients` for a test: AssertionError with the whole report unless everything is right."""
    report = check_gradients(loss_fn, params, grads, tolerance, rng)
    if not report.ok:
        raise AssertionError(f"\n{report}")


# --- reports ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One line of a report: a parameter's gradient or another property, and what was found.

    The error of a parameter that passes is the difference of the two slopes along the random direction, relative to its
    largest gradient entry. Where the single entries were looked at, it is their largest difference, relative to the
    largest entry of either gradient.
    """

    name: str
    verdict: str  # "ok", "WRONG", or "inconclusive": where nobody can tell, nobody is wrong
    sentence: str
    error: float = np.nan
    index: tuple[int, ...] | None = None  # the worst entry, where single entries were looked at
    given: float = np.nan  # the gradient that was to be checked, there
    expected: float = np.nan  # the numerical one, there
    wrong: int = 0  # how many of the entries looked at differ

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"

    def __str__(self) -> str:
        return f"{self.verdict:12} {self.name:13} {self.sentence}".rstrip()


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


# --- a layer ----------------------------------------------------------------------------------------


def check_layer(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    inputs: Params,
    tolerance: float = 1e-10,
    rng: Rng = 0,
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
    inputs : dict of float64 arrays
    tolerance, rng
        As in :func:`check_gradients`, which also says what is raised.
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
        return by_name(backward(dout if several else dout[0], cache), inputs)

    def ask_afresh(dout: tuple[Array, ...], p: Params) -> Params:
        return ask(leaves(dout), forward(*copied(p).values())[1])

    def loss(p: Params) -> Any:
        out, _ = forward(*p.values())
        return sum((o * da).sum() for o, da in zip(out if several else (out,), a, strict=True))

    report = check_gradients(loss, inputs, lambda p: ask_afresh(a, p), tolerance, rng)
    dout, before = leaves(a), leaves(cache)
    first = leaves(ask(dout, cache))
    facts = [
        ("pure forward", forward_is_pure, "forward changes its inputs in place: copy first"),
        ("pure upstream", same(dout, a), "backward changes an upstream gradient in place: copy it first"),
        ("pure cache", same(cache, before), "backward changes the cache in place: copy first"),
        ("repeatable", same(ask(leaves(a), cache), first), "asked twice, backward gives two answers"),
    ]
    once, scaled = (ask_afresh(tuple(np.array(c * db) for db in b), inputs) for c in (1.0, 1e4))
    fit = [
        n for n in inputs if all(not misfit(g.get(n), inputs[n]) and np.isfinite(g[n]).all() for g in (once, scaled))
    ]
    sizes = {n: float(np.abs(scaled[n]).max(initial=0)) for n in fit}
    if sizes:  # what float32 rounds is none of this: the gradients themselves are held to more digits above
        slack = {n: 1e-5 * size + 1e-6 * max(sizes.values()) for n, size in sizes.items()}
        linear = all((np.abs(scaled[n] - 1e4 * once[n]) <= slack[n]).all() for n in sizes)
        facts.append(("linear", linear, "backward(1e4 dout) is not 1e4 backward(dout): is something clipped?"))
    extra = (Finding(name, "ok", "") if ok else Finding(name, "WRONG", bad) for name, ok, bad in facts)
    return GradientReport((*report.findings, *extra), report.method)


def by_name(answer: Any, inputs: Params) -> Params:
    """The gradients that a backward pass returned, as a dict with the names of the inputs."""
    if isinstance(answer, dict):
        return answer
    answer = (answer,) if isinstance(answer, np.ndarray | np.generic) else answer
    if not isinstance(answer, tuple | list) or len(answer) != len(inputs):
        got = f"{len(answer)} of them" if isinstance(answer, tuple | list) else type(answer).__name__
        raise ValueError(f"backward must return the gradients of {', '.join(inputs)}, got {got}")
    return dict(zip(inputs, answer, strict=True))


# --- who is accused, and of what ----------------------------------------------------------------------


def compare_entries(truth: Truth, name: str, g: Array, v: Array) -> Finding:
    """Find the entries of a gradient that make it wrong along v, and describe the worst."""
    indices = list(np.ndindex(g.shape))
    if g.size > ENTRIES:
        sample = np.random.default_rng(0).choice(g.size, 100, replace=False)
        indices = [indices[i] for i in sorted({bisect(truth, name, g, v), *sample.tolist()})]
    expected = {i: truth.slope(name, unit(g.shape, i)) for i in indices}
    difference = {i: float(np.nan_to_num(abs(g[i] - e), nan=np.inf)) for i, e in expected.items()}
    scale = max(float(np.abs(g[np.isfinite(g)]).max(initial=0)), *map(abs, expected.values()), truth.floor)
    suspects = sorted((i for i in indices if difference[i] > truth.tolerance * scale), key=lambda i: -difference[i])
    excuses: dict[tuple[int, ...], str] = {}
    for i in suspects[:100]:
        witness = truth.witness(name, unit(g.shape, i))
        if excuse := excuse_for(witness, float(g[i]), expected[i], scale, truth.central):
            excuses[i] = excuse
            continue
        count = len(suspects) - len(excuses)
        looked_at = f"{len(indices)} entries{' looked at' if g.size > ENTRIES else ''}"
        values = f"given {g[i]:.9g}, expected {expected[i]:.9g}"
        sentence = f"{count} of {looked_at} differ, worst at {name}{list(i)}: {values}"
        return Finding(name, "WRONG", sentence, difference[i] / scale, i, float(g[i]), expected[i], count)
    if excuses:
        i, why = next(iter(excuses.items()))
        sentence = f"{len(suspects)} of {len(indices)} entries cannot be judged, {name}{list(i)} for one: {why}"
        return Finding(name, "inconclusive", sentence, difference[i] / scale, i, float(g[i]), expected[i])
    error = max(difference.values()) / scale
    return Finding(name, "ok", f"relative error {error:.1e}, entry by entry", error)


def excuse_for(witness: derivatives.Central, given: float, expected: float, scale: float, central: bool) -> str:
    """Why an entry that differs is not accused, or "": one witness is not enough where another speaks for it."""
    off = abs(given - witness.slope)
    if witness.jump > 1e-4 * scale and off <= 2 * witness.jump:
        return "it lies at a kink, where there is no derivative: take another point"
    if witness.coarse and off <= 2 * witness.doubt:
        return "the loss itself has too few digits: is something in it computed in float32, or do large numbers cancel?"
    if central and off <= 2 * witness.doubt:
        return "rounding is too large to tell: take a smaller loss, or let complex numbers pass"
    if not central and abs(given - expected) < 1e-6 * scale and off <= 2 * witness.doubt + 1e-9 * scale:
        return f"{PRECISION}, or a small part of the loss loses the imaginary part"
    return ""


def bisect(truth: Truth, name: str, g: Array, v: Array) -> int:
    """Find one wrong entry among very many: always keep the half along which the slopes differ more."""

    def differ(i: int, j: int) -> float:
        part = np.zeros_like(v)
        part.reshape(-1)[i:j] = v.reshape(-1)[i:j]
        return float(np.nan_to_num(abs((g * part).sum() - truth.slope(name, part)), nan=np.inf))

    low, high = 0, g.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if differ(low, middle) > differ(middle, high) else (middle, high)
    return low


def explain(finding: Finding, grads: Callable[[Params], Params], *points: Truth) -> Finding:
    """Name the mistake if the wrong gradient is, at both points alike, a simple function of the true one."""
    name = finding.name
    if finding.verdict != "WRONG" or finding.index is None or points[0].params[name].size > ENTRIES:
        return finding
    given = [grads(copied(truth.params))[name] for truth in points]
    true = [derivatives.entry_by_entry(truth.slope, {name: truth.params[name]})[name] for truth in points]
    factor = float((given[0] * true[0]).sum() / ((true[0] ** 2).sum() or np.nan))
    relations: dict[str, Callable[[Array], Array]] = {
        "it is zero everywhere: nothing was added to it": lambda e: 0 * e,
        PRECISION: lambda e: e,
        "it has the wrong sign": lambda e: -e,
        "it is the transpose of the true gradient": lambda e: e.T,
        f"it is {factor:.6g} times the true gradient": lambda e: factor * e,
    }

    def alike(g: Array, e: Array) -> bool:
        return g.shape == e.shape and bool((np.abs(g - e) <= 1e-5 * np.abs(e).max()).all())

    fitting = [words for words, f in relations.items() if all(alike(g, f(e)) for g, e in zip(given, true, strict=True))]
    if not any(e.any() for e in true):
        fitting = ["the loss does not depend on it"]
    return replace(finding, sentence=f"{finding.sentence}; {[*fitting, 'unknown mistake'][0]}")


# --- what can be checked at all -----------------------------------------------------------------------


def claimed(loss_fn: LossFunction, params: Params, grads: Gradients) -> Params:
    """The claimed gradients; ValueError if they, the parameters or the loss are nothing that can be checked."""
    derivatives.check_float64(params)
    derivatives.check_loss(loss_fn, params)
    given = grads(copied(params)) if callable(grads) else grads
    if not isinstance(given, dict):
        raise ValueError(f"grads must be a dict of arrays, or a function that returns one, got {type(given).__name__}")
    if given.keys() != params.keys():
        differ = sorted(params.keys() ^ given.keys())
        raise ValueError(f"params and grads must have the same names, these differ: {differ}")
    return given


def misfit(g: Any, p: Array) -> str:
    """What makes an answer no gradient of p at all; empty if its shape and dtype are right."""
    if not isinstance(g, np.ndarray | np.generic):
        return f"the gradient must be an array of shape {p.shape}, got {type(g).__name__}"
    if g.shape != p.shape:
        hint = ", keepdims=True keeps the axis" if g.shape == p.shape[:1] else ""
        return f"the gradient must have shape {p.shape}, got {g.shape}{hint}"
    if g.dtype != np.float64:
        return f"the gradient is {g.dtype}, but everything it was computed from is float64: where was it cast?"
    return ""


def arrays_of(tree: Any) -> list[Array]:
    """The arrays themselves in nested tuples, lists and dicts, in order."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return [array for branch in tree for array in arrays_of(branch)]
    return [tree] if isinstance(tree, np.ndarray) else []


def leaves(tree: Any) -> tuple[Array, ...]:
    """Copies of them."""
    return tuple(array.copy() for array in arrays_of(tree))


def same(tree: Any, other: Any) -> bool:
    """Whether two trees hold the same arrays, bit for bit."""
    a, b = arrays_of(tree), arrays_of(other)
    return len(a) == len(b) and all(np.array_equal(p, q, equal_nan=True) for p, q in zip(a, b, strict=True))
