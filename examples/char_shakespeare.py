"""Train a character model on Shakespeare, and watch its samples turn into verse.

python examples/char_shakespeare.py                      a tanh network, about a minute
python examples/char_shakespeare.py --preset minute      a GRU, the best in about a minute
python examples/char_shakespeare.py --preset karpathy    min-char-rnn to the letter
"""

import argparse
import math
import sys

import numpy as np
from char_options import parse_arguments
from support import find_text, prepare_folder, run, set_aside

import minirnn
from minirnn.files.checkpoint import writing
from minirnn.optim import OPTIMIZERS
from minirnn.plots import plot_losses
from minirnn.schedules import schedule_by_name


def train(args: argparse.Namespace) -> int:
    """Text -> ids -> batches -> model -> loss -> gradients -> update; returns the exit code."""
    text, why = find_text(args.text, args.encoding, args.offline)
    print(why)
    vocab = minirnn.Vocabulary.from_chars(text)
    ids = vocab.encode(text)
    train_ids, valid_ids = np.split(ids, [len(ids) - int(args.valid * len(ids))])
    print(
        f"data: {len(train_ids):,} characters to train on, {len(valid_ids):,} to validate, {len(vocab)} different ones"
    )

    needed = args.batch_size * args.seq_length + 1
    if len(train_ids) < needed <= len(ids):
        raise ValueError(
            f"--valid {args.valid} leaves {len(train_ids):,} of {len(ids):,} characters to train on, "
            f"but {needed:,} are needed; keep a smaller share"
        )
    if len(valid_ids) == 1:
        raise ValueError(
            f"--valid {args.valid} keeps 1 character, but evaluation needs at least 2 tokens; keep a larger share, or 0"
        )

    rng = np.random.default_rng(args.seed)
    config = minirnn.ModelConfig(args.cell, len(vocab), args.hidden, args.layers, dropout=args.dropout)
    model = minirnn.LanguageModel.init(config, rng)
    if args.init_std is not None:  # Karpathy's start: small normal weights, biases left at zero
        for name in [name for name in model.params if "W" in name]:
            model.params[name][...] = rng.normal(0, args.init_std, model.params[name].shape)
    trainer = minirnn.Trainer(
        model, OPTIMIZERS[args.optimizer](args.learning_rate), train_ids, batch_size=args.batch_size,
        seq_length=args.seq_length, clip_norm=args.clip_norm, clip_value=args.clip_value, reduction=args.reduction,
        smoothing=args.smoothing, rng=rng,
    )  # fmt: skip
    epoch_steps = trainer.batches_per_epoch
    steps = args.duration[1] * (epoch_steps if args.duration[0] == "epochs" else 1)
    trainer.schedule = schedule_by_name(args.schedule, steps, epoch_steps)
    size = sum(p.size for p in model.params.values())
    print(f"model: {args.layers} x {args.hidden} {args.cell}, {size:,} parameters; an epoch is", end=" ")
    print(f"{epoch_steps:,} steps of {args.batch_size} sequences x {args.seq_length} characters")

    def show_sample(title: str, length: int) -> None:
        tokens = minirnn.sample(model, vocab, args.seed, args.prime, length, args.temperature)
        print(f"----- {title} -----\n{args.prime}", end="")
        for token in tokens:
            print(token, end="", flush=True)
        print("\n-----")

    show_sample("before training", 100)
    out = prepare_folder(args.out)
    history: list[dict[str, float]] = []
    best = math.inf

    def record(step: int, loss: float) -> str:
        """Add a row to the history, keep the model if it is the best so far, and say both losses."""
        nonlocal best
        row = {"step": step, "loss": loss}
        line = f"smoothed loss {loss:.3f} nats, {loss / math.log(2):.3f} bits"
        if len(valid_ids):
            row["valid"], accuracy = minirnn.evaluate(model, valid_ids)
            line += f"  validation {row['valid']:.3f}, accuracy {accuracy:.3f}"
        if "valid" not in row or row["valid"] < best:  # without validation the last is the best
            best = row.get("valid", best)
            if not history:
                set_aside(out / "model.npz")
            minirnn.save_model(out / "model.npz", model, vocab)
        history.append(row)
        return line

    tokens_per_loss = args.seq_length if args.reduction == "sum" else 1
    try:
        record(0, math.log(len(vocab)))
    except KeyboardInterrupt:
        print("interrupted before the first step: there is nothing to keep")
        return 130
    try:
        with minirnn.catch_interrupt() as interrupted:
            for report in trainer.steps(steps):
                last = report.step == steps or interrupted.is_set()
                if interrupted.is_set():
                    print(f"interrupted: stopped after step {report.step}", flush=True)
                if report.step % args.report_every == 0 or last:
                    line = record(report.step, report.smooth_loss / tokens_per_loss)
                    if tokens_per_loss > 1:
                        line += f"  (sum over {tokens_per_loss}: {report.smooth_loss:.2f})"
                    minutes, seconds = divmod(round(report.seconds_left), 60)
                    print(f"step {report.step}/{steps}  epoch {report.epoch:.2f}  {line}", end="  ")
                    print(f"{report.tokens_per_second:,.0f} characters/s  {minutes}:{seconds:02} left", flush=True)
                if report.step % args.sample_every == 0 and not last:
                    show_sample(f"sample at step {report.step}, temperature {args.temperature:g}", 200)
                if last:
                    break
    finally:  # however training ended, what there is is kept
        which = (
            f"best validation {best:.3f} nats, {best / math.log(2):.3f} bits per character"
            if len(valid_ids)
            else "last"
        )
        print(f"written: {out / 'model.npz'} ({which})", flush=True)
        if trainer.step > history[-1]["step"]:  # it ended between two reports: a curve needs more than its beginning
            history.append({"step": trainer.step, "loss": trainer.smooth_loss / tokens_per_loss})
        with writing(out / "loss.png"):
            plot_losses(history, out / "loss.png", "character", len(vocab))
        print(f"written: {out / 'loss.png'} (the loss curve)")
    model, vocab = minirnn.load_model(out / "model.npz")
    show_sample(f"a sample of that model, temperature {args.temperature:g}", 1000)
    return 130 if interrupted.is_set() else 0


def main(argv: list[str] | None = None) -> int:
    """Train as the command line says."""
    return run(train, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
