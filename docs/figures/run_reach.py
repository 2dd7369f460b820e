"""How far back does a gradient reach after training? Writes reach.json.

python docs/figures/run_reach.py        three cells, five seeds, 2,000 steps each: about three minutes on one core
"""

import json
from pathlib import Path

import numpy as np

import minirnn
from minirnn.plots import gradient_reach

FIGURES = Path(__file__).parent
PLAY = FIGURES.parents[1] / "examples" / "data" / "play.txt"
CELLS, STEPS, SEEDS, T = {"tanh": "rnn", "GRU": "gru", "LSTM": "lstm"}, 2000, range(5), 64


def train(cell, seed):
    """The smoothed training loss at the end, and the reach of the gradient in the next slice of each of 8 streams."""
    text = minirnn.read_text(PLAY)
    vocab = minirnn.Vocabulary.from_chars(text)
    model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, len(vocab), hidden_size=100), seed)
    trainer = minirnn.Trainer(model, minirnn.Adam(2e-3), vocab.encode(text), batch_size=8, seq_length=T, clip_norm=1.0)
    for report in trainer.steps(STEPS):
        loss = report.smooth_loss
    batch = trainer.step % trainer.batches_per_epoch  # the state at hand is the one before this batch
    return loss, gradient_reach(model, trainer.x[batch], trainer.y[batch], trainer.state)


def main():
    data = {}
    for name, cell in CELLS.items():
        losses, reaches = zip(*[train(cell, seed) for seed in SEEDS], strict=True)
        relative = [[float(f"{number:.3g}") for number in reach / reach[0]] for reach in reaches]
        data[name] = {"losses": np.round(losses, 4).tolist(), "reach": relative}
    (FIGURES / "reach.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
