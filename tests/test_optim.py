"""Clipping and the update rules, each against its formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirnn import SGD, Adagrad, Adam, RMSProp, clip_norm, clip_value
from minirnn.optim import BLOCK, OPTIMIZERS, blocks, global_norm
from minirnn.schedules import cosine_decay, epoch_decay, exponential_decay, linear_decay


def quadratic():
    """Two parameters; the gradient of half their squared length is they themselves."""
    return {"W": np.array([[3.0, -4.0], [0.0, 12.0]]), "b": np.array([[-2.0]])}


def test_clip_value_cuts_each_entry():
    grads = quadratic()
    clip_value(grads, 3.5)
    assert grads["W"].tolist() == [[3.0, -3.5], [0.0, 3.5]] and grads["b"].tolist() == [[-2.0]]


def test_clip_norm_scales_all_by_one_factor():
    grads, before = quadratic(), quadratic()
    norm = clip_norm(grads, 1.0)
    assert norm == global_norm(before) == pytest.approx(np.sqrt(9 + 16 + 144 + 4))
    assert global_norm(grads) == pytest.approx(1.0)
    for name in grads:
        np.testing.assert_allclose(grads[name] * norm, before[name])


def test_a_norm_below_the_limit_is_left_alone():
    for limit in (100.0, np.inf):
        grads = quadratic()
        clip_norm(grads, limit)
        assert all((grads[name] == p).all() for name, p in quadratic().items())


def test_small_gradients_are_scaled_just_as_exactly():
    grads = {"W": np.array([[3e-6, 4e-6]])}
    assert clip_norm(grads, 1e-6) == pytest.approx(5e-6, rel=1e-12)
    assert global_norm(grads) == pytest.approx(1e-6, rel=1e-12)


def test_sgd_follows_its_formula():
    params = quadratic()
    SGD(0.1).step(params, quadratic())
    for name, p in quadratic().items():
        np.testing.assert_allclose(params[name], 0.9 * p)


def test_adagrad_follows_its_formula():
    params, expected, optimizer = quadratic(), quadratic(), Adagrad(0.1)
    memory = {name: np.zeros_like(p) for name, p in params.items()}
    for _ in range(3):
        grads = {name: p.copy() for name, p in params.items()}
        optimizer.step(params, grads)
        for name, g in grads.items():
            memory[name] += g**2
            expected[name] -= 0.1 * g / np.sqrt(memory[name] + 1e-8)
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-14)
        np.testing.assert_allclose(optimizer.state[name], memory[name], rtol=1e-14)


def test_rmsprop_follows_its_formula():
    params, expected, optimizer = quadratic(), quadratic(), RMSProp(0.1, decay=0.9)
    average = {name: np.zeros_like(p) for name, p in params.items()}
    for _ in range(3):
        grads = {name: p.copy() for name, p in params.items()}
        optimizer.step(params, grads)
        for name, g in grads.items():
            average[name] = 0.9 * average[name] + 0.1 * g**2
            expected[name] -= 0.1 * g / (np.sqrt(average[name]) + 1e-8)
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-14)
        np.testing.assert_allclose(optimizer.state[name], average[name], rtol=1e-14)


def test_adam_follows_its_formula():
    params, expected, optimizer = quadratic(), quadratic(), Adam(0.1)
    m, v = ({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    for t in range(1, 4):
        grads = {name: p.copy() for name, p in params.items()}
        optimizer.step(params, grads)
        for name, g in grads.items():
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            mhat, vhat = m[name] / (1 - 0.9**t), v[name] / (1 - 0.999**t)
            expected[name] -= 0.1 * mhat / (np.sqrt(vhat) + 1e-8)
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-13)
    assert optimizer.state["t"] == 3


@pytest.mark.parametrize("optimizer", [SGD, Adagrad])
def test_rows_without_a_gradient_stay_as_they_are(optimizer, rng):
    """An embedding gradient, most of whose rows are zero, against the same rows as a dense gradient of their own."""
    rows = np.array([3, 17, 40])
    table, g = rng.standard_normal((50, 4)), rng.standard_normal((3, 4))
    g[1, 0] = 0  # a touched row whose first entry happens to be zero
    whole, picked = {"p": table.copy()}, {"p": table[rows]}
    whole_optimizer, picked_optimizer = optimizer(0.1), optimizer(0.1)
    for _ in range(3):
        dense = np.zeros_like(table)
        dense[rows] = g
        whole_optimizer.step(whole, {"p": dense})
        picked_optimizer.step(picked, {"p": g})
    table[rows] = picked["p"]
    np.testing.assert_array_equal(whole["p"], table)


@pytest.mark.parametrize(("optimizer", "slot", "decay"), [(RMSProp, "table", 0.95), (Adam, "v/table", 0.999)])
def test_a_moving_average_forgets_rows_without_a_gradient(optimizer, slot, decay):
    params, moving = {"table": np.zeros((50, 4))}, optimizer(0.1)
    for row in range(3):
        g = np.zeros((50, 4))
        g[row] = 1
        moving.step(params, {"table": g})
    for row in range(3):
        np.testing.assert_allclose(moving.state[slot][row], (1 - decay) * decay ** (2 - row), rtol=1e-12)


def test_optimizers_go_by_their_names():
    assert {name: optimizer.__name__ for name, optimizer in OPTIMIZERS.items()} == {
        "sgd": "SGD",
        "adagrad": "Adagrad",
        "rmsprop": "RMSProp",
        "adam": "Adam",
    }


def test_schedules_are_factors_of_the_step():
    assert [epoch_decay(step, 10, 2, 0.5) for step in (0, 9, 19, 20, 30, 39)] == [1, 1, 1, 0.5, 0.25, 0.25]
    assert [epoch_decay(step, 10, 0, 0.5) for step in (0, 9, 10)] == [0.5, 0.5, 0.25]
    assert [exponential_decay(step, 10, 0.25) for step in (0, 5, 10, 20)] == [1, 0.5, 0.25, 0.0625]
    assert [linear_decay(step, 10) for step in (0, 5, 10, 15)] == [1, 0.5, 0, 0]
    np.testing.assert_allclose([cosine_decay(step, 10) for step in (0, 5, 10, 15)], [1, 0.5, 0, 0], atol=1e-15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values())
def test_saved_state_resumes_to_the_bit(optimizer):
    params, whole = quadratic(), optimizer(0.1)
    for _ in range(2):
        whole.step(params, quadratic())
    saved_params, saved_state = {n: p.copy() for n, p in params.items()}, {n: s.copy() for n, s in whole.state.items()}
    whole.step(params, quadratic())

    resumed = optimizer(0.1)
    resumed.state = saved_state
    resumed.step(saved_params, quadratic())
    assert all((saved_params[name] == params[name]).all() for name in params)


@given(rows=st.integers(1, 300), columns=st.sampled_from([1, 7, 1000, BLOCK + 1]))
def test_blocks_cover_every_row_once_as_views(rows, columns):
    a = np.zeros((rows, columns), np.int8)
    for (piece,) in blocks({"a": a}):
        assert piece.size <= max(BLOCK, columns)
        piece += 1
    assert (a == 1).all()


def test_what_does_not_fit_is_named():
    params = quadratic()
    with pytest.raises(ValueError, match=r"these differ: \['b', 'c'\]"):
        SGD(0.1).step(params, {"W": params["W"], "c": params["b"]})
    with pytest.raises(ValueError, match=r"the gradient of b must have shape \(1, 1\), got \(1,\)"):
        Adagrad(0.1).step(params, {"W": params["W"], "b": np.ones(1)})
    for nonsense in (0, -1.0, float("nan")):
        for call in (*OPTIMIZERS.values(), lambda limit: clip_value({}, limit), lambda limit: clip_norm({}, limit)):
            with pytest.raises(ValueError, match="must be greater than 0, got"):
                call(nonsense)
    for call in OPTIMIZERS.values():
        with pytest.raises(ValueError, match="learning_rate must be finite, got inf"):
            call(float("inf"))
    for bad in (lambda: RMSProp(0.1, decay=1.0), lambda: Adam(0.1, beta1=-0.1), lambda: Adam(0.1, beta2=2)):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\), got"):
            bad()


@pytest.mark.parametrize("optimizer", [Adagrad, RMSProp, Adam])
def test_an_optimizer_serves_one_model(optimizer):
    used, other = optimizer(0.1), quadratic() | {"b": np.ones((2, 1))}
    used.step(quadratic(), quadratic())
    before = {name: p.copy() for name, p in other.items()}
    with pytest.raises(
        ValueError, match=r"remembers a b of shape \(1, 1\), this one has \(2, 1\); make a new optimizer"
    ):
        used.step(other, before)
    assert all((other[name] == p).all() for name, p in before.items())


def test_a_parameter_may_have_the_name_of_adams_count():
    params, optimizer = {"t": np.ones((2, 1))}, Adam(0.1)
    for _ in range(2):
        optimizer.step(params, {"t": np.ones((2, 1))})
    assert optimizer.state["t"] == 2 and (params["t"] < 1).all()


def test_a_schedule_over_no_steps_is_refused():
    for call, name in [
        (lambda: linear_decay(5, 0), "total"),
        (lambda: cosine_decay(5, 0), "total"),
        (lambda: exponential_decay(5, 0, 0.5), "steps"),
        (lambda: epoch_decay(5, 0, 1, 0.5), "steps_per_epoch"),
    ]:
        with pytest.raises(ValueError, match=f"{name} must be greater than 0, got 0"):
            call()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values())
def test_gradients_are_left_alone_precision_is_kept_and_the_rate_may_change(optimizer):
    params = {name: p.astype(np.float32) for name, p in quadratic().items()}
    grads = {name: p.copy() for name, p in params.items()}
    changed = optimizer(0.1)
    changed.learning_rate = 0.2
    other = {name: p.copy() for name, p in params.items()}
    for _ in range(2):
        changed.step(params, grads)
    fresh = optimizer(0.2)
    for _ in range(2):
        fresh.step(other, grads)
    for name, g in quadratic().items():
        assert (grads[name] == g).all() and (params[name] == other[name]).all() and params[name].dtype == np.float32
    assert all(s.dtype == np.float32 for name, s in changed.state.items() if name != "t")


def test_extra_and_missing_gradients_are_both_refused():
    params = quadratic()
    for grads in ({"W": params["W"]}, params | {"c": np.ones((1, 1))}):
        with pytest.raises(ValueError, match="must have the same names"):
            SGD(0.1).step(params, grads)


def test_a_norm_that_overflows_leaves_the_gradients_as_they_are():
    grads = {"W": np.full((2, 2), 1e30, np.float32)}
    with np.errstate(over="ignore"):
        assert clip_norm(grads, 1.0) == np.inf
    assert (grads["W"] == np.float32(1e30)).all()


def test_a_norm_that_is_no_number_leaves_the_gradients_as_they_are():
    grads = {"W": np.array([[np.nan, 1.0]]), "b": np.array([[9.0]])}
    assert np.isnan(clip_norm(grads, 1.0))
    assert grads["W"][0, 1] == 1 and grads["b"][0, 0] == 9
