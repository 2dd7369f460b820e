"""The grader in a notebook: ``check(rnn_backward)`` prints at once what ``minirnn grade`` would say of one function.

It runs here and now, without a process of its own: nothing is stopped, and an endless loop is interrupted by hand.
"""

import re
from collections.abc import Callable
from typing import Any

from minirnn.grading.assignment import EXERCISES
from minirnn.grading.grade import Result, examine, report
from minirnn.grading.student import Here

SHAPE = re.compile(r"(\w+) must (?:be an array of|have) shape (\([\d, ]+\)), got (?:shape )?(\([\d, ]+\))")


def check(function: Callable[..., Any]) -> None:
    """Print the points of one function of the assignment, what is wrong with it, and a picture of a wrong shape.

    Raises ValueError if no exercise has the function's name.
    """
    results = results_of(function)
    print(report(results).rsplit("\n", 1)[0])  # without the total
    for result in results:
        for what, expected, given in SHAPE.findall(result.sentence):
            print(f"\n{picture(result.aspect if what == 'gradient' else what, expected, given)}")


def score(function: Callable[..., Any]) -> int:
    """The points that one function of the assignment has earned; ValueError as from :func:`check`."""
    return sum(result.score for result in results_of(function))


def results_of(function: Callable[..., Any]) -> list[Result]:
    """What is found about a function, under its own name."""
    name = getattr(function, "__name__", type(function).__name__)
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(EXERCISES)}")
    others = {n: f for n, f in getattr(function, "__globals__", {}).items() if n in EXERCISES and callable(f)}
    return examine(EXERCISES[name], Here({name: function} | {n: f for n, f in others.items() if n != name}))


def picture(name: str, expected: str, given: str) -> str:
    """Two arrays side by side, as boxes of their last two axes: what was expected, and what came."""
    boxes = [box(f"{name} should be {expected}", expected), box(f"and is {given}", given)]
    height = max(map(len, boxes))
    widths = [max(map(len, lines)) for lines in boxes]
    filled = [[*lines, *[""] * (height - len(lines))] for lines in boxes]
    return "\n".join(f"    {a:{widths[0]}}    {b}".rstrip() for a, b in zip(*filled, strict=True))


def box(title: str, shape: str) -> list[str]:
    """The lines of an array drawn as a box: rows downwards, columns to the right."""
    sizes = [int(size) for size in re.findall(r"\d+", shape)]
    *layers, rows, columns = [1] * (2 - len(sizes)) + sizes
    height, width = min(rows, 8), min(2 * columns, 32)
    lines = [title, f"    +{'-' * width}+  {columns} column{'s' * (columns != 1)}"]
    lines += [f"{rows if row == height // 2 else '':>3} |{' ' * width}|" for row in range(height)]
    return [*lines, f"    +{'-' * width}+" + "".join(f"  {count} of these" for count in layers)]
