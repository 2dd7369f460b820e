"""Text of any size: read in pieces, encoded once, into a file of ids that is mapped into memory.

A text is read twice, a piece at a time: first for its vocabulary and its length, then to be encoded with the smallest
integers that hold the ids. What trains on the file sees an array and touches only the batches it takes, so the memory
that is needed does not grow with the text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minirnn.checks import Array
from minirnn.text import Vocabulary, split_words

PIECE = 1 << 20  # characters read at a time
LONGEST_WORD = 1 << 20  # characters; what has no white space for longer is no text of words


def pieces(paths: Sequence[str | Path], encoding: str = "utf-8") -> Iterator[str]:
    """The text of all files, one after the other, in pieces; line ends and byte-order marks as in ``read_text``.

    Raises OSError if a file cannot be read, and ValueError if one is empty or no text in this encoding.
    """
    for path in paths:
        empty, start = True, True
        if Path(path).exists() and not Path(path).is_file():
            raise ValueError(f"{path} is no file; a text is read twice, and neither a pipe nor a folder can be")
        try:
            with Path(path).open(encoding=encoding) as file:
                while piece := file.read(PIECE):
                    piece, start = piece.removeprefix("\ufeff") if start else piece, False
                    if "\0" in piece:
                        raise ValueError(f"{path} has NUL characters; it is no text, or is it utf-16?")
                    empty = empty and not piece
                    yield piece
        except UnicodeError as error:
            why = getattr(error, "reason", error)  # its position is one in the piece, not in the file
            raise UnicodeError(f"{path} is not {encoding} text: {why}; it may be latin-1 or cp1252") from None
        except LookupError:
            raise ValueError(f"unknown encoding {encoding!r}; common ones are utf-8, latin-1 and utf-16") from None
        if empty:
            raise ValueError(f"{path} is empty; there is nothing to learn from")


def whole_words(parts: Iterator[str]) -> Iterator[str]:
    """The same pieces, cut only at white space."""
    rest = ""
    for piece in parts:
        text = rest + piece
        cut = len(text)
        while cut and not text[cut - 1].isspace():
            cut -= 1
        if len(text) - cut > LONGEST_WORD:
            raise ValueError(
                f"a word has more than {LONGEST_WORD:,} characters; it is no text of words, try characters"
            )
        yield text[:cut]
        rest = text[cut:]
    yield rest


def encode_files(
    paths: Sequence[str | Path],
    target: str | Path,
    kind: str = "chars",
    max_size: int | None = None,
    encoding: str = "utf-8",
) -> tuple[Array, Vocabulary]:
    """Encode text files into one ``.npy`` file of ids; returns them, memory-mapped, and their vocabulary.

    Parameters
    ----------
    paths : sequence of str or Path
    target : str or Path
        The file to write.
    kind : {"chars", "words"}
        What a token is.
    max_size : int, optional
        Of a vocabulary of words.
    encoding : str

    Raises
    ------
    OSError, ValueError
        As :func:`pieces`.
    """
    counts: Counter[str] = Counter()
    total = 0
    for piece in parts(paths, kind, encoding):
        if kind == "chars":
            counts.update(set(piece))
            total += len(piece)
        else:
            words = split_words(piece)
            counts.update(words)
            total += len(words)
    vocab = Vocabulary(sorted(counts), "chars") if kind == "chars" else Vocabulary.from_counts(counts, max_size)
    dtype = np.min_scalar_type(len(vocab) - 1)
    with Path(target).open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (total,)}
        )
        for piece in parts(paths, kind, encoding):
            file.write(vocab.encode(piece).astype(dtype).tobytes())
    return np.load(target, mmap_mode="r"), vocab


def parts(paths: Sequence[str | Path], kind: str, encoding: str) -> Iterator[str]:
    """Pieces that can be encoded one by one."""
    return pieces(paths, encoding) if kind == "chars" else whole_words(pieces(paths, encoding))


def longest_copy(sample: Array, ids: Array, limit: int = 5_000_000) -> tuple[int, int]:
    """The longest run of tokens that a sample shares with a text: its length, and where in the sample it begins.

    Of a text longer than ``limit`` tokens, only so many are searched.
    """
    needle, width = np.asarray(sample, ids.dtype).tobytes(), ids.itemsize
    length, where = 0, 0
    for begin in range(0, min(len(ids), limit), PIECE):
        # A copy may reach into the next piece.
        haystack = ids[begin : min(begin + PIECE + len(sample), limit)].tobytes()

        def occurs(wanted: bytes, haystack: bytes = haystack) -> bool:
            found = haystack.find(wanted)
            while found % width and found >= 0:  # it must begin where a token begins
                found = haystack.find(wanted, found + 1)
            return found >= 0

        for start in range(len(sample)):
            while (stop := start + length + 1) <= len(sample) and occurs(needle[start * width : stop * width]):
                length, where = length + 1, start
    return length, where
