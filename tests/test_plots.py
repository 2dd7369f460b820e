"""The pictures: the loss curve and the confusion matrix."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import minirnn
from minirnn.derivatives import complex_step_gradient
from minirnn.plots import (
    gradient_reach,
    plot_confusion,
    plot_embeddings,
    plot_error_vs_eps,
    plot_gates,
    plot_gradient_reach,
    plot_losses,
    plot_text,
    plot_units,
)

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("valid", [True, False])
def test_a_loss_curve_is_a_picture(tmp_path, valid):
    history = [{"step": 10 * i, "loss": 4 - i / 10} | ({"valid": 4.1 - i / 10} if valid else {}) for i in range(1, 6)]
    plot_losses(history, tmp_path / "loss.png", "character", 65)
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)


@pytest.fixture
def axes(monkeypatch):
    """The axes of every figure that would have been saved."""
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0]))
    return drawn


def test_the_loss_curve_shows_the_history_and_names_the_best(axes):
    valid = {10: 4.0, 20: 3.5, 30: 3.7}
    history = [{"step": 0, "loss": 4.2}] + [{"step": s, "loss": 4 - s / 100, "valid": v} for s, v in valid.items()]
    plot_losses(history, "loss.png", "word", 65)
    guessing, training, validation = axes[0].get_lines()
    assert list(guessing.get_ydata()) == [np.log(65)] * 2
    assert training.get_xydata().tolist() == [[row["step"], row["loss"]] for row in history]
    assert validation.get_xydata().tolist() == [[10, 4.0], [20, 3.5], [30, 3.7]]
    assert validation.get_label() == "validation, best 3.500 at step 20"


def test_the_confusion_matrix_has_true_speakers_as_rows(axes):
    plot_confusion(np.array([[5, 1, 0], [0, 2, 3], [0, 0, 4]]), ["Anna", "Bert", "Carl"], "confusion.png")
    texts = {text.get_position(): text.get_text() for text in axes[0].texts}
    assert texts == {(0, 0): "5", (1, 0): "1", (1, 1): "2", (2, 1): "3", (2, 2): "4"}  # (column, row)
    assert axes[0].get_title() == "11 of 15 right"


def test_units_are_rows_and_tokens_columns():
    units = np.linspace(-1, 1, 12).reshape(4, 3)  # (T, H)
    axes = plot_units(units, list("a b\n"))
    assert np.array_equal(axes.images[0].get_array(), units.T)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "␣", "b", "↵"]
    below = Figure().subplots()
    assert plot_units(units, list("a b\n"), below) is below


def test_gates_are_shown_from_closed_to_open_and_words_stand_upright():
    gates = np.linspace(0, 1, 6).reshape(2, 3)  # (T, H)
    axes = plot_gates(gates, ["mark", "a"], name="forget gate")
    assert np.array_equal(axes.images[0].get_array(), gates.T)
    assert axes.images[0].get_clim() == (0, 1)
    assert axes.figure.axes[1].get_ylabel() == "forget gate"
    assert (
        axes.get_xticklabels()[0].get_rotation() == 90
        and plot_gates(gates, "ab").get_xticklabels()[0].get_rotation() == 0
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: plot_losses([{"step": 1, "loss": 4.0}], axes, "character", 65),
        lambda axes: plot_confusion(np.eye(2, dtype=int), ["Anna", "Bert"], axes),
        lambda axes: plot_error_vs_eps(lambda p: (p["x"] ** 3).sum(), {"x": np.ones(3)}, axes),
        lambda axes: plot_units(np.zeros((2, 3)), "ab", axes),
        lambda axes: plot_gates(np.zeros((2, 3)), "ab", axes),
        lambda axes: plot_gradient_reach({"tanh": np.ones(3)}, axes),
        lambda axes: plot_embeddings(np.eye(3), list("abc"), axes),
    ],
)
def test_every_picture_is_drawn_in_the_axes_it_is_given_or_in_new_ones_and_saves_nothing(draw, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: pytest.fail("saved"))
    axes = Figure().subplots()
    assert draw(axes) is axes and axes.has_data()
    assert draw(None).has_data()


def test_embeddings_are_drawn_in_the_plane_in_which_they_differ_most():
    flat = np.array([[3.0, 0, 0], [-1, 1, 0], [-2, -1, 0]])  # (n, D), in a plane already
    turned = flat @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] + 7
    axes = plot_embeddings(turned, ["a", "b", "c"])
    points = axes.collections[0].get_offsets()
    apart = lambda p: np.linalg.norm(p[:, None] - p[None], axis=2)  # noqa: E731
    np.testing.assert_allclose(apart(points), apart(flat), atol=1e-12)
    assert points[0, 0] > 0 and [text.get_text() for text in axes.texts] == ["a", "b", "c"]
    assert axes.get_title().startswith("100%")
    assert not plot_embeddings(np.eye(4), list("abcd")).get_title().startswith("100%")


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_reach_of_a_gradient_is_the_norm_of_the_derivative_by_each_state(cell):
    rng, T, B = np.random.default_rng(0), 5, 3
    model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, 5, 4, layers=2, embedding_size=3), rng, np.float64)
    x, y = rng.integers(0, 5, (2, T, B))
    start = tuple(tuple(rng.normal(size=s.shape) for s in layer) for layer in model.zero_state(B))
    reach = gradient_reach(model, x, y, start)
    assert len(reach) == T
    for k in range(1, T):
        _, state = model.logits(x[: T - k], start)

        def last_loss(p, k=k):
            logits, _ = model.astype(np.complex128).logits(x[T - k :], tuple(pairs(p)))
            return (np.log(np.exp(logits[-1]).sum(axis=0)) - logits[-1][y[-1], np.arange(B)]).sum()

        def pairs(p, state=state):
            return (tuple(p[f"{i}/{j}"] for j in range(len(layer))) for i, layer in enumerate(state))

        flat = {f"{i}/{j}": s for i, layer in enumerate(state) for j, s in enumerate(layer)}
        slopes = complex_step_gradient(last_loss, flat)
        expected = np.sqrt(sum((slope**2).sum(axis=0) for slope in slopes.values())).mean()
        np.testing.assert_allclose(reach[k], expected, rtol=1e-12)


def test_reaches_are_drawn_relative_to_their_beginning():
    axes = plot_gradient_reach({"tanh": np.array([2.0, 1.0, 0.5]), "LSTM": np.array([4.0, 4.0, 2.0])})
    assert [line.get_ydata().tolist() for line in axes.lines] == [[1, 0.5, 0.25], [1, 1, 0.5]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["tanh", "LSTM"]
    assert axes.get_yscale() == "log"
    assert plot_gradient_reach({}, axes) is axes


def test_the_curve_is_corrected_for_the_start_of_the_smoothing_and_marks_the_best(axes):
    losses, smooth, history = [3.0, 2.0, 2.5, 1.0], np.log(65), [{"step": 0, "loss": np.log(65)}]
    for step, loss in enumerate(losses, 1):
        smooth = 0.9 * smooth + 0.1 * loss
        history.append({"step": step, "loss": smooth, "valid": loss + 0.1})
    plot_losses(history, "loss.png", "character", 65, smoothing=0.9)
    _, training, _ = axes[0].get_lines()
    weights = [0.9 ** (4 - step) for step in range(1, 5)]
    assert training.get_ydata()[0] == pytest.approx(np.log(65)) and training.get_ydata()[1] == pytest.approx(3.0)
    assert training.get_ydata()[4] == pytest.approx(np.average(losses, weights=weights))
    (mark,) = axes[0].collections
    assert mark.get_offsets().tolist() == [[4, 1.1]]


def test_a_text_has_the_colours_of_a_unit_and_breaks_at_its_lines():
    axes = plot_text(np.array([0.1, -0.2, 0.3, 0.9, -1.0]), list("ab\ncd"), columns=3)
    grid = axes.images[0].get_array()
    assert np.array_equal(np.ma.filled(grid, np.nan), [[0.1, -0.2, 0.3], [0.9, -1.0, np.nan]], equal_nan=True)
    assert [text.get_text() for text in axes.texts] == ["a", "b", "↵", "c", "d"]
    words = plot_text(np.array([0.5, 0.25, -0.5]), ["to", "be", "or"], columns=6)
    grid = np.ma.filled(words.images[0].get_array(), 0)
    assert grid.tolist() == [[0.5, 0.5, 0, 0.25, 0.25, 0], [-0.5, -0.5, 0, 0, 0, 0]]
    assert plot_text(np.zeros(1), ["x"], axes) is axes
