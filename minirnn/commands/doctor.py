"""What would training cost, and is this machine set up for it? ``minirnn doctor``."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import minirnn
from minirnn.commands.run import make_trainer, size
from minirnn.files.corpus import pieces
from minirnn.text import Vocabulary

TRIAL = "import minirnn.commands.doctor; print(minirnn.commands.doctor.trial())"


def examine_text(path: str, settings: dict[str, Any]) -> list[str]:
    """What there is to know of a text, and the settings that suit it."""
    encoding = guess_encoding(path)
    text = "".join(pieces([path], encoding))
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
    settings = settings | suggested(len(text))
    trainer = make_trainer(chars.encode(text), len(chars), settings)
    started = time.perf_counter()
    *_, last = trainer.steps(20)
    seconds = (time.perf_counter() - started) / last.step
    parameters = size(trainer.model)
    # Parameters, gradients and two slots of an optimizer; and what forward keeps of each step for backward.
    bytes_needed = 16 * parameters + 40 * settings["batch_size"] * settings["seq_length"] * settings["hidden"]
    steps = settings["steps"]
    lines += [
        f"suggested: --cell {settings['cell']} --hidden {settings['hidden']} --dropout {settings['dropout']} "
        f"--batch-size {settings['batch_size']} --seq-length {settings['seq_length']} --steps {steps}",
        f"that is {parameters:,} parameters for {len(text):,} characters, {trainer.batches_per_epoch:,} batches "
        f"an epoch, {steps / trainer.batches_per_epoch:.1f} epochs",
        f"it needs about {bytes_needed / 2**20:,.0f} MiB and {steps * seconds:,.0f} s ({1000 * seconds:.1f} ms a step)",
    ]
    if parameters > len(text):
        lines.append(
            "advice: more parameters than characters; the model will learn the text by heart, watch validation"
        )
    return lines


def guess_encoding(path: str) -> str:
    """The first of a few encodings in which the file can be read; in latin-1 every file can."""
    data = Path(path).read_bytes()
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "cp1252"):
        with contextlib.suppress(UnicodeError):
            data.decode(encoding)
            return encoding
    return "latin-1"


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
    return {"hidden": hidden, "dropout": dropout, "batch_size": batch_size, "seq_length": seq_length}


def examine_machine() -> list[str]:
    """Versions, BLAS and kernels, and whether another setting would be faster: a trial of about a second each."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    asked = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE")}
    lines = [
        f"minirnn {minirnn.__version__}, Python {sys.version.split()[0]}, NumPy {np.__version__}, "
        f"{os.cpu_count()} processors",
        f"BLAS: {blas.get('name')} {blas.get('version')}, kernels: {kernels() or 'unknown'}; "
        + ", ".join(f"{name}={value or 'not set'}" for name, value in asked.items()),
    ]
    choices: list[dict[str, str]] = [{}, {"OPENBLAS_NUM_THREADS": "1"}]
    if "openblas" in str(blas.get("name")) and has_avx512():
        choices += [{"OPENBLAS_CORETYPE": "SkylakeX"}, {"OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "1"}]
    times = []
    for choice in choices:
        milliseconds = run_trial(choice)
        times.append(milliseconds)
        named = " ".join(f"{name}={value}" for name, value in choice.items()) or "as it is now"
        lines.append(f"trial, {named}: " + " ".join(f"{kind} {ms:.2f} ms" for kind, ms in milliseconds.items()))
    for kind in times[0]:
        best = min(range(len(times)), key=lambda i: times[i][kind])
        if times[best][kind] < 0.9 * times[0][kind]:
            named = " ".join(f"{name}={value}" for name, value in choices[best].items())
            factor = times[0][kind] / times[best][kind]
            lines.append(f"advice: {named} would make a {kind} model {factor:.1f} times as fast")
    if not any(line.startswith("advice") for line in lines):
        lines.append("advice: leave the settings of BLAS as they are")
    return lines


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
        while time.perf_counter() - started < 0.5:
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
