"""Run the chapters of the book, as a reader would, and write down what their code prints and draws.

    python docs/figures/make.py                         all chapters
    python docs/figures/make.py docs/01-prediction.md   one of them

The ``python`` blocks of a chapter run in order, in one namespace, in the folder of the repository. What a block prints
is written into the ``text`` block after it. Each ``figure.savefig("NAME.svg")`` writes ``docs/figures/NAME.svg``, and
beside it ``NAME.svg.json``: the numbers that were drawn. The tests compare those, because the bytes of a picture depend
on the version of matplotlib.
"""

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import matplotlib
import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
SVG_IDLE = re.compile(r'^ +| transform="rotate\(-0 [^"]*"', re.MULTILINE)
# Okabe and Ito's colours, which all readers can tell apart, in an order that also differs in brightness.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00"]
STYLE = {
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "grid.alpha": 0.3,
    "image.cmap": "viridis",
    "image.interpolation": "none",  # the pixels of the data, not of the picture
    "legend.frameon": False,
    "svg.fonttype": "none",  # words stay words: small, and can be searched
    "svg.hashsalt": "minirnn",  # the same names inside the file each time
}


def chapters() -> list[Path]:
    """The pages in the book's table of contents that have code to run."""
    names = re.findall(
        r"^\| \d+ \| \[.*?\]\(([\w.-]+)\)", (DOCS / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    return [DOCS / name for name in names if "```python" in (DOCS / name).read_text(encoding="utf-8")]


def run(page: Path, folder: Path | None) -> tuple[list[str], dict[str, dict]]:
    """Run the blocks of a chapter; return what each printed, and the data of each picture, now in ``folder`` if any."""
    printed, drawn, namespace = [], {}, {"__name__": page.stem}
    savefig = Figure.savefig

    def save(figure: Figure, name: str, **options: object) -> None:
        drawn[name] = figure_data(figure)
        if folder is None:
            return
        for mesh in figure.findobj(QuadMesh):
            mesh.set_rasterized(True)  # a path for each of its cells would be a large file
        savefig(figure, folder / name, metadata={"Date": None} if name.endswith(".svg") else None, **options)
        if name.endswith(".svg"):  # without indentation and rotations by nothing: a third less
            svg = (folder / name).read_text(encoding="utf-8")
            (folder / name).write_text(SVG_IDLE.sub("", svg), encoding="utf-8")

    with (
        contextlib.chdir(DOCS.parent),
        matplotlib.rc_context(STYLE),
        mock.patch.object(Figure, "savefig", save),
    ):
        for code, _ in BLOCK.findall(page.read_text(encoding="utf-8")):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(code, f"{page.name}: {code.splitlines()[0]}", "exec"), namespace)
            printed.append(output.getvalue())
    return printed, drawn


def figure_data(figure: Figure) -> dict:
    """All words and numbers of a picture, by names such as ``"0 line 2 y"``: of the first axes, the third line's y."""
    data = {}
    for i, axes in enumerate(figure.axes):
        for part, content in axes_data(axes):
            data[f"{i} {part}"] = content if isinstance(content, str) else np.ma.filled(content, np.nan)
    return data


def axes_data(axes: matplotlib.axes.Axes) -> Iterator[tuple[str, str | np.ndarray]]:
    """The parts of one pair of axes, each a string or an array."""
    legend = axes.get_legend()
    yield "title", axes.get_title()
    yield "x label", axes.get_xlabel()
    yield "y label", axes.get_ylabel()
    yield "ticks", " ".join(t.get_text() for t in (*axes.get_xticklabels(), *axes.get_yticklabels()))
    yield "words", "\n".join(t.get_text() for t in (*axes.texts, *(legend.get_texts() if legend else ())))
    if axes.get_label() == "<colorbar>":
        return  # it shows all values there are
    for n, line in enumerate(axes.lines):
        yield f"line {n} x", np.asarray(line.get_xdata(), float)
        yield f"line {n} y", np.asarray(line.get_ydata(), float)
    for n, image in enumerate(axes.images):
        yield f"image {n}", image.get_array()
    for n, bar in enumerate(axes.patches):
        yield f"patch {n}", bar.get_path().transformed(bar.get_patch_transform()).vertices
    for n, collection in enumerate(axes.collections):
        if collection.get_array() is not None:
            yield f"values {n}", collection.get_array()
        elif len(collection.get_offsets()) > 1:
            yield f"points {n}", collection.get_offsets()
        else:
            yield f"outlines {n}", np.concatenate([path.vertices for path in collection.get_paths()])


def write_data(path: Path, data: dict) -> None:
    """Write a picture's data as JSON, one part a line, numbers with four digits."""
    lines = []
    for name, content in data.items():
        if not isinstance(content, str):
            content = [float(f"{number:.4g}") for number in np.ravel(content)]
        lines.append(f"{json.dumps(name)}: {json.dumps(content)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def write_printed(page: Path, printed: list[str]) -> None:
    """Put what the blocks printed where the page shows it."""
    outputs = iter(printed)

    def rewrite(match: re.Match) -> str:
        output = next(outputs)
        return f"```python\n{match[1]}```\n" + (f"\n```text\n{output}```\n" if output else "")

    page.write_text(BLOCK.sub(rewrite, page.read_text(encoding="utf-8")), encoding="utf-8")


def main(names: list[str]) -> None:
    """Make the chapters named, or all."""
    folder = DOCS / "figures"
    for page in [Path(name) for name in names] or chapters():
        printed, drawn = run(page, folder)
        write_printed(page, printed)
        for name, data in drawn.items():
            write_data(folder / f"{name}.json", data)
        print(f"{page.name}: {len(printed)} blocks, {len(drawn)} pictures: {' '.join(drawn)}")


if __name__ == "__main__":
    main(sys.argv[1:])
