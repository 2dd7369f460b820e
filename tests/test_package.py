"""What importing the package costs, and what it promises."""

import subprocess
import sys
from pathlib import Path

import minirnn


def test_importing_it_imports_numpy_alone():
    code = "import sys, minirnn; print(*(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(run.stdout.split())
    assert {"minirnn", "numpy"} <= imported
    assert not imported & {"matplotlib", "pytest", "hypothesis", "torch", "scipy", "mpi4py"}


def test_everything_public_is_there_and_documented():
    for name in minirnn.__all__:
        assert name == "CELLS" or getattr(minirnn, name).__doc__, name


def test_types_are_shipped():
    assert (Path(minirnn.__file__).parent / "py.typed").is_file()


def test_nothing_draws_from_the_global_generator():
    """Not even a mention of numpy.random's global functions."""
    allowed = ("np.random.default_rng", "np.random.Generator")
    for path in Path(minirnn.__file__).parent.glob("*.py"):
        text = path.read_text()
        for name in allowed:
            text = text.replace(name, "")
        assert "np.random." not in text, path.name
