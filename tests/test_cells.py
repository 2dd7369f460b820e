"""The three cells: against the numbers, against a loop gate by gate, against themselves in pieces."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from minirnn import CELLS, gru, lstm, rnn
from minirnn.gradcheck import check_gradients

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
every_cell = pytest.mark.parametrize("name", CELLS)
ROWS = {"rnn": 1, "gru": 3, "lstm": 4}


def draw_cell(name, T, D, H, B, seed):
    """Parameters, input and state in float64, with weights large enough to bend tanh."""
    rng = np.random.default_rng(seed)
    params = {key: rng.normal(0, 0.5, p.shape) for key, p in CELLS[name].init(D, H, 0, np.float64).items()}
    state = tuple(rng.uniform(-1, 1, s.shape) for s in CELLS[name].zero_state(H, B))
    return params, rng.standard_normal((T, D, B)), state, rng


def draw_gradients(h, state, rng):
    """Random upstream gradients of a cell's outputs: dh and dstate."""
    return rng.standard_normal(h.shape), tuple(rng.standard_normal(s.shape) for s in state)


def near(a, b, atol=1e-13):
    """Both are arrays, or sequences or dicts of arrays, and equal to the last digits."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = a.values(), b.values()
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=atol)


@every_cell
@given(T=sizes, D=sizes, H=sizes, B=sizes, seed=seeds)
def test_every_gradient_against_the_complex_step(name, T, D, H, B, seed):
    cell = CELLS[name]
    params, x, state, rng = draw_cell(name, T, D, H, B, seed)
    h, final, cache = cell.forward(params, x, state)
    dh, dfinal = draw_gradients(h, final, rng)
    dx, dstate, grads = cell.backward(dh, cache, dfinal)
    inputs = {"x": x} | {f"state{i}": s for i, s in enumerate(state)}
    dinputs = {"x": dx} | {f"state{i}": s for i, s in enumerate(dstate)}

    def projection(p):  # one random number made of all outputs: wrong gradients cannot hide from it
        given_state = tuple(p[f"state{i}"] for i in range(len(state)))
        h, final, _ = cell.forward({key: p[key] for key in params}, p["x"], given_state)
        return (h * dh).sum() + sum((s * ds).sum() for s, ds in zip(final, dfinal, strict=True))

    report = check_gradients(projection, params | inputs, grads | dinputs)
    assert report.ok, str(report)


@every_cell
@given(T=sizes, D=sizes, H=sizes, B=sizes, seed=seeds)
def test_forward_equals_a_loop_over_steps_and_sequences(name, T, D, H, B, seed):
    params, x, state, _ = draw_cell(name, T, D, H, B, seed)
    h, final, _ = CELLS[name].forward(params, x, state)
    expected, expected_final = reference.forward(name, params, x, state)
    near([h, *final], [expected, *expected_final])
    assert (final[0] == h[-1]).all()


@every_cell
@given(chunks=st.lists(sizes, min_size=1, max_size=4), seed=seeds)
def test_chunks_with_carried_state_equal_the_whole(name, chunks, seed):
    cell = CELLS[name]
    params, x, state, rng = draw_cell(name, sum(chunks), 3, 4, 2, seed)
    h, final, cache = cell.forward(params, x, state)
    dh, dfinal = draw_gradients(h, final, rng)
    dx, dstate, grads = cell.backward(dh, cache, dfinal)

    edges = np.cumsum(chunks)[:-1]
    pieces, carried = [], state
    for piece in np.split(x, edges):
        h_piece, carried, cache = cell.forward(params, piece, carried)
        pieces.append((h_piece, cache))
    near([np.concatenate([piece for piece, _ in pieces]), *carried], [h, *final])

    # Backward through the chunks from the last: the gradient of the state is handed on, so nothing is truncated.
    dcarried, dxs, summed = dfinal, [], dict.fromkeys(params, 0.0)
    for (_, cache), dh_piece in zip(reversed(pieces), reversed(np.split(dh, edges)), strict=True):
        dx_piece, dcarried, grads_piece = cell.backward(dh_piece, cache, dcarried)
        dxs.insert(0, dx_piece)
        summed = {key: summed[key] + grads_piece[key] for key in params}
    near([np.concatenate(dxs), *dcarried], [dx, *dstate], atol=1e-12)
    near(summed, {key: grads[key] for key in summed}, atol=1e-12)


@every_cell
def test_columns_do_not_touch_each_other(name):
    params, x, state, _ = draw_cell(name, 4, 3, 5, 3, 0)
    h, _, _ = CELLS[name].forward(params, x, state)
    alone, _, _ = CELLS[name].forward(params, x[:, :, 1:2], tuple(s[:, 1:2] for s in state))
    near([h[:, :, 1:2]], [alone])


@every_cell
def test_backward_is_repeatable_and_changes_nothing(name):
    params, x, state, rng = draw_cell(name, 4, 3, 5, 2, 0)
    h, final, cache = CELLS[name].forward(params, x, state)
    dh, dfinal = draw_gradients(h, final, rng)
    arrays = [*params.values(), x, *state, h, *final, dh, *dfinal, *cache[1:]]
    copies = [a.copy() for a in arrays]
    dx, dstate, grads = CELLS[name].backward(dh, cache, dfinal)
    dx_again, dstate_again, grads_again = CELLS[name].backward(dh, cache, dfinal)
    near([dx, *dstate, *grads.values()], [dx_again, *dstate_again, *grads_again.values()], atol=0)
    near(arrays, copies, atol=0)


@every_cell
def test_backward_is_linear_in_the_upstream_gradient(name):
    params, x, state, rng = draw_cell(name, 4, 3, 5, 2, 0)
    h, final, cache = CELLS[name].forward(params, x, state)
    dh, dfinal = draw_gradients(h, final, rng)
    dx, dstate, grads = CELLS[name].backward(dh, cache, dfinal)
    large_dx, large_dstate, large_grads = CELLS[name].backward(1e4 * dh, cache, tuple(1e4 * ds for ds in dfinal))
    near([1e-4 * large_dx, *(1e-4 * ds for ds in large_dstate)], [dx, *dstate], atol=1e-12)
    near({key: 1e-4 * g for key, g in large_grads.items()}, grads, atol=1e-12)


@every_cell
def test_no_dstate_means_a_gradient_of_zero(name):
    params, x, state, rng = draw_cell(name, 3, 2, 4, 2, 0)
    h, _, cache = CELLS[name].forward(params, x, state)
    dh, _ = draw_gradients(h, state, rng)
    zero = CELLS[name].zero_state(4, 2, np.float64)
    dx, dstate, grads = CELLS[name].backward(dh, cache)
    dx_zero, dstate_zero, grads_zero = CELLS[name].backward(dh, cache, zero)
    near([dx, *dstate], [dx_zero, *dstate_zero], atol=0)
    near(grads, grads_zero, atol=0)


@every_cell
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_follows_the_parameters(name, dtype, rng):
    cell = CELLS[name]
    params = cell.init(3, 4, rng, dtype)
    h, state, cache = cell.forward(params, np.ones((2, 3, 5)), cell.zero_state(4, 5))
    dx, dstate, grads = cell.backward(np.ones((2, 4, 5)), cache, tuple(np.ones((4, 5)) for _ in state))
    assert {a.dtype for a in (h, *state, dx, *dstate, *grads.values())} == {np.dtype(dtype)}


@every_cell
def test_complex_flows_from_any_single_argument(name):
    params, x, state, _ = draw_cell(name, 3, 2, 4, 2, 0)
    arguments = params | {"x": x, "h0": state[0]}
    for which in arguments:
        changed = arguments | {which: arguments[which] + 1e-30j}
        h, final, _ = CELLS[name].forward(
            {key: changed[key] for key in params}, changed["x"], (changed["h0"], *state[1:])
        )
        assert (h.imag != 0).all() and (final[0] == h[-1]).all(), which


@every_cell
def test_the_state_at_each_length_is_that_of_the_sequence_alone(name):
    params, x, state, _ = draw_cell(name, 6, 3, 4, 3, 0)
    lengths = np.array([6, 1, 4])
    picked = CELLS[name].state_at(CELLS[name].forward(params, x, state)[2], lengths)
    for b, length in enumerate(lengths):
        column = np.s_[:, b : b + 1]
        _, alone, _ = CELLS[name].forward(params, x[:length, :, b : b + 1], tuple(s[column] for s in state))
        near([s[column] for s in picked], alone)


@every_cell
def test_init_draws_what_the_seed_says(name):
    first, again, other = (CELLS[name].init(3, 16, seed) for seed in (1, 1, 2))
    rows = 16 * ROWS[name]
    shapes = {"Wxh": (rows, 3), "Whh": (rows, 16), "bh": (rows, 1)} | ({"bhn": (16, 1)} if name == "gru" else {})
    assert {key: p.shape for key, p in first.items()} == shapes
    assert all((first[key] == again[key]).all() for key in first)
    assert (first["Whh"] != other["Whh"]).any() and 0.2 < abs(first["Whh"]).max() <= 0.25


@every_cell
@pytest.mark.parametrize("weight", ["Wxh", "Whh"])
def test_weights_start_uniform_around_zero(name, weight):
    W, bound = CELLS[name].init(50, 64, 0, np.float64)[weight], 1 / 8  # 1/sqrt(64)
    assert abs(W).max() <= bound
    assert W.mean() == pytest.approx(0, abs=0.05 * bound)
    assert W.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)


def test_biases_start_at_zero_but_for_the_forget_gate():
    assert not rnn.init(3, 2, 0)["bh"].any()
    assert not gru.init(3, 2, 0)["bh"].any() and not gru.init(3, 2, 0)["bhn"].any()
    assert lstm.init(3, 2, 0)["bh"][:, 0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert not lstm.init(3, 2, 0, forget_bias=0)["bh"].any()


def test_an_open_forget_gate_carries_the_gradient_of_the_cell_unchanged():
    """What the LSTM was invented for: with f = 1 and i = 0 the cell's gradient arrives whole after 100 steps."""
    params = {key: np.zeros_like(p) for key, p in lstm.init(1, 3, 0, np.float64).items()}
    params["bh"][0:3], params["bh"][3:6] = -50, 50  # input gate shut, forget gate open
    _, _, cache = lstm.forward(params, np.ones((100, 1, 1)), lstm.zero_state(3, 1, np.float64))
    dcell = np.array([[1.0], [-2.0], [3.0]])
    _, (_, dcell_start), _ = lstm.backward(np.zeros((100, 3, 1)), cache, (np.zeros((3, 1)), dcell))
    near([dcell_start], [dcell])


@every_cell
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
def test_arguments_that_do_not_fit_are_named(name, x, h0, message, rng):
    others = CELLS[name].zero_state(4, 5)[1:]
    with pytest.raises(ValueError) as caught:
        CELLS[name].forward(CELLS[name].init(3, 4, rng), x, (h0, *others))
    assert str(caught.value) == message


@every_cell
def test_gradients_that_do_not_fit_are_named(name, rng):
    cell = CELLS[name]
    _, state, cache = cell.forward(cell.init(3, 4, rng), np.ones((2, 3, 5)), cell.zero_state(4, 5))
    with pytest.raises(ValueError, match=r"dh must have shape \(2, 4, 5\), got \(2, 4, 1\)"):
        cell.backward(np.ones((2, 4, 1)), cache)
    for i in range(len(state)):
        dstate = tuple(np.ones((4, 1 if i == j else 5)) for j in range(len(state)))
        with pytest.raises(ValueError, match=rf"dstate\[{i}\] must have shape \(4, 5\), got \(4, 1\)"):
            cell.backward(np.ones((2, 4, 5)), cache, dstate)


@every_cell
def test_results_share_no_memory_with_the_cache_or_the_arguments(name):
    params, x, state, rng = draw_cell(name, 4, 3, 5, 2, 0)
    h, final, cache = CELLS[name].forward(params, x, state)
    dx, dstate, grads = CELLS[name].backward(*draw_gradients(h, final, rng)[:1], cache)
    inside = [*params.values(), x, *state, *cache[1:]]
    for result in (h, *final, dx, *dstate, *grads.values()):
        assert not any(np.shares_memory(result, array) for array in inside)


@every_cell
def test_the_zero_state_has_the_precision_asked_for(name):
    for dtype in (np.float32, np.float64):
        for s in CELLS[name].zero_state(4, 5, dtype):
            assert s.shape == (4, 5) and s.dtype == dtype and not s.any()


@every_cell
def test_classroom_arguments_work_or_are_named(name):
    """Integer weights compute in floats; a bias without its second axis, or a state without its tuple, is refused."""
    cell = CELLS[name]
    params = {key: np.ones(p.shape, int) for key, p in cell.init(1, 2, 0).items()}
    x, state = np.full((1, 1, 2), 0.5), cell.zero_state(2, 2)
    floats = {key: p.astype(float) for key, p in params.items()}
    near([cell.forward(params, x, state)[0]], [cell.forward(floats, x, state)[0]])
    with pytest.raises(ValueError, match=r"bh must have shape"):
        cell.forward(floats | {"bh": floats["bh"][:, 0]}, x, state)
    for bad in (state[0], (*state, state[0]), list(state)):
        with pytest.raises(ValueError, match=r"state must be a tuple of .* as zero_state returns"):
            cell.forward(floats, x, bad)
    h, final, cache = cell.forward(floats, x, state)
    for bad in (final[0], (*final, final[0])):
        with pytest.raises(ValueError, match="dstate must be a tuple of"):
            cell.backward(h, cache, bad)
