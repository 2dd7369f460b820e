"""Tasks whose answer is known: the models must reach it, and fail where theory says they fail."""

import numpy as np
import pytest

import minirnn
from minirnn import Adam, LanguageModel, ModelConfig, SequenceClassifier, Trainer, Vocabulary, clip_norm

# Reber's grammar (1967): from each state one of two letters, each with probability 1/2, and the state it leads to.
REBER = {
    0: (("B", 1),),
    1: (("T", 2), ("P", 3)),
    2: (("S", 2), ("X", 4)),
    3: (("T", 3), ("V", 5)),
    4: (("X", 3), ("S", 6)),
    5: (("P", 4), ("V", 6)),
    6: (("E", 0),),
}


def reber_text(n, rng):
    """About n letters of the grammar, string after string, and its entropy in nats per letter as it came out."""
    letters, nats, state = [], 0.0, 0
    while len(letters) < n or state != 0:
        choices = REBER[state]
        letter, state = choices[rng.integers(len(choices))]
        letters.append(letter)
        nats += np.log(len(choices))
    return "".join(letters), nats / len(letters)


@pytest.mark.parametrize("cell", ["rnn", "lstm", pytest.param("gru", marks=pytest.mark.soak)])
def test_the_reber_grammar_is_learned_to_its_entropy(cell, rng):
    text, _ = reber_text(20_000, rng)
    test_text, entropy = reber_text(4_000, rng)
    vocab = Vocabulary.from_chars(text)
    model = LanguageModel.init(ModelConfig(cell, len(vocab), 24), 0)
    trainer = Trainer(model, Adam(0.01), vocab.encode(text), batch_size=20, seq_length=20, clip_norm=1.0)
    list(trainer.steps(400))
    loss, _ = minirnn.evaluate(model, vocab.encode(test_text))
    assert entropy - 0.01 < loss < entropy + 0.02  # no model can beat the entropy but by chance


def recall_accuracy(cell, T=20, symbols=4, steps=1000):
    """Accuracy at naming, after T random tokens, the one that followed a mark somewhere in the first third.

    All other tokens look just like the one to be remembered, so the mark must open a gate and the rest keep it shut.
    """
    rng = np.random.default_rng(1)
    model = SequenceClassifier.init(ModelConfig(cell, symbols + 1, 32), symbols, 1, dense_size=16)
    optimizer, lengths, columns = Adam(0.01), np.full(50, T), np.arange(50)

    def batch():
        x, at = rng.integers(0, symbols, (T, 50)), rng.integers(0, T // 3, 50)
        x[at, columns] = symbols
        return x, x[at + 1, columns]

    for _ in range(steps):
        _, grads = model.loss_and_grads(*batch(), lengths)
        clip_norm(grads, 1.0)
        optimizer.step(model.params, grads)
    return np.mean([(model.predict(x, lengths) == labels).mean() for x, labels in (batch() for _ in range(10))])


@pytest.mark.soak
def test_lstm_remembers_what_tanh_does_not():
    assert recall_accuracy("lstm") > 0.95
    assert recall_accuracy("rnn") < 0.5  # 0.25 is guessing
