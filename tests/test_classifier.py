"""The many-to-one classifier: gradients, padding, and that it learns what needs memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirnn import CELLS, Adam, ModelConfig, SequenceClassifier, clip_norm
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
    assert report.ok, report


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
