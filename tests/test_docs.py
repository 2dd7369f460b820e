"""What the documents show is what happens: their code runs, prints what they say it prints, and their commands work."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from conftest import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n?```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
# How many blocks each document has: one that is no longer found would otherwise be silently skipped.
DOCUMENTS = {"README.md": 2}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_code_block_prints_what_the_document_shows(name):
    text = (ROOT / name).read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == DOCUMENTS[name] == text.count("```python")
    namespace = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), namespace)
        assert printed.getvalue() == shown, f"{name}, the block that begins {code.splitlines()[0]!r}"


def test_every_document_is_checked():
    chapters = set(re.findall(r"\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))  # see test_book.py
    with_code = {
        str(path.relative_to(ROOT))
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
        if "```python" in path.read_text()
    }
    assert DOCUMENTS.keys() <= with_code <= DOCUMENTS.keys() | {f"docs/{name}" for name in chapters}


def test_the_readme_is_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_links_lead_somewhere():
    followed = 0
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
            followed += 1
    assert followed >= 15


def test_paths_in_code_spans_exist():
    found = 0
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        for name in re.findall(r"`((?:minirnn|tests|docs|examples)/[\w./-]*\w)/?`", path.read_text()):
            assert (ROOT / name).exists(), f"{path.name} names {name}"
            found += 1
    assert found >= 15


def test_the_commands_of_the_readme_name_files_that_exist():
    commands = re.findall(r"^python3 -m venv \.venv && (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        for word in command.split():
            if word.endswith(".py"):
                assert Path(ROOT / word).is_file()
