"""Milliseconds per training step of ``minirnn train``, alone and beside programs that keep a processor busy.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/neighbours.py [--busy 1] [--rounds 5]

With the threads that the command chooses when it starts, and with one and two. Evaluations are counted in, as users
wait for them, too. Medians of the rounds are printed; nothing is asserted.
"""

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAY = Path(__file__).resolve().parents[2] / "examples" / "data" / "play.txt"
STEPS = 400


def train(preset, threads):
    """Milliseconds a step between the first report and the last, and what was said about threads."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "minirnn", "train", str(PLAY), "--out", f"{folder}/run", "--preset", preset]
        options = ["--steps", str(STEPS), "--report-every", str(STEPS // 4), "--sample-every", "0"]
        reports, said = [], ""
        with subprocess.Popen([*command, *options, *threads], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                said = line.strip() if line.startswith("threads") else said
                if line.startswith("step "):
                    reports.append(time.perf_counter())
    return 1e3 * (reports[-1] - reports[0]) / (STEPS - STEPS // 4), said


@contextlib.contextmanager
def neighbours(count):
    """So many programs that compute without a pause."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=int, default=1, help="how many programs compute beside it (1)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turn (5)")
    args = parser.parse_args()
    for preset in ("default", "minute"):
        found = {}
        for _ in range(args.rounds):
            for threads in ([], ["--threads", "1"], ["--threads", "2"]):
                for count in (0, args.busy):
                    with neighbours(count):
                        time.sleep(0.3)
                        took, said = train(preset, threads)
                    chosen = re.match(r"threads: (\d+)", said)[1]
                    found.setdefault((" ".join(threads) or "as chosen", count), []).append((took, chosen))
        for (threads, count), values in found.items():
            took, chosen = [value for value, _ in values], sorted({value for _, value in values})
            print(f"{preset:8} {threads:12} {count} busy  {statistics.median(took):7.2f} ms a step, "
                  f"{min(took):.2f} to {max(took):.2f}, threads {' or '.join(chosen)}")  # fmt: skip


if __name__ == "__main__":
    main()
