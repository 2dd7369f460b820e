"""The catalogue: what goes wrong in hand-written back-propagation through time, each mistake as a line to be replaced.

The entries stand in ``catalogue.txt``, in words and as edits of the model answer, the way students make them. That file
begins with its format; a new entry is the function, what is right, the line, the wrong line, and a sentence. The tests
then ask that it be caught, and named, and named alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mistake:
    """A line that should read differently."""

    function: str  # of the model answer: "rnn_backward"
    sentence: str  # what was done
    algebra: str  # what should have been done
    edits: tuple[tuple[str, str], ...]  # pieces of the function, and what stands there instead


def read(text: str) -> Iterator[Mistake]:
    """The entries of a catalogue; ValueError where one lacks something."""
    columns: dict[str, list[str]] = {}
    right: list[str] = []
    wrong: list[str] = []
    ended = True
    for line in text.splitlines():
        name, colon, value = line.partition(": ")
        sentence = ""
        if not line or line.startswith("#"):
            continue
        if line[0] in "-+":
            if ended:
                right, wrong, ended = ([] if line[0] == "-" else right), [], False
            piece, _, sentence = line[1:].partition("  # ")
            (right if line[0] == "-" else wrong).append(piece.strip())
        elif colon and name.isidentifier():
            columns = {} if name == "function" else columns
            columns[name] = value.split(" | ")
        else:
            sentence = line
        if sentence:
            if not {"function", "algebra"} <= columns.keys() or not len(right) == len(wrong) > 0:
                raise ValueError(f"this mistake needs function, algebra, and edits in pairs of - and +: {sentence!r}")
            yield from expand(columns, [sentence, *columns["algebra"], *right, *wrong])
            ended = True


def expand(columns: dict[str, list[str]], texts: list[str]) -> Iterator[Mistake]:
    """One entry, or one for each of the functions and of the values that its texts (sentence, algebra, edits) name."""
    used = {"function", *re.findall(r"\{(\w+)\}", " ".join(texts))} & columns.keys()
    count = max(len(columns[name]) for name in used)
    if any(len(columns[name]) not in (1, count) for name in used):
        raise ValueError(f"lists that go side by side must be of one length: {texts[0]!r}")
    for i in range(count):
        values, filled = {name: columns[name][i % len(columns[name])] for name in used}, texts
        for name, value in values.items():
            filled = [text.replace(f"{{{name}}}", value) for text in filled]
        sentence, algebra, *edits = filled
        half = len(edits) // 2
        for function in values["function"].split():
            yield Mistake(function, sentence, algebra, tuple(zip(edits[:half], edits[half:], strict=True)))


MISTAKES = tuple(read(Path(__file__).with_name("catalogue.txt").read_text(encoding="utf-8")))
