"""Grading a student's file: run every exercise against it, add up points, say what is wrong in a sentence each."""

import inspect
import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import minirnn.grading.answer as model_answer
from minirnn.grading.assignment import EXERCISES, ComplaintError, Exercise, exercises
from minirnn.grading.student import Function, Here, Student, StudentError

UNUSABLE = "not judged: the file cannot be used, as said at the first function"


@dataclass(frozen=True)
class Result:
    """One property of one function, and the points for it."""

    function: str
    aspect: str  # the property
    points: int  # what it is worth
    sentence: str = ""  # what is wrong; empty if it is right
    diagnosis: str = ""  # which mistake the function seems to make
    traceback: str = ""

    @property
    def name(self) -> str:
        return f"{self.function}/{self.aspect}"

    @property
    def score(self) -> int:
        return 0 if self.sentence else self.points


def examine(exercise: Exercise, student: Student | Here) -> list[Result]:
    """Grade one function. Nothing the student's file does raises an exception here.

    A mistake is charged once: if the function calls others of the assignment that are wrong, right ones stand in.
    """
    results = judge(exercise, student)
    if all(not result.sentence for result in results):
        return results
    helpers = [name for name in student.uses.get(exercise.name, ()) if name in EXERCISES and name != exercise.name]
    wrong = [name for name in helpers if any(result.sentence for result in judge(EXERCISES[name], student))]
    if not wrong:
        return results
    student.instead = {name: inspect.getsource(getattr(model_answer, name)) for name in wrong}
    try:
        again = judge(exercise, student)
    finally:
        student.instead = {}
    if sum(result.score for result in again) <= sum(result.score for result in results):
        return results
    note = f"It calls {' and '.join(wrong)}, which must be mended: here it is judged with a right one in its place."
    return [replace(result, diagnosis=f"{note} {result.diagnosis}".strip()) for result in again]


def judge(exercise: Exercise, student: Student | Here) -> list[Result]:
    """Grade one function as it is."""
    function, found, diagnosis = getattr(student, exercise.name), {}, ""
    rest, traceback, judged = "not judged, because of what else is wrong", "", True

    def place(sentence: str) -> str:
        return sentence if sentence.startswith(student.path.name) else f"{student.where(exercise.name)}: {sentence}"

    try:
        for name, sentence in exercise.examine(function):
            found[name] = sentence and place(sentence)
    except ComplaintError as error:
        rest, judged = str(error), False
    except StudentError as error:
        rest, traceback, judged = str(error), error.details, error.kind not in ("", "NotImplementedError")
    sentences = [found[name] if name in found else place(rest) for name in exercise.points]
    if judged and any(sentences) and exercise.name not in student.stopped:
        diagnosis = explanation(exercise.name, function, sentences)
    return [
        Result(exercise.name, name, points, sentence, sentence and diagnosis, sentence and traceback)
        for (name, points), sentence in zip(exercise.points.items(), sentences, strict=True)
    ]


def explanation(name: str, function: Function, sentences: list[str]) -> str:
    """Which mistake a wrong function makes, or where it is still right; empty if the sentences say enough."""
    from minirnn.grading.clues import clue  # what reads and makes all known mistakes, where there is one only
    from minirnn.grading.diagnosis import TARGETS, diagnose

    target = next((target for target in TARGETS.values() if target.name == name), None)
    known = diagnose(target, function) if target else None
    if known and known.explanations:
        return f"It looks like this mistake: {known}"
    unexplained = [s for s in sentences if re.search(r"expected \S+$", s)]  # numbers, and no more than that
    told = [s for s in sentences if re.search(r"clipped\?$|twice$", s)]  # what explains the numbers too
    if not known or not unexplained or told:
        return ""
    if hint := clue(name, function):
        return hint
    if all(re.search(r"expected \S+$|not judged", sentence) for sentence in sentences if sentence):
        return "Which mistake it is is unknown: none in the catalogue gives the same numbers."
    return ""


def grade(path: str | Path, timeout: float = 60.0, part: int | None = None) -> tuple[list[Result], str]:
    """Grade a file: a result for every property of every function, and a remark about the file, mostly empty.

    Parameters
    ----------
    path : str or Path
        The student's file.
    timeout : float
        Seconds that calls into the file may take together; one call may take a tenth of it.
    part : int, optional
        Grade only part 1 or part 2 of the assignment.
    """
    try:
        with Student(path, timeout) as student:
            student.start()
            results = [result for exercise in exercises(part) for result in examine(exercise, student)]
    except StudentError as error:
        return nothing(part, str(error)), ""
    remarks = []
    if student.printed > 1e6:
        remarks.append(f"{student.path.name} printed {student.printed / 1e6:,.0f} MB; all of it was dropped")
    if student.left_behind:
        remarks.append(f"{student.path.name} left {student.left_behind} process(es) behind; they were ended")
    if student.imports or student.ours:
        remarks.append(f"{student.path.name} imports minirnn, where the solution is: look at it yourself")
    asked = [exercise.name for exercise in exercises(part)]
    if own := [name for name in asked if name in student.ours]:
        which = "all its functions" if own == asked else ", ".join(own)
        remarks.append(f"minirnn's own code: {which}")
    return results, "\n".join(remarks)


def report(results: list[Result], remark: str = "", traceback: bool = False) -> str:
    """The text for a person: a line for each function, and below it what is wrong."""
    total = f"{'total':24} {sum(r.score for r in results):3} of {sum(r.points for r in results):3}"
    if results[-1].sentence == UNUSABLE:
        return f"{results[0].sentence}\n{total}"
    lines = []
    for function in dict.fromkeys(result.function for result in results):
        own = [result for result in results if result.function == function]
        lines.append(f"{function:24} {sum(r.score for r in own):3} of {sum(r.points for r in own):3}")
        for sentence in dict.fromkeys(r.sentence for r in own if r.sentence):
            concerned = [r for r in own if r.sentence == sentence]
            names = "" if len(concerned) == len(own) else f"[{', '.join(r.aspect for r in concerned)}] "
            lines.append(f"    {names}{sentence}")
        lines += [f"    {result.diagnosis}" for result in own if result.diagnosis][:1]
        lines += [result.traceback for result in own if result.traceback and traceback][:1]
    return "\n".join([*lines, *([remark] if remark else []), total])


def write_gradescope(path: Path, results: list[Result], seconds: float, remark: str = "") -> None:
    """Write Gradescope's ``results.json``; it is complete or not there, never half."""
    tests: list[dict[str, Any]] = [
        {
            "name": result.name,
            "number": str(number),
            "score": result.score,
            "max_score": result.points,
            "status": "failed" if result.sentence else "passed",
            "output": f"{result.sentence}\n{result.diagnosis}".strip(),
            "output_format": "text",
            "visibility": "visible",
        }
        for number, result in enumerate(results, 1)
    ]
    answer = {
        "score": sum(result.score for result in results),
        "execution_time": round(seconds),
        "output": remark,
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    path.parent.mkdir(parents=True, exist_ok=True)  # the student's file may have deleted it
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(answer, indent=1), encoding="utf-8")
    partial.replace(path)


def nothing(part: int | None, sentence: str) -> list[Result]:
    """All properties at zero points, for one reason, which is told once."""
    worth = [(e.name, name, points) for e in exercises(part) for name, points in e.points.items()]
    return [Result(*one, UNUSABLE if number else sentence) for number, one in enumerate(worth)]


def run(path: str, gradescope: str | None, timeout: float, part: int | None, traceback: bool) -> int:
    """The command ``minirnn grade``: print the report, write the JSON, return the exit code."""
    started, readable = time.monotonic(), Path(path).is_file()
    file = Path(gradescope).absolute() if gradescope else None
    if file and file.suffix == ".py":
        raise ValueError(f"{gradescope} would be overwritten with JSON; name the results results.json, say")
    if file and file.exists() and not (file.is_file() or file.is_dir()):
        raise ValueError(f"{gradescope} is no file that could be replaced; name the results results.json, say")
    if file:
        write_gradescope(file, nothing(part, "grading did not end"), 0)  # valid JSON whatever happens from here on
    results, remark = grade(path, timeout, part)
    if file:
        write_gradescope(file, results, time.monotonic() - started, remark)
    print(report(results, remark, traceback))
    return 0 if readable else 2
