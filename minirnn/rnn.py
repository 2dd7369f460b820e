"""The vanilla recurrent network, forward and backward through time.

A recurrent network reads a sequence one step at a time and carries a hidden state ``h`` from step to step.
The new state is computed from the input and from the old state, always with the same three parameters::

    a[t] = Wxh @ x[t] + Whh @ h[t-1] + bh
    h[t] = tanh(a[t])

That is all there is to the forward pass. The backward pass walks the same steps in reverse. At step t the
state ``h[t]`` was used twice: by whatever read it as an output (the gradient ``dh[t]`` that the caller hands in)
and by step t+1 (the gradient ``dhnext`` that comes back along the recurrence). Gradients of two uses add up::

    da[t]  = (dh[t] + dhnext) * (1 - h[t]**2)         through tanh, whose derivative is 1 - tanh**2
    dhnext = Whh.T @ da[t]                            what step t-1 will receive
    dx[t]  = Wxh.T @ da[t]                            what the input receives

The same parameters acted at every step, so the gradient of each is the sum over all steps (and over the batch)::

    dWxh = sum_t da[t] @ x[t].T       dWhh = sum_t da[t] @ h[t-1].T       dbh = sum_t sum_b da[t][:, b]

Only the recurrence itself has to be a loop. What no step needs from another leaves it: ``Wxh @ x`` goes before the
loop, all gradients but ``da`` and ``dhnext`` after it, each one matrix product on "the bag", a matrix in which the
columns of all steps lie side by side.

Shapes: x (T, D, B), h (T, H, B), Wxh (H, D), Whh (H, H), bh (H, 1); T steps of B sequences, one per column.

Sources: Elman (1990), "Finding structure in time"; Werbos (1990), "Backpropagation through time"; the
equations and names are those of Karpathy's min-char-rnn (2015).
"""

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import Array, Params, Rng, State, check_cell_gradient, check_cell_input
from minirnn.ops import from_bag, pick, to_bag


def init(input_size: int, hidden_size: int, rng: Rng, dtype: DTypeLike = np.float32) -> Params:
    """Draw all weights uniformly from +-1/sqrt(H); biases are zero.

    The sum over H units in ``Whh @ h`` then has one size for every H. ``Wxh`` is drawn alike: a one-hot input picks a
    single column of it, so the width of the input does not matter.

    Returns ``{"Wxh": (H, D), "Whh": (H, H), "bh": (H, 1)}``.
    """
    rng = np.random.default_rng(rng)
    bound = hidden_size**-0.5
    return {
        "Wxh": rng.uniform(-bound, bound, (hidden_size, input_size)).astype(dtype),
        "Whh": rng.uniform(-bound, bound, (hidden_size, hidden_size)).astype(dtype),
        "bh": np.zeros((hidden_size, 1), dtype),
    }


def zero_state(hidden_size: int, batch_size: int, dtype: DTypeLike = np.float32) -> State:
    """The state before anything was read: ``(h,)`` with h (H, B) all zero."""
    return (np.zeros((hidden_size, batch_size), dtype),)


def forward(params: Params, x: Array, state: State) -> tuple[Array, State, tuple]:
    """Run the recurrence over a sequence.

    Parameters
    ----------
    params : dict
        Wxh (H, D), Whh (H, H), bh (H, 1).
    x : array (T, D, B)
    state : tuple
        ``(h,)``: the hidden state (H, B) before the first step.

    Returns
    -------
    h : array (T, H, B)
        The hidden state after each step.
    state : tuple
        ``(h[T-1],)``: hand it to the next call to go on where this one stopped.
    cache : tuple
        What :func:`backward` needs. It refers to ``params`` and ``x``: call backward before they change.

    Raises
    ------
    ValueError
        If the shapes of x or state do not fit the weights.
    """
    x, (h0,) = check_cell_input(params, x, state)
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    T = len(x)

    ax = from_bag(Wxh @ to_bag(x) + bh, T)  # (T, H, B): the input's share of a[t], for all steps at once
    hs = np.empty((T + 1, *h0.shape), x.dtype)  # (T+1, H, B): hs[t+1] is h[t], and hs[0] the state before
    hs[0] = h0
    for t in range(T):
        hs[t + 1] = np.tanh(ax[t] + Whh @ hs[t])

    return hs[1:].copy(), (hs[T].copy(),), (params, x, hs)


def backward(dh: Array, cache: tuple, dstate: State | None = None) -> tuple[Array, State, Params]:
    """Run the chain rule back through the steps of :func:`forward`.

    Parameters
    ----------
    dh : array (T, H, B)
        Gradient of the loss with respect to each ``h[t]``, as far as it was read as an output.
    cache : tuple
        From :func:`forward`.
    dstate : tuple, optional
        ``(dhlast,)``: gradient (H, B) of the final state, if later steps used it. Without it the future is cut off:
        that is truncated back-propagation through time.

    Returns
    -------
    dx : array (T, D, B)
    dstate : tuple
        ``(dh0,)``: gradient (H, B) of the state before the first step.
    grads : dict
        dWxh, dWhh, dbh under the keys of the parameters.

    Raises
    ------
    ValueError
        If dh or dstate does not have the shape of what it is the gradient of.
    """
    params, x, hs = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    h, hprev = hs[1:], hs[:-1]  # (T, H, B) each: hprev[t] is h[t-1]
    dh, (dhnext,) = check_cell_gradient(dh, dstate, h)  # dhnext (H, B): what comes back from beyond the end

    slope = 1 - h**2  # (T, H, B): h = tanh(a)  =>  dh/da = 1 - h**2
    da = np.empty_like(h)  # (T, H, B)
    for t in reversed(range(len(h))):
        da[t] = (dh[t] + dhnext) * slope[t]
        dhnext = Whh.T @ da[t]

    da_bag = to_bag(da)  # (H, N): a sum over steps and batch becomes one matrix product
    grads = {
        "Wxh": da_bag @ to_bag(x).T,
        "Whh": da_bag @ to_bag(hprev).T,
        "bh": da_bag.sum(axis=1, keepdims=True),
    }
    dx = from_bag(Wxh.T @ da_bag, len(h))  # (T, D, B)
    return dx, (dhnext,), grads


def state_at(cache: tuple, lengths: Array) -> State:
    """The state of each sequence b after its own ``lengths[b]`` steps, from the cache of :func:`forward`."""
    _, _, hs = cache
    return (pick(hs, lengths),)
