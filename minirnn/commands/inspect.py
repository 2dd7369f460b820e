"""What goes on in a network while it reads? ``minirnn inspect``: one page for a browser, or a text in colours.

The page is ``page/inspect.html`` with its style and its script put in, and with the numbers as JSON: arrays are base64
of small integers with a scale. It loads nothing, so it can be kept and sent.
"""

import base64
import json
import math
import unicodedata
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.checks import Array
from minirnn.commands import probes
from minirnn.commands.folder import described
from minirnn.commands.progress import beside
from minirnn.commands.run import load_ids, split
from minirnn.files.checkpoint import Checkpoint, load_checkpoint, whole
from minirnn.model import LanguageModel
from minirnn.sample import sample
from minirnn.text import Vocabulary, split_words

BYTES = 2_300_000  # of states and gates in a page, which as base64 are a third more
STEPS_BACK, WORK = (16, 64), 3.2e10  # how far gradients are followed, and how many multiplications they may take
BEST = 5  # next tokens that are shown
SLICE = 256  # tokens whose logits are computed at a time
STATES, GATES = ("h", "c"), tuple("rzifo")  # gates are between 0 and 1; the candidates n and g are neither
# Backgrounds of a terminal, from -1 (blue) over 0 to 1 (orange), which all readers can tell apart; and without colours.
COLOURS = ("48;5;25;38;5;231", "48;5;74;38;5;16", "48;5;153;38;5;16", "", "48;5;223;38;5;16", "48;5;215;38;5;16",
           "48;5;166;38;5;231")  # fmt: skip
BLOCKS = "▁▂▃▄▅▆▇█"


# --- which text -----------------------------------------------------------------------------------------


def text_of_run(checkpoint: Checkpoint, path: Path, length: int) -> tuple[list[str], str]:
    """The tokens that are looked at where no text is named, and where they are from.

    Those set aside for validation; where there are none, or no folder of a run, what the model writes itself.
    """
    vocab = checkpoint.vocab
    if checkpoint.settings and (path.parent / "text.npy").exists():
        settings, text = described(checkpoint, path)
        parts = load_ids(path.parent / "text.npy", text["tokens"])
        valid = split(parts[0], settings.valid)[1] if len(parts) == 1 else parts[1]
        if len(valid):
            return [vocab.tokens[i] for i in valid[:length]], "the text set aside for validation"
    return list(sample(checkpoint.model, vocab, 0, length=length)), "a text that the model wrote itself"


def tokens_of(text: str, kind: str, length: int) -> list[str]:
    """The first tokens of a text."""
    tokens = list(text[:length]) if kind == "chars" else split_words(text)[:length]
    if not tokens:
        raise ValueError("the text is empty; there is nothing to look at")
    return tokens


def counted(vocab: Vocabulary, tokens: Sequence[str]) -> str:
    """How many tokens, with their unit."""
    return f"{len(tokens):,} {vocab.unit}{'s' * (len(tokens) != 1)}"


def encode(vocab: Vocabulary, tokens: Sequence[str]) -> Array:
    """The ids of tokens, as :meth:`Vocabulary.encode` gives them for a text."""
    return vocab.encode("".join(tokens) if vocab.kind == "chars" else " ".join(tokens))


# --- the numbers of the page ----------------------------------------------------------------------------


def pack(values: Array, dtype: str, scale: float = 1.0) -> dict[str, Any]:
    """An array as JSON can hold it: ``values`` are about the decoded integers times ``scale``."""
    limits = np.iinfo(dtype)
    stored = np.clip(np.rint(np.asarray(values) / scale), limits.min, limits.max).astype(f"<{dtype}")
    return {"type": dtype, "scale": scale, "data": base64.b64encode(stored.tobytes()).decode()}


def predictions(model: LanguageModel, ids: Array) -> tuple[Array, Array, Array, Array]:
    """After each token: the most probable next ones (T, n), their probabilities, and of the one that did come next
    its surprisal in nats and its rank, counted from 1 (T - 1,)."""
    state, n = model.zero_state(1), min(BEST, model.config.vocab_size)
    best, p_best, nats, ranks = [], [], [], []
    for start in range(0, len(ids), SLICE):
        logits, state = model.logits(ids[start : start + SLICE, None], state)
        logits = logits[:, :, 0].astype(np.float64)  # (t, V)
        log_p = logits - logits.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        top = np.argsort(-log_p, axis=1, kind="stable")[:, :n]
        best.append(top)
        p_best.append(np.exp(np.take_along_axis(log_p, top, axis=1)))
        targets = ids[start + 1 : start + 1 + len(log_p)]
        found = log_p[np.arange(len(targets)), targets]
        nats.append(-found)
        ranks.append(1 + (log_p[: len(targets)] > found[:, None]).sum(axis=1))
    return tuple(np.concatenate(parts) for parts in (best, p_best, nats, ranks))  # type: ignore[return-value]


def network(name: str, checkpoint: Checkpoint, tokens: list[str], share: float = 1.0) -> dict[str, Any]:
    """All that the page shows of one network; ``share`` of the bytes are its own."""
    model, vocab = checkpoint.model.astype(np.float32), checkpoint.vocab
    try:
        ids = encode(vocab, tokens)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    best, p_best, nats, ranks = predictions(model, ids)
    traces = model.trace(ids)
    findings, known = look(model, traces, ids, tokens)
    steps = int(np.clip(WORK / model.size / len(ids), *STEPS_BACK))  # of a large network fewer, but from every place
    positions = min(len(ids) - 1, max(1, int(WORK / model.size / steps)))
    reach = probes.connectivity(model, ids[: positions + 1], steps) if positions else np.zeros((0, steps))
    config = model.config
    return {
        "name": name,
        "about": about(checkpoint, nats),
        "vocabulary": vocab.tokens,
        "best": {"n": best.shape[1], "ids": pack(best, "i4"), "p": pack(p_best, "u2", 1 / 65535)},
        "surprisal": pack(nats, "u2", 0.001),
        "rank": pack(ranks, "i4"),
        "parts": parts(traces, np.abs(known) - [f["chance"] for f in findings], config.hidden_size, share * BYTES),
        "findings": findings,
        "known": {"U": len(known), "F": len(findings), "r": pack(known, "i1", 1 / 127)},
        # Decades, from 1e-10 on; 0 is nothing.
        "reach": {"steps": steps, "positions": positions,
                  "decades": pack(1 + 20 * (10 + np.log10(np.maximum(reach, 1e-12))), "u1")},
        "norms": norms(checkpoint),
    }  # fmt: skip


def about(checkpoint: Checkpoint, nats: Array) -> str:
    """A network in one line."""
    config, unit = checkpoint.model.config, checkpoint.vocab.unit
    line = f"{config.layers} x {config.hidden_size} {config.cell}, {checkpoint.model.size:,} parameters"
    line += f", {len(checkpoint.vocab):,} different {unit}s"
    if checkpoint.training:
        line += f", trained for {checkpoint.training['step']:,} steps"
    if len(nats):
        line += f"; on this text {nats.mean():.3f} nats, {beside(float(nats.mean()), unit)}"
    return line


def look(
    model: LanguageModel, traces: dict[str, Array], ids: Array, tokens: list[str]
) -> tuple[list[dict[str, Any]], Array]:
    """What the units know, the same of a network of this shape that has learned nothing, and every unit's figures."""
    names = [name for name in traces if name.endswith(STATES)]
    units, given = states(traces), probes.properties(tokens)
    found, known = probes.find(units, given, np.random.default_rng(0))
    new = LanguageModel.init(model.config, 0)
    untrained = {f.name: f for f in probes.find(states(new.trace(ids)), given, np.random.default_rng(0))[0]}
    H = model.config.hidden_size
    return [
        {
            "name": f.name, "part": names[f.unit // H], "unit": f.unit % H, "r": f.r, "chance": f.chance,
            "claimed": f.claimed, "probe": f.probe, "probeChance": f.probe_chance,
            "untrained": untrained[f.name].r, "untrainedProbe": untrained[f.name].probe,
        }
        for f in found
    ], known  # fmt: skip


def states(traces: dict[str, Array]) -> Array:
    """The states of all layers side by side, (T, U), without the gates."""
    return np.concatenate([a for name, a in traces.items() if name.endswith(STATES)], axis=1)


def parts(traces: dict[str, Array], above: Array, H: int, limit: float) -> list[dict[str, Any]]:
    """Every state and gate: of the states as many units as the page has room for, of the gates what is left.

    Those that with some property are most ``above`` chance (U, F) come first: it is the others that are left out.
    """
    T = len(next(iter(traces.values())))
    is_state = [name.endswith(STATES) for name in traces]
    room = max(1, min(H, int(limit / T / sum(is_state))))
    rest = (limit - T * room * sum(is_state)) / T / max(1, len(traces) - sum(is_state))
    made: list[dict[str, Any]] = []
    start, order = 0, np.arange(H)
    for (name, values), state in zip(traces.items(), is_state, strict=True):
        if state:
            strength = above[start : start + H].max(axis=1, initial=-1)
            start += H
        if name.endswith("h"):
            order = np.argsort(-strength, kind="stable")
        kept = order[: room if state else max(1, min(room, int(rest)))]
        gate = name.endswith(GATES)
        size = 1.0 if name[-1] != "c" else max(1.0, float(np.abs(values).max()))
        counts, _ = np.histogram(values / size, bins=32, range=(0 if gate else -1, 1))
        made.append({
            "name": name, "hidden": H, "low": 0 if gate else -size, "high": size, "units": kept.tolist(),
            "values": pack(values[:, kept].T, "u1" if gate else "i1", 1 / 255 if gate else size / 127),
            "first": start - H if state else None,  # its first row among the known
            "order": [int(kept[i]) for i in probes.by_similarity(values[:, kept])],
            "histogram": counts.tolist(),
            "saturated": [float((values < (0.1 if gate else -0.9 * size)).mean()), float((values > 0.9 * size).mean())],
            "mean": float(values.mean()),
        })  # fmt: skip
    return made


def norms(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The norms over training, where the run has kept them: a row for each parameter."""
    rows = [row for row in checkpoint.history if "weights" in row]
    if len(rows) < 2:
        return None
    columns = {key: [[finite(row[key][i]) for row in rows] for i in range(len(rows[0][key]))]
               for key in ("weights", "gradients")}  # fmt: skip
    return {"steps": [row["step"] for row in rows], "names": list(checkpoint.model.params), **columns}


def finite(value: float) -> float | None:
    """A number to four digits; none of JSON's if it is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


# --- the page -------------------------------------------------------------------------------------------


def page(named: Sequence[tuple[str, Checkpoint]], tokens: list[str], source: str) -> str:
    """The page, as HTML; ValueError if a network does not know a token of the text."""
    vocab = named[0][1].vocab
    if any(checkpoint.vocab.kind != vocab.kind for _, checkpoint in named):
        kinds = " and ".join(f"{name} reads {checkpoint.vocab.kind}" for name, checkpoint in named)
        raise ValueError(f"two networks are compared on the same tokens, but {kinds}")
    distinct = sorted(set(tokens))
    numbers = {token: i for i, token in enumerate(distinct)}
    data = {
        "source": f"{source}, {counted(vocab, tokens)}",
        "unit": vocab.unit,
        "distinct": distinct,
        "text": pack(np.array([numbers[token] for token in tokens]), "i4"),
        "networks": [network(name, checkpoint, tokens, 1 / len(named)) for name, checkpoint in named],
    }
    # In a script element only "<" could end the data; a text may hold anything.
    numbers_json = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    files = {name: resources.files("minirnn.commands").joinpath(f"page/inspect.{name}").read_text(encoding="utf-8")
             for name in ("html", "css", "js")}  # fmt: skip
    html = files["html"]
    for name, content in (("css", files["css"]), ("js", files["js"]), ("json", numbers_json)):
        before, _, after = html.partition(f"/* inspect.{name} */")
        html = before + content + after
    return html


def gather(
    path: Path, text: str | None, length: int, other: Path | None = None
) -> tuple[list[tuple[str, Checkpoint]], list[str], str]:
    """The networks, the tokens they read, and where these are from."""
    of_a_run = ("best.npz", "last.npz", "model.npz")
    named = [
        (p.absolute().parent.name if p.name in of_a_run else p.name, load_checkpoint(p)) for p in (path, other) if p
    ]
    checkpoint = named[0][1]
    if text is None:
        return named, *text_of_run(checkpoint, path, length)
    return named, tokens_of(text, checkpoint.vocab.kind, length), ""


def write(path: Path, html: str) -> None:
    """Write the page."""
    with whole(path) as partial:
        partial.write_text(html, encoding="utf-8", errors="replace")


# --- the terminal ---------------------------------------------------------------------------------------


def choose(
    checkpoint: Checkpoint, tokens: list[str], part: str | None, unit: int | None
) -> tuple[str, int, str, Array]:
    """The values (T,) of a unit; by default that which goes best with something, of the top layer's h, and why."""
    model = checkpoint.model.astype(np.float32)
    ids = encode(checkpoint.vocab, tokens)
    traces = model.trace(ids)
    part = part or f"{model.config.cell} {model.config.layers} h"
    if part not in traces:
        raise ValueError(f"the network has no {part!r}; its parts are {', '.join(traces)}")
    values = traces[part]
    why = ""
    if unit is None:
        found, known = probes.find(values, probes.properties(tokens), np.random.default_rng(0))
        unit, why = 0, f" (nothing can be found in {len(tokens)} tokens)"
        if known.size:
            above = np.abs(known) - [f.chance for f in found]
            unit, f = (int(i) for i in np.unravel_index(above.argmax(), above.shape))
            why = f", goes best with {found[f].name!r} (r {known[unit, f]:.2f}, chance {found[f].chance:.2f})"
    if unit >= values.shape[1]:
        raise ValueError(f"{part} has the units 0 to {values.shape[1] - 1}, there is no {unit}")
    return part, unit, why, values[:, unit]


def coloured(vocab: Vocabulary, tokens: list[str], values: Array, part: str, colour: bool) -> str:
    """The text, each token on a background that says how active the unit is; or without colours, with bars below."""
    size = max(1.0, float(np.abs(values).max()))
    scaled = 2 * values - 1 if part.endswith(GATES) else values / size  # -1 ... 1
    out, bars = [], ""
    for piece, value in zip(vocab.spaced(tokens), scaled, strict=True):
        code = COLOURS[min(len(COLOURS) - 1, int((value + 1) / 2 * len(COLOURS)))]
        if colour:
            end = "\n" if piece == "\n" else ""
            out.append(f"\033[{code}m{'↵' if end else piece}\033[0m{end}" if code else piece)
        elif piece == "\n":
            out.append(f"\n{bars}\n" if bars else "\n")
            bars = ""
        else:
            out.append(piece)
            bars += BLOCKS[min(len(BLOCKS) - 1, int((value + 1) / 2 * len(BLOCKS)))] * columns(piece)
    return "".join(out) + (f"\n{bars}" if bars else "")


def columns(piece: str) -> int:
    """How wide a piece of text is on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in piece)
