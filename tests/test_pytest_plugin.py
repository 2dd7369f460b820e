"""The pytest plugin: partial credit, a fixture and a marker for teachers' own tests, nothing for everybody else."""

import importlib.util
import subprocess
import sys

import pytest
from conftest import ROOT

from minirnn.grading.assignment import EXERCISES

pytest_plugins = ["pytester"]
SOLUTION = ROOT / "examples" / "assignment" / "solution.py"
SKELETON = ROOT / "examples" / "assignment" / "student.py"
ALL = sum(sum(exercise.points.values()) for exercise in EXERCISES.values())


@pytest.fixture
def run_pytest(pytester, tmp_path, monkeypatch):
    """Run pytest in this process and an empty folder; its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *map(str, arguments)
        )
        return result.ret, result.stdout.str() + (result.stderr.str() if result.ret == 4 else "")  # 4: usage errors

    return run


def test_the_solution_passes_everything(run_pytest, tmp_path):
    code, out = run_pytest("--minirnn-student", SOLUTION, "-vv")
    assert code == 0 and out.rstrip().endswith(f"minirnn: {ALL} of {ALL} points")
    for exercise in EXERCISES.values():
        for name in exercise.points:
            assert f"[{exercise.name}/{name}] PASSED" in out


def test_the_skeleton_fails_with_short_messages(run_pytest, tmp_path):
    code, out = run_pytest("--minirnn-student", SKELETON)
    assert code == 1 and out.rstrip().endswith(f"minirnn: 0 of {ALL} points")
    assert "not written yet" in out and "Traceback" not in out and "check_assignment" not in out.split("short test")[0]


def test_what_is_not_run_scores_nothing_and_one_part_can_be_graded_alone(run_pytest, tmp_path):
    points = sum(sum(exercise.points.values()) for exercise in EXERCISES.values() if exercise.part == 1)
    code, out = run_pytest("--minirnn-student", SOLUTION, "--minirnn-part", "1", "-k", "clip_norm")
    assert code == 0 and out.rstrip().endswith(f"minirnn: 5 of {points} points")


def test_a_teachers_own_tests(run_pytest, tmp_path):
    (tmp_path / "test_own.py").write_text(
        """
import numpy as np
import pytest

@pytest.mark.points(3)
def test_norm(student):
    assert student.clip_norm({"a": np.ones(4)}, 10.0) == 2

@pytest.mark.points(2)
def test_extra(student):
    student.bonus()

@pytest.mark.points(1)
def test_skipped():
    pytest.skip("not this year")
"""
    )
    code, out = run_pytest("--minirnn-student", SOLUTION, "test_own.py")
    assert code == 1 and out.rstrip().endswith("minirnn: 3 of 6 points")
    assert "StudentError: solution.py defines no function bonus" in out
    code, out = run_pytest("test_own.py")
    assert code == 0 and "3 skipped" in out and "points" not in out


def test_a_file_that_cannot_be_used_is_told_in_a_sentence(run_pytest, tmp_path):
    code, out = run_pytest("--minirnn-student", tmp_path / "none.py")
    assert code == 1 and "none.py: the file cannot be read" in out and out.rstrip().endswith(f"0 of {ALL} points")


@pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_with_several_processes(run_pytest, tmp_path):
    code, out = run_pytest("--minirnn-student", SOLUTION, "-n", "2")
    assert code == 0 and out.rstrip().endswith(f"minirnn: {ALL} of {ALL} points")


def test_it_costs_nobody_else_numpy():
    code = "import sys, minirnn_pytest; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_settings_that_hide_the_checks_and_markers_without_points(run_pytest, tmp_path):
    (tmp_path / "student.py").write_text("")
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_functions = check_*\n")
    code, out = run_pytest("--minirnn-student", "student.py")
    assert code == 4 and "no checks were collected; does python_functions" in out
    (tmp_path / "pytest.ini").unlink()
    (tmp_path / "test_own.py").write_text("import pytest\n@pytest.mark.points\ndef test_it(): pass\n")
    code, out = run_pytest("--minirnn-student", "student.py", "test_own.py")
    assert code == 4 and "the marker must be points(n) with a number n" in out


def test_a_traceback_is_shown_on_request(run_pytest, tmp_path):
    (tmp_path / "student.py").write_text("def clip_value(grads, limit):\n    return 1 / 0\n")
    assert "Traceback" not in run_pytest("--minirnn-student", "student.py", "-k", "clip_value")[1]
    assert "return 1 / 0" in run_pytest("--minirnn-student", "student.py", "-k", "clip_value", "-v")[1]


def test_the_time_limit_is_passed_on(run_pytest, tmp_path):
    (tmp_path / "test_own.py").write_text("def test_limit(student): assert student.limit == 2\n")
    assert run_pytest("--minirnn-student", SKELETON, "--minirnn-timeout", "28", "test_own.py")[0] == 0
