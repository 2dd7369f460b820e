"""Drawing text: the right distribution, the same forward pass, clear errors."""

import numpy as np
import pytest

from minirnn import LanguageModel, ModelConfig, Vocabulary, sample
from minirnn.sample import choose

VOCAB = Vocabulary.from_chars("\nabcdefg")


@pytest.fixture
def model(rng):
    model = LanguageModel.init(ModelConfig("rnn", len(VOCAB), 6, 2), rng)
    for p in model.params.values():
        p += rng.normal(0, 0.5, p.shape)
    return model


def frequencies(logits, n=20_000, **options):
    rng = np.random.default_rng(0)
    return np.bincount(choose(np.tile(logits, (n, 1)), rng, **options), minlength=len(logits)) / n


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_softmax_says(temperature):
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.4]))
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    np.testing.assert_allclose(frequencies(logits, temperature=temperature), expected, atol=0.015)


def test_top_k_and_top_p_keep_the_most_probable():
    logits = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))
    np.testing.assert_allclose(frequencies(logits, temperature=1, top_k=2), [0, 4 / 7, 0, 3 / 7], atol=0.015)
    np.testing.assert_allclose(frequencies(logits, temperature=1, top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9], atol=0.015)
    np.testing.assert_allclose(frequencies(logits, temperature=1, top_p=0.65), [0, 4 / 7, 0, 3 / 7], atol=0.015)
    assert frequencies(logits, 100, temperature=1, top_p=1e-9).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(frequencies(logits, temperature=1, top_k=3, top_p=0.5), [0, 4 / 7, 0, 3 / 7], atol=0.015)
    np.testing.assert_allclose(
        frequencies(logits, temperature=1, top_k=99, top_p=1.0), [0.1, 0.4, 0.2, 0.3], atol=0.015
    )


def test_top_p_keeps_no_more_than_it_needs():
    assert frequencies(np.zeros(2), 50, temperature=1, top_p=0.5).tolist() == [1, 0]


def test_top_p_is_a_share_of_what_top_k_left():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1]))
    assert frequencies(logits, 50, temperature=1, top_k=2, top_p=0.5).tolist() == [1, 0, 0, 0]  # 0.4 of 0.7


def test_temperature_zero_is_argmax_and_a_tiny_one_nearly_so():
    logits = np.array([0.0, 2.0, 1.0])
    for temperature in (0, 1e-300, 1e-3):
        assert frequencies(logits, 50, temperature=temperature).tolist() == [0, 1, 0]
        assert frequencies(logits.astype(np.float32), 50, temperature=temperature).tolist() == [0, 1, 0]
    np.testing.assert_allclose(frequencies(logits, temperature=np.inf), [1 / 3] * 3, atol=0.015)


def test_sampling_is_the_training_forward_pass(model):
    """Greedy sampling equals predicting the next token of the text it has itself written."""
    text = "abc" + VOCAB.join(sample(model, VOCAB, 0, prime="abc", length=20, temperature=0))
    ids, _ = model.predict(VOCAB.encode(text)[:, None], model.zero_state(1))
    assert VOCAB.decode(ids[2:-1]) == text[3:]


def test_the_same_seed_draws_the_same_text(model):
    first, again, other = ("".join(sample(model, VOCAB, seed)) for seed in (1, 1, 2))
    assert len(first) == 200 and first == again != other


def test_an_empty_prime_starts_on_a_new_line(model):
    assert list(sample(model, VOCAB, 3)) == list(sample(model, VOCAB, 3, prime="\n"))


def test_where_there_is_no_new_line_the_start_is_random(model):
    no_newline = Vocabulary.from_chars("abcdefgh")
    model.params["rnn0.Wxh"] *= 10  # what is read first decides what is most probable next
    drawn = [list(sample(model, no_newline, seed, length=5, temperature=0)) for seed in range(20)]
    assert {len(tokens) for tokens in drawn} == {5} and len({tokens[0] for tokens in drawn}) > 1


def test_words_start_after_a_line_end(model):
    words = Vocabulary([*"abcdefg", "<eos>"], "words")
    assert list(sample(model, words, 3)) == list(sample(model, words, 3, prime="\n"))


def test_stop_ends_the_text_with_the_stop_string(model):
    whole = "".join(sample(model, VOCAB, 5, length=500, temperature=2.0))
    stop = whole[200:202]
    assert "".join(sample(model, VOCAB, 5, length=500, temperature=2.0, stop=stop)) == whole[: whole.index(stop) + 2]
    assert "".join(sample(model, VOCAB, 5, length=500, temperature=2.0, stop="never")) == whole


def test_the_prime_is_no_part_of_the_stop_string(model):
    model.params["by"][VOCAB.ids["a"]] = 100  # it writes nothing else
    assert list(sample(model, VOCAB, 0, prime="b", length=5, stop="ba")) == ["a"] * 5


def test_many_texts_at_once_are_columns_of_the_same_forward_pass(model):
    one = list(sample(model, VOCAB, 0, prime="abc", length=20, temperature=0))
    assert list(sample(model, VOCAB, 0, prime="abc", length=20, temperature=0, count=3)) == [[t] * 3 for t in one]
    assert list(sample(model, VOCAB, 7, count=1)) == [[token] for token in sample(model, VOCAB, 7)]


def test_each_of_many_texts_is_drawn_by_itself(model):
    """Two tokens come one after the other as often as the model says, whatever the other texts are."""
    rows = list(sample(model, VOCAB, 0, length=2, count=20_000))
    assert rows == list(sample(model, VOCAB, 0, length=2, count=20_000))
    ids = np.array([[VOCAB.ids[token] for token in row] for row in rows])
    newline = np.full((1, len(VOCAB)), VOCAB.ids["\n"])
    then = np.exp(model.logits(np.vstack([newline, np.arange(len(VOCAB))]), model.zero_state(len(VOCAB)))[0])
    then /= then.sum(axis=1, keepdims=True)  # (2, V, V): column b of the second is what follows token b
    expected = then[0, :, 0] * then[1]
    drawn = np.histogram2d(ids[1], ids[0], bins=np.arange(len(VOCAB) + 1))[0] / ids.shape[1]
    np.testing.assert_allclose(drawn, expected, atol=0.015)


def test_a_text_that_has_met_its_end_falls_silent_while_the_others_go_on(model):
    rows = list(sample(model, VOCAB, 5, length=300, temperature=2.0, stop="ab", count=4))
    texts = ["".join(column) for column in zip(*rows, strict=True)]
    lengths = [len(text) for text in texts]
    assert all(text.index("ab") == len(text) - 2 for text in texts) and len(set(lengths)) == 4
    assert len(rows) == max(lengths) < 300
    assert [[token != "" for token in column] for column in zip(*rows, strict=True)] == [
        [t < length for t in range(len(rows))] for length in lengths
    ]


def test_without_a_new_line_each_text_starts_with_a_token_of_its_own(model):
    no_newline = Vocabulary.from_chars("abcdefgh")
    model.params["rnn0.Wxh"] *= 10
    assert len(set(next(sample(model, no_newline, 0, temperature=0, count=20)))) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prime": "abz!"}, "not in the vocabulary of 8 chars: '!', 'z'"),
        ({"temperature": -0.1}, "temperature must be at least 0 .*, got -0.1"),
        ({"temperature": float("nan")}, "temperature must be at least 0 .*, got nan"),
        ({"length": -1}, "length must be at least 0, got -1"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"count": 0}, "count must be an int of at least 1, got 0"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\], got 1.5"),
        ({"vocab": Vocabulary.from_chars("ab")}, "the vocabulary has 2 tokens, the model was built for 8"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_drawn(model, options, message):
    with pytest.raises(ValueError, match=message):
        sample(**{"model": model, "vocab": VOCAB, "rng": 0} | options)


def test_a_diverged_model_is_named(model):
    model.params["by"][0] = np.nan
    with pytest.raises(ValueError, match="logits are not finite"):
        next(sample(model, VOCAB, 0))


def test_a_prime_of_white_space_is_no_prime_for_words(model):
    words = Vocabulary([*"abcdefg", "<eos>"], "words")
    assert list(sample(model, words, 3, prime="  ")) == list(sample(model, words, 3))


def test_words_stop_at_text_not_at_tokens(model):
    words = Vocabulary([*"abcdefg", "<eos>"], "words")
    drawn = list(sample(model, words, 5, length=300, temperature=2.0))
    pair = words.join(drawn[100:102])
    stopped = list(sample(model, words, 5, length=300, temperature=2.0, stop=pair))
    assert words.join(stopped).endswith(pair) and len(stopped) <= 102
    assert len(stopped) == next(n for n in range(1, 300) if words.join(drawn[:n]).endswith(pair))
