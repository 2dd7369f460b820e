"""Recurrent networks by hand. Fill in every function; HANDOUT.md explains them, and how to check your work.

Letters: T time steps, B sequences in the batch (each a *column*), D input features, H hidden units, V vocabulary size,
N = T*B tokens. `params` is a dict of arrays. The gradient of z is called dz and has the shape of z.

Rules: NumPy only. Do not change an argument in place, unless the docstring says "in place". Return exactly what the
docstring lists, in its order.
"""

import numpy as np  # noqa: F401 - you will need it

# --- Part 1: the tanh network -------------------------------------------------------------------------


def rnn_step_forward(params, x, h):
    """One step of the tanh cell:  next h = tanh(Wxh @ x + Whh @ h + bh).

    params: {"Wxh": (H, D), "Whh": (H, H), "bh": (H, 1)};  x: (D, B);  h: (H, B), the state before the step

    Returns (next h (H, B), cache), where cache is the tuple (params, x, h, next h).
    """
    raise NotImplementedError


def rnn_step_backward(dh, cache):
    """Back through one step.

    dh: (H, B), the gradient of the loss with respect to the next h;  cache: from rnn_step_forward

    With a = Wxh @ x + Whh @ h + bh:  da = dh * (1 - tanh(a)**2), and each input of a gets its share of da.

    Returns (dx (D, B), gradient of the h before the step (H, B), grads), where grads has the keys of params.
    """
    raise NotImplementedError


def rnn_forward(params, x, state):
    """The tanh cell over a sequence:  h[t] = tanh(Wxh @ x[t] + Whh @ h[t-1] + bh),  t = 0 ... T-1.

    params: as above;  x: (T, D, B);  state: (h0,), a tuple with the state (H, B) before the first step

    Returns (h (T, H, B), state, cache): state is the tuple (h[T-1],), and cache the tuple (params, x, hs) with
    hs: (T+1, H, B), hs[0] the state before the first step and hs[t+1] = h[t].
    """
    raise NotImplementedError


def rnn_backward(dh, cache, dstate):
    """Back-propagation through time.

    dh: (T, H, B), the gradient with respect to each h[t], as far as it was used as an output;  cache: from rnn_forward;
    dstate: (dh_last,), the gradient (H, B) that comes back to h[T-1] from whatever follows the last step

    For t = T-1 ... 0:  da[t] = (dh[t] + dhnext) * (1 - h[t]**2),  dhnext = Whh.T @ da[t];  dhnext begins as dh_last.

    Returns (dx (T, D, B), (gradient of h0 (H, B),), grads).
    """
    raise NotImplementedError


def softmax_cross_entropy(logits, targets):
    """The mean over N tokens of -log softmax(logits[:, n])[targets[n]], in nats, and its gradient.

    logits: (V, N);  targets: N integers in 0 ... V-1

    Must survive logits of 10,000. Returns (loss, dlogits (V, N)).
    """
    raise NotImplementedError


def clip_value(grads, limit):
    """Clip every entry of every array in the dict grads into [-limit, limit], in place. Returns nothing."""
    raise NotImplementedError


def clip_norm(grads, limit):
    """Scale all arrays in the dict grads by one factor so that their global norm is at most limit, in place.

    The global norm is the Euclidean norm of all entries of all arrays together. Gradients below the limit stay as they
    are. Returns the norm before clipping.
    """
    raise NotImplementedError


def adagrad_step(params, grads, memory, learning_rate):
    """One step of Adagrad for every name in params, in place in params and memory:

    memory = memory + grad**2,  then  param = param - learning_rate * grad / sqrt(memory + 1e-8)

    All three are dicts of arrays under the same names. Returns nothing.
    """
    raise NotImplementedError


def sample_token(logits, temperature, rng):
    """Draw an index from softmax(logits / temperature); temperature 0 takes the largest logit.

    logits: (V,), which may be as large as 5,000;  rng: a numpy.random.Generator, the only source of chance

    Returns an int.
    """
    raise NotImplementedError


# --- Part 2: gates --------------------------------------------------------------------------------------


def gru_forward(params, x, state):
    """The GRU over a sequence. With sigmoid s, and the blocks r, z, n of H rows each, in this order:

    r = s(Wxr @ x[t] + br + Whr @ h[t-1])        u = Whn @ h[t-1] + bhn        n = tanh(Wxn @ x[t] + bn + r * u)
    z = s(Wxz @ x[t] + bz + Whz @ h[t-1])        h[t] = (1 - z) * n + z * h[t-1]

    params: {"Wxh": (3H, D), "Whh": (3H, H), "bh": (3H, 1), "bhn": (H, 1)};  x: (T, D, B);  state: (h0,)

    Returns (h (T, H, B), (h[T-1],), cache): cache is the tuple (params, x, hs, gates, us), with hs as in rnn_forward,
    gates: (T, 3H, B), the values of r, z, n, and us: (T, H, B), the values of u.
    """
    raise NotImplementedError


def gru_backward(dh, cache, dstate):
    """Back-propagation through time for the GRU; arguments and results as in rnn_backward."""
    raise NotImplementedError


def lstm_forward(params, x, state):
    """The LSTM over a sequence. With sigmoid s, and the blocks i, f, o, g of H rows each, in this order:

    a = Wxh @ x[t] + Whh @ h[t-1] + bh        i, f, o = s(a_i), s(a_f), s(a_o)        g = tanh(a_g)
    c[t] = f * c[t-1] + i * g                 h[t] = o * tanh(c[t])

    params: {"Wxh": (4H, D), "Whh": (4H, H), "bh": (4H, 1)};  x: (T, D, B);  state: (h0, c0), both (H, B)

    Returns (h (T, H, B), (h[T-1], c[T-1]), cache): cache is the tuple (params, x, hs, cs, gates), with hs as in
    rnn_forward, cs: (T+1, H, B) likewise for c, and gates: (T, 4H, B), the values of i, f, o, g.
    """
    raise NotImplementedError


def lstm_backward(dh, cache, dstate):
    """Back-propagation through time for the LSTM; dstate is (dh_last, dc_last).

    Returns (dx (T, D, B), (gradient of h0, gradient of c0), grads).
    """
    raise NotImplementedError
