"""The checks of the assignment as tests, one for each property of each function: ``rnn_backward/dWhh``."""

from typing import Any

import pytest

from minirnn.grading.assignment import EXERCISES, exercises
from minirnn.grading.grade import UNUSABLE, Result, examine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each property of the part asked for."""
    properties = [
        pytest.param(exercise.name, name, id=f"{exercise.name}/{name}", marks=pytest.mark.points(points))
        for exercise in exercises(metafunc.config.getoption("--minirnn-part"))
        for name, points in exercise.points.items()
    ]
    metafunc.parametrize(("function", "name"), properties)


@pytest.fixture(scope="session")
def results(student: Any) -> dict[str, list[Result]]:
    """What was found about the functions that were asked for, each examined once."""
    return {}


def test(function: str, name: str, student: Any, results: dict[str, list[Result]], pytestconfig: pytest.Config) -> None:
    """The property holds; if not, a short message, with -v the student's traceback too."""
    if student.stopped.get("") and results:
        pytest.fail(UNUSABLE, pytrace=False)  # the first test has told why
    if function not in results:
        results[function] = examine(EXERCISES[function], student)
    result = next(result for result in results[function] if result.aspect == name)
    if result.sentence:
        details = result.traceback if pytestconfig.getoption("verbose") > 0 else ""
        pytest.fail("\n".join(filter(None, [result.sentence, result.diagnosis, details])), pytrace=False)
