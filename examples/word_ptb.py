"""Train a word model as Zaremba, Sutskever and Vinyals (2014) and the TensorFlow tutorial did on the Penn Treebank.

    python examples/word_ptb.py --data_path DIR --model small

DIR holds ptb.train.txt, ptb.valid.txt and, for the final score, ptb.test.txt. Perplexity is exp(nats per word). The
best model is written to model.npz, one that came after it and was worse to model.last.npz.
"""

import argparse
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from support import find_text, prepare_folder, run, set_aside

import minirnn
from minirnn.checks import check_diverged
from minirnn.commands.cli import at_least, path_name
from minirnn.schedules import epoch_decay

# The TensorFlow tutorial's configurations (the paper's medium divides the rate by 1.2, not 1.25); "tanh" is ours. Their
# loss is summed over the steps of a slice and averaged over the batch, and the rate and the limit of the norm are made
# for that sum; reduction="sum" below is the same loss.
MODELS = {
    "small": dict(cell="lstm", layers=2, hidden=200, seq_length=20, init=0.1, dropout=0.0, clip_norm=5.0,
                  learning_rate=1.0, constant_epochs=4, epochs=13, decay=0.5),
    "medium": dict(cell="lstm", layers=2, hidden=650, seq_length=35, init=0.05, dropout=0.5, clip_norm=5.0,
                   learning_rate=1.0, constant_epochs=6, epochs=39, decay=0.8),
    "large": dict(cell="lstm", layers=2, hidden=1500, seq_length=35, init=0.04, dropout=0.65, clip_norm=10.0,
                  learning_rate=1.0, constant_epochs=14, epochs=55, decay=1 / 1.15),
    "tanh": dict(cell="rnn", layers=1, hidden=200, seq_length=20, init=0.1, dropout=0.0, clip_norm=5.0,
                 learning_rate=0.1, constant_epochs=4, epochs=13, decay=0.5),
}  # fmt: skip
BATCH_SIZE = 20


def read_parts(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, str], int]:
    """The texts "train", "valid" and perhaps "test", the name of each, and the size of the vocabulary."""
    folder = args.data_path or os.environ.get("MINIRNN_DATA")
    paths = {part: Path(folder or ".") / f"ptb.{part}.txt" for part in ("train", "valid", "test")}
    missing = [str(paths[part]) for part in ("train", "valid") if not paths[part].is_file()]
    if folder and missing and (args.data_path or len(missing) == 1):  # one of the two is half a treebank
        setting = "--data_path" if args.data_path else "MINIRNN_DATA"
        raise ValueError(
            f"missing {' and '.join(missing)}; {setting} must name a folder with the files of the treebank"
        )
    if folder and not missing:
        print(f"text: the Penn Treebank in {folder}" + ("" if paths["test"].is_file() else ", without ptb.test.txt"))
        parts = {part: minirnn.read_text(path) for part, path in paths.items() if path.is_file()}
        return parts, {part: str(path) for part, path in paths.items()}, args.vocab_size or 10_000
    text, why = find_text(None, offline=args.offline)
    print(f"{why}; no --data_path names the Penn Treebank")
    lines = text.splitlines(keepends=True)
    parts = {"train": "".join(lines[: len(lines) * 9 // 10]), "valid": "".join(lines[len(lines) * 9 // 10 :])}
    names = {"train": "the first 90 % of the text", "valid": "the last 10 % of the text"}
    seen_twice = sum(count > 1 for count in Counter(parts["train"].split()).values())
    return parts, names, args.vocab_size or seen_twice + 2  # and <eos>, and <unk> for all the others


def train(args: argparse.Namespace) -> int:
    """Train, and print the perplexity after each epoch; returns the exit code."""
    setup = argparse.Namespace(**MODELS[args.model])
    epochs = args.epochs or setup.epochs
    texts, names, max_size = read_parts(args)
    vocab = minirnn.Vocabulary.from_words(texts["train"], max_size)
    ids = {part: vocab.encode(text) for part, text in texts.items()}
    for part in ids:
        needed = BATCH_SIZE * setup.seq_length + 1 if part == "train" else 2
        if len(ids[part]) < needed:
            raise ValueError(
                f"{names[part]} is too short: --model {args.model} needs {needed} words, got {len(ids[part])}; "
                f"take a longer text"
            )

    rng = np.random.default_rng(args.seed)
    config = minirnn.ModelConfig(setup.cell, len(vocab), setup.hidden, setup.layers, setup.hidden, setup.dropout)
    model = minirnn.LanguageModel.init(config, rng)
    for name, p in model.params.items():  # uniform weights; zero biases, the forget gate's too (the paper draws them)
        is_bias = name.split(".")[-1].startswith("b")
        p[...] = 0 if is_bias else rng.uniform(-setup.init, setup.init, p.shape)
    trainer = minirnn.Trainer(
        model, minirnn.SGD(setup.learning_rate), ids["train"], batch_size=BATCH_SIZE, seq_length=setup.seq_length,
        clip_norm=setup.clip_norm, reduction="sum", rng=rng,
    )  # fmt: skip
    epoch_steps = trainer.batches_per_epoch
    trainer.schedule = lambda step: epoch_decay(step, epoch_steps, setup.constant_epochs, setup.decay)
    size = sum(p.size for p in model.params.values())
    print(f"model: {setup.layers} x {setup.hidden} {setup.cell}, {len(vocab):,} words, {size:,} parameters")
    print(
        "data: " + ", ".join(f"{part} {len(ids[part]):,} words" for part in ids) + f"; {epoch_steps:,} steps an epoch"
    )

    out = prepare_folder(args.out or f"runs/ptb-{args.model}")
    best, nats, started = math.inf, 0.0, time.perf_counter()

    written: set[Path] = set()
    with minirnn.catch_interrupt() as interrupted:
        for report in trainer.steps(epochs * epoch_steps):
            nats += report.loss / setup.seq_length
            done = (report.step - 1) % epoch_steps + 1  # steps of this epoch
            if done % max(1, epoch_steps // 5) == 0 and done < epoch_steps:
                print(f"  epoch {report.epoch:5.2f}  train {perplexity(nats / done):7.2f} so far", end="  ")
                print(f"{report.tokens_per_second:,.0f} words/s  {report.seconds_left / 60:.0f} min left", flush=True)
            if done == epoch_steps or interrupted.is_set():
                path = out / ("model.last.npz" if best < math.inf else "model.npz")  # the best so far stays as it is
                if path not in written:
                    set_aside(path)
                    written.add(path)
                minirnn.save_model(path, model, vocab)  # before validating, which takes a while and may be interrupted
                if interrupted.is_set():
                    print(f"interrupted after step {report.step}; the model is in {path}", flush=True)
                valid, _ = minirnn.evaluate(model, ids["valid"], BATCH_SIZE)
                check_diverged(report.step, "the last model that was saved is kept", validation_loss=valid)
                print(f"epoch {report.epoch:5.2f}  rate {trainer.optimizer.learning_rate:.4f}", end="  ")
                print(f"train {perplexity(nats / done):7.2f}  valid {perplexity(valid):7.2f}", end="  ")
                print(f"{time.perf_counter() - started:.0f} s", flush=True)
                nats, started = 0.0, time.perf_counter()
                if valid < best:
                    best = valid
                    path.replace(out / "model.npz")
            if interrupted.is_set():
                break

    model, vocab = minirnn.load_model(out / "model.npz")
    print(f"best valid perplexity {perplexity(best):.2f}; its model is in {out / 'model.npz'}", flush=True)
    if "test" in ids:
        print(f"test perplexity {perplexity(minirnn.evaluate(model, ids['test'], BATCH_SIZE)[0]):.2f}")
    print("sample: " + vocab.join(minirnn.sample(model, vocab, args.seed, length=60, temperature=0.8)))
    return 130 if interrupted.is_set() else 0


def perplexity(nats: float) -> float:
    """exp(mean nats per word), infinite where that is too large for a number."""
    return math.exp(nats) if nats < 700 else math.inf


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train a word model on the Penn Treebank, in the published configurations.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data_path", metavar="DIR", type=path_name, help="folder of ptb.train.txt and so on; else MINIRNN_DATA")
    add("--model", choices=MODELS, default="small", help="tanh is a vanilla RNN of the size of small")
    add("--epochs", metavar="N", type=at_least(1), help="passes through the text; without it as published")
    add("--vocab-size", metavar="N", type=at_least(2), help="most words; without it 10,000, or all seen twice")
    add("--out", metavar="DIR", type=path_name, help="where the models are written; without it runs/ptb-MODEL")
    add("--offline", action="store_true", help="never download anything")
    add("--seed", metavar="N", type=at_least(0), default=0, help="the same seed gives the same run")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train as the command line says."""
    return run(train, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
