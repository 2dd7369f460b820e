"""The word model and the speaker classifier from their command lines."""

import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import who_said_it
import word_ptb

import minirnn

PNG = b"\x89PNG\r\n\x1a\n"
LINES = " the cat sat on the mat \n a dog sat by <unk> door \n the dog saw a cat \n"


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
    for part, times in (("train", 60), ("valid", 20), ("test", 20)):
        (folder / f"ptb.{part}.txt").write_text(LINES * times)
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """The published configurations with layers small enough for a test."""
    for name, setup in word_ptb.MODELS.items():
        monkeypatch.setitem(word_ptb.MODELS, name, setup | {"hidden": 8, "seq_length": 5})


@pytest.mark.parametrize("model", word_ptb.MODELS)
def test_each_configuration_trains_and_scores(treebank, tiny, tmp_path, capsys, model):
    assert word_ptb.main(["--data_path", str(treebank), "--model", model, "--epochs", "6"]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^epoch +(\d)\.00  rate ([\d.]+)  train +([\d.]+)  valid +([\d.]+)", out, re.MULTILINE)
    assert [row[0] for row in rows] == list("123456")
    assert float(rows[-1][2]) < float(rows[0][2])  # perplexity falls
    rate = 0.1 if model == "tanh" else 1.0
    assert float(rows[0][1]) == rate and (float(rows[-1][1]) < rate) == (model in ("small", "tanh"))
    best = min(float(row[3]) for row in rows)
    assert f"best valid perplexity {best:.2f}" in out and re.search(r"test perplexity [\d.]+", out)
    loaded, vocab = minirnn.load_model(tmp_path / f"runs/ptb-{model}/model.npz")
    assert "<eos>" in vocab.ids and loaded.config.embedding_size == 8


def test_the_published_numbers_are_the_defaults():
    small, medium, large = (word_ptb.MODELS[name] for name in ("small", "medium", "large"))
    assert [m["hidden"] for m in (small, medium, large)] == [200, 650, 1500]
    assert [m["seq_length"] for m in (small, medium, large)] == [20, 35, 35]
    assert [m["init"] for m in (small, medium, large)] == [0.1, 0.05, 0.04]
    assert [m["dropout"] for m in (small, medium, large)] == [0.0, 0.5, 0.65]
    assert [m["clip_norm"] for m in (small, medium, large)] == [5, 5, 10]
    assert [m["epochs"] for m in (small, medium, large)] == [13, 39, 55]
    assert [m["constant_epochs"] for m in (small, medium, large)] == [4, 6, 14]


def test_without_the_test_file_there_is_no_test_score(treebank, tiny, capsys):
    (treebank / "ptb.test.txt").unlink()
    assert word_ptb.main(["--data_path", str(treebank), "--epochs", "1"]) == 0
    assert "test perplexity" not in capsys.readouterr().out


def test_a_missing_file_is_named(treebank, capsys):
    (treebank / "ptb.valid.txt").unlink()
    assert word_ptb.main(["--data_path", str(treebank)]) == 2
    assert re.search(r"missing \S*ptb\.valid\.txt; --data_path must name a folder", capsys.readouterr().err)


def test_a_missing_file_is_named_also_where_the_environment_names_the_folder(treebank, monkeypatch, capsys):
    monkeypatch.setenv("MINIRNN_DATA", str(treebank))
    (treebank / "ptb.valid.txt").unlink()
    assert word_ptb.main([]) == 2
    assert re.search(r"missing \S*ptb\.valid\.txt; MINIRNN_DATA must name a folder", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        word_ptb.main(["--data_path", ""])
    assert "argument --data_path: must be the name of a file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("train", "a b c\n", r"ptb\.train\.txt is too short: --model small needs 101 words, got 4; take"),
        ("valid", "\n", r"ptb\.valid\.txt is too short: --model small needs 2 words, got 1; take"),
        ("test", " ", r"ptb\.test\.txt is too short: --model small needs 2 words, got 0; take"),
        ("test", b"\xff", r"ptb\.test\.txt is not utf-8 text: .*; it may be latin-1, cp1252 or utf-16\n"),
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

    monkeypatch.setattr(minirnn, "catch_interrupt", catch_interrupt)
    monkeypatch.setattr(minirnn.Trainer, "steps", steps)


def test_control_c_saves_and_scores_what_there_is(treebank, tiny, monkeypatch, capsys):
    interrupt_at(monkeypatch, 3)
    assert word_ptb.main(["--data_path", str(treebank)]) == 130
    out = capsys.readouterr().out
    assert "interrupted after step 3; the model is in runs/ptb-small/model.npz\n" in out
    assert "best valid perplexity" in out and "test perplexity" in out
    assert [path.name for path in Path("runs/ptb-small").iterdir()] == ["model.npz"]


def test_a_second_control_c_loses_nothing(treebank, tiny, monkeypatch, capsys):
    """Neither the model of the interrupted step, nor the best one of the epoch before, nor those of earlier runs."""
    evaluate, results = minirnn.evaluate, []

    def insist(*arguments):
        if not results:
            raise KeyboardInterrupt
        return results.pop()(*arguments)

    monkeypatch.setattr(minirnn, "evaluate", insist)
    folder, kept = Path("runs/ptb-small"), {}
    for validations, step, expected in ((0, 3, "model.npz"), (1, 20, "model.last.npz"), (1, 20, "model.last.npz")):
        results[:] = [evaluate] * validations
        with monkeypatch.context() as patch:
            interrupt_at(patch, step)
            assert word_ptb.main(["--data_path", str(treebank)]) == 130
        assert f"interrupted after step {step}; the model is in {folder / expected}" in capsys.readouterr().out
        minirnn.load_model(folder / "model.npz"), minirnn.load_model(folder / expected)
        now = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert set(kept.values()) <= set(now.values())
        kept = now
    assert sorted(kept) == [
        "model.last.npz", "model.last.previous.npz", "model.npz", "model.previous-2.npz", "model.previous.npz",
    ]  # fmt: skip


def test_perplexity_of_a_hopeless_model_is_infinite():
    assert word_ptb.perplexity(0.0) == 1 and word_ptb.perplexity(1e4) == float("inf")


def test_without_the_treebank_it_reads_what_the_character_example_reads(tiny, capsys):
    assert word_ptb.main(["--offline", "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "play.txt" in out and "no --data_path names the Penn Treebank" in out and "valid" in out


def test_data_path_may_come_from_the_environment(treebank, tiny, monkeypatch, capsys):
    monkeypatch.setenv("MINIRNN_DATA", str(treebank))
    assert word_ptb.main(["--epochs", "1"]) == 0
    assert f"the Penn Treebank in {treebank}" in capsys.readouterr().out


# --- who said it ------------------------------------------------------------------------------------

SCRIPT = "".join(f"ANNA:\nI love the sea number {i}.\n\nBERT:\nGive me bread, {i} loaves!\n\n" for i in range(30))


def test_it_tells_apart_who_speaks_of_what(tmp_path, capsys):
    (tmp_path / "script.txt").write_text("THE TITLE\n\nSCENE I. A quay.\n\n[Enter Anna.]\n\n" + SCRIPT)
    assert who_said_it.main(["--text", "script.txt", "--epochs", "12", "--hidden", "16", "--dropout", "0.2"]) == 0
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
        (SCRIPT, ["--learning-rate", "inf"], "learning_rate must be finite, got inf"),
        (SCRIPT, ["--learning-rate", "1e30"], r"training diverged at step \d+: .*; try a smaller --learning-rate$"),
    ],
)
def test_scripts_that_cannot_be_learned_are_named(tmp_path, capsys, text, arguments, message):
    (tmp_path / "script.txt").write_text(text)
    assert who_said_it.main(["--text", "script.txt", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


QUICK = ["--text", "script.txt", "--epochs", "1", "--hidden", "4"]


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
