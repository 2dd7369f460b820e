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

STYLE = """body { font: 15px/1.4 sans-serif; margin: 2em; }
table { border-collapse: collapse; }
th, td { border: 1px solid #ccc; padding: 2px 6px; text-align: right; }
th:first-child, td:first-child, td.words { text-align: left; }
td.full { background: #dfd; }
td.none { background: #fdd; }
.bar { background: #47a; height: 1em; display: inline-block; }"""


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
        own = set()
        for result in one.results:
            if result.sentence and result.sentence != UNUSABLE:
                told = result.sentence if "not written yet" in result.sentence else ""
                words = result.diagnosis or ("not written yet" if told else f"{result.aspect} is wrong")
                own.add((result.function, words.removeprefix("It looks like this mistake: ")))
        found.update(own)
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
    """The same as a page, with a bar chart of the totals and the most frequent mistakes."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("file", *functions, "total"))
    rows, totals = [], Counter[int]()
    for one in marks:
        cells = []
        for function in functions:
            got, whole = one.points(function)
            kind = "full" if got == whole else "none" if not got else ""
            cells.append(f'<td class="{kind}">{got}</td>')
        total, whole = one.points()
        totals[10 * total // max(whole, 1)] += 1
        remark = f"<br><small>{html.escape(one.remark)}</small>" if one.remark else ""
        rows.append(f"<tr><td>{html.escape(one.path)}{remark}</td>{''.join(cells)}<td><b>{total}</b></td></tr>")
    most = max(totals.values(), default=1)
    bars = "".join(
        f'<tr><td>{10 * tenth} % and more</td><td class="words">'
        f'<span class="bar" style="width: {300 * totals[tenth] // most}px"></span> {totals[tenth]}</td></tr>'
        for tenth in range(10, -1, -1)
    )
    listed = "".join(
        f'<tr><td>{count}</td><td>{html.escape(function)}</td><td class="words">{html.escape(words)}</td></tr>'
        for count, function, words in mistakes(marks)
    )
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Marks</title><style>{STYLE}</style>"
        f"<h1>{len(marks)} files</h1><h2>What went wrong, the most frequent first</h2>"
        f"<table><tr><th>files</th><th>function</th><th>what</th></tr>{listed}</table>"
        f"<h2>Totals</h2><table>{bars}</table><h2>Points</h2><table><tr>{head}</tr>{''.join(rows)}</table></html>\n",
        encoding="utf-8",
    )


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
