"""What would training cost, and is this machine set up for it? ``minirnn doctor``."""

import codecs
import contextlib
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import minirnn
from minirnn.commands.build import bytes_needed, make_trainer
from minirnn.commands.run import split
from minirnn.commands.settings import Settings, option
from minirnn.files.corpus import read_pieces, read_text
from minirnn.text import Vocabulary

AVX512_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")  # of OpenBLAS
ROUNDS = 3  # of trials
CLEAR = 1.15  # a smaller gain is none
TRIAL = "import minirnn.commands.doctor; print(minirnn.commands.doctor.trial())"


def examine_text(path: str, settings: Settings) -> list[str]:
    """What there is to know of a text, and the settings that suit it."""
    encoding = guess_encoding(path)
    text = read_text(path, encoding)
    chars = Vocabulary.from_chars(text)
    words = text.split()
    lines = [
        f"{path}: {Path(path).stat().st_size:,} bytes of {encoding}, {len(text):,} characters, {len(chars)} different; "
        f"{len(words):,} words, {len(set(words)):,} different"
    ]
    rare = [token for token in chars.tokens if text.count(token) < 3]
    if rare:
        lines.append(f"characters that occur once or twice: {' '.join(map(repr, rare[:20]))}")
    if encoding != "utf-8":
        lines.append(f"advice: train with --encoding {encoding}")
    suggestion = suggested(len(text))
    settings = replace(settings, **suggestion)
    trainer, steps = make_trainer(split(chars.encode(text), settings.valid)[0], len(chars), settings)
    started = time.perf_counter()
    *_, last = trainer.steps(20)
    seconds = (time.perf_counter() - started) / last.step
    parameters, mebibytes = trainer.model.size, bytes_needed(len(chars), settings) / 2**20
    named = " ".join(f"{option(name)} {value}" for name, value in suggestion.items())
    lines += [
        f"suggested: --cell {settings.cell} {named} --steps {steps}",
        f"that is {parameters:,} parameters for {len(text):,} characters, {trainer.batches_per_epoch:,} batches "
        f"an epoch, {steps / trainer.batches_per_epoch:.1f} epochs",
        f"it needs about {mebibytes:,.0f} MiB and {steps * seconds:,.0f} s ({1000 * seconds:.1f} ms a step)",
    ]
    if parameters > len(text):
        lines.append(
            "advice: more parameters than characters; the model will learn the text by heart, watch validation"
        )
    return lines


def guess_encoding(path: str) -> str:
    """The first of a few encodings in which the file can be read; in latin-1 every file can."""

    def readable(encoding: str) -> bool:
        with contextlib.suppress(UnicodeError):
            return all(read_pieces(path, encoding))  # of which every piece has something in it
        return False

    if readable("utf-8"):
        return "utf-8"
    with Path(path).open("rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    guesses = ("utf-16", "cp1252") if marked else ("cp1252",)
    return next((encoding for encoding in guesses if readable(encoding)), "latin-1")


def suggested(characters: int) -> dict[str, Any]:
    """Settings for a text of so many characters: a larger model and less dropout the more there is to learn from."""
    hidden, dropout, batch_size = (64, 0.3, 8) if characters < 100_000 else (256, 0.0, 32)
    if characters > 5_000_000:
        hidden, batch_size = 512, 64
    seq_length = 32
    while batch_size > 1 and characters < 20 * batch_size * seq_length:
        batch_size //= 2
    while seq_length > 2 and characters < 4 * batch_size * seq_length:
        seq_length //= 2
    return {"hidden_size": hidden, "dropout": dropout, "batch_size": batch_size, "seq_length": seq_length}


def examine_machine() -> list[str]:
    """Versions, BLAS and kernels, and whether another setting would be faster: trials of about a second each."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    asked = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE")}
    lines = [
        f"minirnn {minirnn.__version__}, Python {sys.version.split()[0]}, NumPy {np.__version__}, "
        f"{os.cpu_count()} processors",
        f"BLAS: {blas.get('name')} {blas.get('version')}, kernels: {kernels() or 'unknown'}; "
        + ", ".join(f"{name}={value or 'not set'}" for name, value in asked.items()),
    ]
    choices: list[dict[str, str]] = [{}]
    if asked["OPENBLAS_NUM_THREADS"] != "1":
        choices.append({"OPENBLAS_NUM_THREADS": "1"})
    if kernels() and kernels() not in AVX512_KERNELS and has_avx512():
        choices.append({"OPENBLAS_CORETYPE": "SkylakeX"})
    names = [" ".join(f"{name}={value}" for name, value in choice.items()) or "as it is now" for choice in choices]
    # In turn, so that whatever else the machine does meets all alike.
    trials = [[run_trial(choice) for choice in choices] for _ in range(ROUNDS)]
    advice = []
    for kind in trials[0][0]:
        times = [[trial[i][kind] for trial in trials] for i in range(len(choices))]
        for name, milliseconds in zip(names, times, strict=True):
            lines.append(f"trial, {kind} model, {name}: {' '.join(f'{ms:.2f}' for ms in milliseconds)} ms a step")
        best = min(range(len(times)), key=lambda i: statistics.median(times[i]))
        gain = statistics.median(times[0]) / statistics.median(times[best])
        if gain > CLEAR and max(times[best]) < min(times[0]):
            advice.append(f"advice: a {kind} model ran {gain:.1f} times as fast with {names[best]}, here and now")
    return lines + (advice or ["advice: leave the settings of BLAS as they are"])


def kernels() -> str:
    """The kernels that OpenBLAS has picked for this processor; empty if it does not say."""
    for library in (Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"):
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError:
            continue
        for name in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
            if hasattr(loaded, name):
                function = getattr(loaded, name)
                function.restype = ctypes.c_char_p
                return (function() or b"").decode()
    return ""


def has_avx512() -> bool:
    """Whether the processor has the instructions of OpenBLAS's SkylakeX kernels, as far as the system tells."""
    try:
        return "avx512bw" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def trial() -> str:
    """Milliseconds of a training step of a small and a large model, as JSON; runs in a process of its own."""
    ids, times = np.random.default_rng(0).integers(0, 65, 20_000), {}
    for kind, cell, hidden, batch in (("small", "rnn", 100, 1), ("large", "gru", 256, 32)):
        model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, 65, hidden), 0)
        trainer = minirnn.Trainer(model, minirnn.Adagrad(0.01), ids, batch_size=batch, seq_length=25, clip_norm=1.0)
        started, steps, taken = time.perf_counter(), trainer.steps(10_000), []
        while time.perf_counter() - started < 0.25:
            before = time.perf_counter()
            next(steps)
            taken.append(time.perf_counter() - before)
        times[kind] = 1000 * sorted(taken)[len(taken) // 2]
    return json.dumps(times)


def run_trial(environment: dict[str, str]) -> dict[str, float]:
    """:func:`trial` in a process with these settings of BLAS."""
    done = subprocess.run(
        [sys.executable, "-c", TRIAL], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
