"""Train the small network of the chapter "How can numbers remember?": about ten seconds, written to memory.npz here.

python docs/figures/run_memory.py
"""

from pathlib import Path

import numpy as np

import minirnn
from minirnn.schedules import linear_decay

STEPS, FOLDER = 3000, Path(__file__).resolve().parent

text = minirnn.read_text(FOLDER.parent.parent / "examples" / "data" / "play.txt")
vocab = minirnn.Vocabulary.from_chars(text)
ids = vocab.encode(text)
train, valid = np.split(ids, [len(ids) * 9 // 10])
model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", len(vocab), hidden_size=32), rng=0)
trainer = minirnn.Trainer(
    model,
    minirnn.Adam(0.01),
    train,
    batch_size=16,
    seq_length=25,
    clip_norm=1.0,
    schedule=lambda step: linear_decay(step, STEPS),
)
for report in trainer.steps(STEPS):
    if report.step % 500 == 0:
        print(f"step {report.step}  {report.smooth_loss:.3f} nats per character")
print(f"on the text set aside: {minirnn.evaluate(model, valid)[0]:.3f} nats per character")
minirnn.save_model(FOLDER / "memory.npz", model, vocab)
