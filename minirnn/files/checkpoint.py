"""A model, or a whole training run, in one file: a plain ``.npz`` that NumPy alone can read, and nothing pickled in it.

Each parameter is an array under ``params/NAME``; ``about`` is a JSON text with the format's version, the model's
configuration and the vocabulary. A checkpoint holds besides, as ``optimizer/...`` and ``state/...``, what the optimizer
remembers and the hidden state, and in ``about`` the step, the random generator, the settings and the history of the
run: all that is needed to go on as if nothing had happened.

A file is written under another name first, flushed to the disk, and then renamed, so that whoever looks finds either
the old file or the new one, never half of one, whenever the writer may be killed. It is read with suspicion: nothing
is unpickled, and nothing is unpacked that could be larger than the file itself.
"""

import contextlib
import dataclasses
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.checks import Params, check_dtype, check_shape, check_vocab_size
from minirnn.model import LanguageModel, ModelConfig
from minirnn.text import Vocabulary
from minirnn.train import Trainer

FORMAT = "minirnn model"
VERSION = 2  # 1 had no checkpoints


@dataclass
class Checkpoint:
    """What a file holds; a saved model has neither training nor settings nor history."""

    model: LanguageModel
    vocab: Vocabulary
    arrays: Params  # these and
    training: dict[str, Any]  # these for restore
    settings: dict[str, Any]  # how the run was started
    history: list[dict[str, float]]


def save_model(path: str | Path, model: LanguageModel, vocab: Vocabulary) -> None:
    """Write a model and its vocabulary to one ``.npz`` file; on OSError a file that was there is as it was.

    ValueError if the model is no :class:`LanguageModel`, or the vocabulary is not as large as the model's.
    """
    if not isinstance(model, LanguageModel):
        raise ValueError(f"model must be a LanguageModel, got a {type(model).__name__}; np.savez can keep its params")
    write(path, model, vocab, {f"params/{name}": p for name, p in model.params.items()}, {})


def save_checkpoint(
    path: str | Path,
    trainer: Trainer,
    vocab: Vocabulary,
    settings: dict[str, Any] | None = None,
    history: list[dict[str, float]] | None = None,
) -> None:
    """Write all there is of a training run, as :func:`save_model` writes a model.

    ``settings`` and ``history`` are for the caller: whatever JSON can hold. To go on, make the same trainer again and
    call ``restore(trainer, checkpoint.arrays, checkpoint.training)``.
    """
    arrays, training = snapshot(trainer)
    more = {"training": training, "settings": settings or {}, "history": history or []}
    write(path, trainer.model, vocab, arrays, more)


def snapshot(trainer: Trainer) -> tuple[Params, dict[str, Any]]:
    """All that training has changed: the arrays themselves by name, and numbers that JSON can hold."""
    arrays = {f"params/{name}": p for name, p in trainer.model.params.items()}
    arrays |= {f"optimizer/{name}": slot for name, slot in trainer.optimizer.state.items()}
    arrays |= {f"state/{i}/{j}": s for i, layer in enumerate(trainer.state) for j, s in enumerate(layer)}
    rng = trainer.rng.bit_generator.state
    return arrays, {"step": trainer.step, "smooth_loss": trainer.smooth_loss, "rng": rng}


def restore(trainer: Trainer, arrays: Params, numbers: dict[str, Any]) -> None:
    """Let a trainer go on from a :func:`snapshot`, exactly: its steps have the same bits as without a stop.

    It must have been made with the same settings. ValueError if the arrays are not those of its model.
    """
    slots = {name: a for name, a in arrays.items() if name.startswith("optimizer/")}
    for name, mine in snapshot(trainer)[0].items():
        if name.startswith("optimizer/"):
            continue  # a new optimizer remembers nothing yet
        if name not in arrays:
            raise ValueError(f"the snapshot has no {name}")
        check_shape(name, arrays[name], mine.shape)
    for name, p in trainer.model.params.items():
        p[...] = arrays[f"params/{name}"]
    trainer.optimizer.state = {name.removeprefix("optimizer/"): slot.copy() for name, slot in slots.items()}
    trainer.state = tuple(
        tuple(arrays[f"state/{i}/{j}"].copy() for j in range(len(layer))) for i, layer in enumerate(trainer.state)
    )
    trainer.step, trainer.smooth_loss = int(numbers["step"]), float(numbers["smooth_loss"])
    trainer.rng.bit_generator.state = numbers["rng"]


def write(path: str | Path, model: LanguageModel, vocab: Vocabulary, arrays: Params, more: dict[str, Any]) -> None:
    """Write the file under another name, flush it, rename it."""
    check_vocab_size(len(vocab), model.config.vocab_size)
    path = Path(path)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "config": dataclasses.asdict(model.config),
        "vocabulary": {"kind": vocab.kind, "tokens": vocab.tokens},
        **more,
    }
    named: dict[str, Any] = dict(arrays)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **named)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another name to write under: the file gets its own when all has been written, or stays as it was."""
    partial = path.with_name(path.name + ".partial")
    try:
        with writing(path):
            yield partial
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()  # it is still there only if something went wrong


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let an error name the file that could not be written; that of a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == f"{path}.partial":
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def load_model(path: str | Path) -> tuple[LanguageModel, Vocabulary]:
    """The model and vocabulary in such a file; errors as :func:`load_checkpoint`."""
    checkpoint = load_checkpoint(path)
    return checkpoint.model, checkpoint.vocab


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` or :func:`save_model` wrote.

    Raises OSError if the file cannot be read, and ValueError if it is damaged, was not written by minirnn, is of a
    later format, or holds a model whose training has diverged.
    """
    path = Path(path)
    with path.open("rb") as stream:
        try:
            about, arrays = read(stream, path.stat().st_size)
            config = ModelConfig(**about["config"])
            vocab = Vocabulary(about["vocabulary"]["tokens"], about["vocabulary"]["kind"])
            check_vocab_size(len(vocab), config.vocab_size)
            params = {name.removeprefix("params/"): a for name, a in arrays.items() if name.startswith("params/")}
            check_params(config, params)
            training, settings, history = (about.get(key, {}) for key in ("training", "settings", "history"))
            return Checkpoint(LanguageModel(config, params), vocab, arrays, training, settings, list(history))
        except Exception as error:  # a damaged file may raise anything
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
            raise ValueError(f"{path} is not a model that minirnn can load: {reason}") from error


def read(stream: Any, size: int) -> tuple[dict[str, Any], Params]:
    """The JSON text and all other arrays of a file, after a look at what it claims to hold."""
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size:
            raise ValueError("it is compressed, which files of minirnn are not")
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as file:
        if "about" not in file.files:
            raise ValueError("it has no description")
        about = json.loads(str(file["about"]))
        if about["format"] != FORMAT:
            raise ValueError("another format")
        if about["version"] > VERSION:
            raise ValueError(f"format version {about['version']}, this minirnn reads up to {VERSION}; update it")
        return about, {name: file[name] for name in file.files if name != "about"}


def check_params(config: ModelConfig, params: Params) -> None:
    """Raise ValueError unless these are finite parameters of such a model."""
    V, H, D = config.vocab_size, config.hidden_size, config.embedding_size or 0
    # Do not make a model to compare with before it is known that it is not larger than the file.
    possible = V * max(H, D) + config.layers * H * H <= sum(p.size for p in params.values())
    expected = LanguageModel.init(config, 0).params if possible else {}
    if params.keys() != expected.keys():
        raise ValueError("its parameters are not those of its configuration")
    for name, p in expected.items():
        check_shape(name, params[name], p.shape)
        check_dtype(params[name].dtype)
        if not np.isfinite(params[name]).all():
            raise ValueError(f"{name} is not finite: its training has diverged; load an earlier model")
