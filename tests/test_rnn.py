"""The tanh cell: against the numbers, against a loop over every index, against itself in pieces."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from minirnn import rnn
from minirnn.gradcheck import check_gradients

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def draw_cell(T, D, H, B, seed):
    """Parameters, input and state in float64, with weights large enough to bend tanh."""
    rng = np.random.default_rng(seed)
    params = {"Wxh": rng.normal(0, 0.5, (H, D)), "Whh": rng.normal(0, 0.5, (H, H)), "bh": rng.normal(0, 0.5, (H, 1))}
    return params, rng.standard_normal((T, D, B)), (rng.uniform(-1, 1, (H, B)),), rng


@given(T=sizes, D=sizes, H=sizes, B=sizes, seed=seeds)
def test_every_gradient_against_the_complex_step(T, D, H, B, seed):
    params, x, state, rng = draw_cell(T, D, H, B, seed)
    h, final, cache = rnn.forward(params, x, state)
    dh, dfinal = rng.standard_normal(h.shape), rng.standard_normal(final[0].shape)
    dx, dstate, grads = rnn.backward(dh, cache, (dfinal,))

    def projection(p):  # one random number made of all outputs: wrong gradients cannot hide from it
        h, final, _ = rnn.forward({name: p[name] for name in params}, p["x"], (p["h0"],))
        return (h * dh).sum() + (final[0] * dfinal).sum()

    report = check_gradients(projection, params | {"x": x, "h0": state[0]}, grads | {"x": dx, "h0": dstate[0]})
    assert report.ok, report


@given(T=sizes, D=sizes, H=sizes, B=sizes, seed=seeds)
def test_forward_equals_a_loop_over_every_index(T, D, H, B, seed):
    params, x, state, _ = draw_cell(T, D, H, B, seed)
    h, final, _ = rnn.forward(params, x, state)
    np.testing.assert_allclose(h, reference.forward_by_unit(params, x, state[0]), rtol=0, atol=1e-13)
    assert (final[0] == h[-1]).all()


@given(chunks=st.lists(sizes, min_size=1, max_size=4), seed=seeds)
def test_chunks_with_carried_state_equal_the_whole(chunks, seed):
    params, x, state, rng = draw_cell(sum(chunks), 3, 4, 2, seed)
    h, final, cache = rnn.forward(params, x, state)
    dh, dfinal = rng.standard_normal(h.shape), rng.standard_normal((4, 2))
    dx, dstate, grads = rnn.backward(dh, cache, (dfinal,))

    edges = np.cumsum(chunks)[:-1]
    pieces, carried = [], state
    for piece in np.split(x, edges):
        h_piece, carried, cache = rnn.forward(params, piece, carried)
        pieces.append((h_piece, cache))
    np.testing.assert_allclose(np.concatenate([piece for piece, _ in pieces]), h, rtol=0, atol=1e-13)
    np.testing.assert_allclose(carried[0], final[0], rtol=0, atol=1e-13)

    # Backward through the chunks from the last: the gradient of the state is handed on, so nothing is truncated.
    dcarried, dxs, summed = (dfinal,), [], dict.fromkeys(params, 0.0)
    for (_, cache), dh_piece in zip(reversed(pieces), reversed(np.split(dh, edges)), strict=True):
        dx_piece, dcarried, grads_piece = rnn.backward(dh_piece, cache, dcarried)
        dxs.insert(0, dx_piece)
        summed = {name: summed[name] + grads_piece[name] for name in params}
    np.testing.assert_allclose(np.concatenate(dxs), dx, rtol=0, atol=1e-12)
    np.testing.assert_allclose(dcarried[0], dstate[0], rtol=0, atol=1e-12)
    for name in params:
        np.testing.assert_allclose(summed[name], grads[name], rtol=0, atol=1e-12)


def test_columns_do_not_touch_each_other():
    params, x, state, _ = draw_cell(4, 3, 5, 3, 0)
    h, _, _ = rnn.forward(params, x, state)
    alone, _, _ = rnn.forward(params, x[:, :, 1:2], (state[0][:, 1:2],))
    np.testing.assert_allclose(h[:, :, 1:2], alone, rtol=0, atol=1e-14)


def test_backward_is_repeatable_and_changes_nothing():
    params, x, state, rng = draw_cell(4, 3, 5, 2, 0)
    h, final, cache = rnn.forward(params, x, state)
    dh, dfinal = rng.standard_normal(h.shape), rng.standard_normal((5, 2))
    given_arrays = [*params.values(), x, *state, h, *final, dh, dfinal]
    copies = [a.copy() for a in given_arrays]
    dx, dstate, grads = rnn.backward(dh, cache, (dfinal,))
    dx_again, dstate_again, grads_again = rnn.backward(dh, cache, (dfinal,))
    assert (dx == dx_again).all() and (dstate[0] == dstate_again[0]).all()
    assert all((grads[name] == grads_again[name]).all() for name in params)
    assert all((a == copy).all() for a, copy in zip(given_arrays, copies, strict=True))


def test_backward_is_linear_in_the_upstream_gradient():
    params, x, state, rng = draw_cell(4, 3, 5, 2, 0)
    h, _, cache = rnn.forward(params, x, state)
    dh, dfinal = rng.standard_normal(h.shape), rng.standard_normal((5, 2))
    dx, dstate, grads = rnn.backward(dh, cache, (dfinal,))
    large_dx, large_dstate, large_grads = rnn.backward(1e4 * dh, cache, (1e4 * dfinal,))
    np.testing.assert_allclose(large_dx, 1e4 * dx, rtol=1e-12)
    np.testing.assert_allclose(large_dstate[0], 1e4 * dstate[0], rtol=1e-12)
    for name in params:
        np.testing.assert_allclose(large_grads[name], 1e4 * grads[name], rtol=1e-12)


def test_no_dstate_means_a_gradient_of_zero():
    params, x, state, rng = draw_cell(3, 2, 4, 2, 0)
    h, _, cache = rnn.forward(params, x, state)
    dh = rng.standard_normal(h.shape)
    for given_none, given_zero in zip(
        rnn.backward(dh, cache), rnn.backward(dh, cache, (np.zeros((4, 2)),)), strict=True
    ):
        assert str(given_none) == str(given_zero)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_follows_the_parameters(dtype, rng):
    params = rnn.init(3, 4, rng, dtype)
    h, state, cache = rnn.forward(params, np.ones((2, 3, 5)), rnn.zero_state(4, 5))
    dx, dstate, grads = rnn.backward(np.ones((2, 4, 5)), cache, (np.ones((4, 5)),))
    assert {a.dtype for a in (h, *state, dx, *dstate, *grads.values())} == {np.dtype(dtype)}


@pytest.mark.parametrize("which", ["Wxh", "Whh", "bh", "x", "h0"])
def test_complex_flows_from_any_single_argument(which):
    params, x, state, _ = draw_cell(3, 2, 4, 2, 0)
    arguments = params | {"x": x, "h0": state[0]}
    arguments[which] = arguments[which] + 1e-30j
    h, final, _ = rnn.forward({name: arguments[name] for name in params}, arguments["x"], (arguments["h0"],))
    assert (h.imag != 0).all() and (final[0] == h[-1]).all()


def test_init_draws_what_the_seed_says():
    first, again, other = (rnn.init(3, 16, seed) for seed in (1, 1, 2))
    assert {name: p.shape for name, p in first.items()} == {"Wxh": (16, 3), "Whh": (16, 16), "bh": (16, 1)}
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["Whh"] != other["Whh"]).any()
    assert abs(first["Whh"]).max() <= 0.25 and not first["bh"].any()


@pytest.mark.parametrize(
    ("x", "h0", "message"),
    [
        (np.ones((2, 4, 5)), np.ones((4, 5)), "x must have shape (T, D, B) = (T >= 1, 3, B), got (2, 4, 5)"),
        (np.ones((3, 5)), np.ones((4, 5)), "x must have shape (T, D, B) = (T >= 1, 3, B), got (3, 5)"),
        (np.ones((0, 3, 5)), np.ones((4, 5)), "x must have shape (T, D, B) = (T >= 1, 3, B), got (0, 3, 5)"),
        (np.ones((2, 3, 5)), np.ones((4, 1)), "state[0] must have shape (4, 5), got (4, 1)"),
        (np.full((2, 3, 5), "a"), np.ones((4, 5)), "x and state must hold numbers, got dtype <U1"),
    ],
)
def test_arguments_that_do_not_fit_are_named(x, h0, message, rng):
    with pytest.raises(ValueError) as caught:
        rnn.forward(rnn.init(3, 4, rng), x, (h0,))
    assert str(caught.value) == message


def test_gradients_that_do_not_fit_are_named(rng):
    _, _, cache = rnn.forward(rnn.init(3, 4, rng), np.ones((2, 3, 5)), rnn.zero_state(4, 5))
    with pytest.raises(ValueError, match=r"dh must have shape \(2, 4, 5\), got \(2, 4, 1\)"):
        rnn.backward(np.ones((2, 4, 1)), cache)
    with pytest.raises(ValueError, match=r"dstate\[0\] must have shape \(4, 5\), got \(4, 1\)"):
        rnn.backward(np.ones((2, 4, 5)), cache, (np.ones((4, 1)),))
