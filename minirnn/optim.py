"""From gradients to the next parameters: clipping, then one step of an optimizer.

Parameters and gradients are flat dicts under the same names, so each rule is one loop over names. Both the clipping
functions and ``step`` work in place: for ten million parameters the memory traffic of a copy would cost more
than the arithmetic.
"""

from collections.abc import Iterator

import numpy as np

from minirnn.ops import Array, Params, check_grads

BLOCK = 1 << 16  # elements worked on at a time, so that what one line writes the next still finds in the cache


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Cut arrays of one shape into the same runs of rows, as views of at most about ``BLOCK`` elements."""
    first = arrays[0]
    rows = max(1, BLOCK * len(first) // max(first.size, 1))
    for i in range(0, len(first), rows):
        yield tuple(array[i : i + rows] for array in arrays)


# --- clipping ---------------------------------------------------------------------------------------


def clip_value(grads: Params, limit: float) -> None:
    """Clip every entry into [-limit, limit], in place: min-char-rnn's remedy for exploding gradients.

    Large entries are cut and small ones left, so the direction of the step changes; see :func:`clip_norm`.
    """
    check_positive("limit", limit)
    for g in grads.values():
        np.clip(g, -limit, limit, out=g)


def clip_norm(grads: Params, limit: float) -> float:
    """Scale all gradients by one factor so that their global norm is at most ``limit``, in place.

    The direction of the step stays (Pascanu, Mikolov and Bengio, 2013). Returns the norm before clipping.
    """
    check_positive("limit", limit)
    norm = global_norm(grads)
    if norm > limit:
        for g in grads.values():
            g *= limit / norm
    return norm


def global_norm(grads: Params) -> float:
    """Euclidean norm of all gradients taken as one long vector."""
    return float(np.sqrt(sum(float(np.vdot(g, g)) for g in grads.values())))


# --- optimizers -------------------------------------------------------------------------------------


class SGD:
    """Stochastic gradient descent: ``p -= learning_rate * g`` (Robbins and Monro, 1951).

    Attributes
    ----------
    learning_rate : float
        May be changed between steps.
    state : dict
        All that the optimizer remembers, here nothing; saving it and setting it back resumes the run.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.state: Params = {}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads)
        for name in params:
            for p, g in blocks(params[name], grads[name]):
                p -= self.learning_rate * g


class Adagrad:
    """Adagrad: each entry's step shrinks with the gradients it has seen (Duchi, Hazan and Singer, 2011)::

        memory += g * g
        p -= learning_rate * g / sqrt(memory + 1e-8)

    Attributes
    ----------
    learning_rate : float
        May be changed between steps.
    state : dict
        Each parameter's ``memory``, the sum of its squared gradients, under the parameter's name.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.state: Params = {}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads)
        for name in params:
            if name not in self.state:
                self.state[name] = np.zeros_like(params[name])
            for p, g, memory in blocks(params[name], grads[name], self.state[name]):
                memory += g * g
                p -= self.learning_rate * g / np.sqrt(memory + 1e-8)


def check_positive(name: str, value: float) -> float:
    """Return ``value`` if it is a positive number, else raise ValueError (NaN is not positive)."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    return value
