"""Runs on the disk: those of former releases, damaged ones, and folders that others use or have left half done."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT

import minirnn
from minirnn.commands.cli import main, threads_of
from minirnn.commands.folder import Lock
from minirnn.files import checkpoint
from minirnn.files.checkpoint import check_format, digests, load_checkpoint

DATA = Path(__file__).parent / "data"
RUNS = sorted(path.name for path in DATA.iterdir() if path.name.startswith("format-2"))  # without digests
ALL_RUNS = [*RUNS, "format-3"]
SMALL = ["--hidden", "6", "--batch-size", "4", "--seq-length", "10", "--report-every", "10", "--sample-every", "0"]
pytestmark = pytest.mark.usefixtures("without_pictures", "short_samples")


def train(folder, *arguments):
    return main(["train", "--out", str(folder), *map(str, arguments)])


# --- former releases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_RUNS)
def test_a_run_of_a_former_release_goes_on_as_it_would_have_then(tmp_path, name, capsys):
    shutil.copytree(DATA / name, tmp_path / "run")
    assert train(tmp_path / "run", "--resume") == 0
    assert "resumed at step 36 of 60" in capsys.readouterr().out
    with (DATA / name / "expected.csv").open() as file:
        expected = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    rows = [row for row in load_checkpoint(tmp_path / "run" / "last.npz").history if "valid" in row]
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == [10, 20, 30, 40, 50, 60]
    for row, then in zip(rows, expected, strict=True):  # another processor may round differently
        assert row["loss"] == pytest.approx(then["loss"], rel=1e-5)
        assert row["valid"] == pytest.approx(then["valid"], rel=1e-5)
    assert load_checkpoint(tmp_path / "run" / "last.npz").settings["hidden_size"] == 5
    assert train(tmp_path / "run", "--resume", "--steps", 61) == 0  # which is now a run of this release


def test_there_is_a_run_of_each_former_format():
    assert len(RUNS) == 3
    versions = set()
    for path in DATA.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            versions.add(json.loads(str(file["about"]))["version"])
    assert versions == {1, 2, 3}


def test_a_model_of_the_first_format_is_read():
    model, vocab = minirnn.load_model(DATA / "format-1" / "model.npz")
    assert minirnn.evaluate(model, vocab.encode(TEXT)) == pytest.approx(
        (2.539156516886646, 0.25643300798580304), rel=1e-5
    )


# --- damage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of this release, of words, with every kind of array."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "text.txt").write_text(TEXT)
    options = [
        *SMALL,
        "--kind",
        "words",
        "--embedding",
        "5",
        "--cell",
        "lstm",
        "--batch-size",
        "2",
        "--seq-length",
        "5",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minirnn.commands.run.plot_losses", lambda *_: None)
        assert main(["train", str(folder / "text.txt"), "--out", str(folder / "run"), *options, "--steps", "20"]) == 0
    return folder / "run"


def parts_of(path):
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("about"))), arrays


def write(path, about, arrays):
    np.savez(path, about=np.array(json.dumps(about)), **arrays)


def pretend(path, about, arrays):
    """Let the next look into any file find this there, as :func:`write` would; no file is made."""

    def read(*_):
        check_format(about)
        return about, {name: a.copy() for name, a in arrays.items()}

    checkpoint.read = read


@pytest.fixture
def damage(request, monkeypatch):
    """How a file is damaged, and which of some values are tried in a field: of every kind of file and all of them in
    the soak, else in memory, and of the values the first and two others, in turn."""
    monkeypatch.setattr(checkpoint, "read", checkpoint.read)  # to be undone
    turn = itertools.count()

    def some(values):
        first, *rest = values
        i = 2 * next(turn)
        return first, rest[i % len(rest)], rest[(i + 1) % len(rest)]

    return (write, iter) if request.param == "files" else (pretend, some)


DAMAGE = ["memory", pytest.param("files", marks=pytest.mark.soak)]


def fields(part, path=()):
    """The paths to every value of a JSON text; of a list only to its first and last."""
    if path:
        yield path
    if isinstance(part, dict):
        for key, value in part.items():
            yield from fields(value, (*path, key))
    elif isinstance(part, list) and part:
        for index in (0, len(part) - 1):
            yield from fields(part[index], (*path, index))


MISSING = object()
VALUES = (MISSING, None, "x", -1, 1.5, float("nan"), True, [], {}, "", 10**30)


def changed(about, path, value):
    about = json.loads(json.dumps(about))
    *way, last = path
    part = about
    for key in way:
        part = part[key]
    if value is MISSING:
        del part[last]
    elif json.dumps(part[last]) == json.dumps(value):
        return None
    else:
        part[last] = value
    return about


def other_arrays(arrays):
    """Each array missing, of another kind, of another shape, with NaN, with one other number; and one too many."""
    for name, a in arrays.items():
        yield name, {other: array for other, array in arrays.items() if other != name}
        spoilt, other = a.astype(np.float64), a.copy()
        spoilt.reshape(-1)[0] = np.nan
        other.reshape(-1)[-1] += 1
        for new in (a.astype("U8"), a.astype(np.int16), a.astype(np.float64), a[None], spoilt, other):
            if new.dtype != a.dtype or new.shape != a.shape or (new != a).any():
                yield name, arrays | {name: new}
    yield "state/7/0", arrays | {"state/7/0": np.zeros((2, 2), np.float32)}


@pytest.mark.parametrize("damage", DAMAGE, indirect=True)
def test_whatever_is_changed_in_a_file_is_refused_and_named(tmp_path, run_folder, damage):
    about, arrays = parts_of(run_folder / "last.npz")
    (write, some), path, damaged = damage, tmp_path / "last.npz", 0
    shutil.copy(run_folder / "last.npz", path)
    for field in fields(about):
        for value in some(VALUES):
            if (new := changed(about, field, value)) is None:
                continue
            write(path, new, arrays)
            with pytest.raises(ValueError, match=r"last\.npz is not a model that minirnn can load: ") as caught:
                load_checkpoint(path)
            sentence = str(caught.value).split("can load: ")[1]
            whole = about
            for key in field:
                whole = whole[key]
            names = {str(key) for key in field} | {"format", "hidden_size", *(whole if isinstance(whole, dict) else ())}
            assert any(name in sentence for name in names) and "\n" not in sentence, (field, value, sentence)
            damaged += 1
    for name, new in other_arrays(arrays):
        write(path, about, new)
        with pytest.raises(ValueError, match=r"last\.npz is not a model that minirnn can load: ") as caught:
            load_checkpoint(path)
        assert name.split("/", 1)[1] in str(caught.value) or "parameters" in str(caught.value), (name, caught.value)
        damaged += 1
    assert damaged >= 400


@pytest.mark.parametrize(
    ("name", "damage"),
    [(None, "memory"), *(pytest.param(name, "files", marks=pytest.mark.soak) for name in (None, *RUNS))],
    indirect=["damage"],
)
def test_what_makes_no_sense_is_refused_also_where_no_digest_tells(tmp_path, run_folder, name, damage, capsys):
    """In a file of format 2, or one whose digests fit: no traceback, and what is not refused changes no number."""
    source, folder = DATA / name if name else run_folder, tmp_path / "run"
    shutil.copytree(source, folder)
    about, arrays = parts_of(folder / "last.npz")
    expected = load_checkpoint(folder / "last.npz")
    (write, some), refused, accepted = damage, 0, 0
    for field in fields(about):
        if field[0] == "digests":
            continue
        for value in some((MISSING, None, "x", [], float("nan"), -1)):
            if (new := changed(about, field, value)) is None:
                continue
            if "digests" in new:
                new["digests"] = digests(new, arrays)
            write(folder / "last.npz", new, arrays)
            capsys.readouterr()
            code = train(folder, "--resume", "--time-limit", 1e-9)
            err = capsys.readouterr().err
            if code == 2:
                refused += 1
                assert str(folder) in err and err.count("\n") == 1 and "Traceback" not in err, (field, value, err)
            else:
                assert code == 0, (field, value, err)
                accepted += 1
                assert may_be(field, value) or (name and field[-1] == "sha256"), (field, value)  # the first kept none
                shutil.rmtree(folder)
                shutil.copytree(source, folder)
    assert refused > 100 and accepted < 0.25 * refused
    assert expected.training["step"] >= 20


def test_an_optimizer_that_counts_other_steps_is_refused(tmp_path, run_folder, capsys):
    shutil.copytree(run_folder, tmp_path / "run")
    path = tmp_path / "run" / "last.npz"
    about, arrays = parts_of(path)
    for t in (19, -80):
        arrays["optimizer/t"][...] = t
        about["digests"] = digests(about, arrays)
        write(path, about, arrays)
        if t < 0:
            with pytest.raises(ValueError, match="optimizer/t must be at least 0, got -80"):
                load_checkpoint(path)
        else:
            assert train(tmp_path / "run", "--resume") == 2
            assert "optimizer/t must be the step, 20, got 19" in capsys.readouterr().err
            load_checkpoint(path)  # a program of one's own may use an optimizer twice


CONTRADICTIONS = [
    (("settings", "hidden_size"), 7, "hidden_size is 7 in the settings, but 6 in what was trained"),
    (("settings", "optimizer"), "sgd", "optimizer is sgd in the settings, but adam in what was trained"),
    (("settings", "tie_weights"), True, "tie_weights is True in the settings, but False"),
    (("settings", "batch_size"), 3, "state/0/0 must have shape (6, 3)"),
    (("settings", "seq_length"), 10**6, "too few"),
    (("settings", "steps"), 19, "its step is 20, of 19"),
    (("settings", "sha256"), None, "is not the text this run began with"),
    (("history",), [], "its history must begin at step 0"),
    (("history", 1, "step"), 0, "the steps of the history must be whole numbers that rise, got 0"),
    (("history", -1, "loss"), 1.5, "the loss at the end of the history is not smooth_loss"),
    (("training", "rng", "has_uint32"), True, "rng is no state of a random generator"),
    (("training", "rng", "state", "inc"), 10**30, "rng is no state of a random generator"),
]


@pytest.mark.parametrize(("field", "value", "said"), CONTRADICTIONS, ids=lambda part: str(part)[:30])
def test_what_contradicts_itself_is_refused_with_the_name_of_the_file(tmp_path, run_folder, field, value, said, capsys):
    shutil.copytree(run_folder, tmp_path / "run")
    about, arrays = parts_of(tmp_path / "run" / "last.npz")
    about = changed(about, field, value)
    about["digests"] = digests(about, arrays)
    write(tmp_path / "run" / "last.npz", about, arrays)
    assert train(tmp_path / "run", "--resume") == 2
    err = capsys.readouterr().err
    assert said in err and str(tmp_path / "run") in err and err.count("\n") == 1


def may_be(field, value):
    """What may be so changed without a word: numbers that could be right, what people read, what need not be there."""
    free = {"history", "texts", "encoding"}
    limits = {"max_vocab", "patience", "sample_every", "report_every", "max_epochs", "embedding", "init_normal"}
    limits |= {
        "init_uniform",
        "decay",
        "beta1",
        "beta2",
        "clip_norm",
        "clip_value",
        "embedding_size",
        "epochs",
        "steps",
    }
    if value is MISSING and field[0] == "config":  # the default
        return True
    other_word = field[:2] == ("vocabulary", "tokens") and value == "x"
    return other_word or bool(free & set(field)) or (value in (None, MISSING) and field[-1] in limits)


# --- folders ------------------------------------------------------------------------------------------


@pytest.fixture
def busy(tmp_path, text_file):
    """A folder in which another process trains."""
    command = [sys.executable, "-m", "minirnn", "train", text_file, "--out", tmp_path / "run", *SMALL]
    with subprocess.Popen([*command, "--steps", "100000000"], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("step"):
                break
        yield process
        process.kill()


def test_what_a_killed_run_was_writing_is_set_aside_too(tmp_path, text_file):
    options = [*SMALL, "--steps", 2]
    assert train(tmp_path / "run", text_file, *options) == 0
    (tmp_path / "run" / "best.npz.partial").write_bytes(b"half")
    assert train(tmp_path / "run", text_file, "--restart", *options) == 0
    assert (tmp_path / "run.previous" / "best.npz.partial").exists()


def test_one_process_at_a_time(tmp_path, text_file, busy, capsys):
    for arguments in (["--resume"], [text_file, "--restart"]):
        assert train(tmp_path / "run", *arguments) == 2
        assert f"{tmp_path / 'run'} is in use: another process trains there" in capsys.readouterr().err
    assert not (tmp_path / "run.previous").exists()
    busy.kill()
    busy.wait()
    assert train(tmp_path / "run", "--resume", "--time-limit", 1e-9) == 0  # the system let go


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_every_signal_saves_and_draws(tmp_path, busy, number):
    before = load_checkpoint(tmp_path / "run" / "last.npz").training["step"]
    busy.send_signal(number)
    rest = busy.stdout.read()
    assert busy.wait() == 130 and "interrupted after step" in rest
    assert load_checkpoint(tmp_path / "run" / "last.npz").training["step"] > before
    assert (tmp_path / "run" / "loss.png").exists()


def test_nohup_is_respected(tmp_path, text_file):
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from minirnn import catch_interrupt\n"
    code += "with catch_interrupt() as asked: signal.raise_signal(signal.SIGHUP); print(asked.is_set())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_a_second_process_leaves_alone_what_the_first_is_encoding(tmp_path, text_file, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "text.npy").write_bytes(b"half of it so far")
    lock = Lock(tmp_path / "run")
    for arguments in ([], ["--restart"]):
        assert train(tmp_path / "run", text_file, *SMALL, *arguments) == 2
        assert "is in use: another process trains there" in capsys.readouterr().err
        assert (tmp_path / "run" / "text.npy").read_bytes() == b"half of it so far"
    del lock


def test_a_lock_ends_with_its_owner(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(ValueError, match="is in use"):
        Lock(tmp_path)
    del lock
    Lock(tmp_path)


def test_a_folder_that_was_left_while_encoding_is_taken_over(tmp_path, text_file):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "text.npy").write_bytes(b"half of")
    (tmp_path / "run" / "last.npz.partial").write_bytes(b"a run")
    (tmp_path / "run" / "config.json").write_text("{}")
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 5) == 0
    assert "last.npz.partial" not in {path.name for path in (tmp_path / "run").iterdir()}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "text.npy").write_bytes(b"half of")
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    assert train(tmp_path / "other", text_file, *SMALL) == 2
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "config.json").write_text("another program's")
    assert train(tmp_path / "third", text_file, *SMALL) == 2
    assert (tmp_path / "third" / "config.json").read_text() == "another program's"


def test_restart_begins_anew_and_keeps_the_old_run(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 10) == 0
    old = (tmp_path / "run" / "last.npz").read_bytes()
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 5) == 2
    assert "--restart" in capsys.readouterr().err
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 5, "--restart") == 0
    assert (tmp_path / "run.previous" / "last.npz").read_bytes() == old
    assert load_checkpoint(tmp_path / "run" / "last.npz").training["step"] == 5


def test_stopped_as_soon_as_it_has_begun_anew_both_runs_are_whole(tmp_path, text_file, monkeypatch):
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 10) == 0
    monkeypatch.setattr("minirnn.commands.run.Run.introduce", lambda run: signal.raise_signal(signal.SIGINT))
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 5, "--restart") == 130
    steps = [load_checkpoint(tmp_path / name / "last.npz").training["step"] for name in ("run.previous", "run")]
    assert steps == [10, 0]


def test_the_number_of_threads_is_kept_before_there_is_anything_to_resume(tmp_path, text_file, monkeypatch):
    def killed(*_):
        raise BrokenPipeError

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.setattr("minirnn.commands.run.Run.introduce", killed)
    train(tmp_path / "run", text_file, *SMALL, "--steps", 5)
    assert (tmp_path / "run" / "last.npz").exists() and threads_of(tmp_path / "run") == 3


def test_a_run_that_diverged_at_once_says_how_to_go_on_and_does(tmp_path, text_file, capsys):
    wild = ["--optimizer", "sgd", "--learning-rate", "1e30", "--clip-norm", "0", "--cell", "rnn", "--steps", "20"]
    assert train(tmp_path / "run", text_file, *SMALL, *wild) == 2
    err = capsys.readouterr().err
    assert "diverged at step" in err and "last.npz is of step 0: --resume --learning-rate X goes on" in err
    assert train(tmp_path / "run", "--resume", "--learning-rate", 0.1) == 0
    last = load_checkpoint(tmp_path / "run" / "last.npz")
    assert last.training["step"] == 20 and last.settings["learning_rate"] == 0.1


# --- beginning with another model ---------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--embedding", "5"], [], ["--tie-weights"]])
def test_a_run_can_begin_with_the_model_of_another(tmp_path, text_file, options, trainers, capsys):
    assert train(tmp_path / "a", text_file, *SMALL, *options, "--steps", 30, "--cell", "lstm") == 0
    other = tmp_path / "other.txt"
    other.write_text(TEXT.upper())  # letters that the model never saw, and some that it did
    arguments = [other, "--init-from", tmp_path / "a", "--batch-size", 4, "--seq-length", 10, "--steps", 5]
    assert train(tmp_path / "b", *arguments, "--optimizer", "adagrad") == 0
    first, trainer = load_checkpoint(tmp_path / "a" / "best.npz"), trainers[-1]
    second = load_checkpoint(tmp_path / "b" / "last.npz")
    assert set(second.vocab.tokens) == set(TEXT) | set(TEXT.upper())
    assert second.model.config.cell == "lstm" and second.settings["optimizer"] == "adagrad"
    assert second.model.config.embedding_size == first.model.config.embedding_size
    # The first loss is what the model of the other run makes of the text, as far as it knows it.
    ids = [second.vocab.ids[token] for token in first.vocab.tokens]
    begun = minirnn.LanguageModel(second.model.config, trainer.model.params)
    assert train(tmp_path / "c", other, "--init-from", tmp_path / "a" / "best.npz", *arguments[3:-2], "--steps", 1,
                 "--learning-rate", 1e-30) == 0  # fmt: skip
    begun = load_checkpoint(tmp_path / "c" / "last.npz").model
    x = first.vocab.encode(TEXT[:60])[:, None]
    expected, _ = first.model.logits(x, first.model.zero_state(1))
    found, _ = begun.logits(np.array(ids)[x], begun.zero_state(1))
    np.testing.assert_allclose(found[:, ids], expected, rtol=1e-4, atol=1e-5)
    assert train(tmp_path / "d", other, "--init-from", tmp_path / "a", "--hidden-size", 9) == 2
    assert "--hidden-size is the model's own with --init-from" in capsys.readouterr().err


def test_words_that_a_model_with_unk_does_not_know_are_unk(tmp_path, text_file):
    words = ["--kind", "words", "--max-vocab", "8", "--batch-size", 2, "--seq-length", 5, "--steps", 5, "--hidden", 6]
    assert train(tmp_path / "a", text_file, *words) == 0
    (tmp_path / "other.txt").write_text("the moon and the stars\n" * 40)
    assert train(tmp_path / "b", tmp_path / "other.txt", "--init-from", tmp_path / "a", *words[4:-2]) == 0
    a, b = (load_checkpoint(tmp_path / name / "last.npz").vocab for name in "ab")
    assert a.tokens == b.tokens and len(a) == 8


# --- minirnn info -------------------------------------------------------------------------------------


def test_info_says_what_a_run_is(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 30) == 0
    best = min((row for row in load_checkpoint(tmp_path / "run" / "last.npz").history if "valid" in row),
               key=lambda row: row["valid"])  # fmt: skip
    capsys.readouterr()
    for named in ("run", "run/last.npz", "run/best.npz"):
        assert main(["info", str(tmp_path / named)]) == 0
        out = capsys.readouterr().out
        assert "1 x 6 gru, " in out and "24 characters" in out and str(text_file) in out
        assert "--hidden-size 6" in out and "step 30 of 30" in out
        assert (
            f"validation {best['valid']:.4f} nats" in out and f"minirnn train --resume --out {tmp_path / 'run'}" in out
        )
    minirnn.save_model(tmp_path / "model.npz", *minirnn.load_model(tmp_path / "run" / "best.npz"))
    assert main(["info", str(tmp_path / "model.npz")]) == 0
    assert "a model without a training run" in capsys.readouterr().out
    assert main(["info", str(tmp_path)]) == 0  # an example of a former release
    assert main(["info", str(DATA / RUNS[0])]) == 0
    assert "step 36 of 60" in capsys.readouterr().out


def test_info_counts_the_steps_that_the_run_will_take_and_writes_settings_as_they_are_typed(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT * 2)
    (tmp_path / "valid.txt").write_text(TEXT)
    sizes = ["--hidden", 4, "--batch-size", 4, "--seq-length", 10]
    for options, epoch in ((["--valid", 0.5], len(TEXT)), (["--epochs", 20, "--valid", 0], 2 * len(TEXT))):
        folder = tmp_path / str(epoch)
        assert train(folder, tmp_path / "text.txt", *sizes, *options, "--tie-weights", "--time-limit", 1e-9) == 0
        out, steps = capsys.readouterr().out, (epoch - 1) // 40
        assert f"step 1/{20 * steps:,}" in out  # of 4,000, but no more than 20 passes through the text; or 20 epochs
        assert main(["info", str(folder)]) == 0
        out = capsys.readouterr().out
        assert f"how far: step 1 of {20 * steps:,}, an epoch is {steps:,}" in out
        given = out.split("settings: ")[1].split("\n")[0].split()
        assert train(tmp_path / f"{epoch} again", tmp_path / "text.txt", *given, "--time-limit", 1e-9) == 0
        one, other = (load_checkpoint(path / "last.npz").settings for path in (folder, tmp_path / f"{epoch} again"))
        assert one | {"sha256": 0} == other | {"sha256": 0}


def test_info_says_how_to_go_on_with_a_file_that_is_alone(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 2) == 0
    about, arrays = parts_of(tmp_path / "run" / "last.npz")
    shutil.copy(tmp_path / "run" / "best.npz", tmp_path / "copy.npz")
    about["settings"].pop("sha256")  # as examples/data_parallel.py leaves it, also beside another run
    about["history"] = []
    about["digests"] = digests(about, arrays)
    write(tmp_path / "run" / "ranks.npz", about, arrays)
    capsys.readouterr()
    for path, go_on in (
        (tmp_path / "copy.npz", "to begin with it: minirnn train TEXT --out RUN --init-from "),
        (tmp_path / "run" / "ranks.npz", "to go on: mpirun -n N python examples/data_parallel.py --resume --out "),
    ):
        assert main(["info", str(path)]) == 0
        out = capsys.readouterr().out
        assert f"{go_on}{path}; to let it write: minirnn sample {path}" in out and "train --resume" not in out


def test_a_folder_without_a_name_is_not_set_aside(tmp_path, text_file, monkeypatch, capsys):
    assert train(tmp_path / "run", text_file, *SMALL, "--steps", 2) == 0
    monkeypatch.chdir(tmp_path / "run")
    assert train(".", text_file, *SMALL, "--restart") == 2
    assert ". cannot be set aside under another name; name the folder from outside" in capsys.readouterr().err


# --- killed at random moments -------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path, text_file, seed):
    rng = np.random.default_rng(seed)
    options = [*SMALL, "--report-every", 50, "--steps", 20_000, "--patience", 0, "--seed", seed, "--dropout", 0.1]
    assert train(tmp_path / "whole", text_file, *options) == 0
    command = [sys.executable, "-m", "minirnn", "train", "--out", tmp_path / "parts"]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1")}
    kills = 0
    while kills < 25:
        begun = (tmp_path / "parts" / "last.npz").exists()
        arguments = ["--resume"] if begun else [text_file, *map(str, options)]
        with subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, env=environment) as process:
            time.sleep(rng.uniform(0.3, 0.9))
            if process.poll() is not None:
                break  # a fast machine has done all its steps
            process.kill()
        kills += 1
    assert kills >= 15
    while train(tmp_path / "parts", "--resume") != 0:
        pass
    whole, parts = (load_checkpoint(tmp_path / name / "last.npz") for name in ("whole", "parts"))
    assert whole.training == parts.training and whole.history == parts.history
    assert all(whole.arrays[name].tobytes() == parts.arrays[name].tobytes() for name in whole.arrays)
