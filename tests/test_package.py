"""What importing the package costs, what it promises, and how it is built."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import minirnn

PACKAGE = Path(minirnn.__file__).parent
# Each room, and the rooms whose modules it may import besides its own. What lies in minirnn itself is a lesson.
ROOMS = {"lessons": set(), "files": {"lessons"}, "grading": {"lessons"}, "commands": {"lessons", "files", "grading"}}
DOORS = {"minirnn", "minirnn.__main__", "minirnn.diagnosis"}  # they only hand on what stands in the rooms

# A seeded generator is handed around; the functions of the modules random and numpy.random draw from a hidden one.
GLOBAL_GENERATOR = re.compile(
    r"\b(np|numpy)\.random\b(?!\.(default_rng|Generator|PCG64)\b)"
    r"|\b(import|from) random\b|\bfrom numpy import .*\brandom\b"
)


def test_importing_it_imports_numpy_alone():
    code = "import sys, minirnn; print(*(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(run.stdout.split())
    assert {"minirnn", "numpy"} <= imported
    assert not imported & {"matplotlib", "pytest", "hypothesis", "torch", "scipy", "mpi4py"}


def test_importing_it_changes_nothing_in_the_process():
    code = (
        "import ctypes, numpy\n"
        "asked, CDLL = [], ctypes.CDLL\n"
        "ctypes.CDLL = lambda name, *rest: asked.append(name) or CDLL(name, *rest)\n"
        "import minirnn; print(asked)\n"
        "model = minirnn.LanguageModel.init(minirnn.ModelConfig('rnn', 2, 2), 0)\n"
        "for _ in range(2): minirnn.Trainer(model, minirnn.SGD(0.1), [0, 1, 1], batch_size=1, seq_length=1)\n"
        "print(asked)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["[]", "[None]"]  # where training starts the C library is asked, once


def test_everything_public_is_there_and_documented():
    for name in set(minirnn.__all__) - {"CELLS"}:
        text = getattr(minirnn, name).__doc__
        assert text and not text.startswith(f"{name}("), name  # a dataclass without one is given its signature


def imports():
    """The modules of the package, each with those that it imports, also inside of functions."""
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found = {}
    for name, path in names.items():
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} has a relative import"
                wanted |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[name] = (wanted & names.keys()) - {name}
    return found


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "lessons"


def test_no_import_goes_up_and_none_in_a_circle():
    # "from minirnn import ops" names the door as well as the lesson; the door itself is not what is wanted.
    graph = {module: wanted - {"minirnn"} for module, wanted in imports().items() if module not in DOORS}
    assert len(graph) >= 28
    for module, wanted in graph.items():
        for other in wanted:
            assert room(other) in ROOMS[room(module)] | {room(module)}, f"{module} imports {other}"
            assert other not in DOORS, f"{module} imports {other}"
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").is_file()


def test_nothing_draws_from_the_global_generator():
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "examples").glob("*.py")]
    assert len(files) >= 20
    for path in files:
        assert not (found := GLOBAL_GENERATOR.search(path.read_text())), f"{path.name}: {found[0]}"


@pytest.mark.parametrize(
    "line",
    [
        "np.random.rand(3)",
        "numpy.random.seed(0)",
        "import random",
        "from random import choice",
        "import numpy.random",
        "from numpy.random import rand",
        "from numpy import log, random",
    ],
)
def test_the_global_generator_would_be_noticed(line):
    assert GLOBAL_GENERATOR.search(line)
    assert not GLOBAL_GENERATOR.search("rng = np.random.default_rng(0); rng.random(3)")
