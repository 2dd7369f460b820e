"""``minirnn sample``, ``score`` and ``doctor``."""

import csv
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT

import minirnn
from minirnn import LanguageModel, ModelConfig, Vocabulary, save_model
from minirnn.commands import doctor
from minirnn.commands.cli import main
from minirnn.commands.score import surprisals
from minirnn.commands.settings import Settings

VOCAB = Vocabulary.from_chars(TEXT)


@pytest.fixture
def model(tmp_path):
    model = LanguageModel.init(ModelConfig("gru", len(VOCAB), 8), 0)
    save_model(tmp_path / "model.npz", model, VOCAB)
    return model


def output(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


# --- sample -------------------------------------------------------------------------------------------


def test_samples_are_those_of_the_library(tmp_path, model, capsys):
    out = output(capsys, "sample", tmp_path, "--length", 30, "--prime", "The ", "--seed", 5, "--temperature", 0.5)
    assert out == "The " + "".join(minirnn.sample(model, VOCAB, 5, "The ", 30, 0.5)) + "\n"
    out = output(
        capsys, "sample", tmp_path / "model.npz", "--length", 30, "--top-k", 3, "--top-p", 0.9, "--temperature", 1
    )
    assert out == "".join(minirnn.sample(model, VOCAB, 0, "", 30, 1.0, 3, 0.9)) + "\n"


def test_several_samples_are_different_and_a_stop_string_ends_each(tmp_path, model, capsys):
    out = output(capsys, "sample", tmp_path, "--length", 200, "--count", 3, "--stop", "e")
    samples = [part.split("\n", 1)[1].removesuffix("\n") for part in out.split("----- ")[1:]]
    assert len(set(samples)) == 3 and all(sample.index("e") == len(sample) - 1 for sample in samples)
    columns = zip(*minirnn.sample(model, VOCAB, 0, "", 200, 0.8, None, None, "e", 3), strict=True)
    assert samples == ["".join(column) for column in columns]
    assert output(capsys, "sample", tmp_path, "--length", 0, "--count", 2) == "----- 1 -----\n\n----- 2 -----\n\n"


def test_words_are_shown_with_spaces_between(tmp_path, capsys):
    vocab = Vocabulary.from_words("one two\nthree\n")
    model = LanguageModel.init(ModelConfig("rnn", len(vocab), 4), 0)
    save_model(tmp_path / "model.npz", model, vocab)
    out = output(capsys, "sample", tmp_path, "--length", 40, "--temperature", 2)
    expected = vocab.join(minirnn.sample(model, vocab, 0, "", 40, 2.0))
    assert out.rstrip("\n") == expected.rstrip("\n") and " \n" not in out


# --- score --------------------------------------------------------------------------------------------


def test_the_score_is_the_loss_of_the_text(tmp_path, model, capsys):
    text = TEXT[:700]  # more than one stretch of steps
    (tmp_path / "text.txt").write_text(text)
    out = output(capsys, "score", tmp_path, tmp_path / "text.txt")
    ids = VOCAB.encode(text)
    nats = minirnn.evaluate(model, ids, batch_size=1, seq_length=50)[0]
    said = [float(word) for word in re.findall(r"[\d.]+\d", out)]
    assert said == pytest.approx([699, nats, nats / math.log(2), math.exp(nats)], rel=1e-4)
    assert re.fullmatch(r"699 characters: \S+ nats, \S+ bits per character, perplexity \S+\n", out)
    every = surprisals(model, ids)
    logits, _ = model.logits(ids[:-1, None], model.zero_state(1))
    p = np.exp(logits[:, :, 0]) / np.exp(logits[:, :, 0]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(every, -np.log(p[np.arange(699), ids[1:]]), rtol=1e-4)


def test_every_token_goes_to_a_table(tmp_path, model, capsys):
    (tmp_path / "text.txt").write_text("To the\nsea")
    output(capsys, "score", tmp_path, tmp_path / "text.txt", "--csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "".join(row["token"] for row in rows) == "To the\nsea"
    assert rows[0]["nats"] == "" and [int(row["position"]) for row in rows] == list(range(10))
    np.testing.assert_allclose(
        [float(r["nats"]) for r in rows[1:]], surprisals(model, VOCAB.encode("To the\nsea")), atol=1e-6
    )


def test_colours_come_only_where_they_are_wanted(tmp_path, model, capsys, monkeypatch):
    (tmp_path / "text.txt").write_text("To the sea")
    assert "\033" not in output(capsys, "score", tmp_path, tmp_path / "text.txt")
    out = output(capsys, "score", tmp_path, tmp_path / "text.txt", "--color", "always")
    assert out.startswith("T\033[") and "nats per token: " in out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\033" in output(capsys, "score", tmp_path, tmp_path / "text.txt")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in output(capsys, "score", tmp_path, tmp_path / "text.txt")


def test_one_token_cannot_be_scored(model):
    with pytest.raises(ValueError, match="at least 2 tokens"):
        surprisals(model, np.array([1]))


# --- doctor -------------------------------------------------------------------------------------------


@pytest.fixture
def trials(monkeypatch):
    """A machine with AVX-512 where OpenBLAS has picked kernels without; and milliseconds for each choice, in turn."""
    milliseconds = {}

    def run_trial(choice):
        times = milliseconds[" ".join(choice) or "now"]
        return {"small": 1.0, "large": times.pop(0)}

    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr(doctor, "run_trial", run_trial)
    monkeypatch.setattr(doctor, "kernels", lambda: "Haswell")
    monkeypatch.setattr(doctor, "has_avx512", lambda: True)
    return milliseconds


def test_the_doctor_looks_at_a_text_and_at_the_machine(tmp_path, trials, capsys):
    trials |= {"now": [50, 52, 51], "OPENBLAS_NUM_THREADS": [20, 20, 90], "OPENBLAS_CORETYPE": [26, 25, 24]}
    (tmp_path / "text.txt").write_bytes((TEXT * 3 + "schön é").encode("cp1252"))
    out = output(capsys, "doctor", tmp_path / "text.txt")
    assert "bytes of cp1252" in out and "advice: train with --encoding cp1252" in out
    assert "suggested: --cell gru --hidden-size 64 " in out and "MiB" in out and "'é'" in out
    assert "more parameters than characters" in out
    assert "BLAS:" in out and "trial, large model, as it is now: 50.00 52.00 51.00 ms a step" in out
    assert "NUM_THREADS=1 would" not in out and out.count("advice: a ") == 0  # once it was slower: nothing is clear
    trials |= {"now": [50, 52, 51], "OPENBLAS_NUM_THREADS": [80, 80, 90], "OPENBLAS_CORETYPE": [26, 25, 24]}
    out = output(capsys, "doctor")
    assert "advice: a large model ran 2.0 times as fast with OPENBLAS_CORETYPE=SkylakeX, here and now" in out
    assert "small model ran" not in out


def test_the_doctor_calls_no_noise_a_gain(trials, capsys):
    for threads in ([46, 45, 47], [20, 30, 60], [20, 50, 20]):  # small, mixed, not always
        trials |= {"now": [50, 52, 40], "OPENBLAS_NUM_THREADS": threads, "OPENBLAS_CORETYPE": [50, 52, 51]}
        assert "advice: leave the settings of BLAS as they are" in output(capsys, "doctor")


@pytest.mark.parametrize("kernels", ["SkylakeX", "Cooperlake", "SapphireRapids", ""])
def test_the_doctor_does_not_propose_what_is_in_use(trials, monkeypatch, kernels, capsys):
    monkeypatch.setattr(doctor, "kernels", lambda: kernels)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    trials |= {"now": [50, 50, 50]}  # any other choice would be a KeyError
    assert "advice: leave the settings" in output(capsys, "doctor")


def test_the_suggested_settings_train(tmp_path, capsys):
    for length in (60, 400, 3000):
        (tmp_path / "text.txt").write_text((TEXT * 3)[:length])
        out = "\n".join(doctor.examine_text(str(tmp_path / "text.txt"), Settings()))
        options = out.split("suggested: ")[1].split("\n")[0].split()
        arguments = [
            "train",
            str(tmp_path / "text.txt"),
            "--out",
            str(tmp_path / str(length)),
            *options,
            "--steps",
            "3",
        ]
        assert main(arguments) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain", "utf-8"),
        ("schön".encode(), "utf-8"),
        ("schön".encode("utf-16"), "utf-16"),
        ("schön".encode("cp1252"), "cp1252"),
        (b"\x81\x8d", "latin-1"),
    ],
)
def test_encodings_are_guessed(tmp_path, data, encoding):
    (tmp_path / "text.txt").write_bytes(data)
    assert doctor.guess_encoding(str(tmp_path / "text.txt")) == encoding


def test_a_trial_measures_something():
    times = doctor.run_trial({"OPENBLAS_NUM_THREADS": "1"})
    assert set(times) == {"small", "large"} and 0 < times["small"] < times["large"]


def test_what_is_not_known_is_not_said(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.np, "__file__", str(tmp_path / "numpy" / "__init__.py"))
    assert doctor.kernels() == ""


# --- several runs, unknown characters, other places ---------------------------------------------------


def test_several_runs_draw_side_by_side_with_one_seed(tmp_path, model, capsys):
    other = LanguageModel.init(ModelConfig("rnn", len(VOCAB), 8), 1)
    save_model(tmp_path / "other.npz", other, VOCAB)
    names = [tmp_path / "model.npz", tmp_path / "other.npz"]
    out = output(capsys, "sample", *names, "--length", 20, "--seed", 3, "--prime", "The")
    expected = [f"----- {name} -----\nThe" + "".join(minirnn.sample(m, VOCAB, 3, "The", 20, 0.8)) + "\n"
                for name, m in zip(names, (model, other), strict=True)]  # fmt: skip
    assert out == "".join(expected)
    assert main(["sample", *map(str, names), "--prime", "~"]) == 2
    assert capsys.readouterr().out == ""  # nothing is printed before all is known to be right


@pytest.fixture
def strange(tmp_path):
    """A text with three characters that the model never saw."""
    (tmp_path / "text.txt").write_text("To éthe seaü, ü\n")
    return tmp_path / "text.txt"


def test_characters_the_model_never_saw_are_refused_and_counted(tmp_path, model, strange, capsys):
    assert main(["score", str(tmp_path), str(strange)]) == 2
    err = capsys.readouterr().err
    assert (
        "3 of 16 characters are not in the vocabulary of 24 chars: 'é', 'ü'; leave them out with --unknown skip" in err
    )


def test_characters_the_model_never_saw_are_left_out_or_priced(tmp_path, model, strange, capsys):
    nats = surprisals(model, VOCAB.encode("To the sea, \n"))
    out = output(capsys, "score", tmp_path, strange, "--unknown", "skip")
    assert "3 characters that the model never saw" in out
    assert float(re.search(r"^12 characters: ([\d.]+) nats", out, re.MULTILINE)[1]) == pytest.approx(
        nats.mean(), abs=2e-4
    )
    out = output(capsys, "score", tmp_path, strange, "--unknown", "price", "--csv", tmp_path / "out.csv")
    priced = (nats.sum() + 3 * math.log(25)) / 15
    assert float(re.search(r"^15 characters: ([\d.]+) nats", out, re.MULTILINE)[1]) == pytest.approx(priced, abs=2e-4)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "".join(row["token"] for row in rows) == "To éthe seaü, ü\n"
    assert [float(row["nats"]) for row in rows if row["token"] in "éü"] == pytest.approx([math.log(25)] * 3, abs=1e-6)


def test_words_that_are_unk_are_counted(tmp_path, capsys):
    vocab = Vocabulary(["the", "<eos>", "<unk>"], "words")
    save_model(tmp_path / "model.npz", LanguageModel.init(ModelConfig("rnn", 3, 4), 0), vocab)
    (tmp_path / "text.txt").write_text("the sea the sky the\n")
    out = output(capsys, "score", tmp_path, tmp_path / "text.txt")
    assert out.startswith("2 words that the model never saw, taken for <unk>\n5 words: ")


def test_texts_may_stand_on_both_sides_of_the_options(tmp_path, without_pictures, capsys):
    for name in "abc":
        (tmp_path / name).write_text(f"{name} is one, ")
    options = ["--batch-size", 1, "--seq-length", 5, "--steps", 2, "--valid", 0]
    output(capsys, "train", tmp_path / "a", "--out", tmp_path / "run", *options, tmp_path / "b", tmp_path / "c")
    assert minirnn.load_model(tmp_path / "run" / "last.npz")[1].tokens == sorted(set("a is one, b is one, c is one, "))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full_is_one_sentence(tmp_path, model):
    for arguments in (["sample", tmp_path], ["info", tmp_path]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "minirnn", *map(str, arguments)]
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert ended.returncode == 2
        assert ended.stderr == "minirnn: cannot write the output: No space left on device\n"


def test_a_prime_under_a_posix_locale(tmp_path):
    vocab = Vocabulary.from_chars("éa\n")
    save_model(tmp_path / "model.npz", LanguageModel.init(ModelConfig("rnn", 3, 4), 0), vocab)
    environment = os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "minirnn", "sample", tmp_path, "--prime", "é", "--length", "3"]
    ended = subprocess.run(command, capture_output=True, env=environment)
    assert ended.returncode == 0 and ended.stderr == b""
