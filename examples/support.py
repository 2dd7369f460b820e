"""What the examples share: something to read; and loaded first, it lets Ctrl-C end what loads later without a word."""

import signal
import sys

if (
    getattr(sys.modules["__main__"], "__file__", "").startswith(__file__.removesuffix("support.py"))
    and signal.getsignal(signal.SIGINT) == signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until minirnn.commands.cli.guarded

import hashlib
import os
import tempfile
from pathlib import Path

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
NAME = "tinyshakespeare.txt"
PLAY = Path(__file__).parent / "data" / "play.txt"


def find_text(path: str | None, offline: bool = False) -> tuple[Path, str]:
    """Return the file to train on, and one line that says which it is and why.

    ``path`` if there is one; else tiny Shakespeare from the folder ``MINIRNN_DATA``, from the user's cache, or from
    the network (5 s, checked, then cached); else the play that comes with the examples.
    """
    folder = os.environ.get("MINIRNN_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minirnn" / NAME
    if path is not None:
        found, why = Path(path), "asked for with --text"
    elif folder and (Path(folder) / NAME).is_file():
        found, why = Path(folder) / NAME, "found in the folder MINIRNN_DATA"
    elif cache.is_file():
        found, why = cache, "found in the cache"
    else:
        try:
            if offline:
                raise ValueError("--offline forbids it")
            found, why = store(download(), cache)
        except (OSError, ValueError) as error:
            looked = f"no {NAME} in MINIRNN_DATA ({folder or 'not set'}) or {cache.parent}"
            why = f"shipped with the examples; {looked}, and no download: {getattr(error, 'reason', error)}"
            found = PLAY
    return found, f"text: {found}, {why}"


def download() -> bytes:
    """Fetch tiny Shakespeare.

    Raises
    ------
    OSError
        If the network does not deliver it within 5 s.
    ValueError
        If what came is not the file that was expected.
    """
    import urllib.request  # takes a moment

    with urllib.request.urlopen(URL, timeout=5) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"its sha256 is not {SHA256[:12]}...")
    return data


def store(data: bytes, path: Path) -> tuple[Path, str]:
    """Keep a download for the next time; that it cannot be kept is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        return partial.replace(path), f"downloaded from {URL} and kept"
    except OSError as error:
        with tempfile.NamedTemporaryFile(suffix=f"-{NAME}", delete=False) as file:
            file.write(data)
        return Path(file.name), f"downloaded from {URL}; it cannot be kept for the next time: {error}"
