"""Grading a student's file: the solution gets everything, an empty file nothing, and accidents cost only themselves."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from minirnn.commands.cli import main
from minirnn.grading import answer as model_answer
from minirnn.grading.assignment import EXERCISES
from minirnn.grading.catalogue import MISTAKES
from minirnn.grading.diagnosis import planted
from minirnn.grading.grade import examine, grade, report
from minirnn.grading.student import Here, Student, StudentError

FOLDER = ROOT / "examples" / "assignment"
ALL = sum(sum(exercise.points.values()) for exercise in EXERCISES.values())


def write(folder, text, name="student.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def loaded(path, *names):
    """Functions of a file, in this process: most of what is graded is no matter of where it runs."""
    namespace = {"__name__": "student"}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
    return Here({name: namespace[name] for name in names})


def impatient(path, *names):
    """A student's file of which some functions have but a moment left, so that endless loops are stopped soon."""
    student = Student(path)
    student.left |= dict.fromkeys(names, 0.3)
    return student


def sentences(results):
    return {result.name: result.sentence for result in results}


def test_the_solution_gets_full_points(capsys, tmp_path):
    assert main(["grade", str(FOLDER / "solution.py"), "--gradescope", str(tmp_path / "results.json")]) == 0
    assert f"total                    {ALL} of {ALL}" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["score"] == ALL


def test_the_skeleton_gets_none_and_every_function_is_told_its_line(capsys):
    started = time.monotonic()
    assert main(["grade", str(FOLDER / "student.py")]) == 0
    assert time.monotonic() - started < 20
    out = capsys.readouterr().out
    source = (FOLDER / "student.py").read_text().splitlines()
    for name in EXERCISES:
        definition = next(i for i, line in enumerate(source) if line.startswith(f"def {name}("))
        line = next(i for i in range(definition, len(source)) if "raise NotImplementedError" in source[i]) + 1
        assert f"student.py, line {line}, {name}: not written yet" in out
    assert out.endswith(f"total                      0 of {ALL}\n")


def test_the_exercises_are_those_of_the_skeleton_and_the_solution():
    for name in ("student.py", "solution.py"):
        namespace = {}
        exec((FOLDER / name).read_text(), namespace)
        assert EXERCISES.keys() <= namespace.keys()


def test_only_one_part_is_graded(capsys):
    assert main(["grade", str(FOLDER / "student.py"), "--part", "2"]) == 0
    out = capsys.readouterr().out
    assert "lstm_backward" in out and "rnn_forward" not in out


def test_gradescope_gets_what_it_asks_for(tmp_path, capsys):
    path = write(tmp_path, "def clip_value(grads, limit):\n    pass\n")
    assert main(["grade", str(path), "--gradescope", str(tmp_path / "new" / "results.json")]) == 0
    answer = json.loads((tmp_path / "new" / "results.json").read_text())
    assert answer["score"] == 0 and len(answer["tests"]) == sum(len(e.points) for e in EXERCISES.values())
    for test in answer["tests"]:
        assert test["status"] == "failed" and test["score"] == 0 and test["output"] and test["max_score"] > 0
    clipped = next(test for test in answer["tests"] if test["name"] == "clip_value/clipped")
    assert "nothing was clipped" in clipped["output"] and "line 1" in clipped["output"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def f(:\n", "student.py, line 1: this is not Python: "),
        ("x = 1\n  y = 2\n", "student.py, line 2: this is not Python: unexpected indent"),
        ("x = '\0'\n", "this is not Python: source code string cannot contain null bytes"),
        ("import numpy\n\nnumpy.nothing\n", "student.py, line 3, while it was loaded: AttributeError: "),
        ("import nothing_of_that_name\n", "student.py, line 1, while it was loaded: ModuleNotFoundError: "),
        ("import sys\nsys.exit(0)\n", "student.py, line 2, while it was loaded: it calls sys.exit"),
        ("import os\nos._exit(3)\n", "student.py, while it was loaded: it ended its process (exit code 3)"),
        ("", "student.py defines no function rnn_step_forward"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, capsys, text, sentence):
    path = write(tmp_path, text)
    assert main(["grade", str(path), "--gradescope", str(tmp_path / "r.json")]) == 0
    assert sentence in capsys.readouterr().out
    answer = json.loads((tmp_path / "r.json").read_text())
    assert answer["score"] == 0 and sentence in answer["tests"][0]["output"]


def test_a_file_that_does_not_end_is_stopped(tmp_path):
    student = Student(write(tmp_path, "while True:\n    pass\n"))
    student.limit = 0.5
    for _ in range(2):
        with pytest.raises(
            StudentError, match=r"student\.py, while it was loaded: stopped after 0\.5 s; an endless loop"
        ):
            student.start()


def test_a_file_that_is_missing(tmp_path, capsys):
    assert main(["grade", str(tmp_path / "none.py"), "--gradescope", str(tmp_path / "r.json")]) == 2
    assert "none.py: the file cannot be read: No such file or directory" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["score"] == 0
    assert main(["grade", str(FOLDER / "student.py"), "--gradescope", str(tmp_path)]) == 2
    assert "minirnn: cannot use" in capsys.readouterr().err


GOOD_STEP = """
import numpy as np
def rnn_step_forward(params, x, h):
    h_next = np.tanh(params["Wxh"] @ x + params["Whh"] @ h + params["bh"])
    return h_next, (params, x, h, h_next)
"""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return None", "it must return the tuple (dx, dh, grads), got None"),
        ("return [1, 2, 3]", "it must return the tuple (dx, dh, grads), got a list of 3"),
        ("return 1, 2", "it must return the tuple (dx, dh, grads), got a tuple of 2"),
        ("return {1}", "it must return the tuple (dx, dh, grads), got an object of type set"),
        ("return 1, 2, 3", "grads must be a dict with the keys 'Wxh', 'Whh', 'bh', got a number"),
        ("return 1, 2, {}", "grads must be a dict with the keys 'Wxh', 'Whh', 'bh', got an empty dict"),
        (
            "return 1, 2, {'W': 1}",
            "grads must be a dict with the keys 'Wxh', 'Whh', 'bh', got a dict with the keys 'W'",
        ),
        ("return cache[1], cache[2], dict(Wxh=1, Whh=None, bh='b')", "the gradient must be an array of shape"),
        ("return cache[1].astype('f'), cache[2], cache[0]", "the gradient is float32"),
        ("return cache[1][0], cache[2], cache[0]", "the gradient must have shape (3, 2), got (2,)"),
        ("return cache[1].tolist(), cache[2], cache[0]", "the gradient must be an array of shape (3, 2), got list"),
        ("import sys; sys.exit()", "line 8, rnn_step_backward: it calls sys.exit"),
        ("import os; os._exit(1)", "it ended its process (exit code 1)"),
        ("os.kill(os.getpid(), 9)", "line 8, rnn_step_backward: NameError"),
        ("while True: pass", "line 7, rnn_step_backward: stopped after 4.3 s; an endless loop?"),
        ("input()", "line 8, rnn_step_backward: EOFError"),
        ("return rnn_step_backward(dh, cache)", "RecursionError"),
        ("return np.zeros(1 << 60)", "rnn_step_backward: "),
        ("return dh[100]", "line 8, rnn_step_backward: IndexError: index 100 is out of bounds"),
    ],
)
def test_an_accident_costs_one_function_and_is_told_in_a_sentence(tmp_path, body, sentence):
    path = write(tmp_path, f"{GOOD_STEP}\ndef rnn_step_backward(dh, cache):\n    {body}\n")
    started = time.monotonic()
    if body.startswith("return"):
        asked = contextlib.nullcontext(loaded(path, "rnn_step_backward", "rnn_step_forward"))
    else:
        asked = impatient(path, *["rnn_step_backward"] * ("stopped" in sentence))
    with asked as student:
        backward = examine(EXERCISES["rnn_step_backward"], student)
        forward = examine(EXERCISES["rnn_step_forward"], student)
    assert all(result.sentence == "" for result in forward)
    assert not all(result.sentence == "" for result in backward)
    assert any(sentence in result.sentence for result in backward), backward
    assert all(result.sentence.startswith("student.py") for result in backward if result.sentence)
    assert time.monotonic() - started < 10


def test_wrong_arguments_are_told_with_the_line(tmp_path):
    path = write(tmp_path, "def clip_norm(grads):\n    return 1\n\nclip_value = 3\n")
    found = sentences(grade(path, part=1)[0])
    assert "student.py, line 1, clip_norm: it must take 2 argument(s), it takes (grads)" in found["clip_norm/norm"]
    assert found["clip_value/clipped"] == "student.py defines no function clip_value"


def test_a_flood_of_output_is_dropped(tmp_path):
    path = write(tmp_path, f"{GOOD_STEP}\nfor _ in range(30):\n    print('x' * 100_000)\n")
    results, remark = grade(path)
    assert sentences(results)["rnn_step_forward/h"] == ""
    assert remark == "student.py printed 3 MB; all of it was dropped"


TRICKS = {
    "patches numpy": "np.allclose = np.array_equal = lambda *a, **k: True\nnp.abs = lambda x: 0 * x\nnp.savez = None",
    "patches the checker": "import minirnn.gradcheck as g\ng.check_layer = g.same = lambda *a: True",
    "forges an answer": "import os\nos.write(1, b'x' * 1000)",
    "forges the channel": "import os\nfor fd in range(3, 9):\n    try: os.write(fd, b'x')\n    except OSError: pass",
    "deletes files": "import os, shutil\nshutil.rmtree(os.path.dirname(__file__), ignore_errors=True)",
    "closes everything": "import os\nos.closerange(0, 50)",
    "ignores signals": "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)",
    "hides errors": "import sys\nsys.excepthook = None\nclass E(BaseException): pass\n",
    "leaves a thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_earns_nothing_and_json_is_left(tmp_path, trick, monkeypatch, capfd):
    folder = tmp_path / "work"
    folder.mkdir()
    path = write(
        folder, f"import numpy as np\n{TRICKS[trick]}\n\ndef rnn_step_forward(params, x, h):\n    return h, ()\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["grade", str(path), "--timeout", "10", "--gradescope", str(folder / "r.json")]) == 0
    answer = json.loads((folder / "r.json").read_text())
    pure = [test for test in answer["tests"] if test["name"] == "rnn_step_forward/pure"]
    assert answer["score"] == pure[0]["score"], capfd.readouterr().out
    assert len(answer["tests"]) == sum(len(e.points) for e in EXERCISES.values())


def test_an_interrupted_run_leaves_valid_json(tmp_path, monkeypatch):
    monkeypatch.setattr("minirnn.grading.grade.grade", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["grade", str(FOLDER / "student.py"), "--gradescope", str(tmp_path / "r.json")]) == 130
    answer = json.loads((tmp_path / "r.json").read_text())
    assert answer["score"] == 0 and answer["tests"][0]["output"] == "grading did not end"


def test_swallowed_exceptions_earn_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("minirnn.grading.grade.explanation", lambda *_: "")
    text = "\n".join(
        f"def {name}(*args):\n    try:\n        raise ValueError\n    except BaseException:\n        return args[0]\n"
        for name in EXERCISES
    )
    path = write(tmp_path, text)
    results = [r for exercise in EXERCISES.values() for r in examine(exercise, loaded(path, exercise.name))]
    assert {r.name for r in results if r.score} <= {"clip_norm/untouched", "adagrad_step/pure"}


def test_the_time_for_the_whole_file_is_limited(tmp_path):
    slow = ("rnn_forward", "sample_token")
    text = "import time\n" + "\n".join(f"def {name}(*args):\n    time.sleep(60)\n" for name in slow) + GOOD_STEP
    started = time.monotonic()
    with impatient(write(tmp_path, text), *slow) as student:
        results = [r for name in (*slow, "rnn_step_forward") for r in examine(EXERCISES[name], student)]
    assert time.monotonic() - started < 15
    for name in slow:
        assert f"{name}: stopped after 4.3 s; an endless loop?" in next(
            r.sentence for r in results if r.function == name
        )
    assert all(r.score == r.points for r in results if r.function == "rnn_step_forward")


def test_a_slow_function_takes_no_time_from_others(tmp_path):
    text = SOURCE.replace("    if temperature == 0:", "    import time\n    time.sleep(0.01)\n    if temperature == 0:")
    with impatient(write(tmp_path, text), "sample_token") as student:
        results = [
            r for name in ("clip_norm", "sample_token", "rnn_forward") for r in examine(EXERCISES[name], student)
        ]
    assert {r.function for r in results if r.sentence} == {"sample_token"}


def test_names_with_blanks_backslashes_and_accents(tmp_path):
    path = write(tmp_path, GOOD_STEP, "C:\\Übung 1 (neu).py")
    assert sentences(grade(path)[0])["rnn_step_forward/h"] == ""


def test_files_beside_it_can_be_imported(tmp_path):
    write(tmp_path, GOOD_STEP, "helper.py")
    results, _ = grade(write(tmp_path, "from helper import rnn_step_forward\n"))
    assert sentences(results)["rnn_step_forward/h"] == ""


def test_a_traceback_comes_only_on_request(tmp_path, capsys):
    path = write(tmp_path, "def clip_value(grads, limit):\n    return 1 / 0\n")
    assert main(["grade", str(path), "--traceback", "--part", "1"]) == 0
    assert "Traceback (most recent call last)" in (out := capsys.readouterr().out) and "return 1 / 0" in out
    results = examine(EXERCISES["clip_value"], loaded(path, "clip_value"))
    assert "Traceback" not in report(results) and "Traceback" in report(results, traceback=True)


def test_who_imports_the_solution_is_pointed_out(tmp_path):
    _, remark = grade(write(tmp_path, "from minirnn.rnn import forward as rnn_forward\n"), part=1)
    assert "imports minirnn, where the solution is" in remark and "minirnn's own code: rnn_forward" in remark


@pytest.mark.parametrize("step", [150, pytest.param(1, marks=pytest.mark.soak)])
def test_each_exercise_notices_the_mistakes_of_its_catalogue(step):
    for exercise in EXERCISES.values():
        for mistake in MISTAKES[::step]:
            if mistake.function == exercise.name and "padded" not in mistake.sentence:
                results = examine(exercise, Here({exercise.name: planted(mistake)}))
                whole = sum(r.points for r in results)
                told = any(mistake.sentence in r.diagnosis or "matmul" in r.sentence for r in results)
                assert sum(r.score for r in results) < whole and told, mistake


def test_arrays_changed_over_there_are_changed_here(tmp_path):
    path = write(tmp_path, "def f(a, b):\n    a[0] = 7\n    b['x'] *= 2\n    return {'k': (1, None, [2.5])}\n")
    with Student(path) as student:
        a, b = np.zeros(2), {"x": np.ones(3)}
        assert student.f(a, b) == {"k": (1, None, [2.5])}
        assert a.tolist() == [7, 0] and b["x"].tolist() == [2, 2, 2]
        with pytest.raises(StudentError, match="defines no function g"):
            student.g()


def test_the_report_says_a_sentence_once(tmp_path):
    results, remark = grade(write(tmp_path, ""), part=1)
    text = report(results, remark)
    assert text.count("defines no function rnn_forward") == 1


def test_the_teachers_table_has_the_points():
    page = (FOLDER / "TEACHER.md").read_text()
    for exercise in EXERCISES.values():
        row = f"| `{exercise.name}` | {sum(exercise.points.values())} | "
        assert row in page
        properties = page.split(row)[1].split(" |")[0].split(", ")
        assert sorted(properties) == sorted(exercise.points)
    for part, points in ((1, 67), (2, 46)):
        assert sum(sum(e.points.values()) for e in EXERCISES.values() if e.part == part) == points
    assert "**67**" in page and "**46**" in page


@pytest.mark.parametrize(
    ("body", "earned"),
    [
        ("for k in list(p): p[k] = p[k] - l * g[k]", 0),
        ("m['t'] = np.zeros(1)", 0),
        ("p.clear()", 0),
        ("p['Wxy'] = 0.0", 0),
        ("for k in list(p): p[k] = p.pop(k)", 1),  # the same arrays in another order: only the numbers are wrong
    ],
)
def test_other_arrays_in_a_dict_are_not_in_place(tmp_path, body, earned):
    path = write(tmp_path, f"import numpy as np\ndef adagrad_step(p, g, m, l):\n    {body}\n")
    results = examine(EXERCISES["adagrad_step"], loaded(path, "adagrad_step"))
    assert sum(result.score for result in results) == earned
    assert earned or "it puts other arrays or keys into a dict it was given" in results[0].sentence


def test_a_process_left_behind_holds_nobody_up(tmp_path):
    left = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(30)\n    os._exit(0)\n"
    path = write(tmp_path, left + GOOD_STEP)
    started = time.monotonic()
    assert sentences(grade(path, part=1)[0])["rnn_step_forward/h"] == ""
    assert time.monotonic() - started < 15


def test_a_file_that_forks_at_the_top_costs_no_traceback(tmp_path):
    results, _ = grade(write(tmp_path, "import os\nos.fork()\n" + GOOD_STEP), timeout=10)
    assert all(result.sentence.startswith("student.py") for result in results if result.sentence)


def test_what_the_file_starts_does_not_read_the_requests(tmp_path):
    path = write(tmp_path, "import subprocess\nsubprocess.Popen(['cat'])\nimport os\nos.system('cat')\n" + GOOD_STEP)
    assert sentences(grade(path, part=1)[0])["rnn_step_forward/h"] == ""


def test_the_students_file_is_not_overwritten(tmp_path, capsys):
    path = write(tmp_path, GOOD_STEP)
    assert main(["grade", str(path), "--gradescope", str(path)]) == 2
    assert "would be overwritten with JSON" in capsys.readouterr().err and path.read_text() == GOOD_STEP


def test_only_time_spent_waiting_counts(tmp_path):
    with impatient(write(tmp_path, GOOD_STEP), "rnn_step_forward") as student:
        time.sleep(0.4)
        student.rnn_step_forward(
            {"Wxh": np.ones((2, 2)), "Whh": np.ones((2, 2)), "bh": 0}, np.ones((2, 1)), np.ones((2, 1))
        )


def test_the_handouts_example_runs(tmp_path):
    code = (FOLDER / "HANDOUT.md").read_text().split("```py\n")[2].split("```")[0]
    run = subprocess.run([sys.executable, "-c", code.replace("from student", "from solution")], cwd=FOLDER,
                         capture_output=True, text=True)  # fmt: skip
    assert "10 of 10 pass, by the complex step" in run.stdout, run.stderr


# --- other students' mistakes -------------------------------------------------------------------------
# An edit of the model answer: the function, what stands there, what is written instead, the properties that
# lose their points, and words of the diagnosis (None: it is unknown, or there is nothing to diagnose).

EDITS = [
    ("rnn_step_forward", "(params, x, h, h_next)", "(params, x, h, h)", "cache", None),
    ("rnn_step_forward", "(params, x, h, h_next)", "[params, x, h, h_next]", "cache", None),
    ("rnn_step_forward", "    return h_next", "    x *= 2\n    return h_next", "pure cache", None),
    ("rnn_step_backward", "dh_before = Whh.T @ da", "dh_before = Whh @ da", "dh", "Whh is not transposed"),
    ("rnn_step_backward", "dh * (1 - h_next**2)", "np.clip(dh, -0.1, 0.1)", "dWxh dWhh dbh dx dh linear", None),
    ("rnn_forward", "(h,), (params", "(hs[0],), (params", "state", "final state is the initial one"),
    ("rnn_forward", "np.stack(hs))", "np.stack(hs) + 1e-4)", "cache", None),
    ("rnn_forward", "Whh @ h + bh", "Whh @ hs[t - 1] + bh", "h state cache", None),
    ("rnn_forward", "hs = [h]", "h = h.astype('f')\n    hs = [h]", "h state cache", None),
    ("rnn_forward", "hs = [h]", "hs = [h]\n    x += 1", "h state cache pure", None),
    ("rnn_backward", "dhnext = Whh.T @ da", "dhnext = Whh @ da", "dWxh dWhh dbh dx dh0", "Whh is not transposed"),
    ("rnn_backward", "dWhh += da @ hs[t].T", "dWhh += da @ hs[t + 1].T", "dWhh", "takes h[t], the state after"),
    ("rnn_backward", "dWhh += da @ hs[t].T", "dWhh = da @ hs[t].T", "dWhh", "only the step t = 0 is left"),
    ("rnn_backward", "dbh += da.sum(axis=1, keepdims=True)", "dbh = dbh + da", "dbh", "not summed over the batch"),
    ("rnn_backward", "dx[t] = Wxh.T @ da", "dx[t] = Wxh.T @ dh_t", "dx", "dx leaves out the slope"),
    ("rnn_backward", "dh_t = dh[t] + dhnext", "dh[t] += dhnext\n        dh_t = dh[t]", "pure", "changed in place"),
    ("rnn_backward", "return dx, (dhnext,)", "cache[2][0] = 0\n    return dx, (dhnext,)", "pure", None),
    ("softmax_cross_entropy", "logits.max(axis=0)", "logits.max()", "stable", None),
    ("softmax_cross_entropy", "logits - logits.max(axis=0)", "logits", "stable", None),
    ("softmax_cross_entropy", "- logits.max(axis=0)", "+ float(10 ** int(abs(logits).max() / 30))", "stable", None),
    ("softmax_cross_entropy", "return loss, dlogits", "return loss, dlogits * N", "dlogits", "1/N is missing"),
    ("softmax_cross_entropy", "return loss, dlogits", "return loss * N, dlogits", "loss", "a sum over tokens"),
    ("softmax_cross_entropy", "N = len(targets)", "N = len(targets)\n    logits += 1", "pure", None),
    ("clip_value", "-limit, limit, out", "-5, 5, out", "clipped", None),
    ("clip_norm", "limit / norm", "6.5 / norm", "scaled", None),
    ("clip_norm", "if norm > limit:", "if True:", "untouched", "scaled up"),
    ("clip_norm", "return norm", "return min(norm, limit)", "norm", "after clipping is returned"),
    ("adagrad_step", "learning_rate * g", "0.1 * g", "params", "the learning rate is 0.1"),
    ("adagrad_step", "memory[name] +=", "memory[name][...] =", "memory params", "assigned instead"),
    ("adagrad_step", "for name, g in grads.items():", "for name, g in grads.items():\n        g *= 2", "ALL", None),
    ("sample_token", ") / temperature", ") * temperature", "temperature", None),
    ("sample_token", "if temperature == 0:", "if temperature < 1:", "temperature", None),
    ("sample_token", "- logits.max()", "", "stable", None),
    ("sample_token", "rng.choice", "np.random.choice", "seeded", None),
    ("sample_token", "rng.choice", "__import__('copy').deepcopy(rng).choice", "seeded", None),
    ("sample_token", "return int(logits.argmax())", "temperature = 1", "argmax", None),
    ("sample_token", "p = np.exp(", "logits /= temperature; p = np.exp(", "ALL", None),
    ("gru_backward", "(hs[t] - n)", "(n - hs[t])", "dWxh dWhh dbh dbhn dx dh0", "update gate's gradient has the"),
    ("gru_backward", "dbhn += du.sum", "dbhn += da_n.sum", "dbhn", "dbhn takes da_n"),
    ("gru_forward", "(1 - z) * n + z * h", "z * n + (1 - z) * h", "h state cache", "polarity of z"),
    ("lstm_backward", "dc = dcnext + dh_t", "dc = dh_t", "dWxh dWhh dbh dx dh0 dc0", "path of the cell state is"),
    ("lstm_backward", "da_f = dc * cs[t] * f * (1 - f)", "da_f = dc * cs[t]", "dWxh dWhh dbh dx dh0 dc0", "gate f"),
    ("lstm_forward", "(h, c), (params", "(c, h), (params", "state", "change places"),
]  # fmt: skip


SOURCE = Path(model_answer.__file__).read_text()
THROUGH_A_PROCESS = EDITS[3::20]


def edited(function, right, wrong):
    """The source of the model answer with an edit in one function."""
    before, start, rest = SOURCE.partition(f"def {function}(")
    body, end, after = rest.partition("\n\n\n")
    assert right in body
    return before + start + body.replace(right, wrong, 1) + end + after


@pytest.mark.parametrize(("function", "right", "wrong", "lost", "words"), EDITS)
def test_a_mistake_costs_what_it_should_and_is_named_right_or_not_at_all(tmp_path, function, right, wrong, lost, words):
    path = write(tmp_path, edited(function, right, wrong))
    exercise = EXERCISES[function]
    results = examine(exercise, loaded(path, function))
    found = {result.aspect for result in results if result.sentence}
    assert all(result.sentence.startswith("student.py, line ") for result in results if result.sentence)
    if lost == "ALL":
        assert "pure" in found or found == set(exercise.points), found
    else:
        assert found == set(lost.split()), [result.sentence for result in results]
    diagnosis = "".join({result.diagnosis for result in results})
    assert words in diagnosis if words else "looks like" not in diagnosis


@pytest.mark.parametrize(("times", "accused"), [(1, False), (2, False), (8, True)])
def test_a_rare_class_may_come_by_chance(tmp_path, times, accused):
    """At temperature 0.2 class 0 has a probability of 1 in 24,000; one in thirty graders draws it once in 800."""
    source = edited("sample_token", "p = np.exp(", "if stray(temperature): return 0\n    p = np.exp(")
    source += f"\n\n\nleft = [{times}]\n\n\ndef stray(temperature):\n    left[0] -= temperature == 0.2\n    return "
    source += "temperature == 0.2 and left[0] >= 0\n"
    results = examine(EXERCISES["sample_token"], loaded(write(tmp_path, source), "sample_token"))
    assert {result.aspect for result in results if result.sentence} == ({"temperature"} if accused else set())


def test_a_notebook_is_told_the_same_as_a_file(tmp_path):
    for function, right, wrong, _, _ in THROUGH_A_PROCESS:
        path = write(tmp_path, edited(function, right, wrong))
        with Student(path) as student:
            there = examine(EXERCISES[function], student)
        here = examine(EXERCISES[function], loaded(path, function))
        assert [(r.name, r.sentence, r.diagnosis) for r in there] == [(r.name, r.sentence, r.diagnosis) for r in here]


def test_what_no_sentence_explains_is_looked_into_only_where_numbers_are_wrong(tmp_path):
    path = write(tmp_path, GOOD_STEP.replace("(params, x, h, h_next)", "None"))
    with Student(path) as student:
        results = examine(EXERCISES["rnn_step_forward"], student)
    assert not any(result.diagnosis for result in results)
    path = write(tmp_path, GOOD_STEP.replace("np.tanh", "np.sin"))
    with Student(path) as student:
        results = examine(EXERCISES["rnn_step_forward"], student)
    assert results[0].diagnosis.startswith("h is wrong from the first step on, even where all but Wxh and x is zero")


def test_results_that_cannot_be_written_leave_the_old_ones(tmp_path, monkeypatch):
    (tmp_path / "r.json").write_text("old")
    monkeypatch.setattr("json.dumps", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left", "r.json")))
    assert main(["grade", str(FOLDER / "student.py"), "--gradescope", str(tmp_path / "r.json")]) == 2
    assert (tmp_path / "r.json").read_text() == "old"


def test_an_answer_that_claims_to_be_enormous_is_not_read(tmp_path):
    forged = (
        "import os, struct\ndef f():\n    for fd in range(3, 9):\n        try: os.write(fd, struct.pack('>Q', 2**40))\n"
    )
    path = write(tmp_path, forged + "        except OSError: pass\n")
    with Student(path, timeout=30) as student, pytest.raises(StudentError, match="an answer that cannot be read"):
        student.f()


def test_what_was_stopped_once_is_not_waited_for_again(tmp_path):
    with impatient(write(tmp_path, "def f():\n    while True: pass\n"), "f") as student:
        for limit in (10, 0.1):
            started = time.monotonic()
            with pytest.raises(StudentError, match="an endless loop"):
                student.f()
            assert time.monotonic() - started < limit


def test_an_argument_that_is_reshaped(tmp_path):
    path = write(tmp_path, "def f(x):\n    x.shape = (-1,)\n")
    with Student(path) as student, pytest.raises(StudentError, match=r"it reshapes an argument to \(4,\)"):
        student.f(np.ones((2, 2)))


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_time_limits_that_are_none(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["grade", "student.py", "--timeout", seconds])
    assert ended.value.code == 2 and "--timeout" in capsys.readouterr().err
