"""A model in a file: the same after loading, and never lost."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minirnn import LanguageModel, ModelConfig, SequenceClassifier, Vocabulary, load_model, save_model


@pytest.fixture
def model():
    return LanguageModel.init(ModelConfig("rnn", 5, 4, 2, embedding_size=3, dropout=0.1), 0)


VOCAB = Vocabulary.from_chars("\n'\"é言")


def test_a_loaded_model_is_the_saved_one(tmp_path, model):
    save_model(tmp_path / "model.npz", model, VOCAB)
    loaded, vocab = load_model(tmp_path / "model.npz")
    assert loaded.config == model.config and vocab.tokens == VOCAB.tokens and vocab.kind == "chars"
    assert list(loaded.params) == list(model.params)
    for name, p in model.params.items():
        assert loaded.params[name].dtype == np.float32 and (loaded.params[name] == p).all()
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_words_and_double_precision_stay_what_they_are(tmp_path):
    model = LanguageModel.init(ModelConfig("rnn", 3, 4), 0, np.float64)
    save_model(tmp_path / "model.npz", model, Vocabulary(["a", "b", "<eos>"], "words"))
    loaded, vocab = load_model(tmp_path / "model.npz")
    assert vocab.kind == "words" and loaded.dtype == np.float64
    assert all((loaded.params[name] == p).all() for name, p in model.params.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Why": np.ones((4, 4))}, r"Why must have shape \(5, 4\), got \(4, 4\)"),
        ({"extra": np.ones(1)}, "its parameters are not those of its configuration"),
    ],
)
def test_parameters_that_do_not_fit_the_configuration_are_refused(tmp_path, model, change, message):
    model.params |= change
    save_model(tmp_path / "model.npz", model, VOCAB)
    with pytest.raises(ValueError, match=rf"is not a model that minirnn can load: {message}"):
        load_model(tmp_path / "model.npz")


def test_plain_numpy_reads_it(tmp_path, model):
    save_model(tmp_path / "model.npz", model, VOCAB)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        assert about["version"] == 4 and about["config"]["hidden_size"] == 4
        assert (file["params/Why"] == model.params["Why"]).all()


def test_what_an_old_numpy_put_in_beside_is_passed_over(tmp_path, model):
    save_model(tmp_path / "model.npz", model, VOCAB)
    with zipfile.ZipFile(tmp_path / "model.npz", "a") as archive, archive.open("allow_pickle.npy", "w") as file:
        np.save(file, np.array(False))
    assert load_model(tmp_path / "model.npz")[1].tokens == VOCAB.tokens


def test_the_same_model_gives_the_same_bytes(tmp_path, model):
    for name in ("a", "b"):
        save_model(tmp_path / name, model, VOCAB)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_device_stays_what_it_is(model):
    with pytest.raises(ValueError, match="/dev/null is a device or a pipe, in whose place no file shall be put"):
        save_model("/dev/null", model, VOCAB)


def test_a_failed_save_leaves_the_old_model(tmp_path, model, monkeypatch):
    path = tmp_path / "model.npz"
    save_model(path, model, VOCAB)
    before = path.read_bytes()

    def full_disk(file, **_):
        file.write(b"the first bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*model\.npz'$") as caught:
        save_model(path, model, VOCAB)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_a_path_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, model):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, error in (("folder", IsADirectoryError), ("file/model", NotADirectoryError), ("no/x", FileNotFoundError)):
        with pytest.raises(error) as caught:
            save_model(tmp_path / name, model, VOCAB)
        assert caught.value.filename == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_what_could_not_be_loaded_is_not_saved(tmp_path, model):
    classifier = SequenceClassifier.init(model.config, 2, 0)
    with pytest.raises(ValueError, match=r"must be a LanguageModel, got a SequenceClassifier; np.savez can keep"):
        save_model(tmp_path / "model.npz", classifier, VOCAB)
    with pytest.raises(ValueError, match="the vocabulary has 2 tokens, the model was built for 5"):
        save_model(tmp_path / "model.npz", model, Vocabulary.from_chars("ab"))
    assert not list(tmp_path.iterdir())


def test_a_file_whose_sizes_do_not_fit_is_refused(tmp_path, model):
    path = tmp_path / "model.npz"
    save_model(path, model, VOCAB)
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about")))
    about["vocabulary"]["tokens"].pop()
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    with pytest.raises(ValueError, match="minirnn can load: the vocabulary has 4 tokens, the model was built for 5"):
        load_model(path)


def test_what_is_no_model_is_refused(tmp_path, model):
    path = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError):
        load_model(path)
    save_model(path, model, VOCAB)
    whole = path.read_bytes()
    later = {"format": "minirnn model", "version": 5}
    foreign = {"format": "something else", "version": 1}
    for write in [
        lambda: path.write_bytes(b"no model at all"),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: np.savez(path, a=np.ones(3)),
        lambda: np.savez(path, about=np.array({"pickled": True}, dtype=object)),
        lambda: np.savez(path, about=np.array("not json")),
        lambda: np.savez(path, about=np.array(json.dumps(foreign))),
        lambda: np.savez(path, about=np.array(json.dumps(foreign | {"format": "minirnn model"}))),
    ]:
        write()
        with pytest.raises(ValueError, match="is not a model that minirnn can load"):
            load_model(path)
    np.savez(path, about=np.array(json.dumps(later)))
    with pytest.raises(ValueError, match="format version 5, this minirnn reads up to 4; update it"):
        load_model(path)


def test_a_file_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("flushed"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (done.append("renamed"), replace(a, b))[1])
    vocab = Vocabulary.from_chars("abc")
    save_model(tmp_path / "model.npz", LanguageModel.init(ModelConfig("rnn", 3, 3), 0), vocab)
    assert done == ["flushed", "renamed"]


def test_a_file_of_the_first_format_is_still_read(tmp_path, monkeypatch):
    monkeypatch.setattr("minirnn.files.checkpoint.VERSION", 1)
    model, vocab = LanguageModel.init(ModelConfig("rnn", 3, 3), 0), Vocabulary.from_chars("abc")
    save_model(tmp_path / "model.npz", model, vocab)
    monkeypatch.undo()
    assert load_model(tmp_path / "model.npz")[1].tokens == ["a", "b", "c"]


def test_a_member_that_lies_about_its_size_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.npy", "small")
    with pytest.raises(ValueError, match="it is compressed"):
        load_model(tmp_path / "model.npz")
