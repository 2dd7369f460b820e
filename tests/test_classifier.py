"""The many-to-one classifier: gradients, padding, and that it learns what needs memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirnn import CELLS, Adam, ModelConfig, SequenceClassifier, clip_norm, gru, ops
from minirnn.classifier import pad
from minirnn.gradcheck import check_gradients


def draw(config, classes, T, B, seed):
    rng = np.random.default_rng(seed)
    model = SequenceClassifier.init(config, classes, rng, dense_size=3, dtype=np.float64)
    for p in model.params.values():
        p += rng.normal(0, 0.5, p.shape)
    x, labels = rng.integers(0, config.vocab_size, (T, B)), rng.integers(0, classes, B)
    return model, x, labels, rng.integers(1, T + 1, B)


@settings(max_examples=25)
@given(
    cell=st.sampled_from(list(CELLS)),
    layers=st.integers(1, 2),
    embedding_size=st.none() | st.integers(1, 3),
    dropout=st.sampled_from([0.0, 0.3]),
    T=st.integers(1, 4),
    B=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_gradient_against_the_complex_step(cell, layers, embedding_size, dropout, T, B, seed):
    config = ModelConfig(cell, 4, 3, layers, embedding_size, dropout)
    model, x, labels, lengths = draw(config, 2, T, B, seed)
    _, grads = model.loss_and_grads(x, labels, lengths, rng=seed)
    report = check_gradients(
        lambda p: SequenceClassifier(config, p).loss_and_grads(x, labels, lengths, rng=seed)[0], model.params, grads
    )
    assert report.ok, str(report)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing(cell):
    model, x, labels, _ = draw(ModelConfig(cell, 6, 4, 2, embedding_size=3), 3, 7, 4, 0)
    lengths = np.array([7, 1, 3, 5])
    padded = x.copy()
    padded[np.arange(7)[:, None] >= lengths] = 5
    loss, grads = model.loss_and_grads(x, labels, lengths)
    other_loss, other_grads = model.loss_and_grads(padded, labels, lengths)
    assert loss == other_loss == model.loss(padded, labels, lengths)
    assert (model.predict(x, lengths) == model.predict(padded, lengths)).all()
    for name in grads:
        np.testing.assert_allclose(grads[name], other_grads[name], rtol=0, atol=1e-15)


def test_a_padded_sequence_scores_as_it_does_alone():
    model, x, _, lengths = draw(ModelConfig("lstm", 6, 4), 3, 7, 4, 0)
    logits = model.logits(x, lengths)
    for b, length in enumerate(lengths):
        alone = model.logits(x[:length, b : b + 1], lengths[b : b + 1])
        np.testing.assert_allclose(logits[:, b : b + 1], alone, rtol=0, atol=1e-13)


def test_the_pipeline_is_made_of_its_parts():
    """Dropout around the cell, tanh of a dense layer on the last real state, and the mean over the batch."""
    model, x, labels, lengths = draw(ModelConfig("gru", 6, 4, 1, embedding_size=3, dropout=0.4), 3, 7, 4, 0)
    p, rng = model.params, np.random.default_rng(7)
    vectors, _ = ops.dropout_forward(p["embedding"][x].transpose(0, 2, 1), 0.4, rng)
    cell = {name.removeprefix("rnn0."): array for name, array in p.items() if name.startswith("rnn0.")}
    h, _, _ = gru.forward(cell, vectors, gru.zero_state(4, 4))
    h, _ = ops.dropout_forward(h, 0.4, rng)
    last = np.stack([h[length - 1, :, b] for b, length in enumerate(lengths)], axis=1)
    logits = p["Why"] @ np.tanh(p["Wd"] @ last + p["bd"]) + p["by"]
    log_p = logits - np.log(np.exp(logits).sum(axis=0))
    loss, _ = model.loss_and_grads(x, labels, lengths, rng=7)
    assert loss == pytest.approx(-log_p[labels, np.arange(4)].mean(), rel=1e-13)


@pytest.mark.parametrize("embedding_size", [None, 3])
def test_dropout_only_where_rng_is_given(embedding_size):
    model, x, labels, lengths = draw(ModelConfig("rnn", 6, 4, 1, embedding_size, dropout=0.5), 3, 7, 4, 0)
    whole = model.loss(x, labels, lengths)
    assert model.loss_and_grads(x, labels, lengths)[0] == whole
    dropped = [model.loss_and_grads(x, labels, lengths, rng=seed)[0] for seed in (1, 1, 2)]
    assert dropped[0] == dropped[1] and len({whole, *dropped}) == 3


def test_dense_layers_start_uniform_around_zero():
    params = SequenceClassifier.init(ModelConfig("rnn", 6, 64), 64, 0, dense_size=64).params
    for name in ("Wd", "Why"):
        assert abs(params[name]).max() <= 1 / 8  # 1/sqrt(64)
        assert params[name].mean() == pytest.approx(0, abs=0.005)
        assert params[name].std() == pytest.approx(1 / 8 / np.sqrt(3), rel=0.03)
    assert not params["bd"].any() and not params["by"].any()


def test_it_learns_whether_a_sequence_began_with_its_last_token(rng):
    """The first token must be remembered to the end, so counting tokens does not help."""
    model = SequenceClassifier.init(ModelConfig("gru", 4, 16), 2, 0, dense_size=16)
    optimizer = Adam(0.01)

    def batch(n):
        lengths = rng.integers(2, 9, n)
        x = rng.integers(0, 4, (8, n))
        return x, (x[0] == x[lengths - 1, np.arange(n)]).astype(int), lengths

    for _ in range(400):
        _, grads = model.loss_and_grads(*batch(50))
        clip_norm(grads, 1.0)
        optimizer.step(model.params, grads)
    x, labels, lengths = batch(500)
    assert (model.predict(x, lengths) == labels).mean() > 0.95


def test_pad_puts_sequences_side_by_side():
    x, lengths = pad([np.array([3, 1]), np.array([2]), np.array([1, 2, 3])])
    assert x.tolist() == [[3, 2, 1], [1, 0, 2], [0, 0, 3]] and lengths.tolist() == [2, 1, 3]
    for bad in ([], [np.array([1]), np.array([], int)]):
        with pytest.raises(ValueError, match="at least one sequence, and each must have at least one token"):
            pad(bad)
    for bad, dtype in (([[1], [2.7]], "float64"), (["ab"], "<U2")):
        with pytest.raises(ValueError, match=f"sequences must be integers, got dtype {dtype}"):
            pad(bad)


def test_calls_that_do_not_fit_are_refused():
    model, x, labels, lengths = draw(ModelConfig("rnn", 6, 4), 3, 7, 4, 0)
    for bad, message in [
        (lambda: model.loss(x, labels, [0, 1, 2, 3]), r"lengths must be 4 integers in 1\.\.7, .* got \[0, 1, 2, 3\]"),
        (lambda: model.loss(x, labels, [8, 1, 2, 3]), r"lengths must be 4 integers in 1\.\.7"),
        (lambda: model.loss(x, labels + 3, lengths), r"labels must be 4 integers in 0\.\.2, one for each sequence"),
        (lambda: model.loss(x, labels[:2], lengths), r"labels must be 4 integers in 0\.\.2"),
        (lambda: model.loss(x, labels + 0.5, lengths), r"labels must be 4 integers in 0\.\.2"),
        (lambda: model.predict([[1, 2], [3]], [2, 1]), "lists of different lengths; .* with minirnn.classifier.pad"),
        (lambda: model.loss(x[0], labels, lengths), r"token ids must have shape \(T, B\)"),
        (lambda: SequenceClassifier.init(ModelConfig("rnn", 6, 4), 0, 0), "must be at least 1, got 0 and 64"),
        (
            lambda: SequenceClassifier.init(ModelConfig("rnn", 6, 4, 1, 4, tie_weights=True), 2, 0),
            "leave tie_weights off",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
