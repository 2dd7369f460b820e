"""The operations around the recurrence, and their gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirnn import ops
from minirnn.gradcheck import check_gradients

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def test_sigmoid_is_the_logistic_function():
    assert ops.sigmoid(np.array(1.0)) == pytest.approx(0.7310585786300049, abs=1e-15)
    assert ops.sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]


def test_sigmoid_is_one_function_for_real_and_complex_numbers():
    z = np.linspace(-40, 40, 801)
    np.testing.assert_allclose(ops.sigmoid(z), ops.sigmoid(z.astype(complex)).real, atol=2e-16)
    with np.errstate(all="raise", under="ignore"):
        far = ops.sigmoid(np.array([-1e4, 1e4])), ops.sigmoid(np.array([-1e4, 1e4], complex))
    assert np.array(far).tolist() == [[0, 1], [0, 1]]


def test_sigmoid_lets_the_complex_step_through():
    z = np.array([-1000.0, -2.0, 0.3, 1000.0])
    slope = ops.sigmoid(z + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(slope, ops.sigmoid(z) * (1 - ops.sigmoid(z)), atol=1e-15)


@given(T=sizes, H=sizes, B=sizes)
def test_the_bag_is_indexed_time_first_and_comes_back(T, H, B):
    h = np.random.default_rng(0).standard_normal((T, H, B))
    bag = ops.to_bag(h)
    assert bag.shape == (H, T * B)
    for t in range(T):
        for b in range(B):
            assert (bag[:, t * B + b] == h[t, :, b]).all()
    assert (ops.from_bag(bag, T) == h).all()


def test_one_hot_marks_each_id_once():
    x = ops.one_hot([[2, 0], [1, 1]], 3)
    assert x.dtype == np.float32
    assert x[0].tolist() == [[0, 1], [0, 0], [1, 0]]
    assert x[1].tolist() == [[0, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[0, 3]], "ids must be in 0..2, got 3; was the text encoded with this vocabulary?"),
        ([[-1, 0]], "ids must be in 0..2, got -1; was the text encoded with this vocabulary?"),
        ([[0.0, 1.0]], "ids must be integers, got dtype float64; encode the text with a Vocabulary"),
    ],
)
def test_ids_that_do_not_fit_are_named(ids, message):
    with pytest.raises(ValueError) as caught:
        ops.one_hot(ids, 3)
    assert str(caught.value) == message
    with pytest.raises(ValueError):
        ops.embedding_forward(ids, np.zeros((3, 2)))


def test_embedding_is_a_product_with_one_hot_columns(rng):
    table, ids = rng.standard_normal((5, 3)), rng.integers(0, 5, (4, 2))
    x, cache = ops.embedding_forward(ids, table)
    np.testing.assert_allclose(x, table.T @ ops.one_hot(ids, 5, np.float64))
    dx = rng.standard_normal(x.shape)
    dtable = ops.embedding_backward(dx, cache)
    report = check_gradients(
        lambda p: (ops.embedding_forward(ids, p["table"])[0] * dx).sum(), {"table": table}, {"table": dtable}
    )
    assert report.ok, str(report)


@given(D=sizes, V=sizes, N=sizes, seed=seeds)
def test_linear_gradients(D, V, N, seed):
    rng = np.random.default_rng(seed)
    params = {"x": rng.standard_normal((D, N)), "W": rng.standard_normal((V, D)), "b": rng.standard_normal((V, 1))}
    y, cache = ops.linear_forward(**params)
    dy = rng.standard_normal(y.shape)
    grads = dict(zip(("x", "W", "b"), ops.linear_backward(dy, cache), strict=True))
    report = check_gradients(lambda p: (ops.linear_forward(**p)[0] * dy).sum(), params, grads)
    assert report.ok, str(report)


def test_dropout_keeps_the_expectation_and_its_gradient_is_the_mask(rng):
    x = np.ones((10, 20, 50))
    out, mask = ops.dropout_forward(x, 0.25, rng)
    assert set(np.unique(out)) == {0, 1 / 0.75}
    assert out.mean() == pytest.approx(1, abs=0.02)
    assert (ops.dropout_backward(x, mask) == out).all()


def test_dropout_draws_every_entry_by_itself(rng):
    """No two steps, units or sequences share a mask."""
    _, mask = ops.dropout_forward(np.ones((8, 20, 10)), 0.5, rng)
    assert [np.unique(mask, axis=axis).shape[axis] for axis in range(3)] == [8, 20, 10]


def test_dropout_is_off_without_rng_or_rate(rng):
    x = rng.standard_normal((2, 3, 4))
    for out, mask in (ops.dropout_forward(x, 0.5, None), ops.dropout_forward(x, 0.0, rng)):
        assert out is x and mask is None
        assert ops.dropout_backward(x, mask) is x


@given(V=st.integers(2, 6), N=sizes, seed=seeds)
def test_cross_entropy_value_and_gradient(V, N, seed):
    rng = np.random.default_rng(seed)
    logits, targets, weights = rng.standard_normal((V, N)), rng.integers(0, V, N), rng.random(N)
    loss, cache = ops.cross_entropy_forward(logits, targets, weights)
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    assert loss == pytest.approx(-sum(weights[n] * np.log(p[targets[n], n]) for n in range(N)), rel=1e-12)
    dlogits = ops.cross_entropy_backward(cache)
    report = check_gradients(
        lambda q: ops.cross_entropy_forward(q["logits"], targets, weights)[0], {"logits": logits}, {"logits": dlogits}
    )
    assert report.ok, str(report)
    assert (ops.cross_entropy_backward(cache) == dlogits).all()  # the cache was not used up


def test_cross_entropy_survives_huge_logits_and_ignores_a_common_shift():
    logits = np.array([[1000.0, -1000.0], [0.0, 0.0]])
    targets, weights = np.array([1, 0]), np.array([0.5, 0.5])
    loss, cache = ops.cross_entropy_forward(logits, targets, weights)
    assert loss == 1000.0
    assert np.isfinite(ops.cross_entropy_backward(cache)).all()
    assert ops.cross_entropy_forward(logits + 7, targets, weights)[0] == loss


def test_a_token_of_weight_zero_has_no_loss_and_no_gradient(rng):
    logits, targets = rng.standard_normal((4, 3)), np.array([0, 1, 2])
    loss, cache = ops.cross_entropy_forward(logits, targets, np.array([1.0, 0.0, 1.0]))
    logits[:, 1] = 50
    assert ops.cross_entropy_forward(logits, targets, np.array([1.0, 0.0, 1.0]))[0] == loss
    assert (ops.cross_entropy_backward(cache)[:, 1] == 0).all()


def test_cross_entropy_names_a_target_outside_the_logits():
    with pytest.raises(ValueError, match=r"targets must be in 0\.\.2, got 3"):
        ops.cross_entropy_forward(np.zeros((3, 1)), np.array([3]), np.ones(1))


def test_backward_passes_change_neither_their_arguments_nor_their_caches(rng):
    x, dout = rng.standard_normal((2, 3, 4, 5))
    _, mask = ops.dropout_forward(x, 0.5, rng)
    logits, targets = rng.standard_normal((3, 4)), np.array([0, 1, 2, 0])
    _, ce_cache = ops.cross_entropy_forward(logits, targets, np.full(4, 0.25))
    _, linear_cache = ops.linear_forward(logits, rng.standard_normal((2, 3)), np.zeros((2, 1)))
    dy = rng.standard_normal((2, 4))
    arrays = [x, dout, mask, logits, dy, *ce_cache, *linear_cache]
    copies = [a.copy() for a in arrays]
    ops.dropout_backward(dout, mask)
    ops.cross_entropy_backward(ce_cache)
    ops.linear_backward(dy, linear_cache)
    assert all((a == copy).all() for a, copy in zip(arrays, copies, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype, rng):
    x = rng.standard_normal((2, 3, 4)).astype(dtype)
    out, mask = ops.dropout_forward(x, 0.5, rng)
    table = rng.standard_normal((5, 3)).astype(dtype)
    looked_up, cache = ops.embedding_forward([[1, 2]], table)
    loss, ce_cache = ops.cross_entropy_forward(x[0], np.array([0, 1, 2, 0]), np.full(4, 0.25))
    results = [out, mask, ops.sigmoid(x), looked_up, ops.embedding_backward(looked_up, cache), loss]
    assert {a.dtype for a in [*results, ops.cross_entropy_backward(ce_cache)]} == {np.dtype(dtype)}


def test_shapes_that_do_not_fit_are_named(rng):
    logits, targets, weights = rng.standard_normal((3, 4)), np.array([0, 1, 2, 0]), np.ones(4)
    for bad, message in [
        (
            lambda: ops.cross_entropy_forward(logits, targets[:, None], weights),
            r"targets must have shape \(4,\), got \(4, 1\)",
        ),
        (
            lambda: ops.cross_entropy_forward(logits, targets[:1], weights),
            r"targets must have shape \(4,\), got \(1,\)",
        ),
        (
            lambda: ops.cross_entropy_forward(logits, targets, weights[:1]),
            r"weights must have shape \(4,\), got \(1,\)",
        ),
        (lambda: ops.one_hot([1, 2], 3), r"ids must have shape \(T, B\), got \(2,\)"),
        (lambda: ops.one_hot([[True, False]], 3), "ids must be integers, got dtype bool"),
        (lambda: ops.dropout_forward(logits, 1.0, rng), r"the dropout rate must be in \[0, 1\), got 1.0"),
        (lambda: ops.dropout_forward(logits, -0.1, None), r"the dropout rate must be in \[0, 1\), got -0.1"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
