"""The catalogue of mistakes: each is caught by the gradient check, and named; right code and other mistakes are not."""

import re

import numpy as np
import pytest
import reference
from conftest import ROOT

from minirnn import CELLS, ops, rnn
from minirnn.gradcheck import check_layer
from minirnn.grading.catalogue import MISTAKES, Mistake
from minirnn.grading.diagnosis import TARGETS, diagnose, planted

# Where a mistake is made in a function that is no target itself, the target that calls it.
ASKED_AT = {
    "optim.Adagrad.step": "adagrad_step",
    "model.stack_backward": "model.LanguageModel.loss_and_grads",
    "model.LanguageModel._loss": "model.LanguageModel.loss_and_grads",
}


def with_mistakes(target, *mistakes):
    """The target's function, making mistakes."""

    def function(*args):
        with planted(*mistakes):
            return TARGETS[target].call(*args)

    return function


def name_of(mistake):
    return f"{mistake.function}: {mistake.sentence}"


def test_the_catalogue_is_large_and_says_each_thing_once():
    assert len(MISTAKES) >= 25
    assert len({name_of(mistake) for mistake in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=name_of)
def test_every_mistake_is_named(mistake):
    target = ASKED_AT.get(mistake.function, mistake.function)
    diagnosis = diagnose(target, with_mistakes(target, mistake))
    assert not diagnosis.correct and diagnosis.explanations == ((mistake,),)
    assert mistake.sentence in str(diagnosis) and mistake.algebra in str(diagnosis)


def layer(cell, seed, number):
    """Forward and backward of a cell as a layer for :func:`check_layer`, and its inputs."""
    T, D, H, B = ((4, 3, 5, 2), (5, 4, 4, 3))[number]
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(0, 0.5, p.shape) for name, p in cell.init(D, H, 0, np.float64).items()}
    states = {f"state{i}": rng.uniform(-1, 1, s.shape) for i, s in enumerate(cell.zero_state(H, B))}

    def forward(*arrays):
        h, final, cache = cell.forward(
            dict(zip(params, arrays, strict=False)), arrays[len(params)], arrays[len(params) + 1 :]
        )
        return (h, *final), cache

    def backward(dout, cache):
        dx, dstate, grads = cell.backward(dout[0], cache, dout[1:])
        return [*(grads[name] for name in params), dx, *dstate]

    return forward, backward, params | {"x": rng.standard_normal((T, D, B))} | states


@pytest.mark.parametrize("mistake", [m for m in MISTAKES if m.function.endswith(".backward")], ids=name_of)
def test_every_mistake_of_a_cell_is_caught_by_the_gradient_check(mistake):
    cell = CELLS[mistake.function.removesuffix(".backward")]
    caught = False
    for number in (0, 1):  # all sizes distinct, and square
        with planted(mistake):
            try:
                caught = caught or not check_layer(*layer(cell, 0, number)).ok
            except ValueError as error:
                caught = "matmul" in str(error)
    assert caught


@pytest.mark.parametrize("target", TARGETS)
def test_right_code_is_not_accused(target):
    for seed in range(100):
        diagnosis = diagnose(target, lambda *args: TARGETS[target].call(*args), seed)
        assert diagnosis.correct and str(diagnosis) == "no mistake"


@pytest.mark.parametrize("cell", CELLS)
def test_another_way_to_write_it_is_right_too(cell):
    def forward(params, x, state):
        h, final = reference.forward(cell, params, x, state)
        return h, tuple(final), None

    assert diagnose(f"{cell}.forward", forward).correct


def test_two_mistakes_together_are_named():
    first, second = (
        next(m for m in MISTAKES if m.function == "lstm.backward" and words in m.sentence)
        for words in ("dhnext is dropped", "dbh is averaged over the batch")
    )
    diagnosis = diagnose("lstm.backward", with_mistakes("lstm.backward", first, second))
    assert [set(pair) for pair in diagnosis.explanations] == [{first, second}]
    assert " And: " in str(diagnosis)


OTHER = [
    ("rnn.backward", "slope = 1 - h**2", "slope = 1 - h**4"),
    ("rnn.backward", "dhnext = Whh.T @ da[t]", "dhnext = 0.9 * Whh.T @ da[t]"),
    ("rnn.backward", "(dh[t] + dhnext) *", "(dh[t] - dhnext) *"),
    ("rnn.backward", "to_bag(hprev)", "to_bag(np.roll(hprev, 1, axis=2))"),
    ("rnn.backward", "return dx,", "return 1.001 * dx,"),
    ("lstm.backward", "dc * g * i", "dc * i * i"),
    ("lstm.backward", "dcnext = dc * f", "dcnext = dc * o"),
    ("lstm.backward", "dh_t * tanh_c[t]", "dh_t * tanh_c[t] ** 2"),
    ("gru.backward", "dh_t * z + Whh", "dh_t * r + Whh"),
    ("gru.backward", "da_n[t] * us[t]", "da_n[t] * n"),
    ("ops.cross_entropy_backward", "-= weights", "-= 0.9 * weights"),
    ("ops.linear_backward", "W.T @ dy, dy @ x.T", "W.T @ dy, 2 * dy @ x.T"),
    ("optim.Adagrad.step", "1e-8", "1e-7"),
]


@pytest.mark.parametrize(("function", "right", "wrong"), OTHER)
def test_a_mistake_that_is_not_in_the_catalogue_is_unknown(function, right, wrong):
    target = ASKED_AT.get(function, function)
    diagnosis = diagnose(target, with_mistakes(target, Mistake(function, "", "", ((right, wrong),))))
    assert not diagnosis.correct and not diagnosis.explanations
    assert str(diagnosis).startswith("unknown mistake")


def test_a_function_that_always_fails_is_unknown():
    def fails(dh, cache, dstate):
        raise ValueError("no idea")

    assert str(diagnose("rnn.backward", fails)).startswith("unknown mistake")
    assert str(diagnose("ops.linear_backward", lambda dy, cache: None)).startswith("unknown mistake")


def test_a_mistake_is_gone_when_its_context_ends():
    backward, cross_entropy_backward = rnn.backward, ops.cross_entropy_backward
    mistakes = [next(m for m in MISTAKES if m.function == f) for f in ("rnn.backward", "ops.cross_entropy_backward")]
    with pytest.raises(RuntimeError), planted(*mistakes):
        assert rnn.backward is not backward and ops.cross_entropy_backward is not cross_entropy_backward
        raise RuntimeError
    assert rnn.backward is backward and ops.cross_entropy_backward is cross_entropy_backward


def test_what_cannot_be_planted_or_asked():
    with (
        pytest.raises(ValueError, match=r"'nonsense' does not stand in rnn\.backward exactly once"),
        planted(Mistake("rnn.backward", "", "", (("nonsense", ""),))),
    ):
        pass
    with pytest.raises(ValueError, match=r"unknown target 'rnn'; known targets: rnn\.forward"):
        diagnose("rnn", rnn.backward)


def test_the_documents_know_how_many_mistakes_there_are():
    for name in ("README.md", "docs/gradient-checking.md", "docs/CHANGELOG.md", "examples/assignment/TEACHER.md"):
        counts = re.findall(r"(\d+)\s+(?:classic |known )?mistakes", (ROOT / name).read_text())
        assert counts and set(counts) == {str(len(MISTAKES))}, name


def test_one_point_where_numbers_agree_is_not_enough():
    right = TARGETS["rnn.backward"].call
    wrong = with_mistakes("rnn.backward", next(m for m in MISTAKES if "the loop runs forward" in m.sentence))
    calls = iter(range(4))

    def at_one_point(*args):
        if next(calls) == 1:
            return wrong(*args)
        raise ValueError("matmul: mismatch")

    assert not diagnose("rnn.backward", at_one_point).explanations
    calls = iter(range(4))
    assert not diagnose("rnn.backward", lambda *args: (wrong if next(calls) == 1 else right)(*args)).explanations
