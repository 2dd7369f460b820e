"""Train word models of the play for the chapter on words: writes words.json and words.npz here.

python docs/figures/run_words.py        six small models: about a minute on one core
"""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np

import minirnn
from minirnn.schedules import linear_decay

FIGURES = Path(__file__).parent
PLAY = FIGURES.parents[1] / "examples" / "data" / "play.txt"
H, STEPS, KEPT = 64, 600, 300  # KEPT: how many words' vectors are kept for the chapter
KINDS = {"two tables": False, "one table": True}  # whether the embedding is the output layer's table too


def read_words():
    """Ids of the first nine tenths of the words, and of the others; the vocabulary: what occurs twice in the first."""
    words = re.findall(r"[\w']+|[^\w\s]|\n", minirnn.read_text(PLAY).lower())
    cut = len(words) * 9 // 10
    counts = Counter(words[:cut])
    train, valid = " ".join(words[:cut]), " ".join(words[cut:])
    vocab = minirnn.Vocabulary.from_words(train, max_size=sum(count > 1 for count in counts.values()) + 1)
    return vocab.encode(train), vocab.encode(valid), vocab


def train(kind, seed, ids, vocab):
    """A GRU after 600 steps."""
    config = minirnn.ModelConfig("gru", len(vocab), H, embedding_size=H, tie_weights=KINDS[kind])
    model = minirnn.LanguageModel.init(config, rng=seed)
    trainer = minirnn.Trainer(
        model,
        minirnn.Adam(0.005),
        ids,
        batch_size=16,
        seq_length=25,
        clip_norm=1.0,
        schedule=lambda step: linear_decay(step, STEPS),
    )
    for _ in trainer.steps(STEPS):
        pass
    return model


def neighbours(table, n=5):
    """The n words nearest to each, by the angle between their vectors, as rows of ids (V, n)."""
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    return np.argsort(-cosines, axis=1)[:, :n]


def agreement(tables):
    """Of a word's five neighbours in one run, how many it has in another too: the mean over pairs of runs, (V,)."""
    found = [[set(row) for row in neighbours(table).tolist()] for table in tables]
    return np.mean([[len(a & b) for a, b in zip(*pair, strict=True)] for pair in combinations(found, 2)], axis=0)


def main():
    ids, unseen, vocab = read_words()
    runs, tables = {}, []
    for kind in KINDS:
        runs[kind] = []
        for seed in range(3):
            model = train(kind, seed, ids, vocab)
            losses = [minirnn.evaluate(model, part)[0] for part in (ids, unseen)]
            runs[kind].append([round(loss, 4) for loss in losses])
            print(f"{kind}, seed {seed}: perplexity {np.exp(losses[0]):.1f}, on unseen text {np.exp(losses[1]):.1f}")
            if kind == "one table":
                tables.append(model.params["embedding"])
            if kind == "one table" and seed == 0:
                prime = "tobin :\n"
                written = minirnn.sample(model, vocab, rng=0, prime=prime, length=60, temperature=0.7)
                sample = prime + vocab.join(written)
    data = {"runs": runs, "sample": sample, "agreement": np.round(agreement(tables), 2).tolist()}
    (FIGURES / "words.json").write_text(json.dumps(data) + "\n")
    np.savez_compressed(FIGURES / "words.npz", table=tables[0][:KEPT].astype(np.float16), words=vocab.tokens[:KEPT])


if __name__ == "__main__":
    main()
