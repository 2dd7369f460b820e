"""Who is accused of a wrong gradient, and on what evidence: what :mod:`minirnn.gradcheck` does when a check fails.

Two witnesses speak for a gradient, the complex step and central differences. A function that takes ``.real`` somewhere
loses its complex derivative without a word, so the first is believed only where the second agrees. At a kink the
two contradict each other, and where something is computed in float32 neither is exact: an entry of the gradient that
one of them speaks for is not accused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minirnn.checks import Array, Params
from minirnn.derivatives import Central, LossFunction, central_slope, complex_slope, copied, loss_along, unit

ENTRIES = 1000  # of a larger parameter only a sample of the entries is looked at
PRECISION = "it is right to six digits or so: something is computed in float32, or by a numerical derivative"


# --- what is known ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """The slopes of a loss at one point, and how closely a gradient has to agree."""

    loss_fn: LossFunction
    params: Params
    central: bool  # by central differences, not by the complex step
    tolerance: float
    floor: float  # a gradient that should be zero is rounding, 1e-16 of the others: measured against this, not itself

    known: dict[tuple, float] = field(default_factory=dict, init=False)  # slopes along single entries, once asked for

    def slope(self, name: str, v: Array) -> float:
        at = (self.loss_fn, self.params, name, v)
        return central_slope(*at).slope if self.central else complex_slope(*at)

    def entry(self, name: str, i: tuple[int, ...]) -> float:
        """The slope along a single entry."""
        if (name, i) not in self.known:
            self.known[name, i] = self.slope(name, unit(self.params[name].shape, i))
        return self.known[name, i]

    def witness(self, name: str, v: Array, noise: float = 0.0) -> Central:
        """A second opinion, which knows its own limits."""
        noise = max(noise, noise_along(self.loss_fn, self.params, name, v))
        return central_slope(self.loss_fn, self.params, name, v, noise=noise)


@dataclass(frozen=True)
class Finding:
    """One line of a report: a parameter's gradient or another property, and what was found.

    The error is relative to the parameter's largest gradient entry. Of a parameter that passes it is the error of the
    slope along the random direction; where the single entries were looked at, of the worst of them.
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


# --- whether the witnesses can be trusted ---------------------------------------------------------------


def distrust_of_complex_step(loss_fn: LossFunction, params: Params, directions: Params) -> str:
    """The reason not to use the complex step, empty if there is none: it must agree with central differences."""
    for name, v in directions.items():
        try:
            exact = complex_slope(loss_fn, params, name, v)
        except ValueError as error:
            return str(error).removesuffix("; use numerical_gradient")
        at = (loss_fn, params, name, v)
        witness = central_slope(*at)
        if not witness.doubt < 1e-3 * abs(witness.slope):  # the step is too large for it, or leaves its domain
            witness = central_slope(*at, eps=1e-7)
        if witness.contradicts(exact) and central_slope(*at, noise=noise_along(*at)).contradicts(exact):
            return (
                f"the complex step says {exact:.9g} along a direction of {name} and central differences "
                f"{witness.slope:.9g}: the function loses the imaginary part, as np.abs, .real or a comparison do"
            )
    return ""


def noise_along(loss_fn: LossFunction, params: Params, name: str, v: Array) -> float:
    """How far the loss jitters: what is left of it, on a short line along v, when a cubic is taken away.

    That is 1e-16 of the loss or so, and 1e-7 where something is computed in float32.
    """
    v = v / max(1.0, float(np.linalg.norm(v)))
    t = np.random.default_rng(0).uniform(-1, 1, 12)  # irregular, or rounding might keep in step with it
    length = max(1e-5, 16 * single(params[name][v != 0]))
    values, far = loss_along(loss_fn, params, name, v, t * length), loss_along(loss_fn, params, name, v, t[:4])
    values -= values[0]
    if not np.isfinite(values).all():
        return 0.0
    noise = float(np.abs(values - np.polynomial.Polynomial.fit(t, values, 3)(t)).max())
    with np.errstate(all="ignore"):
        ends_in_float32 = np.ptp(far) > 0 and (far == far.astype(np.float32)).all()
    return max(noise, single(far)) if ends_in_float32 else noise


def single(values: Array) -> float:
    """The spacing of float32 numbers where the largest of these is."""
    return float(np.spacing(np.abs(values).max(initial=0).astype(np.float32)))


# --- who is accused, and of what ------------------------------------------------------------------------


def compare_entries(truth: Truth, name: str, g: Array, v: Array) -> Finding:
    """Find the entries of a gradient that make it wrong along v, and describe the worst."""
    indices = list(np.ndindex(g.shape))
    if g.size > ENTRIES:
        sample = np.random.default_rng(0).choice(g.size, 100, replace=False)
        indices = [indices[i] for i in sorted({bisect(truth, name, g, v), *sample.tolist()})]
    expected = {i: truth.entry(name, i) for i in indices}
    difference = {i: float(np.nan_to_num(abs(g[i] - e), nan=np.inf)) for i, e in expected.items()}
    scale = max(largest(g), *map(abs, expected.values()), truth.floor)
    suspects = [i for i in indices if difference[i] > truth.tolerance * scale]
    suspects.sort(key=lambda i: -float(f"{difference[i]:.9g}"))  # rounding shall not decide which of two is the worst
    whole = truth.witness(name, v)
    shared = 0.0 if whole.jump else whole.noise
    excuses: dict[tuple[int, ...], str] = {}
    for i in suspects[:100]:
        excuses[i] = excuse_for(
            truth.witness(name, unit(g.shape, i), shared), float(g[i]), expected[i], scale, truth.central
        )
        if not excuses[i]:
            count = len(suspects) - len(excuses) + 1
            of = f"{count} of {len(indices)} entries{' looked at' if g.size > ENTRIES else ''} differ"
            sentence = f"{of}, worst at {name}{list(i)}: given {g[i]:.9g}, expected {expected[i]:.9g}"
            return Finding(name, "WRONG", sentence, difference[i] / scale, i, float(g[i]), expected[i], count)
    if excuses:
        i, why = next(iter(excuses.items()))
        sentence = f"{len(suspects)} of {len(indices)} entries cannot be judged, {name}{list(i)} for one: {why}"
        return Finding(name, "inconclusive", sentence, difference[i] / scale, i, float(g[i]), expected[i])
    error = max(difference.values()) / scale
    return Finding(name, "ok", f"relative error {error:.1e}, entry by entry", error)


def excuse_for(witness: Central, given: float, expected: float, scale: float, central: bool) -> str:
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
    given = np.array([grads(copied(truth.params))[name] for truth in points])
    shape = points[0].params[name].shape
    true = np.array([np.reshape([truth.entry(name, i) for i in np.ndindex(shape)], shape) for truth in points])
    factor = np.nan_to_num(np.vdot(true[0], given[0]) / (np.vdot(true[0], true[0]) or np.inf))
    relations = {
        "it is zero everywhere: nothing was added to it": 0 * true,
        PRECISION: true,
        "it has the wrong sign": -true,
        "it is the transpose of the true gradient": np.array([e.T for e in true]),
        f"it is {factor:.6g} times the true gradient": factor * true,
        "it is zero wherever it is wrong": np.where(given == 0, 0, true) if given.shape == true.shape else given,
        "the loss does not depend on it": given if not true.any() else 0 * true,
    }
    witness = points[0].witness(name, unit(shape, finding.index))
    slack = max(1e-5, min(0.05, 2 * witness.doubt / largest(true))) if witness.coarse and true.any() else 1e-5
    for words, e in relations.items():
        if given.shape == e.shape and np.allclose(given, e, rtol=0, atol=slack * np.abs(e).max()):
            return replace(finding, sentence=f"{finding.sentence}; {words}")
    return replace(finding, sentence=f"{finding.sentence}; unknown mistake")


def linearity(answers: list[Params], twice: bool) -> tuple[bool, str]:
    """Whether gradients are linear in the upstream gradient, and what is said if not; its answers to 0, d and 1e4 d.

    ``twice``: whether the same question is answered the same twice. float32 passes: the check of the gradients is the
    one for digits, and clipping changes more than the sixth.
    """
    zero, one, large = answers
    slack = 1e-6 * max(map(largest, large.values()))
    right = all((np.abs(g - 1e4 * one[name]) <= 1e-5 * largest(g) + slack).all() for name, g in large.items())
    words = "backward(1e4 dout) is not 1e4 backward(dout)"
    if not twice:
        words = f"{words}, as it does not answer the same twice"
    elif any(map(largest, zero.values())):
        words = f"{words}, and backward(0) is not 0: something in it does not depend on dout"
    elif sum(map(largest, large.values())) < 1e4 * sum(map(largest, one.values())):
        words = f"{words}: is something clipped?"
    return right, words


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


def largest(g: Array) -> float:
    """The size of the largest finite entry."""
    return float(np.abs(g[np.isfinite(g)]).max(initial=0))
