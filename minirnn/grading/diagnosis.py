"""Which mistake is it? A way to recognize what went wrong in somebody's hand-written back-propagation.

A mistake is a line that should read differently; :mod:`minirnn.grading.catalogue` lists such lines of our own
source. Put into our source, a mistake gives a function that makes it. That function is asked for its answers at four
random points, and whoever gives the same answers to eight digits has made the same mistake.

Only an exact match is named. What matches none of them, nor two together, is an "unknown mistake"; nobody is told a
guess. Since every mistake is a mutation of our source, the catalogue also tests our tests: each must be caught.
"""

import contextlib
import copy
import functools
import importlib
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minirnn import ops, optim
from minirnn.checks import Array, Params, State
from minirnn.gradcheck import leaves
from minirnn.grading.catalogue import MISTAKES, Mistake
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


def locate(function: str) -> tuple[Any, str]:
    """The module or class that holds a function, and the name it has there."""
    module, *path, name = function.split(".")
    owner: Any = importlib.import_module(f"minirnn.{module}")
    for part in path:
        owner = getattr(owner, part)
    return owner, name


@functools.cache
def source_of(function: str) -> str:
    """The source of a function as it stands in the file."""
    return textwrap.dedent(inspect.getsource(getattr(*locate(function))))


@contextlib.contextmanager
def planted(*mistakes: Mistake) -> Iterator[None]:
    """Within this context minirnn itself makes the mistakes. ValueError if a piece of source is not there, once."""
    sources: dict[str, str] = {}
    for mistake in mistakes:
        source = sources.get(mistake.function) or source_of(mistake.function)
        for right, wrong in mistake.edits:
            if source.count(right) != 1:
                raise ValueError(f"{right!r} does not stand in {mistake.function} exactly once")
            source = source.replace(right, wrong)
        sources[mistake.function] = source
    with contextlib.ExitStack() as stack:
        for function, source in sources.items():
            owner, name = locate(function)
            original = getattr(owner, name)
            namespace: dict[str, Any] = {}
            exec(compile(source, f"<mistake in {function}>", "exec"), original.__globals__, namespace)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, namespace[name])
        yield


# --- recognizing one --------------------------------------------------------------------------------


Answer = tuple[Array, ...] | str  # all numbers that came back, or the name of the exception


@dataclass(frozen=True)
class Target:
    """A function whose mistakes can be recognized."""

    call: Callable[..., Any]
    problem: Callable[[np.random.Generator, int], tuple]  # draws the arguments of a call; the number says of what size
    results: int | None = None  # how many of its results count; the cache of a forward pass is its own business


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
    points = draw_points(target, seed)
    given = list(answers(function, points, target))
    if alike(given, answers(target.call, points, target)):
        return Diagnosis(True, ())
    known = known_answers(target, seed)
    found: list[tuple[Mistake, ...]] = [(mistake,) for mistake, wrong in known if alike(given, wrong)]
    if not found and telling(given):
        for pair in itertools.combinations([mistake for mistake, _ in known], 2):
            with contextlib.suppress(ValueError), planted(*pair):  # two edits of one line cannot be made together
                if alike(given, answers(target.call, points, target)):
                    found.append(pair)
    return Diagnosis(False, tuple(found))


@functools.cache
def known_answers(target: Target, seed: int) -> list[tuple[Mistake, list[Answer]]]:
    """The answers of each mistake that shows at two points or more."""
    points = draw_points(target, seed)
    right = list(answers(target.call, points, target))
    known = []
    for mistake in MISTAKES:
        with planted(mistake):
            wrong = list(answers(target.call, points, target))
        if telling(wrong) and sum(not agree(*pair) for pair in zip(wrong, right, strict=True)) >= 2:
            known.append((mistake, wrong))
    return known


def draw_points(target: Target, seed: int) -> list[tuple]:
    """The arguments of four calls."""
    return [target.problem(np.random.default_rng([seed, number]), number) for number in range(4)]


def alike(given: Iterable[Answer], known: Iterable[Answer]) -> bool:
    """Whether two functions answered the same at every point; stops asking at the first difference."""
    return all(map(agree, given, known))


def telling(answers: list[Answer]) -> bool:
    """Whether there are numbers to compare at two points at least; an exception alone names no mistake."""
    return sum(not isinstance(answer, str) for answer in answers) >= 2


def answers(function: Callable[..., Any], points: list[tuple], target: Target) -> Iterator[Answer]:
    """What a function answers at each point: see :func:`answer`."""
    return (answer(function, point, target.results) for point in points)


def answer(function: Callable[..., Any], point: tuple, results: int | None) -> Answer:
    """All numbers a call returns and all it left in its arguments; the name of the exception if it raised one."""
    arguments = copy.deepcopy(point)
    try:
        with np.errstate(all="ignore"):
            result = function(*arguments)
    except Exception as error:
        return getattr(error, "kind", type(error).__name__)  # of a student's function, what happened over there
    return leaves((numbers(result if results is None else result[:results]), numbers(arguments)))


def numbers(tree: Any) -> Any:
    """The same tree with every dict in the order of its keys and every number an array."""
    if isinstance(tree, LanguageModel):
        tree = tree.params
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
        p.shape == q.shape
        and np.allclose(p, q, rtol=0, atol=1e-8 * np.abs(q[np.isfinite(q)]).max(initial=0), equal_nan=True)
        for p, q in zip(a, b, strict=True)
    )


# --- points at which answers are compared -------------------------------------------------------------
# Of four, two are square, where a transposed matrix still fits, and two are large, where clipping shows. T and B differ
# from point to point, so that a factor T is not taken for a factor B or a 3. Weights have a standard deviation of 0.5,
# states are not zero, tokens repeat: at T = 1, B = 1, or with a zero state, many a mistake cannot be seen.

SIZES = ((4, 3, 5, 2), (5, 4, 4, 3), (3, 2, 5, 4), (6, 3, 3, 5))  # T, D, H, B
UPSTREAM = (1, 1, 100, 100)


def draw_cell(cell: ModuleType, rng: np.random.Generator, number: int) -> tuple[Params, Array, State]:
    """Parameters, input and state of a cell."""
    T, D, H, B = SIZES[number]
    params = {name: rng.normal(0, 0.5, p.shape) for name, p in cell.init(D, H, 0, np.float64).items()}
    return params, rng.standard_normal((T, D, B)), tuple(rng.uniform(-1, 1, s.shape) for s in cell.zero_state(H, B))


def draw_backward(cell: ModuleType, rng: np.random.Generator, number: int) -> tuple[Array, tuple, State]:
    """Upstream gradient, cache, and the gradient of the final state."""
    h, state, cache = cell.forward(*draw_cell(cell, rng, number))
    size = UPSTREAM[number]
    return size * rng.standard_normal(h.shape), cache, tuple(size * rng.standard_normal(s.shape) for s in state)


def draw_softmax(rng: np.random.Generator, number: int) -> tuple[Array, Array, Array]:
    """Logits, targets, and weights, of which one is zero: a padded token."""
    V, N = ((5, 7), (6, 6), (4, 9), (5, 5))[number]
    weights = rng.uniform(0.5, 1.5, N) / N
    weights[1] = 0
    return rng.normal(0, 2, (V, N)), rng.integers(0, V, N), weights


def draw_grads(rng: np.random.Generator) -> Params:
    """Gradients of three parameters, tiny in one entry."""
    shapes = {"Whh": (4, 4), "Wxh": (4, 3), "bh": (4, 1)}
    grads = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    grads["bh"][1] = 1e-4
    return grads


def draw_adagrad(rng: np.random.Generator, number: int) -> tuple[Params, Params, Params, float]:
    """Parameters, gradients, memory and learning rate."""
    grads = draw_grads(rng)
    memory = {name: rng.uniform(0, 2, g.shape) for name, g in grads.items()}
    memory["bh"][1:] = 0
    return {name: rng.standard_normal(g.shape) for name, g in grads.items()}, grads, memory, 0.1 + 0.1 * number


def adagrad_step(params: Params, grads: Params, memory: Params, learning_rate: float) -> None:
    """One step of :class:`minirnn.Adagrad` as a plain function, in place."""
    optimizer = optim.Adagrad(learning_rate)
    optimizer.state = memory
    optimizer.step(params, grads)


def draw_model(rng: np.random.Generator, number: int) -> tuple:
    """A model with tied weights, dropout and padding, and a batch for it."""
    T, _, H, B = SIZES[number]
    cell = ("rnn", "gru", "lstm", "rnn")[number]
    config = ModelConfig(cell, 6, H, layers=2, embedding_size=H, dropout=0.3, tie_weights=True)
    model = LanguageModel.init(config, rng, np.float64)
    x, y = rng.integers(0, 6, (2, T, B))
    lengths = 1 + np.arange(B) % T
    return model, x, y, model.zero_state(B), int(rng.integers(100)), "mean", lengths


def draw_linear(rng: np.random.Generator, number: int) -> tuple:
    """dy (V, N), and the cache (x (D, N), W (V, D))."""
    _, V, D, N = SIZES[number]
    return rng.standard_normal((V, N)), (rng.standard_normal((D, N)), rng.standard_normal((V, D)))


def draw_embedding(rng: np.random.Generator, number: int) -> tuple:
    """dx (T, D, B), and the cache: ids (T, B), of which many are equal, and the shape of the table (V, D)."""
    T, D, _, B = SIZES[number]
    return rng.standard_normal((T, D, B)), (rng.integers(0, 4, (T, B)), (6, D))


PROBLEMS: dict[str, tuple] = {  # how the arguments of a call are drawn and, if not all do, how many results count
    **{f"{name}.forward": (functools.partial(draw_cell, cell), 2) for name, cell in CELLS.items()},
    **{f"{name}.backward": (functools.partial(draw_backward, cell),) for name, cell in CELLS.items()},
    "ops.cross_entropy_forward": (draw_softmax, 1),
    "ops.cross_entropy_backward": (lambda rng, n: (ops.cross_entropy_forward(*draw_softmax(rng, n))[1],),),
    "ops.linear_backward": (draw_linear,),
    "ops.embedding_backward": (draw_embedding,),
    "optim.clip_value": (lambda rng, n: (draw_grads(rng), 1.5),),
    "optim.clip_norm": (lambda rng, n: (draw_grads(rng), 20.0 if n < 2 else 1.5),),
    "model.LanguageModel.loss_and_grads": (draw_model,),
}


def target_of(name: str, *problem: Any) -> Target:
    """The target of that name. It is looked up at each call, so that a planted mistake is met."""
    return Target(lambda *args: getattr(*locate(name))(*args), *problem)


TARGETS = {name: target_of(name, *problem) for name, problem in PROBLEMS.items()}
TARGETS["adagrad_step"] = Target(adagrad_step, draw_adagrad)
