"""What can be said of a wrong function when no mistake of the catalogue explains it: where it is still right.

A function is asked for smaller and simpler problems: one step, one sequence, no gradient from beyond the end, a weight
that is zero, gates in another order. What it gets right there and wrong elsewhere is a fact, and tells where to look.
"""

import itertools
from collections.abc import Iterator
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
    if parts := wrong_gradients(cell, backward, T=1, B=1, size=0):
        zero = "Where dh and dstate are zero, every gradient must be"
        yield f"{zero}, but {already(parts)}. Something is added there."
    if parts := wrong_gradients(cell, backward, T=1, B=1):
        yield f"With one step of one sequence, and dstate zero, {already(parts)}.{slope_told(cell, backward)}"
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
            if parts == ("dx",):
                where = ", and nothing else, so da is right: look at how dx[t] is stored."
            elif T > 3:
                where = ": does the loop end early, or is something cut off in it?"
            elif "dx" not in parts:
                where = ". As dx is right, so is what goes from step to step: look at how they are summed or returned."
            elif not wrong_gradients(cell, backward, T=T, B=1, only=0):
                where = ", but not if the first alone has an upstream gradient: look at what goes from step to step."
            elif not wrong_gradients(cell, backward, T=T, B=1, only=-1):
                where = ", but not if the last alone has an upstream gradient."
            yield f"With {before} all is right, with {T} steps {listed(parts)}{where}"


def slope_told(cell: str, backward: Function) -> str:
    """What a wrong backward pass of the tanh cell makes of dh, at some h."""
    params, x, state = draw_sizes(cell, np.random.default_rng(1), (1, 3, 4, 1))
    h, (last, *_), cache = getattr(model_answer, f"{cell}_forward")(params, x, state)
    if cell != "rnn":
        return ""
    given, right = (
        np.asarray(f(np.ones_like(h), cache, (0 * last,))[2]["bh"]) for f in (backward, model_answer.rnn_backward)
    )
    if given.shape != right.shape or near(given, right):
        return ""
    i = np.unravel_index(np.abs(given - right).argmax(), right.shape)
    return f" Where dh is 1 and h is {last[i]:.4g}, dbh, which is da there, is {given[i]:.4g}, not {right[i]:.4g}."


def wrong_gradients(cell: str, backward: Function, T: int, B: int, **which: int) -> Wrong:
    """Which gradients are wrong at T steps of B sequences, that of a bias gate by gate.

    ``which``: size, a factor of all upstream gradients; dstate, the array of dstate that is not zero; only, the step
    that alone has an upstream gradient; first, the first of the three sequences that are drawn which is taken.
    """
    rng, dstate, only = np.random.default_rng(T), which.get("dstate", -1), which.get("only")
    params, x, state = draw_sizes(cell, rng, (T, 3, 4, 3))
    some = slice(which.get("first", 0), which.get("first", 0) + B)
    run = getattr(model_answer, f"{cell}_forward")
    h, final, cache = run(params, x[:, :, some], tuple(s[:, some] for s in state))
    dh, dlast = rng.standard_normal(h.shape), tuple(rng.standard_normal(s.shape) for s in final)
    dh *= which.get("size", 1)
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

    first, second = (forward(params, x, state)[0] for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
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
        given, wrong = forward(params, x, state)[0], np.flatnonzero(~fine).tolist()
        if not np.any(given[wrong]):
            yield f"h is zero at t = {str(wrong)[1:-1]} and right elsewhere: are those steps left out?"
        yield f"h is right at t = 0 and not at t = {wrong[0]}: how is the state carried on, and what depends on t?"
    zero = {name: (params | {name: 0 * p}, x, state) for name, p in params.items()}
    zero |= {"x": (params, 0 * x, state), "h0": (params, x, (0 * state[0], *state[1:]))}
    zero |= {"c0": (params, x, (state[0], 0 * state[1]))} if cell == "lstm" else {}
    inner = wrong_inside(cell, forward(params, x, state)[2], run(params, x, state)[2])
    cures = [name for name, problem in zero.items() if right(*problem)[0]]
    if cures:
        yield f"The first step is right when {' or '.join(cures)} is zero: look at where that comes in. {inner}".strip()
    if inner:
        yield inner
    bare, nothing = {name: p * (name == "Wxh") for name, p in params.items()}, tuple(0 * s for s in state)
    if not right(bare, 0 * x, nothing)[0]:
        yield "Where parameters, x and state are all zero, h is not: something is added there."
    if not right(bare, x, nothing)[0]:
        given, expected = np.asarray(forward(bare, x, nothing)[0])[0], run(bare, x, nothing)[0][0]
        i = np.unravel_index(np.abs(given - expected).argmax(), expected.shape)
        told = f" Where Wxh @ x is {(params['Wxh'] @ x[0])[i]:.4g}, h is {given[i]:.4g}, not {expected[i]:.4g}."
        yield f"h is wrong from the first step on, even where all but Wxh and x is zero.{told if cell == 'rnn' else ''}"
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
    logits, both = np.random.default_rng(0).normal(0, 2, (4, 3)), (model_answer.softmax_cross_entropy, function)

    def wrong(logits: Array, targets: Array) -> Wrong:
        pairs = zip(function(logits, targets), model_answer.softmax_cross_entropy(logits, targets), strict=True)
        return tuple(n for n, (a, b) in zip(("loss", "dlogits"), pairs, strict=True) if not near(a, np.asarray(b)))

    single = {target: wrong(logits[:, :1], np.array([target])) for target in range(4)}
    bad = [target for target, parts in single.items() if parts]
    if len(bad) == 4:
        p = np.exp(logits[0, 0]) / np.exp(logits[:, 0]).sum()
        loss = float(np.asarray(function(logits[:, :1], np.array([0]))[0]))
        told = f": where the target has the probability {p:.6g}, the loss is {loss:.6g}, not {-np.log(p):.6g}"
        right, given = (np.array([float(f(logits[:, :1], np.array([i]))[0]) for i in range(4)]) for f in both)
        if (more := steady(given - right)) is not None and "loss" in single[0]:
            return f"The loss is too large by {more:.4g}, whatever the target is."
        if "loss" in single[0] and (words := power(given, right, "loss")):
            return f"What is returned as the loss is {words}, where loss is right."
        return f"With one token already {listed(single[0])}{told if 'loss' in single[0] else ''}."
    if bad:
        classes = ", ".join(map(str, bad))
        return f"With one token {listed(single[bad[0]])} where the target is {classes}, else all is right."
    if three := wrong(logits, np.array([2, 0, 3])):
        return f"With one token all is right, with three {listed(three)}: look at how the tokens are put together."
    return ""


def other_softmax(function: Function) -> str:
    """Whether the gradient is that of another temperature, or of targets that are not one and zero."""
    logits, targets = np.random.default_rng(0).normal(0, 2, (5, 6)), np.array([0, 4, 2, 2, 1, 1])
    N, hot = len(targets), np.eye(5)[:, targets]
    given = N * np.asarray(function(logits, targets)[1])
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    if near(given, p - hot):
        return ""
    if (more := steady(given - p + hot)) is not None:
        return f"Every entry of dlogits is too large by {more / N:.4g}."
    on, off = steady((p - given)[hot == 1]), steady((p - given)[hot == 0])
    if on is not None and off is not None:
        told = f"are {round(on, 9):.4g} for the target and {round(off, 9) + 0.0:.4g} for the others, not 1 and 0"
        return f"The gradient is right for targets that {told}{': are they smoothed?' if 0 < off < on < 1 else '.'}"
    other = given + hot
    (share, more), fits = fit(other, p, np.ones(p.shape))
    if fits:
        return f"The gradient is right for probabilities that are {share:.4g} p + {more:.4g}, not p."
    if words := power(given / N, (p - hot) / N, "dlogits"):
        return f"What is returned is {words}, where dlogits is right."
    if (other <= 0).any():
        return ""
    steps, logs = logits - logits[0], np.log(other) - np.log(other[0])
    slope = float((steps * logs).sum() / (steps**2).sum())
    if near(logs, slope * steps) and abs(slope - 1) > 1e-8 and near(other.sum(axis=0), np.ones(N)):
        return f"The gradient is right as if the logits were divided by {1 / slope:.4g}."
    words = power(other, p, "p")
    return f"The gradient is right for probabilities that are {words}, not p." if words else ""


# --- Adagrad ------------------------------------------------------------------------------------------


def adagrad_clue(function: Function) -> str:
    """What the memory is made of, and what the gradient is divided by."""
    rng, rate = np.random.default_rng(0), 0.1
    grads, memory, params = ({"W": f(size=(5, 4))} for f in (rng.standard_normal, rng.random, rng.standard_normal))
    grads["W"][0] *= 1e-3
    memory["W"][0] = 0
    before, old, g = params["W"].copy(), memory["W"].copy(), grads["W"].copy()
    function(params, grads, memory, rate)
    if not near(memory["W"], old + g**2):
        return memory_clue(old, g, memory["W"])
    with np.errstate(all="ignore"):
        return step_clue(before, before - params["W"], g, memory["W"], rate)


def memory_clue(old: Array, g: Array, new: Array) -> str:
    """How the new memory comes from the old one and the gradient."""
    if near(new, np.maximum(old, g**2)):
        return "The memory is the larger of the old memory and the squared gradient, not their sum."
    (kept, added), fits = fit(new, old, g**2)
    if fits:
        return f"The memory is {kept:.4g} of the old memory and {added:.4g} of the squared gradient."
    if words := power(new - old, g, "g"):
        return f"What is added to the memory is {words}, not g**2."
    if (more := steady(new - old - g**2)) is not None:
        return f"What is added to the memory is g**2 + {more:.4g}, not g**2."
    if words := power(new, old + g**2, "(memory + g**2)"):
        return f"The new memory is {words}."
    i = np.unravel_index(np.abs(new - old - g**2).argmax(), g.shape)
    whole = f"the new memory is {new[i]:.4g}, not {old[i] + g[i] ** 2:.4g}"
    return f"Where the old memory is {old[i]:.4g} and g is {g[i]:.4g}, {whole}."


def step_clue(before: Array, step: Array, g: Array, memory: Array, rate: float) -> str:
    """What a step is made of, if not of rate * g over the root of the memory."""
    right = rate * g / np.sqrt(memory + 1e-8)
    if near(step, right):
        return ""
    (part, shrunk), fits = fit(step, right, before)
    if fits and abs(shrunk) > 1e-9:
        return f"The step is {part:.4g} of what it should be and {shrunk:.4g} of the parameters: do they decay?"
    above = step * np.sqrt(memory + 1e-8)
    for words, given, expected in (("The steps", step, right), ("What stands over the root", above, rate * g)):
        cut = np.abs(given) >= np.abs(given).max() * (1 - 1e-9)
        if 1 < cut.sum() < cut.size and near(given[~cut], expected[~cut]):
            return f"{words}: right up to {np.abs(given).max():.4g}, and what is larger is cut to that."
    for words, over in (("", above), (", and 1e-8 is missing", step * np.sqrt(memory))):
        if made_of := power(over / rate, g, "g"):
            return f"Over the root of the memory stands {made_of}, not g{words}."
    if (more := steady(above / rate - g)) is not None:
        return f"Over the root of the memory stands g + {more:.4g}, not g."
    divisor = rate * g / step
    if (same := steady(divisor)) is not None:
        return f"In every entry the gradient is divided by {same:.4g}, not by the root of its own memory."
    inside, outside = divisor**2 - memory, divisor - np.sqrt(memory)
    for name, extra in (("under the root", inside), ("beside the root", outside)):
        small = float(np.median(extra))
        if np.abs(extra - small).max() < 1e-9 and abs(small - 1e-8 * (extra is inside)) > 2e-9:
            return f"The gradient is divided by the root of the memory with {small:.3g} in place of 1e-8, {name}."
    exponent = np.log(divisor[1:]) / np.log(memory[1:])
    if np.ptp(exponent) < 1e-4 and abs(exponent.mean() - 0.5) > 1e-3:
        return f"The gradient is divided by the memory to the power {exponent.mean():.3g}, not by its root."
    i = np.unravel_index(np.abs(step - right).argmax(), g.shape)
    where = f"Where g is {g[i]:.4g} and the memory with it {memory[i]:.4g}"
    return f"{where}, the step is {step[i]:.4g}, not {right[i]:.4g}."


# --- laws that numbers follow -------------------------------------------------------------------------


def fit(y: Array, *parts: Array) -> tuple[Array, bool]:
    """The factors of the parts whose sum is closest to y, and whether it is y."""
    design = np.stack([part.ravel() for part in parts], axis=1)
    factors = np.linalg.lstsq(design, y.ravel(), rcond=None)[0]
    return factors, near(design @ factors, y.ravel())


def steady(y: Array) -> float | None:
    """The number that stands in every entry of y, if there is one."""
    mean = float(np.mean(y))
    return mean if np.ptp(y) <= 1e-8 * max(abs(mean), 1) else None


def power(y: Array, x: Array, name: str) -> str:
    """The multiple of a power of x that y is everywhere, in words; empty if it is none."""
    if not np.isfinite(y).all() or not y.all() or not x.all():
        return ""
    (k, c), fits = fit(np.log(np.abs(y)), np.log(np.abs(x)), np.ones(x.shape))
    odd = (np.sign(y) == np.sign(x)).all()
    if not fits or not (odd or (y > 0).all()):
        return ""
    k, factor = (round(float(number), 6) for number in (k, np.exp(c)))
    if k == 0:  # y does not depend on x here, and what it depends on is not known
        return ""
    plain = (x > 0).all() or (k % 2 == 1 if odd else k % 2 == 0)
    base = name if plain else f"sign({name}) |{name}|" if odd else f"|{name}|"
    return f"{'' if factor == 1 else f'{factor:.6g} '}{base}{'' if k == 1 else f'**{k:g}'}"
