"""Somebody else's Python file, run in a process of its own.

Functions of a student's file are called from here and run there: an endless loop is stopped, ``sys.exit`` ends only
that process, a flood of output is counted and dropped, and whoever patches NumPy over there has patched it over there.
What comes back are numbers, never objects, and what is right is decided on this side.

This keeps accidents apart. It is no security sandbox: the file runs with the rights of whoever grades it.
"""

import contextlib
import functools
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import minirnn.grading.worker as worker

SHARES = 14  # of the time: one for each function of the assignment, and one for loading the file


class StudentError(Exception):
    """One sentence about the student's file; ``kind`` and ``details``: the exception's name and its traceback."""

    def __init__(self, sentence: str, kind: str = "", details: str = ""):
        super().__init__(sentence)
        self.kind, self.details = kind, details


class ProcessError(StudentError):
    """The process is gone."""


class Foreign:
    """Stands for a returned object that is neither number nor array, nor a tuple, list or dict of them."""

    def __init__(self, kind: str):
        self.kind = kind


class Function:
    """A function that lives elsewhere: ``f(x)`` calls it, ``f.many([(x,), (y,)])`` with x and with y."""

    def __init__(self, many: Callable[..., list[Any]]):
        self.many = many

    def __call__(self, *args: Any) -> Any:
        __tracebackhide__ = True  # a teacher's own test shall show the sentence, not this file
        return self.many([args])[0]


class Here:
    """Functions of this process, behind the same door as a :class:`Student`'s: in a notebook, or in a test."""

    def __init__(self, functions: dict[str, Callable[..., Any]]):
        self.functions = functions
        self.uses = {name: worker.used_by(f, getattr(f, "__globals__", {})) for name, f in functions.items()}
        self.instead: dict[str, str] = {}
        self.stopped: dict[str, str] = {}
        first = next(iter(functions.values()))
        self.path = Path(getattr(getattr(first, "__code__", None), "co_filename", "here"))

    def __getattr__(self, name: str) -> Function:
        return Function(functools.partial(self.calls, name))

    def where(self, name: str) -> str:
        """The place of a function, for messages."""
        return f"{self.path.name}, line {worker.line_of(self.functions[name])}, {name}"

    def calls(self, name: str, calls: list[tuple], times: int = 1) -> list[Any]:
        """What a function answers to each of the calls; StudentError for whatever it raises."""
        try:
            with worker.replaced(getattr(self.functions[name], "__globals__", {}), self.instead):
                results, given, replaced = worker.run(self.functions[name], name, calls, times, str(self.path))
        except Exception as error:
            told = worker.failure(error, str(self.path), name)
            raise StudentError(told["error"], told["kind"], told["traceback"]) from error
        frame = worker.pack(results, given)
        tree, things = worker.unpack(*worker.split(frame))
        return taken(worker.rebuild(tree, things, Foreign), things[: len(given)], replaced, calls, self.where(name))


class Student:
    """A student's file: ``student.f(x)`` calls its function f in the other process.

    Arrays that f changes in place are changed here as well. The process is started at the first call, and again after
    it was stopped. A function with the name of a method below is called with ``student.call("count", x)``.

    Parameters
    ----------
    path : str or Path
        The file. It is read once, here.
    timeout : float
        Seconds for the whole file. Each function may take a fourteenth of it for all its calls together, but at least
        one second, and so may loading the file.

    Raises
    ------
    StudentError
        Here, if the file cannot be read or is not Python; at a call, for everything that can go wrong there.
    """

    def __init__(self, path: str | Path, timeout: float = 60.0):
        self.path = Path(path)
        self.limit = max(1.0, timeout / SHARES)
        self.left: dict[str, float] = {}  # seconds that each function has left
        self.requests = 0
        self.asked = ""  # the function that is being asked
        self.served = ""  # the last function that answered
        self.lines: dict[str, int] = {}  # where each function of the file begins
        self.ours: list[str] = []  # its functions whose code is minirnn's
        self.uses: dict[str, list[str]] = {}  # for each of its functions the others that it calls
        self.instead: dict[str, str] = {}  # sources of functions that stand in for its own while others are asked
        self.imports = False  # whether it imports minirnn
        self.printed = 0  # bytes
        self.left_behind = 0  # processes that it started and that did not end with it
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

    def calls(self, name: str, calls: list[tuple], times: int = 1) -> list[Any]:
        """Call a function several times, over there in one go."""
        __tracebackhide__ = True
        if name in self.stopped:
            raise StudentError(self.stopped[name])
        self.start()
        if name not in self.lines:
            raise StudentError(f"{self.path.name} defines no function {name}")
        if self.asked not in ("", name):
            with contextlib.suppress(OSError, AttributeError):  # the function before may have stopped others
                os.killpg(self.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
            self.send((0, ""))  # it is done with
        self.asked = name
        try:
            answer, results, things = self.exchange((name, calls, times, self.instead), name)
        except ProcessError:
            if self.served in ("", name):
                raise
            del self.stopped[name]  # the function before may have left a process that could not go on
            self.start()
            self.asked = name
            answer, results, things = self.exchange((name, calls, times, self.instead), name)
        self.served = name
        return taken(results, things[: answer["given"]], answer["replaced"], calls, self.where(name))

    def start(self) -> None:
        """Start the process and let it run the file, unless that has been done."""
        if self.process is not None:
            return
        if "" in self.stopped:  # the file itself did not finish
            raise StudentError(self.stopped[""])
        self.folder = tempfile.TemporaryDirectory(prefix="minirnn-student-", ignore_cleanup_errors=True)
        self.token = f"MINIRNN_STUDENT={secrets.token_hex(16)}"
        own = {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder.name,
            env=os.environ | own | dict([self.token.split("=")]),
            start_new_session=True,
        )
        self.asked, self.left[""] = "", self.limit
        self.frames: queue.Queue[tuple[bytes, bytes] | None] = queue.Queue()
        threading.Thread(target=self.collect, args=(self.process, self.frames), daemon=True).start()
        threading.Thread(target=self.count, args=(self.process,), daemon=True).start()
        try:
            text = self.source.decode("utf-8", "replace")
            answer, _, _ = self.exchange((str(self.path.resolve()), text), "")
            self.lines, self.ours, self.uses = answer["lines"], answer["ours"], answer["uses"]
        except StudentError as error:
            self.stopped[""] = str(error)
            self.stop()
            raise

    def send(self, request: tuple) -> None:
        """Write to the process; one that has died is noticed when its answer is missing."""
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(worker.pack(request))
            self.process.stdin.flush()

    def exchange(self, request: tuple, name: str) -> tuple[dict, Any, list[Any]]:
        """Send a request, wait for its answer; what is no answer stops the process."""
        __tracebackhide__ = True
        assert self.process is not None
        where = self.where(name) if name else f"{self.path.name}, while it was loaded"
        seconds = self.left.setdefault(name, self.limit)
        self.requests += 1
        started = time.monotonic()
        self.send((self.requests, *request))
        try:
            frame = self.frames.get(timeout=max(seconds, 0.01))
            self.left[name] -= time.monotonic() - started
            if frame is None:
                code = self.process.wait()
                sentence = f"{where}: it ended its process (exit code {code})"
            else:
                tree, things = worker.unpack(*frame)
                number, answer, value = worker.rebuild(tree, things, Foreign)
                if number != self.requests and "ended" not in answer:
                    raise ValueError("an answer to another question")
                self.imports |= bool(answer["imports"])
                if "ended" not in answer and "error" not in answer:
                    return answer, value, things
                if "error" in answer:
                    raise StudentError(str(answer["error"]), str(answer["kind"]), str(answer["traceback"]))
                self.asked = ""  # this function has lost its process, the others have not
                self.stopped[name] = f"{where}: it ended its process (exit code {answer['ended']})"
                raise ProcessError(self.stopped[name])
        except queue.Empty:
            sentence = f"{where}: stopped after {self.limit:.2g} s; an endless loop?"
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError, MemoryError):
            sentence = f"{where}: its process gave an answer that cannot be read"
        self.stopped[name] = sentence
        self.stop()
        raise ProcessError(sentence) if "ended its process" in sentence else StudentError(sentence)

    def stop(self) -> None:
        """Stop the process, and whatever it started."""
        if self.process is None:
            return
        known, left, ended = self.relatives(), set(), False
        with contextlib.suppress(OSError, queue.Empty, subprocess.TimeoutExpired):
            assert self.process.stdin is not None
            self.process.stdin.close()  # it ends by itself, unless it is busy
            end = time.monotonic() + 0.2
            while time.monotonic() < end and self.frames.get(timeout=0.2):
                pass  # None: it has ended
            ended = self.process.wait(timeout=0.2) is not None
            left = self.relatives(known)
            self.left_behind += len(left)
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        for process, _ in left if ended else self.relatives(known):  # those that left the group
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        self.process = None  # the threads close their pipes when they end
        self.folder.cleanup()

    def relatives(self, known: Iterable[tuple[int, str]] = ()) -> set[tuple[int, str]]:
        """The living processes that descend from ours, or have its word in their environment, or are known already.

        Each with the moment it began, since numbers are used again. Where the system does not tell, there are none.
        """
        assert self.process is not None
        parents, begun, found = {}, {}, set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    parents[int(folder.name)], begun[int(folder.name)] = int(fields[1]), fields[19]
                    if self.token.encode() in (folder / "environ").read_bytes():
                        found.add(int(folder.name))
        below = {self.process.pid}
        while more := {process for process, parent in parents.items() if parent in below} - below:
            below |= more
        found |= below - {self.process.pid} | {process for process, start in known if begun.get(process) == start}
        return {(process, begun[process]) for process in found}

    def collect(self, process: "subprocess.Popen[bytes]", frames: "queue.Queue[tuple[bytes, bytes] | None]") -> None:
        """Put each answer of the process into the queue, and None at its end."""
        assert process.stdout is not None
        with process.stdout as pipe:
            while frame := worker.read(pipe):
                frames.put(frame)
        frames.put(None)

    def count(self, process: "subprocess.Popen[bytes]") -> None:
        """Read and drop what the process prints, so that it never waits for a reader and nothing fills up."""
        assert process.stderr is not None
        with process.stderr as pipe:
            while block := os.read(pipe.fileno(), 1 << 16):
                self.printed += len(block)


def taken(results: list[Any], given: list[Any], replaced: bool, calls: list[tuple], where: str) -> list[Any]:
    """The results of calls, as NumPy's numbers, once what they did to their arguments has been done to ours."""
    if replaced:
        raise StudentError(
            f"{where}: it puts other arrays or keys into a dict it was given, or takes some out, but the caller has "
            f"the old ones: write into them, array[...] = new, or make a new dict"
        )
    for ours, theirs in zip(worker.things_in(calls), given, strict=True):
        if isinstance(ours, np.random.Generator):
            ours.bit_generator.state = theirs.bit_generator.state
        elif ours.shape != theirs.shape:
            raise StudentError(f"{where}: it reshapes an argument to {theirs.shape}")
        else:
            ours[...] = theirs
    return [numbers_of(result) for result in results]


def numbers_of(tree: Any) -> Any:
    """The same tree with NumPy's numbers for Python's, and ``Foreign`` for text."""
    if isinstance(tree, tuple | list):
        return type(tree)(map(numbers_of, tree))
    if isinstance(tree, dict):
        return {key: numbers_of(branch) for key, branch in tree.items()}
    return Foreign("str") if isinstance(tree, str) else np.asarray(tree)[()] if isinstance(tree, int | float) else tree
