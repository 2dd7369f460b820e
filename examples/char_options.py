"""The command line of char_shakespeare.py: its presets and its options."""

import argparse
import math
from collections.abc import Callable
from typing import Any

import minirnn
from minirnn.commands.cli import at_least, fraction, path_name
from minirnn.optim import OPTIMIZERS
from minirnn.schedules import SCHEDULES

COMMON: dict[str, Any] = dict(
    cell="rnn", layers=1, dropout=0.0, optimizer="adagrad", clip_norm=math.inf, clip_value=math.inf, seq_length=25,
    schedule="constant", valid=0.1, reduction="mean", smoothing=0.99, init_std=None,
    report_every=500, sample_every=2500, temperature=0.8,
)  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "default": COMMON | dict(hidden=256, learning_rate=0.02, clip_norm=0.5, batch_size=32, duration=("steps", 13_000)),
    # The best in about a minute on two cores.
    "minute": COMMON | dict(
        cell="gru", hidden=256, optimizer="adam", learning_rate=0.005, schedule="linear", clip_norm=1.0, batch_size=32,
        seq_length=32, duration=("steps", 3800), report_every=250, sample_every=1000,
    ),
    # A. Karpathy, min-char-rnn (2015), to the letter.
    "karpathy": COMMON | dict(
        hidden=100, learning_rate=0.1, clip_value=5.0, batch_size=1, duration=("steps", 100_000), valid=0.0,
        reduction="sum", smoothing=0.999, init_std=0.01, report_every=1000, sample_every=10_000, temperature=1.0,
    ),
    # A. Karpathy, char-rnn (2015), its defaults but for the initial weights and 30 epochs of 50; published: 1.394 nats
    # per character in validation at epoch 26. Its gradients are those of the loss summed over the slice.
    "char-rnn": COMMON | dict(
        cell="lstm", layers=2, hidden=128, optimizer="rmsprop", learning_rate=0.002, schedule="epochs", clip_value=5.0,
        batch_size=50, seq_length=50, duration=("epochs", 30), valid=0.05, reduction="sum",
    ),
    # M. Goerner, TensorFlow and deep learning (2017); published on all of Shakespeare: 1.467 nats, accuracy 0.555.
    "goerner": COMMON | dict(
        cell="gru", layers=3, hidden=512, dropout=0.2, optimizer="adam", learning_rate=0.001, batch_size=200,
        seq_length=30, duration=("epochs", 10), report_every=50, sample_every=500,
    ),
}  # fmt: skip


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; the preset's values are the defaults of everything else."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--preset", choices=PRESETS, default="default", help="where all defaults come from")
    preset = PRESETS[first.parse_known_args(argv)[0].preset]
    parser = argparse.ArgumentParser(
        description="Train a recurrent network, written out by hand in NumPy, to write like a text.",
        epilog="Ctrl-C ends the training after the current step and keeps what there is; twice, at once.",
        parents=[first],
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
    )

    def add(*names: str, **options: Any) -> None:
        if options.get("default", preset.get(names[0].lstrip("-").replace("-", "_"))) is not None:
            options["help"] += " (%(default)s)"
        parser.add_argument(*names, **options)

    add("--text", metavar="FILE", type=path_name, help="text to train on; without it tiny Shakespeare, from the folder "
        "MINIRNN_DATA, the cache or the network, or else the play in examples/data")  # fmt: skip
    add("--encoding", default="utf-8", help="encoding of FILE")
    add("--offline", action="store_true", help="never download anything")
    add(
        "--out",
        metavar="DIR",
        type=path_name,
        default="runs/shakespeare",
        help="where the model and the loss curve are written",
    )
    add("--cell", choices=minirnn.CELLS, help="recurrent cell")
    add("--layers", metavar="L", type=at_least(1), help="cells stacked on each other")
    add("--hidden", metavar="H", type=at_least(1), help="hidden units of each layer")
    add("--dropout", metavar="P", type=fraction, help="share of each layer's output dropped while training")
    add("--optimizer", choices=OPTIMIZERS, help="update rule")
    add("--learning-rate", metavar="X", type=float, help="of the optimizer")
    add("--clip-norm", metavar="X", type=float, help="limit of the gradients' global norm")
    add("--clip-value", metavar="X", type=float, help="limit of each entry of the gradients")
    add("--batch-size", metavar="B", type=at_least(1), help="sequences in a batch")
    add("--seq-length", metavar="T", type=at_least(1), help="steps through which gradients flow back")
    add(
        "--schedule",
        choices=SCHEDULES,
        help="how the learning rate falls: not; to 0 in a line or a cosine; "
        "exponentially to a hundredth; or after epoch 10 by 3 %% an epoch",
    )
    for unit, what in (("steps", "updates to make"), ("epochs", "or passes through the text to make")):
        default = preset["duration"][1] if preset["duration"][0] == unit else None
        what += "" if default is None else f" ({default})"
        parser.add_argument(f"--{unit}", dest="duration", metavar="N", type=amount(unit), help=what)
    add("--valid", metavar="SHARE", type=fraction, help="share at the end of the text that is kept for validation")
    add("--report-every", metavar="N", type=at_least(1), help="steps between two lines of progress")
    add("--sample-every", metavar="N", type=at_least(1), help="steps between two samples")
    add("--temperature", metavar="X", type=float, help="of samples: below 1 bolder, above wilder, 0 most probable only")
    add("--prime", metavar="TEXT", default="", help="text that the samples go on from")
    add("--seed", metavar="N", type=at_least(0), default=1, help="the same seed gives the same run")
    parser.set_defaults(**preset)
    return parser.parse_args(argv)


def amount(unit: str) -> Callable[[str], tuple[str, int]]:
    """An argparse type: a whole number of at least 1, and what it counts."""

    def whole_number(text: str) -> tuple[str, int]:
        return unit, at_least(1)(text)

    whole_number.__name__ = "whole number"
    return whole_number
