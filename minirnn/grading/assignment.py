"""The assignment: thirteen functions to write, and how each is graded.

Each function is graded on its own. A backward pass is handed a cache made by the model answer's forward pass, so that a
wrong forward does not fail a right backward; for the same reason what belongs into each cache is part of the exercise.
A gradient is compared with the complex step through that forward pass, and a wrong one with what each mistake of the
catalogue would have given.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn.checks import Array, Params
from minirnn.gradcheck import GradientReport, check_layer, leaves, same
from minirnn.grading import answer as model_answer
from minirnn.grading.answer import softmax_cross_entropy
from minirnn.grading.diagnosis import TARGETS, Target, draw_cell, draw_softmax, draw_step
from minirnn.grading.student import Foreign, Function, StudentError

# --- how it is graded -------------------------------------------------------------------------------

Verdicts = Iterator[tuple[str, str]]  # property, and one sentence if it is not as it should be


class ComplaintError(Exception):
    """What came back is not even of the right kind: nothing further can be graded."""


@dataclass(frozen=True)
class Exercise:
    """A function to write, and how it is graded."""

    name: str
    part: int
    points: dict[str, int]  # of each property
    examine: Callable[[Function], Verdicts]
    target: Target | None = None  # for the diagnosis of wrong numbers


def differs(name: str, given: Any, expected: Any, tolerance: float = 1e-9) -> str:
    """One sentence if a returned value is not what was expected, empty if it is."""
    expected = np.asarray(expected)
    what = "a number" if expected.ndim == 0 else f"an array of shape {expected.shape}"
    if not isinstance(given, np.ndarray | np.generic):
        return f"{name} must be {what}, got {kind_of(given)}"
    given = np.asarray(given)
    if given.shape != expected.shape:
        return f"{name} must be {what}, got shape {given.shape}"
    if given.dtype.kind != expected.dtype.kind:
        return f"{name} must have dtype {expected.dtype}, got {given.dtype}; an integer buffer cuts decimals off"
    difference = np.abs(given - expected)
    scale = max(float(np.abs(expected).max(initial=0)), 1e-12)
    if np.all(difference <= tolerance * scale):
        return ""
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
    where = f"{name}{[int(i) for i in worst]}" if worst else name
    wrong = int((~(difference <= tolerance * scale)).sum())
    count = f"{wrong} of {given.size} entries are wrong, worst " if given.size > 1 else ""
    return f"{count}{where} is {given[worst]:.9g}, expected {expected[worst]:.9g}"


def not_finite(name: str, given: Any) -> str:
    """One sentence if a number is nan or infinite."""
    return (
        f"{name} is not finite" if isinstance(given, np.ndarray | np.generic) and not np.isfinite(given).all() else ""
    )


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


def examine_forward(cell: str) -> Callable[[Function], Verdicts]:
    """How the forward pass of a cell over a sequence is graded."""

    def examine(forward: Function) -> Verdicts:
        states = ("h", "c") if cell == "lstm" else ("h",)
        problems = [draw_cell(cell, np.random.default_rng(n), n) for n in range(2)]
        params, x, state = problems[0]
        problems.append((params, x[:1, :, :1], tuple(s[:, :1] for s in state)))  # one step of one sequence
        wrong_h = wrong_state = wrong_cache = changed = ""
        for problem in problems:
            h, final, cache = getattr(model_answer, f"{cell}_forward")(*problem)
            arguments = copy.deepcopy(problem)
            given_h, given_state, given_cache = unpack(forward(*arguments), "h", "state", "cache")
            wrong_h = wrong_h or differs("h", given_h, h)
            wrong_state = wrong_state or no_state(given_state, states)
            for name, given, expected in [] if wrong_state else zip(states, given_state, final, strict=True):
                wrong_state = wrong_state or differs(f"{name} of the final state", given, expected)
            if not same(arguments, problem):
                changed = "it changes its arguments in place: copy before writing"
            wrong_cache = wrong_cache or cache_fault(cell, given_cache, cache)
        yield "h", wrong_h
        yield "state", wrong_state
        yield "cache", wrong_cache and ("not judged, because h is wrong" if wrong_h else wrong_cache)
        yield "pure", changed

    return examine


def no_state(value: Any, names: tuple[str, ...]) -> str:
    """One sentence if a value is not the tuple that a state is, even if it holds one array."""
    if isinstance(value, tuple) and len(value) == len(names):
        return ""
    return f"a state must be the tuple ({', '.join(names)}{',' if len(names) == 1 else ''}), got {kind_of(value)}"


def cache_fault(cell: str, given: Any, expected: tuple) -> str:
    """One sentence if our backward pass cannot go on from a student's cache."""
    dh, backward = np.ones_like(expected[2][1:]), getattr(model_answer, f"{cell}_backward")
    dstate = tuple(dh[0] for s in expected[2:4] if len(s) == len(dh) + 1)
    try:
        right, got = backward(dh, expected, dstate), backward(dh, given, dstate)
        fits = all(np.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(leaves(right), leaves(got), strict=True))
    except Exception as error:
        return f"the cache does not hold what the handout lists, in its order: {type(error).__name__}: {error}"
    return "" if fits else "the cache does not hold what the handout lists: a backward pass goes wrong with it"


def examine_backward(cell: str) -> Callable[[Function], Verdicts]:
    """How the backward pass of a cell over a sequence is graded."""

    run = getattr(model_answer, f"{cell}_forward")

    def examine(backward: Function) -> Verdicts:
        def report(number: int) -> GradientReport:
            params, x, state = draw_cell(cell, np.random.default_rng(number), number)
            states = ("h0", "c0")[: len(state)]
            inputs = params | {"x": x} | dict(zip(states, state, strict=True))

            def forward(*arrays: Array) -> tuple:
                given = dict(zip(inputs, arrays, strict=True))
                start = tuple(given[name] for name in states)
                h, final, cache = run({name: given[name] for name in params}, given["x"], start)
                return (h, *final), cache

            def answer(dout: tuple, cache: tuple) -> Params:
                dx, dstate, grads = unpack(backward(dout[0], cache, dout[1:]), "dx", "dstate", "grads")
                if fault := no_state(dstate, tuple(f"d{name}" for name in states)):
                    raise ComplaintError(fault)
                return entries(grads, "grads", params) | {"x": dx} | dict(zip(states, dstate, strict=True))

            return check_layer(forward, answer, inputs)

        yield from report_findings([report(number) for number in range(2)])

    return examine


def report_findings(reports: list[GradientReport]) -> Verdicts:
    """Each gradient under the name of what it is the gradient of, then what else must hold."""
    found: dict[str, str] = {}
    for report in reports:
        for finding in report.findings:
            name = {"pure upstream": "pure", "pure cache": "pure", "repeatable": "pure"}.get(finding.name, finding.name)
            if name != "pure forward":
                sentence = "" if finding.ok else finding.sentence.removesuffix("; unknown mistake")
                found[name] = found.get(name) or sentence
    for name, sentence in found.items():
        yield (name if name in ("pure", "linear") else f"d{name}"), sentence


def examine_step_forward(forward: Function) -> Verdicts:
    """How one step of the tanh cell is graded."""
    wrong_h = wrong_cache = changed = ""
    for number in range(2):
        params, x, (h,) = draw_cell("rnn", np.random.default_rng(number), number)
        arguments = copy.deepcopy((params, x[0], h))
        expected, cache = model_answer.rnn_step_forward(params, x[0], h)
        given, given_cache = unpack(forward(*arguments), "h", "cache")
        wrong_h = wrong_h or differs("h", given, expected)
        wrong_cache = wrong_cache or step_cache_fault(given_cache, cache)
        if not same(arguments, (params, x[0], h)):
            changed = "it changes its arguments in place: copy before writing"
    yield "h", wrong_h
    yield "cache", wrong_cache
    yield "pure", changed


def step_cache_fault(given: Any, expected: tuple) -> str:
    """One sentence if the cache of a step is not (params, x, h, next h)."""
    if isinstance(given, tuple) and len(given) == 4 and isinstance(given[0], dict):
        fits = len(leaves(given)) == len(leaves(expected)) and all(
            a.shape == b.shape and np.allclose(a, b) for a, b in zip(leaves(given), leaves(expected), strict=True)
        )
        if fits:
            return ""
    return "the cache must be the tuple (params, x, h, next h)"


def examine_step_backward(backward: Function) -> Verdicts:
    """How the way back through one step is graded."""

    def report(number: int) -> GradientReport:
        params, x, h = draw_step(np.random.default_rng(number), number)

        def forward(*arrays: Array) -> tuple:
            return model_answer.rnn_step_forward(dict(zip(params, arrays, strict=False)), *arrays[-2:])

        def answer(dout: Array, cache: tuple) -> Params:
            dx, dh, grads = unpack(backward(dout, cache), "dx", "dh", "grads")
            return entries(grads, "grads", params) | {"x": dx, "h": dh}

        return check_layer(forward, answer, params | {"x": x, "h": h})

    yield from report_findings([report(number) for number in range(2)])


def examine_softmax(function: Function) -> Verdicts:
    """How loss and gradient of the softmax are graded."""
    wrong_loss = wrong_gradient = changed = ""
    for number in range(2):
        problem = draw_softmax(np.random.default_rng(number), number)
        arguments = copy.deepcopy(problem)
        loss, dlogits = unpack(function(*arguments), "loss", "dlogits")
        expected, gradient = softmax_cross_entropy(*problem)
        wrong_loss = wrong_loss or differs("loss", loss, float(expected))
        wrong_gradient = wrong_gradient or differs("dlogits", dlogits, gradient)
        if not same(arguments, problem):
            changed = "it changes its arguments in place: copy before writing"
    yield "loss", wrong_loss
    yield "dlogits", wrong_gradient
    huge, targets = np.array([[1e4, -1e4], [0.0, -9e3]]), np.array([1, 0])
    shifted = huge - huge.max(axis=0)  # the same probabilities
    one, other = (unpack(function(z.copy(), targets), "loss", "dlogits") for z in (huge, shifted))
    yield (
        "stable",
        next(
            (
                f"with logits of 10,000 {fault}: subtract the largest logit of each column before exp"
                for name, given, expected in zip(("loss", "dlogits"), one, other, strict=True)
                if (fault := not_finite(name, given) or differs(name, given, expected))
            ),
            "",
        ),
    )
    yield "pure", changed


def examine_clip_value(function: Function) -> Verdicts:
    """How element-wise clipping is graded."""
    wrong = ""
    for limit in (5.0, 0.7):
        grads = {"Wxy": np.array([[-7.0, 0.5], [5.0, 9.0]]), "c": np.array([[1.0], [-5.5]])}
        expected = copy.deepcopy(grads)
        model_answer.clip_value(expected, limit)
        before = copy.deepcopy(grads)
        function(grads, limit)
        for name in grads:
            wrong = wrong or differs(f"clipped to {limit}, {name}", grads[name], expected[name])
        if same(grads, before):
            wrong = "nothing was clipped: write into the arrays of grads, in place"
    yield "clipped", wrong


def examine_clip_norm(function: Function) -> Verdicts:
    """How clipping by the global norm is graded."""
    large = {"Wxy": np.array([[3.0, 0.0], [0.0, 4.0]]), "c": np.array([[12.0], [0.0]])}  # norm 13
    wrong_norm = wrong = ""
    for limit in (6.5, 1.3):
        grads = copy.deepcopy(large)
        norm = function(grads, limit)
        wrong_norm = wrong_norm or differs("the norm before clipping", norm, 13.0)
        for name in grads:
            wrong = wrong or differs(f"clipped to {limit}, {name}", grads[name], large[name] * limit / 13)
        if same(grads, large):
            wrong = "nothing was clipped: write into the arrays of grads, in place"
    yield "norm", wrong_norm
    yield "scaled", wrong
    grads = copy.deepcopy(large)
    function(grads, 20.0)
    yield "untouched", "" if same(grads, large) else "gradients whose norm is below the limit must stay as they are"


def examine_adagrad(function: Function) -> Verdicts:
    """How a step of Adagrad is graded."""
    rng = np.random.default_rng(0)
    shapes = {"Wxy": (3, 2), "c": (3, 1)}
    params, grads = ({name: rng.standard_normal(shape) for name, shape in shapes.items()} for _ in range(2))
    memory = {name: rng.uniform(0, 1, shape) for name, shape in shapes.items()}
    grads["c"][0], memory["c"][0] = 1e-5, 0.0
    expected, given = copy.deepcopy((params, grads, memory)), copy.deepcopy((params, grads, memory))
    wrong_memory = wrong_params = ""
    for step, rate in ((1, 0.1), (2, 0.25)):
        model_answer.adagrad_step(*expected, rate)
        function(*given, rate)
        for name in shapes:
            wrong_memory = wrong_memory or differs(
                f"after step {step}, memory {name}", given[2][name], expected[2][name]
            )
            wrong_params = wrong_params or differs(f"after step {step}, {name}", given[0][name], expected[0][name])
    yield "memory", wrong_memory
    yield "params", wrong_params
    yield "pure", "" if same(given[1], grads) else "it changes the gradients: copy before writing"


def examine_sampling(function: Function) -> Verdicts:
    """How sampling is graded: by what comes out often, since everybody draws differently."""
    logits, changed = np.array([1.0, 3.0, -1.0, 2.5, 0.0]), False

    def draw(temperature: float, rngs: list[np.random.Generator], logits: Array = logits) -> tuple[Array, str]:
        nonlocal changed
        given = logits.copy()
        try:
            ids = function.many([(given, temperature, rng) for rng in rngs])
        except StudentError as error:
            return np.zeros(0, int), str(error)
        finally:
            changed = changed or not np.array_equal(given, logits)
        for i in ids:
            fault = differs("the drawn id", i, 0, tolerance=np.inf)  # only its kind
            if fault or not 0 <= i < len(logits):
                return np.zeros(0, int), fault or f"the drawn id must be in 0..{len(logits) - 1}, got {i}"
        return np.array(ids, int), ""

    def seeded(count: int) -> list[np.random.Generator]:
        return [np.random.default_rng(seed) for seed in range(count)]

    def frequencies(temperature: float, count: int = 300) -> str:
        ids, fault = draw(temperature, seeded(count))
        p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        shares = np.bincount(ids, minlength=len(p)) / count
        far = np.abs(shares - p) - 5 * np.sqrt(p * (1 - p) / count)
        i = int(far.argmax())
        told = f"at temperature {temperature:g} id {i} came in {shares[i]:.1%} of {count} draws, expected {p[i]:.1%}"
        return fault or (told if far[i] > 0 else "")

    ids, fault = draw(0.0, seeded(20))
    yield "argmax", fault or ("" if (ids == 1).all() else "at temperature 0 the most probable id must come, always")
    yield "softmax", frequencies(1.0)
    yield "temperature", frequencies(0.4) or frequencies(3.0)
    once, fault = draw(1.0, [np.random.default_rng(0)] * 50)  # one generator, fifty times
    again, _ = draw(1.0, [np.random.default_rng(0)] * 50)
    if not fault and not np.array_equal(again, once):
        fault = "the same rng must give the same ids: use only rng"
    yield (
        "seeded",
        fault or ("" if len(set(once)) > 1 else "drawing fifty times from one rng must not give one id only"),
    )
    faults = []
    for extreme, possible in (([5000.0, 0, 0], {0}), ([0, 0, 5000.0], {2}), ([-9000.0, -5000.0, -5000.0], {1, 2})):
        ids, fault = draw(1.0, seeded(20), np.array(extreme))
        if not fault and not set(ids.tolist()) <= possible:
            fault = f"with logits {extreme} it draws {set(ids.tolist()) - possible}: subtract the largest before exp"
        faults.append(fault)
    yield "stable", next(filter(None, faults), "")
    unjudged = "" if len(once) else "not judged, because of what else is wrong"
    yield "pure", "it changes the logits in place: copy before writing" if changed else unjudged


SEQUENCE = {"h": 4, "state": 2, "cache": 1, "pure": 1}
BACKWARD = {"dWxh": 2, "dWhh": 3, "dbh": 2, "dx": 2, "dh0": 2, "pure": 1, "linear": 1}
EXERCISES = {
    exercise.name: exercise
    for exercise in (
        Exercise(
            "rnn_step_forward",
            1,
            {"h": 3, "cache": 1, "pure": 1},
            examine_step_forward,
            TARGETS["rnn_step_forward"],
        ),
        Exercise(
            "rnn_step_backward",
            1,
            {"dWxh": 2, "dWhh": 2, "dbh": 2, "dx": 1, "dh": 1, "pure": 1, "linear": 1},
            examine_step_backward,
            TARGETS["rnn_step_backward"],
        ),
        Exercise("rnn_forward", 1, SEQUENCE, examine_forward("rnn"), TARGETS["rnn.forward"]),
        Exercise("rnn_backward", 1, BACKWARD, examine_backward("rnn"), TARGETS["rnn.backward"]),
        Exercise(
            "softmax_cross_entropy",
            1,
            {"loss": 3, "dlogits": 4, "stable": 2, "pure": 1},
            examine_softmax,
            TARGETS["softmax_cross_entropy"],
        ),
        Exercise("clip_value", 1, {"clipped": 2}, examine_clip_value, TARGETS["optim.clip_value"]),
        Exercise(
            "clip_norm", 1, {"norm": 2, "scaled": 2, "untouched": 1}, examine_clip_norm, TARGETS["optim.clip_norm"]
        ),
        Exercise("adagrad_step", 1, {"memory": 2, "params": 3, "pure": 1}, examine_adagrad, TARGETS["adagrad_step"]),
        Exercise(
            "sample_token",
            1,
            {"argmax": 1, "softmax": 2, "temperature": 2, "seeded": 1, "stable": 1, "pure": 1},
            examine_sampling,
        ),
        Exercise("gru_forward", 2, SEQUENCE, examine_forward("gru"), TARGETS["gru.forward"]),
        Exercise("gru_backward", 2, BACKWARD | {"dbhn": 2}, examine_backward("gru"), TARGETS["gru.backward"]),
        Exercise("lstm_forward", 2, SEQUENCE, examine_forward("lstm"), TARGETS["lstm.forward"]),
        Exercise("lstm_backward", 2, BACKWARD | {"dc0": 2}, examine_backward("lstm"), TARGETS["lstm.backward"]),
    )
}


def exercises(part: int | None) -> list[Exercise]:
    """Those of one part, or of both."""
    return [exercise for exercise in EXERCISES.values() if part in (None, exercise.part)]
