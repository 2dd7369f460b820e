"""A training run: what ``minirnn train`` and the examples have in common.

A run is begun or resumed by :mod:`minirnn.commands.folder`, and trained like this, so that the loop stays in sight::

    with run.watched():
        for report in run.trainer.steps(run.steps_left):
            if run.over(report):
                break
    code = run.finish()
"""

import csv
import dataclasses
import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from minirnn.checks import Array
from minirnn.commands.build import make_trainer
from minirnn.commands.progress import Progress, beside
from minirnn.commands.settings import Settings
from minirnn.files.checkpoint import load_checkpoint, save_checkpoint, special, whole, writing
from minirnn.files.corpus import longest_copy
from minirnn.files.interrupt import catch_interrupt
from minirnn.model import LanguageModel
from minirnn.plots import plot_losses
from minirnn.sample import sample
from minirnn.text import Vocabulary
from minirnn.train import Report, evaluate

VALIDATION_TOKENS = 1_000_000  # of a longer validation text only the beginning is read
POINTS = 200  # of the loss curve, at least
# step, epoch, loss (smoothed); where it was evaluated also valid and accuracy, and what Run.norms gives
Row = dict[str, Any]


def load_ids(path: Path, tokens: list[int]) -> list[Array]:
    """The encoded texts of a run, memory-mapped; ValueError if they are not those the run began with."""
    if special(path):
        raise ValueError(f"{path} is no file; neither a pipe nor a device holds the text of a run")
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
        # A run that is shorter than the settings say, because the text is, reports as often as a whole one.
        scale = min(1, self.total / settings.steps) if settings.steps else 1
        self.report_every = max(1, round(scale * (settings.report_every or self.trainer.batches_per_epoch)))
        self.sample_every = max(1, round(scale * settings.sample_every)) if settings.sample_every else None
        self.lock: Any = None  # holds the folder
        self.kept = 0  # the step that last.npz is of
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
        """Say what is trained on what."""
        settings, model, units = self.settings, self.trainer.model, f"{self.vocab.unit}s"
        test = "" if self.test_ids is None else f", {len(self.test_ids):,} to test"
        print(f"text: {len(self.train_ids):,} {units} to train on, {len(self.valid_ids):,} to validate{test}, "
              f"{len(self.vocab):,} different")  # fmt: skip
        print(f"model: {settings.layers} x {settings.hidden_size} {settings.cell}, {model.size:,} parameters; an epoch "
              f"is {self.trainer.batches_per_epoch:,} steps of {settings.batch_size} x {settings.seq_length} {units}",
              flush=True)  # fmt: skip
        if settings.steps and self.total < settings.steps:
            print(f"steps: {self.total:,}, for {settings.max_epochs} passes through a text of this length; --steps N "
                  f"changes it")  # fmt: skip

    def describe(self) -> None:
        """Write what is trained on what, and with how many threads, to ``config.json``."""
        threads, size = os.environ.get("OPENBLAS_NUM_THREADS"), self.trainer.model.size
        described = self.stored | {"vocabulary": len(self.vocab), "parameters": size, "threads": threads}
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
        except FloatingPointError as error:
            self.draw()
            raise FloatingPointError(
                f"{error}; {self.folder / 'last.npz'} is of step {self.kept:,}: --resume --learning-rate X goes on "
                f"from there, --restart begins anew"
            ) from None
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.EPIPE, errno.EIO):
                raise
            # Whoever closed the pipe or the terminal that the progress goes to has stopped the run.
            for stream in (1, 2) if error.errno == errno.EIO else (1,):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            print(f"{self.folder}: nobody reads the output any more: stopped; --resume goes on", file=sys.stderr)
            self.draw()
            raise SystemExit(130) from None
        self.draw()

    def draw(self) -> None:
        """Draw the loss curve."""
        with writing(self.folder / "loss.png"):
            plot_losses(
                self.history, self.folder / "loss.png", self.vocab.unit, len(self.vocab), self.settings.smoothing
            )

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
            row |= self.norms()
        if evaluated or step % max(1, self.total // POINTS) == 0:
            self.history.append(row)
        go_on = f"go on with: minirnn train --resume --out {self.folder}"
        if step == self.total:
            self.ending = "done"
        elif self.interrupted.is_set():
            self.ending = f"interrupted after step {step:,}; {go_on}"
        elif time.monotonic() > self.deadline:
            self.ending = f"time is up after step {step:,}; {go_on}"
        elif evaluated and settings.patience and self.waited >= settings.patience:
            self.ending = (
                f"stopped early: no better validation loss in {self.waited} evaluations; --patience 0 never stops"
            )
        lasting = evaluated or bool(self.ending)
        if lasting:
            self.keep()
        summed = settings.seq_length if settings.reduction == "sum" else 0
        self.progress.show(report, row, lasting, summed)
        if self.sample_every and step % self.sample_every == 0 and not self.ending:
            self.progress.pause()
            self.show_sample(self.trainer.model, f"sample at step {step:,}", 200 if self.vocab.kind == "chars" else 40)
        return bool(self.ending)

    def norms(self) -> Row:
        """The norm of each parameter, in their order, and of its gradient by the batch that comes next, undropped."""
        trainer, model = self.trainer, self.trainer.model
        batch = trainer.step % trainer.batches_per_epoch
        x, y = trainer.x[batch], trainer.y[batch]
        state = trainer.state if batch else model.zero_state(x.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # the trainer says it when it gets there
            _, grads, _ = model.loss_and_grads(x, y, state, reduction=trainer.reduction)
            norms = [[float(np.linalg.norm(part[name])) for name in model.params] for part in (model.params, grads)]
        return {"weights": norms[0], "gradients": norms[1]}

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
        self.kept = self.trainer.step
        with whole(self.folder / "history.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", "epoch", "loss", "valid", "accuracy"], extrasaction="ignore")
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
            last = self.evaluations[-1]
            if self.waited > 1 and last["loss"] < row["loss"]:
                print(f"best at step {row['step']:,}; after that it only memorized: validation {row['valid']:.3f} to "
                      f"{last['valid']:.3f}, training {row['loss']:.3f} to {last['loss']:.3f}")  # fmt: skip
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
