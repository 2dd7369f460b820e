"""Training runs from the command line: resumed to the bit, stopped in every way, and nothing lost."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TEXT

import minirnn
import minirnn.commands
from minirnn import CELLS, LanguageModel, ModelConfig, Trainer, Vocabulary
from minirnn.commands import build, folder, run
from minirnn.commands.cli import main
from minirnn.commands.progress import Progress
from minirnn.commands.settings import SCHEDULES, Settings
from minirnn.files.checkpoint import load_checkpoint, restore, save_checkpoint, snapshot
from minirnn.optim import OPTIMIZERS
from minirnn.train import Report

SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-length", "10", "--report-every", "10"]
VOCAB = Vocabulary.from_chars(TEXT)
pytestmark = pytest.mark.usefixtures("without_pictures", "short_samples")


def train(folder, *arguments, text=None):
    texts = [] if text is None else [str(text)]
    return main(["train", *texts, "--out", str(folder), *map(str, arguments)])


def same_files(a, b):
    """Whether two runs ended with the same bits."""
    for name in ("last.npz", "best.npz"):
        one, other = load_checkpoint(a / name), load_checkpoint(b / name)
        assert one.arrays.keys() == other.arrays.keys()
        assert all(one.arrays[key].tobytes() == other.arrays[key].tobytes() for key in one.arrays)
        assert one.training == other.training and one.history == other.history
    assert (a / "history.csv").read_bytes() == (b / "history.csv").read_bytes()
    return True


# --- exact resume -------------------------------------------------------------------------------------


SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(6, 60))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resumed_run_has_the_same_bits(tmp_path, seed):
    """Every cell, optimizer and schedule comes up within five seeds; the rest is drawn."""
    cell, optimizer, schedule = (sorted(names)[seed % len(names)] for names in (CELLS, OPTIMIZERS, SCHEDULES))
    rng = np.random.default_rng(seed)
    layers, dropout, embedding = rng.integers(1, 3), rng.choice([0.0, 0.3]), rng.choice([None, 5])
    stops = sorted(rng.choice(np.arange(1, 80), rng.integers(1, 4), replace=False))
    path = tmp_path / "last.npz"
    ids, total = VOCAB.encode(TEXT), 80  # two and a half epochs

    def make(seed):
        config = ModelConfig(cell, len(VOCAB), 6, layers, embedding, dropout)
        model = LanguageModel.init(config, seed)
        trainer = Trainer(model, OPTIMIZERS[optimizer](0.02), ids, batch_size=4, seq_length=9, clip_norm=1.0, rng=seed)
        trainer.schedule = build.make_schedule(Settings(schedule=schedule), total, trainer.batches_per_epoch)
        return trainer

    whole = make(1)
    expected = [(report.step, report.loss, report.smooth_loss) for report in whole.steps(total)]
    losses, trainer = [], make(1)
    for stop in [*stops, total]:
        losses += [(r.step, r.loss, r.smooth_loss) for r in trainer.steps(stop - trainer.step)]
        save_checkpoint(path, trainer, VOCAB)
        checkpoint = load_checkpoint(path)
        trainer = make(2)  # everything must come from the file
        restore(trainer, checkpoint.arrays, checkpoint.training)
    assert losses == expected
    assert all(p.tobytes() == whole.model.params[name].tobytes() for name, p in trainer.model.params.items())
    assert snapshot(trainer)[1] == snapshot(whole)[1]
    texts = ["".join(minirnn.sample(t.model, VOCAB, 3, "The", 40)) for t in (whole, trainer)]
    assert texts[0] == texts[1]


def test_a_snapshot_of_another_model_is_refused():
    ids = VOCAB.encode(TEXT)
    small, large = (
        Trainer(LanguageModel.init(ModelConfig("rnn", len(VOCAB), H), 0), OPTIMIZERS["sgd"](0.1), ids, batch_size=2,
                seq_length=5)
        for H in (4, 5)
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"params/rnn0\.Wxh must have shape \(5, "):
        restore(large, *snapshot(small))
    with pytest.raises(ValueError, match=r"the snapshot has no params/rnn0\.Wxh"):
        restore(large, {}, {})


@pytest.mark.parametrize(
    "options",
    [
        ["--cell", "rnn", "--optimizer", "adagrad"],
        ["--cell", "lstm", "--dropout", "0.2", "--schedule", "cosine", "--layers", "2"],
        ["--level", "words", "--embedding", "8", "--tie-weights", "--valid", "0.2"],
    ],
)
def test_stopped_by_the_clock_and_resumed_it_ends_with_the_same_files(tmp_path, text_file, options, capsys):
    assert train(tmp_path / "whole", *SMALL, *options, "--steps", 45, text=text_file) == 0
    assert train(tmp_path / "parts", *SMALL, *options, "--steps", 45, "--time-limit", 1e-9, text=text_file) == 0
    assert "time is up after step 1; go on with: minirnn train --resume" in capsys.readouterr().out
    for _ in range(3):
        assert train(tmp_path / "parts", "--resume", "--time-limit", 0.01) == 0
    assert train(tmp_path / "parts", "--resume") == 0
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    assert train(tmp_path / "parts", "--resume") == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_interrupted_and_killed_it_still_ends_with_the_same_files(tmp_path, text_file):
    options = [*SMALL, "--report-every", "20", "--steps", "300", "--cell", "rnn", "--patience", "0"]
    assert train(tmp_path / "whole", *options, text=text_file) == 0
    command = [sys.executable, "-m", "minirnn", "train", text_file, "--out", tmp_path / "parts", *options]
    resume = [sys.executable, "-m", "minirnn", "train", "--resume", "--out", tmp_path / "parts"]
    for signal_number in (signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:  # wait until it has reported, so that there is something to resume
                if line.startswith("step"):
                    break
            process.send_signal(signal_number)
            rest = process.stdout.read()
        code = process.returncode
        assert code == (-signal.SIGKILL if signal_number == signal.SIGKILL else 130), rest
        assert signal_number == signal.SIGKILL or "interrupted after step" in rest
        command = resume
    assert train(tmp_path / "parts", "--resume") == 0
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_more_steps_may_be_asked_for_later(tmp_path, text_file, capsys):
    constant = ["--schedule", "constant"]
    assert train(tmp_path / "whole", *SMALL, *constant, "--steps", 30, text=text_file) == 0
    assert train(tmp_path / "parts", *SMALL, *constant, "--steps", 20, text=text_file) == 0
    assert train(tmp_path / "parts", "--resume", "--steps", 30) == 0
    assert "resumed at step 20 of 30" in capsys.readouterr().out
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    assert json.loads((tmp_path / "parts" / "config.json").read_text())["steps"] == 30


# --- a run and its folder -----------------------------------------------------------------------------


def test_a_run_leaves_what_was_promised(tmp_path, text_file, with_pictures, capsys):
    run = tmp_path / "deep" / "run"
    assert train(run, *SMALL, "--epochs", 2, text=text_file) == 0
    out = capsys.readouterr().out
    assert sorted(path.name for path in run.iterdir()) == [
        "best.npz", "config.json", "history.csv", "last.npz", "loss.png", "text.npy",
    ]  # fmt: skip
    config = json.loads((run / "config.json").read_text())
    checkpoint = load_checkpoint(run / "last.npz")
    assert config["hidden_size"] == 8 and config["texts"] == [str(text_file)] and config["vocabulary"] == len(VOCAB)
    steps = 2 * ((len(TEXT) * 9 // 10) // 40)
    assert checkpoint.training["step"] == steps and config["epochs"] == 2
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [*range(steps + 1)]  # fewer than 200: every one, and the beginning
    rows = [row for row in rows if row["valid"]]
    assert [int(row["step"]) for row in rows] == [*range(10, steps, 10), steps]
    valid = [float(row["valid"]) for row in rows]
    best = load_checkpoint(run / "best.npz")
    assert best.training["step"] == int(rows[int(np.argmin(valid))]["step"])
    assert valid[-1] < valid[0]
    ids = np.load(run / "text.npy")
    assert ids.dtype == np.uint8 and (ids == VOCAB.encode(TEXT)).all()
    assert minirnn.evaluate(best.model, ids[len(ids) - int(0.1 * len(ids)) :])[0] == pytest.approx(min(valid))
    assert f"best validation loss: {min(valid):.4f} nats" in out
    with np.load(run / "last.npz", allow_pickle=False) as file:  # plain NumPy reads it
        about = json.loads(str(file["about"]))
        assert about["version"] == 4 and about["settings"]["hidden_size"] == 8 and about["training"]["rng"]
        assert {"params/Why", "optimizer/m/Why", "optimizer/t", "state/0/0"} <= set(file.files)


def test_the_sample_comes_with_the_longest_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "sample", minirnn.sample)
    text = tmp_path / "text.txt"
    text.write_text("abcdefghij" * 300)
    assert train(tmp_path / "run", *SMALL, "--steps", 200, "--learning-rate", 0.05, text=text) == 0
    out = capsys.readouterr().out
    copied = int(out.split("the longest run it shares with the training text: ")[1].split()[0])
    assert copied > 100


def test_patience_ends_a_run_early(tmp_path, text_file, capsys):
    options = ["--learning-rate", 0.5, "--clip-norm", 0, "--patience", 2, "--steps", 2000]
    assert train(tmp_path / "run", *SMALL, *options, text=text_file) == 0
    assert "stopped early: no better validation loss in 2 evaluations" in capsys.readouterr().out
    history = load_checkpoint(tmp_path / "run" / "last.npz").history
    valid = [row["valid"] for row in history if "valid" in row]
    assert len(valid) < 200 and min(valid) not in valid[-2:] and min(valid[-3:]) == min(valid)


def test_without_validation_the_last_model_is_kept(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", *SMALL, "--valid", 0, "--steps", 20, text=text_file) == 0
    assert not (tmp_path / "run" / "best.npz").exists()
    capsys.readouterr()
    assert main(["sample", str(tmp_path / "run"), "--length", "20"]) == 0
    assert len(capsys.readouterr().out) == 21


def test_several_texts_are_one(tmp_path):
    for name, text in (("a", "one two "), ("b", "three")):
        (tmp_path / name).write_text(text * 50)
    texts = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["train", *texts, "--out", str(tmp_path / "run"), *SMALL, "--steps", "10"]) == 0
    model_vocab = load_checkpoint(tmp_path / "run" / "last.npz").vocab
    assert model_vocab.decode(np.load(tmp_path / "run" / "text.npy")) == "one two " * 50 + "three" * 50


def test_a_run_that_diverges_keeps_the_last_good_checkpoint(tmp_path, text_file, capsys):
    options = ["--optimizer", "sgd", "--learning-rate", "1e30", "--clip-norm", "0", "--cell", "rnn"]
    assert train(tmp_path / "run", *SMALL, *options, text=text_file) == 2
    assert "diverged at step" in capsys.readouterr().err


# --- progress -----------------------------------------------------------------------------------------


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def report(step):
    return Report(step, step / 10, 2.0, 2.5, 1.0, 1234.5, 75.0)


def test_on_a_terminal_one_line_is_written_over(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    progress = Progress(terminal, "character", 100)
    progress.show(report(1), {}, False)
    assert terminal.text.startswith("\rstep 1/100  loss 2.500  1:15 left  1,234 characters/s  epoch 0.10")
    assert "\n" not in terminal.text
    progress.show(report(2), {}, False)  # too soon
    assert "step 2" not in terminal.text
    progress.show(report(3), {"valid": 1.75, "accuracy": 0.5}, True)
    assert "\033[1mvalid 1.750\033[0m  2.525 bits  1:15 left  accuracy 0.500  1,234" in terminal.text
    assert terminal.text.endswith("\n")


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Progress(terminal, "word", 100).show(report(3), {"valid": 1.75, "accuracy": 0.5}, True)
    assert "\033[1m" not in terminal.text and "perplexity 5.75" in terminal.text


def test_in_a_log_there_are_plain_lines(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", *SMALL, "--steps", 20, text=text_file) == 0
    out = capsys.readouterr().out
    assert out.count("\nstep ") == 2 and "\r" not in out and "\033" not in out


# --- exit codes and help ------------------------------------------------------------------------------


def test_help_teaches():
    run = subprocess.run([sys.executable, "-m", "minirnn", "--help"], capture_output=True, text=True)
    for word in ("train", "sample", "score", "doctor", "grade", "Exit codes", "minirnn train book.txt --out run"):
        assert word in " ".join(run.stdout.split())


@pytest.mark.parametrize("command", ["train", "sample", "score", "doctor", "grade"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and len(capsys.readouterr().out) > 300


def test_a_mistake_of_ours_is_1_with_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(minirnn, "load_model", lambda path: 1 / 0)
    assert main(["sample", "run"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "please report it" in err


def test_a_closed_pipe_ends_it_as_it_ends_any_tool(tmp_path, text_file):
    assert train(tmp_path / "run", *SMALL, "--steps", 10, text=text_file) == 0
    command = f"{sys.executable} -m minirnn sample {tmp_path / 'run'} --length 5000 | head -c 10"
    run = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=os.environ)
    assert run.returncode == 141 and len(run.stdout) == 10 and run.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_help_that_is_lost_is_an_error(monkeypatch, capsys, arguments):
    with pytest.MonkeyPatch.context() as patch, Path("/dev/full").open("w") as full:
        patch.setattr(sys, "stdout", full)
        patch.setattr(os, "dup2", lambda *_: None)
        assert main(arguments) == 2
        patch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert capsys.readouterr().err == "minirnn: cannot write the output: No space left on device\n"


def test_the_folder_is_untouched_if_the_text_is_bad(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfd abc")
    assert train(tmp_path / "run", text=tmp_path / "bad.txt") == 2
    assert not Path(tmp_path / "run").exists()


# --- the parts of a run -------------------------------------------------------------------------------

IDS = VOCAB.encode(TEXT)
ODD = Settings(
    cell="lstm", hidden_size=5, layers=2, embedding_size=5, dropout=0.3, tie_weights=True, optimizer="rmsprop",
    decay=0.8, learning_rate=0.03, clip_norm=0.7, clip_value=0.2, reduction="sum", batch_size=3, seq_length=7,
    steps=None, epochs=2, seed=9, smoothing=0.9,
)  # fmt: skip


def test_a_short_run_does_not_warm_up_in_a_hurry():
    """Adagrad's rate that rises too fast saturates a tanh network, which then does not learn in the steps it has."""
    preset = Settings(warmup=1000, schedule="constant")
    for steps, warmup in ((400, 200), (1000, 200), (3000, 500), (6000, 1000), (60_000, 1000)):
        factors = build.make_schedule(preset, steps, 99)
        assert factors(0) == pytest.approx(1 / warmup) and factors(warmup - 2) < 1 == factors(warmup - 1)


def test_every_setting_arrives():
    trainer, steps = build.make_trainer(IDS, len(VOCAB), ODD)
    assert trainer.model.config == ModelConfig("lstm", len(VOCAB), 5, 2, 5, 0.3, True)
    assert isinstance(trainer.optimizer, OPTIMIZERS["rmsprop"]) and trainer.learning_rate == 0.03
    assert trainer.optimizer.decay == 0.8
    adam, _ = build.make_trainer(IDS, len(VOCAB), replace(ODD, optimizer="adam", decay=None, beta1=0.5, beta2=0.6))
    assert (adam.optimizer.beta1, adam.optimizer.beta2) == (0.5, 0.6)
    assert (trainer.clip_norm, trainer.clip_value, trainer.x.shape[1:]) == (0.7, 0.2, (7, 3))
    assert (trainer.reduction, trainer.smoothing) == ("sum", 0.9)
    assert steps == 2 * trainer.batches_per_epoch
    assert (trainer.schedule(0), trainer.schedule(steps)) == (1, 0)
    rng = np.random.default_rng(9)
    model = LanguageModel.init(trainer.model.config, rng)
    assert all((p == trainer.model.params[name]).all() for name, p in model.params.items())
    assert trainer.rng.bit_generator.state == rng.bit_generator.state


def test_validation_begins_where_training_ends():
    train_ids, valid_ids = run.split(np.arange(30), 0.5)
    assert train_ids[-1] + 1 == valid_ids[0] == 15 and valid_ids[-1] == 29


@pytest.mark.parametrize(
    ("history", "names"),
    [
        ([(1, 2.0), (2, 1.0)], ["best.npz", "last.npz"]),
        ([(1, 1.0), (2, 2.0)], ["last.npz"]),
        ([(1, 1.0)], ["last.npz"]),  # stopped between two evaluations
        ([], ["last.npz"]),
    ],
)
def test_best_is_kept_only_for_the_best_and_before_last(tmp_path, text_file, monkeypatch, history, names):
    saved = []
    made = folder.begin(tmp_path / "run", [[text_file]], ODD)
    monkeypatch.setattr(run, "save_checkpoint", lambda path, *_: saved.append(path.name))
    made.trainer.step = 2
    made.history += [{"step": step, "valid": valid} for step, valid in history]
    made.keep()
    assert saved == names


def test_every_evaluation_is_kept(tmp_path, text_file, monkeypatch):
    kept = []
    monkeypatch.setattr(run.Run, "keep", lambda made: kept.append(made.trainer.step))
    monkeypatch.setattr(run.Run, "finish", lambda made: 0)
    assert train(tmp_path / "run", *SMALL, "--steps", 25, text=text_file) == 0
    assert kept == [0, 10, 20, 25]


def test_the_sample_is_of_the_best_model_with_the_seed(tmp_path, text_file, monkeypatch):
    drawn = {}

    def spy(model, vocab, seed, **options):
        drawn.update(model=model, seed=seed)
        return minirnn.sample(model, vocab, seed, **options)

    monkeypatch.setattr(run, "sample", spy)
    options = ["--learning-rate", 0.5, "--clip-norm", 0, "--patience", 2, "--steps", 2000, "--seed", 6]
    assert train(tmp_path / "run", *SMALL, *options, text=text_file) == 0
    best, last = (load_checkpoint(tmp_path / "run" / name) for name in ("best.npz", "last.npz"))
    assert best.training["step"] < last.training["step"] and drawn["seed"] == 6
    assert all((p == drawn["model"].params[name]).all() for name, p in best.model.params.items())


def test_a_restored_trainer_shares_nothing():
    one, other = (build.make_trainer(IDS, len(VOCAB), ODD)[0] for _ in range(2))
    list(one.steps(3))
    restore(other, *snapshot(one))
    before = {name: array.copy() for name, array in snapshot(one)[0].items()}
    list(other.steps(3))
    assert all((before[name] == array).all() for name, array in snapshot(one)[0].items())


def test_steps_asked_for_later_count_more_than_epochs_asked_for_first(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", *SMALL, "--epochs", 1, text=text_file) == 0
    assert train(tmp_path / "run", "--resume", "--steps", 40) == 0
    assert "of 40" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "last.npz").training["step"] == 40


def test_a_run_that_is_killed_before_its_first_evaluation_can_be_resumed(tmp_path, text_file):
    command = [sys.executable, "-m", "minirnn", "train", text_file, "--out", tmp_path / "run", "--batch-size", "4"]
    with subprocess.Popen(
        [*command, "--report-every", "100000", "--steps", "100000"], stdout=subprocess.PIPE
    ) as process:
        for line in process.stdout:
            if line.startswith(b"text: "):
                break
        process.kill()
    assert load_checkpoint(tmp_path / "run" / "last.npz").training["step"] == 0
    assert train(tmp_path / "run", "--resume", "--steps", 3) == 0


def test_whole_fields_are_left_out_where_a_line_is_too_long(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    full = "step 3/100  loss 2.500  valid 1.750  perplexity 5.75  1:15 left  accuracy 0.500"
    full += "  1,234 words/s  epoch 0.30"
    for columns in (1, 39, 60, 80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        Progress(terminal, "word", 100).show(report(3), {"valid": 1.75, "accuracy": 0.5}, True)
        line = terminal.text.strip("\r\n").replace("\033[K", "")
        assert len(line) < columns or line == "step 3/100"
        assert full.startswith(line) and (full + "  ")[len(line) :].startswith("  ")  # no field is cut
        assert len(line) > columns - 25 or line == full  # and none too many left out


def test_nothing_but_the_length_of_a_run_may_change(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", *SMALL, "--steps", 10, text=text_file) == 0
    for name, value in (("seed", 2), ("batch-size", 2), ("dropout", 0.1), ("valid", 0.2)):
        assert train(tmp_path / "run", "--resume", f"--{name}", value) == 2
        assert f"--{name} cannot change" in capsys.readouterr().err


def test_tied_weights_need_no_size_of_the_embedding(tmp_path, text_file):
    assert train(tmp_path / "run", *SMALL, "--tie-weights", "--steps", 3, text=text_file) == 0
    config = load_checkpoint(tmp_path / "run" / "last.npz").model.config
    assert config.tie_weights and config.embedding_size == config.hidden_size == 8


def test_whoever_stops_reading_stops_the_run_and_is_told(tmp_path, text_file):
    arguments = f"train {text_file} --out {tmp_path / 'run'} --batch-size 4 --report-every 5 --steps 5000"
    command = f"{sys.executable} -m minirnn {arguments} | head -n 3 > /dev/null"
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert ended.returncode == 130 and "nobody reads the output any more: stopped; --resume goes on" in ended.stderr


def test_without_any_output_it_trains_too(tmp_path, text_file):
    arguments = f"train {text_file} --out {tmp_path / 'run'} --batch-size 4 --hidden 8 --steps 5"
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m minirnn {arguments} >&-"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


# --- runs that explain themselves ---------------------------------------------------------------------


def test_a_run_that_only_memorizes_is_stopped_and_it_is_said(tmp_path, capsys):
    text = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    text.write_text("".join(rng.choice(list("abcdefgh"), 400)))  # there is nothing to learn but the text itself
    options = ["--hidden", 64, "--batch-size", 2, "--seq-length", 10, "--report-every", 10, "--steps", 5000]
    assert train(tmp_path / "run", *options, "--schedule", "constant", text=text) == 0
    out = capsys.readouterr().out
    assert "stopped early: no better validation loss in 5 evaluations; --patience 0 never stops" in out
    rows = [row for row in load_checkpoint(tmp_path / "run" / "last.npz").history if "valid" in row]
    best = min(rows, key=lambda row: row["valid"])
    assert best is rows[-6] and rows[-1]["loss"] < best["loss"]
    assert f"best at step {best['step']}; after that it only memorized: validation {best['valid']:.3f} to" in out
    assert train(tmp_path / "all", *options[:-1], 150, "--patience", 0, text=text) == 0
    assert "stopped early" not in capsys.readouterr().out


def test_a_short_text_takes_fewer_steps_unless_they_are_asked_for(tmp_path, text_file, monkeypatch, capsys):
    monkeypatch.setattr(run.Run, "over", lambda made, report: True)
    assert train(tmp_path / "a", *SMALL[:-2], text=text_file) == 0  # an epoch is 25 steps
    assert "steps: 500, for 20 passes through a text of this length; --steps N changes it" in capsys.readouterr().out
    assert train(tmp_path / "b", *SMALL[:-2], "--steps", 700, text=text_file) == 0
    assert "passes through" not in capsys.readouterr().out
    made = folder.begin(tmp_path / "c", [[text_file]], replace(Settings(), hidden_size=8, batch_size=4, seq_length=10))
    assert (made.total, made.report_every, made.sample_every) == (500, 31, 125)  # as often as in 4,000 steps


def test_the_loss_curve_has_a_point_every_two_hundredth_of_the_run(tmp_path, text_file, without_pictures):
    options = ["--hidden", 4, "--batch-size", 4, "--seq-length", 10, "--report-every", 500, "--steps", 1000]
    assert train(tmp_path / "run", *options, text=text_file) == 0
    ((*_, history),) = [without_pictures]
    steps = [row["step"] for row in history]
    assert steps == [*range(0, 1001, 5)] and history[0]["loss"] == pytest.approx(np.log(len(VOCAB)))


def test_a_run_shows_a_sample_now_and_then(tmp_path, text_file, capsys):
    assert train(tmp_path / "run", *SMALL, "--steps", 30, "--sample-every", 10, text=text_file) == 0
    out = capsys.readouterr().out
    assert [f"sample at step {step}" in out for step in (10, 20, 30)] == [True, True, False]
    assert train(tmp_path / "other", *SMALL, "--steps", 30, "--sample-every", 0, text=text_file) == 0
    assert "sample at step" not in capsys.readouterr().out


def test_parameters_are_counted_as_they_are():
    for cell in CELLS:
        for layers, embedding, tie in ((1, None, False), (3, None, False), (2, 7, False), (2, 6, True)):
            settings = replace(
                Settings(), cell=cell, layers=layers, hidden_size=6, embedding_size=embedding, tie_weights=tie
            )
            model = build.make_model(30, settings, np.random.default_rng(0))
            assert build.parameters(30, settings) == pytest.approx(model.size, rel=0.03)


@pytest.fixture
def started_anew(monkeypatch):
    """What the program would be replaced by, with which environment; and a user who has set nothing."""
    calls = []
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MINIRNN_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append((path, os.environ["OPENBLAS_NUM_THREADS"])))
    monkeypatch.setattr(build, "idle_processors", lambda: 5)
    return calls


LARGE = Settings(hidden_size=512, layers=3)


@pytest.mark.parametrize(
    ("settings", "idle", "wish", "began", "threads"),
    [
        (Settings(), 5, None, None, 2), (Settings(), 1, None, None, 1), (Settings(), 0, None, None, 1),
        (Settings(), 5, 3, None, 3), (LARGE, 5, None, None, 5), (LARGE, 0, None, None, 1), (LARGE, 5, 2, 7, 2),
        (LARGE, 5, None, 7, 7),
    ],
)  # fmt: skip
def test_threads_are_chosen_before_numpy_is_loaded(
    started_anew, monkeypatch, settings, idle, wish, began, threads, capsys
):
    monkeypatch.setattr(build, "idle_processors", lambda: idle)
    build.choose_threads(settings, wish, True, began)
    assert started_anew == [(sys.executable, str(threads))]
    build.choose_threads(settings, wish, True, began)  # the new program
    assert len(started_anew) == 1
    out = capsys.readouterr().out
    assert f"threads: {threads}, " in out and out.endswith("; --threads N changes it\n")


def test_idle_processors_are_those_that_have_nothing_to_do(monkeypatch):
    times = iter([[10, 0, 5, 100, 0, 0, 0, 0], [20, 5, 10, 115, 5, 0, 0, 0]])  # 20 of 40 ticks
    monkeypatch.setattr(build, "processor_times", lambda: next(times))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert build.idle_processors() == 4
    monkeypatch.setattr(build, "processor_times", lambda: [1])
    monkeypatch.setattr(os, "getloadavg", lambda: (3.2, 1.0, 1.0))
    assert build.idle_processors() == 5


def test_a_run_goes_on_with_the_threads_it_began_with(tmp_path, text_file, monkeypatch, started_anew, capsys):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert train(tmp_path / "run", *SMALL, "--steps", 5, text=text_file) == 0
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setattr(sys, "argv", ["minirnn", "train", "--resume", "--out", str(tmp_path / "run")])
    assert main() == 0
    assert started_anew == [(sys.executable, "2")]


def test_what_the_user_has_set_wins(started_anew, monkeypatch, capsys):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    build.choose_threads(Settings(), 5, as_program=True)
    assert not started_anew and capsys.readouterr().out == "threads: 2, as OPENBLAS_NUM_THREADS says\n"


def test_a_library_is_not_started_anew(started_anew):
    build.choose_threads(Settings(), 5, as_program=False)
    assert not started_anew


def test_the_command_and_the_example_choose_threads(tmp_path, text_file):
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    example = [ROOT / "examples/char_shakespeare.py", "--text", text_file, "--threads", "2"]
    for command, said in (
        (["-m", "minirnn", "train", text_file], r"[12], \d+ proc"),
        (example, "2, as --"),
    ):
        command = [sys.executable, *command, "--out", tmp_path / said[0]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as started:
            assert re.match(f"threads: {said}", started.stdout.readline())
            started.kill()


PROGRAMS = [["-m", "minirnn", "info", "x"], *([f"examples/{name}.py"] for name in (
    "char_shakespeare", "who_said_it", "word_ptb"))]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda words: words[-1])
def test_control_c_while_numpy_is_loaded_ends_a_program_without_a_word(tmp_path, program):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("import os; os.kill(os.getpid(), 2)")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ended = subprocess.run([sys.executable, *program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGINT and ended.stderr == ended.stdout == ""


def test_a_program_that_imports_minirnn_keeps_its_ctrl_c(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("import minirnn")
    (tmp_path / "theirs" / "__main__.py").write_text("import signal; print(signal.getsignal(signal.SIGINT).__name__)")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ran = subprocess.run([sys.executable, "-m", "theirs", "minirnn"], env=environment, capture_output=True, text=True)
    assert ran.stdout == "default_int_handler\n", ran.stderr


def test_control_c_during_imports_is_no_mistake(monkeypatch, capsys):
    import minirnn_start

    class Slow:
        def find_spec(self, name, *_):
            if name == "minirnn.commands.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "minirnn.commands.cli")
    monkeypatch.delattr(minirnn.commands, "cli")
    monkeypatch.setattr(sys, "meta_path", [Slow(), *sys.meta_path])
    assert minirnn_start.main() == 130
    assert capsys.readouterr().err == "minirnn: interrupted\n"
