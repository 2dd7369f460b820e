"""Seconds that users wait: for a gradient check of 100,000 parameters, for a grade, for help.

python tests/benchmarks/commands.py
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minirnn import LanguageModel, ModelConfig
from minirnn.gradcheck import check_gradients

ASSIGNMENT = Path(__file__).resolve().parents[2] / "examples" / "assignment"


def check_a_model() -> None:
    """All parameters of a tanh model with 65 characters and 256 hidden units, ten steps of two sequences."""
    config, rng = ModelConfig("rnn", 65, 256), np.random.default_rng(0)
    model = LanguageModel.init(config, rng, np.float64)
    x, y = rng.integers(0, 65, (2, 10, 2))
    state = model.zero_state(2)
    _, grads, _ = model.loss_and_grads(x, y, state)
    assert model.size == 99_137
    assert check_gradients(lambda p: LanguageModel(config, p).loss(x, y, state)[0], model.params, grads).ok


def run(*arguments: str | Path) -> None:
    """The command ``minirnn`` in a process of its own."""
    subprocess.run([sys.executable, "-m", "minirnn", *map(str, arguments)], stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Print the median of five of each."""
    tasks: dict[str, Callable[[], None]] = {
        "check the gradient of 99,137 parameters": check_a_model,
        "minirnn grade, the skeleton": lambda: run("grade", ASSIGNMENT / "student.py"),
        "minirnn grade, the solution": lambda: run("grade", ASSIGNMENT / "solution.py"),
        "minirnn --help": lambda: run("--help"),
    }
    for name, task in tasks.items():
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            task()
            seconds.append(time.perf_counter() - started)
        print(f"{name:42} {statistics.median(seconds):.3f} s")


if __name__ == "__main__":
    main()
