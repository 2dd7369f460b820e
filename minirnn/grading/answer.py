"""The model answer of the assignment, in plain loops: one step at a time, as on the blackboard.

The lessons (:mod:`minirnn.rnn`, :mod:`minirnn.gru`, :mod:`minirnn.lstm`) take out of the loop what no step needs from
another. Here nothing is taken out, and every line of a backward pass mirrors one of its forward pass; a test holds both
forms equal to twelve digits. It is also where the catalogue makes its mistakes: see ``catalogue.txt``.

Letters: T time steps, B sequences (each a column), D input features, H hidden units, V vocabulary size, N tokens.
"""

import numpy as np

from minirnn.checks import Array, Params, State

# --- the tanh network -------------------------------------------------------------------------------


def rnn_step_forward(params: Params, x: Array, h: Array) -> tuple[Array, tuple]:
    """One step: x (D, B) and the state h (H, B) -> the next h (H, B), and the cache (params, x, h, next h)."""
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    h_next = np.tanh(Wxh @ x + Whh @ h + bh)
    return h_next, (params, x, h, h_next)


def rnn_step_backward(dh: Array, cache: tuple) -> tuple[Array, Array, Params]:
    """Back through one step: dh (H, B), of the next h -> dx (D, B), the gradient of h before (H, B), grads."""
    params, x, h, h_next = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    da = dh * (1 - h_next**2)  # next h = tanh(a), a = Wxh @ x + Whh @ h + bh: each of the five gets its share of da
    dx = Wxh.T @ da
    dh_before = Whh.T @ da
    grads = {"Wxh": da @ x.T, "Whh": da @ h.T, "bh": da.sum(axis=1, keepdims=True)}
    return dx, dh_before, grads


def rnn_forward(params: Params, x: Array, state: State) -> tuple[Array, State, tuple]:
    """The sequence: x (T, D, B), state (h,) with h (H, B) -> h (T, H, B), the final state, and the cache
    (params, x, hs), where hs (T+1, H, B) begins with the state before the first step."""
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    (h,) = state
    hs = [h]
    for t in range(len(x)):
        h = np.tanh(Wxh @ x[t] + Whh @ h + bh)
        hs.append(h)
    return np.stack(hs[1:]), (h,), (params, x, np.stack(hs))


def rnn_backward(dh: Array, cache: tuple, dstate: State) -> tuple[Array, State, Params]:
    """Back through time: dh (T, H, B), dstate (dh_last,) -> dx (T, D, B), (dh0,), and grads with the keys of params."""
    params, x, hs = cache
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    dx, dWxh, dWhh, dbh = np.zeros_like(x), np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(bh)
    (dhnext,) = dstate
    for t in reversed(range(len(x))):
        dh_t = dh[t] + dhnext  # h[t] was used twice: as an output, and by step t+1
        da = dh_t * (1 - hs[t + 1] ** 2)  # h[t] = tanh(a[t])
        dWxh += da @ x[t].T  # a[t] = Wxh @ x[t] + Whh @ h[t-1] + bh, with the same weights at every step
        dWhh += da @ hs[t].T
        dbh += da.sum(axis=1, keepdims=True)
        dx[t] = Wxh.T @ da
        dhnext = Whh.T @ da
    grads = {"Wxh": dWxh, "Whh": dWhh, "bh": dbh}
    return dx, (dhnext,), grads


# --- the loss, and from gradients to the next parameters ----------------------------------------------


def softmax_cross_entropy(logits: Array, targets: Array, weights: Array | None = None) -> tuple[float, Array]:
    """Loss in nats of targets (N,) under logits (V, N), and its gradient dlogits (V, N).

    weights (N,): what each token counts; 1/N each, the mean, unless they are given.
    """
    N = len(targets)
    weights = np.full(N, 1 / N) if weights is None else weights
    shifted = logits - logits.max(axis=0)  # the same probabilities, and exp cannot overflow
    Z = np.exp(shifted).sum(axis=0)  # (N,)
    p = np.exp(shifted) / Z  # (V, N)
    loss, dlogits = 0.0, p * weights
    for n in range(N):
        loss += weights[n] * (np.log(Z[n]) - shifted[targets[n], n])  # -log p[target]
        dlogits[targets[n], n] -= weights[n]
    return loss, dlogits


def clip_value(grads: Params, limit: float) -> None:
    """Clip every entry into [-limit, limit], in place."""
    for g in grads.values():
        np.clip(g, -limit, limit, out=g)


def clip_norm(grads: Params, limit: float) -> float:
    """Scale all arrays by one factor so that their global norm is at most limit, in place; the norm before that."""
    norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
    if norm > limit:
        for g in grads.values():
            g *= limit / norm
    return norm


def adagrad_step(params: Params, grads: Params, memory: Params, learning_rate: float) -> None:
    """One step of Adagrad, in place in params and memory."""
    for name, g in grads.items():
        memory[name] += g**2
        params[name] -= learning_rate * g / np.sqrt(memory[name] + 1e-8)


def sample_token(logits: Array, temperature: float, rng: np.random.Generator) -> int:
    """Draw an id from softmax(logits / temperature), logits (V,); temperature 0 takes the most probable one."""
    if temperature == 0:
        return int(logits.argmax())
    p = np.exp((logits - logits.max()) / temperature)
    return int(rng.choice(len(p), p=p / p.sum()))


# --- gates ------------------------------------------------------------------------------------------


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), of any shape."""
    return 1 / (1 + np.exp(-a))


def gru_forward(params: Params, x: Array, state: State) -> tuple[Array, State, tuple]:
    """The GRU over a sequence; as rnn_forward, with the cache (params, x, hs, gates, us): gates (T, 3H, B) are r, z, n,
    and us (T, H, B) the values of u."""
    Wxh, Whh, bh, bhn = params["Wxh"], params["Whh"], params["bh"], params["bhn"]
    (h,) = state
    hs, gates, us = [h], [], []
    for t in range(len(x)):
        a_r, a_z, a_n = np.split(Wxh @ x[t] + bh, 3)
        Wh_r, Wh_z, Wh_n = np.split(Whh @ h, 3)
        r = sigmoid(a_r + Wh_r)
        z = sigmoid(a_z + Wh_z)
        u = Wh_n + bhn
        n = np.tanh(a_n + r * u)
        h = (1 - z) * n + z * h
        hs.append(h)
        gates.append(np.concatenate([r, z, n]))
        us.append(u)
    return np.stack(hs[1:]), (h,), (params, x, np.stack(hs), np.stack(gates), np.stack(us))


def gru_backward(dh: Array, cache: tuple, dstate: State) -> tuple[Array, State, Params]:
    """Back through time for the GRU; arguments and results as in rnn_backward."""
    params, x, hs, gates, us = cache
    Wxh, Whh, bh, bhn = params["Wxh"], params["Whh"], params["bh"], params["bhn"]
    dx, dWxh, dWhh, dbh, dbhn = (np.zeros_like(v) for v in (x, Wxh, Whh, bh, bhn))
    (dhnext,) = dstate
    for t in reversed(range(len(x))):
        r, z, n = np.split(gates[t], 3)
        dh_t = dh[t] + dhnext
        da_n = dh_t * (1 - z) * (1 - n**2)  # h[t] = (1 - z) * n + z * h[t-1], n = tanh(a_n + r * u)
        da_z = dh_t * (hs[t] - n) * z * (1 - z)
        da_r = da_n * us[t] * r * (1 - r)
        du = da_n * r
        da = np.concatenate([da_r, da_z, da_n])  # (3H, B), what Wxh @ x[t] + bh receives
        dWh = np.concatenate([da_r, da_z, du])  # (3H, B), what Whh @ h[t-1] receives
        dWxh += da @ x[t].T
        dWhh += dWh @ hs[t].T
        dbh += da.sum(axis=1, keepdims=True)
        dbhn += du.sum(axis=1, keepdims=True)
        dx[t] = Wxh.T @ da
        dhnext = dh_t * z + Whh.T @ dWh
    grads = {"Wxh": dWxh, "Whh": dWhh, "bh": dbh, "bhn": dbhn}
    return dx, (dhnext,), grads


def lstm_forward(params: Params, x: Array, state: State) -> tuple[Array, State, tuple]:
    """The LSTM over a sequence; as rnn_forward, with the state (h, c) and the cache (params, x, hs, cs, gates): cs
    (T+1, H, B), and gates (T, 4H, B), the values of i, f, o, g."""
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    h, c = state
    hs, cs, gates = [h], [c], []
    for t in range(len(x)):
        a_i, a_f, a_o, a_g = np.split(Wxh @ x[t] + Whh @ h + bh, 4)
        i, f, o, g = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o), np.tanh(a_g)
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
        gates.append(np.concatenate([i, f, o, g]))
    return np.stack(hs[1:]), (h, c), (params, x, np.stack(hs), np.stack(cs), np.stack(gates))


def lstm_backward(dh: Array, cache: tuple, dstate: State) -> tuple[Array, State, Params]:
    """Back through time for the LSTM; as rnn_backward, with dstate (dh_last, dc_last), and (dh0, dc0) returned."""
    params, x, hs, cs, gates = cache
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    dx, dWxh, dWhh, dbh = np.zeros_like(x), np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(bh)
    dhnext, dcnext = dstate
    for t in reversed(range(len(x))):
        i, f, o, g = np.split(gates[t], 4)
        tanh_c = np.tanh(cs[t + 1])
        dh_t = dh[t] + dhnext
        dc = dcnext + dh_t * o * (1 - tanh_c**2)  # c[t] was used twice: by h[t] = o * tanh(c[t]), and by c[t+1]
        da_i = dc * g * i * (1 - i)  # c[t] = f * c[t-1] + i * g
        da_f = dc * cs[t] * f * (1 - f)
        da_o = dh_t * tanh_c * o * (1 - o)
        da_g = dc * i * (1 - g**2)
        da = np.concatenate([da_i, da_f, da_o, da_g])  # (4H, B)
        dWxh += da @ x[t].T
        dWhh += da @ hs[t].T
        dbh += da.sum(axis=1, keepdims=True)
        dx[t] = Wxh.T @ da
        dhnext = Whh.T @ da
        dcnext = dc * f
    grads = {"Wxh": dWxh, "Whh": dWhh, "bh": dbh}
    return dx, (dhnext, dcnext), grads


# --- beyond the assignment: the layers around the cell, and a whole model -----------------------------


def linear_backward(dy: Array, x: Array, W: Array) -> tuple[Array, Array, Array]:
    """Back through y = W @ x + b: dy (V, N), x (D, N), W (V, D) -> dx (D, N), dW (V, D), db (V, 1)."""
    dx = W.T @ dy
    dW = dy @ x.T
    db = dy.sum(axis=1, keepdims=True)
    return dx, dW, db


def embedding_backward(dx: Array, ids: Array, table: Array) -> Array:
    """Back through x[t, :, b] = table[ids[t, b]]: dx (T, D, B), ids (T, B) -> the gradient of the table (V, D)."""
    dtable = np.zeros_like(table)
    for t, b in np.ndindex(ids.shape):
        dtable[ids[t, b]] += dx[t, :, b]
    return dtable


def tied_model(params: Params, x: Array, y: Array, lengths: Array, masks: tuple) -> tuple[float, Params, Array]:
    """Embedding, dropout, tanh cell, dropout, softmax, with one table (V, H) as embedding and as output layer.

    params: those of the cell, table, by (V, 1);  x, y (T, B): ids and their targets, real where t < lengths[b];
    masks: of the dropout, two arrays (T, H, B). Returns the mean loss of the real tokens, grads, and the last state
    (H, B) of each sequence.
    """
    (T, B), table = x.shape, params["table"]
    embedded = table[x].transpose(0, 2, 1)  # (T, H, B)
    h, _, cache = rnn_forward(params, embedded * masks[0], (np.zeros_like(embedded[0]),))
    out = h * masks[1]
    real = np.arange(T)[:, None] < lengths  # (T, B)
    weights = real / real.sum()

    loss, dout = 0.0, np.zeros_like(h)
    dtable, dby = np.zeros_like(table), np.zeros_like(params["by"])
    for t in range(T):
        loss_t, dlogits = softmax_cross_entropy(table @ out[t] + params["by"], y[t], weights[t])
        loss += loss_t
        dout[t], dW, db = linear_backward(dlogits, out[t], table)
        dtable += dW
        dby += db
    dh = dout * masks[1]
    dx, _, grads = rnn_backward(dh, cache, (np.zeros_like(h[0]),))
    dtable += embedding_backward(dx * masks[0], x, table)
    grads = grads | {"table": dtable, "by": dby}
    return loss, grads, h[lengths - 1, :, np.arange(B)].T
