"""Peak memory and time of ``minirnn train`` on texts of 10 MB, 100 MB and 1 GB: the memory must not grow with the text.

python tests/benchmarks/big_text.py            needs about 2.2 GB of disk, and a few minutes
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAY = Path(__file__).resolve().parents[2] / "examples" / "data" / "play.txt"
CODE = (  # Linux tells the peak of a process in /proc
    "import re, sys; from minirnn.commands.cli import main; main(sys.argv[1:]); "
    "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
)


def main() -> None:
    """Write each text, train a few steps on it, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("megabytes", nargs="*", type=int, help="sizes of the texts (10, 100, 1000)")
    parser.add_argument("--steps", type=int, default=100, help="steps to train (100)")
    args = parser.parse_args()
    for megabytes in args.megabytes or (10, 100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            write_text(text, megabytes)
            started = time.perf_counter()
            command = [sys.executable, "-c", CODE, "train", text, "--out", Path(folder) / "run"]
            options = ["--steps", args.steps, "--hidden", "128"]
            done = subprocess.run([*map(str, [*command, *options])], capture_output=True, text=True, check=True)
            peak = int(done.stdout.splitlines()[-1]) / 1024
            seconds = time.perf_counter() - started
            print(f"{megabytes:6,} MB of text: peak memory {peak:6.1f} MiB, {seconds:6.1f} s with {args.steps} steps")


def write_text(path: Path, megabytes: int) -> None:
    """Repeat the play until the file has so many million bytes."""
    play = PLAY.read_bytes()
    with path.open("wb") as file:
        left = megabytes * 10**6
        while left > 0:
            left -= file.write(play[:left])


if __name__ == "__main__":
    main()
