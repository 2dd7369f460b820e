"""The checker itself: right gradients pass, wrong ones do not, and the report says where."""

import math

import numpy as np
import pytest

from minirnn import CELLS, LanguageModel, ModelConfig
from minirnn.gradcheck import (
    assert_gradients,
    check_gradients,
    check_layer,
    complex_step_gradient,
    numerical_gradient,
    plot_error_vs_eps,
)


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
    assert all((params[name] == p).all() for name, p in before.items())


def test_a_planted_mistake_is_found_where_it_is(params):
    grads = exact(params)
    grads["W"][1, 2] += 0.01
    report = check_gradients(loss, params, grads)
    assert not report.ok and report["b"].ok
    wrong = report["W"]
    assert (wrong.verdict, wrong.index, wrong.wrong) == ("WRONG", (1, 2), 1)
    assert wrong.given - wrong.expected == pytest.approx(0.01)
    assert str(report).startswith("WRONG        W ") and "1 of 6 entries differ, worst at W[1, 2]: given" in str(report)
    assert str(report).endswith("1 of 2 pass, by the complex step")


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
    assert not report.ok and report["W"].index == (0, 0)


def test_a_gradient_of_zero_must_be_zero(params):
    def constant(p):
        return 0 * p["W"].sum() + 1.0

    zero = {"W": np.zeros((2, 3)), "b": np.zeros(2)}
    assert check_gradients(constant, params, zero).ok
    assert not check_gradients(constant, params, zero | {"b": np.array([0, 1e-6])}).ok


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
    report = check_gradients(loss, params, exact(params) | {"b": np.ones((2, 1))})
    assert report["W"].ok and report["b"].sentence == "the gradient must have shape (2,), got (2, 1)"
    assert "must be an array" in check_gradients(loss, params, exact(params) | {"b": None})["b"].sentence
    grads = exact(params) | {"b": exact(params)["b"].astype(np.float32)}
    assert "is float32" in check_gradients(loss, params, grads)["b"].sentence


def test_the_loss_must_be_a_finite_scalar_and_the_same_twice(params, rng):
    with pytest.raises(ValueError, match="must be a finite scalar, got ndarray array"):
        check_gradients(lambda p: p["W"], params, exact(params))
    with pytest.raises(ValueError, match="must be a finite scalar, got float nan"):
        check_gradients(lambda p: np.nan, params, exact(params))
    with pytest.raises(ValueError, match=r"must be the same for the same parameters.*fix its seeds"):
        check_gradients(lambda p: loss(p) + rng.random(), params, exact(params))


def test_assert_gradients_raises_with_the_whole_report(params):
    assert_gradients(loss, params, exact(params))
    with pytest.raises(AssertionError, match=r"WRONG        W .*\nok           b "):
        assert_gradients(loss, params, exact(params) | {"W": np.zeros((2, 3))})


# --- which derivative is used -------------------------------------------------------------------------


def test_what_is_not_complex_safe_is_checked_by_central_differences_and_the_report_says_why(params):
    def into_a_float_buffer(p):
        buffer = np.zeros((2, 3))
        buffer[...] = np.tanh(p["W"])
        return (buffer**3).sum() + p["b"][0] * p["W"][0, 1]

    report = check_gradients(into_a_float_buffer, params, exact(params))
    assert report.ok and "central differences, because the function is not complex-safe: Casting" in report.method
    grads = exact(params)
    grads["W"][1, 1] *= 1 + 1e-5
    assert not check_gradients(into_a_float_buffer, params, grads).ok


@pytest.mark.parametrize("loses", [lambda z: z.real + 0j, np.conj])
def test_a_derivative_that_the_complex_step_loses_silently_is_noticed(params, loses):
    report = check_gradients(lambda p: loss({"W": loses(p["W"]), "b": p["b"]}), params, exact(params))
    assert report.ok and "the complex step says" in report.method and "loses the imaginary part" in report.method


def test_a_norm_is_checked_though_it_is_real(params):
    norm = np.linalg.norm(params["W"])
    report = check_gradients(lambda p: np.linalg.norm(p["W"]), {"W": params["W"]}, {"W": params["W"] / norm})
    assert report.ok and "returned a real number" in report.method


# --- kinks --------------------------------------------------------------------------------------------


def relu_loss(p):
    return np.maximum(p["x"], 0).sum() + (p["x"] ** 2).sum()


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_at_a_kink_the_check_is_inconclusive_whatever_was_given(slope):
    x = np.array([0.5, 0.0, -0.7])
    report = check_gradients(relu_loss, {"x": x}, {"x": np.array([1, slope, 0]) + 2 * x})
    if report["x"].verdict != "ok":  # the complex step may side with the given slope
        assert report["x"].verdict == "inconclusive"
        assert "1 of 3 entries cannot be judged, x[1] for one: it lies at a kink" in report["x"].sentence
    assert "WRONG" not in str(report)


def test_a_kink_excuses_no_other_entry():
    x = np.array([0.5, 0.0, -0.7])
    report = check_gradients(relu_loss, {"x": x}, {"x": np.array([1.1, 0.5, 0]) + 2 * x})
    assert report["x"].verdict == "WRONG" and report["x"].index == (0,)


def test_an_absolute_value_is_inconclusive_at_zero_and_wrong_elsewhere():
    def loss(p):
        return np.abs(p["x"]).sum()

    assert check_gradients(loss, {"x": np.array([1.0, -2.0])}, {"x": np.array([1.0, -1.0])}).ok
    assert (
        check_gradients(loss, {"x": np.array([1.0, 0.0])}, {"x": np.array([1.0, 1.0])})["x"].verdict == "inconclusive"
    )
    assert check_gradients(loss, {"x": np.array([1.0, -2.0])}, {"x": np.array([1.0, 1.0])})["x"].verdict == "WRONG"


# --- what a wrong gradient looks like -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda g: -g, "it has the wrong sign"),
        (lambda g: 3 * g, "it is 3 times the true gradient"),
        (lambda g: 0 * g, "it is zero everywhere"),
        (lambda g: g.T, "it is the transpose of the true gradient"),
        (lambda g: g + 0.1, "unknown mistake"),
        (lambda g: g * g, "unknown mistake"),
    ],
)
def test_a_simple_relation_to_the_true_gradient_is_named(rng, wrong, sentence):
    params = {"W": rng.standard_normal((3, 3))}
    weights = rng.standard_normal((3, 3))

    def loss(p):
        return (weights * np.tanh(p["W"])).sum()

    def grads(p):
        return {"W": wrong(weights * (1 - np.tanh(p["W"]) ** 2))}

    report = check_gradients(loss, params, grads)
    assert not report.ok and sentence in report["W"].sentence


# --- large ones ---------------------------------------------------------------------------------------


def large_model(rng):
    config = ModelConfig("rnn", 65, 256)
    model = LanguageModel.init(config, 0, np.float64)
    x, y = rng.integers(0, 65, (2, 4, 2))
    state = model.zero_state(2)
    _, grads, _ = model.loss_and_grads(x, y, state)
    return model, grads, lambda p: LanguageModel(config, p).loss(x, y, state)[0]


def test_a_hundred_thousand_parameters_are_checked_and_one_wrong_entry_is_found(rng):
    model, grads, loss = large_model(rng)
    assert sum(p.size for p in model.params.values()) > 99_000
    assert check_gradients(loss, model.params, grads).ok
    grads["rnn0.Whh"][123, 45] += 1e-3
    finding = check_gradients(loss, model.params, grads)["rnn0.Whh"]
    assert (finding.verdict, finding.index, finding.wrong) == ("WRONG", (123, 45), 1)
    assert "entries looked at" in finding.sentence


# --- layers -------------------------------------------------------------------------------------------


def affine_forward(x, W, b):
    return W @ x + b, (x, W)


def affine_backward(dy, cache):
    x, W = cache
    return W.T @ dy, dy @ x.T, dy.sum(axis=1, keepdims=True)


@pytest.fixture
def affine(rng):
    return {"x": rng.standard_normal((3, 4)), "W": rng.standard_normal((2, 3)), "b": rng.standard_normal((2, 1))}


def test_a_right_layer_passes(affine):
    report = check_layer(affine_forward, affine_backward, affine)
    assert report.ok, str(report)
    assert [finding.name for finding in report.findings[3:]] == [
        "pure forward",
        "pure upstream",
        "pure cache",
        "repeatable",
        "linear",
    ]


def test_names_may_be_given_and_several_outputs(affine):
    def forward(x, W, b):
        return (W @ x + b, x**2), (x, W)

    def backward(douts, cache):
        dx, dW, db = affine_backward(douts[0], cache)
        return {"b": db, "W": dW, "x": dx + 2 * cache[0] * douts[1]}

    assert check_layer(forward, backward, affine).ok


def in_place_upstream(dy, cache):
    dy *= 2
    dy /= 2
    dy += 1
    return affine_backward(dy - 1, cache)


def in_place_cache(dy, cache):
    result = affine_backward(dy, cache)
    cache[0][...] = 0
    return result


def clipped(dy, cache):
    return tuple(np.clip(g, -50, 50) for g in affine_backward(dy, cache))


@pytest.mark.parametrize(
    ("backward", "fails"),
    [(in_place_upstream, ["pure upstream"]), (in_place_cache, ["pure cache", "repeatable"]), (clipped, ["linear"])],
)
def test_what_is_no_derivative_is_checked_and_right_mathematics_not_accused(affine, backward, fails):
    report = check_layer(affine_forward, backward, affine)
    assert [finding.name for finding in report.findings if not finding.ok] == fails


def test_a_forward_that_changes_its_input_is_told_so(affine):
    def forward(x, W, b):
        x += 0
        y = W @ x + b
        W *= 1.5
        return y, (x, W / 1.5)

    assert [f.name for f in check_layer(forward, affine_backward, affine).findings if not f.ok] == ["pure forward"]


def test_a_backward_that_answers_something_else(affine):
    with pytest.raises(ValueError, match="must return the gradients of x, W, b, got 2 of them"):
        check_layer(affine_forward, lambda dy, cache: affine_backward(dy, cache)[:2], affine)
    with pytest.raises(ValueError, match="must return the gradients of x, W, b, got NoneType"):
        check_layer(affine_forward, lambda dy, cache: None, affine)
    wrong = check_layer(affine_forward, lambda dy, cache: (*affine_backward(dy, cache)[:2], dy), affine)
    assert wrong["b"].sentence == "the gradient must have shape (2, 1), got (2, 4)" and wrong["W"].ok


def random_cell(name, seed):
    """A cell of random sizes as a layer: its forward, its backward, and inputs."""
    cell, rng = CELLS[name], np.random.default_rng(seed)
    T, D, H, B = rng.integers(1, 6, 4)
    params = {key: rng.normal(0, 0.5, p.shape) for key, p in cell.init(D, H, 0, np.float64).items()}
    states = {f"state{i}": rng.uniform(-1, 1, s.shape) for i, s in enumerate(cell.zero_state(H, B))}

    def forward(*arrays):
        x, *state = arrays[len(params) :]
        h, final, cache = cell.forward(dict(zip(params, arrays, strict=False)), x, tuple(state))
        return (h, *final), cache

    def backward(dout, cache):
        dx, dstate, grads = cell.backward(dout[0], cache, dout[1:])
        return [*(grads[key] for key in params), dx, *dstate]

    return forward, backward, params | {"x": rng.standard_normal((T, D, B))} | states


@pytest.mark.parametrize("seeds", [20, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", CELLS)
def test_right_code_is_never_accused(name, seeds):
    for seed in range(seeds):
        report = check_layer(*random_cell(name, seed), rng=seed)
        assert report.ok, f"seed {seed}\n{report}"


@pytest.mark.parametrize("seeds", [5, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", CELLS)
def test_wrong_code_is_never_excused(name, seeds):
    """One entry of one gradient is off by 1e-6 of the largest, in float64 and far from any kink."""
    for seed in range(seeds):
        forward, backward, inputs = random_cell(name, seed)
        rng = np.random.default_rng(seed)
        wrong = int(rng.integers(len(inputs)))

        def careless(dout, cache, backward=backward, wrong=wrong):
            gradients = backward(dout, cache)
            worst = np.unravel_index(np.abs(gradients[wrong]).argmax(), gradients[wrong].shape)
            gradients[wrong][worst] *= 1 + 1e-6
            return gradients

        report = check_layer(forward, careless, inputs, rng=seed)
        verdicts = {finding.name: finding.verdict for finding in report.findings}
        assert verdicts.pop(list(inputs)[wrong]) == "WRONG", f"seed {seed}\n{report}"
        assert set(verdicts.values()) == {"ok"}, f"seed {seed}\n{report}"


def test_the_picture_of_the_errors(params, tmp_path):
    plot_error_vs_eps(loss, params, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")


# --- who is accused, and who is not -------------------------------------------------------------------


def test_a_small_part_that_is_not_complex_safe_is_noticed(rng):
    W, X, Y = rng.standard_normal((20, 20)), 10 * rng.standard_normal((20, 100)), rng.standard_normal((20, 100))

    def loss(p):
        return ((p["W"] @ X - Y) ** 2).sum() + 1e-2 * np.abs(p["W"]).sum()

    smooth = 2 * (W @ X - Y) @ X.T
    report = check_gradients(loss, {"W": W}, {"W": smooth + 1e-2 * np.sign(W)})
    assert report.ok and "loses the imaginary part" in report.method


@pytest.mark.parametrize("weight", [1e-5, 1e-7])
def test_where_nobody_can_tell_nobody_is_accused(rng, weight):
    x = rng.standard_normal(30)
    right = 2 * x + weight * np.sign(x)
    report = check_gradients(lambda p: (p["x"] ** 2).sum() + weight * np.abs(p["x"]).sum(), {"x": x}, {"x": right})
    assert report["x"].verdict != "WRONG", report


@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_that_is_zero_but_for_rounding_is_right(seed):
    """A bias before the mean is subtracted: its gradient is nothing but rounding."""
    rng = np.random.default_rng(seed)

    def forward(x, b):
        a = x + b
        return a - a.mean(axis=1, keepdims=True), None

    def backward(d, _):
        dx = d - d.mean(axis=1, keepdims=True)
        return dx, dx.sum(axis=1, keepdims=True)

    report = check_layer(
        forward, backward, {"x": rng.standard_normal((3, 7)), "b": rng.standard_normal((3, 1))}, rng=rng
    )
    assert report.ok, str(report)


def test_at_the_edge_of_the_domain_the_complex_step_is_believed():
    w, p = np.array([0.2, 0.3, 0.5]), np.array([5e-5, 0.3, 0.7])
    report = check_gradients(lambda q: -(w * np.log(q["p"])).sum(), {"p": p}, {"p": -w / p})
    assert report.ok and report.method == "the complex step"
    x = np.array([1e-6, 2e-6])
    report = check_gradients(lambda q: np.sin(1e6 * q["x"]).sum(), {"x": x}, {"x": 1e6 * np.cos(1e6 * x)})
    assert report.ok and report.method == "the complex step"


def test_a_large_constant_in_the_loss_hides_nothing(rng):
    x = rng.standard_normal(3)

    def loss(p):
        return 1e6 + 1e-3 * (p["x"] ** 2).sum()

    assert check_gradients(loss, {"x": x}, {"x": 2e-3 * x}).ok
    assert check_gradients(loss, {"x": x}, {"x": 1.05 * 2e-3 * x})["x"].verdict == "WRONG"
    report = check_gradients(lambda p: 1e9 + np.abs(p["x"]).sum(), {"x": x}, {"x": np.sign(x)})
    assert report["x"].verdict != "WRONG" and "kink" not in str(report)


def test_seven_digits_are_told_as_such(rng):
    x = rng.standard_normal(4)
    report = check_gradients(lambda p: (p["x"] ** 2).sum(), {"x": x}, lambda p: {"x": 2 * p["x"] * (1 + 3e-7)})
    assert not report.ok and "right to six digits or so" in report["x"].sentence


@pytest.mark.parametrize(
    "gradient", [np.zeros(4), np.zeros(3, np.float32), [1.0, 2.0, 3.0], None, 1.0, np.full(3, np.nan)], ids=str
)
def test_a_single_parameter_with_an_impossible_gradient(gradient):
    x = np.array([1.0, 2.0, 3.0])
    report = check_gradients(lambda p: (p["x"] ** 2).sum(), {"x": x}, lambda p: {"x": gradient})
    assert report["x"].verdict == "WRONG"
    assert not check_layer(lambda x: (x**2, x), lambda d, x: {"x": gradient}, {"x": x}).ok


@pytest.mark.parametrize(
    ("loss", "params", "grads", "sentence"),
    [
        (lambda p: 0.0, [1.0], {}, "must be a dict of arrays by name, got list"),
        (lambda p: 0.0, {}, {}, "must be a dict of arrays by name, got dict"),
        (lambda p: 0.0, {"x": [1.0, 2.0]}, {}, "x must be an array, got list; use np.array"),
        (lambda p: (1.0, None), {"x": np.ones(2)}, {"x": np.ones(2)}, "must be a finite scalar, got tuple"),
        (lambda p: None, {"x": np.ones(2)}, {"x": np.ones(2)}, "must be a finite scalar, got NoneType"),
        (lambda p: 1.0, {"x": np.ones(2)}, lambda p: None, "grads must be a dict of arrays, .* got NoneType"),
    ],
)
def test_what_cannot_be_checked_at_all(loss, params, grads, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_gradients(loss, params, grads)


def test_other_shapes_of_layers():
    with pytest.raises(ValueError, match="forward must return its output and a cache"):
        check_layer(lambda x: x, lambda d, cache: d, {"x": np.ones((2, 2))})
    assert check_layer(lambda s: (3 * s, None), lambda d, _: 3 * d, {"s": np.array(2.0)}).ok
    assert check_layer(lambda x: (2 * x, None), lambda d, _: 2 * d, {"x": np.ones((3, 0))}).ok


def test_an_assertion_about_real_numbers_is_no_failure(params):
    def careful(p):
        assert p["W"].dtype == float
        return loss(p)

    report = check_gradients(careful, params, exact(params))
    assert report.ok and "not complex-safe" in report.method


def test_no_picture_without_a_truth(tmp_path):
    with pytest.raises(ValueError, match="there is no truth to compare with"):
        plot_error_vs_eps(lambda p: (p["x"] * p["x"].conj()).sum(), {"x": np.ones(3)}, tmp_path / "a.png")
    with pytest.raises(ValueError, match="does not depend on x"):
        plot_error_vs_eps(lambda p: 1 + 0 * p["x"].sum(), {"x": np.ones(3)}, tmp_path / "a.png")


# --- how strict it is ---------------------------------------------------------------------------------


def test_a_small_gradient_is_measured_against_itself(rng):
    p = {"a": rng.standard_normal(4), "b": rng.standard_normal(4)}

    def loss(q):
        return (q["a"] ** 3).sum() + 1e-4 * (q["b"] ** 3).sum()

    right = {"a": 3 * p["a"] ** 2, "b": 3e-4 * p["b"] ** 2}
    assert check_gradients(loss, p, right).ok
    assert not check_gradients(loss, p, right | {"b": right["b"] * (1 + 1e-8)}).ok


def test_what_matches_at_one_point_only_is_not_named(rng):
    p = {"a": rng.standard_normal(4)}
    report = check_gradients(
        lambda q: (q["a"] ** 3).sum(), p, lambda q: {"a": (3 if (q["a"] == p["a"]).all() else 2) * 3 * q["a"] ** 2}
    )
    assert report["a"].sentence.endswith("unknown mistake")


def test_a_kink_does_not_excuse_an_answer_that_is_far_off():
    report = check_gradients(lambda q: np.abs(q["x"]).sum(), {"x": np.zeros(2)}, {"x": np.array([7.0, 0.0])})
    assert report["x"].verdict == "WRONG" and report["x"].index == (0,)


def test_the_worst_of_several_wrong_entries_is_shown(params):
    grads = exact(params)
    grads["W"] += [[0.01, 0, 0], [0, -0.05, 0.02]]
    finding = check_gradients(loss, params, grads)["W"]
    assert finding.index == (1, 1) and finding.wrong == 3


def test_of_a_large_parameter_a_sample_of_entries_is_counted(rng):
    x = rng.standard_normal((40, 50))
    grads = 2 * x
    grads[::2] += 0.1
    finding = check_gradients(lambda q: (q["x"] ** 2).sum(), {"x": x}, {"x": grads})["x"]
    assert 30 < finding.wrong < 70 and finding.index[0] % 2 == 0


def test_a_cache_that_grows_is_not_left_alone(affine):
    def backward(dy, cache):
        cache[2].append(np.ones(1))
        return affine_backward(dy, cache[:2])

    report = check_layer(lambda x, W, b: (W @ x + b, (x, W, [])), backward, affine)
    assert [finding.name for finding in report.findings if not finding.ok] == ["pure cache"]


def test_central_differences_know_their_limits(rng):
    x = rng.standard_normal(3)
    finding = check_gradients(lambda q: 1e8 + np.abs(q["x"]).sum(), {"x": x}, {"x": np.sign(x)})["x"]
    assert finding.verdict != "WRONG"
    many = rng.standard_normal(10_000)
    report = check_gradients(lambda q: np.tanh(q["x"].real).sum() + 0j, {"x": many}, {"x": 1 - np.tanh(many) ** 2})
    assert report.ok and "central" in report.method


def test_functions_of_the_standard_library_are_checked_too():
    report = check_gradients(
        lambda q: math.tanh(q["x"][0]), {"x": np.array([0.3])}, {"x": np.array([1 - math.tanh(0.3) ** 2])}
    )
    assert report.ok and "not complex-safe" in report.method


# --- float32 ------------------------------------------------------------------------------------------


def into_a_float32_buffer(x):
    buffer = np.zeros(x.shape, np.float32)
    buffer[...] = x
    return buffer


CASTS = {
    "astype": lambda x: x.astype(np.float32),
    "buffer": into_a_float32_buffer,
    "complex64": lambda x: x.astype(np.complex64 if np.iscomplexobj(x) else np.float32),
    "real": lambda x: x.real.astype(np.float32),
}
IN_FLOAT32 = {
    "all of it": (lambda x, cast: np.tanh(cast(x)).sum(), lambda x: 1 - np.tanh(x) ** 2),
    "cast back": (lambda x, cast: np.asarray(cast(x) ** 2, np.result_type(x)).sum(), lambda x: 2 * x),
    "a part": (lambda x, cast: (x**3).sum() + 0.1 * (cast(x) ** 2).sum(), lambda x: 3 * x**2 + 0.2 * x),
    "one entry": (lambda x, cast: (x**2).sum() + cast(x[:1])[0] ** 2, lambda x: 2 * x * (1 + (np.arange(len(x)) == 0))),
    "the end": (lambda x, cast: cast(np.asarray((x**2).sum()))[()], lambda x: 2 * x),
}


@pytest.mark.parametrize("seeds", [8, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("where", IN_FLOAT32)
def test_float32_in_a_forward_pass_is_never_accused(where, cast, seeds):
    loss, gradient = IN_FLOAT32[where]
    told = 0
    for seed in range(seeds):
        x = np.random.default_rng(seed).normal(0, 1, 1 + seed % 7)
        report = check_gradients(
            lambda p: loss(p["x"], CASTS[cast]), {"x": x}, lambda p: {"x": gradient(p["x"])}, rng=seed
        )
        assert report["x"].verdict != "WRONG", f"seed {seed}\n{report}"
        told += report["x"].verdict == "inconclusive" and "computed in float32" in report["x"].sentence
    assert told >= seeds / 2


@pytest.mark.parametrize(("factor", "words"), [(-1, "it has the wrong sign"), (0, "it is zero everywhere")])
def test_but_it_excuses_no_mistake(rng, factor, words):
    x = rng.standard_normal(5)
    report = check_gradients(
        lambda p: (p["x"].astype(np.float32) ** 2).astype(float).sum(),
        {"x": x},
        lambda p: {"x": factor * 2 * p["x"]},
    )
    assert report["x"].verdict == "WRONG" and words in report["x"].sentence


def test_a_gradient_in_float32_of_a_loss_in_float32_is_no_mistake_of_the_backward_pass(rng):
    x = rng.standard_normal(5)
    half = {"x": (2 * x).astype(np.float32)}
    report = check_gradients(lambda p: (p["x"].astype(np.float32) ** 2).sum(), {"x": x}, half)
    assert report["x"].verdict == "inconclusive" and "computed in float32" in report["x"].sentence
    report = check_gradients(lambda p: (p["x"] ** 2).sum(), {"x": x}, half)
    assert report["x"].verdict == "WRONG" and "where was it cast?" in report["x"].sentence


def test_a_backward_pass_in_float32_is_called_that_and_not_clipped(affine):
    def backward(dy, cache):
        x, W = (array.astype(np.float32) for array in cache)
        dy = dy.astype(np.float32)
        return [g.astype(float) for g in (W.T @ dy, dy @ x.T, dy.sum(axis=1, keepdims=True))]

    report = check_layer(affine_forward, backward, affine)
    failed = [finding for finding in report.findings if not finding.ok]
    assert [finding.name for finding in failed] == ["x", "W", "b"]
    assert all("computed in float32" in finding.sentence for finding in failed)
    assert "unknown mistake" not in str(report) and "clipped" not in str(report)


def test_what_the_check_explains_is_not_called_unknown_as_well(affine):
    """By sign, factor, zero, shape or precision, whichever it is: one explanation, and no second one against it."""
    for spoil in (np.negative, lambda g: 0.5 * g, np.zeros_like, lambda g: g[:1], lambda g: g.astype(np.float32)):
        report = check_layer(affine_forward, lambda dy, c, f=spoil: [f(g) for g in affine_backward(dy, c)], affine)
        assert not any(finding.ok for finding in report.findings[:3]), report
        assert "unknown mistake" not in str(report)
