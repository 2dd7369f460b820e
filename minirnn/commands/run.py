"""A training run in a folder: ``minirnn train``.

The folder holds ``text.npy``, the encoded text; ``config.json`` and ``history.csv``, for people; ``last.npz``, from
which the run can be resumed to the bit; ``best.npz``, the checkpoint with the lowest validation loss; and ``loss.png``.
"""

import csv
import hashlib
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from minirnn.checks import Array
from minirnn.files.checkpoint import load_checkpoint, save_checkpoint, whole, writing
from minirnn.files.corpus import encode_files, longest_copy
from minirnn.files.interrupt import catch_interrupt
from minirnn.model import LanguageModel, ModelConfig
from minirnn.optim import OPTIMIZERS
from minirnn.plots import plot_losses
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
        with writing(folder / "text.npy"):
            ids, vocab = encode_files(
                texts, folder / "text.npy", settings["level"], settings["max_vocab"], settings["encoding"]
            )
        settings |= {"texts": texts, "tokens": len(ids), "sha256": digest(folder / "text.npy")}
        trainer = make_trainer(ids, len(vocab), settings)
        keep(folder, trainer, vocab, settings, [])  # from now on there is something to resume
    except BaseException:
        for name in ("text.npy", "last.npz", "history.csv"):
            (folder / name).unlink(missing_ok=True)
        if created:
            folder.rmdir()
        raise
    return trainer, vocab


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resumed_run(folder: Path, changes: Settings) -> tuple[Trainer, Vocabulary, Settings, list[dict[str, float]]]:
    """Load ``last.npz`` and the encoded text; ValueError if they do not belong together."""
    if not (folder / "last.npz").exists():
        raise ValueError(f"{folder} has no last.npz to resume from; without --resume a new run begins")
    checkpoint = load_checkpoint(folder / "last.npz")
    if not checkpoint.settings or not checkpoint.training:
        raise ValueError(f"{folder / 'last.npz'} is a model without a training run; it can be sampled, not resumed")
    if "steps" in changes:
        changes = {"epochs": None} | changes  # the later wish counts
    settings = checkpoint.settings | changes
    ids = load_ids(folder / "text.npy", settings["tokens"])
    if digest(folder / "text.npy") != settings["sha256"]:
        raise ValueError(f"{folder / 'text.npy'} is not the text this run began with; begin a new run")
    trainer = make_trainer(ids, len(checkpoint.vocab), settings)
    trainer.restore(checkpoint.arrays, checkpoint.training)
    if changes and settings["steps"] < trainer.step:
        raise ValueError(f"the run is at step {trainer.step:,} already; ask for more than {settings['steps']:,}")
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
    config = ModelConfig(
        settings["cell"], vocab_size, settings["hidden"], settings["layers"], settings["embedding"],
        settings["dropout"], settings["tie_weights"],
    )  # fmt: skip
    rng = np.random.default_rng(settings["seed"])
    model = LanguageModel.init(config, rng)
    averages = {name: settings[name] for name in ("decay", "beta1", "beta2") if settings[name] is not None}
    trainer = Trainer(
        model, OPTIMIZERS[settings["optimizer"]](settings["learning_rate"], **averages), train_ids,
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
    with whole(folder / "config.json") as partial:
        partial.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    progress, started, total = Progress(sys.stdout, kind), time.monotonic(), settings["steps"]
    ending = "" if trainer.step < total else "nothing left to do: all steps are done; more with --steps"
    with catch_interrupt() as interrupted:
        for report in trainer.steps(total - trainer.step):
            row = {"step": report.step, "epoch": report.epoch, "loss": report.smooth_loss}
            evaluated = report.step % settings["report_every"] == 0 or report.step == total
            if evaluated:
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
            if ending or evaluated:
                keep(folder, trainer, vocab, settings, history)
            progress.show(report, total, row, bool(ending) or evaluated)
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
    if losses and history[-1]["step"] == trainer.step and history[-1].get("valid") == min(losses):
        save_checkpoint(folder / "best.npz", trainer, vocab, settings, history)
    save_checkpoint(folder / "last.npz", trainer, vocab, settings, history)
    with whole(folder / "history.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", "epoch", "loss", "valid", "accuracy"])
        writer.writeheader()
        writer.writerows(history)


def finish(folder: Path, vocab: Vocabulary, settings: Settings, history: list[dict[str, float]], text: Array) -> None:
    """Say what was reached, draw the curve, and show a sample together with how much of it is copied."""
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
            self.valid = f"  validation {row['valid']:.3f}, accuracy {row['accuracy']:.3f}"
        now = time.monotonic()
        if not lasting and not (self.live and now - self.shown > 0.2):
            return
        self.shown = now
        minutes, seconds = divmod(round(report.seconds_left), 60)
        line = (
            f"step {report.step:,}/{total:,}  {minutes}:{seconds:02} left  loss {report.smooth_loss:.3f}{self.valid}  "
            f"{report.tokens_per_second:,.0f} {self.kind}/s  epoch {report.epoch:.2f}"
        )
        if self.live:
            line = line if lasting else line[: shutil.get_terminal_size().columns - 1]
            if self.bold:
                line = line.replace(self.valid, f"\033[1m{self.valid}\033[0m") if self.valid else line
            line = f"\r{line}\033[K"
        print(line, end="\n" if lasting or not self.live else "", file=self.stream, flush=True)
