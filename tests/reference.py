"""Karpathy's character model as the plainest possible loop: one sequence, one step, one matrix at a time.

Nothing is shared with the package: no batch, no bag, no product for all steps at once. That makes it slow, easy to
believe, and the thing the package is compared with.
"""

import numpy as np

from minirnn.grading import answer

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


def forward(cell, params, x, state):
    """All steps of a cell one after the other, as the model answer has them: h (T, H, B) and the final state."""
    h, final, _ = getattr(answer, f"{cell}_forward")(params, x, state)
    return h, list(final)
