"""The word model and the speaker classifier from their command lines."""

import math
import re
import sys
import threading
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import who_said_it
import word_ptb

import minirnn
from minirnn.commands import run
from minirnn.commands.cli import main
from minirnn.commands.presets import PRESETS
from minirnn.files.checkpoint import load_checkpoint

PNG = b"\x89PNG\r\n\x1a\n"
TREEBANK = {
    "train": " the cat sat on the mat \n a dog sat by <unk> door \n the dog saw a cat \n" * 60,
    "valid": " the mat sat on a cat \n a door saw \n" * 20,
    "test": " by the dog sat a <unk> zebra \n" * 20,
}
pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(autouse=True)
def an_empty_place(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIRNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["example.py"])
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def treebank(tmp_path):
    """A folder with files named as the Penn Treebank's."""
    folder = tmp_path / "data"
    folder.mkdir()
    for part, text in TREEBANK.items():
        (folder / f"ptb.{part}.txt").write_text(text)
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """The published configurations with layers small enough for a test."""
    for name in word_ptb.MODELS:
        small = replace(PRESETS[name], hidden_size=8, embedding_size=8, seq_length=5)
        monkeypatch.setitem(PRESETS, name, small)


def history(folder):
    return load_checkpoint(Path(folder) / "last.npz").history


@pytest.mark.parametrize("model", word_ptb.MODELS)
def test_each_configuration_trains_and_scores(treebank, tiny, trainers, capsys, model):
    assert word_ptb.main(["--data_path", str(treebank), "--model", model, "--epochs", "6"]) == 0
    out = capsys.readouterr().out
    rows = [row for row in history(f"runs/ptb-{model}") if "valid" in row]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] < rows[0]["loss"]
    (trainer,), setup = trainers, PRESETS[model]
    rates = [setup.learning_rate * trainer.schedule(epoch * trainer.batches_per_epoch) for epoch in range(6)]
    fallen = [setup.epoch_decay ** max(0, epoch + 1 - setup.constant_epochs) for epoch in range(6)]
    assert rates == pytest.approx([setup.learning_rate * factor for factor in fallen])
    best = min(row["valid"] for row in rows)
    assert f"best validation loss: {best:.4f} nats, perplexity {math.exp(best):.2f}, at" in out
    assert re.search(r"test loss of that model: [\d.]+ nats, perplexity [\d.]+\n", out)
    loaded, vocab = minirnn.load_model(f"runs/ptb-{model}/best.npz")
    assert "<eos>" in vocab.ids and loaded.config.embedding_size == 8


def test_the_command_train_has_the_same_presets(treebank, tiny, capsys):
    assert word_ptb.main(["--data_path", str(treebank), "--epochs", "2"]) == 0
    said = capsys.readouterr().out
    options = ["--preset", "small", "--data-path", str(treebank), "--epochs", "2", "--out", "run"]
    assert main(["train", *options]) == 0
    example, command = load_checkpoint("runs/ptb-small/best.npz"), load_checkpoint("run/best.npz")
    assert example.history == command.history
    assert capsys.readouterr().out.split("test loss")[1] == said.split("test loss")[1]


@pytest.mark.parametrize("name", word_ptb.MODELS)
def test_the_trainer_gets_what_the_configuration_says(treebank, tiny, trainers, name):
    assert word_ptb.main(["--data_path", str(treebank), "--model", name, "--epochs", "1"]) == 0
    (trainer,), setup = trainers, PRESETS[name]
    assert (trainer.reduction, trainer.clip_norm, trainer.clip_value) == ("sum", setup.clip_norm, math.inf)
    assert trainer.x.shape[1:] == (5, 20)
    config = trainer.model.config
    assert (config.cell, config.layers, config.dropout) == (setup.cell, setup.layers, setup.dropout)
    for parameter, p in trainer.initial.items():
        if parameter.split(".")[-1].startswith("b"):
            assert not p.any(), parameter
        else:
            assert 0.8 * setup.init_uniform < abs(p).max() <= setup.init_uniform * (1 + 1e-6), parameter
            assert abs(p.mean()) < 0.2 * setup.init_uniform, parameter


def test_each_part_is_scored_on_its_own_text(treebank, tiny, capsys):
    assert word_ptb.main(["--data_path", str(treebank), "--epochs", "2", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    model, vocab = minirnn.load_model("runs/ptb-small/best.npz")
    assert set(vocab.tokens) == {*TREEBANK["train"].split(), "<eos>"}  # of the training text alone
    for printed, part in (("best validation loss", "valid"), ("test loss of that model", "test")):
        nats, _ = minirnn.evaluate(model, vocab.encode(TREEBANK[part]))
        assert f"{printed}: {nats:.4f} nats, perplexity {math.exp(nats):.2f}" in out
    assert vocab.join(minirnn.sample(model, vocab, 3, length=100, temperature=0.8)) in out


def test_the_best_model_is_kept_and_scored(treebank, tiny, monkeypatch, capsys):
    nats, seen = iter([1.5, 0.5, 1.0, 0.7]), []  # after three epochs, and of the test text

    def evaluate(model, *_, **__):
        seen.append(model.params["Why"].copy())
        return next(nats), 0.5

    monkeypatch.setattr(run, "evaluate", evaluate)
    assert word_ptb.main(["--data_path", str(treebank), "--epochs", "3"]) == 0
    out = capsys.readouterr().out
    assert "best validation loss: 0.5000 nats" in out and "test loss of that model: 0.7000 nats" in out
    best = minirnn.load_model("runs/ptb-small/best.npz")[0].params["Why"]
    assert [(Why == best).all() for Why in seen] == [False, True, False, True]


def test_the_seed_decides_the_weights(treebank, tiny, trainers):
    for seed in ("1", "1", "2"):
        assert word_ptb.main(["--data_path", str(treebank), "--epochs", "1", "--seed", seed]) == 0
    first, again, other = (trainer.initial["Why"] for trainer in trainers)
    assert (first == again).all() and (first != other).any()


def test_without_the_test_file_there_is_no_test_score(treebank, tiny, capsys):
    (treebank / "ptb.test.txt").unlink()
    assert word_ptb.main(["--data_path", str(treebank), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "test loss" not in out and "without ptb.test.txt" in out


def test_a_missing_file_is_named(treebank, monkeypatch, capsys):
    (treebank / "ptb.valid.txt").unlink()
    assert word_ptb.main(["--data_path", str(treebank)]) == 2
    assert re.search(r"missing \S*ptb\.valid\.txt; --data-path must name a folder", capsys.readouterr().err)
    monkeypatch.setenv("MINIRNN_DATA", str(treebank))
    assert word_ptb.main([]) == 2
    assert re.search(r"missing \S*ptb\.valid\.txt; MINIRNN_DATA must name a folder", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        word_ptb.main(["--data_path", ""])
    assert "--data-path/--data_path takes the name of a file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("train", "a b c\n", "4 tokens are too few to train on: a batch of B = 20 sequences x T = 5 steps needs"),
        ("valid", "\n", r"ptb\.valid\.txt: evaluation needs at least 2 tokens, one to read and one to predict, got 1"),
        ("test", " ", r"ptb\.test\.txt: evaluation needs at least 2 tokens, one to read and one to predict, got 0"),
        ("test", b"\xff", r"ptb\.test\.txt is not utf-8 text: .*; it may be latin-1, cp1252 or utf-16"),
    ],
)
def test_every_part_is_looked_at_before_training(treebank, tiny, capsys, part, text, message):
    Path("runs/ptb-small").mkdir(parents=True)
    Path("runs/ptb-small/model.npz").write_bytes(b"a model")
    (treebank / f"ptb.{part}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert word_ptb.main(["--data_path", str(treebank)]) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err) and "model:" not in captured.out
    assert [path.name for path in Path("runs/ptb-small").iterdir()] == ["model.npz"]


def interrupt_at(monkeypatch, step):
    """Ask as Ctrl-C does, while this step is taken."""
    asked, original = threading.Event(), minirnn.Trainer.steps

    @contextmanager
    def catch_interrupt():
        yield asked

    def steps(trainer, n):
        for report in original(trainer, n):
            if report.step == step:
                asked.set()
            yield report

    monkeypatch.setattr(run, "catch_interrupt", catch_interrupt)
    monkeypatch.setattr(minirnn.Trainer, "steps", steps)


def test_control_c_saves_what_there_is_and_it_can_go_on(treebank, tiny, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        assert word_ptb.main(["--data_path", str(treebank), "--epochs", "2"]) == 130
    go_on = "interrupted after step 3; go on with: minirnn train --resume --out runs/ptb-small\n"
    assert go_on in capsys.readouterr().out
    assert load_checkpoint("runs/ptb-small/last.npz").training["step"] == 3
    assert main(["train", "--resume", "--out", "runs/ptb-small"]) == 0
    assert word_ptb.main(["--data_path", str(treebank), "--epochs", "2", "--out", "whole"]) == 0
    assert history("runs/ptb-small") == history("whole")


def test_a_second_control_c_loses_nothing(treebank, tiny, monkeypatch, capsys):
    """Neither the model of the interrupted step, nor the best one of the epoch before, nor those of earlier runs."""
    evaluate, results = run.evaluate, []

    def insist(*arguments):
        if not results:
            raise KeyboardInterrupt
        return results.pop()(*arguments)

    monkeypatch.setattr(run, "evaluate", insist)
    kept = set()
    for validations, step in ((0, 11), (1, 22)):  # each epoch has eleven
        results[:] = [evaluate] * validations
        with monkeypatch.context() as patch:
            interrupt_at(patch, step)
            assert word_ptb.main(["--data_path", str(treebank)]) == 130
        now = {path.read_bytes() for path in Path("runs").rglob("*.npz")}
        assert kept < now
        kept = now
        assert load_checkpoint("runs/ptb-small/last.npz").training["step"] == step
        assert Path("runs/ptb-small/best.npz").exists() == (validations > 0)
    capsys.readouterr()


def test_without_the_treebank_it_reads_what_the_character_example_reads(tiny, capsys):
    assert word_ptb.main(["--offline", "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "play.txt" in out and "no --data-path names the Penn Treebank" in out and "to validate" in out


def test_without_the_treebank_the_end_of_the_text_validates(monkeypatch, tmp_path):
    """And the vocabulary is what the training text has twice, <eos> and <unk>."""
    train = "a a b b c\n" + "".join(f"once{i} a\n" for i in range(8))
    (tmp_path / "text").write_text(train + "the end\n")
    monkeypatch.setattr(word_ptb, "find_text", lambda *_, **__: (tmp_path / "text", "a text"))
    begun = []
    monkeypatch.setattr(word_ptb, "begin_anew", lambda *arguments: begun.append(
        (arguments[0], [Path(path).read_text() for (path,) in arguments[1]], arguments[2])
    ))  # fmt: skip
    monkeypatch.setattr(word_ptb, "train", lambda args: word_ptb.begin(args, PRESETS["small"]) or 0)
    assert word_ptb.main([]) == 0
    ((out, texts, settings),) = begun
    assert texts == [train, "the end\n"] and settings.max_vocab == len({"a", "b", "<eos>", "<unk>"})
    assert out == Path("runs/ptb-small")


def test_data_path_may_come_from_the_environment(treebank, tiny, monkeypatch, capsys):
    monkeypatch.setenv("MINIRNN_DATA", str(treebank))
    assert word_ptb.main(["--epochs", "1"]) == 0
    assert f"the Penn Treebank in {treebank}" in capsys.readouterr().out


# --- who said it ------------------------------------------------------------------------------------

SCRIPT = "".join(f"ANNA:\nI love the sea number {i}.\n\nBERT:\nGive me bread, {i} loaves!\n\n" for i in range(30))


def test_it_tells_apart_who_speaks_of_what(tmp_path, capsys):
    (tmp_path / "script.txt").write_text("THE TITLE\n\nSCENE I. A quay.\n\n[Enter Anna.]\n\n" + SCRIPT)
    assert who_said_it.main(["--text", "script.txt", "--epochs", "12", "--hidden-size", "16", "--dropout", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "data: 48 speeches to learn from, 12 to test, 2 speakers" in out
    assert "accuracy on unseen speeches 1.000; always naming the most frequent speaker 0.500" in out
    assert (tmp_path / "runs/who_said_it/confusion.png").read_bytes().startswith(PNG)


def test_on_the_play_it_beats_the_majority(capsys):
    assert who_said_it.main(["--offline", "--epochs", "8", "--names", "Marten", "Maude", "Quill"]) == 0
    found = re.search(r"unseen speeches ([\d.]+); .* speaker ([\d.]+)", capsys.readouterr().out)
    assert float(found[1]) > float(found[2]) + 0.1


def test_names_have_one_spelling():
    for name, spelled in [
        ("KING RICHARD III", "King Richard III"),
        ("king henry viii", "King Henry VIII"),
        ("Henry IV", "Henry IV"),
        ("O'BRIEN", "O'Brien"),
        ("ANNE-MARIE", "Anne-Marie"),
        ("DR. NÚÑEZ", "Dr. Núñez"),
        ("FRIAR'S BOY", "Friar's Boy"),
        ("First Citizen", "First Citizen"),
        ("VIVIAN", "Vivian"),
    ]:
        assert who_said_it.spell(name) == who_said_it.spell(spelled) == spelled
        assert who_said_it.find_speeches(f"{name.upper()}:\nYes.") == [(spelled, "yes .")]


def test_empty_speeches_are_passed_over():
    assert who_said_it.find_speeches("ANNA:\n   \n\nBERT:\n \nYes.\n\nand so:\nNo.") == []
    assert who_said_it.find_speeches("BERT:\nYes.\n\nANNA:\n \t") == [("Bert", "yes .")]


def test_speeches_are_found_between_blank_lines():
    script = "ACT I\n\nFirst Citizen:\nSpeak,\nspeak!\n\n[Exeunt.]\n\nALL:\nResolved.\n"
    assert who_said_it.find_speeches(script) == [("First Citizen", "speak , speak !"), ("All", "resolved .")]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("no script at all", [], r"found 0 speeches and 0 speaker\(s\) with 10 or more, but 2 are needed"),
        (
            SCRIPT,
            ["--names", "Anna", "Carl"],
            "Carl has 0 speeches, too few to learn from; those who speak most: Anna, Bert",
        ),
        (SCRIPT, ["--names", "Anna", "anna"], "--names needs at least two different names, got Anna$"),
        (SCRIPT, ["--names", "ANNA"], "--names needs at least two different names, got Anna$"),
        (SCRIPT, ["--learning-rate", "1e30"], r"training diverged at step \d+: .*; try a smaller --learning-rate$"),
    ],
)
def test_scripts_that_cannot_be_learned_are_named(tmp_path, capsys, text, arguments, message):
    (tmp_path / "script.txt").write_text(text)
    assert who_said_it.main(["--text", "script.txt", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


QUICK = ["--text", "script.txt", "--epochs", "1", "--hidden", "4"]  # the beginning of an option is enough


def test_an_earlier_model_is_none_of_its_business(tmp_path, capsys):
    (tmp_path / "script.txt").write_text(SCRIPT)
    (tmp_path / "model.npz").write_bytes(b"a model")
    assert who_said_it.main([*QUICK, "--out", "."]) == 0
    assert (tmp_path / "model.npz").read_bytes() == b"a model"


def test_results_are_said_before_the_picture_is_drawn(tmp_path, monkeypatch, capsys):
    (tmp_path / "script.txt").write_text(SCRIPT)
    (tmp_path / "run/confusion.png").mkdir(parents=True)
    assert who_said_it.main([*QUICK, "--out", "run"]) == 2
    captured = capsys.readouterr()
    assert "accuracy on unseen speeches" in captured.out
    assert captured.err == "example.py: cannot use run/confusion.png: Is a directory\n"

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(who_said_it, "plot_confusion", full_disk)
    assert who_said_it.main(QUICK) == 2
    assert "cannot use runs/who_said_it/confusion.png: No space left on device" in capsys.readouterr().err

    def control_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(who_said_it, "plot_confusion", control_c)
    assert who_said_it.main(QUICK) == 130
    assert "accuracy on unseen speeches" in capsys.readouterr().out


def test_a_large_cast_does_not_make_a_huge_picture(tmp_path, monkeypatch, capsys):
    cast = [f"{a}{b}" for a in "ABCDEFG" for b in "abcdefg"][:40]
    (tmp_path / "script.txt").write_text("".join(f"{name}:\nIt is {i} now.\n\n" for i in range(10) for name in cast))
    drawn = []
    monkeypatch.setattr(who_said_it, "plot_confusion", lambda counts, names, path: drawn.append((counts.shape, names)))
    assert who_said_it.main([*QUICK, "--speakers", "40"]) == 0
    ((shape, names),) = drawn
    assert shape == (30, 30) and len(names) == 30
    assert "confusion.png (the 30 who speak most)" in capsys.readouterr().out


# Anna speaks twice as often as Bert. Each speech has a word of its own, and those that are tested on a common one.
UNEVEN = "".join(
    f"{name}:\n{words}, {name}{i}{' secret' if i % 5 == 0 else ''}.\n\n"
    for name, words, speeches in (("ANNA", "I love the sea", 20), ("BERT", "Give me bread", 10))
    for i in range(speeches)
)


@pytest.fixture
def uneven(tmp_path):
    (tmp_path / "script.txt").write_text(UNEVEN)


@pytest.fixture
def batches(monkeypatch):
    """What the classifier is trained on: itself, ids, labels, lengths and the generator of its dropout masks."""
    seen, original = [], minirnn.SequenceClassifier.loss_and_grads

    def spy(model, x, labels, lengths, rng=None):
        seen.append((model, x, labels, lengths, rng))
        return original(model, x, labels, lengths, rng=rng)

    monkeypatch.setattr(minirnn.SequenceClassifier, "loss_and_grads", spy)
    return seen


def test_on_a_terminal_the_classifier_shows_how_far_it_is(uneven, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert who_said_it.main([*QUICK, "--epochs", "2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\rstep 1/2  loss \d\.\d+  0:0\d left  [\d,]+ words/s  epoch 1\.00\033\[K", out)
    assert "\r\033[Kepoch 1/2  loss " in out


def test_every_fifth_speech_of_each_is_kept_for_the_test():
    speeches = [("A", str(i)) for i in range(11)] + [("B", str(i)) for i in range(10)]
    train, test = who_said_it.split(speeches, ["A", "B"])
    assert test == [("A", "0"), ("A", "5"), ("A", "10"), ("B", "0"), ("B", "5")]
    assert sorted(train + test) == sorted(speeches)  # each in one of the two


def test_speakers_are_those_who_speak_most_in_that_order():
    counts = Counter(Dora=7, Bert=12, Carl=20, Anna=30)
    assert who_said_it.choose_speakers(counts, None, 10) == ["Anna", "Carl", "Bert"]
    assert who_said_it.choose_speakers(counts, None, 2) == ["Anna", "Carl"]
    assert who_said_it.choose_speakers(counts, ["Dora", "Anna"], 10) == ["Anna", "Dora"]
    equal = Counter(dict.fromkeys(["Zoe", "Anna", "Yan", "Bert", "Xaver", "Carl"], 12))
    assert who_said_it.choose_speakers(equal, None, 10) == list(equal)  # in every process: a set would shuffle them


def test_as_many_speakers_as_asked_for(tmp_path, capsys):
    (tmp_path / "script.txt").write_text(UNEVEN + UNEVEN.replace("ANNA", "CARL").replace("BERT", "DORA"))
    assert who_said_it.main([*QUICK, "--speakers", "2"]) == 0
    assert "data: 32 speeches to learn from, 8 to test, 2 speakers" in capsys.readouterr().out


def test_only_words_seen_twice_in_training_are_known(uneven, capsys):
    assert who_said_it.main(QUICK) == 0
    # i love the sea give me bread , . <unk>, but not secret
    assert "model: 1 x 4 lstm, 10 words" in capsys.readouterr().out


def test_guesses_are_counted_under_the_true_speaker(uneven, monkeypatch, capsys):
    """A model that always says Anna: rows are true speakers, and it is as good as the baseline."""
    counts = []
    monkeypatch.setattr(who_said_it, "plot_confusion", lambda confusion, *_: counts.extend(confusion.tolist()))
    monkeypatch.setattr(minirnn.SequenceClassifier, "predict", lambda _, x, lengths: np.zeros(len(lengths), int))
    assert who_said_it.main(QUICK) == 0
    assert counts == [[4, 0], [2, 0]]
    expected = "accuracy on unseen speeches 0.667; always naming the most frequent speaker 0.667"
    assert expected in capsys.readouterr().out


def test_a_speech_is_cut_after_its_first_words(uneven, batches):
    assert who_said_it.main([*QUICK, "--length", "1"]) == 0
    for _, x, labels, _, _ in batches:
        assert len(x) == 1
        anna, bert = (set(x[0][labels == label].tolist()) for label in (0, 1))
        assert len(anna) == len(bert) == 1 and anna != bert  # "i" and "give"


def test_speeches_are_shuffled_and_dropped_from(uneven, batches):
    assert who_said_it.main([*QUICK, "--epochs", "2"]) == 0  # of one batch each
    (model, _, first, _, rng), (_, _, second, _, _) = batches
    assert sorted(first) == sorted(second) == [0] * 16 + [1] * 8
    assert first.tolist() not in (sorted(first), second.tolist())
    assert rng is not None and model.config.dropout == 0.7


def test_the_rate_falls_but_the_last_epoch_still_learns(uneven, monkeypatch):
    rates, original = [], minirnn.Adam.step

    def spy(optimizer, params, grads):
        rates.append(optimizer.learning_rate)
        original(optimizer, params, grads)

    monkeypatch.setattr(minirnn.Adam, "step", spy)
    assert who_said_it.main([*QUICK, "--epochs", "2", "--learning-rate", "0.008"]) == 0
    assert rates == pytest.approx([0.008, 0.004])


def test_an_interrupt_ends_after_the_epoch(uneven, batches, monkeypatch):
    asked = threading.Event()
    asked.set()
    monkeypatch.setattr(minirnn, "catch_interrupt", lambda: nullcontext(asked))
    assert who_said_it.main([*QUICK, "--epochs", "9"]) == 130
    assert len(batches) == 1
