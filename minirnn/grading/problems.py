"""Points at which answers are compared: drawn at random, and chosen so that mistakes show.

Of four, two are square, where a transposed matrix still fits, two are large, where clipping shows, and two are long,
where it shows that a backward pass gives up early. T and B differ from point to point, so that a factor T is not
taken for a factor B or a 3. Weights have a standard deviation of 0.5, states are not zero, tokens repeat: at T = 1,
B = 1, or with a zero state, many a mistake cannot be seen.
"""

import numpy as np

import minirnn.grading.answer as model_answer
from minirnn.checks import Array, Params, State
from minirnn.model import CELLS, LanguageModel, ModelConfig

# T, D, H, B. A fifth, of one step and one sequence, is for guessing pairs, and a sixth for whoever only grades.
SIZES = ((4, 3, 5, 2), (5, 4, 4, 3), (30, 2, 5, 4), (31, 3, 3, 5), (1, 3, 4, 1), (64, 2, 3, 2))
UPSTREAM = (1, 1, 100, 100, 1, 1)
POINTS, SMALL, LONG = 4, 4, 5


def draw_cell(cell: str, rng: np.random.Generator, number: int) -> tuple[Params, Array, State]:
    """Parameters, input and state of a cell, of one of the sizes above."""
    return draw_sizes(cell, rng, SIZES[number])


def draw_sizes(cell: str, rng: np.random.Generator, sizes: tuple[int, ...]) -> tuple[Params, Array, State]:
    """The same of any size."""
    T, D, H, B = sizes
    params = {name: rng.normal(0, 0.5, p.shape) for name, p in CELLS[cell].init(D, H, 0, np.float64).items()}
    state = tuple(rng.uniform(-1, 1, s.shape) for s in CELLS[cell].zero_state(H, B))
    return params, rng.standard_normal((T, D, B)), state


def draw_backward(cell: str, rng: np.random.Generator, number: int) -> tuple[Array, tuple, State]:
    """Upstream gradient, cache, and the gradient of the final state."""
    h, state, cache = getattr(model_answer, f"{cell}_forward")(*draw_cell(cell, rng, number))
    size = UPSTREAM[number]
    return size * rng.standard_normal(h.shape), cache, tuple(size * rng.standard_normal(s.shape) for s in state)


def draw_step(rng: np.random.Generator, number: int) -> tuple[Params, Array, Array]:
    """Arguments of a step of the tanh cell."""
    params, x, (h,) = draw_cell("rnn", rng, number)
    return params, x[0], h


def draw_step_backward(rng: np.random.Generator, number: int) -> tuple[Array, tuple]:
    """Arguments of the way back through it."""
    h, cache = model_answer.rnn_step_forward(*draw_step(rng, number))
    return UPSTREAM[number] * rng.standard_normal(h.shape), cache


def draw_softmax(rng: np.random.Generator, number: int) -> tuple[Array, Array]:
    """Logits and targets, among them the first and the last class."""
    V, N = ((5, 7), (6, 6), (4, 9), (5, 5), (3, 4))[number]
    targets = rng.integers(0, V, N)
    targets[:2] = 0, V - 1
    return rng.normal(0, 2, (V, N)), rng.permutation(targets)


def draw_padded(rng: np.random.Generator, number: int) -> tuple[Array, Array, Array]:
    """The same, and weights, of which one is zero: a padded token."""
    logits, targets = draw_softmax(rng, number)
    weights = rng.uniform(0.5, 1.5, len(targets)) / len(targets)
    weights[1] = 0
    return logits, targets, weights


def draw_grads(rng: np.random.Generator, size: float = 1) -> Params:
    """Gradients of three parameters, tiny in one entry."""
    shapes = {"Whh": (4, 4), "Wxh": (4, 3), "bh": (4, 1)}
    grads = {name: size * rng.standard_normal(shape) for name, shape in shapes.items()}
    grads["bh"][1] = 1e-4
    return grads


def draw_adagrad(rng: np.random.Generator, number: int) -> tuple[Params, Params, Params, float]:
    """Parameters, gradients, memory and learning rate."""
    grads = draw_grads(rng)
    memory = {name: rng.uniform(0, 2, g.shape) for name, g in grads.items()}
    memory["bh"][1:] = 0
    return {name: rng.standard_normal(g.shape) for name, g in grads.items()}, grads, memory, 0.1 + 0.1 * number


def draw_linear(rng: np.random.Generator, number: int) -> tuple[Array, Array, Array]:
    """dy (V, N), x (D, N), W (V, D)."""
    N, V, D, _ = SIZES[number]
    return rng.standard_normal((V, N)), rng.standard_normal((D, N)), rng.standard_normal((V, D))


def draw_embedding(rng: np.random.Generator, number: int) -> tuple[Array, Array, Array]:
    """dx (T, D, B), ids (T, B), of which many are equal, and the table (V, D)."""
    T, D, _, B = SIZES[number]
    return rng.standard_normal((T, D, B)), rng.integers(0, 4, (T, B)), rng.standard_normal((6, D))


def draw_model(rng: np.random.Generator, number: int) -> tuple[ModelConfig, Params, Array, Array, Array, int]:
    """A model with tied weights and dropout, a batch for it with padding, and a seed for the dropout."""
    T, _, H, B = SIZES[number]
    config = ModelConfig("rnn", 6, H, embedding_size=H, dropout=0.3, tie_weights=True)
    params = {name: rng.normal(0, 0.5, p.shape) for name, p in LanguageModel.init(config, 0).params.items()}
    x, y = rng.integers(0, 6, (2, T, B))
    return config, params, x, y, 1 + np.arange(B) % T, int(rng.integers(100))
