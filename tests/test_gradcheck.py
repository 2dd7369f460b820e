"""The checker itself: right gradients pass, wrong ones do not, and the report says where."""

import numpy as np
import pytest

from minirnn import rnn
from minirnn.gradcheck import check_gradients, complex_step_gradient, numerical_gradient


def loss(p):
    return (np.tanh(p["W"]) ** 3).sum() + p["b"][0] * p["W"][0, 1]


def exact(p):
    tanh = np.tanh(p["W"])
    dW = 3 * tanh**2 * (1 - tanh**2)
    dW[0, 1] += p["b"][0]
    return {"W": dW, "b": np.array([p["W"][0, 1], 0.0])}


@pytest.fixture
def params(rng):
    return {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(2)}


@pytest.mark.parametrize("h", [1e-8, 1e-30, 1e-100])
def test_the_complex_step_is_exact(params, h):
    gradient = complex_step_gradient(loss, params, h)
    for name, g in exact(params).items():
        np.testing.assert_allclose(gradient[name], g, rtol=0, atol=1e-15)


def test_central_differences_are_close(params):
    gradient = numerical_gradient(loss, params)
    for name, g in exact(params).items():
        np.testing.assert_allclose(gradient[name], g, rtol=0, atol=1e-9)


def test_a_right_gradient_passes_and_nothing_is_changed(params):
    before = {name: p.copy() for name, p in params.items()}
    report = check_gradients(loss, params, exact(params))
    assert report.ok and str(report).count("ok ") == 2
    assert check_gradients(loss, params, exact(params), tolerance=1e-6, gradient=numerical_gradient).ok
    assert all((params[name] == p).all() for name, p in before.items())


@pytest.mark.parametrize("gradient", [complex_step_gradient, numerical_gradient])
def test_a_planted_mistake_is_found_where_it_is(params, gradient):
    grads = exact(params)
    grads["W"][1, 2] += 0.01
    report = check_gradients(loss, params, grads, tolerance=1e-6, gradient=gradient)
    assert not report.ok
    wrong, right = report.comparisons
    assert not wrong.ok and right.ok
    assert (wrong.name, wrong.index) == ("W", (1, 2))
    assert wrong.given - wrong.expected == pytest.approx(0.01)
    assert str(report).startswith("WRONG W ") and "worst at W[1, 2]: given" in str(report)


@pytest.mark.parametrize("name", ["W", "b"])
def test_by_default_even_the_ninth_digit_must_be_right(params, name):
    grads = exact(params)
    grads[name] *= 1 + 1e-8
    assert not check_gradients(loss, params, grads).ok


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_no_number_is_wrong(params, value):
    grads = exact(params)
    grads["W"][0, 0] = value
    report = check_gradients(loss, params, grads)
    assert not report.ok and report.comparisons[0].index == (0, 0)


def test_a_gradient_of_zero_must_be_zero(params):
    def constant(p):
        return 0 * p["W"].sum() + 1.0

    zero = {"W": np.zeros((2, 3)), "b": np.zeros(2)}
    assert check_gradients(constant, params, zero).ok
    assert not check_gradients(constant, params, zero | {"b": np.array([0, 1e-6])}).ok


def wrong_backward(mistake, dh, cache, dfinal):
    """rnn.backward with one classic mistake."""
    params, x, hs = cache
    h, hprev = hs[1:], hs[:-1]
    dhnext, da = dfinal, np.empty_like(h)
    for t in reversed(range(len(h))):
        upstream = dh[t] + (0 if mistake == "dhnext dropped" else dhnext)
        da[t] = upstream * (1 if mistake == "tanh' missing" else 1 - h[t] ** 2)
        dhnext = (params["Whh"] if mistake == "Whh not transposed" else params["Whh"].T) @ da[t]
    before = (
        h
        if mistake == "h[t] for h[t-1]"
        else np.concatenate([h[-1:], h[:-1]])
        if mistake == "hs[-1] is the last"
        else hprev
    )
    grads = {
        "Wxh": np.einsum("thb,tdb->hd", da, x),
        "Whh": np.einsum("thb,tjb->hj", da, before),
        "bh": da.sum(axis=0)[:, :1] if mistake == "bias not summed over the batch" else da.sum(axis=(0, 2))[:, None],
    }
    return np.einsum("hd,thb->tdb", params["Wxh"], da), dhnext, grads


@pytest.mark.parametrize(
    "mistake",
    [
        "none",
        "dhnext dropped",
        "tanh' missing",
        "Whh not transposed",
        "h[t] for h[t-1]",
        "hs[-1] is the last",
        "bias not summed over the batch",
    ],
)
def test_classic_mistakes_are_caught(mistake):
    rng = np.random.default_rng(0)
    T, D, H, B = 4, 3, 3, 2
    params = {"Wxh": rng.normal(0, 0.5, (H, D)), "Whh": rng.normal(0, 0.5, (H, H)), "bh": rng.normal(0, 0.5, (H, 1))}
    x, h0 = rng.standard_normal((T, D, B)), rng.standard_normal((H, B))
    h, _, cache = rnn.forward(params, x, (h0,))
    dh, dfinal = rng.standard_normal(h.shape), rng.standard_normal((H, B))
    dx, dh0, grads = wrong_backward(mistake, dh, cache, dfinal)

    def projection(p):
        h, final, _ = rnn.forward({name: p[name] for name in params}, p["x"], (p["h0"],))
        return (h * dh).sum() + (final[0] * dfinal).sum()

    report = check_gradients(projection, params | {"x": x, "h0": h0}, grads | {"x": dx, "h0": dh0})
    assert report.ok == (mistake == "none"), f"{mistake}\n{report}"


def test_functions_the_complex_step_cannot_see_through_are_refused(params):
    def into_a_float_buffer(p):
        buffer = np.zeros((2, 3))
        buffer[...] = p["W"]
        return buffer.sum()

    with pytest.raises(ValueError, match=r"not complex-safe: .*; use numerical_gradient"):
        complex_step_gradient(into_a_float_buffer, params)
    with pytest.raises(ValueError, match=r"returned a real number .*; use numerical_gradient"):
        complex_step_gradient(lambda p: np.abs(p["W"]).sum(), params)
    assert numerical_gradient(into_a_float_buffer, params)["W"] == pytest.approx(np.ones((2, 3)))


def test_single_precision_is_refused(params):
    for gradient in (complex_step_gradient, numerical_gradient):
        with pytest.raises(ValueError, match=r"checked in float64, but W is float32; use astype\(np.float64\)"):
            gradient(loss, {"W": params["W"].astype(np.float32), "b": params["b"]})


def test_names_and_shapes_must_fit(params):
    with pytest.raises(ValueError, match=r"these differ: \['b'\]"):
        check_gradients(loss, params, {"W": params["W"]})
    with pytest.raises(ValueError, match=r"the gradient of b must have shape \(2,\), got \(2, 1\)"):
        check_gradients(loss, params, exact(params) | {"b": np.ones((2, 1))})
