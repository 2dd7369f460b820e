"""Milliseconds per training step of this checkout and of another one, measured in turn.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/against.py OTHER [--rounds N] [ROW ...]

Each checkout trains in a process of its own with its own `minirnn` and its own `tests/benchmarks/steps.py`; only one of
them computes at a time. Medians over all steps and the median of the rounds' ratios are printed; nothing is asserted.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from steps import CONFIGURATIONS, kernels, processor

WORKER = """
import sys, time
sys.path[:0] = ["tests/benchmarks", "."]
import steps
step = steps.minirnn_step(*steps.CONFIGURATIONS[sys.argv[1]])
for line in sys.stdin:
    time.sleep(0.1)  # until the other's worker threads have stopped to spin
    took, end = [], time.perf_counter() + 0.4
    while len(took) < 8 or time.perf_counter() < end:
        started = time.perf_counter()
        step()
        took.append(1e3 * (time.perf_counter() - started))
    print(*took[3:], flush=True)
"""


def turns(checkouts, configuration, rounds):
    """Milliseconds of every step, one list a round, for each of the checkouts."""
    command = [sys.executable, "-c", WORKER, configuration]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, cwd=checkout, bufsize=1, **pipes) for checkout in checkouts]
    took = [[] for _ in workers]
    for _ in range(rounds):
        for worker, times in zip(workers, took, strict=True):
            worker.stdin.write("\n")
            times.append([float(ms) for ms in worker.stdout.readline().split()])
    for worker in workers:
        worker.communicate()
    return took


def main():
    parser = argparse.ArgumentParser(description="Milliseconds per training step, beside those of another checkout.")
    parser.add_argument("other", type=Path, help="a checkout of the project, at another commit")
    parser.add_argument("configurations", nargs="*", help=f"of {', '.join(CONFIGURATIONS)}; without any, all")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each (default 20)")
    args = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    print(f"{processor()}, {os.cpu_count()} processors, Python {platform.python_version()}, {kernels()}")
    for name in args.configurations or CONFIGURATIONS:
        ours, others = turns([here, args.other], name, args.rounds)
        ratio = statistics.median(
            statistics.median(a) / statistics.median(b) for a, b in zip(ours, others, strict=True)
        )
        medians = [statistics.median(ms for turn in took for ms in turn) for took in (ours, others)]
        print(
            f"{name:11} here {medians[0]:8.2f} ms   there {medians[1]:8.2f} ms   here / there {ratio:.3f}", flush=True
        )


if __name__ == "__main__":
    main()
