"""What can be said of a wrong function when no mistake of the catalogue explains it: where it is still right.

A function is asked for smaller and simpler problems: one step, one sequence, no gradient from beyond the end, a weight
that is zero, gates in another order. What it gets right there and wrong elsewhere is a fact, and tells where to look.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn.checks import Array
from minirnn.grading import answer as model_answer
from minirnn.grading.diagnosis import draw_sizes
from minirnn.grading.student import Function, StudentError

GATES = {"rnn": "a", "gru": "rzn", "lstm": "ifog"}  # in the order of their rows
Wrong = tuple[str, ...]  # the names of what is wrong


def clue(name: str, function: Function) -> str:
    """Where a wrong function is still right, in a sentence; empty if nothing clear can be said."""
    cell, _, way = name.partition("_")
    try:
        if name == "softmax_cross_entropy":
            return softmax_clue(function)
        if way in ("forward", "backward"):
            return next((forward_clues if way == "forward" else backward_clues)(cell, function), "")
    except (StudentError, ValueError, TypeError, LookupError, AttributeError):  # it does not even return its parts
        pass
    return ""


def near(given: Any, expected: Array) -> bool:
    """Whether a value is right to eight digits."""
    given = np.asarray(given)
    scale = max(float(np.abs(expected).max(initial=0)), 1e-300)
    return given.shape == expected.shape and bool((np.abs(given - expected) <= 1e-8 * scale).all())


# --- backward ---------------------------------------------------------------------------------------


def backward_clues(cell: str, backward: Function) -> Iterator[str]:
    """What goes wrong first as a problem grows: one step, more sequences, a gradient from beyond, more steps."""
    first = wrong_gradients(cell, backward, T=1, B=1)
    if first:
        yield f"With one step of one sequence, and dstate zero, {already(cell, first)}"
        return
    if parts := wrong_gradients(cell, backward, T=1, B=3):
        yield f"With one sequence all is right, with three {listed(parts)}: how is the batch summed?"
    for i, which in enumerate(("dh", "dc") if cell == "lstm" else ("dh",)):
        if parts := wrong_gradients(cell, backward, T=1, B=1, dstate=i):
            yield (
                f"With one step and dstate zero all is right; with a {which}_last that is not, {listed(parts)}: "
                f"look at what {which}next begins with"
            )
    sizes = ((2, "one step"), (3, "two steps"), (6, "three steps"), (12, "6 steps"), (30, "12 steps"), (64, "30 steps"))
    for T, before in sizes:
        if parts := wrong_gradients(cell, backward, T=T, B=1):
            where = ""
            if T > 3:
                where = ": does the loop end early?"
            elif not wrong_gradients(cell, backward, T=T, B=1, only=0):
                where = ", but not if the first alone has an upstream gradient: look at what goes from step to step"
            elif not wrong_gradients(cell, backward, T=T, B=1, only=-1):
                where = ", but not if the last alone has an upstream gradient"
            yield f"With {before} all is right, with {T} steps {listed(parts)}{where}"


def wrong_gradients(cell: str, backward: Function, T: int, B: int, dstate: int = -1, only: int | None = None) -> Wrong:
    """Which gradients are wrong at T steps of B sequences, that of a bias gate by gate.

    ``dstate`` is the array of dstate that is not zero, ``only`` the step that alone has an upstream gradient.
    """
    rng = np.random.default_rng([T, B])
    h, final, cache = getattr(model_answer, f"{cell}_forward")(*draw_sizes(cell, rng, (T, 3, 4, B)))
    dh, dlast = rng.standard_normal(h.shape), tuple(rng.standard_normal(s.shape) for s in final)
    dh *= np.isin(np.arange(T), range(T) if only is None else [only % T])[:, None, None]
    dlast = tuple(s * (i == dstate) for i, s in enumerate(dlast))
    dx, dfirst, grads = getattr(model_answer, f"{cell}_backward")(dh, cache, dlast)
    given_dx, given_first, given = backward(dh, cache, dlast)
    pairs = {f"d{name}": (given[name], g) for name, g in grads.items()} | {"dx": (given_dx, dx)}
    pairs |= dict(zip(("dh0", "dc0"), zip(given_first, dfirst, strict=True), strict=False))
    wrong = [name for name, pair in pairs.items() if not near(*pair)]
    if "dbh" in wrong and np.shape(given["bh"]) == grads["bh"].shape:
        blocks = [np.split(np.asarray(g), len(GATES[cell])) for g in (given["bh"], grads["bh"])]
        gates = [gate for gate, a, b in zip(GATES[cell], *blocks, strict=True) if not near(a, b)]
        if 0 < len(gates) < len(GATES[cell]):
            wrong[wrong.index("dbh")] = f"the rows {', '.join(gates)} of dbh"
    return tuple(wrong)


def listed(parts: Wrong) -> str:
    """The names with their verb."""
    return f"{', '.join(parts[:-1])} and {parts[-1]} are wrong" if len(parts) > 1 else f"{parts[0]} is wrong"


def already(cell: str, parts: Wrong) -> str:
    """What is wrong where dbh is da itself."""
    bias = [part for part in parts if part.endswith("dbh")]
    others = tuple(part for part in parts if not part.endswith("dbh"))
    if not bias:
        return f"{listed(others)}, while dbh, which is da itself there, is right"
    if bias == ["dbh"]:
        return "dbh, which is da itself there, is wrong already: look at da first"
    gates = bias[0].removeprefix("the rows ").removesuffix(" of dbh")
    return f"the gradient da of gate {gates} is wrong, that of the others is right: compare dbh, which is da there"


# --- forward ----------------------------------------------------------------------------------------


def forward_clues(cell: str, forward: Function) -> Iterator[str]:
    """The first wrong step, an order of the gates that makes it right, what has to be zero to make it right."""
    rng = np.random.default_rng(0)
    params, x, state = draw_sizes(cell, rng, (5, 3, 4, 2))

    def right(params: dict, x: Array, state: tuple, order: tuple[int, ...] | None = None) -> Array:
        """For each step whether h is right, with the gates' rows in this order for the function that is asked."""
        h, *_ = getattr(model_answer, f"{cell}_forward")(params, x, state)
        shuffled = params
        if order:
            count = len(order)
            rows = {name: np.split(p, count) for name, p in params.items() if name != "bhn"}
            shuffled = params | {name: np.concatenate([blocks[i] for i in order]) for name, blocks in rows.items()}
        given, *_ = forward(shuffled, x, state)
        return np.array([near(g, e) for g, e in zip(given, h, strict=True)])

    fine, gates = right(params, x, state), GATES[cell]
    for order in itertools.permutations(range(len(gates))):
        if list(order) != sorted(order) and right(params, x, state, order).all():
            theirs = ", ".join(gates[i] for i in order)
            yield f"It would be right if the rows of the gates came as {theirs}; they come as {', '.join(gates)}"
    if fine[0] and not fine.all():
        yield f"h is right at t = 0 and wrong from t = {int(np.argmin(fine))} on: how is the state carried on?"
    zero = {name: (params | {name: 0 * p}, x, state) for name, p in params.items()}
    zero |= {"x": (params, 0 * x, state), "h0": (params, x, (0 * state[0], *state[1:]))}
    if cell == "lstm":
        zero["c0"] = (params, x, (state[0], 0 * state[1]))
    cures = [name for name, problem in zero.items() if right(*problem)[0]]
    if cures:
        yield f"The first step is right when {' or '.join(cures)} is zero: look at where that comes in"
    if not fine[0]:
        yield "h is wrong from the first step on"


def softmax_clue(function: Function) -> str:
    """Whether one token alone is right."""
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 2, (4, 3)), np.array([2, 0, 3])

    def wrong(count: int) -> Wrong:
        pairs = zip(
            function(logits[:, :count], targets[:count]),
            model_answer.softmax_cross_entropy(logits[:, :count], targets[:count]),
            strict=True,
        )
        return tuple(n for n, (a, b) in zip(("loss", "dlogits"), pairs, strict=True) if not near(a, np.asarray(b)))

    one, three = wrong(1), wrong(3)
    if not one and three:
        return f"With one token all is right, with three {listed(three)}: look at the mean over the tokens"
    return f"With one token already {listed(one)}" if one else ""
