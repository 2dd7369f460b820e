"""The example from its command line: what it finds to read, what it leaves behind, how it fails."""

import support

import hashlib
import io
import os
import re
import signal
import statistics
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import char_shakespeare
import numpy as np
import pytest
from conftest import ROOT, TINY_SHAKESPEARE

import minirnn
from minirnn.commands.cli import guarded
from minirnn.commands.presets import PRESETS
from minirnn.files.checkpoint import load_checkpoint

PNG = b"\x89PNG\r\n\x1a\n"
pytestmark = pytest.mark.usefixtures("without_pictures", "short_samples")


@pytest.fixture(autouse=True)
def a_user_without_anything(monkeypatch, tmp_path):
    """No data folder, an empty cache, no network, and an empty current folder."""
    monkeypatch.delenv("MINIRNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(sys, "argv", ["char_shakespeare.py"])
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(monkeypatch):
    """The default preset, with a model and a run small enough for a test."""
    small = dict(hidden_size=8, batch_size=2, seq_length=10, steps=40, report_every=20, sample_every=20)
    small |= dict(schedule="constant", warmup=0)
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], **small))


def no_network(url, timeout):
    assert timeout == 5
    raise urllib.error.URLError("no network here")


def example(*arguments):
    return char_shakespeare.main([str(argument) for argument in arguments])


def test_a_run_reports_samples_and_leaves_a_model_and_a_picture(text_file, quick, with_pictures, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert example("--text", text_file) == 0
    out = capsys.readouterr().out
    assert re.search(r"text: .*text.txt, asked for with --text", out)
    assert re.search(r"step 20/40  loss \d\.\d+  valid \d\.\d+  \d\.\d+ bits  0:0\d left  accuracy 0\.\d+  ", out)
    assert re.search(r"  [\d,]+ characters/s  epoch 0\.\d\d\n", out)
    for title in ("before training", "sample at step 20", "a sample of that model"):
        assert f"----- {title}, temperature 0.8 -----" in out
    assert "sample at step 40" not in out
    assert Path("runs/shakespeare/loss.png").read_bytes().startswith(PNG)
    model, vocab = minirnn.load_model("runs/shakespeare/best.npz")
    assert model.config.hidden_size == 8 and vocab.tokens == sorted(set(text_file.read_text()))


def test_the_same_seed_gives_the_same_run(text_file, quick):
    runs = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert example("--text", text_file, "--seed", seed, "--out", out) == 0
        runs.append(Path(out, "best.npz").read_bytes())
    assert runs[0] == runs[1] != runs[2]


def test_karpathys_preset_sums_and_uses_the_whole_text(text_file, trainers, capsys):
    assert example("--text", text_file, "--preset", "karpathy", "--steps", 1000) == 0
    out = capsys.readouterr().out
    assert "1,128 characters to train on, 0 to validate" in out and "steps of 1 x 25 characters" in out
    loss, total = map(float, re.search(r"loss ([\d.]+)  \(sum over 25: ([\d.]+)\)", out).groups())
    assert total == pytest.approx(25 * loss, abs=0.02)
    (trainer,) = trainers
    assert (trainer.clip_value, trainer.clip_norm, trainer.reduction, trainer.smoothing) == (5, np.inf, "sum", 0.999)
    for name in ("rnn0.Wxh", "rnn0.Whh", "Why"):
        assert trainer.initial[name].std() == pytest.approx(0.01, rel=0.1)
        assert 0.025 < abs(trainer.initial[name]).max() < 0.06  # normal, not uniform
    assert not trainer.initial["rnn0.bh"].any() and not trainer.initial["by"].any()


@pytest.mark.parametrize("preset", ["minute", "char-rnn", "goerner"])
def test_every_preset_runs(text_file, monkeypatch, preset):
    small = replace(PRESETS[preset], hidden_size=8, batch_size=2, seq_length=10)
    monkeypatch.setitem(PRESETS, preset, small)
    assert example("--text", text_file, "--preset", preset, "--steps", 3) == 0
    config = minirnn.load_model("runs/shakespeare/best.npz")[0].config
    assert (config.cell, config.layers, config.dropout) == (small.cell, small.layers, small.dropout)


def test_the_command_train_continues_what_the_example_began(text_file, quick, capsys):
    assert example("--text", text_file, "--steps", 60, "--out", "whole") == 0
    assert example("--text", text_file, "--steps", 40, "--out", "parts") == 0
    from minirnn.commands.cli import main

    assert main(["train", "--resume", "--out", "parts", "--steps", "60"]) == 0
    whole, parts = (load_checkpoint(Path(out, "last.npz")) for out in ("whole", "parts"))
    assert whole.training == parts.training and whole.training["step"] == 60
    assert all(whole.arrays[name].tobytes() == parts.arrays[name].tobytes() for name in whole.arrays)


@pytest.mark.skipif(TINY_SHAKESPEARE is None, reason="needs tinyshakespeare.txt in the folder MINIRNN_DATA")
@pytest.mark.parametrize(
    ("steps", "seeds"), [(1000, [1]), pytest.param(10_000, [1, 2, 3, 4, 5], marks=pytest.mark.soak)]
)
def test_karpathys_preset_falls_as_min_char_rnn_did(steps, seeds, capsys):
    found = {1000: [], 10_000: []}
    for seed in seeds:
        assert example("--text", TINY_SHAKESPEARE, "--preset", "karpathy", "--steps", steps, "--seed", seed) == 0
        for step, total in re.findall(r"step ([\d,]+)/.* \(sum over 25: ([\d.]+)\)", capsys.readouterr().out):
            if int(step.replace(",", "")) in found:
                found[int(step.replace(",", ""))].append(float(total))
    assert 83 < statistics.median(found[1000]) < 90
    assert steps == 1000 or 50 < statistics.median(found[10_000]) < 57


# --- where the text comes from ----------------------------------------------------------------------


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def deliver(monkeypatch, data, sha256=None):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(data))
    monkeypatch.setattr(support, "SHA256", sha256 or hashlib.sha256(data).hexdigest())


def test_text_is_looked_for_in_order(tmp_path, monkeypatch):
    def found():
        path, line = support.find_text(None)
        assert line.startswith(f"text: {path}, ")
        return path.read_text()[:10], line

    text, line = found()
    assert text == "THE WINTER" and line.endswith("no download: no network here")
    deliver(monkeypatch, b"downloaded text")
    kept = f"{tmp_path}/cache/minirnn/tinyshakespeare.txt"
    assert found() == ("downloaded", f"text: {kept}, downloaded from {support.URL} and kept")
    monkeypatch.setattr(urllib.request, "urlopen", None)  # from here on the network is not asked
    text, line = found()
    assert text == "downloaded" and line.endswith("found in the cache")
    put(tmp_path / "data/tinyshakespeare.txt", "from the folder")
    monkeypatch.setenv("MINIRNN_DATA", str(tmp_path / "data"))
    text, line = found()
    assert text == "from the f" and line.endswith("found in the folder MINIRNN_DATA")
    put(tmp_path / "mine.txt", "my own text")
    path, line = support.find_text("mine.txt")
    assert path.read_text() == "my own text" and line.endswith("asked for with --text")


def test_an_empty_data_folder_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIRNN_DATA", str(tmp_path))
    assert support.find_text(None, offline=True)[0] == support.PLAY


def test_offline_asks_no_network(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert support.find_text(None, offline=True)[1].endswith("no download: --offline forbids it")


def test_a_download_that_is_not_tiny_shakespeare_is_not_used(tmp_path, monkeypatch):
    deliver(monkeypatch, b"a page that says log in first", "0" * 64)
    path, line = support.find_text(None)
    assert path == support.PLAY and "its sha256 is not 000000000000..." in line
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where a folder should be")
    deliver(monkeypatch, b"downloaded text")
    path, line = support.find_text(None)
    assert path.read_text() == "downloaded text" and "cannot be kept for the next time" in line
    path.unlink()


def test_the_play_is_ascii_long_enough_and_laid_out_as_a_script():
    play = support.PLAY.read_text(encoding="ascii")
    assert len(play) >= 60_000 and play.endswith("\n") and max(map(len, play.splitlines())) <= 75
    speeches = [block for block in play.split("\n\n") if re.match(r"[A-Z]+:\n", block)]
    assert len(speeches) > 400 and len({speech.split(":")[0] for speech in speeches}) == 10


# --- what goes wrong --------------------------------------------------------------------------------


def fails(capsys, *arguments):
    assert example(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("char_shakespeare.py: ")
    return captured.err


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (None, [], "cannot use text.txt: No such file or directory$"),
        (b"", [], "text.txt is empty"),
        (b"caf\xe9" * 99, [], "byte 0xe9 at offset 3 cannot be decoded; .*; name the encoding with --encoding"),
        (
            b"short",
            [],
            r"5 tokens are too few to train on: a batch of B = 32 sequences x T = \d+ steps needs",
        ),
        (b"abc" * 999, ["--encoding", "undefined"], "unknown encoding 'undefined'; common ones are"),
        (b"abc" * 999, ["--encoding", "klingon"], "unknown encoding 'klingon'"),
        (b"abc" * 999, ["--out", "text.txt"], "text.txt: Not a directory|text.txt: File exists"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, data, arguments, message):
    if data is not None:
        (tmp_path / "text.txt").write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    assert re.search(message, fails(capsys, "--text", "text.txt", *arguments))
    assert {"runs"} >= {path.name for path in set(tmp_path.rglob("*")) - set(before)}


@pytest.mark.parametrize("arguments", [
    ["--steps", "0"], ["--steps", "x"], ["--preset", "none"], ["--seed", "-1"], ["--text", ""], ["--out", ""],
])  # fmt: skip
def test_impossible_options_are_refused_in_one_sentence(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        example(*arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert f": {arguments[0]} takes " in err and f"got {arguments[1]!r}" in err and err.count("\n") == 1


def test_an_output_folder_that_cannot_be_written_is_noticed_before_training(tmp_path, text_file, quick, capsys):
    (tmp_path / "taken").write_text("a file")
    assert "cannot use taken/run: Not a directory" in fails(capsys, "--text", text_file, "--out", "taken/run")


def test_divergence_keeps_what_there_is(text_file, quick, monkeypatch, capsys):
    arguments = ["--text", text_file, "--out", "run"]
    assert example(*arguments) == 0
    capsys.readouterr()
    before = Path("run/best.npz").read_bytes()
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], learning_rate=1e38))
    assert "diverged" in fails(capsys, *arguments)
    assert Path("run.previous/best.npz").read_bytes() == before
    minirnn.load_model("run/last.npz")


def test_no_run_overwrites_another(text_file, quick, capsys):
    kept = []
    for seed in (1, 2, 3):
        assert example("--text", text_file, "--seed", seed) == 0
        kept.append(Path("runs/shakespeare/last.npz").read_bytes())
    assert "the run that was in runs/shakespeare is now in runs/shakespeare.previous-2\n" in capsys.readouterr().out
    names = ("shakespeare.previous", "shakespeare.previous-2", "shakespeare")
    assert [Path("runs", name, "last.npz").read_bytes() for name in names] == kept


def test_what_earlier_releases_left_there_is_set_aside_too(text_file, quick):
    Path("runs/shakespeare").mkdir(parents=True)
    for name in ("model.npz", "model.previous-2.npz", "loss.png"):
        Path("runs/shakespeare", name).write_text(name)
    assert example("--text", text_file) == 0
    assert {path.read_text() for path in Path("runs/shakespeare.previous").iterdir()} == {
        "model.npz", "model.previous-2.npz", "loss.png",
    }  # fmt: skip


def test_a_folder_with_anything_else_is_left_alone(text_file, quick, capsys):
    Path("home").mkdir()
    Path("home/thesis.txt").write_text("years of work")
    assert "home holds thesis.txt, which is not of a run" in fails(capsys, "--text", text_file, "--out", "home")
    assert [path.name for path in Path("home").iterdir()] == ["thesis.txt"]


def test_a_run_that_cannot_begin_leaves_an_earlier_one_where_it_is(text_file, quick, capsys):
    assert example("--text", text_file, "--out", "run") == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    Path("short.txt").write_text("ab")
    fails(capsys, "--text", "short.txt", "--out", "run")
    fails(capsys, "--text", "missing.txt", "--out", "run")
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before
    assert not Path("run.previous").exists()


def test_control_c_before_the_first_step_leaves_an_earlier_run(text_file, quick, monkeypatch, capsys):
    assert example("--text", text_file, "--out", "run") == 0

    def control_c(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minirnn.commands.run.save_checkpoint", control_c)
        assert example("--text", text_file, "--out", "run") == 130
    assert capsys.readouterr().err == "char_shakespeare.py: interrupted\n"
    assert sorted(path.name for path in Path().iterdir() if path.is_dir()) == ["run"]
    minirnn.load_model("run/best.npz")


def test_a_full_disk_is_one_sentence_and_leaves_no_half_of_a_model(text_file, quick, monkeypatch, capsys):
    def full_disk(file, **_):
        file.write(b"the first bytes")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full_disk)
    assert "cannot use run/last.npz: No space left on device" in fails(capsys, "--text", text_file, "--out", "run")
    assert not Path("run").exists()


def raises(error):
    def program():
        raise error

    return program


def test_an_interrupt_that_nobody_awaits_is_code_130():
    assert guarded("name", raises(KeyboardInterrupt())) == 130


def test_too_little_memory_is_one_sentence(capsys):
    assert guarded("name", raises(MemoryError("cannot allocate 9 TiB"))) == 2
    sentence = "not enough memory: cannot allocate 9 TiB; take a smaller model, batch or text"
    assert capsys.readouterr().err == f"name: {sentence}\n"


def test_a_reader_who_has_seen_enough_ends_it_without_a_word():
    code = "from minirnn.commands.cli import guarded; exit(guarded('', lambda: any(map(print, range(10**6)))))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 141


def test_control_c_finishes_the_step_and_writes_what_there_is(tmp_path, text_file):
    command = [sys.executable, ROOT / "examples/char_shakespeare.py", "--text", text_file, "--preset", "karpathy"]
    command += ["--steps", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as run:
        for line in run.stdout:
            if line.startswith("step 1,000/"):
                run.send_signal(signal.SIGINT)
                break
        rest = run.stdout.read()
    assert run.returncode == 130
    assert "interrupted after step " in rest and "----- a sample of that model" in rest
    assert "minirnn train --resume --out runs/shakespeare" in rest
    minirnn.load_model(tmp_path / "runs/shakespeare/last.npz")
    assert (tmp_path / "runs/shakespeare/loss.png").read_bytes().startswith(PNG)


def test_the_example_is_short_and_shows_its_loop():
    lines = (ROOT / "examples/char_shakespeare.py").read_text().splitlines()
    assert len(lines) <= 80 and any("for report in run.trainer.steps(" in line for line in lines)
