"""How surprised is a model by a text? ``minirnn score``: nats, bits and perplexity, and the surprisal of each token."""

import csv
import math
from pathlib import Path

import numpy as np

from minirnn.checks import Array
from minirnn.files.checkpoint import whole
from minirnn.model import LanguageModel
from minirnn.ops import cross_entropy_forward
from minirnn.text import UNKNOWN, Vocabulary, split_words

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


def score(model: LanguageModel, vocab: Vocabulary, text: str, unknown: str) -> tuple[list[str], Array, int]:
    """The tokens of a text, the surprisal of each in nats (NaN where it has none), and how many the model never saw.

    The first token that it knows is read, not predicted. Those that it does not know are refused, left out ("skip"), or
    cost log(V + 1) nats each ("price") and are not read; with ``<unk>`` in the vocabulary that is their price.
    """
    tokens = list(text) if vocab.kind == "chars" else split_words(text)
    known = np.array([token in vocab.ids for token in tokens], bool)
    if known.all() or UNKNOWN in vocab.ids:
        return tokens, np.append(np.nan, surprisals(model, vocab.encode(text))), int((~known).sum())
    if unknown == "refuse":
        named = ", ".join(
            sorted({repr(token) for token, is_known in zip(tokens, known, strict=True) if not is_known})[:10]
        )
        raise ValueError(
            f"{(~known).sum():,} of {len(tokens):,} {vocab.unit}s are not in the vocabulary of {len(vocab)} "
            f"{vocab.kind}: {named}; leave them out with --unknown skip, or count them with --unknown price"
        )
    nats = np.full(len(tokens), np.log(len(vocab) + 1))
    nats[known] = np.append(np.nan, surprisals(model, np.array([vocab.ids[t] for t in tokens if t in vocab.ids])))
    keep = known if unknown == "skip" else np.ones_like(known)
    return [token for token, kept in zip(tokens, keep, strict=True) if kept], nats[keep], int((~known).sum())


def show_summary(nats: Array, unknown: int, vocab: Vocabulary) -> None:
    """The mean in nats and bits, and the perplexity; and how many tokens the model never saw."""
    nats = nats[~np.isnan(nats)]
    mean = float(nats.mean())
    if unknown:
        how = f"taken for {UNKNOWN}" if UNKNOWN in vocab.ids else "left out or priced as --unknown says"
        print(f"{unknown:,} {vocab.unit}{'s' * (unknown > 1)} that the model never saw, {how}")
    print(
        f"{len(nats):,} {vocab.unit}s: {mean:.4f} nats, {mean / math.log(2):.4f} bits per {vocab.unit}, "
        f"perplexity {math.exp(min(mean, 700)):.3f}"
    )


def show_coloured(tokens: list[str], nats: Array, vocab: Vocabulary) -> None:
    """The text, each token in the colour of its surprisal."""
    for piece, surprise in zip(vocab.spaced(tokens), nats, strict=True):
        colour = next((code for limit, code in COLOURS if surprise <= limit), None)
        print(f"\033[{colour}m{piece}\033[0m" if colour else piece, end="")
    legend = "  ".join(
        f"\033[{code}m{'more' if limit == math.inf else f'up to {limit:g}'}\033[0m" for limit, code in COLOURS
    )
    print(f"\nnats per token: {legend}")


def write_csv(path: Path, tokens: list[str], nats: Array) -> None:
    """A row for each token: its position, itself, its surprisal in nats; the first has none."""
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["position", "token", "nats"])
        rows = zip(tokens, nats, strict=True)
        writer.writerows((i, token, "" if np.isnan(n) else f"{n:.6f}") for i, (token, n) in enumerate(rows))
