"""Milliseconds per training step: this package, its bare matrix products, a plain loop, and numpy-ml and PyTorch.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python tests/benchmarks/steps.py [--rounds 12] [CONFIGURATION ...]
                                                                                  [--picture steps.svg]

A step is forward, backward, clipping and Adagrad, in single precision (the plain loop in double, as it was written),
on random tokens. The contestants run in turn, some steps each, with a pause before each turn: worker threads spin for
a while after their last task, and would take the next contestant's processor. Medians over all steps are printed, and
how many times longer than ours the others take. Of numpy-ml only the cells can be made, not the layers: its row is
their forward and backward pass in double precision, without output layer and update. What is not installed has no
row. Run it on a machine that does nothing else; it asserts nothing.
"""

import argparse
import collections.abc
import copy
import os
import platform
import re
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import reference

import minirnn
from minirnn import CELLS
from minirnn.commands.doctor import kernels
from minirnn.train import keep_freed_memory

# name: cell, V, H, layers, width of the embedding (None: one-hot), B, T
CONFIGURATIONS = {
    "karpathy": ("rnn", 65, 100, 1, None, 1, 25),
    "tanh256": ("rnn", 65, 256, 1, None, 32, 50),
    "charrnn": ("lstm", 65, 128, 2, None, 50, 50),
    "goerner": ("gru", 98, 512, 3, None, 100, 30),
    "ptb-small": ("lstm", 10_000, 200, 2, 200, 20, 20),
    "ptb-medium": ("lstm", 10_000, 650, 2, 650, 20, 35),
}


def minirnn_step(cell, V, H, layers, D, B, T):
    """A function that trains this package's model by one step."""
    rng = np.random.default_rng(0)
    model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, V, H, layers, D), rng)
    optimizer = minirnn.Adagrad(0.01)
    x, y = rng.integers(0, V, (2, T, B))
    state = model.zero_state(B)
    keep_freed_memory()  # as the Trainer does

    def step():
        nonlocal state
        _, grads, state = model.loss_and_grads(x, y, state)
        if B == 1:
            minirnn.clip_value(grads, 5.0)
        else:
            minirnn.clip_norm(grads, 5.0)
        optimizer.step(model.params, grads)

    return step


def products_step(cell, V, H, layers, D, B, T):
    """The floor: the matrix products of a step, of the same shapes and in the same order, and nothing between them."""
    rng, gates = np.random.default_rng(0), {"rnn": 1, "gru": 3, "lstm": 4}[cell]

    def matrix(rows, columns):
        return rng.standard_normal((rows, columns), np.float32)

    inputs = [D or V] + [H] * (layers - 1)
    Wxh, Whh = [matrix(gates * H, size) for size in inputs], matrix(gates * H, H)
    x, h, a, Why = [matrix(size, T * B) for size in inputs], matrix(H, B), matrix(gates * H, B), matrix(V, H)
    h_bag, a_bag, logits = matrix(H, T * B), matrix(gates * H, T * B), matrix(V, T * B)

    def step():
        for layer in range(layers):
            Wxh[layer] @ x[layer]
            for _ in range(T):
                Whh @ h
        Why @ h_bag
        Why.T @ logits, logits @ h_bag.T
        for layer in range(layers):
            for _ in range(T):
                Whh.T @ a
            a_bag @ x[layer].T, a_bag @ h_bag.T, Wxh[layer].T @ a_bag

    return step


def plain_step(cell, V, H, layers, D, B, T):
    """The same with the reference implementation, which knows one layer of tanh units and one sequence at a time."""
    if (cell, layers, D) != ("rnn", 1, None):
        return None
    rng = np.random.default_rng(0)
    model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, V, H), rng, np.float64)
    params = {name.removeprefix("rnn0."): p for name, p in model.params.items()}
    memory = {name: np.zeros_like(p) for name, p in params.items()}
    x, y = rng.integers(0, V, (2, B, T)).tolist()
    states = [np.zeros((H, 1))] * B

    def step():
        total = dict.fromkeys(params, 0.0)
        for b in range(B):
            _, grads, states[b] = reference.loss_and_grads(params, x[b], y[b], states[b])
            total = {name: total[name] + grads[name] for name in params} if B > 1 else grads
        reference.clip_and_adagrad(params, total, memory, rate=0.01)

    return step


def numpy_ml_step(cell, V, H, layers, D, B, T):
    """The cells of numpy-ml, which has no GRU, on input that is there already; None where it is not installed."""
    collections.Hashable = collections.abc.Hashable  # where its release, of 2020, looks for it
    try:
        with warnings.catch_warnings(action="ignore"):
            from numpy_ml.neural_nets.layers import LSTMCell, RNNCell
    except ImportError:
        return None
    if cell == "gru":
        return None
    stack = [{"rnn": RNNCell, "lstm": LSTMCell}[cell](H) for _ in range(layers)]
    rng = np.random.default_rng(0)
    x, dh = rng.standard_normal((T, B, D or V)), rng.standard_normal((T, B, H))
    stack[0].forward(x[0])  # its size is that of the first input
    for below in stack[1:]:
        below.forward(dh[0])
    empty = {
        name: None if "accumulator" in name else 0 if "step" in name else [] for name in stack[0].derived_variables
    }

    def step():
        for one in stack:
            one.flush_gradients()
            one.X, one.derived_variables = [], copy.deepcopy(empty)
        for t in range(T):
            h = x[t]
            for one in stack:
                h = one.forward(h)
                h = h[0] if cell == "lstm" else h  # the other is c
        for t in reversed(range(T)):
            dx = dh[t]
            for one in reversed(stack):
                dx = one.backward(dx)

    return step


def torch_step(cell, V, H, layers, D, B, T):
    """The same with PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    layer = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](D or V, H, layers)
    embedding = torch.nn.Embedding(V, D) if D else None
    output = torch.nn.Linear(H, V)
    parameters = [p for module in (embedding, layer, output) if module for p in module.parameters()]
    optimizer = torch.optim.Adagrad(parameters, lr=0.01)
    x, y = torch.randint(0, V, (2, T, B))
    state = torch.zeros(layers, B, H)
    if cell == "lstm":
        state = (state, state.clone())

    def step():
        nonlocal state
        inputs = embedding(x) if embedding else torch.nn.functional.one_hot(x, V).float()
        h, last = layer(inputs, state)
        state = tuple(s.detach() for s in last) if cell == "lstm" else last.detach()
        loss = torch.nn.functional.cross_entropy(output(h).reshape(-1, V), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        if B == 1:
            torch.nn.utils.clip_grad_value_(parameters, 5.0)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()

    return step


def processor():
    """The name of the processor, as far as the system tells it."""
    about = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", about.read_text()) if about.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def measure(contestants, rounds):
    """Median milliseconds of a step of each, in turns of about a tenth of a second."""
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, step in contestants.items():
            time.sleep(0.1)
            turn_started, warming = time.perf_counter(), 3
            while time.perf_counter() - turn_started < 0.15 or warming > -5:
                started = time.perf_counter()
                step()
                warming -= 1
                if warming < 0:
                    times[name].append(1e3 * (time.perf_counter() - started))
    return {name: float(np.median(values)) for name, values in times.items()}


def draw(found, path):
    """A bar for each contestant, in multiples of the bare products."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    labels = list(dict.fromkeys(label for medians in found.values() for label in medians))
    _, axes = pyplot.subplots(figsize=(9, 4))
    for i, label in enumerate(labels):
        bars = [medians.get(label, np.nan) / medians["products"] for medians in found.values()]
        drawn = axes.bar(np.arange(len(found)) + (i - len(labels) / 2) * 0.8 / len(labels), bars, 0.8 / len(labels),
                         align="edge", label=label)  # fmt: skip
        axes.bar_label(drawn, [f"{bar:.1f}" if bar > 0 else "" for bar in bars], fontsize=6)
    axes.set(yscale="log", ylabel="times the bare matrix products", xticks=range(len(found)), xticklabels=found)
    axes.legend(frameon=False)
    pyplot.savefig(path, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description="Milliseconds per training step, side by side.")
    parser.add_argument("configurations", nargs="*", help=f"of {', '.join(CONFIGURATIONS)}; without any, all")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each contestant")
    parser.add_argument("--picture", metavar="FILE", help="draw the figures, too")
    args = parser.parse_args()
    if unknown := set(args.configurations) - CONFIGURATIONS.keys():
        parser.error(f"unknown configuration {', '.join(sorted(unknown))}; known are {', '.join(CONFIGURATIONS)}")

    settings = {name: value for name, value in os.environ.items() if name.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    print(f"NumPy {np.__version__}, kernels {kernels() or 'unknown'}, {settings or 'no BLAS settings'}")
    threads = settings.get("OPENBLAS_NUM_THREADS") or settings.get("OMP_NUM_THREADS") or os.cpu_count()
    print(f"{processor()}, {os.cpu_count()} processors, {threads} BLAS threads")
    found = {}
    for name in args.configurations or CONFIGURATIONS:
        cell, V, H, layers, D, B, T = configuration = CONFIGURATIONS[name]
        makers = {"minirnn": minirnn_step, "products": products_step, "plain loop": plain_step,
                  "numpy-ml": numpy_ml_step, "PyTorch": torch_step}  # fmt: skip
        contestants = {label: step for label, make in makers.items() if (step := make(*configuration))}
        found[name] = medians = measure(contestants, args.rounds)
        print(f"{name}: {cell}, V {V}, {layers} x {H}, {'one-hot' if D is None else f'embedding {D}'}, B {B}, T {T}")
        for label, median in medians.items():
            print(f"  {label:10} {median:8.3f} ms   {median / medians['minirnn']:5.2f} x ours   "
                  f"{median / medians['products']:5.2f} x the products")  # fmt: skip
    if args.picture:
        draw(found, args.picture)


if __name__ == "__main__":
    assert all(configuration[0] in CELLS for configuration in CONFIGURATIONS.values())
    main()
