"""The folder of a run: begun, begun anew, resumed, and held by one process at a time.

It holds ``text.npy``, the encoded text; ``config.json`` and ``history.csv``, for people; ``last.npz``, from which the
run can be resumed to the bit; ``best.npz``, the checkpoint with the lowest validation loss; and ``loss.png``.
"""

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minirnn.commands.run import Row, Run, load_ids
from minirnn.commands.settings import Settings, changed, settings_from
from minirnn.files.checkpoint import Checkpoint, load_checkpoint, restore, special, writing
from minirnn.files.corpus import encode_files
from minirnn.model import LanguageModel
from minirnn.text import Vocabulary

FILES = {"last.npz", "best.npz", "history.csv", "config.json", "text.npy", "loss.png"}
# What there may be of a run before there is anything to resume; the text comes first.
UNBORN = {"text.npy", "config.json", "config.json.partial", "last.npz.partial"}
NUMBERS = ("step", "epoch", "loss", "valid", "accuracy")  # in a row of the history
Parts = Sequence[Sequence[str | Path]]


def begin(folder: Path, parts: Parts, settings: Settings, init_from: Path | None = None) -> Run:
    """Encode the texts and make a model; ValueError if the folder holds something already.

    ``parts`` are the files of the training text, from whose end a share is kept for validation, or those of the
    training text, the validation text and perhaps the test text. ``init_from`` is the file of a model to begin with.
    """
    former = load_checkpoint(init_from) if init_from else None
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder)  # first: what is in the folder may be another process's, which is still encoding
    names = files_of(folder)
    if "last.npz" in names:
        raise ValueError(
            f"{folder} holds a run already; go on with --resume, begin anew with --restart (which keeps the old one "
            f"under another name), or name another folder with --out"
        )
    if not free(names):
        raise ValueError(f"{folder} is not empty; name a new folder with --out")
    try:
        with writing(folder / "text.npy"):
            _, vocab, tokens = encode_files(
                parts, folder / "text.npy", settings.kind, settings.max_vocab, settings.encoding,
                former.vocab if former else None,
            )  # fmt: skip
        texts = [str(path) for paths in parts for path in paths]
        text = {"texts": texts, "tokens": tokens, "sha256": digest(folder / "text.npy")}
        run = Run(folder, settings, text, vocab, [beginning(vocab)])
        if former:
            transplant(former, run.trainer.model, vocab)
        run.lock = lock
        run.history[0] |= run.norms()
        run.describe()
        run.keep()  # from now on there is something to resume
    except BaseException as error:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        if created:
            folder.rmdir()
        if isinstance(error, UnicodeError):
            raise ValueError(f"{error}; name the encoding with --encoding") from None
        raise
    run.introduce()
    return run


def files_of(folder: Path) -> set[str]:
    """The names of what is in a folder; ValueError if something there is no file and would be read or written."""
    paths = list(folder.iterdir())
    for path in paths:
        if path.name.removesuffix(".partial") in FILES and special(path):
            raise ValueError(f"{path} is a pipe or a device, which has no place in a run; remove it")
    return {path.name for path in paths}


def beginning(vocab: Vocabulary) -> Row:
    """The first row of a history: before the first step every token is as likely as any other."""
    return {"step": 0, "epoch": 0.0, "loss": math.log(len(vocab))}


def free(names: set[str]) -> bool:
    """Whether a folder is empty, or holds only what a run left that was killed before there was anything to resume."""
    return not names or ("text.npy" in names and names <= UNBORN)


def transplant(former: Checkpoint, model: LanguageModel, vocab: Vocabulary) -> None:
    """Give a new model the parameters of another of its shape, and every token those that it has there."""
    ids = [vocab.ids[token] for token in former.vocab.tokens]
    for name, p in model.params.items():
        if name in ("embedding", "Why", "by"):
            p[ids] = former.model.params[name]
        elif name == "rnn0.Wxh" and model.config.embedding_size is None:
            p[:, ids] = former.model.params[name]
        else:
            p[...] = former.model.params[name]


def begin_anew(folder: Path, parts: Parts, settings: Settings, init_from: Path | None = None) -> Run:
    """Like :func:`begin`, but a run that the folder holds is set aside, under another name."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if free(names):
        return begin(folder, parts, settings, init_from)
    if not folder.name:
        raise ValueError(f"{folder} cannot be set aside under another name; name the folder from outside")
    known = {
        name for name in names if name.removesuffix(".partial") in FILES | UNBORN
    }  # a killed run leaves partial ones
    strange = sorted(name for name in names - known if not Path(name).match("model*.npz"))
    if strange:
        raise ValueError(f"{folder} holds {strange[0]}, which is not of a run; name another folder with --out")
    aside, n = folder.with_name(f"{folder.name}.previous"), 1
    while aside.exists():
        n += 1
        aside = folder.with_name(f"{folder.name}.previous-{n}")
    lock = Lock(folder)  # of the old run, until it has been moved
    folder.rename(aside)
    try:
        if init_from and init_from.parent == folder:
            init_from = aside / init_from.name
        run = begin(folder, parts, settings, init_from)
    except BaseException:
        if not folder.exists():  # else the new run has begun, and both are whole
            aside.rename(folder)
        raise
    finally:
        del lock
    print(f"the run that was in {folder} is now in {aside}")
    return run


def resume(folder: Path, wishes: Mapping[str, Any]) -> Run:
    """Load ``last.npz`` and the encoded text, with other settings where wished; ValueError if they do not fit."""
    path = folder / "last.npz"
    if not path.exists():
        raise ValueError(f"{folder} has no last.npz to resume from; without --resume a new run begins")
    lock = Lock(folder)
    files_of(folder)
    checkpoint = load_checkpoint(path)
    settings, text = described(checkpoint, path)
    ids = load_ids(folder / "text.npy", text["tokens"])
    found = digest(folder / "text.npy")
    if "level" in checkpoint.settings:  # the first releases kept neither the digest nor the beginning
        text["sha256"] = text["sha256"] or found
        if not checkpoint.history or checkpoint.history[0]["step"]:
            checkpoint.history.insert(0, beginning(checkpoint.vocab))
    if not checkpoint.history or checkpoint.history[0]["step"]:
        raise ValueError(f"{path} cannot be resumed: its history must begin at step 0")
    if text["sha256"] != found or max(part.max(initial=0) for part in ids) >= len(checkpoint.vocab):
        raise ValueError(f"{folder / 'text.npy'} is not the text this run began with; begin a new run")
    settings = changed(settings, wishes)
    try:
        run = Run(folder, settings, text, checkpoint.vocab, checkpoint.history)
        run.lock = lock
        restore(run.trainer, checkpoint.arrays, checkpoint.training)
        run.kept = run.trainer.step
        if not wishes and run.kept > run.total:
            raise ValueError(f"its step is {run.kept:,}, of {run.total:,}")
    except ValueError as error:
        raise ValueError(f"{path} cannot be resumed: {error}") from error
    if wishes and run.total < run.trainer.step:
        raise ValueError(f"the run is at step {run.trainer.step:,} already; ask for more than {run.total:,}")
    print(f"resumed at step {run.trainer.step:,} of {run.total:,}")
    run.describe()
    run.introduce()
    return run


def described(checkpoint: Checkpoint, path: Path) -> tuple[Settings, dict[str, Any]]:
    """The settings of a run, and what is known of its text; ValueError if they cannot be those of a run."""
    if not checkpoint.settings or not checkpoint.training:
        raise ValueError(f"{path} is a model without a training run; it can be sampled, not resumed")
    text: dict[str, Any] = {name: checkpoint.settings.get(name) for name in ("texts", "tokens", "sha256")}
    if type(text["tokens"]) is int:  # the first releases had one text, and the very first did not say which
        text |= {"tokens": [text["tokens"]], "texts": text["texts"] or ["a text"]}
    try:
        settings = settings_from(checkpoint.settings)
        for name, value, kind in (("texts", text["texts"], str), ("tokens", text["tokens"], int)):
            if type(value) is not list or not value or any(type(one) is not kind for one in value):
                raise ValueError(f"{name} must be a list of {kind.__name__}, got {value!r:.40}")
        if not len(text["tokens"]) <= 3 or min(text["tokens"]) < 0:
            raise ValueError(f"tokens must be the lengths of one to three texts, got {text['tokens']!r:.40}")
        model = dataclasses.asdict(checkpoint.model.config) | {"kind": checkpoint.vocab.kind}
        model["optimizer"] = checkpoint.training.get("optimizer", settings.optimizer)
        for name, value in model.items():
            if name != "vocab_size" and getattr(settings, name) != value:
                raise ValueError(
                    f"{name} is {getattr(settings, name)} in the settings, but {value} in what was trained"
                )
        step = checkpoint.training["step"]  # an optimizer of one's own may have stepped before, a run's has not
        if (t := checkpoint.arrays.get("optimizer/t", step)) != step:
            raise ValueError(f"optimizer/t must be the step, {step}, got {t}")
        check_history(checkpoint)
    except ValueError as error:
        raise ValueError(f"{path} cannot be resumed: {error}") from error
    return settings, text


def check_history(checkpoint: Checkpoint) -> None:
    """Raise ValueError unless the history is one that leads to where the training is."""
    before = -1
    for row in checkpoint.history:
        if type(row) is not dict or not {"step", "epoch", "loss"} <= row.keys():
            raise ValueError(f"the history must have step, epoch and loss in every row, got {row!r:.40}")
        for name, value in row.items():
            norms = name in ("weights", "gradients")  # one for each parameter; of a gradient that overflows infinite
            fits = type(value) is list and len(value) == len(checkpoint.model.params) if norms else name in NUMBERS
            for one in value if norms and fits else [value]:
                if not fits or type(one) not in (int, float) or one < 0 or not (norms or one < math.inf):
                    raise ValueError(f"the history must have numbers of at least 0, got {name!r:.20} {value!r:.20}")
        if type(row["step"]) is not int or not before < row["step"] <= checkpoint.training["step"]:
            raise ValueError(f"the steps of the history must be whole numbers that rise, got {row['step']!r:.20}")
        before = row["step"]
    if 0 < before == checkpoint.training["step"] and row["loss"] != checkpoint.training["smooth_loss"]:
        raise ValueError("the loss at the end of the history is not smooth_loss")


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Lock:
    """A folder held by this process alone as long as this object lives; the system lets go when the process dies."""

    def __init__(self, folder: Path):
        self.descriptor = None
        if os.name != "posix":
            return
        import fcntl

        self.descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder} is in use: another process trains there; wait until it has ended") from None
        except OSError:
            pass  # a file system without locks

    def __del__(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
