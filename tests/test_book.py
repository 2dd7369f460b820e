"""The book is true: its code prints and draws what the pages show, its quotations are the source, its links work.

After a change that is meant, ``python docs/figures/make.py`` writes printed text, pictures and their data anew.
"""

import itertools
import json
import re
import sys
import textwrap

import numpy as np
import pytest
import test_docs
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs" / "figures"))
import make

# What each chapter has, so that nothing that is no longer found is silently skipped:
# blocks that run, passages of the source, pictures drawn by the blocks.
CHAPTERS = {
    "docs/01-prediction.md": (8, 2, 1),
    "docs/02-memory.md": (12, 3, 1),
    "docs/03-backpropagation.md": (9, 3, 0),
    "docs/04-gradient-checking.md": (10, 0, 2),
    "docs/05-training.md": (11, 5, 2),
    "docs/06-how-far-back.md": (8, 1, 2),
    "docs/07-gates.md": (9, 5, 3),
    "docs/08-words-and-classes.md": (14, 5, 2),
    "docs/09-what-did-it-learn.md": (10, 1, 2),
    "docs/10-pytorch.md": (4, 2, 1),
}
PASSAGE = re.compile(r"^```py\n# (\S+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r"!\[([^\]]*)\]\(figures/([^)]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ROUNDING = re.compile(r"\b(?:\d\.\de-1[4-9]|0\.0e\+00)\b")  # where digits end: other processors round otherwise
OF_ROUNDING = {"error-over-step.svg"}  # so of a picture of it only the orders of magnitude are the same
PATH = re.compile(r"(?:minirnn|examples|tests|docs)/[\w./-]*|[\w-]+\.(?:md|py)")


def pages():
    """All chapters' texts by name."""
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in CHAPTERS}


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_block_prints_and_draws_what_the_chapter_shows(name):
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    blocks = make.BLOCK.findall(text)
    assert (len(blocks), len(PASSAGE.findall(text)), text.count(".savefig(")) == CHAPTERS[name]
    assert len(blocks) == text.count("```python")
    printed, drawn = make.run(page, None)
    for (code, shown), output in zip(blocks, printed, strict=True):
        output, shown = (ROUNDING.sub("rounding", words) for words in (output, shown))
        assert output == shown, f"{name}, the block that begins {code.splitlines()[0]!r}"
    assert len(drawn) == CHAPTERS[name][2]
    for picture, data in drawn.items():
        assert f"](figures/{picture})" in text, f"{name} draws {picture} and does not show it"
        committed = json.loads((ROOT / "docs" / "figures" / f"{picture}.json").read_text(encoding="utf-8"))
        assert_same_picture(data, committed, picture in OF_ROUNDING)


def test_pictures_are_written_as_asked_and_without_what_is_idle(tmp_path):
    page = tmp_path / "page.md"
    lines = "from matplotlib.figure import Figure", "figure = Figure(figsize=(1, 1))", 'figure.text(0, 0, "word")'
    page.write_text("\n".join(("```python", *lines, 'figure.savefig("a.svg")', "print(1)", "```\n")), encoding="utf-8")
    printed, drawn = make.run(page, tmp_path)
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert printed == ["1\n"] and drawn == {"a.svg": {}}
    assert ">word</text>" in svg and not re.search(r"^ ", svg, re.MULTILINE) and "<dc:date>" not in svg


def assert_same_picture(data, committed, of_rounding=False):
    """The same parts, the same words, and the same numbers to the digits that were written."""
    assert data.keys() == committed.keys()
    for part, content in data.items():
        if isinstance(content, str):
            assert content == committed[part], part
            continue
        given, expected = np.ravel(content), np.array(committed[part], float)
        size = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
        rtol, atol = 1e-3, 1e-3 * size
        if of_rounding:
            given, expected, rtol, atol = np.log10(given + 1e-99), np.log10(expected + 1e-99), 0, 2
        np.testing.assert_allclose(given, expected, rtol=rtol, atol=atol, err_msg=part)


def test_another_picture_is_noticed():
    data = {"0 title": "loss", "0 line 0 y": np.array([1.0, 2.0, np.nan])}
    committed = {"0 title": "loss", "0 line 0 y": [1.0004, 2.0, float("nan")]}
    assert_same_picture(data, committed)
    for part, other in (("0 title", "losses"), ("0 line 0 y", [1.01, 2.0, float("nan")]), ("0 line 0 x", [1.0])):
        with pytest.raises(AssertionError):
            assert_same_picture(data, committed | {part: other})
    assert_same_picture({"y": np.array([1e-16, 0.5, 0])}, {"y": [2e-15, 8.0, 0]}, of_rounding=True)
    with pytest.raises(AssertionError):
        assert_same_picture({"y": np.array([1e-16, 0.5, 0])}, {"y": [2e-13, 8.0, 0]}, of_rounding=True)


def test_every_chapter_is_run_once():
    book = {f"docs/{page.name}" for page in make.chapters()}
    assert CHAPTERS.keys() <= book
    assert book - CHAPTERS.keys() == book & test_docs.DOCUMENTS.keys()


def test_passages_are_in_the_source():
    for name, text in pages().items():
        passages = PASSAGE.findall(text)
        assert len(passages) == text.count("```py\n"), f"{name}: the first line of a passage names its file"
        for path, passage in passages:
            assert is_in(passage, (ROOT / path).read_text(encoding="utf-8")), f"{name}: not in {path}:\n{passage}"


def is_in(passage, source):
    """Whether the lines of a passage stand in the source one after the other, whatever their common indentation."""
    wanted, lines = textwrap.dedent(passage).strip("\n").split("\n"), source.split("\n")
    for start in range(len(lines) - len(wanted) + 1):
        window = textwrap.dedent("\n".join(lines[start : start + len(wanted)])).split("\n")
        if window == wanted:
            return True
    return False


def test_another_passage_is_noticed():
    source = "def f(x):\n    y = 2 * x\n\n    return y\n"
    assert is_in("y = 2 * x\n\nreturn y\n", source)
    assert not is_in("y = 3 * x\n\nreturn y\n", source)
    assert not is_in("y = 2 * x\nreturn y\n", source)


def test_pictures_are_shown_described_and_small():
    shown = {}
    for page in (ROOT / "docs").glob("*.md"):
        shown |= {name: words for words, name in PICTURE.findall(page.read_text(encoding="utf-8"))}
    kept = {path.name for path in (ROOT / "docs" / "figures").iterdir() if path.suffix in (".svg", ".png")}
    assert kept == shown.keys()
    for name, words in shown.items():
        assert len(words) > 40, f"{name}: say in the brackets what is to be seen"
        assert (ROOT / "docs" / "figures" / name).stat().st_size < 60_000, name


def test_each_chapter_leads_to_the_one_before_and_the_one_after():
    book = make.chapters()
    for before, after in itertools.pairwise(book):
        assert before.name in after.read_text(encoding="utf-8").splitlines()[-1]
        assert after.name in before.read_text(encoding="utf-8").splitlines()[-1]


def test_links_and_paths_lead_somewhere():
    followed = 0
    for name, text in pages().items():
        targets = [(ROOT / name).parent / target for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text)]
        targets += [ROOT / span for span in SPAN.findall(text) if PATH.fullmatch(span) and "/" in span]
        for target in targets:
            assert target.exists(), f"{name} names {target}"
        followed += len(targets)
    assert followed >= 5 * len(CHAPTERS)
