"""How surprised is a model by a text? ``minirnn score``: nats, bits and perplexity, and the surprisal of each token."""

import csv
import math
from pathlib import Path

import numpy as np

from minirnn.checks import Array
from minirnn.files.checkpoint import whole
from minirnn.model import LanguageModel
from minirnn.ops import cross_entropy_forward
from minirnn.text import Vocabulary

STEPS = 256  # tokens read at a time
# 256-colour codes from "as expected" to "what a surprise": white, yellow, orange, red; and up to how many nats.
COLOURS = ((1.0, "37"), (2.5, "38;5;229"), (4.0, "38;5;214"), (math.inf, "38;5;196"))


def surprisals(model: LanguageModel, ids: Array) -> Array:
    """Surprisal of every token but the first, in nats: ``-log p(token | all tokens before)``, shape (N-1,)."""
    if len(ids) < 2:
        raise ValueError(f"scoring needs at least 2 tokens, one to read and one to predict, got {len(ids)}")
    state, nats = model.zero_state(1), []
    inputs, targets = ids[:-1], ids[1:]
    for start in range(0, len(inputs), STEPS):
        x, y = inputs[start : start + STEPS], targets[start : start + STEPS]
        logits, state = model.logits(x[:, None], state)  # (T, V, 1)
        nats += [cross_entropy_forward(logits[t], y[[t]], np.ones(1))[0] for t in range(len(y))]
    return np.array(nats)


def show_summary(nats: Array, vocab: Vocabulary) -> None:
    """The mean in nats and bits, and the perplexity."""
    mean = float(nats.mean())
    print(
        f"{len(nats):,} {vocab.unit}s: {mean:.4f} nats, {mean / math.log(2):.4f} bits per {vocab.unit}, "
        f"perplexity {math.exp(min(mean, 700)):.3f}"
    )


def show_coloured(ids: Array, nats: Array, vocab: Vocabulary) -> None:
    """The text, each token in the colour of its surprisal."""
    first, *rest = vocab.spaced(vocab.tokens[i] for i in ids)
    print(first, end="")
    for piece, surprise in zip(rest, nats, strict=True):
        colour = next(code for limit, code in COLOURS if surprise <= limit)
        print(f"\033[{colour}m{piece}\033[0m", end="")
    legend = "  ".join(
        f"\033[{code}m{'more' if limit == math.inf else f'up to {limit:g}'}\033[0m" for limit, code in COLOURS
    )
    print(f"\nnats per token: {legend}")


def write_csv(path: Path, ids: Array, nats: Array, vocab: Vocabulary) -> None:
    """A row for each token: its position, itself, its surprisal in nats; the first has none."""
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["position", "token", "nats"])
        writer.writerow([0, vocab.tokens[ids[0]], ""])
        writer.writerows((i, vocab.tokens[ids[i]], f"{n:.6f}") for i, n in enumerate(nats, 1))
