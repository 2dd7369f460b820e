"""Train a character model on Shakespeare, and watch its samples turn into verse.

python examples/char_shakespeare.py                      a tanh network, about a minute
python examples/char_shakespeare.py --preset minute      a GRU, the best in about a minute
python examples/char_shakespeare.py --preset karpathy    min-char-rnn to the letter

The model, the loss curve and all that is needed to go on are kept in runs/shakespeare.
"""

from support import find_text

import argparse
import sys
from pathlib import Path

from minirnn.commands.build import choose_threads
from minirnn.commands.cli import PATH, Parser, guarded
from minirnn.commands.folder import begin_anew
from minirnn.commands.presets import PRESETS
from minirnn.commands.settings import THREADS, changed, given, one_of, whole

MORE = (
    "minirnn train has an option for every setting, and the same presets. Ctrl-C ends the training after this step and "
    "keeps what there is: minirnn train --resume --out DIR goes on, minirnn sample DIR lets the model write."
)


def train(args: argparse.Namespace) -> int:
    """Text -> ids -> batches -> model -> loss -> gradients -> update; returns the exit code."""
    settings = changed(PRESETS[args.preset], given(args))
    choose_threads(settings, args.threads, args.as_program)
    path, why = find_text(args.text, args.offline)
    print(why)
    run = begin_anew(Path(args.out), [[path]], settings)  # encodes the text, makes model, optimizer and trainer
    if settings.sample_every:
        run.show_sample(run.trainer.model, "before training", 100)
    with run.watched():  # Ctrl-C is a request, and the loss curve is drawn in the end
        for report in run.trainer.steps(run.steps_left):  # each step: the next batch, minirnn/train.py
            if run.over(report):  # now and then evaluates, keeps the best model, shows progress and samples
                break
    return run.finish()


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description="Train a recurrent network, written out by hand in NumPy, to write like a text.",
                    epilog=MORE)  # fmt: skip
    add, unless = parser.add_argument, argparse.SUPPRESS
    add("--preset", metavar="NAME", type=one_of(*PRESETS), default="default", help=", ".join(PRESETS))
    add("--text", metavar="FILE", type=PATH, help="text to train on; without it tiny Shakespeare, from the folder "
        "MINIRNN_DATA, the cache or the network, or else the play in examples/data")  # fmt: skip
    add("--encoding", metavar="NAME", default=unless, help="of FILE (utf-8)")
    add("--offline", action="store_true", help="never download anything")
    add("--out", metavar="DIR", type=PATH, default="runs/shakespeare", help="folder of the run (%(default)s)")
    add("--steps", metavar="N", type=whole(1), default=unless, help="updates to make")
    add("--seed", metavar="N", type=whole(0), default=unless, help="the same seed gives the same run (1)")
    add("--threads", metavar="N", type=THREADS, help="of BLAS; OPENBLAS_NUM_THREADS, if it is set, wins")
    parser.set_defaults(as_program=argv is None)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train as the command line says."""
    return guarded(Path(sys.argv[0]).name, lambda: train(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
