"""A report for the teacher: many files graded side by side, as a table, with what went wrong most often first."""

import csv
import html
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from minirnn.grading.assignment import exercises
from minirnn.grading.grade import UNUSABLE, Result, grade, nothing

STYLE = """:root { color-scheme: light dark; --line: #8885; --full: #1a94; --none: #d336; --bar: #47a; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5em auto; padding: 0 1em; max-width: 1100px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: 3px 7px; text-align: right; vertical-align: top; }
th:first-child, .words { text-align: left; }
.words { overflow-wrap: anywhere; }
.points tr > :first-child { min-width: 8em; max-width: 24em; position: sticky; left: 0; z-index: 1; background: Canvas }
.points th { vertical-align: bottom; }
.points th span { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: normal; }
.words small { display: block; }
.full { background: var(--full); }
.none { background: var(--none); }
.bars { display: grid; grid-template-columns: max-content 1fr; gap: 2px 8px; max-width: 30em; }
.bars b { background: var(--bar); height: 1em; display: inline-block; vertical-align: middle; }"""


@dataclass(frozen=True)
class Marks:
    """What one file got."""

    path: str
    results: list[Result]
    remark: str

    def points(self, function: str = "") -> tuple[int, int]:
        """Points of a function, or of all, and how many there are."""
        own = [result for result in self.results if function in ("", result.function)]
        return sum(result.score for result in own), sum(result.points for result in own)


def grade_all(paths: list[str], timeout: float, part: int | None, workers: int | None = None) -> Iterator[Marks]:
    """Grade files in parallel, each as it is done; one that cannot be graded stops no other."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = {pool.submit(grade, path, timeout, part): path for path in paths}
        for future in as_completed(waiting):
            path = waiting[future]
            try:
                results, remark = future.result()
            except Exception as error:  # of the grader, not of the student
                results, remark = nothing(part, f"{path}: grading failed: {type(error).__name__}: {error}"), ""
            yield Marks(path, results, results[0].sentence if results[-1].sentence == UNUSABLE else remark)


def mistakes(marks: list[Marks]) -> list[tuple[int, str, str]]:
    """How many files make each mistake, its function, and words for it; the most frequent first."""
    found: Counter[tuple[str, str]] = Counter()
    for one in marks:
        wrong = [result for result in one.results if result.sentence]
        if wrong and wrong[-1].sentence == UNUSABLE:
            found["the file", "cannot be used: the table says why"] += 1
            continue
        for function in dict.fromkeys(result.function for result in wrong):
            own = [result for result in wrong if result.function == function]
            told = own[0].sentence.removeprefix(f"{Path(one.path).name} ").split(f", {function}: ")[-1]
            listed = "" if own[0].sentence == own[-1].sentence else f"{', '.join(r.aspect for r in own)}: "
            words = own[0].diagnosis.removeprefix("It looks like this mistake: ") or f"{listed}{told}"
            found[function, words] += 1
    return [(count, function, words) for (function, words), count in found.most_common()]


def write_csv(path: Path, marks: list[Marks], functions: list[str]) -> None:
    """One row for each file: its points for each function, their sum, and remarks."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *functions, "total", "of", "remark"])
        for one in marks:
            total, whole = one.points()
            writer.writerow([one.path, *(one.points(f)[0] for f in functions), total, whole, one.remark])


def write_html(path: Path, marks: list[Marks], functions: list[str]) -> None:
    """The same as a page: the most frequent mistakes, a bar chart of the totals, and the table."""
    whole = marks[0].points()[1]
    totals = Counter(10 * one.points()[0] // whole for one in marks)  # in tenths
    names = ["all", *(f"{10 * tenth} to {10 * tenth + 9} %" for tenth in range(9, -1, -1))]
    bars = "".join(
        f'<span>{name}</span><span><b style="width: {80 * totals[tenth] / max(totals.values()):.3g}%"></b> '
        f"{totals[tenth]}</span>"
        for name, tenth in zip(names, range(10, -1, -1), strict=True)
    )
    wrong = "".join(
        f'<tr><td>{count}</td><td class="words">{html.escape(function)}<small>{html.escape(words)}</small></td></tr>'
        for count, function, words in mistakes(marks)
    )
    head = "".join(f"<th><span>{name}</span><br>{marks[0].points(name)[1]}</th>" for name in functions)
    rows = []
    for one in marks:
        cells = "".join(f'<td class="{shade(*one.points(name))}">{one.points(name)[0]}</td>' for name in functions)
        file = f"{html.escape(one.path)}<small>{html.escape(one.remark)}</small>"
        rows.append(f'<tr><td class="words">{file}</td><td><b>{one.points()[0]}</b></td>{cells}</tr>')
    path.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta name=viewport content="width=device-width"><title>Marks</title><style>{STYLE}</style>'
        f"<h1>Marks of {len(marks)} file{'s' * (len(marks) != 1)}</h1>"
        "<h2>Points, of as many as stand below each function</h2><div class=scroll>"
        f"<table class=points><tr><th>file</th><th><span>total</span><br>{whole}</th>{head}</tr>{''.join(rows)}</table>"
        f"</div><h2>How many files got how much of {whole} points</h2><div class=bars>{bars}</div>"
        "<h2>What went wrong, the most frequent first</h2>"
        f"<table><tr><th>files</th><th class=words>function, and what is wrong with it</th></tr>{wrong}</table>\n",
        encoding="utf-8",
    )


def shade(got: int, whole: int) -> str:
    """The class of a cell."""
    return "full" if got == whole else "none" if not got else ""


def run_all(paths: list[str], timeout: float, part: int | None, table: str | None, page: str | None) -> int:
    """The command ``minirnn grade`` for several files: print a line for each, write the table and the page."""
    for name in (table, page):
        if name and (Path(name).suffix == ".py" or not Path(name).resolve().parent.is_dir()):
            raise ValueError(f"{name} cannot be written: name a .csv or .html file in a folder that exists")
    marks = []
    for one in grade_all(paths, timeout, part):
        marks.append(one)
        got, whole = one.points()
        print(f"{got:4} of {whole:3}  {one.path}{'  ' + one.remark.splitlines()[0] if one.remark else ''}", flush=True)
    marks.sort(key=lambda one: paths.index(one.path))
    functions = [exercise.name for exercise in exercises(part)]
    if table:
        write_csv(Path(table), marks, functions)
    if page:
        write_html(Path(page), marks, functions)
    return 0 if all(Path(path).is_file() for path in paths) else 2
