"""Train a tanh network with the right backward pass and with three wrong ones: writes wrong_backward.json.

python docs/figures/run_wrong_backward.py        five seeds, about two minutes on one core
"""

import json
from pathlib import Path

import numpy as np

import minirnn
from minirnn import rnn
from minirnn.model import stack_forward

FIGURES = Path(__file__).parent
PLAY = FIGURES.parents[1] / "examples" / "data" / "play.txt"
KINDS = ("right", "without dhnext", "dWhh transposed", "h[t] for h[t-1]", "Whh never updated")
STEPS, EVERY, SEEDS = 2500, 50, range(5)


def backward_with(kind):
    """``rnn.backward`` as a loop: right, with one of the mistakes in it, or with no gradient for Whh at all."""

    def backward(dh, cache, dstate=None):
        params, x, hs = cache
        Wxh, Whh = params["Wxh"], params["Whh"]
        dx, dhnext = np.zeros_like(x), np.zeros_like(hs[0])
        grads = {name: np.zeros_like(p) for name, p in params.items()}
        for t in reversed(range(len(x))):
            da = (dh[t] + dhnext) * (1 - hs[t + 1] ** 2)  # hs[t + 1] is h[t]
            read = hs[t + 1] if kind == "h[t] for h[t-1]" else hs[t]
            grads["Wxh"] += da @ x[t].T
            grads["Whh"] += read @ da.T if kind == "dWhh transposed" else da @ read.T
            grads["bh"] += da.sum(axis=1, keepdims=True)
            dx[t] = Wxh.T @ da
            if kind != "without dhnext":
                dhnext = Whh.T @ da
        if kind == "Whh never updated":
            grads["Whh"][...] = 0
        return dx, (dhnext,), grads

    return backward


def train(kind, seed):
    """The smoothed loss after every ``EVERY`` steps, nats per character; and the share of states that are saturated."""
    text = minirnn.read_text(PLAY)
    vocab = minirnn.Vocabulary.from_chars(text)
    ids = vocab.encode(text)
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", len(vocab), hidden_size=100), seed)
    trainer = minirnn.Trainer(model, minirnn.Adam(2e-3), ids, batch_size=16, seq_length=25, clip_norm=5)
    right = rnn.backward
    rnn.backward = backward_with(kind)
    try:
        curve = [round(report.smooth_loss, 4) for report in trainer.steps(STEPS) if report.step % EVERY == 0]
    finally:
        rnn.backward = right
    x, _ = next(minirnn.stream_batches(ids, 16, 200))
    h, _, _ = stack_forward(model.config, model.params, x, model.zero_state(16), None)
    return curve, round(float((np.abs(h) > 0.99).mean()), 3)


def main():
    runs = {kind: [train(kind, seed) for seed in SEEDS] for kind in KINDS}
    data = {
        "steps": list(range(EVERY, STEPS + 1, EVERY)),
        "curves": {kind: [curve for curve, _ in pairs] for kind, pairs in runs.items()},
        "saturated": {kind: [share for _, share in pairs] for kind, pairs in runs.items()},
    }
    (FIGURES / "wrong_backward.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
