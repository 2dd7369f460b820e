"""Train the two networks that the chapter "What did it learn?" compares: about ten seconds on one core.

python docs/figures/run_remember.py        writes remember-tanh.npz and remember-lstm.npz here
"""

import string
from pathlib import Path

import numpy as np

import minirnn

STEPS, H, FOLDER = 1000, 32, Path(__file__).resolve().parent
MIDDLE = string.ascii_lowercase[:20]

# Only the end of a line needs a memory, of 20 steps: "2abcdefghijklmnopqrst2".
digits = np.random.default_rng(5).choice(list("0123"), 400)
text = "".join(f"{digit}{MIDDLE}{digit}\n" for digit in digits)
vocab = minirnn.Vocabulary.from_chars(text)
for name, cell in (("tanh", "rnn"), ("lstm", "lstm")):
    model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, len(vocab), H), rng=0)
    if cell == "lstm":
        model.params["rnn0.bh"][H : 2 * H] = 3  # the forget gates begin nearly open
    trainer = minirnn.Trainer(
        model, minirnn.Adam(0.01), vocab.encode(text), batch_size=16, seq_length=len(MIDDLE) + 3, clip_norm=1.0
    )
    for report in trainer.steps(STEPS):
        if report.step % 250 == 0:
            print(f"{name}, step {report.step}: {report.smooth_loss:.3f} nats per character", flush=True)
    minirnn.save_model(FOLDER / f"remember-{name}.npz", model.astype(np.float16), vocab)
