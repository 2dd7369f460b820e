"""What stands at the door: checks that several modules share, and the names of the types that all of them use.

A check returns its argument, made an array where it was not, or raises ValueError with one sentence: what came,
what was expected, and where it helps what to do. It never repairs silently, above all not by broadcasting.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
Params = dict[str, Array]  # parameters or gradients by name
State = tuple[Array, ...]  # of a cell: (h,) or (h, c)
ModelState = tuple[State, ...]  # of a model: one cell state per layer
Rng = np.random.Generator | int  # what np.random.default_rng makes a generator of


def check_positive(name: str, value: float, limit: bool = False) -> float:
    """Return ``value`` if it is positive and finite, else raise ValueError; an infinite ``limit`` is none, and fine."""
    if not value > 0:  # NaN is not positive
        raise ValueError(f"{name} must be greater than 0, got {value}")
    if value == np.inf and not limit:
        raise ValueError(f"{name} must be finite, got {value}")
    return value


def check_decay(name: str, value: float) -> float:
    """Return ``value`` if it is in [0, 1), else raise ValueError."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
    return value


def check_size(name: str, size: Any) -> int:
    """Return ``size``, an int of Python's or NumPy's, as Python's if a model of that size is thinkable."""
    if isinstance(size, np.integer):
        size = int(size)
    if type(size) is not int or size < 1:
        raise ValueError(f"{name} must be an int of at least 1, got {size!r}")
    if size >= 2**31:
        raise ValueError(f"{name} must be less than 2**31, got {size}; no memory holds such a model")
    return size


def check_dtype(dtype: DTypeLike) -> DTypeLike:
    """Return ``dtype`` if parameters can have it, else raise ValueError: integers would round them to zero."""
    if np.dtype(dtype).kind not in "fc":
        raise ValueError(f"dtype must be of floating or complex numbers, such as float32, got {np.dtype(dtype)}")
    return dtype


def check_choice(name: str, value: str, *choices: str) -> str:
    """Return ``value`` if it is one of ``choices``, else raise ValueError."""
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(json.dumps, choices))}, got {value!r}")
    return value


def check_vocab_size(vocab_size: int, model_size: int) -> None:
    """Raise ValueError unless the vocabulary has as many tokens as the model was built for."""
    if vocab_size != model_size:
        raise ValueError(f"the vocabulary has {vocab_size} tokens, the model was built for {model_size}")


def check_diverged(step: int, then: str, **values: float) -> None:
    """Raise FloatingPointError if one of a step's ``values`` is not finite; ``then`` says what is left and to do."""
    if not np.isfinite(list(values.values())).all():
        came = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
        raise FloatingPointError(f"training diverged at step {step}: {came}; {then}")


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


def check_grid(name: str, ids: ArrayLike) -> Array:
    """Return ``ids`` as an array (T, B) with T, B >= 1, or raise ValueError."""
    try:
        ids = np.asarray(ids)
    except ValueError:
        advice = "put them side by side with minirnn.classifier.pad"
        raise ValueError(f"{name} must have shape (T, B), got lists of different lengths; {advice}") from None
    if ids.ndim != 2 or ids.size == 0:
        raise ValueError(f"{name} must have shape (T, B) with T, B >= 1, got {ids.shape}")
    return ids


def check_integers(name: str, ids: ArrayLike) -> Array:
    """Return ``ids`` as an integer array, or raise ValueError: a fraction would be cut off silently."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, got dtype {ids.dtype}; encode the text with a Vocabulary")
    return ids


def check_ids(ids: ArrayLike, size: int, name: str = "ids") -> Array:
    """Return ``ids`` as an integer array with every entry in ``[0, size)``, or say what is wrong."""
    ids = check_integers(name, ids)
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        worst = ids.max() if ids.max() >= size else ids.min()
        raise ValueError(f"{name} must be in 0..{size - 1}, got {worst}; was the text encoded with this vocabulary?")
    return ids


def check_each(name: str, values: ArrayLike, low: int, high: int, B: int) -> Array:
    """Return ``values``, one for each sequence, as an integer array (B,) in low..high, or raise ValueError."""
    values = np.asarray(values)
    if values.shape != (B,) or values.dtype.kind not in "iu" or values.min() < low or values.max() > high:
        raise ValueError(f"{name} must be {B} integers in {low}..{high}, one for each sequence, got {values.tolist()}")
    return values


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
