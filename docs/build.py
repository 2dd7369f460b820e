"""Build the site: the book, the annotated source, the API, the assignment, as static pages that open from the disk.

    pip install ".[docs]"
    python docs/build.py                            writes docs/_site/index.html and what belongs to it
    python docs/build.py --notebooks notebooks      writes every chapter as a Jupyter notebook instead

The pages are the Markdown files as they stand in the repository; only their links are turned to the site's own pages.
Nothing is loaded from the network, and no page needs JavaScript to be read.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(?=[)#])")
FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
LESSONS = [  # in the order in which they are listed
    "rnn", "lstm", "gru", "text", "ops", "model", "optim", "schedules", "train", "sample", "classifier", "derivatives",
    "gradcheck", "evidence", "plots", "checks",
]  # fmt: skip
API = [*LESSONS, "files.checkpoint", "files.corpus", "files.torch_format", "grading.diagnosis"]


def chapters() -> list[Path]:
    """The chapters of the book, in the order of its table of contents."""
    return [
        DOCS / name for name in re.findall(r"^\| \d+ \| \[.*?\]\(([\w.-]+)\)", (DOCS / "README.md").read_text(), re.M)
    ]


def page_of(path: Path) -> str:
    """Where a file of the repository stands on the site, without ending."""
    name = path.relative_to(ROOT).as_posix()
    if name == "README.md":
        return "index"
    if path.suffix == ".md":
        return name.removesuffix(".md").removeprefix("docs/").removeprefix("examples/").replace("README", "contents")
    return f"source/{name}" if path.is_file() else "source/index"


def lay_out(folder: Path) -> None:
    """Write all pages into a folder, beginning with the README and following every link to a file of the repository."""
    source = [ROOT / "minirnn" / f"{name}.py" for name in LESSONS]
    waiting = [
        ROOT / "README.md",
        *sorted(DOCS.glob("*.md")),
        *sorted((ROOT / "examples" / "assignment").glob("*.md")),
        *source,
    ]
    done: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        page = folder / page_of(path)
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            text, linked = relink(path)
            waiting += linked
            page.with_name(page.name + ".md").write_text(
                text + (contents() if page.name == "index" else ""), encoding="utf-8"
            )
        else:
            page.with_name(page.name + ".rst").write_text(source_page(path), encoding="utf-8")
    if (DOCS / "figures").is_dir():
        shutil.copytree(
            DOCS / "figures", folder / "figures", ignore=shutil.ignore_patterns("*.py", "*.json", "__pycache__")
        )
    files = sorted(page_of(path).removeprefix("source/") for path in done if page_of(path).startswith("source/"))
    (folder / "source" / "index.rst").write_text(heading("The source") + toctree(files), encoding="utf-8")
    (folder / "api.rst").write_text(
        heading("API")
        + "".join(f"{heading(f'minirnn.{name}', '-')}.. automodule:: minirnn.{name}\n   :members:\n\n" for name in API),
        encoding="utf-8",
    )


def relink(path: Path) -> tuple[str, list[Path]]:
    """The text of a page with its links turned to the site's pages, and the files it links to."""
    linked = []

    def turn(match: re.Match[str]) -> str:
        target = (path.parent / match[1]).resolve()
        if not target.exists():
            raise SystemExit(f"{path.relative_to(ROOT)} links to {match[1]}, which does not exist")
        if target.is_relative_to(DOCS / "figures") and target.suffix in (".svg", ".png"):
            return "/" + target.relative_to(DOCS).as_posix()
        if target.is_file():
            linked.append(target)
        return f"/{page_of(target)}" + (".md" if target.suffix == ".md" else ".rst")

    parts = FENCE.split(path.read_text(encoding="utf-8"))
    return "".join(part if part.startswith("```") else LINK.sub(turn, part) for part in parts), linked


def contents() -> str:
    """What the start page lists at the side."""
    book = [page_of(path) for path in chapters()]
    rest = sorted({page_of(path) for path in DOCS.glob("*.md")} - {*book, "contents"})
    groups = {"The book": ["contents", *book], "The assignment": ["assignment/HANDOUT", "assignment/TEACHER"],
              "Reference": ["source/index", "api", *rest]}  # fmt: skip
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {name}\n\n{chr(10).join(pages)}\n```\n"
        for name, pages in groups.items()
    )


def source_page(path: Path) -> str:
    """The page of a file that is not Markdown: a Python file in two columns, anything else as it stands."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix == ".py":
        return f"{heading(name)}.. annotated:: {name}\n"
    lines = path.read_text(encoding="utf-8").splitlines()
    return heading(name) + ".. code-block:: none\n\n" + "".join(f"   {line}\n" for line in lines)


def heading(text: str, line: str = "=") -> str:
    """A heading in reStructuredText."""
    return f"{text}\n{line * len(text)}\n\n"


def toctree(pages: list[str]) -> str:
    """A table of contents in reStructuredText."""
    return ".. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {page}\n" for page in pages)


def build(out: Path) -> int:
    """Lay out the pages in a temporary folder and let Sphinx make the site; a warning is an error."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        settings = ["-c", str(DOCS / "site"), "-D", f"repository={ROOT}"]
        code = build_main(["-b", "html", "-q", "-W", "--keep-going", *settings, folder, str(out)])
    if code == 0:
        print(f"written: {out / 'index.html'}")
    return code


def notebooks(out: Path) -> int:
    """Write every chapter as a notebook, each Python block a cell; what it prints is left to be seen."""
    import jupytext

    out.mkdir(parents=True, exist_ok=True)
    for path in chapters():
        text = re.sub(
            r"(^```python\n.*?^```\n)\n?```text\n.*?^```\n",
            r"\1",
            path.read_text(encoding="utf-8"),
            flags=re.DOTALL | re.M,
        )
        jupytext.write(jupytext.reads(text, fmt="md"), out / f"{path.stem}.ipynb")
        print(f"written: {out / path.stem}.ipynb")
    return 0


def main() -> int:
    """Build what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the site, or the notebooks, of minirnn.")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=DOCS / "_site", help="where the site is written (docs/_site)"
    )
    parser.add_argument(
        "--notebooks", metavar="DIR", type=Path, help="write the chapters as notebooks to this folder instead"
    )
    args = parser.parse_args()
    return notebooks(args.notebooks) if args.notebooks else build(args.out)


if __name__ == "__main__":
    sys.exit(main())
