"""What the examples share: something to read, a place to write, and one clear sentence when something is wrong."""

import argparse
import hashlib
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import minirnn
from minirnn.commands.cli import guarded

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
NAME = "tinyshakespeare.txt"
PLAY = Path(__file__).parent / "data" / "play.txt"


def find_text(path: str | None, encoding: str = "utf-8", offline: bool = False) -> tuple[str, str]:
    """Return the text to train on, and one line that says which it is and why.

    ``path`` if there is one; else tiny Shakespeare from the folder ``MINIRNN_DATA``, from the user's cache, or from
    the network (5 s, checked, then cached); else the play that comes with the examples.
    """
    if path is not None:
        try:
            return describe(minirnn.read_text(path, encoding), path, "asked for with --text")
        except UnicodeError as error:
            raise ValueError(f"{error}; name the file's encoding with --encoding") from None
    folder = os.environ.get("MINIRNN_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minirnn" / NAME
    if folder and (Path(folder) / NAME).is_file():
        return describe(minirnn.read_text(Path(folder) / NAME), Path(folder) / NAME, "found in the folder MINIRNN_DATA")
    if cache.is_file():
        return describe(minirnn.read_text(cache), cache, "found in the cache")
    try:
        if offline:
            raise ValueError("--offline forbids it")
        data = download()
    except (OSError, ValueError) as error:
        looked = f"no {NAME} in MINIRNN_DATA ({folder or 'not set'}) or {cache.parent}"
        why = f"shipped with the examples; {looked}, and no download: {getattr(error, 'reason', error)}"
        return describe(minirnn.read_text(PLAY), PLAY, why)
    return describe(data.decode("utf-8"), URL, f"downloaded; {store(data, cache)}")


def describe(text: str, source: str | Path, why: str) -> tuple[str, str]:
    """The text, and its one line."""
    return text, f"text: {source} ({len(text):,} characters), {why}"


def download() -> bytes:
    """Fetch tiny Shakespeare.

    Raises
    ------
    OSError
        If the network does not deliver it within 5 s.
    ValueError
        If what came is not the file that was expected.
    """
    with urllib.request.urlopen(URL, timeout=5) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"its sha256 is not {SHA256[:12]}...")
    return data


def store(data: bytes, path: Path) -> str:
    """Keep a download for the next time; that it cannot be kept is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        return f"it cannot be kept for the next time: {error}"
    return f"kept in {path}"


def prepare_folder(name: str) -> Path:
    """Make a folder for results, and find out now, not after training, whether it can be written to."""
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out must name a folder, {name} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    return folder


def set_aside(path: Path) -> None:
    """Keep the model that an earlier run left at ``path`` under a name of its own; call it before the first save."""
    if path.exists():
        kept, n = path.with_name(f"{path.stem}.previous.npz"), 1
        while kept.exists():
            n += 1
            kept = path.with_name(f"{path.stem}.previous-{n}.npz")
        path.rename(kept)
        print(f"the model of an earlier run is now {kept}")


def run(program: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a program and return its exit code; bad input ends it with one sentence on stderr and code 2."""
    return guarded(Path(sys.argv[0]).name, lambda: program(args))
