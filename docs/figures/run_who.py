"""Train classifiers for the chapter on words, with and without the lengths of the speeches: writes who.json here.

python docs/figures/run_who.py        six small classifiers: about two minutes on one core
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

import minirnn
from minirnn.classifier import pad
from minirnn.schedules import linear_decay

FIGURES = Path(__file__).parent
sys.path.append(str(FIGURES.parents[1] / "examples"))
from who_said_it import choose_speakers, find_speeches, split  # noqa: E402

H, EPOCHS, B, RATE, LONGEST = 128, 20, 32, 0.005, 60
SEEDS = (0, 1, 2)


def read_speeches():
    """Speeches to learn from and to test on, as (name, words) pairs; the names; the vocabulary."""
    speeches = find_speeches(minirnn.read_text(FIGURES.parents[1] / "examples" / "data" / "play.txt"))
    speakers = choose_speakers(Counter(name for name, _ in speeches), None, 10)
    train, test = split(speeches, speakers)
    words = " ".join(speech for _, speech in train)
    more_than_once = sum(count > 1 for count in Counter(words.split()).values())
    return train, test, speakers, minirnn.Vocabulary.from_words(words, max_size=more_than_once + 1)


def train(encode, speeches, classes, vocab_size, seed, keep_lengths):
    """A classifier after 20 passes; without lengths, it takes the state after the padding."""
    rng = np.random.default_rng(seed)
    config = minirnn.ModelConfig("lstm", vocab_size, H, embedding_size=H, dropout=0.7)
    model, optimizer = minirnn.SequenceClassifier.init(config, classes, rng), minirnn.Adam(RATE)
    for epoch in range(EPOCHS):
        optimizer.learning_rate = RATE * linear_decay(epoch, EPOCHS)
        order = rng.permutation(len(speeches))
        for i in range(0, len(order), B):
            x, answers, lengths = encode([speeches[j] for j in order[i : i + B]], keep_lengths)
            _, grads = model.loss_and_grads(x, answers, lengths, rng=rng)
            minirnn.clip_norm(grads, 1.0)
            optimizer.step(model.params, grads)
    return model


def main():
    speeches, unseen, speakers, vocab = read_speeches()
    rng = np.random.default_rng(0)
    shuffled = [(name, " ".join(rng.permutation(speech.split()))) for name, speech in unseen]

    def encode(pairs, keep_lengths):
        x, lengths = pad([vocab.encode(speech)[:LONGEST] for _, speech in pairs])
        answers = np.array([speakers.index(name) for name, _ in pairs])
        return x, answers, lengths if keep_lengths else np.full(len(pairs), len(x))

    accuracy = {"last real state": [], "the same, words shuffled": [], "state after the padding": []}
    guesses = []
    for seed in SEEDS:
        for kind, keep_lengths in (("last real state", True), ("state after the padding", False)):
            model = train(encode, speeches, len(speakers), len(vocab), seed, keep_lengths)
            x, answers, lengths = encode(unseen, keep_lengths)
            named = model.predict(x, lengths)
            accuracy[kind].append(round((named == answers).mean(), 3))
            print(f"{kind}, seed {seed}: {accuracy[kind][-1]}", flush=True)
            if keep_lengths:
                guesses.append(named.tolist())
                x, _, lengths = encode(shuffled, keep_lengths)
                accuracy["the same, words shuffled"].append(round((model.predict(x, lengths) == answers).mean(), 3))
    (FIGURES / "who.json").write_text(json.dumps({"accuracy": accuracy, "guesses": guesses}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
