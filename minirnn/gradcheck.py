"""Is this gradient right? Numerical derivatives to hold a hand-written backward pass against.

Two ways to differentiate a function without knowing how it works:

*Central differences*, ``(f(x + e) - f(x - e)) / 2e``. With a large e the curvature of f disturbs, with a small one
subtracting two nearly equal numbers destroys their digits; the best compromise leaves about nine of sixteen.

*The complex step*, ``imag(f(x + ih)) / h`` (Squire and Trapp, 1998). The Taylor series of an analytic f along the
imaginary axis is ``f(x) + ih f'(x) - h**2 f''(x)/2 - ...``, so the imaginary part is h times the derivative, up to a
term in h**3. Nothing is subtracted, h may be 1e-30, and all but the last digit or two are right. All it asks is that f
lets complex numbers through, which every forward pass of this package does.

Both perturb one entry at a time and know nothing of back-propagation: an independent answer, not the same derivation
once more.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn.checks import Array, Params, check_grads

LossFunction = Callable[[Params], Any]


def complex_step_gradient(loss_fn: LossFunction, params: Params, h: float = 1e-30) -> Params:
    """Gradient of ``loss_fn(params)`` by the complex step, one evaluation per entry.

    Parameters
    ----------
    loss_fn : function
        Takes a dict like ``params``, but of complex arrays, and returns a scalar.
    params : dict of float64 arrays
        They are not changed.
    h : float
        Length of the step; anything from 1e-8 to 1e-100 gives the same digits.

    Raises
    ------
    ValueError
        If a parameter is not float64, or the function drops the imaginary part (it writes into a float array, say):
        then use :func:`numerical_gradient`.
    """
    shifted = {name: p.astype(np.complex128) for name, p in check_float64(params).items()}
    gradient = {name: np.empty_like(p) for name, p in params.items()}
    for name, p in shifted.items():
        for i in np.ndindex(p.shape):
            p[i] += 1j * h
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                try:
                    loss = loss_fn(shifted)
                except (TypeError, np.exceptions.ComplexWarning) as error:
                    raise ValueError(f"the function is not complex-safe: {error}; use numerical_gradient") from error
            if not np.iscomplexobj(loss):
                raise ValueError("the function returned a real number for complex parameters; use numerical_gradient")
            gradient[name][i] = loss.imag / h
            p[i] = p[i].real
    return gradient


def numerical_gradient(loss_fn: LossFunction, params: Params, eps: float = 1e-5) -> Params:
    """Gradient of ``loss_fn(params)`` by central differences, two evaluations per entry.

    Arguments as in :func:`complex_step_gradient`, but no complex number is used; about nine digits are right.
    """
    shifted = {name: p.copy() for name, p in check_float64(params).items()}
    gradient = {name: np.empty_like(p) for name, p in params.items()}
    for name, p in shifted.items():
        for i in np.ndindex(p.shape):
            middle = p[i]
            p[i] = middle + eps
            above = loss_fn(shifted)
            p[i] = middle - eps
            below = loss_fn(shifted)
            gradient[name][i] = (above - below) / (2 * eps)
            p[i] = middle
    return gradient


@dataclass(frozen=True)
class Comparison:
    """One parameter's gradient held against the numerical one."""

    name: str
    error: float  # largest difference, relative to the largest entry of either gradient (at least 1e-12)
    index: tuple[int, ...]  # where that difference is
    given: float  # the gradient that was to be checked, there
    expected: float  # the numerical one, there
    ok: bool

    def __str__(self) -> str:
        verdict = "ok   " if self.ok else "WRONG"
        where = f"{self.name}[{', '.join(map(str, self.index))}]"
        return (
            f"{verdict} {self.name:12} relative error {self.error:.1e}, worst at {where}: "
            f"given {self.given:.9g}, expected {self.expected:.9g}"
        )


@dataclass(frozen=True)
class GradientReport:
    """The result of :func:`check_gradients`, one comparison per parameter: print it, or ask whether it is ``ok``."""

    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        return all(comparison.ok for comparison in self.comparisons)

    def __str__(self) -> str:
        return "\n".join(map(str, self.comparisons))


def check_gradients(
    loss_fn: LossFunction,
    params: Params,
    grads: Params,
    tolerance: float = 1e-10,
    gradient: Callable[[LossFunction, Params], Params] = complex_step_gradient,
) -> GradientReport:
    """Hold hand-written gradients against numerical ones, every entry of every parameter.

    Parameters
    ----------
    loss_fn : function
        Takes a dict like ``params`` and returns the scalar whose gradients are claimed.
    params : dict of float64 arrays
        Any arrays the function depends on: weights, but an input or a state just as well.
    grads : dict of arrays
        The claimed gradient of each.
    tolerance : float
        Largest relative error of a parameter that passes. With central differences take 1e-6.
    gradient : function
        :func:`complex_step_gradient`, or :func:`numerical_gradient` for functions that are not complex-safe.

    Raises
    ------
    ValueError
        If names or shapes do not fit, or as the gradient function says.
    """
    check_grads(params, grads)
    numerical = gradient(loss_fn, params)
    return GradientReport(tuple(compare(name, grads[name], numerical[name], tolerance) for name in params))


def compare(name: str, given: Array, expected: Array, tolerance: float) -> Comparison:
    """Compare two arrays of one shape by their largest difference, relative to their largest entry."""
    difference = np.abs(given - expected)
    # A NaN anywhere makes itself the worst entry and the error NaN, which no tolerance admits.
    worst = np.unravel_index(np.argmax(difference), difference.shape)
    scale = max(np.abs(given).max(), np.abs(expected).max(), 1e-12)
    with np.errstate(invalid="ignore"):
        error = float(difference[worst] / scale)
    index = tuple(int(i) for i in worst)
    return Comparison(name, error, index, float(given[worst]), float(expected[worst]), error <= tolerance)


def check_float64(params: Params) -> Params:
    """Return ``params`` if every array is float64, whose digits a check can rely on; else raise ValueError."""
    for name, p in params.items():
        if np.asarray(p).dtype != np.float64:
            dtype = np.asarray(p).dtype
            raise ValueError(f"gradients are checked in float64, but {name} is {dtype}; use astype(np.float64)")
    return params
