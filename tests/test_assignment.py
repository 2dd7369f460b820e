"""What the assignment asks for, what it forgives, and what is said of mistakes that the catalogue does not know."""

import contextlib
import csv
import importlib.util

import numpy as np
import pytest
from conftest import ROOT
from test_grade import SOURCE, edited, write

from minirnn.commands.cli import main
from minirnn.grading import answer as model_answer
from minirnn.grading import check, diagnosis, score
from minirnn.grading.assignment import EXERCISES
from minirnn.grading.catalogue import MISTAKES
from minirnn.grading.clues import clue
from minirnn.grading.diagnosis import planted
from minirnn.grading.grade import examine, grade
from minirnn.grading.student import Function, Here, Student, StudentError


def load(path, source):
    path.write_text(source)
    namespace = {"__name__": "student"}
    exec(compile(source, str(path), "exec"), namespace)
    return namespace


def judged(tmp_path, function, right, wrong):
    """The results of one function of the model answer after an edit, graded in this process."""
    namespace = load(tmp_path / "student.py", edited(function, right, wrong))
    return examine(EXERCISES[function], Here({function: namespace[function]}))


def lost(results):
    return {result.aspect for result in results if result.sentence}


def told(results):
    return " ".join(f"{result.sentence} {result.diagnosis}" for result in results if result.sentence)


@pytest.mark.parametrize(
    ("cell", "steps"),
    [("rnn", 5), ("rnn", 17), ("lstm", 25), ("gru", 50)]
    + [pytest.param(cell, steps, marks=pytest.mark.soak) for cell in ("gru", "lstm") for steps in (5, 17, 25, 50)],
)
def test_a_loop_that_ends_early_is_noticed(tmp_path, cell, steps):
    right, wrong = "reversed(range(len(x)))", f"list(reversed(range(len(x))))[:{steps}]"
    results = judged(tmp_path, f"{cell}_backward", right, wrong)
    assert {"dx", "dWxh", "dWhh", "dbh", "dh0"} <= lost(results)
    words = f"only the last {steps} steps" if steps in (5, 25) else "does the loop end early"
    assert words in told(results)


def test_the_class_0_is_a_class_like_others(tmp_path):
    wrong = "dlogits[targets[n], n] -= weights[n] * (targets[n] > 0)"
    results = judged(tmp_path, "softmax_cross_entropy", "dlogits[targets[n], n] -= weights[n]", wrong)
    assert "dlogits" in lost(results) and "where the target is 0, else all is right" in told(results)


@pytest.mark.parametrize("shift", ["np.clip(logits, -500, 500)", "np.clip(logits - logits.max(axis=0), -50, 0)"])
def test_stable_means_right_at_large_logits(tmp_path, shift):
    results = judged(tmp_path, "softmax_cross_entropy", "logits - logits.max(axis=0)", shift)
    assert lost(results) == {"stable"} and "unknown" not in told(results)
    assert "elsewhere it is right: subtract the largest logit" in told(results)


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("p=p / p.sum()", "p=np.where(p < 0.02, 0, p) / np.where(p < 0.02, 0, p).sum()", "id 2 never comes"),
        (
            "    return int(rng",
            "    p[np.argsort(p)[:-10]] = 0\n    return int(rng",
            "ids 0, 2, 4, 5, 6, 8, 9, 13, 14, 16, 18, 19, 21, 23 never come",
        ),
        ("p=p / p.sum()", "p=0.8 * p / p.sum() + 0.2 / len(p)", "21% of the draws it takes any id"),
        (
            "return int(rng.choice",
            "return 1 if rng.random() < 0.3 else int(rng.choice",
            "draws it takes id 1",
        ),
        (") / temperature", ")", "the temperature is ignored"),
        (
            "p = np.exp((logits - logits.max()) / temperature)",
            "p = 1 + np.tanh(logits / temperature)",
            "made of 1 + tanh,",
        ),
        (
            "p = np.exp((logits - logits.max())",
            "p = np.exp(np.clip(logits, -1, 1)",
            "of the logits 1, 2.5, -1.5, 3, 0 came",
        ),
        (") / temperature", ") * temperature", "multiplied by the temperature"),
        ("p=p / p.sum()", "p=np.sort(p)[::-1] / p.sum()", "those of the sorted logits, the largest first"),
        ("return int(rng.choice(", "return len(p) - 1 - int(rng.choice(", "the ids come in reversed order"),
        ("len(p), p=p / p.sum()", "len(p)", "all ids come equally often"),
        (
            "return int(rng.choice(len(p), p=p / p.sum()))",
            "return int(p.argmax())",
            "the most probable id comes",
        ),
    ],
)
def test_a_sampler_is_told_what_its_frequencies_are_those_of(tmp_path, right, wrong, words):
    results = judged(tmp_path, "sample_token", right, wrong)
    assert {"softmax", "temperature"} & lost(results) and words in told(results)
    assert "subtract the largest" not in told(results) or "softmax" not in lost(results)


def test_a_small_number_beside_the_norm_loses_no_points(tmp_path):
    assert not lost(judged(tmp_path, "clip_norm", "limit / norm", "limit / (norm + 1e-6)"))
    assert lost(judged(tmp_path, "clip_norm", "limit / norm", "limit / (norm - 1e-6)")) == {"scaled"}
    assert lost(judged(tmp_path, "clip_norm", "limit / norm", "limit / (norm + 1e-2)")) == {"scaled"}


@pytest.mark.parametrize(
    ("function", "right", "wrong", "words"),
    [
        ("clip_norm", "return norm", "return norm if norm > limit else None", "must be a number, got None"),
        ("adagrad_step", "name, g in grads.items()", "name, g in zip(params, grads.values())", "entries are wrong"),
        ("adagrad_step", "memory[name] += g**2", "g = np.clip(g, -5, 5); memory[name] += g**2", "entries are wrong"),
        ("adagrad_step", "learning_rate * g /", "np.minimum(learning_rate, 1) * g /", "entries are wrong"),
        ("adagrad_step", "in grads.items()", "in ((n, g) for n, g in grads.items() if n != 'bh')", "bh"),
        ("sample_token", "if temperature == 0:", "if temperature < 0.1:", "at temperature 0.0001"),
        ("sample_token", "if temperature == 0:", "temperature = max(temperature, 0.1)\n    if temperature == 0:",
         "at temperature 0 the most probable id must come, always"),
        ("rnn_forward", "np.stack(hs[1:]), (h,)", "np.stack(hs[1:]).astype(float), (h,)", "asked in float32"),
        ("rnn_forward", "Wxh, Whh, bh =", "params['H'] = 1; Wxh, Whh, bh =", "puts other arrays or keys into a dict"),
    ],
)  # fmt: skip
def test_what_only_some_problems_show_is_noticed(tmp_path, function, right, wrong, words):
    results = judged(tmp_path, function, right, wrong)
    assert lost(results) and words in told(results)


def test_buffers_of_integers_and_of_float32_are_told_apart(tmp_path):
    whole = judged(tmp_path, "rnn_forward", "np.stack(hs[1:])", "np.stack(hs[1:]).astype(int)")
    single = judged(tmp_path, "rnn_forward", "np.stack(hs[1:])", "np.stack(hs[1:]).astype('f')")
    inside = judged(tmp_path, "rnn_forward", "Wxh @ x[t]", "(Wxh @ x[t]).astype('f')")
    assert "a buffer of integers cuts decimals off" in told(whole) and "looks like" not in told(whole)
    assert "it is float32: where was it cast?" in told(single) and "integers" not in told(single)
    assert "is something computed in float32" in told(inside) and "unknown" not in told(inside)
    backward = judged(tmp_path, "rnn_backward", "dh_t = dh[t] + dhnext", "dh_t = (dh[t] + dhnext).astype('f')")
    assert "linear" not in lost(backward) and "unknown" not in told(backward)


def test_an_exception_is_told_with_the_shapes_there(tmp_path):
    results = judged(tmp_path, "rnn_backward", "da @ x[t].T", "da @ x[t]")
    assert "in da @ x[t], where da is (5, 2), x[t] is (3, 2)" in told(results)


def test_a_mistake_in_a_step_is_charged_once(tmp_path):
    source = edited("rnn_step_forward", "Whh @ h", "Whh.T @ h").replace(
        "h = np.tanh(Wxh @ x[t] + Whh @ h + bh)", "h, _ = rnn_step_forward(params, x[t], h)"
    )
    namespace = load(tmp_path / "student.py", source)
    both = {name: namespace[name] for name in ("rnn_forward", "rnn_step_forward")}
    step, sequence = (examine(EXERCISES[name], Here(both)) for name in ("rnn_step_forward", "rnn_forward"))
    assert lost(step) == {"h", "cache"} and not lost(sequence)
    assert namespace["rnn_step_forward"] is both["rnn_step_forward"]
    right, wrong = "np.stack(hs[1:]), (h,), (params, x", "np.stack(hs[1:]), (hs[0],), (params, x"
    with Student(write(tmp_path, source.replace(right, wrong, 1))) as student:
        results = examine(EXERCISES["rnn_forward"], student)
    assert lost(results) == {"state"} and "judged with a right one in its place" in told(results)


def test_a_variant_lets_those_pass_who_solved_it_and_no_others(tmp_path):
    wrapper = (ROOT / "examples" / "assignment" / "TEACHER.md").read_text().split("LETTERS = ")[1].split("```")[0]
    wrapper = f"\nimport numpy as np\nLETTERS = {wrapper}".replace('"rnn_forward", "rnn_backward")', ")")
    new = """
import numpy as np
def rnn_step_forward(params, x, h):
    after = np.tanh(x @ params["U"].T + h @ params["W"].T + params["b"].T)
    return after, (params, x, h, after)
def rnn_step_backward(dh, cache):
    params, x, h, after = cache
    da = dh * (1 - after**2)
    grads = {"U": da.T @ x, "W": da.T @ h, "b": da.sum(axis=0)[:, None]}
    return da @ params["U"], da @ params["W"], grads
"""
    for source, passes in ((new, True), (SOURCE, False)):
        namespace = load(tmp_path / "student.py", source + wrapper)
        for name in ("rnn_step_forward", "rnn_step_backward"):
            assert (not lost(examine(EXERCISES[name], Here({name: namespace[name]})))) == passes


def test_lines_of_the_model_answer_may_be_changed(tmp_path, monkeypatch):
    head = 'def clip_value(grads, limit):\n    """Clip."""\n'
    body = "    for g in grads.values():\n        g[...] = g.clip(0, limit)\n"
    monkeypatch.setattr(model_answer, "clip_value", load(tmp_path / "answer.py", head + body)["clip_value"])
    monkeypatch.setattr(diagnosis, "source_of", lambda name: (head, body))
    diagnosis.planted.cache_clear(), diagnosis.known.cache_clear()
    results = judged(tmp_path, "clip_value", "-limit, limit", "-limit, limit")
    diagnosis.planted.cache_clear(), diagnosis.known.cache_clear()
    assert lost(results) == {"clipped"}


def test_clues_are_given_where_the_catalogue_knows_nothing(tmp_path):
    for function, right, wrong, words in [
        ("lstm_backward", "(1 - f)", "(1 - f) ** 3", "the rows f of dbh, which is da itself there, are wrong"),
        ("gru_backward", "* z * (1 - z)", "* z * (1 - z) * 1.5", "the rows z of dbh"),
        ("rnn_backward", "dh_t = dh[t] + dhnext", "dh_t = dh[t] + 0.5 * dhnext", "with a dh_last that is not"),
        ("rnn_backward", "dWhh += da @ hs[t].T", "dWhh += np.outer(da[:, 0], hs[t][:, 0])", "with three dWhh is wrong"),
        ("lstm_backward", "dbh += da.sum(axis=1, keepdims=True)", "dbh += da.sum(axis=1, keepdims=True) ** 3",
         "dbh is wrong, while dWxh and dx, for which da must be right too, are right"),
        ("gru_forward", "u = Wh_n + bhn", "u = Wh_n + 2 * bhn", "is right when bhn is zero"),
        ("lstm_forward", "a_i, a_f, a_o, a_g =", "a_f, a_g, a_i, a_o =", "rows of the gates came as f, g, i, o"),
        ("rnn_forward", "np.tanh(", "np.sin(", "h is wrong from the first step on"),
        ("adagrad_step", "np.sqrt(memory[name] + 1e-8)", "np.sqrt(memory[name] + 3e-5)", "with 3e-05 in place of 1e-8"),
        ("adagrad_step", "np.sqrt(memory[name] + 1e-8)", "np.cbrt(memory[name])", "memory to the power 0.333"),
        ("adagrad_step", "params[name] -=", "params[name] *= 0.99; params[name] -=", "0.01 of the parameters"),
        ("adagrad_step", "memory[name] +=", "memory[name][...] = 0.7 * memory[name] +", "0.7 of the old memory and 1"),
        ("adagrad_step", "memory[name] += g**2", "np.maximum(memory[name], g**2, out=memory[name])", "the larger of"),
        ("softmax_cross_entropy", "shifted = logits - logits.max(axis=0)", "shifted = logits / 1.7",
         "as if the logits were divided by 1.7"),
        ("rnn_backward", "(1 - hs[t + 1] ** 2)", "(1 - hs[t + 1] ** 4)", "Where dh is 1 and h is"),
        ("gru_backward", "* z * (1 - z)", "* z * (1 - z) + 0.01", "look at da_z. Something is added there."),
        ("rnn_step_backward", "Whh.T @ da", "Whh.T @ da + 0.1", "but dh is wrong"),
        ("rnn_forward", "+ bh)", "+ bh + 0.1)", "are all zero, h is not: something is added there"),
        ("rnn_forward", "np.tanh(", "1.1 * np.tanh(", ", h is 0.989, not 0.8991"),
        ("softmax_cross_entropy", "p * weights", "p**1.5 * weights", "right for probabilities that are p**1.5, not p"),
        ("softmax_cross_entropy", "p * weights", "(p + 0.06) * weights", "of dlogits is too large by 0.01."),
        ("softmax_cross_entropy", "return loss, dlogits", "return loss, dlogits**3", "What is returned is dlogits**3"),
        ("softmax_cross_entropy", "return loss", "return loss + 0.1", "too large by 0.1, whatever the target is"),
        ("softmax_cross_entropy", "return loss", "return loss**2", "is loss**2, where loss is right"),
        ("adagrad_step", "g**2", "np.abs(g) ** 3", "What is added to the memory is |g|**3, not g**2"),
        ("adagrad_step", "g**2", "g**2 + 0.1", "What is added to the memory is g**2 + 0.1"),
        ("adagrad_step", "learning_rate * g", "learning_rate * 2 * np.abs(g)", "stands 2 |g|, not g."),
        ("adagrad_step", "learning_rate * g", "np.clip(learning_rate * g, -0.05, 0.05)", "right up to 0.05"),
        ("adagrad_step", "memory[name] + 1e-8", "memory[name].mean()", "In every entry the gradient is divided by 1.1"),
        ("adagrad_step", "np.sqrt(memory[name] + 1e-8)", "np.log(memory[name] + 1.1)", "step is 0.0006719, not 0.0988"),
    ]:  # fmt: skip
        asked = load(tmp_path / "student.py", edited(function, right, wrong))[function]
        text = clue(function, Function(lambda calls, asked=asked: [asked(*args) for args in calls]))
        assert words in text, (function, wrong, text)


@pytest.mark.parametrize(
    ("function", "right", "wrong", "words", "never"),
    [
        ("rnn_forward", "np.tanh(", "np.arctan(", "h is wrong from the first step", "clipped?"),
        ("rnn_forward", "np.tanh(", "np.tanh(1e-3 * np.random.rand() + ", "is something random in it", "wrong from"),
        ("lstm_backward", "* (1 - tanh_c**2)", "* (1 - tanh_c**2) ** 1.5", "look at dc, which all three", "look at da"),
        ("softmax_cross_entropy", "return loss, dlogits", "return loss, dlogits.tolist()", "got a list of 5", "finite"),
        (
            "clip_value",
            "(g, -limit, limit",
            "(g, -2 * limit, 2 * limit",
            "Wxy[0, 0] is -10, expected -5",
            "nothing",
        ),
        (
            "rnn_backward",
            "(1 - hs[t + 1] ** 2)",
            "np.maximum(0.1, 1 - hs[t + 1] ** 2)",
            "depend on their size",
            "batch",
        ),
        ("clip_norm", "norm > limit", "norm > 2 * limit", "at which norm does that begin", "nothing was clipped"),
        (
            "sample_token",
            ") / temperature",
            ") / max(temperature, 1)",
            "where it is 0.2, 2.8 where it is 3",
            "ignored",
        ),
    ],
)
def test_nobody_is_sent_the_wrong_way(tmp_path, function, right, wrong, words, never):
    text = told(judged(tmp_path, function, right, wrong))
    assert words in text and never not in text, text


def test_a_right_function_is_given_no_clue():
    for name in EXERCISES:
        function = getattr(model_answer, name)
        said = clue(name, Function(lambda calls, function=function: [function(*args) for args in calls]))
        assert not said or said == "h is right at every step: only what is returned beside it is wrong."


@pytest.mark.soak
def test_every_mistake_has_a_clue_that_names_something_wrong():
    for mistake in MISTAKES:
        if mistake.function in EXERCISES and mistake.function.endswith("_backward") and "step" not in mistake.function:
            function = planted(mistake)
            said = clue(mistake.function, Function(lambda calls, f=function: [f(*args) for args in calls]))
            assert not said or "wrong" in said, mistake


# --- more files, more ways --------------------------------------------------------------------------------

STEP = """import numpy as np
def rnn_step_forward(params, x, h):
    h_next = np.tanh(params["Wxh"] @ x + params["Whh"] @ h + params["bh"])
    return h_next, (params, x, h, h_next)
"""
CLIP = """
def clip_value(grads, limit):
    {}
    for g in grads.values():
        g[g > limit] = limit
        g[g < -limit] = -limit
"""


BREAKERS = [
    "np.array = np.asarray = np.frombuffer = None",
    "import json; json.dumps = json.loads = json.JSONEncoder = None",
    "import os; os.read = os.write = os.getpid = os.fork = None",
    "import builtins; builtins.len = builtins.isinstance = None",
    "import os; os._exit(4)",
    "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "x = np.ones(1 << 30)",
    "raise KeyboardInterrupt",
]


def test_what_a_function_breaks_costs_no_other(tmp_path):
    breakers = "".join(CLIP.format(line).replace("clip_value", f"clip_{i}") for i, line in enumerate(BREAKERS))
    with Student(write(tmp_path, STEP + breakers)) as student:
        for i, line in enumerate(BREAKERS):
            with contextlib.suppress(StudentError):
                student.call(f"clip_{i}", {"W": np.full(3, 9.0)}, 5.0)
            assert not lost(examine(EXERCISES["rnn_step_forward"], student)), line


def test_tools_patched_while_the_file_is_loaded_cost_nothing(tmp_path):
    patch = "np.array = np.asarray = np.savez = None\nimport json, os\njson.dumps = json.loads = os.read = None\n"
    source = SOURCE.replace("import numpy as np\n", f"import numpy as np\n{patch}", 1)
    with Student(write(tmp_path, source)) as student:
        assert not any(lost(examine(EXERCISES[name], student)) for name in ("rnn_step_forward", "rnn_step_backward"))


def test_processes_left_behind_are_ended_and_mentioned(tmp_path):
    line = "import subprocess; subprocess.Popen(['sleep', '60'], env={}, start_new_session=True)"
    path = write(tmp_path, STEP + CLIP.format(line))
    results, remark = grade(path, part=1)
    assert "left" in remark and "process(es) behind; they were ended" in remark
    assert not lost([r for r in results if r.function == "rnn_step_forward"])


def test_a_signal_to_the_parent_is_survived(tmp_path):
    lines = "import os, signal\nfor s in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL): os.kill(os.getppid(), s)\n"
    results, _ = grade(write(tmp_path, lines + STEP), part=1)
    assert not lost([r for r in results if r.function == "rnn_step_forward"])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("f = __import__('mini' + 'rnn').rnn.forward", marks=pytest.mark.soak),
        "exec('from mini' + 'rnn.rnn import forward as f')",
    ],
)
def test_code_of_minirnn_is_noticed_however_it_came(tmp_path, line):
    _, remark = grade(write(tmp_path, f"{line}\nrnn_forward = f\n"), part=1)
    assert "imports minirnn, where the solution is" in remark and "minirnn's own code: rnn_forward" in remark
    _, remark = grade(write(tmp_path, f"def rnn_forward(*args):\n    {line}\n    return f(*args)\n"), part=1)
    assert "imports minirnn, where the solution is" in remark


def test_a_file_that_cannot_be_used_is_told_once(tmp_path):
    results, _ = grade(write(tmp_path, "import nothing_of_that_name\n"))
    assert sum("ModuleNotFoundError" in result.sentence for result in results) == 1


# --- a class, and a notebook --------------------------------------------------------------------------------


def test_a_class_is_graded_side_by_side(tmp_path, capsys):
    write(tmp_path, STEP, "anna.py")
    write(tmp_path, STEP.replace("@ h", "@ h * 2"), "<b>ob.py")
    write(tmp_path, "def f(:\n", "carl.py")
    files = [str(tmp_path / name) for name in ("anna.py", "<b>ob.py", "carl.py", "dora.py")]
    table, page = tmp_path / "marks.csv", tmp_path / "report.html"
    assert main(["grade", *files, "--part", "1", "--csv", str(table), "--html", str(page)]) == 2  # dora is missing
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == files
    assert [row["rnn_step_forward"] for row in rows] == ["5", "1", "0", "0"]
    assert "this is not Python" in rows[2]["remark"] and "cannot be read" in rows[3]["remark"]
    text = page.read_text()
    assert "&lt;b&gt;ob.py" in text and "<b>ob.py" not in text and text.count("not written yet") == 0
    assert "<td>2</td>" in text and "the file<small>cannot be used: the table says why" in text  # carl, dora
    assert "defines no function rnn_backward</small>" in text and "rnn_step_forward<small>" in text  # as all say it
    assert capsys.readouterr().out.count(" of  67  ") == 4
    assert main(["grade", *files, "--gradescope", "r.json"]) == 2
    assert "--gradescope is for one file" in capsys.readouterr().err
    assert main(["grade", *files, "--csv", files[0]]) == 2 and (tmp_path / "anna.py").read_text() == STEP


def test_a_function_is_checked_in_a_notebook(tmp_path, capsys):
    source = edited("rnn_backward", "dbh += da.sum(axis=1, keepdims=True)", "dbh = dbh + da")
    wrong = load(tmp_path / "cell.py", source)["rnn_backward"]
    check(wrong)
    out = capsys.readouterr().out
    assert out.startswith("rnn_backward              11 of  13\n") and "not summed over the batch" in out
    assert "dbh should be (5, 1)    and is (5, 2)" in out and "  5 |  |                  5 |    |\n" in out
    assert score(wrong) == 11 and score(model_answer.rnn_backward) == 13
    check(model_answer.lstm_forward)
    assert capsys.readouterr().out == "lstm_forward               8 of   8\n"
    with pytest.raises(ValueError, match="there is no exercise 'sigmoid'; there are rnn_step_forward"):
        check(model_answer.sigmoid)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("nbclient", "nbformat", "ipykernel")),
    reason="nbclient and ipykernel are not installed",
)
def test_it_works_in_a_kernel():
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import numpy as np\nfrom minirnn.grading import check",
        "def clip_value(grads, limit):\n    for g in grads.values():\n        np.clip(g, limit, -limit, out=g)",
        "check(clip_value)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    (output,) = notebook.cells[-1].outputs
    assert "clip_value                 0 of   2" in output.text and "the bounds change places" in output.text


def test_numbers_come_back_as_they_went(tmp_path):
    path = write(tmp_path, "def f(*args):\n    return args\n")
    values = (1, 2.5, True, None, 1e300, np.float32(2), np.arange(6).reshape(2, 3).T, {"a": [np.int8(3), (1j,)]})
    with Student(path) as student:
        got = student.f(*values)
    assert got[3] is None and isinstance(got[5], np.float32) and got[2] is np.True_
    assert (got[6] == values[6]).all() and got[7]["a"][1] == (1j,) and got[:2] == (1, 2.5) and got[4] == 1e300
