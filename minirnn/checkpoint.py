"""A trained model in one file: a plain ``.npz`` that NumPy alone can read, with nothing pickled in it.

Each parameter is an array under ``params/NAME``; ``about`` is a JSON text with the format's version, the model's
configuration and the vocabulary. A file is written under another name first and then renamed, so that whoever looks
finds either the old model or the new one, never half of one.
"""

import contextlib
import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.checks import check_shape, check_vocab_size
from minirnn.model import LanguageModel, ModelConfig
from minirnn.text import Vocabulary

FORMAT = "minirnn model"
VERSION = 1


def save_model(path: str | Path, model: LanguageModel, vocab: Vocabulary) -> None:
    """Write a model and its vocabulary to one ``.npz`` file; on OSError a file that was there is as it was.

    ValueError if the model is no :class:`LanguageModel`, or the vocabulary is not as large as the model's.
    """
    if not isinstance(model, LanguageModel):
        raise ValueError(f"model must be a LanguageModel, got a {type(model).__name__}; np.savez can keep its params")
    check_vocab_size(len(vocab), model.config.vocab_size)
    path = Path(path)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "config": dataclasses.asdict(model.config),
        "vocabulary": {"kind": vocab.kind, "tokens": vocab.tokens},
    }
    arrays: dict[str, Any] = {f"params/{name}": p for name, p in model.params.items()}
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:  # name the file that was asked for; a full disk names none
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()  # it is still there only if something went wrong


def load_model(path: str | Path) -> tuple[LanguageModel, Vocabulary]:
    """Read what :func:`save_model` wrote; ValueError if it is no model, or one of a later format."""
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["format"] != FORMAT:
                raise ValueError("another format")
            if about["version"] > VERSION:
                raise ValueError(f"format version {about['version']}, this minirnn reads up to {VERSION}; update it")
            params = {name.removeprefix("params/"): file[name] for name in file.files if name != "about"}
            config = ModelConfig(**about["config"])
            vocab = Vocabulary(about["vocabulary"]["tokens"], about["vocabulary"]["kind"])
            check_vocab_size(len(vocab), config.vocab_size)
            expected = LanguageModel.init(config, 0).params
            if params.keys() != expected.keys():
                raise ValueError("its parameters are not those of its configuration")
            for name, p in expected.items():
                check_shape(name, params[name], p.shape)
    except (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a model that minirnn can load: {error}") from error
    return LanguageModel(config, params), vocab
