"""The word model and the speaker classifier from their command lines."""

import re
import sys

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
        (SCRIPT, ["--names", "Anna", "anna"], r"found 60 speeches and 1 speaker\(s\)"),
    ],
)
def test_scripts_that_cannot_be_learned_are_named(tmp_path, capsys, text, arguments, message):
    (tmp_path / "script.txt").write_text(text)
    assert who_said_it.main(["--text", "script.txt", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
