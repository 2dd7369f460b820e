"""Text of any size: encoded in pieces as it would be in one, and searched for copies."""

import tracemalloc

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
    ids, vocab, lengths = encode_files([[path]], tmp_path / "ids.npy", kind, 4 if kind == "words" else None)
    expected = Vocabulary.from_chars(text) if kind == "chars" else Vocabulary.from_words(text, 4)
    assert vocab.tokens == expected.tokens and (ids == expected.encode(text)).all() and lengths == [len(ids)]
    assert isinstance(ids, np.memmap) and ids.dtype == np.uint8
    assert (np.load(tmp_path / "ids.npy") == ids).all()


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), min_size=1), min_size=1, max_size=3)
)
def test_any_text_comes_back(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("corpus")
    for i, text in enumerate(texts):
        (folder / str(i)).write_bytes(text.encode())
    ids, vocab, _ = encode_files([[folder / str(i) for i in range(len(texts))]], folder / "ids.npy")
    assert vocab.decode(ids) == "".join(texts)


def test_the_integers_are_as_small_as_they_can_be(tmp_path):
    for count, dtype in ((2, np.uint8), (256, np.uint8), (257, np.uint16)):
        (tmp_path / "text").write_text(" ".join(str(i) for i in range(count - 1)) + "\n")
        ids, vocab, _ = encode_files([[tmp_path / "text"]], tmp_path / "ids.npy", "words")
        assert (len(vocab), ids.dtype) == (count, dtype)


def test_a_mapped_text_trains_like_any_other(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    mapped, vocab, _ = encode_files([[tmp_path / "text"]], tmp_path / "ids.npy")
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


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch):
    """Reading in small pieces, encoding and training take no more of a text that is six times as long."""
    monkeypatch.setattr(corpus, "PIECE", 1 << 14)
    peaks = []
    for kilobytes in (200, 1200):
        (tmp_path / "text").write_bytes((TEXT.encode() * (1 + 1000 * kilobytes // len(TEXT)))[: 1000 * kilobytes])
        tracemalloc.start()
        ids, vocab, _ = encode_files([[tmp_path / "text"]], tmp_path / f"ids{kilobytes}.npy")
        model = LanguageModel.init(ModelConfig("gru", len(vocab), 5), 0)
        for _ in Trainer(model, SGD(0.1), ids, batch_size=3, seq_length=7).steps(2):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0] + 10_000, peaks  # a third of the difference would be more


def test_further_texts_are_encoded_with_the_vocabulary_of_the_first(tmp_path):
    for name, text in (("a", "x y z x\n"), ("b", "y w\n"), ("c", "v x")):
        (tmp_path / name).write_text(text)
    parts = [[tmp_path / "a"], [tmp_path / "b"], [tmp_path / "c"]]
    ids, vocab, lengths = encode_files(parts, tmp_path / "ids.npy", "words", 4)
    assert lengths == [5, 3, 2] and vocab.tokens == ["x", "<eos>", "y", "<unk>"]
    assert vocab.decode(ids) == "x y <unk> x\ny <unk>\n<unk> x"
    with pytest.raises(ValueError, match="not in the vocabulary of 5 chars: 'w'"):
        encode_files(parts, tmp_path / "ids.npy")


def test_utf16_and_other_encodings(tmp_path):
    (tmp_path / "text").write_bytes("schön und gut\n".encode("utf-16"))
    ids, vocab, _ = encode_files([[tmp_path / "text"]], tmp_path / "ids.npy", encoding="utf-16")
    assert vocab.decode(ids) == "schön und gut\n"


def test_a_copy_may_cross_pieces(monkeypatch):
    monkeypatch.setattr(corpus, "PIECE", 4)
    assert longest_copy(np.arange(2, 9), np.arange(12, dtype=np.uint8)) == (7, 0)


def test_a_byte_order_mark_is_one_only_where_a_file_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PIECE", 1)
    for name in "ab":
        (tmp_path / name).write_text("\ufeffx\ufeffy", encoding="utf-8")
    ids, vocab, _ = encode_files([[tmp_path / "a", tmp_path / "b"]], tmp_path / "ids.npy")
    assert vocab.decode(ids) == "x\ufeffyx\ufeffy"
