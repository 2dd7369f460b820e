"""What do the units of a network know about the text? Its properties, correlations, probes, and what chance gives.

Whoever looks at hundreds of units for one that goes with a property will find one. So the first half of the text
chooses the unit, the second half says how well it does, and all of it is done again with the text shifted against the
states, a hundred times: that keeps the rhythm of both and takes away the meaning. (Shuffled text would lose the rhythm
too, and so be beaten by any slow unit beside any slow property.) Nothing is claimed that is not better than the best of
all units at all the hundred.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minirnn.checks import Array
from minirnn.model import LanguageModel, stack_forward
from minirnn.plots import gradient_of_loss, step_back
from minirnn.text import END_OF_LINE

SHIFTS = 100  # of the text against the states
FEWEST = 200  # tokens of a text in which something can be found
PAIRS = {"[": "]", "(": ")", "{": "}", "“": "”", "«": "»"}
VOWELS = "aeiouäöüàáâèéêíìîóòôúùûаеёиоуыэюяαεηιουω"  # noqa: RUF001
SPEAKER = re.compile(r"[^\W\d_][\w .'’-]{0,30}[:.]?")  # noqa: RUF001


# --- properties of a text ---------------------------------------------------------------------------


def properties(tokens: Sequence[str]) -> dict[str, Array]:
    """What can be said of each token: arrays (T,) by name, 0 or 1 where it is so or not, else a number.

    "speaker's name" looks ahead, to the colon at the end of its line, and "next: ..." to the token that comes next.
    """
    newline = np.array([token in ("\n", END_OF_LINE) for token in tokens])
    words = any(len(token) > 1 for token in tokens if token != END_OF_LINE)
    since = steps_since(newline)
    first = [token[0] for token in tokens]
    found: dict[str, Array] = {
        "place in the line": since,
        "time since a line's end, log": np.log1p(since),
        "capital letter": np.array([c.isupper() for c in first]),
        "digit": np.array([any(c.isdigit() for c in token) for token in tokens]),
        "punctuation": np.array([not (c.isalnum() or c.isspace() or c == "<") for c in first]),
        "inside brackets": inside(tokens, "[({"),
        "inside quotes": inside(tokens, '"“«'),
        "speaker's name": speakers(tokens, newline),
    }
    if words:
        found["length of the word"] = np.array([len(token) for token in tokens])
    else:
        letter = np.array([token.isalpha() for token in tokens])
        found["vowel"] = np.array([token.lower() in VOWELS for token in tokens])
        found["space"] = np.array([token == " " for token in tokens])
        found |= {f"next: {name}": np.append(found[name][1:], False) for name in ("vowel", "space", "capital letter")}
        found["line's end"] = newline
        found["place in the word"] = np.where(letter, steps_since(~letter), 0)
    return {name: values.astype(np.float64) for name, values in found.items()}


def steps_since(event: Array) -> Array:
    """How many steps ago the last event was, (T,): 0 at an event; before the first one, counted from the start."""
    steps = np.arange(len(event))
    return steps - np.maximum.accumulate(np.where(event, steps, -1))


def inside(tokens: Sequence[str], openers: str) -> Array:
    """Whether a bracket or quotation mark is open after each token."""
    closers: list[str] = []
    result = []
    for token in tokens:
        for c in token:
            if closers and c == closers[-1]:
                closers.pop()
            elif c in openers:
                closers.append(PAIRS.get(c, c))
        if token in ("\n", END_OF_LINE) and len(closers) > 3:
            closers.clear()  # a text that opens and never closes
        result.append(bool(closers))
    return np.array(result, bool)


def speakers(tokens: Sequence[str], newline: Array) -> Array:
    """Whether a token is in a line that holds a speaker's name and nothing else: ``ROMEO:``, or ``First Citizen:``."""
    result, start = np.zeros(len(tokens), bool), 0
    for end in [*np.flatnonzero(newline), len(tokens)]:
        line = ("" if max(map(len, tokens)) == 1 else " ").join(tokens[start:end]).strip()
        result[start:end] = line.endswith(":") and bool(SPEAKER.fullmatch(line))
        start = end + 1
    return result


# --- what goes with what ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What a network's units know of one property. All figures are correlations on held-out text, from -1 to 1."""

    name: str
    unit: int  # the one that the first half of the text chose
    r: float  # its correlation with the property on the second half
    chance: float  # the largest of |r| that any unit had with text shifted against the states
    probe: float  # correlation of a linear probe of all units, fitted on the first half
    probe_chance: float  # the same of probes fitted to shifted text

    @property
    def claimed(self) -> bool:
        """Whether the unit does better than chance."""
        return abs(self.r) > self.chance


def standard(a: Array) -> Array:
    """Columns with mean 0 and norm 1, so that a product of two is their correlation; constant ones are all 0."""
    a = a - a.mean(axis=0)
    norm = np.linalg.norm(a, axis=0)
    return np.divide(a, norm, out=np.zeros_like(a), where=norm > 1e-9)


def find(units: Array, given: dict[str, Array], rng: np.random.Generator) -> tuple[list[Finding], Array]:
    """Look for what ``units`` (T, U) know of the properties given, those that are claimed first, then those known best.

    Returns the findings, and the correlation of every unit with every finding's property on the second half (U, F).
    Properties that hardly vary in either half are left out, and of a text of less than 200 tokens nothing is said.
    """
    half = len(units) // 2
    found: list[tuple[Finding, Array]] = []
    if len(units) < FEWEST:
        return [], np.zeros((units.shape[1], 0))
    first, second = standard(units[:half]), standard(units[half:])
    scaled = first * np.sqrt(half)  # a probe's inputs, all of the same size; those of the second half by the same scale
    spread = np.maximum(units[:half].std(axis=0), 1e-6)
    fit = np.linalg.solve(scaled.T @ scaled + 0.01 * half * np.eye(units.shape[1]), scaled.T)  # ridge regression
    offsets = rng.integers(len(units) // 10, len(units) - len(units) // 10, SHIFTS)
    for name, values in given.items():
        if min(np.count_nonzero(part != np.median(part)) for part in (values[:half], values[half:])) < 10:
            continue
        shifted = np.stack([values, *(np.roll(values, offset) for offset in offsets)], axis=1)  # (T, 1 + SHIFTS)
        known, held_out = standard(shifted[:half]), standard(shifted[half:])
        r = second.T @ held_out  # (U, 1 + SHIFTS)
        chosen = int(np.abs(first.T @ known[:, 0]).argmax())
        probes = standard((units[half:] - units[:half].mean(axis=0)) / spread @ (fit @ known))
        probe = (probes * held_out).sum(axis=0)
        chance = float(np.abs(r[:, 1:]).max()), float(np.abs(probe[1:]).max())
        finding = Finding(name, chosen, float(r[chosen, 0]), chance[0], float(probe[0]), chance[1])
        found.append((finding, r[:, 0]))
    found.sort(key=lambda pair: (not pair[0].claimed, -abs(pair[0].r)))
    return [f for f, _ in found], np.array([r for _, r in found]).reshape(-1, units.shape[1]).T


def by_similarity(units: Array) -> Array:
    """The numbers of ``units`` (T, U) in an order in which those that go together stand together.

    Their angles in the plane of the two main axes of their correlations (Friendly, 2002).
    """
    values = standard(units.astype(np.float64))
    _, axes = np.linalg.eigh(values.T @ values)
    angle = np.arctan2(axes[:, -2], axes[:, -1]) if units.shape[1] > 1 else np.zeros(1)
    order = np.argsort(angle, kind="stable")
    gap = np.diff(angle[order], append=angle[order[0]] + 2 * np.pi).argmax()  # begin after the widest gap
    return np.roll(order, -gap - 1)


# --- what a loss depends on ---------------------------------------------------------------------------


def connectivity(model: LanguageModel, ids: Array, steps: int) -> Array:
    """How strongly each prediction depends on the inputs before it.

    Entry (t, k) of the result (T - 1, steps) is the norm of the gradient of ``-log p(ids[t + 1])`` with respect to
    ``x[t - k]``, the input vector k steps earlier, by our own backward pass; 0 before the text begins.
    """
    found, config = model.trace(ids[:-1]), model.config
    T = len(ids) - 1
    letters = ("h", "c") if config.cell == "lstm" else ("h",)
    # Every position is a column of its own: each reads one token, from the state that it found.
    before = tuple(
        tuple(np.pad(found[f"{config.cell} {layer} {letter}"][:-1].T, ((0, 0), (1, 0))) for letter in letters)
        for layer in range(1, config.layers + 1)
    )
    h, _, (_, _, layers) = stack_forward(config, model.params, ids[None, :-1], before, None)  # (1, H, T)
    caches = [cache for cache, _ in layers]
    dh = gradient_of_loss(model, h, ids[None, 1:])
    dstates: list = [None] * config.layers
    norms = np.zeros((T, steps))
    for k in range(min(steps, T)):
        dx, dstates = step_back(model, caches, dh, dstates)
        norms[k:, k] = np.linalg.norm(dx[0], axis=0)  # columns t = k ... T-1, at the step s = t - k
        dh = np.zeros_like(dh[..., 1:])
        dstates = [tuple(d[:, 1:] for d in dstate) for dstate in dstates]
        caches = [(params, *(array[..., :-1] for array in arrays)) for params, *arrays in caches]
    return norms
