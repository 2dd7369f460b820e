"""From gradients to the next parameters: clipping, then one step of an optimizer.

Parameters and gradients are flat dicts under the same names, so each rule is one loop over names. Clipping and ``step``
work in place. Every optimizer has a ``learning_rate``, which may be changed between steps, and a ``state``, a dict of
arrays: what it remembers of the gradients. With the same settings and the same ``state``, which does not hold the
learning rate, it goes on as if nothing had happened.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minirnn.checks import Array, Params, check_decay, check_grads, check_positive

# --- clipping ---------------------------------------------------------------------------------------


def clip_value(grads: Params, limit: float) -> None:
    """Clip every entry into [-limit, limit], in place: min-char-rnn's remedy for exploding gradients.

    Large entries are cut and small ones left, so the gradient's direction changes; see :func:`clip_norm`.
    """
    check_positive("limit", limit, limit=True)
    for g in grads.values():
        np.clip(g, -limit, limit, out=g)


def clip_norm(grads: Params, limit: float) -> float:
    """Scale all gradients by one factor so that their global norm is at most ``limit``, in place.

    The gradient keeps its direction (Pascanu, Mikolov and Bengio, 2013); the step of an optimizer that scales each
    entry by its own history need not. Returns the norm before clipping.
    """
    check_positive("limit", limit, limit=True)
    norm = global_norm(grads)
    if limit < norm < np.inf:
        for g in grads.values():
            g *= limit / norm
    return norm


def global_norm(grads: Params) -> float:
    """Euclidean norm of all gradients taken as one long vector."""
    return float(np.sqrt(sum(float(np.vdot(g, g)) for g in grads.values())))


# --- optimizers -------------------------------------------------------------------------------------
# Each rule stands in its docstring. In the code it is applied block by block: see the end of this file.


class SGD:
    """Stochastic gradient descent: ``p -= learning_rate * g`` (Robbins and Monro, 1951)."""

    def __init__(self, learning_rate: float):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.state: Params = {}

    def step(self, params: Params, grads: Params) -> None:
        """Update ``params`` in place."""
        check_grads(params, grads)
        for g, p in blocks(grads, params):
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
        check_grads(params, grads)
        for g, p, memory in blocks(grads, params, slots(self.state, params)):
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
        check_grads(params, grads)
        for g, p, average in blocks(grads, params, slots(self.state, params)):
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
        check_grads(params, grads)
        averages = slots(self.state, params, "m/"), slots(self.state, params, "v/")
        self.state["t"] = self.state["t"] + 1
        t = int(self.state["t"])
        # Both corrections are plain factors, so they can be moved out of the arrays: mhat = m / c1, vhat = v / c2.
        c1, c2 = 1 - self.beta1**t, 1 - self.beta2**t
        for g, p, m, v in blocks(grads, params, *averages):
            m *= self.beta1
            m += (1 - self.beta1) * g
            v *= self.beta2
            v += (1 - self.beta2) * g * g
            p -= self.learning_rate / c1 * m / (np.sqrt(v / c2) + 1e-8)


Optimizer = SGD | Adagrad | RMSProp | Adam
OPTIMIZERS: dict[str, Callable[[float], Optimizer]] = {"sgd": SGD, "adagrad": Adagrad, "rmsprop": RMSProp, "adam": Adam}


# --- what the rules are applied to ------------------------------------------------------------------

BLOCK = 1 << 16  # elements of each array that are worked on at a time


def slots(state: Params, params: Params, prefix: str = "") -> Params:
    """What an optimizer remembers of each parameter, under ``prefix + name`` in its ``state``; zero at first.

    ValueError if it was another model's.
    """
    for name, p in params.items():
        slot = state.get(prefix + name)
        if slot is None:
            state[prefix + name] = np.zeros_like(p)
        elif slot.shape != p.shape:
            raise ValueError(
                f"the optimizer remembers a {name} of shape {slot.shape}, this one has {p.shape}; "
                f"make a new optimizer for each model"
            )
    return {name: state[prefix + name] for name in params}


def blocks(*dicts: Params) -> Iterator[tuple[Array, ...]]:
    """Walk through dicts of arrays in step, name by name, as views of at most about ``BLOCK`` elements.

    A rule of several lines passes over its arrays several times. In blocks, what one line writes the next still finds
    in the cache: with the 20 million parameters of PTB's medium model Adagrad takes 17 ms so, and 28 in one piece.
    """
    for name, first in dicts[0].items():
        rows = max(1, BLOCK * len(first) // max(first.size, 1))
        for i in range(0, len(first), rows):
            yield tuple(arrays[name][i : i + rows] for arrays in dicts)
