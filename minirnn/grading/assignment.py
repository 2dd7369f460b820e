"""The assignment: thirteen functions to write, and how each is graded.

Each function is graded on its own. A backward pass is handed a cache made by the model answer's forward pass, so that a
wrong forward does not fail a right backward; for the same reason what belongs into each cache is part of the exercise.
A gradient is compared with the complex step through that forward pass. What passes is compared with the model answer's
gradient too, where weights are square and sequences long.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import minirnn.grading.answer as model_answer
from minirnn.checks import Array, Params
from minirnn.gradcheck import GradientReport, check_layer, leaves, same
from minirnn.grading.problems import (
    LONG,
    SMALL,
    draw_backward,
    draw_cell,
    draw_softmax,
    draw_step,
    draw_step_backward,
)
from minirnn.grading.student import Foreign, Function, StudentError

Verdicts = Iterator[tuple[str, str]]  # property, and one sentence if it is not as it should be
PRECISION = "it is right to five digits or so: is something computed in float32, or a small number added?"
IN_PLACE = "it changes its arguments in place: copy before writing"
CACHES = {
    "rnn": ("params", "x", "hs"),
    "gru": ("params", "x", "hs", "gates", "us"),
    "lstm": ("params", "x", "hs", "cs", "gates"),
}


RETURNED = ("loss", "dlogits")


class ComplaintError(Exception):
    """What came back is not even of the right kind: nothing further can be graded."""


@dataclass(frozen=True)
class Exercise:
    """A function to write, and how it is graded."""

    name: str
    part: int
    points: dict[str, int]  # of each property
    examine: Callable[[Function], Verdicts]


# --- a value against what it should be ----------------------------------------------------------------


def differs(name: str, given: Any, expected: Any, tolerance: float = 1e-9) -> str:
    """One sentence if a returned value is not what was expected, empty if it is."""
    expected = np.asarray(expected)
    whole = expected.dtype.kind in "iu"
    what = f"{'an integer' if whole else 'a number'}" if expected.ndim == 0 else f"an array of shape {expected.shape}"
    if not isinstance(given, np.ndarray | np.generic):
        return f"{name} must be {what}, got {kind_of(given)}"
    given = np.asarray(given)
    if given.shape != expected.shape:
        return f"{name} must be {what}, got {'a number' if given.ndim == 0 else f'shape {given.shape}'}"
    if given.dtype.kind != expected.dtype.kind and not (whole and given.dtype.kind in "iu"):
        hint = "; a buffer of integers cuts decimals off" if given.dtype.kind in "biu" else ""
        return f"{name} must be {what} of dtype {expected.dtype}, got {given.dtype}{hint}"
    difference = np.abs(given - expected)
    scale = max(float(np.abs(expected).max(initial=0)), 1e-12)
    right = difference <= tolerance * scale
    if right.all():
        return ""
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
    where = f"{name}{[int(i) for i in worst]}" if worst else name
    count = f"{(~right).sum()} of {given.size} entries are wrong, worst " if given.size > 1 else ""
    words = relation(given, expected)
    sizes = np.abs(given[~right])
    if not words and sizes.size > 1 and np.ptp(sizes) == 0:
        words = f"; what is wrong is {'+-' if sizes.any() else ''}{sizes[0]:g} everywhere"
    return f"{count}{where} is {given[worst]:.9g}, expected {expected[worst]:.9g}{words}"


def relation(given: Array, expected: Array) -> str:
    """The words for a value that is wrong by its precision, its sign or a factor; empty for other values."""
    if given.dtype.kind != "f" or not np.isfinite(given).all() or not expected.any():
        return ""
    size = np.abs(expected).max()
    if np.abs(given - expected).max() <= 1e-5 * size:
        return f"; {PRECISION if given.dtype == expected.dtype else f'it is {given.dtype}: where was it cast?'}"
    if not given.any():
        return "; it is zero everywhere"
    if np.abs(given + expected).max() <= 1e-8 * size:
        return "; it has the wrong sign"
    if given.size > 1 and np.ptp(given - expected) <= 1e-8 * size:
        return f"; every entry is too large by {float((given - expected).mean()):.6g}"
    factor = float((given * expected).sum() / (expected**2).sum())
    alike = given.size > 1 and np.abs(given - factor * expected).max() <= 1e-8 * size
    return f"; it is {factor:.6g} times what it should be" if alike else ""


def unpack(value: Any, *names: str) -> tuple:
    """The parts of a returned tuple; ComplaintError if it is none, or has other parts."""
    if isinstance(value, tuple) and len(value) == len(names):
        return value
    raise ComplaintError(f"it must return the tuple ({', '.join(names)}), got {kind_of(value)}")


def entries(value: Any, name: str, keys: Any) -> Params:
    """A returned dict with just these keys; ComplaintError if it is something else."""
    if isinstance(value, dict) and value.keys() == set(keys):
        return value
    raise ComplaintError(f"{name} must be a dict with the keys {', '.join(map(repr, keys))}, got {kind_of(value)}")


def states(value: Any, names: tuple[str, ...]) -> tuple:
    """A returned state; ComplaintError if it is not the tuple that a state is, even if it holds one array."""
    if isinstance(value, tuple) and len(value) == len(names):
        return value
    listed = ", ".join(names) + ("," if len(names) == 1 else "")
    raise ComplaintError(f"a state must be the tuple ({listed}), got {kind_of(value)}")


def kind_of(value: Any) -> str:
    """What came back, in a word or two."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(repr, value))}" if value else "an empty dict"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, np.generic):
        return "a number"
    return f"an object of type {value.kind}" if isinstance(value, Foreign) else str(value)


class Notes:
    """The first fault of each property, in the order in which the properties were first looked at."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def add(self, name: str, fault: str) -> None:
        self.found[name] = self.found.get(name) or fault

    def all_right(self) -> bool:
        return not any(self.found.values())


# --- forward and backward passes ------------------------------------------------------------------------


def examine_forward(cell: str, forward: Function) -> Verdicts:
    """How the forward pass of a cell over a sequence is graded."""
    names, notes = ("h", "c") if cell == "lstm" else ("h",), Notes()
    problems = [draw_cell(cell, np.random.default_rng(n), n) for n in (0, 1, SMALL, LONG)]
    asked = [copy.deepcopy(problem) for problem in problems]
    for problem, arguments, answer in zip(problems, asked, forward.many(asked), strict=True):
        h, final, cache = getattr(model_answer, f"{cell}_forward")(*problem)
        given_h, given_state, given_cache = unpack(answer, "h", "state", "cache")
        notes.add("h", differs("h", given_h, h))
        try:
            for name, given, expected in zip(names, states(given_state, names), final, strict=True):
                notes.add("state", differs(f"{name} of the final state", given, expected))
        except ComplaintError as fault:
            notes.add("state", str(fault))
        notes.add("cache", cache_fault(cell, given_cache, cache))
        notes.add("pure", "" if same(arguments, problem) else IN_PLACE)
    if notes.found["h"] and notes.found["cache"]:
        notes.found["cache"] = "not judged, because h is wrong"
    if notes.all_right():
        asked = [draw_cell(cell, np.random.default_rng(0), 0)]
        asked = [
            (
                {k: p.astype("f") for k, p in asked[0][0].items()},
                asked[0][1].astype("f"),
                tuple(s.astype("f") for s in asked[0][2]),
            )
        ]
        kinds = {str(a.dtype) for a in leaves(forward.many(asked)[0]) if a.dtype != np.float32}
        told = f"asked in float32 it answers in {', '.join(kinds)}: give every buffer a dtype, that of the state"
        notes.add("cache", told if kinds else "")
    yield from notes.found.items()


def cache_fault(cell: str, given: Any, expected: tuple) -> str:
    """One sentence if the model answer's backward pass cannot go on from a student's cache."""
    dh, backward = np.ones_like(expected[2][1:]), getattr(model_answer, f"{cell}_backward")
    dstate = (dh[0], dh[0]) if cell == "lstm" else (dh[0],)
    names, fault = CACHES[cell], ""
    if not isinstance(given, tuple) or len(given) != len(names):
        return f"the cache must be the tuple ({', '.join(names)}), got {kind_of(given)}"
    for name, ours, theirs in zip(names[1:], expected[1:], given[1:], strict=True):
        fault = fault or differs(name, theirs, ours)
    if not fault and len(dh) > 5:  # that of a short sequence has shown its params
        return ""
    try:
        with np.errstate(all="ignore"):
            right, got = backward(dh, expected, dstate), backward(dh, given, dstate)
        fits = all(np.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(leaves(right), leaves(got), strict=True))
    except Exception as error:
        fault = fault or f"{type(error).__name__}: {error}"
        return f"the cache does not hold what the handout lists, in its order: {fault}"
    return "" if fits else f"the cache does not hold what the handout lists: {fault or 'params are others'}"


def examine_backward(cell: str, backward: Function) -> Verdicts:
    """How the backward pass of a cell over a sequence is graded."""
    run, notes = getattr(model_answer, f"{cell}_forward"), Notes()
    names = ("h0", "c0") if cell == "lstm" else ("h0",)
    params, x, state = draw_cell(cell, np.random.default_rng(0), 0)

    def forward(*arrays: Array) -> tuple:
        given, (x, *state) = dict(zip(params, arrays, strict=False)), arrays[len(params) :]
        h, final, cache = run(given, x, tuple(state))
        return (h, *final), cache

    def gradients(answer: Any) -> Params:
        dx, dstate, grads = unpack(answer, "dx", "dstate", "grads")
        dstate = states(dstate, tuple(f"d{name}" for name in names))
        return entries(grads, "grads", params) | {"x": dx} | dict(zip(names, dstate, strict=True))

    inputs = params | {"x": x} | dict(zip(names, state, strict=True))
    report = check_layer(forward, lambda dout, cache: gradients(backward(dout[0], cache, dout[1:])), inputs)
    note_report(notes, report)
    calls = [draw_backward(cell, np.random.default_rng(n), n) for n in (1, LONG)]
    compare_gradients(notes, backward, getattr(model_answer, f"{cell}_backward"), calls, gradients)
    yield from notes.found.items()


def compare_gradients(
    notes: Notes, backward: Function, right: Callable, calls: list[tuple], gradients: Callable[[Any], Params]
) -> None:
    """Hold gradients that passed the check against the model answer's, where weights are square and sequences long."""
    if not notes.all_right():
        return
    expected = [gradients(right(*call)) for call in calls]
    for (dh, *_), ours, theirs in zip(calls, expected, map(gradients, backward.many(calls)), strict=True):
        faults = {name: differs(f"d{name}", theirs[name], gradient) for name, gradient in ours.items()}
        precise = all(PRECISION in fault for fault in faults.values() if fault)
        where = f"with {len(dh)} steps, " if dh.ndim == 3 else ""
        for name, fault in faults.items():
            told = fault if precise else fault.split(f"; {PRECISION}")[0]  # what came from far off is small
            notes.add(f"d{name}", told and f"{where}{told}")


def note_report(notes: Notes, report: GradientReport) -> None:
    """Each gradient under the name of what it is the gradient of, then what else must hold."""
    for finding in report.findings:
        sentence = "" if finding.ok else finding.sentence.removesuffix("; unknown mistake")
        if sentence.startswith(("the gradient is int", "the gradient is bool")):
            sentence = f"{sentence.split(',')[0]}: a buffer of integers cuts decimals off"
        if finding.name in ("pure upstream", "pure cache", "repeatable"):
            notes.add("pure", sentence)
        elif finding.name != "pure forward":
            notes.add(finding.name if finding.name == "linear" else f"d{finding.name}", sentence)


def examine_step_forward(forward: Function) -> Verdicts:
    """How one step of the tanh cell is graded."""
    notes = Notes()
    problems = [draw_step(np.random.default_rng(n), n) for n in range(2)]
    asked = [copy.deepcopy(problem) for problem in problems]
    for problem, arguments, answer in zip(problems, asked, forward.many(asked), strict=True):
        expected, cache = model_answer.rnn_step_forward(*problem)
        given, given_cache = unpack(answer, "h", "cache")
        notes.add("h", differs("h", given, expected))
        fits = isinstance(given_cache, tuple) and len(given_cache) == 4 and isinstance(given_cache[0], dict)
        ours, theirs = leaves(cache), leaves(given_cache)
        fits = fits and [a.shape for a in ours] == [a.shape for a in theirs] and all(map(np.allclose, ours, theirs))
        notes.add("cache", "" if fits else "the cache must be the tuple (params, x, h, next h)")
        notes.add("pure", "" if same(arguments, problem) else IN_PLACE)
    if notes.found["h"] and notes.found["cache"]:
        notes.found["cache"] = "not judged, because h is wrong"
    yield from notes.found.items()


def examine_step_backward(backward: Function) -> Verdicts:
    """How the way back through one step is graded."""
    notes = Notes()
    params, x, h = draw_step(np.random.default_rng(0), 0)

    def forward(Wxh: Array, Whh: Array, bh: Array, x: Array, h: Array) -> tuple:
        return model_answer.rnn_step_forward({"Wxh": Wxh, "Whh": Whh, "bh": bh}, x, h)

    def gradients(answer: Any) -> Params:
        dx, dh, grads = unpack(answer, "dx", "dh", "grads")
        return entries(grads, "grads", params) | {"x": dx, "h": dh}

    report = check_layer(forward, lambda dout, cache: gradients(backward(dout, cache)), params | {"x": x, "h": h})
    note_report(notes, report)
    calls = [draw_step_backward(np.random.default_rng(1), 1)]
    compare_gradients(notes, backward, model_answer.rnn_step_backward, calls, gradients)
    yield from notes.found.items()


# --- the loss, clipping, Adagrad --------------------------------------------------------------------------


def examine_softmax(function: Function) -> Verdicts:
    """How loss and gradient of the softmax are graded."""
    notes, huge = Notes(), np.array([[1e4, -1e4, -1e4, 0.0], [0.0, -9e3, -1e4, 1e4], [-1e4, 1e4, -1e4, 9990.0]])
    problems = [draw_softmax(np.random.default_rng(number), number) for number in range(4)]
    problems.append((huge[:, :1] / 1e4, np.array([0])))
    asked = copy.deepcopy(problems)
    for problem, arguments, answer in zip(problems, asked, function.many(asked), strict=True):
        where = "" if len(problem[1]) > 1 else "where there is one token only, "
        for name, given, expected in compared(answer, problem):
            fault = f"{name} is not finite" if where and infinite(given) else differs(name, given, expected)
            notes.add(name, fault and f"{where}{fault}")
        notes.add("pure", "" if same(arguments, problem) else IN_PLACE)
    extreme = [(logits, np.arange(logits.shape[1]) % 3) for logits in (huge, huge[:, :1], -huge)]
    elsewhere = [(logits - logits.max(axis=0), targets) for logits, targets in extreme]
    answers = []
    try:
        answers = function.many(copy.deepcopy([*elsewhere, *extreme]))
    except StudentError as error:
        if error.kind == "":  # it is stopped
            raise
        notes.add("stable", f"{error}; that is with logits of 10,000")
    for problem, there, answer in zip(extreme, answers, answers[3:], strict=False):
        for other, (name, given, expected) in zip(unpack(there, *RETURNED), compared(answer, problem), strict=True):
            # What is wrong anyway is charged there: here it must be as wrong as at the same probabilities elsewhere.
            fault = differs(name, given, other if notes.found[name] and comparable(other) else expected)
            hint = "; elsewhere it is right: subtract the largest logit of each column, and cut nothing off"
            if fault and infinite(given):
                fault = f"{name} is not finite"
                hint = ": subtract the largest logit of each column before exp, and do not take the logarithm of a "
                hint += "probability that may be 0"
            notes.add("stable", fault and f"with logits of 10,000 {fault}{'' if notes.found[name] else hint}")
    yield from notes.found.items()


def comparable(value: Any) -> bool:
    """Whether a value is a number or an array, all of it finite."""
    return isinstance(value, np.ndarray | np.generic) and bool(np.isfinite(value).all())


def infinite(value: Any) -> bool:
    """Whether a value is a number or an array, not all of it finite."""
    return isinstance(value, np.ndarray | np.generic) and not np.isfinite(value).all()


def compared(answer: Any, problem: tuple) -> Iterator[tuple[str, Any, Any]]:
    """Name, answer and truth of the loss and of its gradient."""
    loss, gradient = model_answer.softmax_cross_entropy(*problem)
    return zip(RETURNED, unpack(answer, *RETURNED), (np.float64(loss), gradient), strict=True)


def examine_clip_value(function: Function) -> Verdicts:
    """How element-wise clipping is graded."""
    notes = Notes()
    before = {"Wxy": np.array([[-70.0, 0.537], [5.0, 90.0]]), "c": np.array([[1.234], [-5.5]])}
    calls = [(copy.deepcopy(before), limit) for limit in (5.0, 0.7)]
    function.many(calls)
    for grads, limit in calls:
        expected = copy.deepcopy(before)
        model_answer.clip_value(expected, limit)
        if same(grads, before):
            notes.add("clipped", "nothing was clipped: write into the arrays of grads, in place")
        for name in grads:
            notes.add("clipped", differs(f"clipped to {limit}, {name}", grads[name], expected[name]))
    yield from notes.found.items()


def examine_clip_norm(function: Function) -> Verdicts:
    """How clipping by the global norm is graded; a factor of limit / (norm + 1e-6) keeps the norm at most limit too."""
    large = {"Wxy": np.array([[3.0, 0.0], [0.0, 4.0]]), "c": np.array([[12.0], [0.0]])}  # norm 13
    notes = Notes()
    calls = [(copy.deepcopy(large), limit) for limit in (1.3, 6.5, 13.5, 20.0)]
    for (grads, limit), norm in zip(calls, function.many(calls), strict=True):
        where = " where it is below the limit" if limit > 13 else ""
        notes.add("norm", differs(f"the norm before clipping{where}", norm, 13.0, tolerance=1e-5))
        if limit > 13:
            fault = "gradients whose norm is below the limit must stay as they are"
            notes.add("untouched", "" if same(grads, large) else fault)
            continue
        if same(grads, large):
            somewhere = limit == 6.5 and not notes.found["scaled"]
            what = "the norm of 13 was not clipped to 6.5, but it is clipped to 1.3: at which norm does that begin?"
            idle = "nothing was clipped: write into the arrays of grads, in place"
            notes.add("scaled", what if somewhere else idle)
        for name in grads:
            expected = large[name] * limit / 13
            notes.add("scaled", differs(f"clipped to {limit}, {name}", grads[name], expected, tolerance=1e-5))
        after = float(np.sqrt(sum((g**2).sum() for g in grads.values())))
        notes.add("scaled", f"the norm after clipping to {limit} is {after:.9g}" if after > limit * (1 + 1e-9) else "")
    if notes.found["untouched"] and "nothing was clipped" in notes.found["scaled"]:
        notes.found["scaled"] = "nothing was clipped above the limit, but below it: is the comparison turned round?"
    yield from notes.found.items()


def examine_adagrad(function: Function) -> Verdicts:
    """How a step of Adagrad is graded."""
    rng, notes = np.random.default_rng(0), Notes()
    shapes = {"Wxy": (3, 2), "c": (3, 1), "bh": (3, 1), "by": (3, 1)}
    orders = (list(shapes), ["Wxy", "bh", "by", "c"], ["Wxy", "by", "c", "bh"])  # names tell what belongs together
    params, grads, memory = ({name: rng.standard_normal(shapes[name]) for name in names} for names in orders)
    memory = {name: m**2 for name, m in memory.items()}
    grads["Wxy"][0] *= 150
    grads["c"][0], memory["c"][0] = 1e-5, 0.0
    expected, given = copy.deepcopy((params, grads, memory)), copy.deepcopy((params, grads, memory))
    for step, rate in ((1, 0.1), (2, 5.0)):
        for name, g in grads.items():  # whoever changes them has been told so
            given[1][name][...] = g
        before = copy.deepcopy(given)
        model_answer.adagrad_step(*expected, rate)
        function(*given, rate)
        notes.add("pure", "" if same(given[1], grads) else "it changes the gradients: copy before writing")
        for name, i in (("memory", 2), ("params", 0)):
            idle = same(given[i], before[i])
            notes.add(name, f"nothing in {name} was changed: write into its arrays, in place" if idle else "")
        for name in shapes:
            notes.add("memory", differs(f"after step {step}, memory {name}", given[2][name], expected[2][name]))
            notes.add("params", differs(f"after step {step}, {name}", given[0][name], expected[0][name]))
    yield from notes.found.items()


# --- sampling ---------------------------------------------------------------------------------------------


SAMPLED = np.array([1.0, 2.5, -1.5, 3.0, 0.0])  # the rarest has a probability of 0.6 %
MANY = np.linspace(0.5, 0, 24)[np.random.default_rng(7).permutation(24)]


def examine_sampling(function: Function) -> Verdicts:
    """How sampling is graded: by what comes out often, since everybody draws differently."""
    notes = Notes()

    def draw(logits: Array, temperature: float, rngs: list[np.random.Generator], times: int = 1) -> tuple[Array, str]:
        given = [logits.copy()] * len(rngs)
        if notes.found.get("pure"):  # charged once
            rngs, times = rngs * times, 1
            given = [logits.copy() for _ in rngs]
        try:
            ids = function.many([(z, temperature, rng) for z, rng in zip(given, rngs, strict=True)], times)
        except StudentError as error:
            if error.kind in ("", "NotImplementedError"):  # it is stopped, or not there at all
                raise
            range_of = f"{logits.min():g} to {logits.max():g}"
            return np.zeros(0, int), f"{error}; that is at temperature {temperature:g} with logits from {range_of}"
        if not np.array_equal(given[0], logits):
            notes.add("pure", "it changes the logits in place: copy before writing")
        for i in ids:
            if not isinstance(i, np.integer) and (fault := differs("the drawn id", i, 0, tolerance=np.inf)):
                return np.zeros(0, int), fault
        drawn = np.array(ids)
        if (outside := drawn[(drawn < 0) | (drawn >= len(logits))]).size:
            return np.zeros(0, int), f"the drawn id must be in 0..{len(logits) - 1}, got {outside[0]}"
        return drawn, ""

    seen: list[tuple[Array, float, Array, int]] = []

    def frequencies(logits: Array, temperature: float, count: int) -> str:
        if len(set(once)) > 1:
            ids, fault = draw(logits, temperature, [np.random.default_rng(1)], count)
        else:  # it cannot go on from one to the next, which has cost its points
            count //= 4
            ids, fault = draw(logits, temperature, [np.random.default_rng(seed) for seed in range(count)])
        if fault:
            return fault
        p, shares = softmax(logits / temperature), np.bincount(ids, minlength=len(logits)) / count
        seen.append((logits, temperature, shares, count))
        # What is expected less than once comes once or twice by chance far more often than so many deviations say.
        far = np.abs(shares - p) - 5 * np.sqrt(np.maximum(p * (1 - p), 1 / count) / count)
        far[(shares == 0) & (p * count > 12)] = 1  # by chance that happens once in 100,000 times
        i, z = int(far.argmax()), logits - p @ logits
        steep = abs(shares @ z) > 5 * np.sqrt(p @ z**2 / count)  # the mean logit tells most of a temperature
        told = f"at temperature {temperature:g} id {i} came in {shares[i]:.1%} of {count} draws, expected {p[i]:.1%}"
        return told if far[i] > 0 or steep else ""

    draw(SAMPLED, 0.5, [np.random.default_rng(0)])  # a first look at what becomes of the logits
    once, fault = draw(SAMPLED, 1.0, [np.random.default_rng(0)], 50)  # one generator, fifty times
    again, _ = draw(SAMPLED, 1.0, [np.random.default_rng(0)], 50)
    if not fault and not np.array_equal(again, once):
        fault = "the same rng must give the same ids: use only rng"
    single = not fault and len(set(once)) == 1
    notes.add("seeded", fault or ("drawing fifty times from one rng must not give one id only" if single else ""))
    ids, fault = draw(SAMPLED, 0.0, [np.random.default_rng(seed) for seed in range(20)])
    least = "; the least probable came always" if not fault and (ids == 2).all() else ""
    fault = fault or ("" if (ids == 3).all() else f"at temperature 0 the most probable id must come, always{least}")
    close = 1 + 1e-6 * SAMPLED
    if not fault:
        ids, fault = draw(close, 0.0, [np.random.default_rng(seed) for seed in range(20)])
        others = sorted(set(ids.tolist()) - {3})
        told = f"at temperature 0 the most probable id must come, always: with logits {close.tolist()} it draws"
        fault = fault or (f"{told} {others} too" if others else "")
    notes.add("argmax", fault)
    for logits, count in ((SAMPLED, 2000), (MANY, 400)):
        notes.add("softmax", frequencies(logits, 1.0, count))
    for temperature in (0.2, 3.0):
        notes.add("temperature", frequencies(SAMPLED, temperature, 800))
    notes.add("temperature", frequencies(1e-4 * SAMPLED, 1e-4, 400))  # small, but not zero
    for name in ("softmax", "temperature"):
        if " came in " in notes.found[name]:
            notes.found[name] += sampling_clue(seen)
    for extreme, possible in (([5000.0, 0, 0], {0}), ([0, 0, 5000.0], {2}), ([-9000.0, -5000.0, -5000.0], {1, 2})):
        ids, fault = draw(np.array(extreme), 1.0, [np.random.default_rng(seed) for seed in range(20)])
        if not fault and not set(ids.tolist()) <= possible:
            hint = "" if notes.found["softmax"] else ": subtract the largest before exp"
            fault = f"with logits {extreme} it draws {sorted(set(ids.tolist()) - possible)}{hint}"
        notes.add("stable", fault)
    notes.add("pure", "" if len(once) else "not judged, because of what else is wrong")
    for name in ("argmax", "softmax", "temperature", "seeded", "stable", "pure"):
        yield name, notes.found[name]


def softmax(z: Array) -> Array:
    """The probabilities of logits z (V,)."""
    e = np.exp(z - z.max())
    return e / e.sum()


OTHER_EXP: dict[str, Callable[[Array], Array]] = {  # of logits over temperature
    "a sigmoid": lambda u: 1 / (1 + np.exp(-u)),
    "a sigmoid, once the largest logit is subtracted": lambda u: 1 / (1 + np.exp(u.max() - u)),
    "1 + tanh": lambda u: 1 + np.tanh(u),
    "1 + tanh, once the largest logit is subtracted": lambda u: 1 + np.tanh(u - u.max()),
    "a relu, max(logit, 0)": lambda u: np.maximum(u, 0),
    "the absolute values": np.abs,
    "the squares": np.square,
    "the logits less the smallest": lambda u: u - u.min(),
    "a softplus, log(1 + exp)": lambda u: np.log1p(np.exp(u)),
    "powers of 2": np.exp2,
}
OTHER_SAMPLERS: dict[str, Callable[[Array, float], Array]] = {
    "the temperature is ignored": lambda z, T: softmax(z),
    "the logits are multiplied by the temperature, or p taken to its power": lambda z, T: softmax(z * T),
    "the temperature is squared": lambda z, T: softmax(z / T**2),
    "the root of the temperature is taken": lambda z, T: softmax(z / T**0.5),
    "the most probable id comes always": lambda z, T: np.eye(len(z))[z.argmax()],
    "the least probable id comes always": lambda z, T: np.eye(len(z))[z.argmin()],
    "the first id comes always": lambda z, T: np.eye(len(z))[0],
    "the last id comes always": lambda z, T: np.eye(len(z))[-1],
    "all ids come equally often": lambda z, T: np.full(len(z), 1 / len(z)),
    "the sign of the logits is turned": lambda z, T: softmax(-z / T),
    "the ids are those of the sorted logits, the largest first": lambda z, T: np.sort(softmax(z / T))[::-1],
    "the ids are those of the sorted logits, the smallest first": lambda z, T: np.sort(softmax(z / T)),
    "the ids are one too large": lambda z, T: np.roll(softmax(z / T), 1),
    "the ids are one too small": lambda z, T: np.roll(softmax(z / T), -1),
    "the ids come in reversed order": lambda z, T: softmax(z / T)[::-1],
    "the probabilities pass another softmax": lambda z, T: softmax(softmax(z / T)),
    "the probabilities are squared": lambda z, T: softmax(2 * z / T),
    "the temperature divides the probabilities, which pass another softmax": lambda z, T: softmax(softmax(z) / T),
    "the logits are divided by the largest": lambda z, T: softmax(z / T / (z / T).max()),
    "the logits are divided with //, which cuts decimals off": lambda z, T: softmax(z // T),
    "the logits are rounded to integers": lambda z, T: softmax(np.trunc(z) / T),
    "the larger of two drawn ids is returned": lambda z, T: np.diff(np.cumsum(softmax(z / T)) ** 2, prepend=0),
    "the smaller of two drawn ids is returned": lambda z, T: -np.diff((1 - np.cumsum(softmax(z / T))) ** 2, prepend=1),
    "the first id never comes": lambda z, T: softmax(np.where(np.arange(len(z)) > 0, z / T, -np.inf)),
    "the last id never comes": lambda z, T: softmax(np.where(np.arange(len(z)) < len(z) - 1, z / T, -np.inf)),
    "the most probable id never comes": lambda z, T: softmax(np.where(z < z.max(), z / T, -np.inf)),
}


def normalized(f: Callable[[Array], Array]) -> Callable[[Array, float], Array]:
    """The probabilities of whoever takes f where exp should be."""
    return lambda z, T: f(z / T) / f(z / T).sum()


OTHER_SAMPLERS |= {f"p is made of {words}, not of exp": normalized(f) for words, f in OTHER_EXP.items()}


def sampling_clue(seen: list[tuple[Array, float, Array, int]]) -> str:
    """What frequencies at all temperatures look like, if they look like one thing; else which ids never came."""
    distances = {}
    for words, other in OTHER_SAMPLERS.items():
        expected = [np.maximum(other(logits, temperature), 1e-9) for logits, temperature, _, _ in seen]
        pairs = zip(seen, expected, strict=True)
        chi2 = [count * ((shares - q) ** 2 / q).sum() / len(q) for (_, _, shares, count), q in pairs]
        distances[words] = max(chi2)
    best, second = sorted(distances, key=lambda words: distances[words])[:2]
    if distances[best] < 3 and distances[second] > distances[best] + 6:
        return f"; {best}"
    for logits, temperature, shares, count in seen:
        missing = np.flatnonzero((shares == 0) & (softmax(logits / temperature) * count > 12)).tolist()
        if len(missing) == len(logits) - 1:
            return f"; at temperature {temperature:g} id {int(shares.argmax())} comes always"
        if missing:
            which = f"id {missing[0]} never comes" if len(missing) == 1 else f"ids {str(missing)[1:-1]} never come"
            return f"; at temperature {temperature:g} {which}"
    betas, told, off = np.geomspace(0.02, 50, 400), [], []
    for logits, temperature, shares, count in seen:
        z = logits * (1e4 if np.abs(logits).max() < 0.01 else 1)
        beta = np.interp(shares @ z, [softmax(b * z) @ z for b in betas], betas)
        q = softmax(beta * z)
        off.append(count * ((shares - q) ** 2 / q).sum() / len(q))
        told += [f"{1 / beta:.2g} where it is {temperature:g}"] if logits is SAMPLED else []
    if max(off) > 3 or np.mean(off) > 1.6:
        return mixed(seen) or listed(seen)
    return f"; it draws as if the temperature were {', '.join(told)}"


def listed(seen: list[tuple[Array, float, Array, int]]) -> str:
    """What came, and what should have come, at the logits that are few."""
    logits, temperature, shares, _ = next(one for one in seen if one[0] is SAMPLED)
    given, expected = (", ".join(f"{100 * v:.3g}" for v in p) for p in (shares, softmax(logits / temperature)))
    return f"; of the logits {', '.join(f'{z:g}' for z in logits)} came {given} %, not {expected} %"


def mixed(seen: list[tuple[Array, float, Array, int]]) -> str:
    """Whether a part of the draws pays no heed to the probabilities."""
    fixed = {f"id {k}": k for k in range(len(SAMPLED))} | {"the last id": -1}
    for words in ("any id, all equally often", "the most probable id", *fixed):
        shares = np.concatenate([shares for _, _, shares, _ in seen])
        p = np.concatenate([softmax(logits / temperature) for logits, temperature, _, _ in seen])
        counts = np.concatenate([np.full(len(logits), count) for logits, _, _, count in seen])
        ids = [fixed.get(words, logits.argmax()) for logits, _, _, _ in seen]
        other = [np.eye(len(logits))[i] for i, (logits, _, _, _) in zip(ids, seen, strict=True)]
        if words.startswith("any"):
            other = [np.full(len(logits), 1 / len(logits)) for logits, _, _, _ in seen]
        off = np.concatenate(other) - p
        part = float((shares - p) @ off / (off @ off))
        q = np.maximum(p + part * off, 1e-9)
        if part > 0.03 and (counts * (shares - q) ** 2 / q).mean() < 1.6:
            return f"; in about {part:.0%} of the draws it takes {words}"
    return ""


# --- the thirteen -----------------------------------------------------------------------------------------

SEQUENCE = {"h": 4, "state": 2, "cache": 1, "pure": 1}
BACKWARD = {"dWxh": 2, "dWhh": 3, "dbh": 2, "dx": 2, "dh0": 2, "pure": 1, "linear": 1}
STEP_BACKWARD = {"dWxh": 2, "dWhh": 2, "dbh": 2, "dx": 1, "dh": 1, "pure": 1, "linear": 1}
SAMPLING = {"argmax": 1, "softmax": 2, "temperature": 2, "seeded": 1, "stable": 1, "pure": 1}
LISTED = (
    Exercise("rnn_step_forward", 1, {"h": 3, "cache": 1, "pure": 1}, examine_step_forward),
    Exercise("rnn_step_backward", 1, STEP_BACKWARD, examine_step_backward),
    Exercise("rnn_forward", 1, SEQUENCE, partial(examine_forward, "rnn")),
    Exercise("rnn_backward", 1, BACKWARD, partial(examine_backward, "rnn")),
    Exercise("softmax_cross_entropy", 1, {"loss": 3, "dlogits": 4, "stable": 2, "pure": 1}, examine_softmax),
    Exercise("clip_value", 1, {"clipped": 2}, examine_clip_value),
    Exercise("clip_norm", 1, {"norm": 2, "scaled": 2, "untouched": 1}, examine_clip_norm),
    Exercise("adagrad_step", 1, {"memory": 2, "params": 3, "pure": 1}, examine_adagrad),
    Exercise("sample_token", 1, SAMPLING, examine_sampling),
    Exercise("gru_forward", 2, SEQUENCE, partial(examine_forward, "gru")),
    Exercise("gru_backward", 2, BACKWARD | {"dbhn": 2}, partial(examine_backward, "gru")),
    Exercise("lstm_forward", 2, SEQUENCE, partial(examine_forward, "lstm")),
    Exercise("lstm_backward", 2, BACKWARD | {"dc0": 2}, partial(examine_backward, "lstm")),
)
EXERCISES = {exercise.name: exercise for exercise in LISTED}


def exercises(part: int | None) -> list[Exercise]:
    """Those of one part, or of both."""
    return [exercise for exercise in LISTED if part in (None, exercise.part)]
