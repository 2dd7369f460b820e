"""Reading, encoding and batching text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirnn import Vocabulary, read_text, stream_batches


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"plain\n", "utf-8", "plain\n"),
        (b"\xef\xbb\xbfwith a mark", "utf-8", "with a mark"),
        ("\ufeffsixteen".encode("utf-16-le"), "utf-16", "sixteen"),
        (b"one\r\ntwo\rthree\n", "utf-8", "one\ntwo\nthree\n"),
        ("Слово, λόγος, 言葉\n".encode(), "utf-8", "Слово, λόγος, 言葉\n"),
        ("Gefühl".encode("latin-1"), "latin-1", "Gefühl"),
    ],
)
def test_every_kind_of_text_can_be_read(tmp_path, data, encoding, text):
    (tmp_path / "text").write_bytes(data)
    assert read_text(tmp_path / "text", encoding) == text


def test_what_is_no_text_is_named(tmp_path):
    path = tmp_path / "text"
    with pytest.raises(FileNotFoundError):
        read_text(path)
    for data, encoding, message in [
        (b"", "utf-8", "is empty"),
        (b"\xef\xbb\xbf", "utf-8", "is empty"),
        (
            b"Gef\xfchl",
            "utf-8",
            r"is not utf-8 text: byte 0xfc at offset 3 cannot be decoded; it may be latin-1, cp1252",
        ),
        (b"text", "utf-9", "unknown encoding 'utf-9'; common ones are utf-8"),
        (b"text", "undefined", "unknown encoding 'undefined'; common ones are utf-8"),
        (b"text", "rot13", "unknown encoding 'rot13'"),
    ]:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_text(path, encoding)


@given(st.text(min_size=1))
def test_characters_round_trip(text):
    vocab = Vocabulary.from_chars(text)
    assert vocab.tokens == sorted(set(text))
    ids = vocab.encode(text)
    assert np.issubdtype(ids.dtype, np.integer) and len(ids) == len(text)
    assert vocab.decode(ids) == text and vocab.decode([]) == ""


@given(st.lists(st.lists(st.sampled_from(["to", "be", "or", "not"]), min_size=1), min_size=1))
def test_words_round_trip(lines):
    text = "\n".join(" ".join(line) for line in lines)
    vocab = Vocabulary.from_words(text)
    assert vocab.decode(vocab.encode(text)) == text


@pytest.mark.parametrize("text", ["a b\n", "\na b", "a\n\nb", "\n"])
def test_line_ends_come_back_wherever_they_stand(text):
    vocab = Vocabulary.from_words(text)
    assert vocab.decode(vocab.encode(text)) == text


def test_words_are_sorted_by_frequency_and_cut():
    text = "b a c b\nb a d\n"
    assert Vocabulary.from_words(text).tokens == ["b", "<eos>", "a", "c", "d"]
    vocab = Vocabulary.from_words(text, max_size=4)
    assert vocab.tokens == ["b", "<eos>", "a", "<unk>"] and len(vocab) == 4
    assert vocab.encode("a z b\n").tolist() == [2, 3, 0, 1]
    assert vocab.decode([2, 3, 0, 1, 0]) == "a <unk> b\nb"
    assert Vocabulary.from_words(text, max_size=99).tokens == ["b", "<eos>", "a", "c", "d", "<unk>"]
    # A text that brings its own <unk>, as the Penn Treebank does, keeps one of it.
    assert Vocabulary.from_words("<unk> a <unk> b b b c", max_size=3).tokens == ["b", "a", "<unk>"]
    # And where all its words fit, it keeps its place.
    assert Vocabulary.from_words("<unk> a <unk> b <unk> c", max_size=4).tokens == ["<unk>", "a", "b", "c"]


def test_unknown_tokens_are_named():
    with pytest.raises(
        ValueError, match="not in the vocabulary of 3 chars: 'x', 'é'; use only tokens of the training text"
    ):
        Vocabulary.from_chars("abc").encode("axbé")
    with pytest.raises(ValueError, match="not in the vocabulary of 2 words: 'c'"):
        Vocabulary.from_words("a b").encode("a c")
    with pytest.raises(ValueError, match=r"'J', \.\.\.; use"):
        Vocabulary.from_chars("abc").encode("ABCDEFGHIJKLM")


def test_a_vocabulary_that_makes_no_sense_is_refused():
    for bad, message in [
        (lambda: Vocabulary(["a", "a"], "chars"), "must all be different"),
        (lambda: Vocabulary(["a"], "letters"), 'kind must be "chars" or "words"'),
        (lambda: Vocabulary.from_chars(""), "at least one token"),
        (lambda: Vocabulary.from_words("a", max_size=0), "max_size must be at least 1, got 0"),
        (lambda: Vocabulary.from_chars("ab").decode([2]), r"must be in 0\.\.1, got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()


@given(B=st.integers(1, 5), T=st.integers(1, 5), batches=st.integers(1, 4), extra=st.integers(0, 30))
def test_each_batch_continues_the_one_before(B, T, batches, extra):
    extra %= B * T
    ids = np.arange(batches * B * T + 1 + extra)
    xs, ys = map(np.stack, zip(*stream_batches(ids, B, T), strict=True))
    assert xs.shape == ys.shape == (batches, T, B)
    assert (ys == xs + 1).all()  # the target is the next token, also across rows
    rows = xs.reshape(batches * T, B)
    assert (np.diff(rows, axis=0) == 1).all()  # down each column the text runs on, from batch to batch
    assert (rows.T.reshape(-1) == np.arange(batches * B * T)).all()  # and nothing is read twice or left out


def test_too_few_tokens_say_how_many_are_needed():
    ids = np.arange(24)
    with pytest.raises(
        ValueError,
        match=r"24 tokens are too few to train on: a batch of B = 4 sequences x T = 6 steps needs B\*T \+ 1 = 25",
    ):
        stream_batches(ids, 4, 6)
    assert len(list(stream_batches(np.arange(25), 4, 6))) == 1
    with pytest.raises(ValueError, match=r"one row of tokens \(N,\), got shape \(2, 12\)"):
        stream_batches(ids.reshape(2, 12), 1, 2)
    with pytest.raises(ValueError, match="batch_size must be an int of at least 1, got 0"):
        stream_batches(ids, 0, 6)


def test_large_vocabularies_are_encoded_whole():
    text = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 40_000) if not 0xD800 <= code < 0xE000)
    vocab = Vocabulary.from_chars(text)
    assert vocab.decode(vocab.encode(text)) == text


def test_a_vocabulary_says_what_a_token_is():
    assert Vocabulary.from_chars("abc").unit == "character" and Vocabulary.from_words("a b").unit == "word"
