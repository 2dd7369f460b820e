import os
import signal
import sys
from pathlib import Path

# Two threads of BLAS that wait for each other beside busy neighbours are many times slower than one, and the matrices
# of the tests are small. It has to be said before NumPy is loaded, and holds for the processes that tests start, too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

import minirnn
import minirnn.plots

# A shell that runs the tests in the background may have set these to be ignored, here and in the processes they start.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

data = Path(os.environ.get("MINIRNN_DATA", "nowhere")).resolve() / "tinyshakespeare.txt"
TINY_SHAKESPEARE = data if data.is_file() else None
TEXT = "To the north, the sea; to the south, the sea.\nWhat is there between? A stone, a bell, and me.\n" * 12

# A slow machine is no failure, and the same tests run everywhere; the soak takes the thorough profile.
settings.register_profile("minirnn", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=250)
settings.load_profile("minirnn")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def without_pictures(monkeypatch):
    """A loss curve takes a second to draw; here it is a file of its name, made from the history it was given."""
    drawn = []

    def draw(history, path, *_):
        drawn.append(list(history))
        Path(path).write_bytes(b"a picture")

    monkeypatch.setattr("minirnn.commands.run.plot_losses", draw)
    return drawn


@pytest.fixture
def short_samples(monkeypatch):
    """What a run writes at its end is 500 tokens; here a few, which cost as little as what is tested."""

    def draw(*model_vocab_seed, length, temperature):
        return minirnn.sample(*model_vocab_seed, length=min(length, 25), temperature=temperature)

    monkeypatch.setattr("minirnn.commands.run.sample", draw)


@pytest.fixture
def with_pictures(without_pictures, monkeypatch):
    """The one that is drawn after all."""
    monkeypatch.setattr("minirnn.commands.run.plot_losses", minirnn.plots.plot_losses)


@pytest.fixture
def trainers(monkeypatch):
    """The trainers that a run makes; each keeps the parameters it began with."""
    made = []

    class Spy(minirnn.Trainer):
        def __init__(self, model, *rest, **options):
            super().__init__(model, *rest, **options)
            self.initial = {name: p.copy() for name, p in model.params.items()}
            made.append(self)

    monkeypatch.setattr("minirnn.commands.build.Trainer", Spy)
    return made
