"""Train the GRU of the chapter "What did it learn?": about a minute on one core, written to inside.npz here.

python docs/figures/run_inside.py
"""

from pathlib import Path

import numpy as np

import minirnn
from minirnn.schedules import linear_decay

STEPS, FOLDER = 1500, Path(__file__).resolve().parent

text = minirnn.read_text(FOLDER.parent.parent / "examples" / "data" / "play.txt")
vocab = minirnn.Vocabulary.from_chars(text)
ids = vocab.encode(text)
train, valid = np.split(ids, [len(ids) * 9 // 10])
config = minirnn.ModelConfig("gru", len(vocab), hidden_size=128, dropout=0.3)
model = minirnn.LanguageModel.init(config, rng=0)
trainer = minirnn.Trainer(
    model,
    minirnn.Adam(5e-3),
    train,
    batch_size=32,
    seq_length=50,
    clip_norm=1.0,
    schedule=lambda step: linear_decay(step, STEPS),
)
for report in trainer.steps(STEPS):
    if report.step % 250 == 0:
        loss = minirnn.evaluate(model, valid)[0]
        print(f"step {report.step}  {report.smooth_loss:.3f}, on the text set aside {loss:.3f} nats per character", flush=True)
minirnn.save_model(FOLDER / "inside.npz", model.astype(np.float16), vocab)  # half as large, and hardly worse
