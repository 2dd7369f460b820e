"""The other process: runs a student's file and answers calls of its functions. See :mod:`minirnn.grading.student`.

Requests come pickled through standard input. Answers leave through what was standard output, each a length and an
``.npz`` with arrays and one JSON text. What the file itself prints goes to standard error.
"""

import inspect
import io
import json
import linecache
import os
import pickle
import struct
import sys
import traceback
import types
from typing import Any

import numpy as np

from minirnn.gradcheck import arrays_of

HEADER = struct.Struct(">Q")  # the length of an answer in bytes


def main() -> None:
    """Load the file, then answer until standard input ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # whatever the file starts shall not read the requests
    os.dup2(2, 1)
    sys.stdin = io.StringIO()  # whoever asks for input finds none
    savez = np.savez  # this one, whatever the file does to NumPy

    def reply(number: int, answer: dict, arrays: list[np.ndarray] | None = None) -> None:
        answer["number"] = number
        buffer = io.BytesIO()
        named: dict[str, Any] = {f"array{i}": array for i, array in enumerate(arrays or [])}
        savez(buffer, answer=np.array(json.dumps(answer)), **named)
        answers.write(HEADER.pack(buffer.tell()) + buffer.getvalue())
        answers.flush()

    number, (path, source) = pickle.load(requests)
    module = types.ModuleType("student")
    module.__file__ = path
    sys.modules["student"] = module
    sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120 - files beside it can be imported
    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        reply(number, failure(error, path, "while it was loaded"))
        return
    functions = {name: f for name, f in vars(module).items() if callable(f) and not name.startswith("_")}
    reply(number, {"lines": {name: line_of(f) for name, f in functions.items()}})
    while True:
        try:
            number, (name, calls) = pickle.load(requests)
        except EOFError:
            return
        try:
            answer, arrays = run(functions[name], name, calls, path)
        except BaseException as error:
            reply(number, failure(error, path, name))
        else:
            reply(number, answer, arrays)


def run(function: Any, name: str, calls: list[tuple], path: str) -> tuple[dict, list[np.ndarray]]:
    """Call a function several times: what it answers and leaves in its arguments, described, and all the arrays."""
    arrays: list[np.ndarray] = []
    given = arrays_of(calls)
    check_arguments(function, name, len(calls[0]), path)
    with np.errstate(all="ignore"):
        result = describe([function(*args) for args in calls], arrays)
    replaced = {id(array) for array in arrays_of(calls)} != {id(array) for array in given}
    answer = {"result": result, "arguments": [add(a, arrays) for a in given], "replaced": replaced}
    answer["rngs"] = [rng.bit_generator.state for rng in generators(calls)]
    return answer, arrays


class ArgumentsError(Exception):
    """A function that cannot take the arguments of its exercise."""


def check_arguments(function: Any, name: str, count: int, path: str) -> None:
    """Raise ArgumentsError if a function cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * count)
    except TypeError:
        place = f"{os.path.basename(path)}, line {line_of(function)}"  # noqa: PTH119
        raise ArgumentsError(f"{place}, {name}: it must take {count} argument(s), it takes {signature}") from None


def failure(error: BaseException, path: str, name: str) -> dict:
    """One sentence about an exception in the student's file, with its line, and the traceback."""
    file = os.path.basename(path)  # noqa: PTH119
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    place = f"{file}, line {lines[-1]}, {name}" if lines else f"{file}, {name}"
    if isinstance(error, ArgumentsError):
        sentence = str(error)
    elif isinstance(error, NotImplementedError):
        sentence = f"{place}: not written yet"
    elif isinstance(error, SystemExit):
        sentence = f"{place}: it calls sys.exit"
    else:
        sentence = f"{place}: {type(error).__name__}: {str(error)[:500]}"
    return {
        "error": sentence,
        "kind": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error))[-20_000:],
    }


def generators(calls: list[tuple]) -> list[np.random.Generator]:
    """The generators among the arguments of calls."""
    return [argument for args in calls for argument in args if isinstance(argument, np.random.Generator)]


def line_of(function: Any) -> int:
    """The line a function begins at, 1 for what is no plain function."""
    line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
    return line if isinstance(line, int) else 1


def describe(value: Any, arrays: list[np.ndarray], depth: int = 0) -> list:
    """A result as JSON: what it is, and where in ``arrays`` its numbers are."""
    if isinstance(value, tuple | list | dict) and depth > 20:
        return ["other", "something nested too deeply"]
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [describe(branch, arrays, depth + 1) for branch in value]]
    if isinstance(value, dict):
        return ["dict", [[str(key), describe(branch, arrays, depth + 1)] for key, branch in value.items()]]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return ["array", add(value, arrays)]
    if isinstance(value, bool | int | float | complex | np.generic) and np.asarray(value).dtype.kind in "biufc":
        return ["number", add(value, arrays)]
    return ["none", 0] if value is None else ["other", type(value).__name__]


def add(value: Any, arrays: list[np.ndarray]) -> int:
    """Keep a copy of an array, and return its number."""
    arrays.append(np.array(value))
    return len(arrays) - 1


if __name__ == "__main__":
    main()
