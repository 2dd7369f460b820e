"""The catalogue of mistakes: each is caught by the gradient check, and named; right code and other mistakes are not."""

import dataclasses
import re

import numpy as np
import pytest
from conftest import ROOT

import minirnn
from minirnn import CELLS, ops, optim, rnn
from minirnn.gradcheck import arrays_of, check_layer
from minirnn.grading import answer as model_answer
from minirnn.grading.catalogue import MISTAKES, Mistake, read
from minirnn.grading.diagnosis import POINTS, TARGETS, answer, diagnose, planted


def adagrad_step(params, grads, memory, learning_rate):
    optimizer = optim.Adagrad(learning_rate)
    optimizer.state = memory
    optimizer.step(params, grads)


def rnn_step_forward(params, x, h):
    h, _, cache = rnn.forward(params, x[None], (h,))
    return h[0], cache


def rnn_step_backward(dh, cache):
    params, x, h, h_next = cache
    dx, (dh,), grads = rnn.backward(dh[None], (params, x[None], np.stack([h, h_next])))
    return dx[0], dh, grads


def softmax_cross_entropy(logits, targets):
    loss, cache = ops.cross_entropy_forward(logits, targets, np.full(len(targets), 1 / len(targets)))
    return loss, ops.cross_entropy_backward(cache)


LESSONS = {f"{cell}.{way}": getattr(CELLS[cell], way) for cell in CELLS for way in ("forward", "backward")} | {
    "ops.cross_entropy_forward": ops.cross_entropy_forward,
    "ops.cross_entropy_backward": ops.cross_entropy_backward,
    "ops.linear_backward": ops.linear_backward,
    "ops.embedding_backward": ops.embedding_backward,
    "optim.clip_value": optim.clip_value,
    "optim.clip_norm": optim.clip_norm,
    "model.LanguageModel.loss_and_grads": minirnn.LanguageModel.loss_and_grads,
    "adagrad_step": adagrad_step,
    "rnn_step_forward": rnn_step_forward,
    "rnn_step_backward": rnn_step_backward,
    "softmax_cross_entropy": softmax_cross_entropy,
}
CELL_MISTAKES = [m for m in MISTAKES if m.function.removesuffix("_backward") in CELLS]


def asked_at(function):
    """The targets where a mistake in a function of the model answer may show; they take that function itself."""
    return [dataclasses.replace(target, theirs=target.ours) for target in TARGETS.values() if target.name == function]


def name_of(mistake):
    return f"{mistake.function}: {mistake.sentence}"


def test_the_catalogue_is_large_and_says_each_thing_once():
    assert len(MISTAKES) >= 234
    assert len({name_of(mistake) for mistake in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.soak)])
def test_every_mistake_is_named_and_named_alone(step):
    for mistake in MISTAKES[::step]:
        found = [diagnose(target, planted(mistake)) for target in asked_at(mistake.function)]
        named = [diagnosis for diagnosis in found if not diagnosis.correct]  # of two targets, one may not see it
        assert named and all(diagnosis.explanations == ((mistake,),) for diagnosis in named), mistake
        assert mistake.sentence in str(named[0]) and mistake.algebra in str(named[0])


@pytest.mark.parametrize("name", LESSONS)
def test_the_lessons_are_not_accused(name):
    for seed in range(5):
        diagnosis = diagnose(name, LESSONS[name], seed)
        assert diagnosis.correct and str(diagnosis) == "no mistake"


@pytest.mark.soak
@pytest.mark.parametrize("name", LESSONS)
def test_the_lessons_are_never_accused(name):
    for seed in range(1000):
        assert diagnose(name, LESSONS[name], seed).correct


def layer(cell, backward, number):
    """Forward of a cell and some backward as a layer for :func:`check_layer`, and its inputs."""
    T, D, H, B = ((3, 2, 4, 2), (4, 3, 3, 2))[number]
    rng = np.random.default_rng(number)
    params = {name: rng.normal(0, 0.5, p.shape) for name, p in CELLS[cell].init(D, H, 0, np.float64).items()}
    states = {f"state{i}": rng.uniform(-1, 1, s.shape) for i, s in enumerate(CELLS[cell].zero_state(H, B))}

    def forward(*arrays):
        h, final, cache = CELLS[cell].forward(
            dict(zip(params, arrays, strict=False)), arrays[len(params)], arrays[len(params) + 1 :]
        )
        return (h, *final), cache

    def answer(dout, cache):
        dx, dstate, grads = backward(dout[0], cache, dout[1:])
        return [*(grads[name] for name in params), dx, *dstate]

    return forward, answer, params | {"x": rng.standard_normal((T, D, B))} | states


@pytest.mark.parametrize("step", [60, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("cell", CELLS)
def test_every_mistake_of_a_cell_is_caught_by_the_gradient_check(cell, step):
    def caught(mistake):
        for number in (0, 1):  # all sizes distinct, and square
            try:
                if not check_layer(*layer(cell, planted(mistake), number)).ok:
                    return True
            except ValueError as error:
                assert "matmul" in str(error) or "operands" in str(error)
                return True
        return False

    early = "steps are walked back"  # only a longer sequence shows that
    mistakes = [m for m in CELL_MISTAKES if m.function == f"{cell}_backward" and early not in m.sentence]
    assert len(mistakes) > 40 and all(map(caught, mistakes[::step]))


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("seed", range(3))
def test_the_model_answer_equals_the_lesson(name, seed):
    target = TARGETS[name]
    for number in range(POINTS):
        arguments = target.draw(np.random.default_rng([seed, number]), number)
        ours = answer(target.ours, getattr(model_answer, target.name), arguments)
        lesson = answer(target.theirs, LESSONS[name], arguments)
        assert not isinstance(lesson, str) and len(lesson) == len(ours) > 0
        for a, b in zip(ours, lesson, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("cell", CELLS)
def test_the_caches_hold_the_same(cell):
    arguments = TARGETS[f"{cell}.forward"].draw(np.random.default_rng(0), 0)
    _, _, ours = getattr(model_answer, f"{cell}_forward")(*arguments)
    _, _, lesson = CELLS[cell].forward(*arguments)
    for a, b in zip(arrays_of(ours), arrays_of(lesson), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TARGETS)
def test_mistakes_are_of_functions_that_somebody_asks_for(name):
    assert any(mistake.function == TARGETS[name].name for mistake in MISTAKES)
    assert {mistake.function for mistake in MISTAKES} <= {target.name for target in TARGETS.values()}


def test_two_mistakes_together_are_named():
    first, second = (
        next(m for m in MISTAKES if m.function == "rnn_backward" and words in m.sentence)
        for words in ("dhnext is dropped", "dbh is averaged over the batch")
    )
    diagnosis = diagnose("rnn.backward", planted(first, second))
    assert [set(pair) for pair in diagnosis.explanations] == [{first, second}]
    assert " And: " in str(diagnosis)


OTHER = [
    ("rnn_backward", "hs[t + 1] ** 2", "hs[t + 1] ** 4"),
    ("rnn_backward", "dhnext = Whh.T", "dhnext = 0.9 * Whh.T"),
    ("rnn_backward", "dh[t] + dhnext", "dh[t] + dhnext**2"),
    ("rnn_backward", "hs[t].T", "np.roll(hs[t], 1, axis=1).T"),
    ("rnn_backward", "return dx,", "return 1.001 * dx,"),
    ("lstm_backward", "dc * g * i", "dc * g**2 * i"),
    ("lstm_backward", "dcnext = dc * f", "dcnext = dc * f**2"),
    ("lstm_backward", "dh_t * tanh_c", "dh_t * tanh_c ** 2"),
    ("gru_backward", "dh_t * z + Whh", "dh_t * n + Whh"),
    ("gru_backward", "da_n * us[t]", "da_n * us[t] ** 2"),
    ("softmax_cross_entropy", "-= weights[n]", "-= 0.9 * weights[n]"),
    ("linear_backward", "dy @ x.T", "2 * dy @ x.T"),
    ("adagrad_step", "1e-8", "1e-7"),
]


@pytest.mark.parametrize(("function", "right", "wrong"), OTHER)
def test_a_mistake_that_is_not_in_the_catalogue_is_unknown(function, right, wrong):
    diagnosis = diagnose(asked_at(function)[0], planted(Mistake(function, "", "", ((right, wrong),))))
    assert not diagnosis.correct and not diagnosis.explanations
    assert str(diagnosis).startswith("unknown mistake")


def test_a_function_that_always_fails_is_unknown():
    def fails(dh, cache, dstate):
        raise ValueError("no idea")

    assert str(diagnose("rnn.backward", fails)).startswith("unknown mistake")
    for nothing in (None, (), {}, "no idea", (1, 2)):
        assert str(diagnose("ops.linear_backward", lambda dy, cache, nothing=nothing: nothing)).startswith("unknown")


def test_what_cannot_be_planted_or_asked():
    first = next(mistake for mistake in MISTAKES if mistake.function == "rnn_backward")
    with pytest.raises(ValueError, match=r"'nonsense' does not stand in rnn_backward exactly once"):
        planted(Mistake("rnn_backward", "", "", (("nonsense", ""),)))
    with pytest.raises(ValueError, match="only mistakes of one function can be made together, got rnn_backward, f"):
        planted(first, dataclasses.replace(first, function="f"))
    with pytest.raises(ValueError, match=r"unknown target 'rnn'; known targets: rnn\.forward"):
        diagnose("rnn", minirnn.rnn.backward)


def test_what_is_no_catalogue():
    (entry,) = read("function: f\nalgebra: 1 + 1 = 2\n- 2\n+ 3\nbad at sums\n")
    assert entry == Mistake("f", "bad at sums", "1 + 1 = 2", (("2", "3"),))
    both = "function: f g\na: 1 | 2\nb: x | y\nunused: p | q | r\nalgebra: {a}\n- {b}\n+\n{a} for {b}\n"
    assert [(m.function, m.sentence) for m in read(both)] == [(f, s) for s in ("1 for x", "2 for y") for f in "fg"]
    with pytest.raises(ValueError, match=r"this mistake needs function, algebra, and edits in pairs of .*: 'bad'"):
        list(read("function: f\nalgebra: a\n- 2\nbad\n"))
    with pytest.raises(ValueError, match=r"lists that go side by side must be of one length: '\{a\} and \{b\}'"):
        list(read("function: f\na: 1 | 2\nb: 1 | 2 | 3\nalgebra: a\n- 2\n+ 3\n{a} and {b}\n"))


def test_the_documents_do_not_promise_more_mistakes_than_there_are():
    counted = 0
    for name in ("README.md", "docs/CHANGELOG.md", "examples/assignment/TEACHER.md"):
        for count in re.findall(r"(\d+)\s+(?:classic |known )?mistakes", (ROOT / name).read_text()):
            assert 200 <= int(count) <= len(MISTAKES), name
            counted += 1
    assert counted >= 1


def test_one_point_where_numbers_agree_is_not_enough():
    right = model_answer.rnn_backward
    wrong = planted(next(m for m in MISTAKES if "the loop runs forward" in m.sentence))
    calls = iter(range(POINTS))

    def at_one_point(*args):
        if next(calls) == 1:
            return wrong(*args)
        raise ValueError("matmul: mismatch")

    assert not diagnose("rnn.backward", at_one_point).explanations
    calls = iter(range(POINTS))
    assert not diagnose("rnn.backward", lambda *args: (wrong if next(calls) == 1 else right)(*args)).explanations
