"""From settings to a trainer, and what it will take: memory, threads."""

import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minirnn.checks import Array
from minirnn.commands.settings import AVERAGES, Settings
from minirnn.model import LanguageModel, ModelConfig
from minirnn.optim import OPTIMIZERS
from minirnn.schedules import cosine_decay, epoch_decay, exponential_decay, linear_decay
from minirnn.train import Trainer

# Steps that a warm-up is not cut below: a rate that rises faster saturates the units before they have learned anything.
FEWEST_WARMUP = 200
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
SLOTS = {"sgd": 0, "adagrad": 1, "rmsprop": 1, "adam": 2}  # arrays as large as the parameters


def make_model(vocab_size: int, settings: Settings, rng: np.random.Generator) -> LanguageModel:
    """A new model as the settings say; ValueError if no memory here holds its training."""
    names = [f.name for f in dataclasses.fields(ModelConfig) if f.name != "vocab_size"]
    config = ModelConfig(vocab_size=vocab_size, **{name: getattr(settings, name) for name in names})
    needed, there = bytes_needed(vocab_size, settings), memory()
    if needed > there:
        raise ValueError(
            f"not enough memory: training {parameters(vocab_size, settings):,} parameters with {settings.optimizer} "
            f"takes about {needed / 2**30:,.1f} GiB, {there / 2**30:,.1f} GiB are there; take a smaller model or batch"
        )
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
    averages = {name: value for name in AVERAGES if (value := getattr(settings, name)) is not None}
    trainer = Trainer(
        model, OPTIMIZERS[settings.optimizer](settings.learning_rate, **averages), ids,
        batch_size=settings.batch_size, seq_length=settings.seq_length, reduction=settings.reduction,
        clip_norm=settings.clip_norm or math.inf, clip_value=settings.clip_value or math.inf,
        smoothing=settings.smoothing, rng=rng,
    )  # fmt: skip
    epoch = trainer.batches_per_epoch
    total = steps_to_take(settings, epoch)
    trainer.schedule = make_schedule(settings, total, epoch)
    return trainer, total


def steps_to_take(settings: Settings, epoch: int) -> int:
    """How many steps a run has, ``epoch`` of which are an epoch."""
    total = settings.steps or (settings.epochs or 0) * epoch
    return min(total, settings.max_epochs * epoch) if settings.max_epochs else total


def make_schedule(settings: Settings, total: int, epoch: int) -> Callable[[int], float] | None:
    """The factor on the learning rate, for a run of ``total`` steps, ``epoch`` of which are an epoch."""
    falling: Callable[[int], float] = {
        "constant": lambda step: 1.0,
        "linear": lambda step: linear_decay(step, total),
        "cosine": lambda step: cosine_decay(step, total),
        "exponential": lambda step: exponential_decay(step, total, 0.01),
        "epochs": lambda step: epoch_decay(step, epoch, settings.constant_epochs, settings.epoch_decay),
    }[settings.schedule]
    warmup = min(settings.warmup, max(total // 6, FEWEST_WARMUP))  # of a shorter run a sixth
    return (lambda step: min(1, (step + 1) / warmup) * falling(step)) if warmup else falling


# --- what it takes ------------------------------------------------------------------------------------


def parameters(vocab_size: int, settings: Settings) -> int:
    """About how many numbers a model of these settings has, without making it."""
    H, D = settings.hidden_size, settings.embedding_size
    recurrent = GATES[settings.cell] * H * ((D or vocab_size) + H + 1 + (settings.layers - 1) * (2 * H + 1))
    return recurrent + (D or 0) * vocab_size + (0 if settings.tie_weights else H * vocab_size) + vocab_size


def bytes_needed(vocab_size: int, settings: Settings) -> int:
    """About the memory of training: parameters, gradients, the optimizer's slots, and what a batch leaves behind."""
    batch = settings.batch_size * settings.seq_length
    kept = 3 * vocab_size + settings.layers * (2 * GATES[settings.cell] + 4) * settings.hidden_size
    return 4 * ((2 + SLOTS[settings.optimizer]) * parameters(vocab_size, settings) + batch * kept)


def memory() -> float:
    """Bytes of memory that are there: free where the system tells, else all; infinite where it tells nothing."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return math.inf


def choose_threads(settings: Settings, wish: int | None, as_program: bool, began: int | None = None) -> None:
    """Say how many threads BLAS uses, after starting this program anew if they were not chosen yet.

    NumPy reads the variable when it is loaded. Threads that must share a processor with another program wait for each
    other at every product, which takes several times as long as doing without; so only idle processors are counted, and
    for small models two at most. A run goes on with as many as it ``began`` with: another number may round differently.
    What the user has set wins.
    """
    ours = os.environ.get("MINIRNN_THREADS", "")
    theirs = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    if not ours and not theirs and as_program and os.name == "posix":
        idle = idle_processors()
        small = parameters(settings.max_vocab or 100, settings) < 1_000_000
        threads = wish or began or max(1, min(idle, 2) if small else idle)
        why = "as --threads says" if wish else "as this run began" if began else f"{idle} processors are idle"
        os.environ |= {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "MINIRNN_THREADS": why}
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if theirs:
        why = f"{ours}; --threads N changes it" if ours else "as OPENBLAS_NUM_THREADS says"
        print(f"threads: {theirs}, {why}")


def idle_processors() -> int:
    """How many processors have nothing to do for a moment; where the system does not tell, by its load."""
    processors = os.cpu_count() or 1
    try:
        before = processor_times()
        time.sleep(0.15)
        passed = [after - then for after, then in zip(processor_times(), before, strict=True)]
        return round(processors * (passed[3] + passed[4]) / max(1, sum(passed)))  # idle, or waiting for a disk
    except (OSError, ValueError, IndexError):
        return round(max(0, processors - os.getloadavg()[0]))


def processor_times() -> list[int]:
    """What all processors together have done since the system began, in ticks: user, nice, system, idle, iowait..."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
