"""A training run in a folder: what ``minirnn train`` and the examples have in common.

The folder holds ``text.npy``, the encoded text; ``config.json`` and ``history.csv``, for people; ``last.npz``, from
which the run can be resumed to the bit; ``best.npz``, the checkpoint with the lowest validation loss; and ``loss.png``.
A run is trained like this, so that the loop stays in sight::

    run = begin(folder, [["book.txt"]], settings)
    with run.watched():
        for report in run.trainer.steps(run.steps_left):
            if run.over(report):
                break
    code = run.finish()
"""

import csv
import dataclasses
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from minirnn.checks import Array
from minirnn.commands.progress import Progress, beside
from minirnn.commands.settings import Settings, changed, settings_from
from minirnn.files.checkpoint import load_checkpoint, restore, save_checkpoint, whole, writing
from minirnn.files.corpus import encode_files, longest_copy
from minirnn.files.interrupt import catch_interrupt
from minirnn.model import LanguageModel, ModelConfig
from minirnn.optim import OPTIMIZERS
from minirnn.plots import plot_losses
from minirnn.sample import sample
from minirnn.schedules import cosine_decay, epoch_decay, exponential_decay, linear_decay
from minirnn.text import Vocabulary
from minirnn.train import Report, Trainer, evaluate

VALIDATION_TOKENS = 1_000_000  # of a longer validation text only the beginning is read
FILES = {"last.npz", "best.npz", "history.csv", "config.json", "text.npy", "loss.png"}  # of a run
Row = dict[str, float]  # step, epoch, loss (smoothed), and where it was evaluated valid and accuracy


# --- beginning, or going on -------------------------------------------------------------------------


def begin(folder: Path, parts: Sequence[Sequence[str | Path]], settings: Settings) -> "Run":
    """Encode the texts and make a model; ValueError if the folder holds something already.

    ``parts`` are the files of the training text, from whose end a share is kept for validation, or those of the
    training text, the validation text and perhaps the test text.
    """
    if (folder / "last.npz").exists():
        raise ValueError(f"{folder} holds a run already; go on with --resume, or name another folder with --out")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder with --out")
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with writing(folder / "text.npy"):
            _, vocab, tokens = encode_files(
                parts, folder / "text.npy", settings.kind, settings.max_vocab, settings.encoding
            )
        names = [str(path) for paths in parts for path in paths]
        text = {"texts": names, "tokens": tokens, "sha256": digest(folder / "text.npy")}
        run = Run(folder, settings, text, vocab, [])
        run.keep()  # from now on there is something to resume
    except BaseException as error:
        for name in ("text.npy", "last.npz", "history.csv", "config.json"):
            (folder / name).unlink(missing_ok=True)
        if created:
            folder.rmdir()
        if isinstance(error, UnicodeError):
            raise ValueError(f"{error}; name the encoding with --encoding") from None
        raise
    run.introduce()
    return run


def begin_anew(folder: Path, parts: Sequence[Sequence[str | Path]], settings: Settings) -> "Run":
    """Like :func:`begin`, but a run that the folder holds is set aside, under another name."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return begin(folder, parts, settings)
    strange = sorted(p.name for p in folder.iterdir() if p.name not in FILES and not p.match("model*.npz"))
    if strange:
        raise ValueError(f"{folder} holds {strange[0]}, which is not of a run; name another folder with --out")
    aside, n = folder.with_name(f"{folder.name}.previous"), 1
    while aside.exists():
        n += 1
        aside = folder.with_name(f"{folder.name}.previous-{n}")
    folder.rename(aside)
    try:
        run = begin(folder, parts, settings)
    except BaseException:
        aside.rename(folder)
        raise
    print(f"the run that was in {folder} is now in {aside}")
    return run


def resume(folder: Path, wishes: Mapping[str, Any]) -> "Run":
    """Load ``last.npz`` and the encoded text, with other settings where wished; ValueError if they do not fit."""
    if not (folder / "last.npz").exists():
        raise ValueError(f"{folder} has no last.npz to resume from; without --resume a new run begins")
    checkpoint = load_checkpoint(folder / "last.npz")
    if not checkpoint.settings or not checkpoint.training:
        raise ValueError(f"{folder / 'last.npz'} is a model without a training run; it can be sampled, not resumed")
    try:
        settings = settings_from(checkpoint.settings)
        text = {name: checkpoint.settings[name] for name in ("texts", "tokens", "sha256")}
    except (ValueError, KeyError) as error:
        raise ValueError(f"{folder / 'last.npz'} cannot be resumed: {error}") from error
    if type(text["tokens"]) is int:  # as the first releases wrote it
        text["tokens"] = [text["tokens"]]
    if digest(folder / "text.npy") != text["sha256"]:
        load_ids(folder / "text.npy", text["tokens"])  # may know better what is wrong
        raise ValueError(f"{folder / 'text.npy'} is not the text this run began with; begin a new run")
    run = Run(folder, changed(settings, wishes), text, checkpoint.vocab, checkpoint.history)
    restore(run.trainer, checkpoint.arrays, checkpoint.training)
    if wishes and run.total < run.trainer.step:
        raise ValueError(f"the run is at step {run.trainer.step:,} already; ask for more than {run.total:,}")
    print(f"resumed at step {run.trainer.step:,} of {run.total:,}")
    run.introduce()
    return run


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_ids(path: Path, tokens: list[int]) -> list[Array]:
    """The encoded texts of a run, memory-mapped; ValueError if they are not those the run began with."""
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}; begin a new run") from error
    if ids.shape != (sum(tokens),) or ids.dtype.kind != "u":
        raise ValueError(f"{path} does not hold the {sum(tokens):,} tokens of this run; begin a new run")
    return np.split(ids, np.cumsum(tokens)[:-1])


def split(ids: Array, share: float) -> list[Array]:
    """The text to train on, and the share at its end to validate with."""
    cut = len(ids) - int(share * len(ids))
    return [ids[:cut], ids[cut:]]


def make_model(vocab_size: int, settings: Settings, rng: np.random.Generator) -> LanguageModel:
    """A new model as the settings say."""
    names = [f.name for f in dataclasses.fields(ModelConfig) if f.name != "vocab_size"]
    config = ModelConfig(vocab_size=vocab_size, **{name: getattr(settings, name) for name in names})
    model = LanguageModel.init(config, rng)
    normal, uniform = settings.init_normal, settings.init_uniform
    for name, p in model.params.items():
        if (normal or uniform) and name.split(".")[-1].startswith("b"):
            p[...] = 0
        elif normal:
            p[...] = rng.normal(0, normal, p.shape)
        elif uniform:
            p[...] = rng.uniform(-uniform, uniform, p.shape)
    return model


def make_trainer(ids: Array, vocab_size: int, settings: Settings) -> tuple[Trainer, int]:
    """Model, optimizer and trainer as the settings say; and how many steps there are to take."""
    rng = np.random.default_rng(settings.seed)
    model = make_model(vocab_size, settings, rng)
    averages = {name: value for name in ("decay", "beta1", "beta2") if (value := getattr(settings, name)) is not None}
    trainer = Trainer(
        model, OPTIMIZERS[settings.optimizer](settings.learning_rate, **averages), ids,
        batch_size=settings.batch_size, seq_length=settings.seq_length, reduction=settings.reduction,
        clip_norm=settings.clip_norm or math.inf, clip_value=settings.clip_value or math.inf,
        smoothing=settings.smoothing, rng=rng,
    )  # fmt: skip
    epoch = trainer.batches_per_epoch
    total = settings.steps or (settings.epochs or 0) * epoch
    trainer.schedule = make_schedule(settings, total, epoch)
    return trainer, total


def make_schedule(settings: Settings, total: int, epoch: int) -> Callable[[int], float] | None:
    """The factor on the learning rate, for a run of ``total`` steps, ``epoch`` of which are an epoch."""
    return {
        "constant": None,
        "linear": lambda step: linear_decay(step, total),
        "cosine": lambda step: cosine_decay(step, total),
        "exponential": lambda step: exponential_decay(step, total, 0.01),
        "epochs": lambda step: epoch_decay(step, epoch, settings.constant_epochs, settings.epoch_decay),
    }[settings.schedule]


# --- the run ----------------------------------------------------------------------------------------


class Run:
    """A run while it goes on: its trainer, what it has reached so far, and why it ended."""

    def __init__(self, folder: Path, settings: Settings, text: dict[str, Any], vocab: Vocabulary, history: list[Row]):
        """``text`` says which texts were encoded, how many tokens each has, and the digest of ``text.npy``."""
        self.folder, self.settings, self.text, self.vocab, self.history = folder, settings, text, vocab, history
        parts = load_ids(folder / "text.npy", text["tokens"])
        self.train_ids, valid_ids, *test = split(parts[0], settings.valid) if len(parts) == 1 else parts
        self.valid_ids, self.test_ids = valid_ids[:VALIDATION_TOKENS], test[0] if test else None
        self.trainer, self.total = make_trainer(self.train_ids, len(vocab), settings)
        if len(parts) > 1 or settings.valid:
            self.check_lengths([valid_ids, *test])
        self.report_every = settings.report_every or self.trainer.batches_per_epoch
        self.progress = Progress(sys.stdout, vocab.unit, self.total)
        self.deadline = math.inf  # by time.monotonic
        self.interrupted = Event()
        self.ending = "nothing left to do: all steps are done; more with --steps"

    def check_lengths(self, others: list[Array]) -> None:
        """Raise ValueError if there is too little to validate or test with."""
        for name, ids in zip(self.text["texts"][-len(others) :], others, strict=False):
            if len(ids) < 2:
                where = name if len(self.text["tokens"]) > 1 else f"--valid {self.settings.valid}"
                raise ValueError(
                    f"{where}: evaluation needs at least 2 tokens, one to read and one to predict, got {len(ids)}"
                )

    @property
    def steps_left(self) -> int:
        """How many steps there are still to take."""
        return max(0, self.total - self.trainer.step)

    def introduce(self) -> None:
        """Say what is trained on what, and write it to ``config.json``."""
        settings, model, units = self.settings, self.trainer.model, f"{self.vocab.unit}s"
        test = "" if self.test_ids is None else f", {len(self.test_ids):,} to test"
        print(f"text: {len(self.train_ids):,} {units} to train on, {len(self.valid_ids):,} to validate{test}, "
              f"{len(self.vocab):,} different")  # fmt: skip
        print(f"model: {settings.layers} x {settings.hidden_size} {settings.cell}, {model.size:,} parameters; an epoch "
              f"is {self.trainer.batches_per_epoch:,} steps of {settings.batch_size} x {settings.seq_length} {units}",
              flush=True)  # fmt: skip
        described = self.stored | {"vocabulary": len(self.vocab), "parameters": model.size}
        with whole(self.folder / "config.json") as partial:
            partial.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @property
    def stored(self) -> dict[str, Any]:
        """The settings and the text, as a checkpoint keeps them."""
        return dataclasses.asdict(self.settings) | self.text

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take Ctrl-C as a request, and draw the loss curve in the end, also when training has diverged."""
        try:
            with catch_interrupt() as self.interrupted:
                yield
        except FloatingPointError:
            self.draw()
            raise
        except BrokenPipeError:  # whoever closed the pipe that the progress goes to has stopped the run
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            print(f"{self.folder}: nobody reads the output any more: stopped; --resume goes on", file=sys.stderr)
            raise SystemExit(130) from None
        self.draw()

    def draw(self) -> None:
        """Draw the loss curve, once there is something to draw."""
        if self.history:
            with writing(self.folder / "loss.png"):
                plot_losses(self.history, self.folder / "loss.png", self.vocab.unit, len(self.vocab))

    def over(self, report: Report) -> bool:
        """After a step: evaluate, save, show, sample, each when its time has come; whether to stop here."""
        settings, step = self.settings, report.step
        row: Row = {"step": step, "epoch": report.epoch, "loss": report.smooth_loss}
        evaluated, self.ending = step % self.report_every == 0 or step == self.total, ""
        if evaluated:
            if self.interrupted.is_set():
                self.keep()  # evaluating takes a while, and a second Ctrl-C ends it at once
            if len(self.valid_ids):
                row["valid"], row["accuracy"] = evaluate(self.trainer.model, self.valid_ids)
            self.history.append(row)
        go_on = f"go on with: minirnn train --resume --out {self.folder}"
        if step == self.total:
            self.ending = "done"
        elif self.interrupted.is_set():
            self.ending = f"interrupted after step {step:,}; {go_on}"
        elif time.monotonic() > self.deadline:
            self.ending = f"time is up after step {step:,}; {go_on}"
        elif evaluated and settings.patience and self.waited >= settings.patience:
            self.ending = f"stopped early: no better validation loss in {self.waited} evaluations"
        lasting = evaluated or bool(self.ending)
        if lasting:
            self.keep()
        summed = settings.seq_length if settings.reduction == "sum" else 0
        self.progress.show(report, row, lasting, summed)
        if settings.sample_every and step % settings.sample_every == 0 and not self.ending:
            self.progress.pause()
            self.show_sample(self.trainer.model, f"sample at step {step:,}", 200 if self.vocab.kind == "chars" else 40)
        return bool(self.ending)

    @property
    def evaluations(self) -> list[Row]:
        """The rows of the history that have a validation loss."""
        return [row for row in self.history if "valid" in row]

    @property
    def waited(self) -> int:
        """How many evaluations have passed since the best one."""
        losses = [row["valid"] for row in self.evaluations]
        return len(losses) - 1 - int(np.argmin(losses)) if losses else 0

    def keep(self) -> None:
        """Write the checkpoints, and the history for people."""
        if self.evaluations and self.history[-1]["step"] == self.trainer.step and not self.waited:
            save_checkpoint(self.folder / "best.npz", self.trainer, self.vocab, self.stored, self.history)
        save_checkpoint(self.folder / "last.npz", self.trainer, self.vocab, self.stored, self.history)
        with whole(self.folder / "history.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", "epoch", "loss", "valid", "accuracy"])
            writer.writeheader()
            writer.writerows(self.history)

    def finish(self) -> int:
        """Say why it ended and what was reached, and show a sample together with how much of it is copied.

        Returns the exit code: 130 after an interrupt, else 0.
        """
        print(self.ending)
        best = self.folder / ("best.npz" if (self.folder / "best.npz").exists() else "last.npz")
        model = load_checkpoint(best).model
        if self.evaluations:
            row = min(self.evaluations, key=lambda row: row["valid"])
            units = beside(row["valid"], self.vocab.unit)
            print(f"best validation loss: {row['valid']:.4f} nats, {units}, at step {row['step']:,}, in {best}")
        if self.test_ids is not None and not self.interrupted.is_set():
            nats, _ = evaluate(model, self.test_ids)
            print(f"test loss of that model: {nats:.4f} nats, {beside(nats, self.vocab.unit)}")
        tokens = self.show_sample(model, "a sample of that model", 500 if self.vocab.kind == "chars" else 100)
        length, start = longest_copy(np.array([self.vocab.ids[token] for token in tokens]), self.train_ids)
        copied = self.vocab.join(tokens[start : start + length])
        print(f"the longest run it shares with the training text: {length} {self.vocab.unit}s, {copied!r}")
        return 130 if self.interrupted.is_set() else 0

    def show_sample(self, model: LanguageModel, title: str, length: int) -> list[str]:
        """Print a sample, and return its tokens."""
        temperature = self.settings.temperature
        tokens = list(sample(model, self.vocab, self.settings.seed, length=length, temperature=temperature))
        print(f"----- {title}, temperature {temperature:g} -----\n{self.vocab.join(tokens)}\n-----", flush=True)
        return tokens


def train(run: Run, time_limit: float | None = None) -> int:
    """Train until all steps are done, nothing improves any more, time is up, or Ctrl-C; returns the exit code."""
    if time_limit is not None:
        run.deadline = time.monotonic() + time_limit
    with run.watched():
        for report in run.trainer.steps(run.steps_left):
            if run.over(report):
                break
    return run.finish()
