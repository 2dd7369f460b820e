"""Settings and presets: checked in one place, read from every release, and the numbers they are known for."""

import argparse
import dataclasses
import json
import math

import pytest

from minirnn.commands.presets import PRESETS
from minirnn.commands.settings import Settings, add_options, changed, given, option, settings_from

FIELDS = dataclasses.fields(Settings)


@pytest.mark.parametrize("settings", [Settings(), *PRESETS.values()])
def test_they_survive_json(settings):
    assert settings_from(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


@pytest.mark.parametrize("f", FIELDS, ids=lambda f: f.name)
def test_no_field_takes_what_makes_no_sense(f):
    """Whatever is no value of a field is refused, and the sentence begins with its name."""
    for value in (math.nan, -1, -0.5, "x" * 99 if f.name != "encoding" else "", [], {}, 10**400, math.inf, object()):
        with pytest.raises(ValueError, match=rf"^{f.name} takes [^\n]*, got '"):
            dataclasses.replace(Settings(), **{f.name: value})
    if type(f.default) is not bool:
        with pytest.raises(ValueError, match=f"^{f.name} takes "):
            dataclasses.replace(Settings(), **{f.name: True})


@pytest.mark.parametrize("f", FIELDS, ids=lambda f: f.name)
def test_every_field_is_an_option_with_help_and_a_check(f, capsys):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser)
    assert not given(parser.parse_args([]))
    kind = f.metadata["kind"]
    if type(f.default) is bool:
        assert given(parser.parse_args([option(f.name)])) == {f.name: True}
    elif kind.names:
        for name in kind.names:
            assert given(parser.parse_args([option(f.name), name])) == {f.name: name}
    else:
        value = f.default if f.default is not None else 0.5 if kind.parse is float else 2
        assert given(parser.parse_args([option(f.name), str(value)])) == {f.name: value}
        for none in kind.none:
            assert given(parser.parse_args([option(f.name), none])) == {f.name: None}
    assert f.metadata["help"] and "%" not in f.metadata["help"]


def test_the_names_of_old_are_understood():
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = ["--level", "words", "--hidden", "9", "--embedding", "5", "--clip-norm", "0", "--clip-value", "none"]
    expected = {"kind": "words", "hidden_size": 9, "embedding_size": 5, "clip_norm": None, "clip_value": None}
    assert given(parser.parse_args(options)) == expected


def test_no_limit_is_none_and_nothing_else():
    for name in ("clip_norm", "clip_value"):
        for value in (0, 0.0, math.inf):
            with pytest.raises(ValueError, match="takes a number greater than 0"):
                dataclasses.replace(Settings(), **{name: value})


@pytest.mark.parametrize(("name", "optimizer"), [("decay", "adam"), ("beta1", "rmsprop"), ("beta2", "sgd")])
def test_no_optimizer_has_the_averages_of_another(name, optimizer):
    with pytest.raises(ValueError, match=f"--{name} is for --optimizer [a-z]+; choose that, or leave it out"):
        settings_from(dataclasses.asdict(Settings()) | {name: 0, "optimizer": optimizer})


def test_a_wish_may_take_another_back():
    epochs = changed(Settings(), {"epochs": 3})
    assert (epochs.steps, epochs.epochs) == (None, 3)
    assert changed(epochs, {"steps": 9}).epochs is None
    assert changed(PRESETS["karpathy"], {"init_uniform": 0.1}).init_normal is None
    assert changed(Settings(), {"tie_weights": True, "hidden_size": 7}).embedding_size == 7
    assert changed(Settings(), {"tie_weights": True, "embedding_size": 5}).embedding_size == 5
    for wishes, message in (
        ({"steps": 3, "epochs": 4}, "--steps and --epochs both say how long to train"),
        ({"steps": None}, "give steps or epochs, one of the two, got None and None"),
        ({"init_normal": 0.1, "init_uniform": 0.1}, "exclude each other"),
    ):
        with pytest.raises(ValueError, match=message):
            changed(Settings(), wishes)


RELEASE_2 = dict(
    level="words", encoding="latin-1", max_vocab=50, cell="rnn", layers=2, hidden=9, embedding=5, dropout=0.1,
    tie_weights=False, optimizer="rmsprop", learning_rate=0.03, schedule="cosine", clip_norm=0.0, clip_value=0.5,
    batch_size=3, seq_length=7, steps=40, epochs=None, valid=0.2, patience=4, report_every=5, seed=6, texts=["a"],
    tokens=99, sha256="x",
)  # fmt: skip


def test_the_settings_of_former_releases_mean_what_they_meant():
    expected = Settings(
        kind="words", encoding="latin-1", max_vocab=50, cell="rnn", layers=2, hidden_size=9, embedding_size=5,
        dropout=0.1, optimizer="rmsprop", learning_rate=0.03, schedule="cosine", clip_norm=None, clip_value=0.5,
        batch_size=3, seq_length=7, steps=40, valid=0.2, patience=4, report_every=5, seed=6, sample_every=None,
        max_epochs=None,
    )  # fmt: skip
    assert settings_from(RELEASE_2) == expected
    averaged = settings_from(RELEASE_2 | {"decay": 0.9, "beta1": None, "beta2": None, "epochs": 2})
    assert averaged == dataclasses.replace(expected, decay=0.9, steps=None, epochs=2)


@pytest.mark.parametrize("f", FIELDS, ids=lambda f: f.name)
def test_a_field_that_is_missing_is_named(f):
    stored = dataclasses.asdict(Settings())
    del stored[f.name]
    with pytest.raises(ValueError, match=f"the settings have no {f.name}$"):
        settings_from(stored)


# --- presets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "published"),
    [
        (
            "karpathy",
            dict(cell="rnn", layers=1, hidden_size=100, dropout=0.0, optimizer="adagrad", learning_rate=0.1,
                 clip_value=5.0, clip_norm=None, batch_size=1, seq_length=25, schedule="constant", reduction="sum",
                 init_normal=0.01, smoothing=0.999),
        ),
        (
            "char-rnn",
            dict(cell="lstm", layers=2, hidden_size=128, dropout=0.0, optimizer="rmsprop", learning_rate=0.002,
                 decay=None, clip_value=5.0, clip_norm=None, batch_size=50, seq_length=50, schedule="epochs",
                 constant_epochs=10, epoch_decay=0.97, reduction="sum", epochs=30, valid=0.05),
        ),
        (
            "goerner",
            dict(cell="gru", layers=3, hidden_size=512, dropout=0.2, optimizer="adam", learning_rate=0.001,
                 batch_size=200, seq_length=30, schedule="constant", clip_norm=None, reduction="mean", epochs=10),
        ),
        (  # ours
            "minute",
            dict(cell="gru", layers=1, hidden_size=256, dropout=0.0, optimizer="adam", learning_rate=0.005,
                 clip_norm=1.0, batch_size=32, seq_length=32, schedule="linear", reduction="mean", steps=3800),
        ),
    ],
)  # fmt: skip
def test_presets_keep_the_numbers_they_are_known_for(preset, published):
    settings = dataclasses.asdict(PRESETS[preset])
    assert {name: settings[name] for name in published} == published


def test_the_published_numbers_of_the_treebank():
    small, medium, large = (PRESETS[name] for name in ("small", "medium", "large"))
    assert [m.hidden_size for m in (small, medium, large)] == [200, 650, 1500]
    assert [m.seq_length for m in (small, medium, large)] == [20, 35, 35]
    assert [m.init_uniform for m in (small, medium, large)] == [0.1, 0.05, 0.04]
    assert [m.dropout for m in (small, medium, large)] == [0.0, 0.5, 0.65]
    assert [m.clip_norm for m in (small, medium, large)] == [5, 5, 10]
    assert [m.epochs for m in (small, medium, large)] == [13, 39, 55]
    assert [m.constant_epochs for m in (small, medium, large)] == [4, 6, 14]
    assert [m.epoch_decay for m in (small, medium, large)] == [0.5, 0.8, 1 / 1.15]
    for m in (small, medium, large):
        assert (m.cell, m.layers, m.learning_rate, m.reduction, m.schedule) == ("lstm", 2, 1.0, "sum", "epochs")
        assert (m.batch_size, m.max_vocab, m.embedding_size, m.optimizer) == (20, 10_000, m.hidden_size, "sgd")


def test_tanh_is_small_with_another_cell_and_rate():
    assert PRESETS["tanh"] == dataclasses.replace(PRESETS["small"], cell="rnn", layers=1, learning_rate=0.1)
