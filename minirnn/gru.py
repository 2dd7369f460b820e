"""The gated recurrent unit, forward and backward through time.

The GRU keeps the LSTM's idea, a state that is gated and added to, but needs only one state. An update gate ``z`` says
for each unit how much of the old state stays; the rest is filled from a candidate ``n``. A reset gate ``r`` says how
much of the old state the candidate may see::

    r = sigmoid(Wxr @ x[t] + br + Whr @ h[t-1])
    z = sigmoid(Wxz @ x[t] + bz + Whz @ h[t-1])
    u = Whn @ h[t-1] + bhn
    n = tanh(Wxn @ x[t] + bn + r * u)                 the reset gate acts after the product
    h[t] = (1 - z) * n + z * h[t-1]

The blocks r, z, n of each weight are stacked as rows of Wxh, Whh and bh, so that each side takes one product. In r and
z the two sides are simply added, and one bias serves both. In n the reset gate stands between them: bn is outside its
reach, bhn inside, so the candidate needs both.

The old state is used in three ways, by the mixture, by z and r, and by u, and their gradients add up::

    dh   = dh[t] + dhnext
    da_n = dh * (1 - z) * (1 - n**2)                  into the tanh
    da_z = dh * (h[t-1] - n) * z (1 - z)
    da_r = da_n * u * r (1 - r)
    du   = da_n * r                                   u reaches the loss through r * u only
    dhnext = dh * z + Whh.T @ (da_r, da_z, du)

The gradients on the input's side (dWxh, dbh, dx) are made of (da_r, da_z, da_n), those on the recurrent side (dWhh,
dbhn) of (da_r, da_z, du).

Shapes: x (T, D, B), h (T, H, B), Wxh (3H, D), Whh (3H, H), bh (3H, 1), bhn (H, 1), gate rows in the order r, z, n.

Sources: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder"; with the reset gate after the
product, as in cuDNN and PyTorch, so that the recurrent side is a single matrix product.
"""

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import Array, Params, Rng, State, check_cell_gradient, check_cell_input
from minirnn.ops import from_bag, pick, sigmoid, to_bag


def init(input_size: int, hidden_size: int, rng: Rng, dtype: DTypeLike = np.float32) -> Params:
    """Draw the weights uniformly from +-1/sqrt(H); biases are zero.

    Returns ``{"Wxh": (3H, D), "Whh": (3H, H), "bh": (3H, 1), "bhn": (H, 1)}``.
    """
    rng, H = np.random.default_rng(rng), hidden_size
    bound = H**-0.5
    return {
        "Wxh": rng.uniform(-bound, bound, (3 * H, input_size)).astype(dtype),
        "Whh": rng.uniform(-bound, bound, (3 * H, H)).astype(dtype),
        "bh": np.zeros((3 * H, 1), dtype),
        "bhn": np.zeros((H, 1), dtype),
    }


def zero_state(hidden_size: int, batch_size: int, dtype: DTypeLike = np.float32) -> State:
    """The state before anything was read: ``(h,)`` with h (H, B) all zero."""
    return (np.zeros((hidden_size, batch_size), dtype),)


def forward(params: Params, x: Array, state: State) -> tuple[Array, State, tuple]:
    """Run the recurrence over a sequence; arguments and results as in :func:`minirnn.rnn.forward`."""
    x, (h0,) = check_cell_input(params, x, state)
    Wxh, Whh, bh, bhn = params["Wxh"], params["Whh"], params["bh"], params["bhn"]
    T, H = len(x), len(h0)

    gates = from_bag(Wxh @ to_bag(x) + bh, T)  # (T, 3H, B): the input's share; the loop replaces it by r, z, n
    us = np.empty((T, *h0.shape), x.dtype)  # (T, H, B)
    hs = np.empty((T + 1, *h0.shape), x.dtype)  # (T+1, H, B): hs[t+1] is h[t], and hs[0] the state before
    hs[0] = h0
    for t in range(T):
        Wh = Whh @ hs[t]  # (3H, B)
        us[t] = Wh[2 * H :] + bhn
        gates[t, : 2 * H] = sigmoid(gates[t, : 2 * H] + Wh[: 2 * H])
        r, z, n = gates[t].reshape(3, H, -1)  # views; n still holds Wxn @ x[t] + bn
        n[...] = np.tanh(n + r * us[t])
        hs[t + 1] = n + z * (hs[t] - n)  # (1 - z) n + z h, with one product less

    return hs[1:].copy(), (hs[T].copy(),), (params, x, hs, gates, us)


def backward(dh: Array, cache: tuple, dstate: State | None = None) -> tuple[Array, State, Params]:
    """Run the chain rule back through :func:`forward`; arguments and results as in :func:`minirnn.rnn.backward`."""
    params, x, hs, gates, us = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    T, H = len(x), hs.shape[1]
    hprev = hs[:-1]  # (T, H, B): hprev[t] is h[t-1]
    dh, (dhnext,) = check_cell_gradient(dh, dstate, hprev)

    da_n = np.empty_like(us)  # (T, H, B)
    dWh = np.empty_like(gates)  # (T, 3H, B): da_r, da_z and du, the gradient of forward's Wh
    for t in reversed(range(T)):
        r, z, n = gates[t].reshape(3, H, -1)
        da_r, da_z, du = dWh[t].reshape(3, H, -1)  # views: writing to them writes to dWh
        dh_t = dh[t] + dhnext
        da_n[t] = dh_t * (1 - z) * (1 - n**2)
        da_z[...] = dh_t * (hprev[t] - n) * z * (1 - z)
        da_r[...] = da_n[t] * us[t] * r * (1 - r)
        du[...] = da_n[t] * r
        dhnext = dh_t * z + Whh.T @ dWh[t]

    dWh_bag = to_bag(dWh)  # (3H, N)
    da_bag = np.concatenate([dWh_bag[: 2 * H], to_bag(da_n)])  # (3H, N): the gradient of Wxh @ x[t] + bh
    grads = {
        "Wxh": da_bag @ to_bag(x).T,
        "Whh": dWh_bag @ to_bag(hprev).T,
        "bh": da_bag.sum(axis=1, keepdims=True),
        "bhn": dWh_bag[2 * H :].sum(axis=1, keepdims=True),
    }
    dx = from_bag(Wxh.T @ da_bag, T)  # (T, D, B)
    return dx, (dhnext,), grads


def state_at(cache: tuple, lengths: Array) -> State:
    """The state of each sequence b after its own ``lengths[b]`` steps, from the cache of :func:`forward`."""
    _, _, hs, _, _ = cache
    return (pick(hs, lengths),)
