"""How many updates until a network recalls one symbol of a long sequence? Writes recall.json.

python docs/figures/run_recall.py        two tasks, eight starts, five seeds: about ten minutes on one core
"""

import json
from pathlib import Path

import numpy as np

import minirnn

SYMBOLS, MARK, H, B, STEPS, SEEDS = 4, 4, 32, 32, 1000, range(5)
LENGTHS = {"first": (10, 30, 60), "marked": (20, 40)}  # T, for each task
STARTS = {  # name: cell, and how its recurrent weights or the bias of its keeping gate begin
    "tanh": ("rnn", None),
    "tanh, orthogonal Whh": ("rnn", "orthogonal"),
    "GRU": ("gru", 0),
    "GRU, update bias 3": ("gru", 3),
    "LSTM, forget bias 0": ("lstm", 0),
    "LSTM, forget bias 1": ("lstm", 1),
    "LSTM, forget bias 3": ("lstm", 3),
    "LSTM, forget bias 5": ("lstm", 5),
}


def draw(task, T, rng):
    """Sequences (T, B) of random symbols, and the symbol of each that is asked for at its end, (B,)."""
    x = rng.integers(0, SYMBOLS, (T, B))
    if task == "first":
        return x, x[0]
    columns, even = np.arange(B), np.arange(0, T // 2 - 1, 2)
    marks = rng.permuted(np.tile(even, (B, 1)), axis=1)[:, :2]  # (B, 2): two places in the first half
    x[marks.T, columns] = MARK
    return x, x[marks.max(axis=1) + 1, columns]  # what stands after the later mark


def new_model(name, task, rng):
    """A network that has seen nothing, started in one of the ways of STARTS."""
    cell, start = STARTS[name]
    config = minirnn.ModelConfig(cell, SYMBOLS + (task == "marked"), H)
    model = minirnn.SequenceClassifier.init(config, classes=SYMBOLS, rng=rng)
    if start == "orthogonal":
        model.params["rnn0.Whh"][...] = np.linalg.qr(rng.normal(size=(H, H)))[0]
    elif cell != "rnn":
        model.params["rnn0.bh"][H : 2 * H] = start  # the second block of rows: f of the LSTM, z of the GRU
    return model


def train(model, task, T, rng):
    """Train until 99 of 100 answers were right, over ten batches; how many updates it took, or None."""
    optimizer, lengths, shares = minirnn.Adam(0.01), np.full(B, T), []
    for step in range(1, STEPS + 1):
        x, y = draw(task, T, rng)  # new sequences every time: nothing can be learned by heart
        shares.append((model.predict(x, lengths) == y).mean())
        if step >= 10 and np.mean(shares[-10:]) >= 0.99:
            return step
        _, grads = model.loss_and_grads(x, y, lengths)
        minirnn.clip_norm(grads, 1.0)
        optimizer.step(model.params, grads)
    return None


def run(task, name, T, seed):
    """One entry of the table."""
    rng = np.random.default_rng(seed)
    return train(new_model(name, task, rng), task, T, rng)


def main():
    table = {
        task: {name: {T: [run(task, name, T, seed) for seed in SEEDS] for T in lengths} for name in STARTS}
        for task, lengths in LENGTHS.items()
    }
    (Path(__file__).parent / "recall.json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
