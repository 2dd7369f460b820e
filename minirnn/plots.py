"""Pictures of training, of gradients, and of what a network does; matplotlib is imported only when one is asked for.

Each function draws in the Axes it is given, or else in a figure of its own, and returns the Axes, to be saved with
``axes.figure.savefig``. Some take a path in place of the Axes and save the picture there, in the format of its ending.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minirnn import ops
from minirnn.checks import Array, ModelState, Params
from minirnn.derivatives import (
    LossFunction,
    check_float64,
    check_loss,
    complex_slope,
    loss_along,
)
from minirnn.evidence import distrust_of_complex_step
from minirnn.model import CELLS, LanguageModel, stack_forward

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_losses(
    history: Sequence[Mapping[str, float]],
    where: "str | Path | Axes | None",
    unit: str,
    vocab_size: int,
    smoothing: float = 0.0,
) -> "Axes":
    """Draw the loss over the steps of training.

    Parameters
    ----------
    history : sequence of dict
        Rows with ``step`` and ``loss`` and, where it was computed, ``valid``, in nats per token.
    where : str, Path or Axes, optional
        A file to save the picture in, or the Axes to draw in.
    unit : str
        What a token is, "character" or "word", for the axes.
    vocab_size : int
        V: guessing blindly costs log V, the line every model starts from.
    smoothing : float
        Of the trainer: what its smoothed loss still holds of log V, with which it began, is taken out.
    """
    axes = axes_for(where, (8, 5))
    axes.axhline(np.log(vocab_size), color="0.6", linestyle=":", label=f"guessing among {vocab_size} {unit}s")
    steps = np.array([row["step"] for row in history])
    rest = np.where(steps > 0, smoothing**steps, 0)  # the weight of log V in the smoothed loss
    losses = (np.array([row["loss"] for row in history]) - rest * np.log(vocab_size)) / (1 - rest)
    axes.plot(steps, losses, label="training (smoothed)")
    valid = [row for row in history if "valid" in row]
    if valid:
        best = min(valid, key=lambda row: row["valid"])
        label = f"validation, best {best['valid']:.3f} at step {best['step']:,.0f}"
        axes.plot([row["step"] for row in valid], [row["valid"] for row in valid], marker=".", label=label)
        axes.scatter(best["step"], best["valid"], marker="*", s=120, color="black", zorder=3)
    axes.set(title="Loss during training", xlabel="step", ylabel=f"loss (nats per {unit})")
    bits = axes.secondary_yaxis(
        "right", functions=(lambda y: np.divide(y, np.log(2)), lambda y: np.multiply(y, np.log(2)))
    )
    bits.set_ylabel(f"bits per {unit}")
    axes.grid(alpha=0.3)
    axes.legend()
    return saved(axes, where)


def plot_confusion(counts: np.ndarray, names: Sequence[str], where: "str | Path | Axes | None" = None) -> "Axes":
    """Draw a confusion matrix: ``counts[i, j]`` cases of class i that were taken for class j, shaded by share of i."""
    axes = axes_for(where, (1.5 + 0.6 * len(names), 1.2 + 0.55 * len(names)))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        if count:
            axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="named by the model", ylabel="true speaker", title=f"{np.trace(counts)} of {counts.sum()} right")
    return saved(axes, where)


def plot_error_vs_eps(loss_fn: LossFunction, params: Params, where: "str | Path | Axes | None" = None) -> "Axes":
    """Draw how wrong both numerical derivatives are for steps from 1e-1 to 1e-16, along a random direction.

    Central differences fall, then rise as subtraction destroys digits; the complex step reaches the last digit and
    stays there, which is why its step with h = 1e-30 serves as the truth.
    """
    check_float64(params)
    check_loss(loss_fn, params)
    name = max(params, key=lambda name: params[name].size)
    v = np.random.default_rng(0).standard_normal(params[name].shape)
    v /= np.linalg.norm(v)
    if reason := distrust_of_complex_step(loss_fn, params, {name: v}):
        raise ValueError(f"there is no truth to compare with: {reason}")
    truth = complex_slope(loss_fn, params, name, v)
    if truth == 0:
        raise ValueError(f"the loss does not depend on {name}: there is no relative error to draw")
    steps = np.logspace(-1, -16, 46)
    ends = loss_along(loss_fn, params, name, v, np.concatenate([steps, -steps]))
    central = (ends[: len(steps)] - ends[len(steps) :]) / (2 * steps)
    exact = np.array([complex_slope(loss_fn, params, name, v, h) for h in steps])

    axes = axes_for(where, (8, 5))
    smallest = np.finfo(np.float64).eps
    for slopes, style, label in ((central, "o-", "central differences"), (exact, "s--", "complex step")):
        axes.loglog(steps, np.maximum(abs(slopes / truth - 1), smallest / 4), style, markersize=4, label=label)
    axes.axhline(smallest, color="0.6", linestyle=":", label="spacing of float64 numbers")
    axes.set(title="Error of a numerical derivative", xlabel="length of the step", ylabel="relative error")
    axes.set(ylim=(1e-17, 1e2))  # beyond 100 % there is nothing to see
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    axes.legend()
    return saved(axes, where)


def plot_units(units: np.ndarray, tokens: Sequence[str], axes: "Axes | None" = None) -> "Axes":
    """Draw what hidden units did over a text.

    Parameters
    ----------
    units : array (T, H)
        What each unit was after each token, in [-1, 1]: one sequence of a cell's h. Each unit is a row of the picture.
    tokens : sequence of str (T,)
        What was read; they stand below the columns.
    axes : matplotlib Axes, optional
        Where to draw; without, in a figure of its own.
    """
    return over_tokens(units, tokens, axes, -1, "activation")


def plot_gates(gates: np.ndarray, tokens: Sequence[str], axes: "Axes | None" = None, name: str = "gate") -> "Axes":
    """Draw what a gate did over a text: as :func:`plot_units`, but ``gates`` (T, H) are in [0, 1], and have a name."""
    return over_tokens(gates, tokens, axes, 0, name)


def plot_text(values: np.ndarray, tokens: Sequence[str], axes: "Axes | None" = None, columns: int = 60) -> "Axes":
    """Draw a text, each token on a background that says what one unit was after it: ``values`` (T,) in [-1, 1].

    The text is broken at its own line ends, and after ``columns`` characters; words stand a space apart.
    """
    gap, row, column, places = int(max(map(len, tokens)) > 1), 0, 0, []
    for token in tokens:
        if column + len(token) > columns:
            row, column = row + 1, 0
        places.append((row, column))
        row, column = (row + 1, 0) if token == "\n" else (row, column + len(token) + gap)
    grid = np.full((places[-1][0] + 1, columns), np.nan)
    axes = axes_for(axes, (0.16 * columns, 0.5 + 0.3 * len(grid)))
    for token, value, (row, column) in zip(tokens, values, places, strict=True):
        grid[row, column : column + len(token)] = value
        shown, colour = {"\n": "↵", " ": ""}.get(token, token), "white" if abs(value) > 0.6 else "black"
        if shown:
            axes.text(column + (len(token) - 1) / 2, row, shown, ha="center", va="center", color=colour, fontsize=11)
    image = axes.imshow(grid, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto", interpolation="none")
    axes.set_axis_off()
    axes.figure.colorbar(image, ax=axes, label="activation")
    return axes


def over_tokens(rows: Array, tokens: Sequence[str], axes: "Axes | None", lowest: int, label: str) -> "Axes":
    """A heat map of values (T, H) between lowest and 1, a row for each unit, a column for each token."""
    axes = axes_for(axes, (1.5 + 0.16 * len(tokens), 1 + 0.1 * rows.shape[1]))
    image = axes.imshow(rows.T, cmap="cividis", vmin=lowest, vmax=1, aspect="auto", interpolation="none")
    names, upright = [{"\n": "↵", " ": "␣"}.get(token, token) for token in tokens], max(map(len, tokens)) > 1
    axes.set_xticks(range(len(tokens)), names, fontsize=10, rotation=90 if upright else 0)
    axes.tick_params(axis="x", bottom=False)
    axes.set(xlabel="after reading", ylabel="unit")
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, label=label)
    return axes


def gradient_reach(model: LanguageModel, x: Array, y: Array, state: ModelState) -> Array:
    """How much of the gradient of one prediction is left, step by step, on its way back.

    Parameters
    ----------
    model : LanguageModel
    x, y : int array (T, B)
        Token ids; of the predictions only those of the last step, ``y[-1]``, are scored.
    state : tuple
        Before the first step: one cell state per layer, as in :meth:`LanguageModel.loss`.

    Returns
    -------
    array (T,)
        Entry k: norm of the gradient with respect to the state k steps before the last, all layers together (of an
        LSTM both h and c); the mean over the B sequences.

    Raises
    ------
    ValueError
        If shapes do not fit, or an id is outside the vocabulary.
    """
    steps = []
    for t in range(len(x)):
        h, state, (_, _, layers) = stack_forward(model.config, model.params, x[t : t + 1], state, None)
        steps.append([cache for cache, _ in layers])
    dh = gradient_of_loss(model, h, y[-1:])
    dstates: list = [None] * model.config.layers
    norms = [np.linalg.norm(dh[0], axis=0)]
    for caches in reversed(steps[1:]):
        _, dstates = step_back(model, caches, dh, dstates)
        dh = np.zeros_like(dh)  # only the last step was an output
        norms.append(np.sqrt(sum((d**2).sum(axis=0) for dstate in dstates for d in dstate)))
    return np.array(norms).mean(axis=1)


def gradient_of_loss(model: LanguageModel, h: Array, y: Array) -> Array:
    """Of ``-log p(y[t, b])`` with respect to the top layer's ``h[t]``, each token with weight 1: (T, H, B)."""
    Why = model.params["embedding" if model.config.tie_weights else "Why"]
    logits, linear_cache = ops.linear_forward(ops.to_bag(h), Why, model.params["by"])
    _, loss_cache = ops.cross_entropy_forward(logits, y.reshape(-1), np.ones(y.size))
    dbag, _, _ = ops.linear_backward(ops.cross_entropy_backward(loss_cache), linear_cache)
    return ops.from_bag(dbag, len(h))


def step_back(model: LanguageModel, caches: list, dh: Array, dstates: list) -> tuple[Array, list]:
    """One step of one time back through all layers: the gradients of its input, and of each layer's state before it."""
    before = list(dstates)
    for layer in reversed(range(model.config.layers)):
        dh, before[layer], _ = CELLS[model.config.cell].backward(dh, caches[layer], dstates[layer])
    return dh, before


def plot_gradient_reach(reaches: Mapping[str, Array], axes: "Axes | None" = None) -> "Axes":
    """Draw what :func:`gradient_reach` gave for several models, each relative to where it started."""
    axes = axes_for(axes, (7, 4))
    for n, (name, reach) in enumerate(reaches.items()):
        axes.semilogy(np.arange(len(reach)), reach / reach[0], ("-", "--", "-.", ":")[n % 4], label=name)
    axes.set(xlabel="steps back", ylabel="gradient that is left")
    axes.legend()
    return axes


def plot_embeddings(vectors: Array, tokens: Sequence[str], axes: "Axes | None" = None) -> "Axes":
    """Draw the vectors of tokens as points, each with its token beside it.

    The plane is the one in which they differ most (their first two principal components). Its share of all differences
    stands above the picture: what is near in it may be far in the other directions.

    Parameters
    ----------
    vectors : array (n, D)
        Rows of an embedding table, of at least two tokens.
    tokens : sequence of str (n,)
    axes : matplotlib Axes, optional
        Where to draw; without, in a figure of its own.
    """
    axes = axes_for(axes, (7, 6))
    U, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    points = U[:, :2] * sizes[:2]
    points *= np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])  # else the sides would be those of the machine
    axes.scatter(points[:, 0], points[:, 1], s=12)
    for point, token in zip(points, tokens, strict=True):
        axes.annotate(token, point, xytext=(3, 2), textcoords="offset points", fontsize=9)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set_title(f"{(sizes[:2] ** 2).sum() / (sizes**2).sum():.0%} of all differences are in this plane")
    axes.grid(alpha=0.3)
    return axes


# --- what all of them share ---------------------------------------------------------------------------


def axes_for(where: "str | Path | Axes | None", size: tuple[float, float]) -> "Axes":
    """The Axes that were given, or those of a new figure of this size in inches."""
    from matplotlib.figure import Figure

    if where is None or isinstance(where, str | Path):
        return Figure(figsize=size, layout="constrained").subplots()
    return where


def saved(axes: "Axes", where: "str | Path | Axes | None") -> "Axes":
    """The same Axes, their figure saved if a path was given."""
    if isinstance(where, str | Path):
        axes.figure.savefig(where, dpi=150)  # type: ignore[union-attr]
    return axes
