"""Text of any size: read in pieces, encoded once, into a file of ids that is mapped into memory.

A text is read twice, a piece at a time: first for its vocabulary and its length, then to be encoded with the smallest
integers that hold the ids. What trains on the file sees an array and touches only the batches it takes, so the memory
that is needed does not grow with the text.
"""

import codecs
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minirnn.checks import Array
from minirnn.text import UNKNOWN, Vocabulary, split_words

PIECE = 1 << 20  # bytes read at a time
LONGEST_WORD = 1 << 20  # characters; what has no white space for longer is no text of words


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Read a text file; a byte-order mark is dropped and every kind of line end becomes a newline.

    Raises OSError if it cannot be read, ValueError if it is empty or no file, and UnicodeError, which is a ValueError
    too, if it is no text in this encoding.
    """
    return "".join(read_pieces(path, encoding))


def read_pieces(path: str | Path, encoding: str = "utf-8") -> Iterator[str]:
    """The text that :func:`read_text` reads, in pieces of about ``PIECE`` bytes of the file."""
    path = Path(path)
    try:
        b"a".decode(encoding)
    except UnicodeDecodeError:
        pass  # a letter takes more than a byte
    except (LookupError, ValueError):  # Python also has encodings that are not of text, or refuse every text
        raise ValueError(f"unknown encoding {encoding!r}; common ones are utf-8, latin-1, cp1252 and utf-16") from None
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{path} is no file; a text is read twice, and neither a pipe nor a device nor a folder can be"
        )
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    done, first, start, empty = 0, b"", True, True
    with path.open("rb") as file:
        while True:
            data = file.read(PIECE)
            done, first = done + len(data), first or data[:2]
            try:
                piece = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                where = done - len(error.object) + error.start
                likely = "utf-16" if first in (b"\xff\xfe", b"\xfe\xff") else "latin-1, cp1252 or utf-16"
                raise UnicodeError(
                    f"{path} is not {encoding} text: byte {error.object[error.start]:#04x} at offset {where:,} cannot "
                    f"be decoded; it may be {likely}"
                ) from None
            except UnicodeError as error:
                raise UnicodeError(f"{path} is not {encoding} text: {error}") from None
            if start and piece:
                piece, start = piece.removeprefix("\ufeff"), False
            if "\0" in piece:
                raise ValueError(f"{path} has NUL characters; it is no text, or is it utf-16?")
            if piece:
                empty = False
                yield piece
            if not data:
                break
    if empty:
        raise ValueError(f"{path} is empty; there is nothing to learn from")


def pieces(paths: Sequence[str | Path], encoding: str, kind: str) -> Iterator[str]:
    """The text of all files, one after the other, in pieces that can be encoded one by one; errors as ``read_text``."""
    parts = (piece for path in paths for piece in read_pieces(path, encoding))
    return parts if kind == "chars" else whole_words(parts)


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
    parts: Sequence[Sequence[str | Path]],
    target: str | Path,
    kind: str = "chars",
    max_size: int | None = None,
    encoding: str = "utf-8",
    known: Vocabulary | None = None,
) -> tuple[Array, Vocabulary, list[int]]:
    """Encode text files into one ``.npy`` file of ids.

    Parameters
    ----------
    parts : sequence of sequences of str or Path
        The files of the training text, from which the vocabulary is made, and of further texts.
    target : str or Path
        The file to write.
    kind : {"chars", "words"}
        What a token is.
    max_size : int, optional
        Of a vocabulary of words.
    encoding : str
    known : Vocabulary, optional
        Of a model to go on with: all its tokens are in the new one. One of words that has ``<unk>`` stays as it is.

    Returns
    -------
    ids : array (N,)
        All texts, one after the other, memory-mapped.
    vocab : Vocabulary
    lengths : list of int
        How many tokens each part has.

    Raises
    ------
    OSError, ValueError
        As :func:`minirnn.read_text`, and if a further text has tokens that the vocabulary has not.
    """
    counts: Counter[str] = Counter()
    lengths = []
    for number, paths in enumerate(parts):
        length = 0
        for piece in pieces(paths, encoding, kind):
            tokens = piece if kind == "chars" else split_words(piece)
            length += len(tokens)
            if number == 0:
                counts.update(set(tokens) if kind == "chars" else tokens)
        lengths.append(length)
    if known:
        counts.update(known.tokens)
    if known and UNKNOWN in known.ids:
        vocab = known
    else:
        vocab = Vocabulary(sorted(counts), "chars") if kind == "chars" else Vocabulary.from_counts(counts, max_size)
    dtype = np.min_scalar_type(len(vocab) - 1)
    with Path(target).open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (sum(lengths),)}
        )
        for paths in parts:
            for piece in pieces(paths, encoding, kind):
                file.write(vocab.encode(piece).astype(dtype).tobytes())
    return np.load(target, mmap_mode="r"), vocab, lengths


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
