"""What do gates do after training? An LSTM that has read the play, a GRU that has learned to recall: writes gates.json.

python docs/figures/run_gates.py        one seed: about twenty seconds on one core
"""

import json
from pathlib import Path

import numpy as np
from run_recall import B, draw, new_model, train

import minirnn
from minirnn import gru, lstm, ops

FIGURES = Path(__file__).parent
PLAY = FIGURES.parents[1] / "examples" / "data" / "play.txt"
H, STEPS = 64, 4000
KINDS = {"line end": "\n", "space": " ", "punctuation": ".,:;!?", "vowel": "aeiou"}  # and "other"


def cell_params(params):
    """The parameters of the only layer, under the names that its cell knows."""
    return {name.removeprefix("rnn0."): p for name, p in params.items() if name.startswith("rnn0.")}


def gates_over_text():
    """The forget gates of an LSTM over a passage it has never seen, and its gates' means after each kind of letter."""
    text = minirnn.read_text(PLAY)
    vocab = minirnn.Vocabulary.from_chars(text)
    train_ids, valid_ids = np.split(vocab.encode(text), [len(text) * 9 // 10])
    model = minirnn.LanguageModel.init(minirnn.ModelConfig("lstm", len(vocab), H), rng=0)
    trainer = minirnn.Trainer(model, minirnn.Adam(2e-3), train_ids, batch_size=8, seq_length=64, clip_norm=1.0)
    for _ in trainer.steps(STEPS):
        pass
    x = ops.one_hot(valid_ids[:, None], len(vocab))
    _, _, (*_, gates) = lstm.forward(cell_params(model.params), x, lstm.zero_state(H, 1))
    i, f, o, _ = np.split(gates[:, :, 0], 4, axis=1)  # (N, H) each
    read = vocab.decode(valid_ids)
    kinds = [next((kind for kind, letters in KINDS.items() if letter in letters), "other") for letter in read]
    means = {
        kind: [round(float(gate[np.array(kinds) == kind].mean()), 3) for gate in (i, f, o)]
        for kind in (*KINDS, "other")
    }
    start = read.index("\n\n") + 2
    passage = slice(start, start + 80)
    units = np.argsort(f.mean(axis=0))[1::2]  # every second one, in the order of how much they keep
    loss, _ = minirnn.evaluate(model, valid_ids)
    return {
        "loss": round(loss, 3),
        "text": read[passage],
        "forget": np.round(f[passage][:, units].T.astype(float), 2).tolist(),
        "means": means,
        "keeps": np.round(np.sort(np.exp(np.log(f).mean(axis=0))).astype(float), 4).tolist(),  # geometric means
    }


def gates_over_symbols():
    """The update gates of a GRU that has learned to recall the marked symbol, over one new sequence."""
    rng = np.random.default_rng(0)
    model = new_model("GRU, update bias 3", "marked", rng)
    steps = train(model, "marked", 20, rng)
    x, y = draw("marked", 20, rng)
    H = model.config.hidden_size
    one_hot = ops.one_hot(x, model.config.vocab_size)
    _, _, (_, _, _, gates, _) = gru.forward(cell_params(model.params), one_hot, gru.zero_state(H, B))
    z = gates[:, H : 2 * H]  # (T, H, B)
    order = np.argsort(z.mean(axis=(0, 2)))
    return {
        "steps": steps,
        "symbols": x[:, 0].tolist(),
        "answer": int(y[0]),
        "update": np.round(z[:, order, 0].T.astype(float), 2).tolist(),
    }


def main():
    data = {"play": gates_over_text(), "marked": gates_over_symbols()}
    (FIGURES / "gates.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
