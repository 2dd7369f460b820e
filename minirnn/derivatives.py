"""Numerical derivatives: two ways to differentiate a function without knowing how it works.

*Central differences*, ``(f(x + e) - f(x - e)) / 2e``. With a large e the curvature of f disturbs, with a small one
subtracting two nearly equal numbers destroys their digits; the best compromise leaves nine to twelve of sixteen.

*The complex step*, ``imag(f(x + ih)) / h`` (Squire and Trapp, 1998). The Taylor series of an analytic f along the
imaginary axis is ``f(x) + ih f'(x) - h**2 f''(x)/2 - ...``, so the imaginary part is h times the derivative, up to a
term in h**3. Nothing is subtracted, h may be 1e-30, and all but the last digit or two are right. All it asks is that f
lets complex numbers through, as every forward pass of this package does.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn.checks import Array, Params

LossFunction = Callable[[Params], Any]
Slope = Callable[[str, Array], float]  # of the loss, when the parameter of that name moves along that direction


def complex_slope(loss_fn: LossFunction, params: Params, name: str, v: Array, h: float = 1e-30) -> float:
    """Slope of the loss when ``params[name]`` moves along v; ValueError if complex numbers do not pass."""
    shifted: Params = {key: p.astype(np.complex128) for key, p in params.items()}
    shifted[name] += 1j * h * v
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            loss = loss_fn(shifted)
        except Exception as error:  # with real numbers it does not raise
            reason = str(error) or type(error).__name__
            raise ValueError(f"the function is not complex-safe: {reason}; use numerical_gradient") from error
    if not np.iscomplexobj(loss):
        raise ValueError("the function returned a real number for complex parameters; use numerical_gradient")
    return float(np.imag(loss)) / h


@dataclass(frozen=True)
class Central:
    """A slope by central differences, and how far it is to be trusted."""

    slope: float
    doubt: float  # what two lengths of the step disagree by, and rounding
    jump: float  # of the slope, if there is a kink; else 0
    noise: float  # of the loss, as far as it was measured
    coarse: bool  # whether it then has fewer digits than float64

    def contradicts(self, slope: float) -> bool:
        """Whether that slope is further away than all doubts about this one."""
        return abs(slope - self.slope) > 1e-9 * abs(self.slope) + 2 * (self.doubt + self.jump)


def central_slope(
    loss_fn: LossFunction, params: Params, name: str, v: Array, eps: float = 1e-4, noise: float = 0.0
) -> Central:
    """The same slope without complex numbers; ``noise`` is how far the loss is known to jitter.

    Steps of eps and 2 eps are combined so that the first error term cancels (Richardson, 1911). Over 2 eps a smooth
    function bends twice as much as over eps; at a kink it bends just as much, and that tells them apart.
    """
    e = eps / max(1.0, float(np.linalg.norm(v)))
    center, right, left, right2, left2 = loss_along(loss_fn, params, name, v, e * np.array([0, 1, -1, 2, -2]))
    with np.errstate(all="ignore"):
        near, far = (right - left) / (2 * e), (right2 - left2) / (4 * e)
        rounding = max(1e-14 * max(map(abs, (center, right2, left2))), 4 * noise) / e
        jump = abs(2 * (right - 2 * center + left) / e - (right2 - 2 * center + left2) / (2 * e))
        jump = jump if jump > 4 * rounding else 0.0
        return Central((4 * near - far) / 3, abs(near - far) + rounding, jump, noise, noise > 1e-12 * abs(center))


def loss_along(loss_fn: LossFunction, params: Params, name: str, v: Array, steps: Array) -> Array:
    """The loss at ``params[name] + s * v``, for each of the steps s."""
    with np.errstate(all="ignore"):  # a step may leave the domain of the function
        return np.array([float(np.real(loss_fn(copied(params) | {name: params[name] + s * v}))) for s in steps])


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
    return entry_by_entry(lambda name, v: complex_slope(loss_fn, params, name, v, h), params)


def numerical_gradient(loss_fn: LossFunction, params: Params, eps: float = 1e-4) -> Params:
    """Gradient of ``loss_fn(params)`` by central differences, five evaluations per entry.

    Arguments as in :func:`complex_step_gradient`, but no complex number is used; nine to twelve digits are right.
    """
    return entry_by_entry(lambda name, v: central_slope(loss_fn, params, name, v, eps).slope, params)


def entry_by_entry(slope: Slope, params: Params) -> Params:
    """Collect the slopes along every single entry of every parameter."""
    check_float64(params)
    gradient = {name: np.empty_like(p) for name, p in params.items()}
    for name, g in gradient.items():
        for i in np.ndindex(g.shape):
            g[i] = slope(name, unit(g.shape, i))
    return gradient


def check_loss(loss_fn: LossFunction, params: Params) -> None:
    """Raise ValueError unless the loss is a finite scalar, and the same when it is asked again."""
    first, second = (loss_fn(copied(params)) for _ in range(2))
    if not isinstance(first, np.ndarray | np.generic | float | int) or np.shape(first) or not np.isfinite(first):
        got = f"{type(first).__name__} {first!r:.60}"
        raise ValueError(f"the loss must be a finite scalar, got {got}")
    if first != second:
        raise ValueError(f"the loss must be the same for the same parameters, got {first} and {second}; fix its seeds")


def check_float64(params: Params) -> None:
    """Raise ValueError unless these are arrays by name, all float64, whose digits a check can rely on."""
    if not isinstance(params, dict) or not params:
        got = f"{type(params).__name__} {params!r:.40}"
        raise ValueError(f"what is checked must be a dict of arrays by name, got {got}")
    for name, p in params.items():
        if (dtype := np.asarray(p).dtype) != np.float64:
            raise ValueError(f"gradients are checked in float64, but {name} is {dtype}; use astype(np.float64)")
        if not isinstance(p, np.ndarray | np.generic):
            raise ValueError(f"{name} must be an array, got {type(p).__name__}; use np.array")


def copied(params: Params) -> Params:
    """Fresh copies of all arrays."""
    return {name: p.copy() for name, p in params.items()}


def unit(shape: tuple[int, ...], index: tuple[int, ...]) -> Array:
    """The direction of a single entry."""
    v = np.zeros(shape)
    v[index] = 1
    return v
