"""Which mistake is it? A way to recognize what went wrong in somebody's hand-written back-propagation.

A mistake is a line that should read differently; ``catalogue.txt`` lists such lines of the model answer. Put into it, a
mistake gives a function that makes it. That function is asked for its answers at four random points, and whoever gives
the same answers to eight digits has made the same mistake.

Only an exact match is named. What matches none of them, nor two together, is an "unknown mistake"; nobody is told a
guess. Since every mistake is a mutation of a right function, the catalogue also tests our tests: each must be caught.
"""

import contextlib
import copy
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import minirnn.grading.answer as model_answer
from minirnn import ops
from minirnn.checks import Array, Params
from minirnn.gradcheck import leaves, same
from minirnn.grading.catalogue import MISTAKES, Mistake
from minirnn.grading.problems import (
    POINTS,
    SMALL,
    draw_adagrad,
    draw_backward,
    draw_cell,
    draw_embedding,
    draw_grads,
    draw_linear,
    draw_model,
    draw_padded,
    draw_softmax,
    draw_step,
    draw_step_backward,
)
from minirnn.model import CELLS, LanguageModel, ModelConfig


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found: ``correct``, or the alternatives that explain it, each one or two mistakes."""

    correct: bool
    explanations: tuple[tuple[Mistake, ...], ...]

    def __str__(self) -> str:
        if self.correct:
            return "no mistake"
        if not self.explanations:
            return "unknown mistake: it is none of those in the catalogue, nor two of them together"
        return " Or: ".join(
            " And: ".join(f"{mistake.sentence}. Right is: {mistake.algebra}." for mistake in mistakes)
            for mistakes in self.explanations
        )


# --- making a mistake on purpose --------------------------------------------------------------------


@functools.cache
def planted(*mistakes: Mistake) -> Callable[..., Any]:
    """The function of the model answer that the mistakes concern, making them.

    ValueError if they are not all of one function, if a piece to be replaced does not stand there exactly once, or if
    what comes out is not Python.
    """
    (name, *others) = dict.fromkeys(mistake.function for mistake in mistakes)
    if others:
        raise ValueError(f"only mistakes of one function can be made together, got {name}, {', '.join(others)}")
    head, body = source_of(name)
    for right, wrong in itertools.chain.from_iterable(mistake.edits for mistake in mistakes):
        if body.count(right) != 1:
            raise ValueError(f"{right!r} does not stand in {name} exactly once")
        body = body.replace(right, wrong)
    namespace = dict(vars(model_answer))
    try:
        exec(compile(head + body, f"<mistake in {name}>", "exec"), namespace)
    except SyntaxError as error:
        raise ValueError(f"{name} with {' and '.join(mistake.sentence for mistake in mistakes)}: {error}") from error
    return namespace[name]


def possible(mistake: Mistake) -> bool:
    """Whether it can still be made: a teacher may have changed the line of the model answer."""
    with contextlib.suppress(ValueError):
        return bool(planted(mistake))
    return False


@functools.cache
def source_of(name: str) -> tuple[str, str]:
    """The source of a function of the model answer, to the end of its docstring, and below it, where pieces stand."""
    source = inspect.getsource(getattr(model_answer, name))
    documented = source.rindex('"""')
    return source[:documented], source[documented:]


# --- recognizing one --------------------------------------------------------------------------------


Answer = tuple[Array, ...] | str  # all numbers that came back, or the name of the exception


def plain(function: Callable[..., Any], *args: Any) -> Any:
    """The result of a call."""
    return function(*args)


def first(function: Callable[..., Any], *args: Any) -> Any:
    """The first part of the result; what else there is, such as a cache, is its own business."""
    return function(*args)[0]


def first_two(function: Callable[..., Any], *args: Any) -> Any:
    """The first two parts of the result."""
    return function(*args)[:2]


@dataclass(frozen=True)
class Target:
    """A function whose mistakes can be recognized."""

    name: str  # of the function of the model answer
    draw: Callable[[np.random.Generator, int], tuple]  # draws the arguments of a call; the number says of what size
    ours: Callable[..., Any] = plain  # asks a function like the model answer's: ours(function, *arguments)
    theirs: Callable[..., Any] = plain  # asks a function that is to be diagnosed, and may take them otherwise


def diagnose(target: str | Target, function: Callable[..., Any], seed: int = 0) -> Diagnosis:
    """Say which mistake a function makes that should do what ``target`` does.

    Parameters
    ----------
    target : str or Target
        A name in ``TARGETS``, such as "rnn.backward" for :func:`minirnn.rnn.backward`.
    function : function
        Takes and returns exactly what the target does, the cache of our forward included.
    seed : int
        Draws the points at which answers are compared.
    """
    if isinstance(target, str):
        if target not in TARGETS:
            raise ValueError(f"unknown target {target!r}; known targets: {', '.join(TARGETS)}")
        target = TARGETS[target]
    own = [mistake for mistake in MISTAKES if mistake.function == target.name and possible(mistake)]
    given = [answer(target.theirs, function, point(target, seed, number)) for number in range(POINTS)]
    if all(agree(given[number], known(target, seed, number)) for number in range(POINTS)):
        return Diagnosis(True, ())
    found: list[tuple[Mistake, ...]] = []
    if telling(given):
        found = [(mistake,) for mistake in own if explains(given, target, seed, mistake)]
        if not found:
            small = answer(target.theirs, function, point(target, seed, SMALL))
            found = [pair for pair in thinkable(own, small, target, seed) if explains(given, target, seed, *pair)]
    return Diagnosis(False, tuple(found))


def explains(given: list[Answer], target: Target, seed: int, *mistakes: Mistake) -> bool:
    """Whether the mistakes give these answers at every point, and show at two at least; stops at the first difference.

    There must be numbers at two points too: an exception alone names no mistake.
    """
    try:
        if not all(agree(given[number], known(target, seed, number, *mistakes)) for number in range(POINTS)):
            return False
    except ValueError:  # two edits of one piece cannot be made together
        return False
    return telling(given) and sum(not agree(given[n], known(target, seed, n)) for n in range(POINTS)) >= 2


def thinkable(mistakes: list[Mistake], mine: Answer, target: Target, seed: int) -> Iterator[tuple]:
    """The pairs that may explain the answer at the smallest point, where most mistakes show in some rows only.

    A row that one of the two leaves right must be as the other makes it, and what is right was not made wrong by both.
    """
    right = known(target, seed, SMALL)
    if [np.shape(array) for array in mine] != [np.shape(array) for array in right]:
        return
    alone = [known(target, seed, SMALL, mistake) for mistake in mistakes]
    kept, same = (np.array([equal_rows(answer, other) for answer in alone]) for other in (right, mine))
    spoilt = ~kept & equal_rows(mine, right)
    unlike = kept.astype(int) @ ~same.T
    allowed = (unlike == 0) & (unlike.T == 0) & (spoilt.astype(int) @ spoilt.T == 0)
    for a, b in np.argwhere(np.triu(allowed, 1)):
        yield mistakes[a], mistakes[b]


def equal_rows(a: Any, b: Any) -> Array:
    """For each row of the arrays of an answer b whether it is the same in a, to eight digits."""
    rows = []
    for i, q in enumerate(b):
        p, q = np.atleast_1d(a[i] if i < len(a) and not isinstance(a, str) else np.nan), np.atleast_1d(q)
        fits = np.abs(p - q) <= 1e-8 * np.abs(q).max(initial=0) if p.shape == q.shape else np.zeros(q.shape, bool)
        rows.append(fits.reshape(len(q), -1).all(axis=1))
    return np.concatenate(rows)


def telling(answers: list[Answer]) -> bool:
    """Whether there are numbers at two points at least."""
    return sum(bool(answer) and not isinstance(answer, str) for answer in answers) >= 2


@functools.cache
def point(target: Target, seed: int, number: int) -> tuple:
    """The arguments of one of four calls."""
    return target.draw(np.random.default_rng([seed, number]), number)


@functools.lru_cache(1 << 14)
def known(target: Target, seed: int, number: int, *mistakes: Mistake) -> Answer:
    """What the model answer gives at a point, right or making mistakes."""
    function = planted(*mistakes) if mistakes else getattr(model_answer, target.name)
    return answer(target.ours, function, point(target, seed, number))


def answer(ask: Callable[..., Any], function: Callable[..., Any], arguments: tuple) -> Answer:
    """All numbers a call returns, and all it left in its arguments if it changed them; or the name of its exception."""
    given = copy.deepcopy(arguments)
    try:
        with np.errstate(all="ignore"):
            result = ask(function, *given)
    except Exception as error:
        return getattr(error, "kind", type(error).__name__)  # of a student's function, what happened over there
    return leaves((numbers(result), () if same(given, arguments) else given))


def numbers(tree: Any) -> Any:
    """The same tree with every dict in the order of its keys and every number an array."""
    if isinstance(tree, dict):
        return [numbers(tree[key]) for key in sorted(tree)]
    if isinstance(tree, tuple | list):
        return [numbers(branch) for branch in tree]
    return np.asarray(tree) if isinstance(tree, float | int | np.generic | np.ndarray) else ()


def agree(a: Answer, b: Answer) -> bool:
    """Whether two answers are the same to eight digits, or the same exception."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return len(a) == len(b) and all(
        p.shape == q.shape and p.dtype.kind == q.dtype.kind and alike(p, q) for p, q in zip(a, b, strict=True)
    )


def alike(p: Array, q: Array) -> bool:
    """Whether the numbers of q are those of p to eight digits of the largest; np.allclose takes ten times as long."""
    with np.errstate(all="ignore"):
        size = np.abs(q).max(initial=0)
        if q.dtype.kind == "f" and np.isfinite(size):
            return bool((np.abs(p - q) <= 1e-8 * size).all())
        return np.allclose(p, q, rtol=0, atol=1e-8 * np.abs(q[np.isfinite(q)]).max(initial=0), equal_nan=True)


# --- what is asked, and how --------------------------------------------------------------------------


def ask_model(loss_and_grads: Callable[..., Any], config: ModelConfig, params: Params, *rest: Any) -> Any:
    """The loss, gradients and final state of a function like the method of :class:`minirnn.LanguageModel`."""
    x, y, lengths, seed = rest
    model = LanguageModel(config, params)
    loss, grads, state = loss_and_grads(model, x, y, model.zero_state(x.shape[1]), rng=seed, lengths=lengths)
    return loss, grads, state


def ask_tied_model(tied_model: Callable[..., Any], config: ModelConfig, params: Params, *rest: Any) -> Any:
    """The same of a function like the model answer's, with the dropout that the method above draws."""
    x, y, lengths, seed = rest
    rng, ones = np.random.default_rng(seed), np.ones((len(x), config.hidden_size, x.shape[1]))
    masks = [ops.dropout_forward(ones, config.dropout, rng)[0] for _ in range(2)]
    renamed = {name.removeprefix("rnn0.").replace("embedding", "table"): p for name, p in params.items()}
    loss, grads, h = tied_model(renamed, x, y, lengths, masks)
    return loss, {name: grads[short] for name, short in zip(params, renamed, strict=True)}, ((h,),)


TARGETS = {
    **{f"{c}.forward": Target(f"{c}_forward", functools.partial(draw_cell, c), first_two, first_two) for c in CELLS},
    **{f"{c}.backward": Target(f"{c}_backward", functools.partial(draw_backward, c)) for c in CELLS},
    "rnn_step_forward": Target("rnn_step_forward", draw_step, first, first),
    "rnn_step_backward": Target("rnn_step_backward", draw_step_backward),
    "softmax_cross_entropy": Target("softmax_cross_entropy", draw_softmax),
    "ops.cross_entropy_forward": Target("softmax_cross_entropy", draw_padded, first, first),
    "ops.cross_entropy_backward": Target(
        "softmax_cross_entropy",
        draw_padded,
        lambda ours, *args: ours(*args)[1],
        lambda theirs, *args: theirs(ops.cross_entropy_forward(*args)[1]),
    ),
    "ops.linear_backward": Target(
        "linear_backward",
        draw_linear,
        theirs=lambda f, dy, x, W: f(dy, ops.linear_forward(x, W, dy[:, :1])[1]),
    ),
    "ops.embedding_backward": Target(
        "embedding_backward", draw_embedding, theirs=lambda f, dx, *args: f(dx, ops.embedding_forward(*args)[1])
    ),
    "optim.clip_value": Target("clip_value", lambda rng, n: (draw_grads(rng, 3), 1.5)),
    "optim.clip_norm": Target("clip_norm", lambda rng, n: (draw_grads(rng), 20.0 if n < 2 else 1.5)),
    "adagrad_step": Target("adagrad_step", draw_adagrad),
    "model.LanguageModel.loss_and_grads": Target("tied_model", draw_model, ask_tied_model, ask_model),
}
