"""From gradients to the next parameters: clipping, then one step of an optimizer.

Parameters and gradients are flat dicts under the same names, so each rule is one loop over names. Both the clipping
functions and ``step`` work in place: for ten million parameters the memory traffic of a copy would cost more
than the arithmetic.

Every optimizer has a ``learning_rate``, which may be changed between steps, and a ``state``, a dict of arrays with all
that it remembers: saved and set back, it goes on as if nothing had happened.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minirnn.checks import Array, Params, check_decay, check_grads, check_limit, check_positive

BLOCK = 1 << 16  # elements worked on at a time, so that what one line writes the next still finds in the cache


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Cut arrays of one shape into the same runs of rows, as views of at most about ``BLOCK`` elements."""
    first = arrays[0]
    rows = max(1, BLOCK * len(first) // max(first.size, 1))
    for i in range(0, len(first), rows):
        yield tuple(array[i : i + rows] for array in arrays)


def touched_blocks(g: Array, *arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Like :func:`blocks`, without the rows whose gradient ``g`` is zero: most of an embedding table's.

    Only for rules that leave such rows as they are (SGD, Adagrad, not RMSProp or Adam); for those it is exact.
    """
    if 2 * np.count_nonzero(g.reshape(len(g), -1)[:, 0]) > len(g):  # a glance at one column: a dense gradient
        yield from blocks(g, *arrays)
        return
    rows = np.flatnonzero(g.reshape(len(g), -1).any(axis=1))
    picked = tuple(array[rows] for array in (g, *arrays))
    yield picked
    for array, updated in zip(arrays, picked[1:], strict=True):
        array[rows] = updated


# --- clipping ---------------------------------------------------------------------------------------


def clip_value(grads: Params, limit: float) -> None:
    """Clip every entry into [-limit, limit], in place: min-char-rnn's remedy for exploding gradients.

    Large entries are cut and small ones left, so the direction of the step changes; see :func:`clip_norm`.
    """
    check_limit("limit", limit)
    for g in grads.values():
        np.clip(g, -limit, limit, out=g)


def clip_norm(grads: Params, limit: float) -> float:
    """Scale all gradients by one factor so that their global norm is at most ``limit``, in place.

    The direction of the step stays (Pascanu, Mikolov and Bengio, 2013). Returns the norm before clipping.
    """
    check_limit("limit", limit)
    norm = global_norm(grads)
    if limit < norm < np.inf:
        for g in grads.values():
            g *= limit / norm
    return norm


def global_norm(grads: Params) -> float:
    """Euclidean norm of all gradients taken as one long vector."""
    return float(np.sqrt(sum(float(np.vdot(g, g)) for g in grads.values())))


# --- optimizers -------------------------------------------------------------------------------------


class SGD:
    """Stochastic gradient descent: ``p -= learning_rate * g`` (Robbins and Monro, 1951)."""

    def __init__(self, learning_rate: float):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.state: Params = {}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads, self.state)
        for name in params:
            for g, p in touched_blocks(grads[name], params[name]):
                p -= self.learning_rate * g


class Adagrad:
    """Adagrad: each entry's step shrinks with the gradients it has seen (Duchi, Hazan and Singer, 2011)::

    memory += g * g
    p -= learning_rate * g / sqrt(memory + 1e-8)

    The memory only grows, so the steps only shrink.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.state: Params = {}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads, self.state)
        for name in params:
            if name not in self.state:
                self.state[name] = np.zeros_like(params[name])
            for g, p, memory in touched_blocks(grads[name], params[name], self.state[name]):
                memory += g * g
                p -= self.learning_rate * g / np.sqrt(memory + 1e-8)


class RMSProp:
    """RMSProp: steps relative to a moving average of squared gradients (Tieleman and Hinton, 2012)::

    average = decay * average + (1 - decay) * g * g
    p -= learning_rate * g / (sqrt(average) + 1e-8)

    The average forgets, so the steps need not die out as Adagrad's do. Decay 0.95 is char-rnn's.
    """

    def __init__(self, learning_rate: float, decay: float = 0.95):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.decay = check_decay("decay", decay)
        self.state: Params = {}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads, self.state)
        for name in params:
            if name not in self.state:
                self.state[name] = np.zeros_like(params[name])
            for g, p, average in blocks(grads[name], params[name], self.state[name]):
                average *= self.decay
                average += (1 - self.decay) * g * g
                p -= self.learning_rate * g / (np.sqrt(average) + 1e-8)


class Adam:
    """Adam: RMSProp with momentum, both averages corrected for starting at zero (Kingma and Ba, 2015)::

    m = beta1 * m + (1 - beta1) * g                 mhat = m / (1 - beta1**t)
    v = beta2 * v + (1 - beta2) * g * g             vhat = v / (1 - beta2**t)
    p -= learning_rate * mhat / (sqrt(vhat) + 1e-8)

    t counts the steps.
    """

    def __init__(self, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.beta1, self.beta2 = check_decay("beta1", beta1), check_decay("beta2", beta2)
        self.state: Params = {"t": np.zeros((), np.int64)}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads, self.state)
        self.state["t"] = self.state["t"] + 1
        t = int(self.state["t"])
        # Both corrections are plain factors, so they can be moved out of the arrays: mhat = m / c1, vhat = v / c2.
        c1, c2 = 1 - self.beta1**t, 1 - self.beta2**t
        for name in params:
            for slot in (f"m/{name}", f"v/{name}"):
                if slot not in self.state:
                    self.state[slot] = np.zeros_like(params[name])
            for g, p, m, v in blocks(grads[name], params[name], self.state[f"m/{name}"], self.state[f"v/{name}"]):
                m *= self.beta1
                m += (1 - self.beta1) * g
                v *= self.beta2
                v += (1 - self.beta2) * g * g
                p -= self.learning_rate / c1 * m / (np.sqrt(v / c2) + 1e-8)


Optimizer = SGD | Adagrad | RMSProp | Adam
OPTIMIZERS: dict[str, Callable[[float], Optimizer]] = {"sgd": SGD, "adagrad": Adagrad, "rmsprop": RMSProp, "adam": Adam}
