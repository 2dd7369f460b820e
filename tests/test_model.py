"""The language model: every gradient, Karpathy's equations, carried state, clear errors."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from minirnn import CELLS, LanguageModel, ModelConfig, gru, ops
from minirnn.gradcheck import check_gradients

seeds = st.integers(0, 2**32 - 1)


def draw(config, T, B, seed):
    """A float64 model with large weights, inputs with repeated tokens, targets, and a state that is not zero."""
    rng = np.random.default_rng(seed)
    model = LanguageModel.init(config, rng, np.float64)
    for p in model.params.values():
        p += rng.normal(0, 0.5, p.shape)
    x, y = rng.integers(0, config.vocab_size, (2, T, B))
    state = tuple(tuple(rng.uniform(-1, 1, s.shape) for s in layer) for layer in model.zero_state(B))
    return model, x, y, state


@settings(max_examples=30)
@given(
    cell=st.sampled_from(list(CELLS)),
    layers=st.integers(1, 3),
    embedding_size=st.none() | st.integers(1, 3),
    dropout=st.sampled_from([0.0, 0.3]),
    tie_weights=st.booleans(),
    padded=st.booleans(),
    reduction=st.sampled_from(["mean", "sum"]),
    T=st.integers(1, 4),
    B=st.integers(1, 3),
    seed=seeds,
)
def test_every_gradient_against_the_complex_step(
    cell, layers, embedding_size, dropout, tie_weights, padded, reduction, T, B, seed
):
    config = ModelConfig(cell, 4, 3, layers, 3 if tie_weights else embedding_size, dropout, tie_weights)
    model, x, y, state = draw(config, T, B, seed)
    lengths = np.random.default_rng(seed).integers(1, T + 1, B) if padded else None

    def loss_and_grads(params):  # the same seed draws the same dropout masks
        return LanguageModel(config, params).loss_and_grads(x, y, state, rng=seed, reduction=reduction, lengths=lengths)

    _, grads, _ = loss_and_grads(model.params)
    report = check_gradients(lambda params: loss_and_grads(params)[0], model.params, grads)
    assert report.ok, str(report)


@given(T=st.integers(1, 8), V=st.integers(2, 7), H=st.integers(1, 6), seed=seeds)
def test_one_sequence_equals_karpathys_equations(T, V, H, seed):
    model, x, y, state = draw(ModelConfig("rnn", V, H), T, 1, seed)
    loss, grads, final = model.loss_and_grads(x, y, state, reduction="sum")
    params = {name.removeprefix("rnn0."): p for name, p in model.params.items()}
    expected, expected_grads, h = reference.loss_and_grads(params, x[:, 0], y[:, 0], state[0][0])
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(final[0][0], h, rtol=0, atol=1e-12)
    for name, g in grads.items():
        expected_grad = expected_grads[name.removeprefix("rnn0.")]
        assert abs(g - expected_grad).max() <= 1e-12 * max(1, abs(expected_grad).max())


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_is_the_mean_of_its_sequences(cell):
    model, x, y, state = draw(ModelConfig(cell, 5, 4, 2), 6, 3, 0)
    loss, grads, _ = model.loss_and_grads(x, y, state)
    alone = [
        model.loss_and_grads(
            x[:, b : b + 1], y[:, b : b + 1], tuple(tuple(s[:, b : b + 1] for s in layer) for layer in state)
        )
        for b in range(3)
    ]
    assert loss == pytest.approx(np.mean([one[0] for one in alone]), rel=1e-13)
    for name in grads:
        np.testing.assert_allclose(grads[name], np.mean([one[1][name] for one in alone], axis=0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_stepping_one_token_at_a_time_equals_the_sequence(cell):
    model, x, y, state = draw(ModelConfig(cell, 5, 4, 2, embedding_size=3), 6, 2, 0)
    logits, final = model.logits(x, state)
    carried, steps, losses = state, [], []
    for t in range(6):
        losses.append(model.loss(x[t : t + 1], y[t : t + 1], carried)[0])
        step, carried = model.logits(x[t : t + 1], carried)
        steps.append(step[0])
    np.testing.assert_allclose(np.stack(steps), logits, rtol=0, atol=1e-13)
    for layer, layer_final in zip(carried, final, strict=True):
        np.testing.assert_allclose(layer, layer_final, rtol=0, atol=1e-13)
    assert model.loss(x, y, state)[0] == pytest.approx(np.mean(losses), rel=1e-13)


def test_the_sum_is_the_mean_times_the_steps():
    model, x, y, state = draw(ModelConfig("rnn", 5, 4), 6, 3, 0)
    mean, mean_grads, _ = model.loss_and_grads(x, y, state)
    total, total_grads, _ = model.loss_and_grads(x, y, state, reduction="sum")
    assert total == pytest.approx(6 * mean, rel=1e-13)
    assert model.loss(x, y, state, reduction="sum")[0] == total
    for name in mean_grads:
        np.testing.assert_allclose(total_grads[name], 6 * mean_grads[name], rtol=1e-12)


def test_an_untrained_model_is_as_good_as_guessing(rng):
    model = LanguageModel.init(ModelConfig("rnn", 50, 20), rng)
    loss, _ = model.loss(rng.integers(0, 50, (30, 20)), rng.integers(0, 50, (30, 20)), model.zero_state(20))
    assert loss == pytest.approx(np.log(50), rel=0.02)


def test_predict_takes_the_largest_logit(rng):
    model, x, _, state = draw(ModelConfig("rnn", 5, 4), 6, 3, 0)
    ids, final = model.predict(x, state)
    logits, final_logits = model.logits(x, state)
    assert ids.shape == (6, 3) and logits.shape == (6, 5, 3)
    assert (np.take_along_axis(logits, ids[:, None], axis=1)[:, 0] == logits.max(axis=1)).all()
    assert (final[0][0] == final_logits[0][0]).all()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("embedding_size", [None, 4])
def test_dropout_only_where_rng_is_given(layers, embedding_size):
    config = ModelConfig("rnn", 5, 8, layers, embedding_size, dropout=0.5)
    model, x, y, state = draw(config, 6, 3, 0)
    assert model.loss_and_grads(x, y, state)[0] == model.loss(x, y, state)[0]
    dropped = [model.loss_and_grads(x, y, state, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    assert dropped[0] == dropped[1] != dropped[2] != model.loss(x, y, state)[0]


def test_dropout_never_touches_the_recurrence():
    """With dropout the final state of the lowest layer is the same: only outputs are dropped."""
    model, x, y, state = draw(ModelConfig("rnn", 5, 8, 1, dropout=0.5), 6, 3, 0)
    dropped_loss, _, dropped_final = model.loss_and_grads(x, y, state, rng=np.random.default_rng(1))
    loss, final = model.loss(x, y, state)
    assert dropped_loss != loss and (dropped_final[0][0] == final[0][0]).all()


def test_inputs_and_state_are_left_alone():
    model, x, y, state = draw(ModelConfig("rnn", 5, 4, 2), 6, 3, 0)
    before = [a.copy() for a in (x, y, *(s for layer in state for s in layer), *model.params.values())]
    model.loss_and_grads(x, y, state)
    after = (x, y, *(s for layer in state for s in layer), *model.params.values())
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_float32_trains_and_float64_agrees(rng):
    model = LanguageModel.init(ModelConfig("rnn", 5, 4, 2), rng)
    x, y = rng.integers(0, 5, (2, 6, 3))
    loss, grads, state = model.loss_and_grads(x, y, model.zero_state(3))
    assert {a.dtype for a in (loss, *grads.values(), state[0][0])} == {np.dtype(np.float32)}
    double = model.astype(np.float64)
    assert double.dtype == np.float64
    loss64, grads64, _ = double.loss_and_grads(x, y, double.zero_state(3))
    assert loss == pytest.approx(loss64, rel=1e-6)
    np.testing.assert_allclose(grads["rnn0.Whh"], grads64["rnn0.Whh"], rtol=0, atol=1e-7)


def test_the_same_seed_gives_the_same_model():
    first, again = (LanguageModel.init(ModelConfig("rnn", 5, 4, 2, 3), 7) for _ in range(2))
    assert list(first.params) == ["embedding"] + [f"rnn{i}.{n}" for i in range(2) for n in ("Wxh", "Whh", "bh")] + [
        "Why",
        "by",
    ]
    assert all((first.params[name] == again.params[name]).all() for name in first.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "elman"}, 'cell must be "rnn" or "gru" or "lstm", got \'elman\''),
        ({"hidden_size": 0}, "hidden_size must be an int of at least 1, got 0"),
        ({"vocab_size": 2.5}, "vocab_size must be an int of at least 1, got 2.5"),
        ({"layers": 0}, "layers must be an int of at least 1, got 0"),
        ({"layers": True}, "layers must be an int of at least 1, got True"),
        ({"embedding_size": -1}, "embedding_size must be an int of at least 1, got -1"),
        ({"layers": True}, "layers must be an int of at least 1, got True"),
        ({"hidden_size": 2**31}, "hidden_size must be less than 2**31, got 2147483648; no memory holds such a model"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"dropout": float("nan")}, "dropout must be in [0, 1), got nan"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError) as caught:
        ModelConfig(**{"cell": "rnn", "vocab_size": 3, "hidden_size": 2} | arguments)
    assert str(caught.value) == message


def test_a_config_takes_the_integers_of_numpy_and_keeps_those_of_python():
    config = ModelConfig("rnn", np.int64(3), np.uint8(2), np.int32(1), np.int16(4))
    assert config == ModelConfig("rnn", 3, 2, 1, 4)
    assert {type(size) for size in (config.vocab_size, config.hidden_size, config.layers, config.embedding_size)} == {
        int
    }


def test_parameters_cannot_be_integers():
    model = LanguageModel.init(ModelConfig("rnn", 5, 4), 0)
    for bad in (lambda: LanguageModel.init(model.config, 0, np.int32), lambda: model.astype(np.int32)):
        with pytest.raises(
            ValueError, match="dtype must be of floating or complex numbers, such as float32, got int32"
        ):
            bad()


def test_calls_that_do_not_fit_are_refused():
    model, x, y, state = draw(ModelConfig("rnn", 5, 4, 2), 6, 3, 0)
    for bad, message in [
        (lambda: model.loss(x[0], y, state), r"token ids must have shape \(T, B\) with T, B >= 1, got \(3,\)"),
        (lambda: model.loss(x, y[:5], state), r"targets must have the shape of the inputs, \(6, 3\), got \(5, 3\)"),
        (lambda: model.loss([[1, 2], [3]], y, state), "token ids must .* lists of different lengths; .*classifier.pad"),
        (lambda: model.loss(x, [[1, 2], [3]], state), "targets must .* lists of different lengths; .*classifier.pad"),
        (lambda: model.predict([[1, 2], [3]], state), "token ids must .* lists of different lengths; .*classifier.pad"),
        (lambda: model.loss(x + 5, y, state), r"ids must be in 0\.\.4, got"),
        (lambda: model.loss(x, y - 5, state), r"targets must be in 0\.\.4, got -5"),
        (lambda: model.loss(x, y, state[:1]), "the state must hold one cell state for each of 2 layers, got 1"),
        (lambda: model.loss(x, y, 2 * state), "the state must hold one cell state for each of 2 layers, got 4"),
        (lambda: model.loss(x[:, :2], y[:, :2], state), r"state\[0\] must have shape \(4, 2\), got \(4, 3\)"),
        (lambda: model.loss(x, y, state, reduction="max"), 'reduction must be "mean" or "sum", got \'max\''),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_padding_changes_nothing(cell, reduction):
    model, x, y, state = draw(ModelConfig(cell, 6, 4, 2, embedding_size=3), 7, 4, 0)
    lengths = np.array([7, 1, 3, 5])
    padding = np.arange(7)[:, None] >= lengths
    x_padded, y_padded = np.where(padding, 5, x), np.where(padding, 0, y)
    how = {"reduction": reduction, "lengths": lengths}
    loss, grads, final = model.loss_and_grads(x, y, state, **how)
    other_loss, other_grads, other_final = model.loss_and_grads(x_padded, y_padded, state, **how)
    assert loss == other_loss == model.loss(x_padded, y_padded, state, **how)[0]
    for name in grads:
        np.testing.assert_allclose(grads[name], other_grads[name], rtol=0, atol=1e-15)
    for layer, other in zip(final, other_final, strict=True):
        np.testing.assert_array_equal(layer, other)


@pytest.mark.parametrize("cell", CELLS)
def test_each_padded_sequence_counts_as_it_does_alone(cell):
    model, x, y, state = draw(ModelConfig(cell, 6, 4, 2), 7, 3, 0)
    lengths = np.array([2, 7, 4])
    loss, _, final = model.loss_and_grads(x, y, state, lengths=lengths)
    nats = 0
    for b, length in enumerate(lengths):
        column = np.s_[:, b : b + 1]
        column_state = tuple(tuple(s[column] for s in layer) for layer in state)
        alone, alone_final = model.loss(x[:length, b : b + 1], y[:length, b : b + 1], column_state)
        nats += alone * length
        for layer, expected in zip(final, alone_final, strict=True):
            np.testing.assert_allclose([s[column] for s in layer], expected, rtol=0, atol=1e-13)
    assert loss == pytest.approx(nats / 13, rel=1e-13)
    assert model.loss(x, y, state, reduction="sum", lengths=lengths)[0] == pytest.approx(nats / 3, rel=1e-13)


def test_lengths_that_do_not_fit_are_refused():
    model, x, y, state = draw(ModelConfig("rnn", 6, 4), 7, 3, 0)
    for lengths in ([0, 1, 2], [8, 1, 2], [1, 2], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"lengths must be 3 integers in 1\.\.7, one for each sequence, got"):
            model.loss(x, y, state, lengths=lengths)


def test_tied_weights_are_one_table():
    model, x, y, state = draw(ModelConfig("rnn", 6, 4, embedding_size=4, tie_weights=True), 5, 3, 0)
    untied = LanguageModel(
        ModelConfig("rnn", 6, 4, embedding_size=4), model.params | {"Why": model.params["embedding"]}
    )
    loss, grads, _ = model.loss_and_grads(x, y, state)
    untied_loss, untied_grads, _ = untied.loss_and_grads(x, y, state)
    assert "Why" not in model.params and loss == untied_loss
    np.testing.assert_allclose(grads["embedding"], untied_grads["embedding"] + untied_grads["Why"], rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="tied weights need embedding_size equal to hidden_size, got None and 4"):
        ModelConfig("rnn", 6, 4, tie_weights=True)


def test_the_pipeline_is_made_of_its_parts():
    """Dropout after the embedding and after every layer, in this order, and nowhere else."""
    config = ModelConfig("gru", 5, 4, 2, embedding_size=3, dropout=0.4)
    model, x, y, state = draw(config, 6, 3, 0)
    p, rng = model.params, np.random.default_rng(7)
    h, _ = ops.embedding_forward(x, p["embedding"])
    h, _ = ops.dropout_forward(h, 0.4, rng)
    for layer in range(2):
        cell = {
            name.removeprefix(f"rnn{layer}."): array for name, array in p.items() if name.startswith(f"rnn{layer}.")
        }
        h, _, _ = gru.forward(cell, h, state[layer])
        h, _ = ops.dropout_forward(h, 0.4, rng)
    logits = p["Why"] @ ops.to_bag(h) + p["by"]
    expected, _ = ops.cross_entropy_forward(logits, y.reshape(-1), np.full(18, 1 / 18))
    assert model.loss_and_grads(x, y, state, rng=7)[0] == pytest.approx(expected, rel=1e-14)


def test_precision_and_scale_of_a_new_model(rng):
    for dtype in (np.float32, np.float64):
        model = LanguageModel.init(ModelConfig("lstm", 200, 8, embedding_size=50), rng, dtype)
        assert {p.dtype for p in model.params.values()} == {np.dtype(dtype)}
        assert {s.dtype for layer in model.zero_state(2) for s in layer} == {np.dtype(dtype)}
        assert np.linalg.norm(model.params["embedding"], axis=1).mean() == pytest.approx(1, abs=0.05)
    copy = model.astype(np.float64)
    assert not any(np.shares_memory(copy.params[name], p) for name, p in model.params.items())


def test_what_is_not_x_y_or_state_has_to_be_named():
    model = LanguageModel.init(ModelConfig("rnn", 5, 4), 0)
    x, state = np.zeros((2, 1), int), model.zero_state(1)
    for call in (model.loss, model.loss_and_grads):
        with pytest.raises(TypeError, match="takes 4 positional arguments"):
            call(x, x, state, "sum")


def test_the_size_counts_every_number():
    config = ModelConfig("gru", 7, 5, layers=2, embedding_size=3)
    assert LanguageModel.init(config, 0).size == 7 * 3 + (15 * 3 + 15 * 5 + 20) + (15 * 5 + 15 * 5 + 20) + 7 * 5 + 7
