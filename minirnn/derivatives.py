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


def central_slope(loss_fn: LossFunction, params: Params, name: str, v: Array, eps: float = 1e-4) -> Central:
    """The same slope without complex numbers.

    Steps of eps and 2 eps are combined so that the first error term cancels (Richardson, 1911). Over 2 eps a smooth
    function bends twice as much as over eps; at a kink it bends just as much, and that tells them apart.
    """
    e = eps / max(1.0, float(np.linalg.norm(v)))
    with np.errstate(all="ignore"):  # a step may leave the domain of the function
        center, right, left, right2, left2 = (
            float(np.real(loss_fn(copied(params) | {name: params[name] + k * e * v}))) for k in (0, 1, -1, 2, -2)
        )
        near, far = (right - left) / (2 * e), (right2 - left2) / (4 * e)
        rounding = 1e-14 * max(map(abs, (center, right2, left2))) / e
        jump = abs(2 * (right - 2 * center + left) / e - (right2 - 2 * center + left2) / (2 * e))
        return Central((4 * near - far) / 3, abs(near - far) + rounding, jump if jump > 4 * rounding else 0.0)


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


def check_float64(params: Params) -> None:
    """Raise ValueError unless these are arrays by name, all float64, whose digits a check can rely on."""
    if not isinstance(params, dict) or not params:
        raise ValueError(
            f"what is checked must be a dict of arrays by name, got {type(params).__name__} {params!r:.40}"
        )
    for name, p in params.items():
        if np.asarray(p).dtype != np.float64:
            dtype = np.asarray(p).dtype
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
