"""Text of any size: encoded in pieces as it would be in one, and searched for copies."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT
from hypothesis import given
from hypothesis import strategies as st

from minirnn import LanguageModel, ModelConfig, Trainer, Vocabulary, read_text
from minirnn.files import corpus
from minirnn.files.corpus import encode_files, longest_copy
from minirnn.optim import SGD


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("kind", ["chars", "words"])
def test_in_pieces_or_at_once_it_is_the_same(tmp_path, monkeypatch, piece, kind):
    monkeypatch.setattr(corpus, "PIECE", piece)
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffschön und  gut\r\nzwei\rdrei \n\n vier\nund gut".encode())
    text = read_text(path)
    ids, vocab = encode_files([path], tmp_path / "ids.npy", kind, 4 if kind == "words" else None)
    expected = Vocabulary.from_chars(text) if kind == "chars" else Vocabulary.from_words(text, 4)
    assert vocab.tokens == expected.tokens and (ids == expected.encode(text)).all()
    assert isinstance(ids, np.memmap) and ids.dtype == np.uint8
    assert (np.load(tmp_path / "ids.npy") == ids).all()


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), min_size=1), min_size=1, max_size=3)
)
def test_any_text_comes_back(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("corpus")
    for i, text in enumerate(texts):
        (folder / str(i)).write_bytes(text.encode())
    ids, vocab = encode_files([folder / str(i) for i in range(len(texts))], folder / "ids.npy")
    assert vocab.decode(ids) == "".join(texts)


def test_the_integers_are_as_small_as_they_can_be(tmp_path):
    for count, dtype in ((2, np.uint8), (256, np.uint8), (257, np.uint16)):
        (tmp_path / "text").write_text(" ".join(str(i) for i in range(count - 1)) + "\n")
        ids, vocab = encode_files([tmp_path / "text"], tmp_path / "ids.npy", "words")
        assert (len(vocab), ids.dtype) == (count, dtype)


def test_a_mapped_text_trains_like_any_other(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    mapped, vocab = encode_files([tmp_path / "text"], tmp_path / "ids.npy")
    runs = []
    for ids in (mapped, np.array(mapped, np.int64)):
        trainer = Trainer(
            LanguageModel.init(ModelConfig("gru", len(vocab), 5), 0), SGD(0.1), ids, batch_size=3, seq_length=7
        )
        runs.append([report.loss for report in trainer.steps(60)])
    assert runs[0] == runs[1]


def test_the_longest_copy_is_found():
    text = np.array([1, 2, 3, 4, 5, 1, 2, 9], np.uint8)
    assert longest_copy(np.array([7, 2, 3, 4, 8]), text) == (3, 1)
    assert longest_copy(np.array([6, 6]), text) == (0, 0)
    assert longest_copy(text, text) == (8, 0)
    assert longest_copy(np.array([1, 2, 9]), text, limit=7) == (2, 0)


@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.lists(st.integers(0, 3), max_size=30),
    st.sampled_from(["u1", "u2", "u4"]),
)
def test_it_is_the_longest(sample, text, dtype):
    """Also where a token takes several bytes, and its bytes occur across two others."""
    text = np.array(text, dtype) * (1 if dtype == "u1" else 257)
    sample = np.array(sample, dtype) * (1 if dtype == "u1" else 257)
    length, start = longest_copy(sample, text)
    runs = {tuple(text[i:j]) for i in range(len(text)) for j in range(i, len(text) + 1)} | {()}
    assert tuple(sample[start : start + length]) in runs
    assert not any(tuple(sample[i : i + length + 1]) in runs for i in range(len(sample) - length))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_text(tmp_path):
    """The peak of a run on 12 MB is that of a run on 4 MB, give or take a few."""
    code = (
        "import re, sys; from minirnn.commands.cli import main; main(sys.argv[1:]); "
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    peaks = []
    for megabytes in (4, 12):
        (tmp_path / "text").write_bytes((TEXT.encode() * (1 + megabytes * 10**6 // len(TEXT)))[: megabytes * 10**6])
        arguments = [
            "train",
            tmp_path / "text",
            "--out",
            tmp_path / f"run{megabytes}",
            "--hidden",
            "8",
            "--steps",
            "5",
            "--valid",
            "0.01",
        ]
        run = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
        peaks.append(int(run.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 8, peaks


def test_utf16_and_other_encodings(tmp_path):
    (tmp_path / "text").write_bytes("schön und gut\n".encode("utf-16"))
    ids, vocab = encode_files([tmp_path / "text"], tmp_path / "ids.npy", encoding="utf-16")
    assert vocab.decode(ids) == "schön und gut\n"


def test_a_copy_may_cross_pieces(monkeypatch):
    monkeypatch.setattr(corpus, "PIECE", 4)
    assert longest_copy(np.arange(2, 9), np.arange(12, dtype=np.uint8)) == (7, 0)


def test_a_byte_order_mark_is_one_only_where_a_file_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PIECE", 1)
    for name in "ab":
        (tmp_path / name).write_text("\ufeffx\ufeffy", encoding="utf-8")
    ids, vocab = encode_files([tmp_path / "a", tmp_path / "b"], tmp_path / "ids.npy")
    assert vocab.decode(ids) == "x\ufeffyx\ufeffy"
