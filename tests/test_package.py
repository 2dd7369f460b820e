"""What importing the package costs, and what it promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import minirnn

# A seeded generator is handed around; the functions of the modules random and numpy.random draw from a hidden one.
GLOBAL_GENERATOR = re.compile(
    r"\b(np|numpy)\.random\b(?!\.(default_rng|Generator)\b)|\b(import|from) random\b|\bfrom numpy import .*\brandom\b"
)


def test_importing_it_imports_numpy_alone():
    code = "import sys, minirnn; print(*(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(run.stdout.split())
    assert {"minirnn", "numpy"} <= imported
    assert not imported & {"matplotlib", "pytest", "hypothesis", "torch", "scipy", "mpi4py"}


def test_everything_public_is_there_and_documented():
    for name in set(minirnn.__all__) - {"CELLS"}:
        text = getattr(minirnn, name).__doc__
        assert text and not text.startswith(f"{name}("), name  # a dataclass without one is given its signature


def test_types_are_shipped():
    assert (Path(minirnn.__file__).parent / "py.typed").is_file()


def test_nothing_draws_from_the_global_generator():
    files = [*Path(minirnn.__file__).parent.glob("*.py"), *(ROOT / "examples").glob("*.py")]
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
