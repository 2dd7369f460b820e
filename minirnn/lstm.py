"""Long short-term memory, forward and backward through time.

The tanh network rewrites its whole state at every step, and a gradient travelling back is multiplied by the slope of
tanh and by ``Whh.T`` each time: over many steps it tends to vanish or to explode. The LSTM adds a second state, the
cell ``c``, that is only ever *gated and added to*. Along this direct path a gradient is multiplied by forget gates and
nothing else, so it lasts for as long as they stay open (what it sends through the gates meets ``Whh.T`` as ever)::

    a[t] = Wxh @ x[t] + Whh @ h[t-1] + bh             four blocks of H rows: i, f, o, g
    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)        input, forget and output gate, each in (0, 1)
    g = tanh(a_g)                                             the candidate: what might be written
    c[t] = f * c[t-1] + i * g
    h[t] = o * tanh(c[t])

Backward, both states bring a message from the next step. The cell is used by ``h[t]`` and by ``c[t+1]``; what reaches a
gate is multiplied by the gate's own slope, ``s (1 - s)`` for a sigmoid s and ``1 - g**2`` for tanh::

    dh     = dh[t] + dhnext
    dc     = dcnext + dh * o * (1 - tanh(c[t])**2)
    da_i   = dc * g      * i (1 - i)                  da_f = dc * c[t-1] * f (1 - f)
    da_o   = dh * tanh(c[t]) * o (1 - o)              da_g = dc * i      * (1 - g**2)
    dcnext = dc * f                                   no matrix in the way: this is the point of it all
    dhnext = Whh.T @ da[t]

Shapes: x (T, D, B), h and c (T, H, B), Wxh (4H, D), Whh (4H, H), bh (4H, 1), gate rows in the order i, f, o, g.

Sources: Hochreiter and Schmidhuber (1997), "Long short-term memory"; the forget gate: Gers, Schmidhuber and Cummins
(2000), and its bias of one: Jozefowicz, Zaremba and Sutskever (2015); the order of the gates is Karpathy's.
"""

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import Array, Params, Rng, State, check_cell_gradient, check_cell_input
from minirnn.ops import from_bag, pick, sigmoid, to_bag


def init(
    input_size: int, hidden_size: int, rng: Rng, dtype: DTypeLike = np.float32, forget_bias: float = 1.0
) -> Params:
    """Draw the weights uniformly from +-1/sqrt(H). Biases are zero but for the forget gate's.

    A bias of 1 keeps sigmoid(1) = 0.73 of the cell at each step, which leaves 8e-5 of it after thirty. Where a task
    asks for a longer memory, begin with a larger one: 5 keeps 0.82 over thirty steps.

    Returns ``{"Wxh": (4H, D), "Whh": (4H, H), "bh": (4H, 1)}``.
    """
    rng, H = np.random.default_rng(rng), hidden_size
    bound = H**-0.5
    params = {
        "Wxh": rng.uniform(-bound, bound, (4 * H, input_size)).astype(dtype),
        "Whh": rng.uniform(-bound, bound, (4 * H, H)).astype(dtype),
        "bh": np.zeros((4 * H, 1), dtype),
    }
    params["bh"][H : 2 * H] = forget_bias
    return params


def zero_state(hidden_size: int, batch_size: int, dtype: DTypeLike = np.float32) -> State:
    """The state before anything was read: ``(h, c)``, both (H, B) and all zero."""
    return np.zeros((hidden_size, batch_size), dtype), np.zeros((hidden_size, batch_size), dtype)


def forward(params: Params, x: Array, state: State) -> tuple[Array, State, tuple]:
    """Run the recurrence over a sequence; arguments and results as in :func:`minirnn.rnn.forward`, state ``(h, c)``."""
    x, (h0, c0) = check_cell_input(params, x, state, states=2)
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    T, H = len(x), len(h0)

    gates = from_bag(Wxh @ to_bag(x) + bh, T)  # (T, 4H, B): the input's share of a; the loop puts i, f, o, g there
    hs = np.empty((T + 1, *h0.shape), x.dtype)  # (T+1, H, B): hs[t+1] is h[t], and hs[0] the state before
    cs = np.empty_like(hs)
    hs[0], cs[0] = h0, c0
    for t in range(T):
        a = gates[t] + Whh @ hs[t]  # (4H, B)
        gates[t, : 3 * H], gates[t, 3 * H :] = sigmoid(a[: 3 * H]), np.tanh(a[3 * H :])
        i, f, o, g = gates[t].reshape(4, H, -1)
        cs[t + 1] = f * cs[t] + i * g
        hs[t + 1] = o * np.tanh(cs[t + 1])

    return hs[1:].copy(), (hs[T].copy(), cs[T].copy()), (params, x, hs, cs, gates)


def backward(dh: Array, cache: tuple, dstate: State | None = None) -> tuple[Array, State, Params]:
    """Run the chain rule back through :func:`forward`; as :func:`minirnn.rnn.backward`, dstate ``(dh, dc)``."""
    params, x, hs, cs, gates = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    T, H = len(x), hs.shape[1]
    hprev, cprev = hs[:-1], cs[:-1]  # (T, H, B) each: hprev[t] is h[t-1]
    dh, (dhnext, dcnext) = check_cell_gradient(dh, dstate, hprev, states=2)

    tanh_c = np.tanh(cs[1:])  # (T, H, B)
    da = np.empty_like(gates)  # (T, 4H, B)
    for t in reversed(range(T)):
        i, f, o, g = gates[t].reshape(4, H, -1)
        da_i, da_f, da_o, da_g = da[t].reshape(4, H, -1)  # views: writing to them writes to da
        dh_t = dh[t] + dhnext
        dc = dcnext + dh_t * o * (1 - tanh_c[t] ** 2)
        da_i[...] = dc * g * i * (1 - i)
        da_f[...] = dc * cprev[t] * f * (1 - f)
        da_o[...] = dh_t * tanh_c[t] * o * (1 - o)
        da_g[...] = dc * i * (1 - g**2)
        dcnext = dc * f
        dhnext = Whh.T @ da[t]

    da_bag = to_bag(da)  # (4H, N)
    grads = {
        "Wxh": da_bag @ to_bag(x).T,
        "Whh": da_bag @ to_bag(hprev).T,
        "bh": da_bag.sum(axis=1, keepdims=True),
    }
    dx = from_bag(Wxh.T @ da_bag, T)  # (T, D, B)
    return dx, (dhnext, dcnext), grads


def state_at(cache: tuple, lengths: Array) -> State:
    """The state of each sequence b after its own ``lengths[b]`` steps, from the cache of :func:`forward`."""
    _, _, hs, cs, _ = cache
    return pick(hs, lengths), pick(cs, lengths)
