"""The example from its command line: what it finds to read, what it leaves behind, how it fails."""

import contextlib
import hashlib
import io
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import char_options
import char_shakespeare
import numpy as np
import pytest
import support
from conftest import ROOT, TINY_SHAKESPEARE

import minirnn

QUICK = ["--hidden", "8", "--batch-size", "2", "--seq-length", "10", "--steps", "40", "--report-every", "20"]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def a_user_without_anything(monkeypatch, tmp_path):
    """No data folder, an empty cache, no network, and an empty current folder."""
    monkeypatch.delenv("MINIRNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(sys, "argv", ["char_shakespeare.py"])
    monkeypatch.chdir(tmp_path)


def no_network(url, timeout):
    assert timeout == 5
    raise urllib.error.URLError("no network here")


def test_a_run_reports_samples_and_leaves_a_model_and_a_picture(text_file, tmp_path, capsys):
    assert char_shakespeare.main(["--text", str(text_file), "--sample-every", "20", *QUICK]) == 0
    out = capsys.readouterr().out
    assert re.search(r"text: .*text.txt \(1,128 characters\), asked for with --text", out)
    assert re.search(
        r"step 20/40  epoch 0\.\d\d  smoothed loss \d\.\d+ nats, \d\.\d+ bits  validation \d\.\d+, acc", out
    )
    assert re.search(r"accuracy 0\.\d+  [\d,]+ characters/s  0:0\d left", out)
    assert "----- sample at step 20" in out and "----- a sample of that model" in out
    assert (tmp_path / "runs/shakespeare/loss.png").read_bytes().startswith(PNG)
    model, vocab = minirnn.load_model(tmp_path / "runs/shakespeare/model.npz")
    assert model.config.hidden_size == 8 and vocab.tokens == sorted(set(text_file.read_text()))


def test_the_same_seed_gives_the_same_run(text_file, capsys):
    runs = []
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert char_shakespeare.main(["--text", str(text_file), "--seed", seed, "--out", out, *QUICK]) == 0
        capsys.readouterr()
        runs.append(Path(out, "model.npz").read_bytes())
    assert runs[0] == runs[1] != runs[2]


def test_karpathys_preset_sums_and_uses_the_whole_text(text_file, capsys):
    assert (
        char_shakespeare.main(
            ["--text", str(text_file), "--preset", "karpathy", "--steps", "50", "--report-every", "50"]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "1,128 characters to train on, 0 to validate" in out and "1 sequences x 25 characters" in out
    loss, total = map(float, re.search(r"loss ([\d.]+) nats.*\(sum over 25: ([\d.]+)\)", out).groups())
    assert total == pytest.approx(25 * loss, abs=0.02)


@pytest.mark.parametrize("preset", ["minute", "char-rnn", "goerner"])
def test_every_preset_runs(text_file, tmp_path, preset):
    arguments = ["--text", str(text_file), "--preset", preset, "--hidden", "8", "--steps", "3", "--batch-size", "2"]
    assert char_shakespeare.main([*arguments, "--seq-length", "10"]) == 0
    model, _ = minirnn.load_model(tmp_path / "runs/shakespeare/model.npz")
    expected = {"minute": ("gru", 1, 0.0), "char-rnn": ("lstm", 2, 0.0), "goerner": ("gru", 3, 0.2)}[preset]
    assert (model.config.cell, model.config.layers, model.config.dropout) == expected


@pytest.mark.parametrize(
    "options", [["--cell", "lstm", "--optimizer", "rmsprop", "--schedule", "cosine"], ["--epochs", "1"]]
)
def test_every_option_runs(text_file, options, capsys):
    assert char_shakespeare.main(["--text", str(text_file), *QUICK, *options]) == 0
    assert ("step 50/50  epoch 1.00" if "--epochs" in options else "step 40/40") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("preset", "published"),
    [
        (
            "karpathy",
            dict(cell="rnn", layers=1, hidden=100, dropout=0.0, optimizer="adagrad", learning_rate=0.1, clip_value=5.0,
                 clip_norm=math.inf, batch_size=1, seq_length=25, schedule="constant", reduction="sum", init_std=0.01,
                 smoothing=0.999),
        ),
        (
            "char-rnn",
            dict(cell="lstm", layers=2, hidden=128, dropout=0.0, optimizer="rmsprop", learning_rate=0.002,
                 clip_value=5.0, clip_norm=math.inf, batch_size=50, seq_length=50, schedule="epochs", reduction="sum",
                 duration=("epochs", 30), valid=0.05),
        ),
        (
            "goerner",
            dict(cell="gru", layers=3, hidden=512, dropout=0.2, optimizer="adam", learning_rate=0.001, batch_size=200,
                 seq_length=30, schedule="constant", reduction="mean", duration=("epochs", 10)),
        ),
        (  # ours
            "minute",
            dict(cell="gru", layers=1, hidden=256, dropout=0.0, optimizer="adam", learning_rate=0.005, clip_norm=1.0,
                 batch_size=32, seq_length=32, schedule="linear", reduction="mean", duration=("steps", 3800)),
        ),
    ],
)  # fmt: skip
def test_presets_keep_the_numbers_they_are_known_for(preset, published):
    args = vars(char_options.parse_arguments(["--preset", preset]))
    assert {name: args[name] for name in published} == published


def test_the_trainer_gets_what_the_command_line_says(text_file, trainers):
    options = ["--optimizer", "adam", "--learning-rate", "0.003", "--clip-norm", "2", "--clip-value", "3"]
    assert char_shakespeare.main(["--text", str(text_file), *QUICK, *options]) == 0
    (trainer,) = trainers
    assert isinstance(trainer.optimizer, minirnn.Adam) and trainer.learning_rate == 0.003
    assert (trainer.clip_norm, trainer.clip_value, trainer.reduction) == (2, 3, "mean")
    assert trainer.x.shape[1:] == (10, 2) and trainer.smoothing == 0.99


def test_karpathys_preset_starts_with_small_normal_weights(text_file, trainers):
    assert char_shakespeare.main(["--text", str(text_file), "--preset", "karpathy", "--steps", "1"]) == 0
    (trainer,) = trainers
    assert (trainer.clip_value, trainer.reduction, trainer.smoothing) == (5, "sum", 0.999)
    for name in ("rnn0.Wxh", "rnn0.Whh", "Why"):
        assert trainer.initial[name].std() == pytest.approx(0.01, rel=0.1)
        assert 0.025 < abs(trainer.initial[name]).max() < 0.06  # normal, not uniform
    assert not trainer.initial["rnn0.bh"].any() and not trainer.initial["by"].any()


@pytest.mark.parametrize(
    ("schedule", "halfway", "at_the_end"), [("linear", 0.5, 1 / 40), ("cosine", 0.5, 0.5 * (1 - np.cos(np.pi / 40)))]
)
def test_a_schedule_falls_over_all_steps(text_file, trainers, schedule, halfway, at_the_end):
    assert char_shakespeare.main(["--text", str(text_file), *QUICK, "--schedule", schedule]) == 0
    (trainer,) = trainers
    assert trainer.schedule(20) == pytest.approx(halfway)
    assert trainer.optimizer.learning_rate == pytest.approx(trainer.learning_rate * at_the_end)


def test_the_schedule_by_epochs_begins_to_fall_after_ten(text_file, trainers):
    assert char_shakespeare.main(["--text", str(text_file), *QUICK, "--schedule", "epochs"]) == 0
    (trainer,) = trainers
    n = trainer.batches_per_epoch
    factors = [trainer.schedule(step) for step in (0, 10 * n - 1, 10 * n, 11 * n)]
    assert factors == pytest.approx([1, 1, 0.97, 0.97**2])


def test_only_a_better_model_is_saved(text_file, trainers, monkeypatch, capsys):
    losses, saved, save = iter([3.0, 2.0, 2.5]), [], minirnn.save_model

    def spy(*args):
        saved.append(trainers[0].step)
        save(*args)

    monkeypatch.setattr(minirnn, "save_model", spy)
    monkeypatch.setattr(minirnn, "evaluate", lambda *_, **__: (next(losses), 0.5))
    assert char_shakespeare.main(["--text", str(text_file), *QUICK]) == 0  # reports at steps 0, 20 and 40
    assert saved == [0, 20] and "(best validation 2.000 nats" in capsys.readouterr().out


@pytest.mark.skipif(TINY_SHAKESPEARE is None, reason="needs tinyshakespeare.txt in the folder MINIRNN_DATA")
def test_karpathys_preset_falls_as_min_char_rnn_did(capsys):
    found = {1000: [], 10_000: []}
    for seed in ("1", "2", "3"):
        arguments = ["--text", str(TINY_SHAKESPEARE), "--preset", "karpathy", "--steps", "10000", "--seed", seed]
        assert char_shakespeare.main(arguments) == 0
        for step, total in re.findall(r"step (\d+)/10000 .*\(sum over 25: ([\d.]+)\)", capsys.readouterr().out):
            if int(step) in found:
                found[int(step)].append(float(total))
    assert 83 < statistics.median(found[1000]) < 90
    assert 50 < statistics.median(found[10_000]) < 57


# --- where the text comes from ----------------------------------------------------------------------


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def deliver(monkeypatch, data, sha256=None):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(data))
    monkeypatch.setattr(support, "SHA256", sha256 or hashlib.sha256(data).hexdigest())


def test_text_is_looked_for_in_order(tmp_path, monkeypatch):
    def found():
        text, line = support.find_text(None)
        return text[:10], line

    text, line = found()
    assert text == "THE WINTER" and line.endswith("no download: no network here")
    deliver(monkeypatch, b"downloaded text")
    assert found() == (
        "downloaded",
        f"text: {support.URL} (15 characters), downloaded; kept in {tmp_path}/cache/minirnn/tinyshakespeare.txt",
    )
    monkeypatch.setattr(urllib.request, "urlopen", None)  # from here on the network is not asked
    text, line = found()
    assert text == "downloaded" and line.endswith("found in the cache")
    put(tmp_path / "data/tinyshakespeare.txt", "from the folder")
    monkeypatch.setenv("MINIRNN_DATA", str(tmp_path / "data"))
    text, line = found()
    assert text == "from the f" and line.endswith("found in the folder MINIRNN_DATA")
    put(tmp_path / "mine.txt", "my own text")
    text, line = support.find_text("mine.txt")
    assert text == "my own text" and line.endswith("asked for with --text")


def test_an_empty_data_folder_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIRNN_DATA", str(tmp_path))
    assert support.find_text(None, offline=True)[0].startswith("THE WINTER FERRY")


def test_offline_asks_no_network(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert support.find_text(None, offline=True)[1].endswith("no download: --offline forbids it")


def test_a_download_that_is_not_tiny_shakespeare_is_not_used(tmp_path, monkeypatch):
    deliver(monkeypatch, b"a page that says log in first", "0" * 64)
    text, line = support.find_text(None)
    assert text.startswith("THE WINTER FERRY") and "its sha256 is not 000000000000..." in line
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where a folder should be")
    deliver(monkeypatch, b"downloaded text")
    text, line = support.find_text(None)
    assert text == "downloaded text" and "cannot be kept for the next time" in line


def test_the_play_is_ascii_long_enough_and_laid_out_as_a_script():
    play = support.PLAY.read_text(encoding="ascii")
    assert len(play) >= 60_000 and play.endswith("\n") and max(map(len, play.splitlines())) <= 75
    speeches = [block for block in play.split("\n\n") if re.match(r"[A-Z]+:\n", block)]
    assert len(speeches) > 400 and len({speech.split(":")[0] for speech in speeches}) == 10


# --- what goes wrong --------------------------------------------------------------------------------


def fails(capsys, *arguments):
    assert char_shakespeare.main([*arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("char_shakespeare.py: ")
    return captured.err


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (None, [], "cannot use text.txt: No such file or directory$"),
        (b"", [], "text.txt is empty"),
        (b"caf\xe9" * 99, [], "byte 0xe9 at offset 3 cannot be decoded; .*; name the file's encoding with --encoding"),
        (
            b"short",
            [],
            r"5 tokens are too few to train on: a batch of B = 32 sequences x T = 25 steps needs B\*T \+ 1 = 801",
        ),
        (
            b"a" * 25,
            ["--batch-size", "1", "--seq-length", "21", "--valid", "0.05"],
            "evaluation needs at least 2 tokens",
        ),
        (
            b"abc" * 999,
            ["--valid", "0.99999"],
            "--valid 0.99999 leaves 1 of 2,997 characters to train on, but 801 are needed",
        ),
        (b"abc" * 999, ["--hidden", "9" * 11], r"hidden_size must be less than 2\*\*31, got 9+; no memory holds"),
        (b"abc" * 999, ["--learning-rate", "inf"], "learning_rate must be finite, got inf"),
        (b"abc" * 999, ["--encoding", "undefined"], "unknown encoding 'undefined'; common ones are"),
        (b"abc" * 999, ["--out", "text.txt"], "--out must name a folder, text.txt is a file"),
        (b"abc" * 999, ["--prime", "abcX"], "not in the vocabulary of 3 chars: 'X'"),
        (b"abc" * 999, ["--temperature", "-1"], "temperature must be at least 0"),
        (b"abc" * 999, ["--temperature", "nan"], "temperature must be at least 0 .*, got nan"),
        (b"abc" * 999, ["--learning-rate", "0"], "learning_rate must be greater than 0, got 0"),
        (b"abc" * 999, ["--clip-norm", "nan"], "clip_norm must be greater than 0, got nan"),
        (b"abc" * 999, ["--encoding", "klingon"], "unknown encoding 'klingon'"),
        (b"abc" * 999, ["--learning-rate", "1e38"], r"training diverged at step \d+"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, data, arguments, message):
    if data is not None:
        (tmp_path / "text.txt").write_bytes(data)
    assert re.search(message, fails(capsys, "--text", "text.txt", *arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "0"],
        ["--hidden", "x"],
        ["--valid", "1"],
        ["--preset", "none"],
        ["--seed", "-1"],
        ["--text", ""],
        ["--out", ""],
    ],
)
def test_impossible_options_are_refused_by_the_command_line(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        char_shakespeare.main(arguments)
    assert caught.value.code == 2
    assert "error: argument " + arguments[0] in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_noticed_before_training(tmp_path, text_file, capsys):
    (tmp_path / "taken").write_text("a file")
    assert "cannot use taken/run: Not a directory" in fails(
        capsys, "--text", str(text_file), "--out", "taken/run", *QUICK
    )


def test_divergence_keeps_what_there_is(text_file, capsys):
    arguments = ["--text", str(text_file), "--out", "run", *QUICK]
    assert char_shakespeare.main(arguments) == 0
    capsys.readouterr()
    before = Path("run/model.npz").read_bytes()
    assert "diverged" in fails(capsys, *arguments, "--learning-rate", "1e38")
    assert Path("run/model.previous.npz").read_bytes() == before
    minirnn.load_model("run/model.npz")
    assert Path("run/loss.png").read_bytes().startswith(PNG)


def test_a_picture_of_an_early_divergence_is_not_empty(text_file, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(char_shakespeare, "plot_losses", lambda history, *_: drawn.extend(history))
    fails(capsys, "--text", str(text_file), *QUICK, "--learning-rate", "1e38")
    assert [row["step"] for row in drawn] == [0, 1] and all(np.isfinite(row["loss"]) for row in drawn)
    model, _ = minirnn.load_model("runs/shakespeare/model.npz")
    assert all(np.isfinite(p).all() for p in model.params.values())


def test_no_run_overwrites_the_model_of_another(text_file, capsys):
    kept = []
    for seed in ("1", "2", "3"):
        assert char_shakespeare.main(["--text", str(text_file), "--out", "run", "--seed", seed, *QUICK]) == 0
        kept.append(Path("run/model.npz").read_bytes())
    assert "the model of an earlier run is now run/model.previous-2.npz" in capsys.readouterr().out
    names = ("model.previous.npz", "model.previous-2.npz", "model.npz")
    assert [Path("run", name).read_bytes() for name in names] == kept


@pytest.mark.parametrize(
    "arguments", [["--valid", "0.99"], ["--prime", "#"], ["--temperature", "-1"], ["--hidden", "x"]]
)
def test_a_run_that_cannot_begin_leaves_an_earlier_model_where_it_is(text_file, capsys, arguments):
    Path("run").mkdir()
    Path("run/model.npz").write_bytes(b"a model")
    with contextlib.suppress(SystemExit):
        fails(capsys, "--text", str(text_file), "--out", "run", *QUICK, *arguments)
    assert [path.name for path in Path("run").iterdir()] == ["model.npz"]


def test_control_c_before_the_first_step_says_so_and_leaves_an_earlier_model(text_file, monkeypatch, capsys):
    Path("run").mkdir()
    Path("run/model.npz").write_bytes(b"a model")

    def control_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(minirnn, "evaluate", control_c)
    assert char_shakespeare.main(["--text", str(text_file), "--out", "run", *QUICK]) == 130
    assert capsys.readouterr().out.endswith("interrupted before the first step: there is nothing to keep\n")
    assert [path.name for path in Path("run").iterdir()] == ["model.npz"]
    monkeypatch.setattr(minirnn, "sample", control_c)
    assert char_shakespeare.main(["--text", str(text_file), "--out", "run", *QUICK]) == 130
    assert capsys.readouterr().err == "char_shakespeare.py: interrupted; whatever is kept was named above\n"


def test_a_full_disk_is_one_sentence_and_leaves_no_half_of_a_model(text_file, monkeypatch, capsys):
    def full_disk(file, **_):
        file.write(b"the first bytes")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full_disk)
    assert "cannot use run/model.npz: No space left on device" in fails(
        capsys, "--text", str(text_file), "--out", "run", *QUICK
    )
    assert not list(Path("run").iterdir())


def raises(error):
    def program(_):
        raise error

    return program


def test_an_interrupt_that_nobody_awaits_is_code_130():
    assert support.run(raises(KeyboardInterrupt()), None) == 130


def test_too_little_memory_is_one_sentence(capsys):
    assert support.run(raises(MemoryError("cannot allocate 9 TiB")), None) == 2
    sentence = "not enough memory: cannot allocate 9 TiB; take a smaller model, batch or text"
    assert capsys.readouterr().err == f"char_shakespeare.py: {sentence}\n"


def test_a_reader_who_has_seen_enough_is_no_error():
    code = "import support; raise SystemExit(support.run(lambda _: any(map(print, range(10**6))), None))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT / "examples") as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 0


def test_control_c_finishes_the_step_and_writes_what_there_is(tmp_path, text_file):
    command = [sys.executable, str(ROOT / "examples/char_shakespeare.py"), "--text", str(text_file), *QUICK]
    with subprocess.Popen([*command, "--steps", "1000000"], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as run:
        for line in run.stdout:
            if line.startswith("step 20/"):
                run.send_signal(signal.SIGINT)
                break
        rest = run.stdout.read()
    assert run.returncode == 130
    assert "interrupted: stopped after step " in rest and "----- a sample of that model" in rest and "written: " in rest
    minirnn.load_model(tmp_path / "runs/shakespeare/model.npz")
    assert (tmp_path / "runs/shakespeare/loss.png").read_bytes().startswith(PNG)
