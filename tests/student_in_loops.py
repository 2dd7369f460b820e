"""A right solution of the assignment in plain loops, for tests that put mistakes into it."""

import numpy as np


def sigmoid(v):
    return 1.0 / (1.0 + np.exp(-v))


def rnn_step_forward(params, x, h):
    z = params["Wxh"] @ x + params["Whh"] @ h + params["bh"]
    hn = np.tanh(z)
    return hn, (params, x, h, hn)


def rnn_step_backward(dh, cache):
    params, x, h, hn = cache
    da = dh * (1 - hn * hn)
    dx = params["Wxh"].T @ da
    dhp = params["Whh"].T @ da
    grads = {}
    grads["Wxh"] = da @ x.T
    grads["Whh"] = da @ h.T
    grads["bh"] = da.sum(axis=1, keepdims=True)
    return dx, dhp, grads


def rnn_forward(params, x, state):
    T = x.shape[0]
    h = state[0]
    hs = np.zeros((T + 1, *h.shape))
    hs[0] = h
    for t in range(T):
        hs[t + 1] = np.tanh(params["Wxh"] @ x[t] + params["Whh"] @ hs[t] + params["bh"])
    return hs[1:].copy(), (hs[T].copy(),), (params, x, hs)


def rnn_backward(dh, cache, dstate):
    params, x, hs = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    T = x.shape[0]
    dWxh = np.zeros_like(Wxh)
    dWhh = np.zeros_like(Whh)
    dbh = np.zeros_like(params["bh"])
    dx = np.zeros_like(x)
    dhnext = dstate[0]
    for t in range(T - 1, -1, -1):
        d = dh[t] + dhnext
        da = d * (1 - hs[t + 1] ** 2)
        dWxh += da @ x[t].T
        dWhh += da @ hs[t].T
        dbh += da.sum(axis=1, keepdims=True)
        dx[t] = Wxh.T @ da
        dhnext = Whh.T @ da
    return dx, (dhnext,), {"Wxh": dWxh, "Whh": dWhh, "bh": dbh}


def softmax_cross_entropy(logits, targets):
    N = logits.shape[1]
    z = logits - logits.max(axis=0, keepdims=True)
    e = np.exp(z)
    Z = e.sum(axis=0, keepdims=True)
    p = e / Z
    loss = 0.0
    for n in range(N):
        loss += np.log(Z[0, n]) - z[targets[n], n]
    loss = loss / N
    dlogits = p.copy()
    for n in range(N):
        dlogits[targets[n], n] -= 1
    dlogits /= N
    return loss, dlogits


def clip_value(grads, limit):
    for k in grads:
        np.clip(grads[k], -limit, limit, out=grads[k])


def clip_norm(grads, limit):
    total = 0.0
    for k in grads:
        total += (grads[k] ** 2).sum()
    norm = np.sqrt(total)
    if norm > limit:
        for k in grads:
            grads[k] *= limit / norm
    return norm


def adagrad_step(params, grads, memory, learning_rate):
    for k in params:
        memory[k] += grads[k] ** 2
        params[k] -= learning_rate * grads[k] / np.sqrt(memory[k] + 1e-8)


def sample_token(logits, temperature, rng):
    if temperature == 0:
        return int(np.argmax(logits))
    z = logits / temperature
    z = z - z.max()
    p = np.exp(z)
    p = p / p.sum()
    cum = np.cumsum(p)
    u = rng.random()
    return int(min(np.searchsorted(cum, u, side="right"), len(p) - 1))


def gru_forward(params, x, state):
    Wxh, Whh, bh, bhn = params["Wxh"], params["Whh"], params["bh"], params["bhn"]
    h = state[0]
    T, H = x.shape[0], h.shape[0]
    hs = np.zeros((T + 1, H, h.shape[1]))
    gates = np.zeros((T, 3 * H, h.shape[1]))
    us = np.zeros((T, H, h.shape[1]))
    hs[0] = h
    for t in range(T):
        ax = Wxh @ x[t] + bh
        ah = Whh @ hs[t]
        r = sigmoid(ax[:H] + ah[:H])
        z = sigmoid(ax[H : 2 * H] + ah[H : 2 * H])
        u = ah[2 * H :] + bhn
        n = np.tanh(ax[2 * H :] + r * u)
        hs[t + 1] = (1 - z) * n + z * hs[t]
        gates[t, :H] = r
        gates[t, H : 2 * H] = z
        gates[t, 2 * H :] = n
        us[t] = u
    return hs[1:].copy(), (hs[-1].copy(),), (params, x, hs, gates, us)


def gru_backward(dh, cache, dstate):
    params, x, hs, gates, us = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    T, H = x.shape[0], hs.shape[1]
    dWxh, dWhh = np.zeros_like(Wxh), np.zeros_like(Whh)
    dbh, dbhn = np.zeros_like(params["bh"]), np.zeros_like(params["bhn"])
    dx = np.zeros_like(x)
    dhnext = dstate[0]
    for t in reversed(range(T)):
        r, z, n = gates[t, :H], gates[t, H : 2 * H], gates[t, 2 * H :]
        u = us[t]
        hp = hs[t]
        d = dh[t] + dhnext
        dn = d * (1 - z)
        dz = d * (hp - n)
        dan = dn * (1 - n**2)
        dr = dan * u
        du = dan * r
        dar = dr * r * (1 - r)
        daz = dz * z * (1 - z)
        dax = np.concatenate([dar, daz, dan])
        dah = np.concatenate([dar, daz, du])
        dWxh += dax @ x[t].T
        dWhh += dah @ hp.T
        dbh += dax.sum(axis=1, keepdims=True)
        dbhn += du.sum(axis=1, keepdims=True)
        dx[t] = Wxh.T @ dax
        dhnext = d * z + Whh.T @ dah
    return dx, (dhnext,), {"Wxh": dWxh, "Whh": dWhh, "bh": dbh, "bhn": dbhn}


def lstm_forward(params, x, state):
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    h, c = state
    T, H = x.shape[0], h.shape[0]
    hs = np.zeros((T + 1, H, h.shape[1]))
    cs = np.zeros((T + 1, H, h.shape[1]))
    gates = np.zeros((T, 4 * H, h.shape[1]))
    hs[0] = h
    cs[0] = c
    for t in range(T):
        a = Wxh @ x[t] + Whh @ hs[t] + bh
        i, f, o = sigmoid(a[:H]), sigmoid(a[H : 2 * H]), sigmoid(a[2 * H : 3 * H])
        g = np.tanh(a[3 * H :])
        cs[t + 1] = f * cs[t] + i * g
        hs[t + 1] = o * np.tanh(cs[t + 1])
        gates[t] = np.concatenate([i, f, o, g])
    return hs[1:].copy(), (hs[T].copy(), cs[T].copy()), (params, x, hs, cs, gates)


def lstm_backward(dh, cache, dstate):
    params, x, hs, cs, gates = cache
    Wxh, Whh = params["Wxh"], params["Whh"]
    T, H = x.shape[0], hs.shape[1]
    dWxh, dWhh, dbh = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(params["bh"])
    dx = np.zeros_like(x)
    dhnext, dcnext = dstate
    for t in reversed(range(T)):
        i, f, o, g = gates[t, :H], gates[t, H : 2 * H], gates[t, 2 * H : 3 * H], gates[t, 3 * H :]
        tc = np.tanh(cs[t + 1])
        d = dh[t] + dhnext
        do = d * tc
        dc = dcnext + d * o * (1 - tc**2)
        di = dc * g
        df = dc * cs[t]
        dg = dc * i
        dai = di * i * (1 - i)
        daf = df * f * (1 - f)
        dao = do * o * (1 - o)
        dag = dg * (1 - g**2)
        da = np.concatenate([dai, daf, dao, dag])
        dWxh += da @ x[t].T
        dWhh += da @ hs[t].T
        dbh += da.sum(axis=1, keepdims=True)
        dx[t] = Wxh.T @ da
        dhnext = Whh.T @ da
        dcnext = dc * f
    return dx, (dhnext, dcnext), {"Wxh": dWxh, "Whh": dWhh, "bh": dbh}
