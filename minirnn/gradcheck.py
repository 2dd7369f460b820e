"""Is this gradient right? A check of anybody's hand-written backward pass, which says what is wrong.

The truth comes from :mod:`minirnn.derivatives`: the complex step, or central differences where complex numbers do not
pass. A function that takes ``.real`` somewhere loses its complex derivative without a word, so the two are compared
before the complex step is believed; and since at a kink they contradict each other, nobody is accused there.

A gradient of n entries need not cost n evaluations. Along one random direction v the slope of f is
``(gradient * v).sum()``: a few evaluations for a whole parameter, and a wrong gradient has no reason to be wrong only
across v. The single entries are asked when something is known to be wrong, to say which.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.checks import Array, Params, Rng
from minirnn.derivatives import (
    LossFunction,
    Slope,
    central_slope,
    check_float64,
    complex_slope,
    complex_step_gradient,
    copied,
    entry_by_entry,
    numerical_gradient,
    unit,
)

__all__ = [
    "Finding",
    "GradientReport",
    "assert_gradients",
    "check_gradients",
    "check_layer",
    "complex_step_gradient",
    "numerical_gradient",
    "plot_error_vs_eps",
]

ENTRIES = 1000  # of a larger parameter only a sample of the entries is looked at
PRECISION = "it is right to seven digits or so: something is computed in float32, or by a numerical derivative"


# --- reports ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One line of a report: a parameter's gradient or another property, and what was found."""

    name: str
    verdict: str  # "ok", "WRONG", or "inconclusive": at a kink there is no derivative, and nobody is wrong
    sentence: str
    error: float = np.nan  # largest difference, relative to the largest entry of either gradient
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


# --- checks -----------------------------------------------------------------------------------------


def check_gradients(
    loss_fn: LossFunction,
    params: Params,
    grads: Params | Callable[[Params], Params],
    tolerance: float = 1e-10,
    rng: Rng = 0,
) -> GradientReport:
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
        Largest relative error that passes: the largest difference in a parameter over its largest gradient entry.
        By central differences, which are used where complex numbers do not pass, it is at least 1e-6.
    rng : Generator or int
        Draws one direction for each parameter, and the second point.

    Raises
    ------
    ValueError
        If a parameter is not float64, names do not fit, the loss is no finite scalar, or is not the same twice.
    """
    check_float64(params)
    check_loss(loss_fn, params)
    rng = np.random.default_rng(rng)
    given = grads(copied(params)) if callable(grads) else grads
    if not isinstance(given, dict):
        raise ValueError(f"grads must be a dict of arrays, or a function that returns one, got {type(given).__name__}")
    if given.keys() != params.keys():
        differ = sorted(params.keys() ^ given.keys())
        raise ValueError(f"params and grads must have the same names, these differ: {differ}")
    directions = {name: rng.choice([-1, 1], p.shape) * rng.uniform(0.5, 1.5, p.shape) for name, p in params.items()}
    second = {name: p + rng.normal(0, 0.1, p.shape) for name, p in params.items()}
    reason = distrust_of_complex_step(loss_fn, params, directions)
    tolerance = max(tolerance, 1e-6) if reason else tolerance

    def slope_at(point: Params) -> Slope:
        if reason:
            return lambda name, v: central_slope(loss_fn, point, name, v).slope
        return lambda name, v: complex_slope(loss_fn, point, name, v)

    # A gradient that should be zero comes out as rounding, 1e-16 of the others: measured against those, not itself.
    fitting = [g[np.isfinite(g)] for name, g in given.items() if not misfit(g, params[name])]
    floor = max([1e-300, *(1e-5 * float(np.abs(g).max(initial=0)) for g in fitting)])

    def check_one(name: str, g: Array) -> Finding:
        if fault := misfit(g, params[name]):
            return Finding(name, "WRONG", fault)
        v, slope = directions[name], slope_at(params)
        finite = np.isfinite(g).all()
        error = float(abs((g * v).sum() - slope(name, v)) / max(np.abs(g).max(initial=0), floor)) if finite else np.inf
        if error <= tolerance:
            return Finding(name, "ok", f"relative error {error:.1e} along a random direction", error)
        finding = compare_entries(slope, not reason, loss_fn, params, name, g, v, tolerance, floor)
        if finding.verdict == "WRONG" and callable(grads) and g.size <= ENTRIES:
            points = (params, second)
            pairs = [(grads(copied(p))[name], entry_by_entry(slope_at(p), {name: p[name]})[name]) for p in points]
            finding = replace(finding, sentence=f"{finding.sentence}; {looks_like(pairs)}")
        return finding

    findings = tuple(check_one(name, given[name]) for name in params)
    return GradientReport(findings, f"central differences, because {reason}" if reason else "the complex step")


def assert_gradients(
    loss_fn: LossFunction,
    params: Params,
    grads: Params | Callable[[Params], Params],
    tolerance: float = 1e-10,
    rng: Rng = 0,
) -> None:
    """:func:`check_gradients` for a test: AssertionError with the whole report unless everything is right."""
    report = check_gradients(loss_fn, params, grads, tolerance, rng)
    if not report.ok:
        raise AssertionError(f"\n{report}")


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
    check_float64(inputs)
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
        if isinstance(answer, dict):
            return answer
        answer = (answer,) if isinstance(answer, np.ndarray | np.generic) else answer
        if not isinstance(answer, tuple | list) or len(answer) != len(inputs):
            got = f"{len(answer)} of them" if isinstance(answer, tuple | list) else type(answer).__name__
            raise ValueError(f"backward must return the gradients of {', '.join(inputs)}, got {got}")
        return dict(zip(inputs, answer, strict=True))

    def loss(p: Params) -> Any:
        out, _ = forward(*p.values())
        return sum((o * da).sum() for o, da in zip(out if several else (out,), a, strict=True))

    def grads(p: Params) -> Params:
        return ask(leaves(a), forward(*p.values())[1])

    report = check_gradients(loss, inputs, grads, tolerance, rng)
    dout, before = leaves(a), leaves(cache)
    first = leaves(ask(dout, cache))
    facts = [
        ("pure forward", forward_is_pure, "forward changes its inputs in place: copy first"),
        ("pure upstream", same(dout, a), "backward changes an upstream gradient in place: copy it first"),
        ("pure cache", same(cache, before), "backward changes the cache in place: copy first"),
        ("repeatable", same(ask(leaves(a), cache), first), "asked twice, backward gives two answers"),
    ]
    scaled, once = (ask(tuple(c * da for da in leaves(b)), forward(*copied(inputs).values())[1]) for c in (1e4, 1.0))
    pairs = [(g, once[n]) for n, g in scaled.items() if n in inputs and not misfit(g, inputs[n]) and n in once]
    pairs = [(g, o) for g, o in pairs if not misfit(o, g) and np.isfinite(g).all() and np.isfinite(o).all()]
    if pairs:
        largest = max(float(np.abs(g).max(initial=0)) for g, _ in pairs)
        linear = all(
            np.allclose(g, 1e4 * o, rtol=0, atol=1e-9 * np.abs(g).max(initial=0) + 1e-13 * largest) for g, o in pairs
        )
        facts.append(("linear", linear, "backward(1e4 dout) is not 1e4 backward(dout): is something clipped?"))
    return GradientReport(
        report.findings + tuple(Finding(name, *(("ok", "") if ok else ("WRONG", bad))) for name, ok, bad in facts),
        report.method,
    )


def plot_error_vs_eps(loss_fn: LossFunction, params: Params, path: str | Path) -> None:
    """Draw how wrong both numerical derivatives are for steps from 1e-1 to 1e-16, along a random direction.

    Central differences fall, then rise as subtraction destroys digits; the complex step reaches the last digit and
    stays there, which is why its step with h = 1e-30 serves as the truth. The ending of ``path`` says the format.
    """
    from minirnn.plots import plot_step_errors

    check_float64(params)
    check_loss(loss_fn, params)
    name = max(params, key=lambda name: params[name].size)
    v = np.random.default_rng(0).standard_normal(params[name].shape)
    v /= np.linalg.norm(v)
    if reason := distrust_of_complex_step(loss_fn, params, {name: v}):
        raise ValueError(f"there is no truth to compare with: {reason}")
    steps = np.logspace(-1, -16, 46)
    truth = complex_slope(loss_fn, params, name, v)
    if truth == 0:
        raise ValueError(f"the loss does not depend on {name}: there is no relative error to draw")
    complex_errors = [abs(complex_slope(loss_fn, params, name, v, h) - truth) for h in steps]
    ends = [[float(loss_fn(copied(params) | {name: params[name] + s * e * v})) for s in (1, -1)] for e in steps]
    central_errors = [abs((above - below) / (2 * e) - truth) for e, (above, below) in zip(steps, ends, strict=True)]
    plot_step_errors(steps, np.array(central_errors) / abs(truth), np.array(complex_errors) / abs(truth), path)


# --- what the checks are made of --------------------------------------------------------------------


def compare_entries(
    slope: Slope,
    exact: bool,
    loss_fn: LossFunction,
    params: Params,
    name: str,
    g: Array,
    v: Array,
    tolerance: float,
    floor: float,
) -> Finding:
    """Find the entries of a gradient that make it wrong along v, and describe the worst; ``exact``: by complex step."""
    indices = list(np.ndindex(g.shape))
    if g.size > ENTRIES:
        sample = np.random.default_rng(0).choice(g.size, 100, replace=False)
        indices = [indices[i] for i in sorted({bisect(slope, name, g, v), *sample.tolist()})]
    expected = {i: slope(name, unit(g.shape, i)) for i in indices}
    difference = {i: float(np.nan_to_num(abs(g[i] - e), nan=np.inf)) for i, e in expected.items()}
    scale = max(float(np.abs(g[np.isfinite(g)]).max(initial=0)), *map(abs, expected.values()), floor)
    wrong = sorted((i for i in indices if difference[i] > tolerance * scale), key=lambda i: -difference[i])
    count, spared, why = len(wrong), None, ""
    for i in wrong[:100]:
        # Nobody is accused by one witness alone where another speaks for him.
        witness = central_slope(loss_fn, params, name, unit(g.shape, i))
        off = abs(g[i] - witness.slope)
        if witness.jump > 1e-4 * scale and off <= 2 * witness.jump:
            why = why or "it lies at a kink, where there is no derivative: take another point"
        elif not exact and off <= 2 * witness.doubt:
            why = why or "rounding is too large to tell: take a smaller loss, or let complex numbers pass"
        elif exact and difference[i] < 1e-6 * scale and off <= 2 * witness.doubt + 1e-9 * scale:
            why = why or f"{PRECISION}, or a small part of the loss loses the imaginary part"
        else:
            looked_at = f"{len(indices)} entries{' looked at' if g.size > ENTRIES else ''}"
            values = f"given {g[i]:.9g}, expected {expected[i]:.9g}"
            sentence = f"{count} of {looked_at} differ, worst at {name}{list(i)}: {values}"
            return Finding(name, "WRONG", sentence, difference[i] / scale, i, float(g[i]), expected[i], count)
        count, spared = count - 1, spared or i
    if spared:
        sentence = f"{len(wrong)} of {len(indices)} entries cannot be judged, {name}{list(spared)} for one: {why}"
        return Finding(
            name, "inconclusive", sentence, difference[spared] / scale, spared, float(g[spared]), expected[spared]
        )
    error = max(difference.values()) / scale
    return Finding(name, "ok", f"relative error {error:.1e}, entry by entry", error)


def bisect(slope: Slope, name: str, g: Array, v: Array) -> int:
    """Find one wrong entry among very many: always keep the half along which the slopes differ more."""

    def differ(i: int, j: int) -> float:
        part = np.zeros_like(v)
        part.reshape(-1)[i:j] = v.reshape(-1)[i:j]
        return float(np.nan_to_num(abs((g * part).sum() - slope(name, part)), nan=np.inf))

    low, high = 0, g.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if differ(low, middle) > differ(middle, high) else (middle, high)
    return low


def distrust_of_complex_step(loss_fn: LossFunction, params: Params, directions: Params) -> str:
    """The reason not to use the complex step, empty if there is none: it must agree with central differences."""
    for name, v in directions.items():
        try:
            exact = complex_slope(loss_fn, params, name, v)
        except ValueError as error:
            return str(error).removesuffix("; use numerical_gradient")
        witness = central_slope(loss_fn, params, name, v)
        if not witness.doubt < 1e-3 * abs(
            witness.slope
        ):  # the step is too large for this function, or leaves its domain
            witness = central_slope(loss_fn, params, name, v, 1e-7)
        if abs(exact - witness.slope) > 1e-9 * abs(witness.slope) + 2 * (witness.doubt + witness.jump):
            return (
                f"the complex step says {exact:.9g} along a direction of {name} and central differences "
                f"{witness.slope:.9g}: the function loses the imaginary part, as np.abs, .real or a comparison do"
            )
    return ""


def looks_like(pairs: list[tuple[Array, Array]]) -> str:
    """Name the mistake if the given gradient is, at two points alike, a simple function of the expected one."""
    given, expected = zip(*pairs, strict=True)

    def are(others: Any) -> bool:
        return all(
            g.shape == o.shape and np.isfinite(g).all() and np.allclose(g, o, rtol=0, atol=1e-6 * np.abs(o).max())
            for g, o in zip(given, others, strict=True)
        )

    if all(not g.any() for g in given):
        return "it is zero everywhere: nothing was added to it"
    if all(not e.any() for e in expected):
        return "the loss does not depend on it"
    if are(expected):
        return PRECISION
    if are([-e for e in expected]):
        return "it has the wrong sign"
    if are([e.T for e in expected]):
        return "it is the transpose of the true gradient"
    factor = float((given[0] * expected[0]).sum() / (expected[0] ** 2).sum()) if expected[0].any() else np.nan
    if are([factor * e for e in expected]):
        return f"it is {factor:.6g} times the true gradient"
    return "unknown mistake"


def check_loss(loss_fn: LossFunction, params: Params) -> None:
    """Raise ValueError unless the loss is a finite scalar, and the same when it is asked again."""
    first, second = (loss_fn(copied(params)) for _ in range(2))
    if not isinstance(first, np.ndarray | np.generic | float | int) or np.shape(first) or not np.isfinite(first):
        got = f"{type(first).__name__} {first!r:.60}"
        raise ValueError(f"the loss must be a finite scalar, got {got}")
    if first != second:
        raise ValueError(f"the loss must be the same for the same parameters, got {first} and {second}; fix its seeds")


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
