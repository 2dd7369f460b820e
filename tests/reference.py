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


def forward_by_unit(params, x, h):
    """The tanh recurrence with a loop over every index: h[t, i, b] from its own sum, nothing vectorized."""
    Wxh, Whh, bh = params["Wxh"], params["Whh"], params["bh"]
    T, D, B = x.shape
    H = len(Whh)
    out = np.zeros((T, H, B))
    for t in range(T):
        for b in range(B):
            for i in range(H):
                a = bh[i, 0]
                for d in range(D):
                    a += Wxh[i, d] * x[t, d, b]
                for j in range(H):
                    a += Whh[i, j] * h[j, b]
                out[t, i, b] = np.tanh(a)
        h = out[t]
    return out
