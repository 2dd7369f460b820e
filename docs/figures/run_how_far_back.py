"""Train tanh networks on slices of 1 to 64 characters, with and without the carried state: writes how_far_back.json.

python docs/figures/run_how_far_back.py         seven lengths, two ways, five seeds: about four minutes on one core
"""

import json
from pathlib import Path

import numpy as np

import minirnn

FIGURES = Path(__file__).parent
PLAY = FIGURES.parents[1] / "examples" / "data" / "play.txt"
LENGTHS, TOKENS, STEPS, SEEDS = (1, 2, 4, 8, 16, 32, 64), 512, 2000, range(5)


def train(T, carry, seed):
    """Validation loss after 2,000 updates of 512 characters each, in slices of T; nats per character.

    The validation text is read as the training text was: in one go, or from a zero state in each slice.
    """
    text = minirnn.read_text(PLAY)
    vocab = minirnn.Vocabulary.from_chars(text)
    ids = vocab.encode(text)
    train_ids, valid_ids = np.split(ids, [len(ids) * 9 // 10])
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("rnn", len(vocab), hidden_size=100), seed)
    optimizer, B, done = minirnn.Adam(2e-3), TOKENS // T, 0
    while done < STEPS:
        state = model.zero_state(B)
        for x, y in minirnn.stream_batches(train_ids, B, T):
            _, grads, after = model.loss_and_grads(x, y, state)
            minirnn.clip_norm(grads, 1.0)
            optimizer.step(model.params, grads)
            state = after if carry else model.zero_state(B)
            done += 1
            if done == STEPS:
                break
    if carry:
        return minirnn.evaluate(model, valid_ids, batch_size=1, seq_length=64)[0]
    slices = (len(valid_ids) - 1) // T
    ((x, y),) = minirnn.stream_batches(valid_ids, slices, T)  # one batch: every slice is a column
    return float(model.loss(x, y, model.zero_state(slices))[0])


def main():
    losses = {
        name: [[round(train(T, carry, seed), 4) for seed in SEEDS] for T in LENGTHS]
        for name, carry in (("carried", True), ("zero", False))
    }
    (FIGURES / "how_far_back.json").write_text(json.dumps({"T": LENGTHS, **losses}, indent=1) + "\n")


if __name__ == "__main__":
    main()
