"""What more ranks bring: examples/data_parallel.py on 1, 2 and 4 of them, its losses compared with those of one.

    python tests/benchmarks/ranks.py [--steps 200] [--double] [--ranks 1 2 4]

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
    import numpy as np
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], help="numbers of ranks (1 2 4)")
    parser.add_argument("--steps", type=int, default=200, help="updates (200)")
    parser.add_argument("--double", action="store_true", help="in double precision")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    from steps import processor  # it loads NumPy, which the ranks do by themselves

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
