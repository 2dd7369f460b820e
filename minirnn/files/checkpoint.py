"""A model, or a whole training run, in one file: a plain ``.npz`` that NumPy alone can read, and nothing pickled in it.

Each parameter is an array under ``params/NAME``; ``about`` is a JSON text with the format's version, the model's
configuration and the vocabulary. A checkpoint holds besides, as ``optimizer/...`` and ``state/...``, what the optimizer
remembers and the hidden state, and in ``about`` the step, the random generator, the settings and the history of the
run: all that is needed to go on as if nothing had happened. ``digests`` in ``about`` has the CRC-32 of every part.

A file is written under another name first, flushed to the disk, and then renamed, so that whoever looks finds either
the old file or the new one, never half of one, whenever the writer may be killed. It is read with suspicion: nothing
is unpickled, nothing is unpacked that could be larger than the file itself, and what is missing, of the wrong kind, or
not what was written, is named.
"""

import contextlib
import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.checks import Params, check_shape, check_vocab_size
from minirnn.model import LanguageModel, ModelConfig
from minirnn.optim import OPTIMIZERS
from minirnn.text import Vocabulary
from minirnn.train import Trainer

FORMAT = "minirnn model"
VERSION = 4  # 1 had no checkpoints, 2 no digests and other names of settings, 3 no norms in the history


@dataclass
class Checkpoint:
    """What a file holds; a saved model has neither training nor settings nor history."""

    model: LanguageModel
    vocab: Vocabulary
    arrays: Params  # these and
    training: dict[str, Any]  # these for restore
    settings: dict[str, Any]  # how the run was started
    history: list[dict[str, Any]]


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
    history: list[dict[str, Any]] | None = None,
) -> None:
    """Write all there is of a training run, as :func:`save_model` writes a model.

    ``settings`` and ``history`` are for the caller: whatever JSON can hold. To go on, make the same trainer again and
    call ``restore(trainer, checkpoint.arrays, checkpoint.training)``.
    """
    arrays, training = snapshot(trainer)
    training["optimizer"] = type(trainer.optimizer).__name__.lower()
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
    about["digests"] = digests(about, arrays)
    named: dict[str, Any] = dict(arrays)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **named)
        file.flush()
        os.fsync(file.fileno())


def digests(about: dict[str, Any], arrays: Params) -> dict[str, int]:
    """The CRC-32 of every part of a file, by name."""
    parts: dict[str, Any] = {name: f"{a.dtype.str} {a.shape} ".encode() + a.tobytes() for name, a in arrays.items()}
    for name, part in about.items():
        if name != "digests":
            named = {f"{name}.{key}": value for key, value in part.items()} if isinstance(part, dict) else {name: part}
            parts |= {key: json.dumps(value, sort_keys=True).encode() for key, value in named.items()}
    return {name: zlib.crc32(part) for name, part in parts.items()}


def special(path: Path) -> bool:
    """Whether this is a pipe or a device: reading it may never end, and no file shall take its place."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another name to write under: the file gets its own when all has been written, or stays as it was."""
    if special(path):
        raise ValueError(f"{path} is a device or a pipe, in whose place no file shall be put; name another")
    partial = Path(f"{path}.partial")
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
    if special(path):
        raise ValueError(f"{path} is no file; neither a pipe nor a device holds a model")
    with path.open("rb") as stream:
        try:
            return understood(*read(stream, path.stat().st_size))
        except Exception as error:  # a damaged file may raise anything
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
            raise ValueError(f"{path} is not a model that minirnn can load: {reason}") from error


def understood(about: dict[str, Any], arrays: Params) -> Checkpoint:
    """What a file says, checked: every part is there, of its kind, and as it was written."""
    given, vocabulary = about["config"], about["vocabulary"]
    kinds = {"config": dict, "vocabulary": dict, "training": dict, "settings": dict, "history": list, "digests": dict}
    for name, kind in kinds.items():
        if name in about and type(about[name]) is not kind:
            raise ValueError(f"its {name} must be a {kind.__name__}, got {about[name]!r:.40}")
    for f in dataclasses.fields(ModelConfig):
        if f.name not in given and (about["version"] >= 3 or f.default is dataclasses.MISSING):
            raise ValueError(f"its config has no {f.name}")
    if type(given.get("dropout", 0.0)) not in (int, float) or type(given.get("tie_weights", False)) is not bool:
        raise ValueError("dropout in its config must be a number, and tie_weights true or false")
    config = ModelConfig(**given)
    if type(vocabulary["tokens"]) is not list or not all(type(t) is str and t for t in vocabulary["tokens"]):
        raise ValueError("the tokens of its vocabulary must be a list of strings, none of them empty")
    vocab = Vocabulary(vocabulary["tokens"], vocabulary["kind"])
    check_vocab_size(len(vocab), config.vocab_size)
    params = {name.removeprefix("params/"): a for name, a in arrays.items() if name.startswith("params/")}
    check_params(config, params)
    model = LanguageModel(config, params)
    training, settings, history = (about.get(name, {}) for name in ("training", "settings", "history"))
    if "training" in about:
        check_training(model, arrays, training, (training if about["version"] >= 3 else settings)["optimizer"])
    elif strange := [name for name in arrays if not name.startswith("params/")]:
        raise ValueError(f"{strange[0]} is not of a model")
    if about["version"] >= 3 or "digests" in about:
        found, written = digests(about, arrays), about["digests"]
        for name in sorted(found.keys() | written.keys()):
            if found.get(name) != written.get(name):
                raise ValueError(f"its {name} is {'not what was written' if name in found else 'missing'}")
    return Checkpoint(model, vocab, arrays, training, settings, list(history))


def check_training(model: LanguageModel, arrays: Params, training: dict[str, Any], optimizer: Any) -> None:
    """Raise ValueError unless these are the numbers and arrays of a training of this model with this optimizer."""
    step, smooth_loss, rng = training["step"], training["smooth_loss"], training["rng"]
    if type(step) is not int or step < 0:
        raise ValueError(f"step must be a whole number of at least 0, got {step!r:.40}")
    if type(smooth_loss) is not float or not np.isfinite(smooth_loss):
        raise ValueError(f"smooth_loss must be a finite number, got {smooth_loss!r:.40}")
    generator = np.random.default_rng(0)
    try:
        generator.bit_generator.state = rng
    except Exception as error:
        raise ValueError(f"rng is no state of a random generator: {error}") from None
    # NumPy takes some states that it never has itself, and true for 1.
    if json.dumps(generator.bit_generator.state) != json.dumps(rng) or not (
        rng["has_uint32"] in (0, 1) and rng["state"]["inc"] % 2
    ):
        raise ValueError("rng is no state of a random generator")

    expected = {f"params/{name}": p.shape for name, p in model.params.items()}
    B = next((a.shape[-1] for name, a in arrays.items() if name.startswith("state/") and a.ndim == 2), 1)
    for i, layer in enumerate(model.zero_state(B)):
        expected |= {f"state/{i}/{j}": s.shape for j, s in enumerate(layer)}
    if optimizer not in list(OPTIMIZERS):
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r:.40}")
    rule = OPTIMIZERS[optimizer](1.0)
    if step:  # after the first step it remembers something
        rule.step(*({name: np.zeros_like(p) for name, p in model.params.items()} for _ in range(2)))
    expected |= {f"optimizer/{name}": slot.shape for name, slot in rule.state.items()}
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in arrays:
            raise KeyError(name)
        if name not in expected:
            raise ValueError(f"{name} is not of a training with {optimizer}")
        check_shape(name, arrays[name], expected[name])
        dtype = np.dtype(np.int64) if name == "optimizer/t" else model.dtype
        if arrays[name].dtype != dtype or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} must hold finite numbers of {dtype}, got {arrays[name].dtype}")
    if arrays.get("optimizer/t", 0) < 0:
        raise ValueError(f"optimizer/t must be at least 0, got {arrays['optimizer/t']}")


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
        check_format(about)
        # NumPy 2.0 took an option of savez for an array, which stands in files that earlier releases wrote with it.
        return about, {name: file[name] for name in file.files if name not in ("about", "allow_pickle")}


def check_format(about: Any) -> None:
    """Raise ValueError unless this is the description of a file of minirnn, of a version that this one reads."""
    if type(about) is not dict:
        raise ValueError(f"its description must be a dict, got {about!r:.40}")
    if about["format"] != FORMAT:
        raise ValueError("another format")
    if type(about["version"]) is not int or about["version"] < 1:
        raise ValueError(f"version must be a whole number of at least 1, got {about['version']!r:.40}")
    if about["version"] > VERSION:
        raise ValueError(f"format version {about['version']}, this minirnn reads up to {VERSION}; update it")


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
    for name, p in params.items():
        if p.dtype.kind not in "fc" or p.dtype != params["by"].dtype:
            got = f"{p.dtype} in {name}, {params['by'].dtype} in by"
            raise ValueError(f"dtype must be of floating or complex numbers, the same everywhere, got {got}")
        if not np.isfinite(p).all():
            raise ValueError(f"{name} is not finite: its training has diverged; load an earlier model")
