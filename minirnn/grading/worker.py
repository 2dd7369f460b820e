"""The other process: runs a student's file and answers calls of its functions. See :mod:`minirnn.grading.student`.

It is run by its path and imports NumPy alone, so that whatever else is imported was imported by the student's file.
What it needs later it takes before that file is loaded. Where the system can fork, the file is loaded in a child, and
each function answers in a child of that: what a function patches, exhausts or breaks is gone when the next is asked.

Requests and answers are a JSON text followed by the bytes of the arrays. What the file prints goes to standard error.
"""

import ast
import builtins
import contextlib
import functools
import gc
import inspect
import io
import json
import linecache
import os
import struct
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

HEADER = struct.Struct(">QQ")  # how many bytes of JSON and of arrays follow
MEMORY = 4 << 30  # bytes a student's file may use
NOT_RUN = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

# What is used while somebody else's code is loaded, whatever that code does to the modules these come from.
encode, decode = json.JSONEncoder().encode, json.JSONDecoder().decode
array, asarray, frombuffer, tobytes = np.array, np.asarray, np.frombuffer, np.ndarray.tobytes
errstate, ndarray, generic, Generator, PCG64 = np.errstate, np.ndarray, np.generic, np.random.Generator, np.random.PCG64
fork, waitpid = getattr(os, "fork", None), os.waitpid
getpid, leave, set_blocking = os.getpid, os._exit, getattr(os, "set_blocking", lambda *_: None)
read_some, exit_code, modules = os.read, os.waitstatus_to_exitcode, sys.modules
generators = [PCG64(0) for _ in range(128)]  # making one asks much of NumPy


# --- values as bytes, on both sides -------------------------------------------------------------------


def pack(value: Any, given: list | None = None) -> bytes:
    """Nested tuples, lists and dicts of numbers, arrays and generators as bytes; ``given`` are arrays to come first."""
    things: list[Any] = list(given or [])
    tree = describe(value, things, {id(thing): i for i, thing in enumerate(things)})
    arrays = [array(thing) for thing in things if not isinstance(thing, Generator)]
    kinds = [
        ["rng", thing.bit_generator.state] if isinstance(thing, Generator) else [thing.dtype.str, thing.shape]
        for thing in things
    ]
    text, data = encode([tree, kinds]).encode(), b"".join(map(tobytes, arrays))
    return HEADER.pack(len(text), len(data)) + text + data


def split(frame: bytes) -> tuple[bytes, bytes]:
    """The text and the data of what :func:`pack` made."""
    end = HEADER.size + HEADER.unpack(frame[: HEADER.size])[0]
    return frame[HEADER.size : end], frame[end:]


def describe(value: Any, things: list[Any], places: dict[int, int], depth: int = 0) -> list:
    """A value as JSON: what it is, and where in ``things`` it stands if it is an array or a generator."""
    if isinstance(value, tuple | list | dict) and depth > 20:
        return ["other", "something nested too deeply"]
    if isinstance(value, dict):
        return ["dict", [[str(key), describe(branch, things, places, depth + 1)] for key, branch in value.items()]]
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [describe(branch, things, places, depth + 1) for branch in value]]
    if isinstance(value, Generator) or (isinstance(value, ndarray) and value.dtype.kind in "biufc"):
        if id(value) not in places:
            places[id(value)] = len(things)
            things.append(value)
        return ["thing", places[id(value)]]
    if value is None or isinstance(value, str):
        return ["plain", value]
    if type(value) in (bool, float) or (type(value) is int and abs(value) < 1 << 63):
        return ["plain", value]
    if isinstance(value, float | int | complex | generic) and asarray(value).dtype.kind in "biufc":
        things.append(asarray(value))
        return ["number", len(things) - 1]
    return ["other", type(value).__name__]


def unpack(text: bytes, data: bytes) -> tuple[Any, list[Any]]:
    """What :func:`pack` packed, as a description, and the things in it; ValueError and the like if it is nonsense."""
    tree, kinds = decode(text.decode())
    things: list[Any] = []
    for kind, rest in kinds:
        if kind == "rng":
            bits = generators.pop() if generators else PCG64()
            bits.state = rest
            things.append(Generator(bits))
        else:
            dtype = np.dtype(kind)
            count = int(np.prod(rest, dtype=np.int64))
            things.append(frombuffer(data, dtype, count).reshape(rest).copy())
            data = data[count * dtype.itemsize :]
    return tree, things


def rebuild(tree: Any, things: list[Any], other: Any = None) -> Any:
    """Make a value of its description; ``other(kind)`` stands for what was neither number nor array."""
    kind, value = tree
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(rebuild(branch, things, other) for branch in value)
    if kind == "dict":
        return {key: rebuild(branch, things, other) for key, branch in value}
    if kind == "thing":
        return things[value]
    if kind == "number":
        return things[value][()]
    return value if kind == "plain" else other(value)


def read(pipe: Any) -> tuple[bytes, bytes] | None:
    """The next text and data from a pipe, None at its end; without a lock that a blocked thread would hold."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = read_some(pipe.fileno(), min(count - len(data), 1 << 20))
            if not block:
                raise EOFError
            data += block
        return data

    try:
        text, data = HEADER.unpack(exactly(HEADER.size))
        return (exactly(text), exactly(data)) if text + data <= 1 << 28 else (b"", b"")  # nothing is no answer either
    except EOFError:
        return None


def things_in(value: Any) -> Iterator[Any]:
    """The arrays and generators in nested tuples, lists and dicts, in order, each once."""
    seen = set()

    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, tuple | list | dict):
            for branch in value.values() if isinstance(value, dict) else value:
                yield from walk(branch)
        elif isinstance(value, ndarray | Generator) and id(value) not in seen:
            seen.add(id(value))
            yield value

    return walk(value)


# --- calls ----------------------------------------------------------------------------------------------


def run(function: Any, name: str, calls: list[tuple], times: int, path: str) -> tuple[Any, list[Any], bool]:
    """Call a function with each of the arguments, so many times: its results, what was in its arguments, and whether
    arrays there were replaced."""
    given, keys = list(things_in(calls)), keys_in(calls)
    check_arguments(function, name, len(calls[0]), path)
    with errstate(all="ignore"):
        results = [function(*args) for args in calls for _ in range(times)]
    others = {id(thing) for thing in things_in(calls)} != {id(thing) for thing in given}
    return results, given, others or keys_in(calls) != keys


def keys_in(value: Any) -> list:
    """The keys of all dicts in nested tuples, lists and dicts."""
    branches = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return (list(value) if isinstance(value, dict) else []) + [key for branch in branches for key in keys_in(branch)]


class ArgumentsError(Exception):
    """A function that cannot take the arguments of its exercise."""


def check_arguments(function: Any, name: str, count: int, path: str) -> None:
    """Raise ArgumentsError if a function cannot be called with so many arguments, or a call would not run it."""
    place = f"{os.path.basename(path)}, line {line_of(function)}, {name}"  # noqa: PTH119
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & NOT_RUN:
        raise ArgumentsError(f"{place}: a call does not run it, as it has yield in it or is async: use return")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * count)
    except TypeError:
        raise ArgumentsError(f"{place}: it must take {count} argument(s), it takes {signature}") from None


def failure(error: BaseException, path: str, name: str) -> dict:
    """One sentence about an exception in the student's file, with its line, the shapes there, and the traceback."""
    file = os.path.basename(path)  # noqa: PTH119
    while (below := error.__traceback__) and below.tb_next and below.tb_frame.f_code.co_filename != path:
        error = error.with_traceback(below.tb_next)  # how this file called it is nobody's matter
    frames = [frame for frame in traceback.walk_tb(error.__traceback__) if frame[0].f_code.co_filename == path]
    place = f"{file}, line {frames[-1][1]}, {name}" if frames else f"{file}, {name}"
    if isinstance(error, ArgumentsError):
        sentence = str(error)
    elif isinstance(error, NotImplementedError):
        sentence = f"{place}: not written yet"
    elif isinstance(error, SystemExit):
        sentence = f"{place}: it calls sys.exit"
    else:
        sentence = f"{place}: {type(error).__name__}: {str(error)[:500]}{shapes_at(error, path)}"
    return {
        "error": sentence,
        "kind": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error))[-20_000:],
    }


def shapes_at(error: BaseException, path: str) -> str:
    """The piece of the student's source that raised, and the shapes of the arrays in it; empty if there are none."""
    summaries, walked = traceback.extract_tb(error.__traceback__), traceback.walk_tb(error.__traceback__)
    mine = [(s, frame) for s, (frame, _) in zip(summaries, walked, strict=True) if s.filename == path]
    if not mine or mine[-1][0].lineno is None or mine[-1][0].lineno != mine[-1][0].end_lineno:
        return ""
    (summary, frame), found = mine[-1], {}
    piece = linecache.getline(path, summary.lineno or 0).encode()[summary.colno : summary.end_colno].decode().strip()
    with contextlib.suppress(Exception):  # the source is gone, or the piece is no expression
        for node in ast.walk(ast.parse(piece)):
            name = ast.unparse(node) if isinstance(node, ast.Name | ast.Subscript) else ""
            if name and not any(isinstance(part, ast.Call) for part in ast.walk(node)):
                with contextlib.suppress(Exception):  # this is what raised
                    value = eval(name, frame.f_globals, frame.f_locals)
                    if isinstance(value, dict) and isinstance(error, KeyError):
                        found[name] = f"{name} has the keys {', '.join(map(repr, value))}"
                    if isinstance(value, ndarray | generic):
                        found[name] = f"{name} is {value.shape if value.ndim else 'a number'}"
    told = [words for name, words in found.items() if not any(other.startswith(f"{name}[") for other in found)]
    return f" (in {piece}, where {', '.join(told)})" if told else ""


def line_of(function: Any) -> int:
    """The line a function begins at, 1 for what is no plain function."""
    line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
    return line if isinstance(line, int) else 1


def unwritten(function: Any) -> bool:
    """Whether a function does nothing but raise NotImplementedError."""
    return getattr(getattr(function, "__code__", None), "co_names", ()) == ("NotImplementedError",)


def used_by(function: Any, functions: dict[str, Any]) -> list[str]:
    """The names of those functions that a function calls, or that are called by what it calls."""
    found: list[str] = []
    waiting = [getattr(function, "__code__", None)]
    while waiting:
        code = waiting.pop()
        if code is not None:
            names = [name for name in code.co_names if name in functions and name not in found]
            found += names
            waiting += [getattr(functions[name], "__code__", None) for name in names]
            waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return found


@contextlib.contextmanager
def replaced(namespace: dict[str, Any], sources: dict[str, str]) -> Iterator[None]:
    """Let functions of a namespace be those of the sources for a while."""
    before = {name: namespace[name] for name in sources}
    for name, source in sources.items():
        own: dict[str, Any] = {}
        exec(f"from __future__ import annotations\nimport numpy as np\n{source}", own)
        namespace[name] = own[name]
    try:
        yield
    finally:
        namespace.update(before)


def is_ours(function: Any) -> bool:
    """Whether a function's code stands in minirnn, behind whatever name."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return getattr(code, "co_filename", "").startswith(PACKAGE + os.sep)


# --- the process ----------------------------------------------------------------------------------------


def main() -> None:
    """Load the file, then answer until standard input ends."""
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # whatever the file starts shall not read the requests
    os.dup2(2, 1)
    sys.stdin = io.StringIO()  # whoever asks for input finds none
    if fork:
        stand_guard()
    limit_memory()
    me = getpid()

    def receive() -> Any:
        set_blocking(requests.fileno(), True)  # a function may have changed that, for all who share the pipe
        frame = read(requests)
        return rebuild(*unpack(*frame)) if frame else None

    def reply(number: int, answer: dict, value: Any = None, given: list | None = None) -> None:
        if getpid() != me:  # a copy that the file made of this process
            leave(0)
        answer["imports"] = any(name == "minirnn" or name.startswith("minirnn.") for name in modules)
        set_blocking(answers.fileno(), True)
        answers.write(pack((number, answer, value), given))
        answers.flush()

    number, path, source = receive()
    module = types.ModuleType("student")
    module.__file__ = path
    sys.modules["student"] = module
    sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120 - files beside it can be imported
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    shared = [(vars(owner), dict(vars(owner))) for owner in (builtins, np, np.linalg, vars(np)["random"])]
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        for now, before in shared:  # what the file has replaced there would cost functions that are right
            now.update(before)
        functions = {name: f for name, f in vars(module).items() if callable(f) and not name.startswith("_")}
        lines = {name: line_of(f) for name, f in functions.items()}
        ours = [name for name, f in functions.items() if is_ours(f)]
        reply(
            number,
            {"lines": lines, "ours": ours, "uses": {name: used_by(functions[name], functions) for name in functions}},
        )
    except BaseException as error:
        reply(number, failure(error, path, "while it was loaded"))
        leave(0)

    def respond(number: int, name: str, calls: list[tuple], times: int, instead: dict[str, str]) -> None:
        try:
            with replaced(module.__dict__, instead):
                results, given, others = run(functions[name], name, calls, times, path)
            reply(number, {"replaced": others, "given": len(given)}, results, given)
        except BaseException as error:
            reply(number, failure(error, path, name))

    gc.freeze()  # children share what is never collected
    while request := receive():
        if not request[1]:  # the end of what a function is asked
            continue
        if not fork or unwritten(functions[request[1]]):  # that is soon said, and a process takes longer
            respond(*request)
        elif child := fork():
            code = exit_code(waitpid(child, 0)[1])
            if code:
                reply(0, {"ended": code})
        else:
            me = getpid()
            while request and request[1]:
                respond(*request)
                request = receive()
            leave(0)
    leave(0)


def stand_guard() -> None:
    """Go on in a child, and end like it: the parent that the student's file knows is this process, not the grader's."""
    with contextlib.suppress(Exception):  # on Linux, children of children stay below this process when they are left
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            os.kill(os.getpid(), -code)
        leave(code)


def limit_memory() -> None:
    """Let memory beyond the limit be refused, where the system knows how."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):
        pass


if __name__ == "__main__":
    main()
