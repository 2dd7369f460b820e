"""The longer runs of the chapter on training: optimizers at several rates, ways to clip, and what is written.

    python docs/figures/run_training.py

It takes about a minute, and writes training.json here.
"""

import json
from pathlib import Path

import numpy as np

import minirnn

STEPS, SEEDS, FOLDER = 300, (0, 1, 2), Path(__file__).resolve().parent
RATES = {
    minirnn.SGD: (0.03, 0.1, 0.3, 1, 3, 10),
    minirnn.Adagrad: (0.003, 0.01, 0.03, 0.1, 0.3, 1),
    minirnn.Adam: (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
}
CLIPPING = {
    "no clipping": {},
    "by norm, 0.5": {"clip_norm": 0.5},
    "by value, 0.05": {"clip_value": 0.05},
    "by value, 0.01": {"clip_value": 0.01},
}

text = minirnn.read_text(FOLDER.parent.parent / "examples" / "data" / "play.txt")
vocab = minirnn.Vocabulary.from_chars(text)
train, valid = np.split(vocab.encode(text), [len(text) * 9 // 10])


def run(optimizer, seed, **clipping):
    """Train a tanh network; returns its loss on the text set aside, and loss and gradient norm of every step."""
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", len(vocab), hidden_size=64), seed)
    trainer = minirnn.Trainer(model, optimizer, train, batch_size=16, seq_length=25, **clipping)
    reports = list(trainer.steps(STEPS))
    loss, _ = minirnn.evaluate(model, valid)
    return float(loss), [report.loss for report in reports], [report.gradient_norm for report in reports]


def rounded(numbers):
    """Four digits are enough for a picture."""
    return [float(f"{number:.4g}") for number in numbers]


rates, curves = {}, {}
for optimizer, choices in RATES.items():
    rates[optimizer.__name__] = {rate: rounded(run(optimizer(rate), seed)[0] for seed in SEEDS) for rate in choices}
    print(optimizer.__name__, rates[optimizer.__name__], flush=True)
for rate in (0.1, 1, 3):
    _, losses, _ = run(minirnn.SGD(rate), SEEDS[0])
    curves[rate] = rounded(np.reshape(losses, (-1, 10)).mean(axis=1))  # of ten steps each
clipping = {}
for name, limits in CLIPPING.items():
    losses, _, norms = zip(*(run(minirnn.SGD(2.0), seed, **limits) for seed in SEEDS), strict=True)
    clipping[name] = {"loss": rounded(losses), "norms": rounded(norms[0])}
    print(name, clipping[name]["loss"], flush=True)

model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", len(vocab), hidden_size=64), rng=0)
trainer = minirnn.Trainer(model, minirnn.Adam(0.01), train, batch_size=16, seq_length=25, clip_norm=0.5)
samples = []
for report in trainer.steps(3000):
    if report.step in (1, 10, 50, 200, 800, 3000):
        written = "".join(minirnn.sample(model, vocab, rng=1, prime="\n\n", length=60, temperature=0.7))
        samples.append((report.step, round(minirnn.evaluate(model, valid)[0], 4), written))
        print(samples[-1], flush=True)
data = {"rates": rates, "curves": curves, "clipping": clipping, "samples": samples}
(FOLDER / "training.json").write_text(json.dumps(data) + "\n", encoding="utf-8")
