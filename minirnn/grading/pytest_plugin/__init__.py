"""A pytest plugin that grades a student's file: ``pytest --minirnn-student student.py``.

It is installed as a package beside minirnn, so that no other test run imports NumPy for its sake.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKS = Path(__file__).with_name("check_assignment.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all beginning with --minirnn."""
    group = parser.getgroup("minirnn", "grading a student's file of minirnn's assignment")
    group.addoption(
        "--minirnn-student",
        metavar="PATH",
        help="the file to grade; if no tests are named, those of the assignment are run, one for each property",
    )
    group.addoption("--minirnn-part", type=int, choices=(1, 2), help="grade only this part of the assignment")
    group.addoption("--minirnn-timeout", type=float, default=60, help="seconds for the whole file (default 60)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; with a student's file and no other tests named, collect the checks of the assignment."""
    config.addinivalue_line("markers", "points(n): what passing this test is worth")
    if not config.getoption("--minirnn-student"):
        return
    if config.args_source != pytest.Config.ArgsSource.ARGS:
        config.args[:] = [str(CHECKS)]


@pytest.fixture(scope="session")
def student(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The student's file: ``student.f(x)`` calls its function f in a process of its own."""
    from minirnn.grading.student import Student, StudentError

    path = request.config.getoption("--minirnn-student")
    if not path:
        pytest.skip("which file? give --minirnn-student PATH")
    try:
        loaded = Student(path, request.config.getoption("--minirnn-timeout"))
    except StudentError as error:
        pytest.fail(str(error), pytrace=False)
    with loaded:
        yield loaded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Let each report carry the points of its test, also from one process to another."""
    report = yield
    marker = item.get_closest_marker("points")
    if marker is not None:
        report.user_properties.append(("assignment" if item.path == CHECKS else "points", marker.args[0]))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a marker without points, and a configuration that hides the checks of the assignment."""
    for item in items:
        marker = item.get_closest_marker("points")
        if marker is not None and not (len(marker.args) == 1 and isinstance(marker.args[0], int | float)):
            raise pytest.UsageError(f"{item.nodeid}: the marker must be points(n) with a number n, as in points(3)")
    if str(CHECKS) in config.args and not any(item.path == CHECKS for item in items):
        raise pytest.UsageError("no checks were collected; does python_functions in pytest's settings hide them?")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the points, last of all: what did not pass, was skipped or not even collected scores 0."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not config.getoption("--minirnn-student"):
        return
    earned, whole, own = 0, 0, {}
    for outcome, reports in reporter.stats.items():
        for report in reports:
            for kind, points in getattr(report, "user_properties", ()):
                earned += points if outcome == "passed" and report.when == "call" else 0
                if kind == "points":
                    own[report.nodeid] = points
    if str(CHECKS) in config.args:
        from minirnn.grading.assignment import exercises

        whole = sum(sum(exercise.points.values()) for exercise in exercises(config.getoption("--minirnn-part")))
    reporter.write_line(f"minirnn: {earned} of {whole + sum(own.values())} points")
