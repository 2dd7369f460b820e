"""What more ranks bring: examples/data_parallel.py on 1, 2 and 4 of them, its losses compared with those of one.

    python tests/benchmarks/ranks.py [--steps 200] [--double] [--ranks 1 2 4]
    python tests/benchmarks/ranks.py --paper           the cost model of docs/scaling.md, measuring nothing

Needs mpi4py and mpirun. The model is that of --preset minute, the text the play of the examples. Prints a row for each
number of ranks, the time of a step divided into the ranks' own work and Allreduce (in which a rank also waits for
slower ones), and what Allreduce takes by itself for 8 bytes and for the gradients. Run it on a machine that does
nothing else, with a processor for each rank; it asserts nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of each rank

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(Path(__file__).parent)]


def launch(ranks, args):
    """What rank 0 of so many found."""
    command = ["mpirun", "-n", ranks, sys.executable, __file__, "--steps", args.steps, "--worker"]
    mpirun = Path(sys.executable).with_name("mpirun")
    command[0] = mpirun if mpirun.exists() else command[0]
    may = {f"{who}_ALLOW_RUN_AS_ROOT{sure}": "1" for who in ("OMPI", "PRTE") for sure in ("", "_CONFIRM")}
    may["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    command += ["--double"] * args.double
    done = subprocess.run([*map(str, command)], env=os.environ | may, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(args):
    """One rank: train, and take the time of every step and of its Allreduce."""
    import data_parallel
    from mpi4py import MPI

    class Timed:
        """The communicator, with a clock."""

        rank, size, bcast, gather = (getattr(MPI.COMM_WORLD, name) for name in ("rank", "size", "bcast", "gather"))
        seconds, bytes = 0.0, 0

        def Allreduce(self, mine, total):  # noqa: N802
            started = time.perf_counter()
            MPI.COMM_WORLD.Allreduce(mine, total)
            self.seconds += time.perf_counter() - started
            self.bytes = mine.nbytes

    def alone(size, repeats=50):
        mine, total = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        times = []
        for _ in range(repeats):
            MPI.COMM_WORLD.Barrier()
            started = time.perf_counter()
            MPI.COMM_WORLD.Allreduce([mine, MPI.FLOAT], [total, MPI.FLOAT])
            times.append(time.perf_counter() - started)
        return 1e3 * float(np.median(times))

    comm, losses, steps, shared = Timed(), [], [], []
    with tempfile.TemporaryDirectory() as folder:
        options = {"preset": "minute", "steps": args.steps, "report_every": 10**9, "resume": False}
        text, out = str(ROOT / "examples" / "data" / "play.txt"), str(Path(folder) / "model.npz")
        started = time.perf_counter()
        for report in data_parallel.train(argparse.Namespace(**options, text=text, out=out, double=args.double), comm):
            losses.append(report.loss)
            steps.append(1e3 * (time.perf_counter() - started))
            shared.append(1e3 * comm.seconds)
            comm.seconds, started = 0.0, time.perf_counter()
    step, reducing = np.median(steps[1:-1]), np.median(shared[1:-1])
    found = {"ms": step, "reduce": reducing, "bytes": comm.bytes, "losses": losses}
    found |= {"8 bytes": alone(8), "gradients": alone(comm.bytes // 4 * 4)}
    if comm.rank == 0:
        print(json.dumps(found), flush=True)


# name: parameters, of them in products, steps of a slice, columns of a rank, parameters of the recurrence
MODELS = {"minute": (264_257, 264_257, 32, 32, 3 * 256**2), "large": (66_022_000, 51_022_000, 35, 20, 8 * 1500**2)}
NETWORKS = {"1 GB/s, 30 us": (1e9, 30e-6), "10 GB/s, 2 us": (1e10, 2e-6)}  # bytes and seconds a message
RATE, CACHE = 40e9, 20e9  # operations, and bytes of weights read in a product of few columns, a second and rank


def on_paper():
    """The time of a step and its efficiency by the formula: with as many columns on each rank, and with one batch."""
    for name, (parameters, multiplied, T, columns, recurrent) in MODELS.items():
        for network, (bandwidth, latency) in NETWORKS.items():
            print(f"{name}, {network}\n| ranks | Allreduce, ms | {columns} columns each: ms | efficiency | "
                  f"{columns} columns in all: ms | times as fast |\n|---|---|---|---|---|---|")  # fmt: skip

            def work(b, multiplied=multiplied, T=T, recurrent=recurrent):  # seconds of b columns
                return max(6 * multiplied * T * b / RATE, 2 * 4 * recurrent * T / CACHE)

            for n in (1, 4, 16, 64, 1024):
                share = 2 * (n - 1) / n * 4 * parameters / bandwidth + 2 * np.log2(n) * latency
                weak = work(columns) + share
                one = work(-(-columns // n)) + share  # of the rank with most columns
                strong = f"{1e3 * one:.1f} | {work(columns) / one:.1f}"
                print(f"| {n:,} | {1e3 * share:.1f} | {1e3 * weak:.1f} | {100 * work(columns) / weak:.0f} % | "
                      f"{strong if n <= columns else ' | '} |")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], help="numbers of ranks (1 2 4)")
    parser.add_argument("--steps", type=int, default=200, help="updates (200)")
    parser.add_argument("--double", action="store_true", help="in double precision")
    parser.add_argument("--paper", action="store_true", help="the cost model, and no measurement")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    if args.paper:
        return on_paper()
    from steps import processor

    print(f"{processor()}, {os.cpu_count()} processors, one thread a rank, {'float64' if args.double else 'float32'}")
    print("| ranks | ms a step | own work | Allreduce | of 8 bytes alone | of the gradients alone | times as fast | "
          "losses differ by |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    first = None
    for ranks in args.ranks:
        found = launch(ranks, args)
        first = first or found
        apart = max(abs(a - b) for a, b in zip(found["losses"], first["losses"], strict=True))
        ms, reducing = found["ms"], found["reduce"]
        print(f"| {ranks} | {ms:.1f} | {ms - reducing:.1f} | {reducing:.2f} | {found['8 bytes']:.3f} | "
              f"{found['gradients']:.2f} ({found['bytes'] / 1e6:.2f} MB) | {first['ms'] / ms:.2f} | "
              f"{apart:.1g} |", flush=True)  # fmt: skip
    return None


if __name__ == "__main__":
    main()
