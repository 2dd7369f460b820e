"""From text to token ids, and from ids to the batches of a stream.

Training on a stream means that nothing is forgotten at the edge of a batch: the ids are cut into B long rows, and every
batch takes the next T columns of all rows at once. So row b of one batch continues row b of the one before, and the
hidden state can be carried over::

    ids = 0 1 2 3 4 5 6 7 8 9 10 11 12        B = 2, T = 3

    row 0:  0 1 2 | 3 4  5                    batch 0: x = 0 1 2   y = 1 2 3
    row 1:  6 7 8 | 9 10 11                                6 7 8       7 8 9     (drawn as rows; the arrays are (T, B))
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from minirnn.checks import Array, check_choice, check_ids, check_size

UNKNOWN, END_OF_LINE = "<unk>", "<eos>"


class Vocabulary:
    """The tokens a model knows, and the ids it knows them by: ``tokens[i]`` has id i.

    ``kind`` is "chars", or "words" for words between white space with ``<eos>`` for each line's end.
    """

    def __init__(self, tokens: Sequence[str], kind: str):
        self.tokens = list(tokens)
        self.kind = check_choice("kind", kind, "chars", "words")
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise ValueError("the tokens of a vocabulary must all be different")
        if not self.tokens:
            raise ValueError("a vocabulary needs at least one token; the text was empty")

    @classmethod
    def from_chars(cls, text: str) -> "Vocabulary":
        """All distinct characters of a text, sorted."""
        return cls(sorted(set(text)), "chars")

    @classmethod
    def from_words(cls, text: str, max_size: int | None = None) -> "Vocabulary":
        """The words of a text, the most frequent first (ties in alphabetical order).

        ``max_size`` limits the vocabulary; one of its tokens then is ``<unk>``, which stands for all words left out.
        """
        return cls.from_counts(Counter(split_words(text)), max_size)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], max_size: int | None = None) -> "Vocabulary":
        """The same from how often each word occurs."""
        if max_size is not None and max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {max_size}")
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if max_size is not None and (UNKNOWN not in counts or len(words) > max_size):
            words = [*[word for word in words if word != UNKNOWN][: max_size - 1], UNKNOWN]
        return cls(words, "words")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def unit(self) -> str:
        """What one token is: "character" or "word"."""
        return "character" if self.kind == "chars" else "word"

    def encode(self, text: str) -> Array:
        """Token ids (N,) of a text; ValueError if a token is not in the vocabulary, and ``<unk>`` is not either."""
        tokens: Sequence[str] = text if self.kind == "chars" else split_words(text)
        if self.kind == "chars" and max(map(len, self.tokens)) == 1:  # a table is many times faster than a dict
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            table = np.full(0x110000, -1, np.int32)
            table[[ord(token) for token in self.tokens]] = range(len(self))
            ids = table[codes]
        else:
            unknown_id = self.ids.get(UNKNOWN, -1)
            ids = np.fromiter((self.ids.get(token, unknown_id) for token in tokens), np.int32, len(tokens))
        if ids.size and ids.min() < 0:
            unknown = sorted({token for token in tokens if token not in self.ids})
            named = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            raise ValueError(
                f"not in the vocabulary of {len(self)} {self.kind}: {named}; use only tokens of the training text"
            )
        return ids

    def decode(self, ids: ArrayLike) -> str:
        """The text of token ids (N,)."""
        return self.join(self.tokens[i] for i in check_ids(ids, len(self)).reshape(-1)) if np.size(ids) else ""

    def join(self, tokens: Iterable[str]) -> str:
        """The text of tokens: characters as they are, words with spaces between, ``<eos>`` as a line's end."""
        return "".join(self.spaced(tokens))

    def spaced(self, tokens: Iterable[str], before: str = "") -> Iterator[str]:
        """The same token by token, each with the space that it needs after the text ``before`` and the last one."""
        space = "" if self.kind == "chars" or not before or before[-1].isspace() else " "
        for token in tokens:
            if self.kind == "words" and token == END_OF_LINE:
                token, space = "\n", ""
            yield space + token
            space = "" if self.kind == "chars" or token == "\n" else " "


def split_words(text: str) -> list[str]:
    """Words between white space, and ``<eos>`` for each newline."""
    return text.replace("\n", f" {END_OF_LINE} ").split()


def stream(ids: ArrayLike, batch_size: int, seq_length: int) -> tuple[Array, Array]:
    """All inputs and targets of one epoch, as views of shape (batches, T, B) that copy nothing.

    Up to B*T - 1 tokens at the end of the text do not fill a batch and are left out; ValueError if that are all.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise ValueError(f"ids must be one row of tokens (N,), got shape {ids.shape}")
    B, T = check_size("batch_size", batch_size), check_size("seq_length", seq_length)
    n = (len(ids) - 1) // (B * T)
    if n < 1:
        raise ValueError(
            f"{len(ids):,} tokens are too few to train on: a batch of B = {B} sequences x T = {T} steps needs "
            f"B*T + 1 = {B * T + 1:,}; take a longer text, a smaller batch_size or a smaller seq_length"
        )
    x, y = (part.reshape(B, n, T).transpose(1, 2, 0) for part in (ids[: n * B * T], ids[1 : n * B * T + 1]))
    return x, y


def stream_batches(ids: ArrayLike, batch_size: int, seq_length: int) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch in order: inputs and targets, ids (T, B) each, ``y`` one token ahead of ``x``.

    Row (sequence) b of one batch continues row b of the one before. Errors as in :func:`stream`.
    """
    return zip(*stream(ids, batch_size, seq_length), strict=True)
