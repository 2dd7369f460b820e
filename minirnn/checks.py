"""Every sentence that bad input gets, and the names of the types that all modules share.

A check returns its argument, made an array where it was not, or raises ValueError with one sentence: what came,
what was expected, and where it helps what to do. It never repairs silently, above all not by broadcasting.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Params = dict[str, Array]  # parameters or gradients by name
State = tuple[Array, ...]  # of a cell: (h,) or (h, c)
ModelState = tuple[State, ...]  # of a model: one cell state per layer
Rng = np.random.Generator | int  # what np.random.default_rng makes a generator of


def check_positive(name: str, value: float) -> float:
    """Return ``value`` if it is a positive number, else raise ValueError (NaN is not positive)."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    return value


def check_decay(name: str, value: float) -> float:
    """Return ``value`` if it is in [0, 1), else raise ValueError."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
    return value


def check_shape(name: str, array: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``array`` has exactly ``shape``: broadcasting would hide the mistake."""
    if np.shape(array) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {np.shape(array)}")


def check_grads(params: Params, grads: Params) -> None:
    """Raise ValueError unless every parameter has a gradient of its own shape, and nothing else has."""
    if params.keys() != grads.keys():
        differ = sorted(params.keys() ^ grads.keys())
        raise ValueError(f"params and grads must have the same names, these differ: {differ}")
    for name, p in params.items():
        check_shape(f"the gradient of {name}", grads[name], p.shape)


def check_ids(ids: ArrayLike, size: int, name: str = "ids") -> Array:
    """Return ``ids`` as an integer array with every entry in ``[0, size)``, or say what is wrong."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, got dtype {ids.dtype}; encode the text with a Vocabulary")
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        worst = ids.max() if ids.max() >= size else ids.min()
        raise ValueError(f"{name} must be in 0..{size - 1}, got {worst}; was the text encoded with this vocabulary?")
    return ids


def check_lengths(lengths: ArrayLike, T: int, B: int) -> Array:
    """Return ``lengths`` as an integer array (B,) with entries in 1..T, or raise ValueError."""
    lengths = np.asarray(lengths)
    if lengths.shape != (B,) or lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > T:
        raise ValueError(f"lengths must be {B} integers in 1..{T}, one for each sequence, got {lengths.tolist()}")
    return lengths


def check_cell_input(params: Params, x: ArrayLike, state: State, states: int = 1) -> tuple[Array, State]:
    """Return ``x`` (T, D, B) and the state's arrays (H, B) in the precision of ``params``, or say what does not fit.

    A complex ``x`` or state makes everything complex: that is how the complex step passes through.
    """
    D, H = params["Wxh"].shape[1], params["Whh"].shape[1]
    for name, p in params.items():
        if name.startswith("b"):
            check_shape(name, p, (len(p), 1))
    if not isinstance(state, tuple) or len(state) != states:
        got = len(state) if isinstance(state, tuple) else type(state).__name__
        raise ValueError(f"state must be a tuple of {states} array(s) (H, B), as zero_state returns, got {got}")
    x, state = np.asarray(x), tuple(np.asarray(s) for s in state)
    if x.ndim != 3 or x.shape[1] != D or x.shape[0] < 1:
        raise ValueError(f"x must have shape (T, D, B) = (T >= 1, {D}, B), got {x.shape}")
    for i, s in enumerate(state):
        check_shape(f"state[{i}]", s, (H, x.shape[2]))
    dtype = np.result_type(np.float16, *params.values())  # integer weights compute in floats
    for given in (x, *state):
        if given.dtype.kind not in "biufc":
            raise ValueError(f"x and state must hold numbers, got dtype {given.dtype}")
        if given.dtype.kind == "c":
            dtype = np.result_type(dtype, np.complex64)
    return x.astype(dtype, copy=False), tuple(s.astype(dtype, copy=False) for s in state)


def check_cell_gradient(dh: ArrayLike, dstate: State | None, h: Array, states: int = 1) -> tuple[Array, State]:
    """Return ``dh`` (T, H, B) and ``dstate``'s arrays (H, B) in the precision of ``h``, or say what does not fit.

    No ``dstate`` means zero: nothing comes back from beyond the last step.
    """
    if dstate is None:
        dstate = (np.zeros_like(h[0]),) * states
    if not isinstance(dstate, tuple) or len(dstate) != states:
        raise ValueError(f"dstate must be a tuple of {states} array(s) (H, B), like the state it is the gradient of")
    check_shape("dh", dh, h.shape)
    for i, ds in enumerate(dstate):
        check_shape(f"dstate[{i}]", ds, h[0].shape)
    return np.asarray(dh, h.dtype), tuple(np.asarray(ds, h.dtype) for ds in dstate)
