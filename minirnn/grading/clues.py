"""What can be said of a wrong function when no mistake of the catalogue explains it: where it is still right.

A function is asked for smaller and simpler problems: one step, one sequence, no gradient from beyond the end, a weight
that is zero, gates in another order. What it gets right there and wrong elsewhere is a fact, and tells where to look.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minirnn.grading.answer as model_answer
from minirnn.checks import Array
from minirnn.grading.problems import draw_sizes
from minirnn.grading.student import Function, StudentError

GATES = {"rnn": "a", "gru": "rzn", "lstm": "ifog"}  # in the order of their rows
Wrong = tuple[str, ...]  # the names of what is wrong


def clue(name: str, function: Function) -> str:
    """Where a wrong function is still right, in a sentence; empty if nothing clear can be said."""
    cell, _, way = name.partition("_")
    try:
        if name == "softmax_cross_entropy":
            return other_softmax(function) or softmax_clue(function)
        if name == "adagrad_step":
            return adagrad_clue(function)
        if name == "clip_value":
            return clip_clue(function)
        if way == "step_forward":
            return next(forward_clues("rnn", steps_forward(function)), "")
        if way == "step_backward":
            told = next(backward_clues("rnn", steps_backward(function)), "")
            return told.replace("one step of one sequence, and dstate zero", "one sequence").replace("dh0", "dh")
        if way in ("forward", "backward"):
            return next((forward_clues if way == "forward" else backward_clues)(cell, function), "")
    except (StudentError, ValueError, TypeError, LookupError, AttributeError):  # it does not even return its parts
        pass
    return ""


def steps_forward(step: Any) -> Any:
    """The pass over a sequence that a student's forward step makes."""

    def forward(params: dict, x: Array, state: tuple) -> tuple:
        hs = [state[0]]
        for x_t in x:
            hs.append(np.asarray(step(params, x_t, hs[-1])[0]))
        return np.stack(hs[1:]), (hs[-1],), ()

    return forward


def steps_backward(step: Any) -> Any:
    """The way back through a sequence that a student's backward step makes."""

    def backward(dh: Array, cache: tuple, dstate: tuple) -> tuple:
        (params, x, hs), dx, dhnext = cache, np.zeros_like(cache[1]), dstate[0]
        total = {name: np.zeros_like(p) for name, p in params.items()}
        for t in reversed(range(len(x))):
            dx[t], dhnext, grads = step(dh[t] + dhnext, (params, x[t], hs[t], hs[t + 1]))
            total = {name: g + grads[name] for name, g in total.items()}
        return dx, (dhnext,), total

    return backward


def near(given: Any, expected: Array) -> bool:
    """Whether a value is right to eight digits."""
    given = np.asarray(given)
    scale = max(float(np.abs(expected).max(initial=0)), 1e-300)
    return given.shape == expected.shape and bool((np.abs(given - expected) <= 1e-8 * scale).all())


# --- backward ---------------------------------------------------------------------------------------


def backward_clues(cell: str, backward: Function) -> Iterator[str]:
    """What goes wrong first as a problem grows: one step, more sequences, a gradient from beyond, more steps."""
    if parts := wrong_gradients(cell, backward, T=1, B=1):
        yield f"With one step of one sequence, and dstate zero, {already(parts)}."
        return
    for column in (1, 2):
        if parts := wrong_gradients(cell, backward, T=1, B=1, first=column):
            yield f"With some numbers all is right, with others {listed(parts)}: does something depend on their size?"
    if parts := wrong_gradients(cell, backward, T=1, B=3):
        yield f"With one sequence all is right, with three {listed(parts)}: how is the batch summed?"
    for i, which in enumerate(("dh", "dc") if cell == "lstm" else ("dh",)):
        if parts := wrong_gradients(cell, backward, T=1, B=1, dstate=i):
            beyond = f"With one step and dstate zero all is right; with a {which}_last that is not, {listed(parts)}"
            yield f"{beyond}: look at what becomes of {which}next within a step."
    sizes = ((2, "one step"), (3, "two steps"), (6, "three steps"), (12, "6 steps"), (30, "12 steps"), (64, "30 steps"))
    for T, before in sizes:
        if parts := wrong_gradients(cell, backward, T=T, B=1):
            where = "."
            if T > 3:
                where = ": does the loop end early, or is something cut off in it?"
            elif "dx" not in parts:
                where = ". As dx is right, so is what goes from step to step: look at how they are summed or returned."
            elif not wrong_gradients(cell, backward, T=T, B=1, only=0):
                where = ", but not if the first alone has an upstream gradient: look at what goes from step to step."
            elif not wrong_gradients(cell, backward, T=T, B=1, only=-1):
                where = ", but not if the last alone has an upstream gradient."
            yield f"With {before} all is right, with {T} steps {listed(parts)}{where}"


def wrong_gradients(cell: str, backward: Function, T: int, B: int, **which: int) -> Wrong:
    """Which gradients are wrong at T steps of B sequences, that of a bias gate by gate.

    ``which``: dstate, the array of dstate that is not zero; only, the step that alone has an upstream gradient; first,
    the first of the three sequences that are drawn which is taken.
    """
    rng, dstate, only = np.random.default_rng(T), which.get("dstate", -1), which.get("only")
    params, x, state = draw_sizes(cell, rng, (T, 3, 4, 3))
    some = slice(which.get("first", 0), which.get("first", 0) + B)
    run = getattr(model_answer, f"{cell}_forward")
    h, final, cache = run(params, x[:, :, some], tuple(s[:, some] for s in state))
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


def already(parts: Wrong) -> str:
    """What is wrong where dbh is da itself, dWxh is da @ x.T, and dx is Wxh.T @ da."""
    bias = next((part for part in parts if part.endswith("dbh")), "")
    if not bias or not {"dWxh", "dx"} <= set(parts):
        right = [name for name in ("dbh", "dWxh", "dx") if name not in parts and not (bias and name == "dbh")]
        why = f", while {' and '.join(right)}, for which da must be right too, {'are' if len(right) > 1 else 'is'}"
        return f"{listed(parts)}{why} right" if right else listed(parts)
    if bias == "dbh":
        return "dbh, dWxh and dx are wrong, which are all made of da: look at da first"
    gates = bias.removeprefix("the rows ").removesuffix(" of dbh")
    where = " and ".join(f"da_{gate}" for gate in gates.split(", "))
    where = {"i, f, g": "dc, which all three are made of", "r, n": "da_n, which da_r is made of"}.get(gates, where)
    return f"the rows {gates} of dbh, which is da itself there, are wrong, the others right: look at {where}"


# --- forward ----------------------------------------------------------------------------------------


def forward_clues(cell: str, forward: Function) -> Iterator[str]:
    """The first wrong step, an order of the gates that makes it right, what has to be zero to make it right."""
    run = getattr(model_answer, f"{cell}_forward")
    for number, sizes in enumerate(((5, 3, 4, 2), (4, 3, 5, 2), (5, 4, 4, 3), (64, 2, 3, 2))):
        params, x, state = draw_sizes(cell, np.random.default_rng(number), sizes)
        if not near(forward(params, x, state)[0], run(params, x, state)[0]):
            break

    def right(params: dict, x: Array, state: tuple, order: tuple[int, ...] = ()) -> Array:
        """For each step whether h is right, with the gates' rows in this order for the function that is asked."""
        shuffled = dict(params)
        for name in ("Wxh", "Whh", "bh") if order else ():
            shuffled[name] = np.concatenate([np.split(params[name], len(order))[i] for i in order])
        given, expected = forward(shuffled, x, state)[0], run(params, x, state)[0]
        return np.array([near(g, h) for g, h in zip(given, expected, strict=True)])

    if not near(forward(params, x, state)[0], np.asarray(forward(params, x, state)[0])):
        yield "Asked the same twice, it answers otherwise: is something random in it, or kept from call to call?"
    fine, gates = right(params, x, state), GATES[cell]
    if fine.all():
        inner = wrong_inside(cell, forward(params, x, state)[2], run(params, x, state)[2])
        yield f"h is right at every step: only what is returned beside it is wrong. {inner}".strip()
        return
    small = tuple(0.2 * s for s in state)  # much smaller, and arctan could not be told from tanh
    if right({name: 0.2 * p for name, p in params.items()}, 0.2 * x, small).all():
        yield "Where all numbers are small h is right, where they are larger it is wrong: is something clipped?"
    for order in itertools.permutations(range(len(gates))):
        if list(order) != sorted(order) and right(params, x, state, order).all():
            theirs = ", ".join(gates[i] for i in order)
            yield f"It would be right if the rows of the gates came as {theirs}; they come as {', '.join(gates)}."
    if fine[0]:
        yield f"h is right at t = 0 and wrong from t = {int(np.argmin(fine))} on: how is the state carried on?"
    zero = {name: (params | {name: 0 * p}, x, state) for name, p in params.items()}
    zero |= {"x": (params, 0 * x, state), "h0": (params, x, (0 * state[0], *state[1:]))}
    zero |= {"c0": (params, x, (state[0], 0 * state[1]))} if cell == "lstm" else {}
    inner = wrong_inside(cell, forward(params, x, state)[2], run(params, x, state)[2])
    cures = [name for name, problem in zero.items() if right(*problem)[0]]
    if cures:
        yield f"The first step is right when {' or '.join(cures)} is zero: look at where that comes in. {inner}".strip()
    if inner:
        yield inner
    bare = {name: p * (name == "Wxh") for name, p in params.items()}
    if not right(bare, x, tuple(0 * s for s in state))[0]:
        yield "h is wrong from the first step on, even where all but Wxh and x is zero."
    yield "h is wrong from the first step on, but right where all but Wxh and x is zero."


def wrong_inside(cell: str, cache: tuple, expected: tuple) -> str:
    """Which of the gates that a function put into its cache are wrong at t = 0, and the cell state."""
    names = {"rnn": (), "gru": (*"rzn", "u"), "lstm": (*"ifog", "c")}[cell]
    if not names or len(cache) != len(expected) or np.shape(cache[-1]) != expected[-1].shape:
        return ""
    inside = []
    for given in (cache, expected):
        gates = np.split(np.asarray(given[3 if cell == "gru" else 4])[0], len(GATES[cell]))
        inside.append([*gates, np.asarray(given[4])[0] if cell == "gru" else np.asarray(given[3])[1]])
    wrong = [name for name, a, b in zip(names, *inside, strict=True) if not near(a, b)]
    fine = [name for name in names if name not in wrong]
    if not wrong and near(cache[2][1], expected[2][1]):
        return ""
    if not wrong:
        return f"In the cache {', '.join(fine)} are right at t = 0: look at the line that makes h of them."
    return f"In the cache {listed(tuple(wrong))} at t = 0{', ' + ', '.join(fine) + ' right' if fine else ''}."


# --- the loss ---------------------------------------------------------------------------------------


def softmax_clue(function: Function) -> str:
    """Whether single tokens are right, and for which targets."""
    logits = np.random.default_rng(0).normal(0, 2, (4, 3))

    def wrong(logits: Array, targets: Array) -> Wrong:
        pairs = zip(function(logits, targets), model_answer.softmax_cross_entropy(logits, targets), strict=True)
        return tuple(n for n, (a, b) in zip(("loss", "dlogits"), pairs, strict=True) if not near(a, np.asarray(b)))

    single = {target: wrong(logits[:, :1], np.array([target])) for target in range(4)}
    bad = [target for target, parts in single.items() if parts]
    if len(bad) == 4:
        p = np.exp(logits[0, 0]) / np.exp(logits[:, 0]).sum()
        loss = float(np.asarray(function(logits[:, :1], np.array([0]))[0]))
        told = f": where the target has the probability {p:.6g}, the loss is {loss:.6g}, not {-np.log(p):.6g}"
        return f"With one token already {listed(single[0])}{told if 'loss' in single[0] else ''}."
    if bad:
        classes = ", ".join(map(str, bad))
        return f"With one token {listed(single[bad[0]])} where the target is {classes}, else all is right."
    if three := wrong(logits, np.array([2, 0, 3])):
        return f"With one token all is right, with three {listed(three)}: look at how the tokens are put together."
    return ""


def other_softmax(function: Function) -> str:
    """Whether the gradient is that of another temperature, or of targets that are not one and zero."""
    logits, targets = np.random.default_rng(0).normal(0, 2, (5, 6)), np.array([0, 4, 2, 2, 1, 3])
    N, hot = len(targets), np.eye(5)[:, targets]
    given = N * np.asarray(function(logits, targets)[1])
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    on, off = (p - given)[hot == 1], (p - given)[hot == 0]
    if np.ptp(on) < 1e-8 and np.ptp(off) < 1e-8:
        told = "are {:.4g} for the target and {:.4g} for the others, not 1 and 0".format(
            *(float(v[0]) for v in (on, off))
        )
        return "" if near(given, p - hot) else f"The gradient is right for targets that {told}: are they smoothed?"
    design = np.stack([p.ravel(), np.ones(p.size)], axis=1)
    other = given + hot
    share, more = np.linalg.lstsq(design, other.ravel(), rcond=None)[0]
    if near(other.ravel(), design @ [share, more]):
        return f"The gradient is right for probabilities that are {share:.4g} p + {more:.4g}, not p."
    if (other <= 0).any():
        return ""
    steps, logs = logits - logits[0], np.log(other) - np.log(other[0])
    slope = float((steps * logs).sum() / (steps**2).sum())
    fits = near(logs, slope * steps) and abs(slope - 1) > 1e-8 and near(other.sum(axis=0), np.ones(N))
    return f"The gradient is right as if the logits were divided by {1 / slope:.4g}." if fits else ""


# --- clipping and Adagrad -----------------------------------------------------------------------------

# Beside those of the catalogue, which are looked for first.
OTHER_CLIPS: dict[str, Callable[[Array, float], Array]] = {
    "only the first row of each array": lambda g, limit: np.vstack([np.clip(g[:1], -limit, limit), g[1:]]),
    "only the last row of each array": lambda g, limit: np.vstack([g[:-1], np.clip(g[-1:], -limit, limit)]),
    "only the first column of each array": lambda g, limit: np.hstack([np.clip(g[:, :1], -limit, limit), g[:, 1:]]),
    "the absolute values": lambda g, limit: np.minimum(np.abs(g), limit),
    "at twice the limit": lambda g, limit: np.clip(g, -2 * limit, 2 * limit),
    "to -limit, whatever the sign,": lambda g, limit: np.where(np.abs(g) > limit, -limit, g),
    "by the norm of each array": lambda g, limit: g * min(1, limit / np.linalg.norm(g)),
}


def clip_clue(function: Function) -> str:
    """What was clipped in place of every entry."""
    grads = {name: np.random.default_rng(0).normal(0, 3, (4, 3)) for name in ("Wxh", "Whh")}
    given = {name: g.copy() for name, g in grads.items()}
    function(given, 1.5)
    for words, other in OTHER_CLIPS.items():
        if all(near(given[name], other(g, 1.5)) for name, g in grads.items()):
            return f"The numbers are those of clipping {words.rstrip(',')}."
    return ""


def adagrad_clue(function: Function) -> str:
    """What the memory is made of, and what the gradient is divided by."""
    rng, rate = np.random.default_rng(0), 0.1
    grads, memory, params = ({"W": f(size=(5, 4))} for f in (rng.standard_normal, rng.random, rng.standard_normal))
    grads["W"][0] *= 1e-3
    memory["W"][0] = 0
    before, old, g = params["W"].copy(), memory["W"].copy(), grads["W"].copy()
    function(params, grads, memory, rate)
    new, step = memory["W"], before - params["W"]
    if not near(new, old + g**2):
        if near(new, np.maximum(old, g**2)):
            return "The memory is the larger of the old memory and the squared gradient, not their sum."
        design = np.stack([old.ravel(), (g**2).ravel()], axis=1)
        kept, added = np.linalg.lstsq(design, new.ravel(), rcond=None)[0]
        fits = near(new.ravel(), design @ [kept, added])
        return f"The memory is {kept:.4g} of the old memory and {added:.4g} of the squared gradient." if fits else ""
    right = rate * g / np.sqrt(new + 1e-8)
    design = np.stack([right.ravel(), before.ravel()], axis=1)
    part, shrunk = np.linalg.lstsq(design, step.ravel(), rcond=None)[0]
    if near(step.ravel(), design @ [part, shrunk]) and abs(shrunk) > 1e-9:
        return f"The step is {part:.4g} of what it should be and {shrunk:.4g} of the parameters: do they decay?"
    divisor = rate * g / step
    if not np.isfinite(divisor).all() or (divisor <= 0).any():
        return ""
    inside, outside = divisor**2 - new, divisor - np.sqrt(new)
    for name, extra in (("under the root", inside), ("beside the root", outside)):
        small = float(np.median(extra))
        if np.abs(extra - small).max() < 1e-9 and abs(small - 1e-8 * (extra is inside)) > 2e-9:
            return f"The gradient is divided by the root of the memory with {small:.3g} in place of 1e-8, {name}."
    power = np.log(divisor[1:]) / np.log(new[1:])
    if np.ptp(power) < 1e-4 and abs(power.mean() - 0.5) > 1e-3:
        return f"The gradient is divided by the memory to the power {power.mean():.3g}, not by its root."
    return ""
