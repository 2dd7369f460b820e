"""A training run in a folder: ``minirnn train``.

The folder holds ``text.npy``, the encoded text; ``config.json`` and ``history.csv``, for people; ``last.npz``, from
which the run can be resumed to the bit; ``best.npz``, the checkpoint with the lowest validation loss; and ``loss.png``.
"""

import csv
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from minirnn.checkpoint import load_checkpoint, save_checkpoint
from minirnn.checks import Array
from minirnn.corpus import encode_files, longest_copy
from minirnn.interrupt import catch_interrupt
from minirnn.model import LanguageModel, ModelConfig
from minirnn.optim import OPTIMIZERS
from minirnn.sample import sample
from minirnn.schedules import schedule_by_name
from minirnn.text import Vocabulary
from minirnn.train import Report, Trainer, evaluate

VALIDATION_TOKENS = 1_000_000  # of a longer validation text only the beginning is read
Settings = dict[str, Any]


# --- beginning, or going on -------------------------------------------------------------------------


def new_run(folder: Path, texts: list[str], settings: Settings) -> tuple[Trainer, Vocabulary]:
    """Encode the text and make a model; ValueError if the folder holds something already."""
    if (folder / "last.npz").exists():
        raise ValueError(f"{folder} holds a run already; go on with --resume, or name another folder with --out")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder with --out")
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        ids, vocab = encode_files(
            texts, folder / "text.npy", settings["level"], settings["max_vocab"], settings["encoding"]
        )
        settings["tokens"] = len(ids)
        trainer = make_trainer(ids, len(vocab), settings)
    except BaseException:
        (folder / "text.npy").unlink(missing_ok=True)
        if created:
            folder.rmdir()
        raise
    settings["texts"] = texts
    return trainer, vocab


def resumed_run(folder: Path, changes: Settings) -> tuple[Trainer, Vocabulary, Settings, list[dict[str, float]]]:
    """Load ``last.npz`` and the encoded text; ValueError if they do not belong together."""
    if not (folder / "last.npz").exists():
        raise ValueError(f"{folder} has no last.npz to resume from; without --resume a new run begins")
    checkpoint = load_checkpoint(folder / "last.npz")
    if not checkpoint.settings or not checkpoint.training:
        raise ValueError(f"{folder / 'last.npz'} is a model without a training run; it can be sampled, not resumed")
    settings = checkpoint.settings | changes
    ids = load_ids(folder / "text.npy", settings["tokens"])
    trainer = make_trainer(ids, len(checkpoint.vocab), settings)
    trainer.restore(checkpoint.arrays, checkpoint.training)
    return trainer, checkpoint.vocab, settings, checkpoint.history


def load_ids(path: Path, tokens: int) -> Array:
    """The encoded text of a run, memory-mapped; ValueError if it is not the one the run began with."""
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}; begin a new run") from error
    if ids.shape != (tokens,) or ids.dtype.kind != "u":
        raise ValueError(f"{path} does not hold the {tokens:,} tokens of this run; begin a new run")
    return ids


def make_trainer(ids: Array, vocab_size: int, settings: Settings) -> Trainer:
    """Model, optimizer and trainer as the settings say."""
    train_ids, _ = split(ids, settings["valid"])
    needed = settings["batch_size"] * settings["seq_length"] + 1
    if len(train_ids) < needed:
        raise ValueError(
            f"{len(train_ids):,} tokens to train on are too few: a batch of {settings['batch_size']} sequences of "
            f"{settings['seq_length']} needs {needed:,}; take a longer text, or smaller --batch-size or --seq-length"
        )
    config = ModelConfig(
        settings["cell"], vocab_size, settings["hidden"], settings["layers"], settings["embedding"],
        settings["dropout"], settings["tie_weights"],
    )  # fmt: skip
    rng = np.random.default_rng(settings["seed"])
    model = LanguageModel.init(config, rng)
    trainer = Trainer(
        model, OPTIMIZERS[settings["optimizer"]](settings["learning_rate"]), train_ids,
        batch_size=settings["batch_size"], seq_length=settings["seq_length"], rng=rng,
        clip_norm=settings["clip_norm"] or math.inf, clip_value=settings["clip_value"] or math.inf,
    )  # fmt: skip
    if settings["epochs"]:
        settings["steps"] = settings["epochs"] * trainer.batches_per_epoch
    trainer.schedule = schedule_by_name(settings["schedule"], settings["steps"], trainer.batches_per_epoch)
    return trainer


def split(ids: Array, share: float) -> tuple[Array, Array]:
    """The text to train on, and the share at its end to validate with, of which a limited number is read."""
    cut = len(ids) - int(share * len(ids))
    return ids[:cut], ids[cut : cut + VALIDATION_TOKENS]


def size(model: LanguageModel) -> int:
    """The number of parameters."""
    return sum(p.size for p in model.params.values())


# --- the run ----------------------------------------------------------------------------------------


def train(folder: Path, texts: list[str], settings: Settings, resume: bool, time_limit: float | None) -> int:
    """Train until all steps are done, nothing improves any more, time is up, or Ctrl-C; returns the exit code.

    ``settings`` are those of ``minirnn train``; with ``resume`` only those that change.
    """
    history: list[dict[str, float]] = []
    if resume:
        trainer, vocab, settings, history = resumed_run(folder, settings)
        print(f"resumed at step {trainer.step:,} of {settings['steps']:,}")
    else:
        trainer, vocab = new_run(folder, texts, settings)
    train_ids, valid_ids = split(load_ids(folder / "text.npy", settings["tokens"]), settings["valid"])
    kind = "characters" if vocab.kind == "chars" else "words"
    print(f"text: {len(train_ids):,} {kind} to train on, {len(valid_ids):,} to validate, {len(vocab):,} different")
    print(f"model: {settings['layers']} x {settings['hidden']} {settings['cell']}, {size(trainer.model):,} parameters")
    described = settings | {"vocabulary": len(vocab), "parameters": size(trainer.model)}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    progress, started, total = Progress(sys.stdout, kind), time.monotonic(), settings["steps"]
    ending = "" if trainer.step < total else "nothing left to do: all steps are done; more with --steps"
    with catch_interrupt() as interrupted:
        for report in trainer.steps(max(0, total - trainer.step)):
            row = {"step": report.step, "epoch": report.epoch, "loss": report.smooth_loss}
            if report.step % settings["report_every"] == 0 or report.step == total:
                if len(valid_ids) > 1:
                    row["valid"], row["accuracy"] = evaluate(trainer.model, valid_ids)
                history.append(row)
                ending = stopping(history, settings["patience"])
            if report.step == total:
                ending = "done"
            elif interrupted.is_set():
                ending = f"interrupted after step {report.step:,}; go on with: minirnn train --resume --out {folder}"
            elif time_limit is not None and time.monotonic() - started > time_limit:
                ending = f"time is up after step {report.step:,}; go on with: minirnn train --resume --out {folder}"
            if ending or (history and history[-1] is row):
                keep(folder, trainer, vocab, settings, history)
            progress.show(report, total, row, bool(ending) or "valid" in row)
            if ending:
                break
    print(ending)
    if interrupted.is_set():
        return 130
    finish(folder, vocab, settings, history, train_ids)
    return 0


def stopping(history: list[dict[str, float]], patience: int | None) -> str:
    """Why to stop early; empty if there is no reason."""
    losses = [row["valid"] for row in history if "valid" in row]
    waited = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
    return (
        f"stopped early: no better validation loss in {waited} evaluations" if patience and waited >= patience else ""
    )


def keep(
    folder: Path, trainer: Trainer, vocab: Vocabulary, settings: Settings, history: list[dict[str, float]]
) -> None:
    """Write the checkpoints, and the history for people."""
    losses = [row["valid"] for row in history if "valid" in row]
    best = history and "valid" in history[-1] and history[-1]["step"] == trainer.step and losses[-1] == min(losses)
    if best:
        save_checkpoint(folder / "best.npz", trainer, vocab, settings, history)
    save_checkpoint(folder / "last.npz", trainer, vocab, settings, history)
    partial = folder / "history.csv.partial"
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", "epoch", "loss", "valid", "accuracy"])
        writer.writeheader()
        writer.writerows(history)
    partial.replace(folder / "history.csv")


def finish(folder: Path, vocab: Vocabulary, settings: Settings, history: list[dict[str, float]], text: Array) -> None:
    """Say what was reached, draw the curve, and show a sample together with how much of it is copied."""
    from minirnn.plots import plot_losses

    best = folder / ("best.npz" if (folder / "best.npz").exists() else "last.npz")
    model = load_checkpoint(best).model
    rows = [row for row in history if "valid" in row]
    if rows:
        row = min(rows, key=lambda row: row["valid"])
        print(f"best validation loss: {row['valid']:.4f} nats at step {row['step']:,}, in {folder / 'best.npz'}")
    if history:
        plot_losses(history, folder / "loss.png", "character" if vocab.kind == "chars" else "word", len(vocab))
    length = 500 if vocab.kind == "chars" else 100
    tokens = list(sample(model, vocab, settings["seed"], length=length, temperature=0.8))
    print(f"----- a sample -----\n{vocab.join(tokens)}\n-----")
    ids = np.array([vocab.ids[token] for token in tokens])
    length, start = longest_copy(ids, text)
    copied = vocab.join(tokens[start : start + length])
    kind = "characters" if vocab.kind == "chars" else "words"
    print(f"the longest run it shares with the training text: {length} {kind}, {copied!r}")


# --- progress ---------------------------------------------------------------------------------------


class Progress:
    """One line that is written over on a terminal, and a line now and then anywhere else."""

    def __init__(self, stream: TextIO, kind: str):
        self.stream, self.kind = stream, kind
        self.live = stream.isatty()
        self.bold = self.live and not os.environ.get("NO_COLOR")
        self.shown = -math.inf  # when the line was last written over
        self.valid = ""

    def show(self, report: Report, total: int, row: dict[str, float], lasting: bool) -> None:
        """Say how far training is; ``lasting`` lines stay."""
        if "valid" in row:
            number = f"{row['valid']:.3f}"
            self.valid = f"  validation {number}, accuracy {row['accuracy']:.3f}"
            if self.bold:
                self.valid = self.valid.replace(number, f"\033[1m{number}\033[0m", 1)
        now = time.monotonic()
        if not lasting and not (self.live and now - self.shown > 0.2):
            return
        self.shown = now
        minutes, seconds = divmod(round(report.seconds_left), 60)
        line = (
            f"step {report.step:,}/{total:,}  epoch {report.epoch:.2f}  loss {report.smooth_loss:.3f}{self.valid}  "
            f"{report.tokens_per_second:,.0f} {self.kind}/s  {minutes}:{seconds:02} left"
        )
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = "\r" + (line if self.bold and len(line) < width + 8 else line[:width]) + "\033[K"
        print(line, end="\n" if lasting or not self.live else "", file=self.stream, flush=True)
