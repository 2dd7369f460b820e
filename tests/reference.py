"""Karpathy's character model as the plainest possible loop: one sequence, one step, one matrix at a time.

Nothing is shared with the package: no batch, no bag, no product for all steps at once. That makes it slow, easy to
believe, and the thing the package is compared with.
"""

import numpy as np

NAMES = ("Wxh", "Whh", "bh", "Why", "by")


def loss_and_grads(params, inputs, targets, hprev):
    """Loss summed over the sequence, the gradients of all five parameters, and the last hidden state (H, 1)."""
    Wxh, Whh, bh, Why, by = (params[name] for name in NAMES)
    V = len(by)
    loss = 0.0
    xs, hs, probabilities = [], [hprev], []
    for token, target in zip(inputs, targets, strict=True):
        x = np.zeros((V, 1))
        x[token] = 1
        h = np.tanh(Wxh @ x + Whh @ hs[-1] + bh)
        exp = np.exp(Why @ h + by)
        p = exp / exp.sum()
        loss -= np.log(p[target, 0])
        xs.append(x)
        hs.append(h)
        probabilities.append(p)

    grads = {name: np.zeros_like(params[name]) for name in NAMES}
    dhnext = np.zeros_like(hprev)
    for t in range(len(inputs) - 1, -1, -1):
        h, h_before = hs[t + 1], hs[t]
        dy = probabilities[t].copy()
        dy[targets[t]] -= 1
        grads["Why"] += dy @ h.T
        grads["by"] += dy
        da = (Why.T @ dy + dhnext) * (1 - h * h)
        grads["Wxh"] += da @ xs[t].T
        grads["Whh"] += da @ h_before.T
        grads["bh"] += da
        dhnext = Whh.T @ da
    return loss, grads, hs[-1]


def clip_and_adagrad(params, grads, memory, rate=0.1, limit=5.0):
    """Clip each entry, then one step of Adagrad, in place."""
    for name in NAMES:
        g = np.clip(grads[name], -limit, limit)
        memory[name] += g * g
        params[name] -= rate * g / np.sqrt(memory[name] + 1e-8)


def split_gates(params, count):
    """Each gate's own Wx, Wh and b, cut out of the stacked weights."""
    return list(zip(*(np.split(params[name], count) for name in ("Wxh", "Whh", "bh")), strict=True))


def logistic(z):
    return 1 / (1 + np.exp(-z))


def rnn_step(params, x, h):
    """One step of one sequence, a loop over every index: nothing is vectorized."""
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    new = np.zeros(len(Whh))
    for i in range(len(Whh)):
        a = bh[i, 0]
        for d in range(len(x)):
            a += Wxh[i, d] * x[d]
        for j in range(len(h)):
            a += Whh[i, j] * h[j]
        new[i] = np.tanh(a)
    return (new,)


def lstm_step(params, x, h, c):
    """One step of one sequence, gate by gate with weights of its own."""
    a_i, a_f, a_o, a_g = (Wx @ x + Wh @ h + b[:, 0] for Wx, Wh, b in split_gates(params, 4))
    c = logistic(a_f) * c + logistic(a_i) * np.tanh(a_g)
    return logistic(a_o) * np.tanh(c), c


def gru_step(params, x, h):
    """One step of one sequence, gate by gate with weights of its own."""
    (Wxr, Whr, br), (Wxz, Whz, bz), (Wxn, Whn, bn) = split_gates(params, 3)
    r = logistic(Wxr @ x + Whr @ h + br[:, 0])
    z = logistic(Wxz @ x + Whz @ h + bz[:, 0])
    n = np.tanh(Wxn @ x + bn[:, 0] + r * (Whn @ h + params["bhn"][:, 0]))
    return ((1 - z) * n + z * h,)


def forward(cell, params, x, state):
    """All steps of all sequences, one after the other: h (T, H, B) and the final state."""
    step = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}[cell]
    T, _, B = x.shape
    h, final = np.zeros((T, *state[0].shape)), [s.copy() for s in state]
    for b in range(B):
        column = [s[:, b] for s in state]
        for t in range(T):
            column = step(params, x[t, :, b], *column)
            h[t, :, b] = column[0]
        for s, last in zip(final, column, strict=True):
            s[:, b] = last
    return h, final
