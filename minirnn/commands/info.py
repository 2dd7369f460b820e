"""What is in a run? ``minirnn info``."""

import dataclasses
from pathlib import Path

import numpy as np

from minirnn.commands.build import steps_to_take
from minirnn.commands.folder import described
from minirnn.commands.progress import beside
from minirnn.commands.run import split
from minirnn.commands.settings import Settings, typed
from minirnn.files.checkpoint import load_checkpoint


def lines_about(path: Path) -> list[str]:
    """What a file of a model or run holds, how far it is, how good, and how to go on."""
    checkpoint = load_checkpoint(path)
    config, vocab = checkpoint.model.config, checkpoint.vocab
    lines = [
        f"{path}: {config.layers} x {config.hidden_size} {config.cell}, {checkpoint.model.size:,} parameters, "
        f"{len(vocab):,} {vocab.unit}s"
    ]
    if not checkpoint.training:
        return [*lines, "a model without a training run: it can be sampled and scored, and begun with (--init-from)"]
    folder = path.parent
    of_run = path.name in ("best.npz", "last.npz") and (folder / "last.npz").exists()
    last = load_checkpoint(folder / "last.npz") if of_run else checkpoint
    settings, text = described(last, path)
    chosen = [
        typed(f.name, getattr(settings, f.name))
        for f in dataclasses.fields(Settings)
        if getattr(settings, f.name) != f.default
    ]
    lines.append(f"text: {', '.join(text['texts'])}, {sum(text['tokens']):,} {vocab.unit}s")
    lines.append(f"settings: {' '.join(chosen) or 'the defaults'}")
    tokens = np.broadcast_to(0, text["tokens"][0])  # as many as were trained on, whichever
    tokens = tokens if len(text["tokens"]) > 1 else split(tokens, settings.valid)[0]
    epoch = (len(tokens) - 1) // (settings.batch_size * settings.seq_length)
    lines.append(
        f"how far: step {last.training['step']:,} of {steps_to_take(settings, epoch):,}, an epoch is {epoch:,}"
    )
    rows = [row for row in last.history if "valid" in row]
    if rows:
        best = min(rows, key=lambda row: row["valid"])
        units = beside(best["valid"], vocab.unit)
        lines.append(f"how good: validation {best['valid']:.4f} nats, {units}, at step {best['step']:,}; the last "
                     f"{rows[-1]['valid']:.4f}")  # fmt: skip
    if of_run:
        return [*lines, f"to go on: minirnn train --resume --out {folder}; to let it write: minirnn sample {folder}"]
    go_on = f"to begin with it: minirnn train TEXT --out RUN --init-from {path}"
    if not text["sha256"]:  # examples/data_parallel.py keeps none, and no folder
        go_on = f"to go on: mpirun -n N python examples/data_parallel.py --resume --out {path}"
    return [*lines, f"{go_on}; to let it write: minirnn sample {path}"]
