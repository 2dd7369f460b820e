"""Somebody else's Python file, run in a process of its own.

Functions of a student's file are called from here and run there: an endless loop is stopped, ``sys.exit`` ends only
that process, a flood of output is counted and dropped, and whoever patches NumPy over there has patched it over there.
What comes back are numbers, never objects, and what is right is decided on this side.

This keeps accidents apart. It is no security sandbox: the file runs with the rights of whoever grades it.
"""

import contextlib
import functools
import io
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from minirnn.gradcheck import arrays_of
from minirnn.grading.worker import HEADER, failure, generators, line_of, run

LARGEST_ANSWER = 1 << 28  # bytes


class StudentError(Exception):
    """One sentence about the student's file; ``kind`` and ``details``: the exception's name and its traceback."""

    def __init__(self, sentence: str, kind: str = "", details: str = ""):
        super().__init__(sentence)
        self.kind, self.details = kind, details


class Foreign:
    """Stands for a returned object that is neither number nor array, nor a tuple, list or dict of them."""

    def __init__(self, kind: str):
        self.kind = kind


class Function:
    """A function that lives elsewhere: ``f(x)`` calls it, ``f.many([(x,), (y,)])`` calls it several times at once."""

    def __init__(self, many: Callable[[list[tuple]], list[Any]]):
        self.many = many

    def __call__(self, *args: Any) -> Any:
        __tracebackhide__ = True  # a teacher's own test shall show the sentence, not this file
        return self.many([args])[0]


class Here:
    """Functions of this process, behind the same door as a :class:`Student`'s: in a notebook, or in a test."""

    path = Path("here")

    def __init__(self, functions: dict[str, Callable[..., Any]]):
        self.functions = functions

    def __getattr__(self, name: str) -> Function:
        return Function(functools.partial(self.calls, name))

    def where(self, name: str) -> str:
        """The place of a function, for messages."""
        return f"{Path(self.functions[name].__code__.co_filename).name}, line {line_of(self.functions[name])}, {name}"

    def calls(self, name: str, calls: list[tuple]) -> list[Any]:
        """What a function answers to each of the calls; StudentError for whatever it raises."""
        function = self.functions[name]
        path = function.__code__.co_filename
        try:
            answer, arrays = run(function, name, calls, path)
        except Exception as error:
            told = failure(error, path, name)
            raise StudentError(told["error"], told["kind"], told["traceback"]) from error
        return taken(answer, arrays, calls, self.where(name))


class Student:
    """A student's file: ``student.f(x)`` calls its function f in the other process.

    Arrays that f changes in place are changed here as well. The process is started at the first call, and again after
    it was stopped. A function with the name of a method below is called with ``student.call("count", x)``.

    Parameters
    ----------
    path : str or Path
        The file. It is read once, here.
    timeout : float
        Seconds to wait for all calls together; for a single call a tenth of it, but at least one second.

    Raises
    ------
    StudentError
        Here, if the file cannot be read or is not Python; at a call, for everything that can go wrong there.
    """

    def __init__(self, path: str | Path, timeout: float = 60.0):
        self.path = Path(path)
        self.limit, self.left = max(1.0, timeout / 10), timeout  # seconds for a call, and for all that are to come
        self.requests = 0
        self.lines: dict[str, int] = {}  # where each function of the file begins
        self.printed = 0  # bytes
        self.stopped: dict[str, str] = {}  # functions that were stopped, and what was said about them
        self.process: subprocess.Popen[bytes] | None = None
        try:
            if self.path.exists() and not self.path.is_file():
                raise OSError(0, "it is no file")
            self.source = self.path.read_bytes()
        except OSError as error:
            raise StudentError(f"{self.path.name}: the file cannot be read: {error.strerror}") from error
        try:
            compile(self.source, str(self.path), "exec", dont_inherit=True)
        except SyntaxError as error:
            raise StudentError(
                f"{self.path.name}, line {error.lineno or 1}: this is not Python: {error.msg}"
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            raise StudentError(f"{self.path.name}: this is not Python: {reason}") from error

    def __enter__(self) -> "Student":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Function(functools.partial(self.calls, name))

    def where(self, name: str) -> str:
        """The place of a function, for messages."""
        return f"{self.path.name}, line {self.lines[name]}, {name}" if name in self.lines else f"{self.path.name}"

    def call(self, name: str, *args: Any) -> Any:
        """Call a function; its result, as numbers, arrays, tuples, lists and dicts, and ``Foreign`` for all else."""
        __tracebackhide__ = True
        return self.calls(name, [args])[0]

    def calls(self, name: str, calls: list[tuple]) -> list[Any]:
        """Call a function several times, over there in one go."""
        __tracebackhide__ = True
        if name in self.stopped:
            raise StudentError(self.stopped[name])
        self.start()
        if name not in self.lines:
            raise StudentError(f"{self.path.name} defines no function {name}")
        answer, arrays = self.exchange((name, calls), name)
        return taken(answer, arrays, calls, self.where(name))

    def start(self) -> None:
        """Start the process and let it run the file, unless that has been done."""
        if self.process is not None:
            return
        if "" in self.stopped:  # the file itself did not finish
            raise StudentError(self.stopped[""])
        self.folder = tempfile.TemporaryDirectory(prefix="minirnn-student-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minirnn.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder.name,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.frames: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self.collect, args=(self.process, self.frames), daemon=True).start()
        threading.Thread(target=self.count, args=(self.process,), daemon=True).start()
        try:
            self.lines = self.exchange((str(self.path.resolve()), self.source), "")[0]["lines"]
        except StudentError as error:
            self.stopped[""] = str(error)
            self.stop()
            raise

    def exchange(self, request: Any, name: str) -> tuple[Any, list[np.ndarray]]:
        """Send a request, wait for its answer; what is no answer stops the process."""
        __tracebackhide__ = True
        assert self.process is not None and self.process.stdin is not None
        seconds = min(self.limit, self.left)
        where = self.where(name) if name else f"{self.path.name}, while it was loaded"
        if seconds <= 0:
            raise StudentError(f"{where}: not run, the time for the whole file was used up")
        self.requests += 1
        with contextlib.suppress(OSError):  # a process that has died is noticed below
            pickle.dump((self.requests, request), self.process.stdin)
            self.process.stdin.flush()
        started = time.monotonic()
        try:
            frame = self.frames.get(timeout=seconds)
            self.left -= time.monotonic() - started
        except queue.Empty:
            self.left -= seconds
            sentence = f"{where}: stopped after {seconds:.2g} s; an endless loop?"
            if seconds < self.limit:
                sentence = f"{where}: stopped, the time for the whole file was used up"
        else:
            if frame is not None:
                try:
                    with np.load(io.BytesIO(frame), allow_pickle=False) as file:
                        answer = json.loads(str(file["answer"]))
                        arrays = [file[f"array{i}"] for i in range(len(file.files) - 1)]
                    if answer["number"] != self.requests:
                        raise ValueError("an answer to another question: the file has forked")
                    if "error" not in answer:
                        return answer, arrays
                    raise StudentError(answer["error"], answer["kind"], answer["traceback"])
                except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile):
                    sentence = f"{where}: its process gave an answer that cannot be read"
            else:
                code = self.process.wait()
                sentence = f"{where}: it ended its process (exit code {code})"
        self.stopped[name] = sentence
        self.stop()
        raise StudentError(sentence)

    def stop(self) -> None:
        """Stop the process, and whatever it started."""
        if self.process is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self.process.stdin is not None
            self.process.stdin.close()  # it ends by itself, unless it is busy
            self.process.wait(timeout=0.2)
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        self.process = None  # the threads close their pipes when they end
        self.folder.cleanup()

    def collect(self, process: "subprocess.Popen[bytes]", frames: "queue.Queue[bytes | None]") -> None:
        """Put each answer of the process into the queue, and None at its end."""
        assert process.stdout is not None
        with process.stdout as pipe:
            while header := read(pipe, HEADER.size):
                (length,) = HEADER.unpack(header)
                frames.put(read(pipe, length) if length <= LARGEST_ANSWER else b"")  # nothing is no answer either
        frames.put(None)

    def count(self, process: "subprocess.Popen[bytes]") -> None:
        """Read and drop what the process prints, so that it never waits for a reader and nothing fills up."""
        assert process.stderr is not None
        with process.stderr as pipe:
            while block := os.read(pipe.fileno(), 1 << 16):
                self.printed += len(block)


def read(pipe: Any, length: int) -> bytes:
    """So many bytes from a pipe, or none if it ends before; without a lock that a blocked thread would hold."""
    data = b""
    while len(data) < length:
        block = os.read(pipe.fileno(), min(length - len(data), 1 << 20))
        if not block:
            return b""
        data += block
    return data


def taken(answer: dict, arrays: list[np.ndarray], calls: list[tuple], where: str) -> list[Any]:
    """The results of calls, once what they did to their arguments has been done to ours."""
    if answer["replaced"]:
        raise StudentError(
            f"{where}: it puts other arrays into a dict it was given, or takes some out, but the caller has the old "
            f"ones: write into them, array[...] = new, or make a new dict"
        )
    for array, number in zip(arrays_of(calls), answer["arguments"], strict=True):
        if arrays[number].shape != array.shape:
            raise StudentError(f"{where}: it reshapes an argument to {arrays[number].shape}")
        array[...] = arrays[number]
    for rng, state in zip(generators(calls), answer["rngs"], strict=True):
        rng.bit_generator.state = state
    return rebuild(answer["result"], arrays)


def rebuild(tree: Any, arrays: list[np.ndarray]) -> Any:
    """Make a result of its description; see :func:`minirnn.grading.worker.describe`."""
    kind, value = tree
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(rebuild(branch, arrays) for branch in value)
    if kind == "dict":
        return {key: rebuild(branch, arrays) for key, branch in value}
    if kind == "array":
        return arrays[value]
    if kind == "number":
        return arrays[value][()]
    return None if kind == "none" else Foreign(value)
