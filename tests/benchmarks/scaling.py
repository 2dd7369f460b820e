"""How the cost of a training step grows: with T, B, H, V, the layers, and the length of the text; each with its slope.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/scaling.py [--picture scaling.svg] [NAME ...]

One size at a time is doubled, and a line fitted to the logarithms: slope 1 is twice the time for twice the size. Theory
says what the slope is for large sizes: T, B, layers 1; H 2 for the products of the recurrence, V 1 for the output; a
step does not know how long the text is, 0. Below them what does not grow (calls, small matrices) makes it flatter;
a slope that is steeper than theory is a defect. The fit takes the upper half of the sizes. Run it on a machine that
does nothing else; it asserts nothing.
"""

import argparse
import os
import time

import numpy as np
from steps import minirnn_step, processor

import minirnn
from minirnn.commands.doctor import kernels

# The step from which each size is varied: cell, V, H, layers, embedding, B, T.
BASE = {"cell": "gru", "V": 65, "H": 128, "layers": 1, "D": None, "B": 16, "T": 32}
# name: what is varied, from what on, the sizes, and the slope of theory
SERIES = {
    "T": ({}, [16, 32, 64, 128, 256, 512], 1),
    "B": ({}, [8, 16, 32, 64, 128, 256], 1),
    "H": ({}, [64, 128, 256, 512, 1024], 2),
    "V": ({"D": 64}, [256, 1024, 4096, 16384, 65536], 1),
    "layers": ({}, [1, 2, 4, 8, 16], 1),
    "text": ({}, [10**4, 10**5, 10**6, 10**7], 0),
}


def training_step(tokens):
    """A function that takes a step of a trainer on so long a text."""
    ids = np.random.default_rng(0).integers(0, BASE["V"], tokens)
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("gru", BASE["V"], BASE["H"]), 0)
    trainer = minirnn.Trainer(model, minirnn.Adagrad(0.01), ids, batch_size=BASE["B"], seq_length=BASE["T"])
    return lambda: next(trainer.steps(1))


def milliseconds(step):
    """Median time of a step, of as many as a second holds, at least five."""
    step()
    times, began = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - began < 1:
        started = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - started))
    return float(np.median(times))


def draw(found, path):
    """Both axes logarithmic, the sizes as multiples of the smallest."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(6, 4.5))
    for name, (sizes, times, slope) in found.items():
        axes.loglog(np.array(sizes) / sizes[0], times, "o-", label=f"{name}: slope {slope:.2f}")
    axes.set(xlabel="times the smallest size", ylabel="ms a step")
    axes.legend(frameon=False)
    pyplot.savefig(path, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SERIES)}; without any, all")
    parser.add_argument("--picture", metavar="FILE", help="draw the figures, too")
    args = parser.parse_args()
    if unknown := set(args.names) - SERIES.keys():
        parser.error(f"unknown name {', '.join(sorted(unknown))}; known are {', '.join(SERIES)}")
    print(f"{processor()}, {os.cpu_count()} processors, NumPy {np.__version__}, kernels {kernels() or 'unknown'}")
    print("| size | values | ms a step | slope | theory |\n|---|---|---|---|---|")
    found = {}
    for name in args.names or SERIES:
        changes, sizes, theory = SERIES[name]
        times = [
            milliseconds(training_step(n) if name == "text" else minirnn_step(**BASE | changes | {name: n}))
            for n in sizes
        ]
        upper = slice(len(sizes) // 2 - 1, None)
        slope = np.polyfit(np.log(sizes[upper]), np.log(times[upper]), 1)[0]
        found[name] = sizes, times, slope
        values = " ".join(f"{size:,}" for size in sizes)
        print(f"| {name} | {values} | {' '.join(f'{t:.3g}' for t in times)} | {slope:.2f} | {theory} |", flush=True)
    if args.picture:
        draw(found, args.picture)


if __name__ == "__main__":
    main()
