"""The package's other figures: time to import, characters sampled per second, Karpathy's loss over seeds.

    MINIRNN_DATA=DIR python tests/benchmarks/figures.py [--seeds 8]

DIR holds tinyshakespeare.txt. Prints, and asserts nothing.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import reference

import minirnn


def import_seconds():
    """Median time of ``import minirnn`` in a new process, NumPy included."""
    code = "import time; t = time.perf_counter(); import minirnn; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(9)]
    return np.median([float(run.stdout) for run in runs])


def characters_per_second(vocab, count):
    """Median speed of sampling so many texts at once from one layer of 256 tanh units."""
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", len(vocab), 256), 0)
    speeds = []
    for seed in range(7):
        started = time.perf_counter()
        drawn = list(minirnn.sample(model, vocab, seed, length=10_000 if count == 1 else 1_000, count=count))
        speeds.append(count * len(drawn) / (time.perf_counter() - started))
    return np.median(speeds)


def smoothed_losses(ids, V, seed, plain):
    """Smoothed loss of min-char-rnn at iterations 1,000 and 10,000, by this package or by the plain loop."""
    rng = np.random.default_rng(seed)
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", V, 100), rng, np.float64 if plain else np.float32)
    for name, p in model.params.items():
        p[...] = rng.normal(0, 0.01, p.shape) if "W" in name else 0
    if not plain:
        trainer = minirnn.Trainer(
            model,
            minirnn.Adagrad(0.1),
            ids,
            batch_size=1,
            seq_length=25,
            clip_value=5.0,
            reduction="sum",
            smoothing=0.999,
        )
        return [report.smooth_loss for report in trainer.steps(10_001) if report.step in (1_001, 10_001)]
    params = {name.removeprefix("rnn0."): p for name, p in model.params.items()}
    memory = {name: np.zeros_like(p) for name, p in params.items()}
    h, smooth, found = np.zeros((100, 1)), 25 * np.log(V), []
    for step in range(1, 10_002):
        x, y = ids[25 * step - 25 : 25 * step], ids[25 * step - 24 : 25 * step + 1]
        loss, grads, h = reference.loss_and_grads(params, x, y, h)
        smooth = 0.999 * smooth + 0.001 * loss
        reference.clip_and_adagrad(params, grads, memory)
        if step in (1_001, 10_001):
            found.append(smooth)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="runs of min-char-rnn with each implementation")
    args = parser.parse_args()
    text = minirnn.read_text(Path(os.environ.get("MINIRNN_DATA", ".")) / "tinyshakespeare.txt")
    vocab = minirnn.Vocabulary.from_chars(text)
    print(f"import minirnn: {import_seconds():.3f} s")
    for count in (1, 64):
        speed = characters_per_second(vocab, count)
        print(f"sampling, one layer of 256, texts at once: {count}, {speed:,.0f} characters per second")
    ids = vocab.encode(text)
    for label, plain in (("minirnn", False), ("plain loop", True)):
        losses = np.array([smoothed_losses(ids, len(vocab), seed, plain) for seed in range(args.seeds)])
        for column, iteration in enumerate(("1,000", "10,000")):
            values, median = sorted(losses[:, column]), np.median(losses[:, column])
            print(f"{label}, smoothed loss at iteration {iteration}: median {median:.1f}", end=" of ")
            print(*(f"{value:.1f}" for value in values))


if __name__ == "__main__":
    main()
