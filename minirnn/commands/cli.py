"""The command ``minirnn``; also ``python -m minirnn``."""

import argparse
import io
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import minirnn
from minirnn.optim import OPTIMIZERS
from minirnn.schedules import SCHEDULES
from minirnn.text import END_OF_LINE

REPORT = "this is a mistake in minirnn; please report it, with the lines above, where you got minirnn from"
DEFAULTS: dict[str, Any] = dict(
    level="chars", encoding="utf-8", max_vocab=None, cell="gru", layers=1, hidden=256, embedding=None, dropout=0.0,
    tie_weights=False, optimizer="adam", decay=None, beta1=None, beta2=None, learning_rate=0.005, schedule="linear",
    clip_norm=1.0, clip_value=0.0, batch_size=32, seq_length=32, steps=4000, epochs=None, valid=0.1, patience=None,
    report_every=250, seed=1,
)  # fmt: skip
MAY_CHANGE = ("steps", "epochs", "patience", "report_every")  # when a run is resumed


# --- kinds of arguments -----------------------------------------------------------------------------


def path_name(text: str) -> str:
    """An argparse type: the name of a file or folder; an empty one would silently be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must be the name of a file or folder, got an empty one")
    return text


def at_least(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number not below ``minimum``."""

    def whole_number(text: str) -> int:
        if not minimum <= int(text) < 10**12:
            raise argparse.ArgumentTypeError(f"must be at least {minimum} and less than 10**12, got {text:.20}")
        return int(text)

    whole_number.__name__ = "whole number"  # argparse shows it
    return whole_number


def fraction(text: str) -> float:
    """An argparse type: a number that is at least 0 and less than 1."""
    if not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1, got {text}")
    return float(text)


def positive(text: str) -> float:
    """An argparse type: a positive, finite number."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, got {text}")
    return float(text)


def not_negative(text: str) -> float:
    """An argparse type: a finite number that is at least 0."""
    if not 0 <= float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text}")
    return float(text)


# --- commands and options ---------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Every command and every option, with the help that teaches them."""
    parser = argparse.ArgumentParser(
        prog="minirnn",
        description="Recurrent networks in NumPy, written out by hand: train them on a text, let them write, ask how "
        "surprised they are, and grade those who write their own.",
        epilog="To begin: minirnn train book.txt --out run, then minirnn sample run. Exit codes: 0 done, 2 bad input, "
        "130 interrupted (a training run has saved everything), 1 a mistake in minirnn.",
    )
    parser.add_argument("--version", action="version", version=f"minirnn {minirnn.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, description: str, run: Callable[[argparse.Namespace], int]) -> Any:
        made = commands.add_parser(
            name, help=summary, description=description,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110),
        )  # fmt: skip
        made.set_defaults(run=run)
        return made

    add_train(command)
    add_sample(command)
    add_score(command)
    doctor = command(
        "doctor",
        "look at a text and at this machine before training",
        "Say what is in a text, which settings suit it and what training will cost; which BLAS and kernels NumPy uses; "
        "and by a trial of a few seconds whether other settings of it would be faster here.",
        run_doctor,
    )
    doctor.add_argument("text", metavar="TEXT", nargs="?", type=path_name, help="a text file; without it, the machine")
    add_grade(command)
    return parser


def add_train(command: Callable[..., Any]) -> None:
    """``minirnn train``."""
    parser = command(
        "train",
        "train a model on text files",
        "Train a character or word model. The folder RUN receives the checkpoints last.npz (to resume from) and "
        "best.npz (lowest validation loss), history.csv, config.json and the loss curve. Ctrl-C ends the run after the "
        "current step with everything saved; --resume goes on from there, to the bit as if it had not been stopped.",
        run_train,
    )

    def add(group: Any, *names: str, **options: Any) -> None:
        default = DEFAULTS.get(names[0].lstrip("-").replace("-", "_"))
        if default not in (None, False):
            options["help"] += f" ({default})"
        group.add_argument(*names, default=None, **options)

    parser.add_argument("texts", metavar="TEXT", nargs="*", type=path_name, help="text files, read one after the other")
    parser.add_argument("--out", metavar="RUN", type=path_name, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN; no texts are needed")
    parser.add_argument(
        "--time-limit", metavar="SECONDS", type=positive, help="stop after so long, with everything saved"
    )
    text = parser.add_argument_group("text")
    add(text, "--level", choices=("chars", "words"), help="what a token is")
    add(text, "--max-vocab", metavar="V", type=at_least(1), help="size of a vocabulary of words; the rest is <unk>")
    add(text, "--encoding", help="of the text files")
    add(text, "--valid", metavar="SHARE", type=fraction, help="share at the end of the text kept for validation")
    model = parser.add_argument_group("model")
    add(model, "--cell", choices=minirnn.CELLS, help="recurrent cell")
    add(model, "--layers", metavar="L", type=at_least(1), help="cells stacked on each other")
    add(model, "--hidden", metavar="H", type=at_least(1), help="hidden units of each layer")
    add(model, "--embedding", metavar="D", type=at_least(1), help="size of learned input vectors; without, one-hot")
    add(model, "--dropout", metavar="P", type=fraction, help="share of each layer's output dropped while training")
    add(model, "--tie-weights", action="store_true", help="use the embedding as output layer too (needs D = H)")
    training = parser.add_argument_group("training")
    add(training, "--optimizer", choices=OPTIMIZERS, help="update rule")
    add(training, "--decay", metavar="X", type=fraction, help="of RMSProp's moving average, 0.95 if not given")
    add(training, "--beta1", metavar="X", type=fraction, help="of Adam's average of gradients, 0.9 if not given")
    add(
        training,
        "--beta2",
        metavar="X",
        type=fraction,
        help="of Adam's average of squared gradients, 0.999 if not given",
    )
    add(training, "--learning-rate", metavar="X", type=positive, help="of the optimizer, at first")
    add(training, "--schedule", choices=SCHEDULES, help="how the rate falls: not, in a line or a cosine to 0, "
        "exponentially to a hundredth, or after epoch 10 by 3 %% an epoch")  # fmt: skip
    add(training, "--clip-norm", metavar="X", type=not_negative, help="limit of the gradients' global norm; 0: none")
    add(training, "--clip-value", metavar="X", type=not_negative, help="limit of each entry; 0: none")
    add(training, "--batch-size", metavar="B", type=at_least(1), help="sequences in a batch")
    add(training, "--seq-length", metavar="T", type=at_least(1), help="steps through which gradients flow back")
    add(training, "--steps", metavar="N", type=at_least(1), help="updates to make")
    add(training, "--epochs", metavar="N", type=at_least(1), help="or passes through the text to make")
    add(
        training,
        "--patience",
        metavar="N",
        type=at_least(1),
        help="stop after so many evaluations without a better one",
    )
    add(training, "--report-every", metavar="N", type=at_least(1), help="steps between two evaluations")
    add(training, "--seed", metavar="N", type=at_least(0), help="the same seed gives the same run")


def add_sample(command: Callable[..., Any]) -> None:
    """``minirnn sample``."""
    parser = command(
        "sample",
        "let a trained model write",
        "Draw text from the best checkpoint of a run, and show it as it is drawn.",
        run_sample,
    )
    parser.add_argument("model", metavar="RUN", type=path_name, help="folder of a run, or one .npz file")
    parser.add_argument("--prime", metavar="TEXT", default="", help="text the model reads first")
    parser.add_argument("--length", metavar="N", type=at_least(0), default=500, help="tokens to draw (500)")
    parser.add_argument("--temperature", metavar="X", type=not_negative, default=0.8, help="below 1 bolder, above "
                        "wilder, 0 always the most probable (0.8)")  # fmt: skip
    parser.add_argument("--top-k", metavar="K", type=at_least(1), help="draw among the K most probable tokens")
    parser.add_argument("--top-p", metavar="P", type=positive, help="or among the fewest with probability P together")
    parser.add_argument("--stop", metavar="TEXT", help="end when this has been drawn")
    parser.add_argument("--count", metavar="N", type=at_least(1), default=1, help="samples to draw (1)")
    parser.add_argument("--seed", metavar="N", type=at_least(0), default=0, help="the same seed, the same text (0)")


def add_score(command: Callable[..., Any]) -> None:
    """``minirnn score``."""
    parser = command(
        "score",
        "how surprised is a model by a text?",
        "Mean surprisal of a text in nats and bits per token, and perplexity; on a terminal also the text itself, each "
        "token in the colour of its surprisal.",
        run_score,
    )
    parser.add_argument("model", metavar="RUN", type=path_name, help="folder of a run, or one .npz file")
    parser.add_argument("file", metavar="FILE", type=path_name, help="the text")
    parser.add_argument("--encoding", default="utf-8", help="of the text (utf-8)")
    parser.add_argument("--csv", metavar="CSV", type=path_name, help="write the surprisal of every token to this file")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="show the text in colour; "
                        "auto: on a terminal, unless NO_COLOR is set (auto)")  # fmt: skip


def add_grade(command: Callable[..., Any]) -> None:
    """``minirnn grade``."""
    parser = command(
        "grade",
        "grade a student's file of the assignment",
        "Grade a student's file of the assignment in examples/assignment: points for every function, and one sentence "
        "for everything that is wrong. The file runs in a process of its own with a time limit, which keeps accidents "
        "apart. It is no security sandbox: run files of strangers in a container.",
        run_grade,
    )
    parser.add_argument("file", metavar="STUDENT.py", type=path_name, help="the student's file")
    parser.add_argument(
        "--gradescope",
        metavar="RESULTS.json",
        type=path_name,
        help="also write Gradescope's results.json, always valid",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=positive, default=60, help="for the whole file; a single "
                        "call may take a tenth of it (60)")  # fmt: skip
    parser.add_argument("--part", type=int, choices=(1, 2), help="only part 1 (tanh) or 2 (GRU, LSTM); without, both")
    parser.add_argument("--traceback", action="store_true", help="show the student's traceback after an exception")


# --- what the commands do ---------------------------------------------------------------------------


def run_train(args: argparse.Namespace) -> int:
    """``minirnn train``: a new run, or one that goes on."""
    from minirnn.commands.run import train

    given = {name: value for name in DEFAULTS if (value := getattr(args, name)) is not None and value is not False}
    if args.resume:
        fixed = sorted(given.keys() - set(MAY_CHANGE))
        if args.texts or fixed:
            what = "the texts" if args.texts else f"--{fixed[0].replace('_', '-')}"
            may = ", ".join(f"--{name.replace('_', '-')}" for name in MAY_CHANGE)
            raise ValueError(f"{what} cannot change when a run is resumed; only {may} and --time-limit can")
        return stopped_by_a_closed_pipe(lambda: train(Path(args.out), [], given, True, args.time_limit))
    if not args.texts:
        raise ValueError("no text to train on: name one or more text files, or --resume a run")
    if "max_vocab" in given and given.get("level") != "words":
        raise ValueError("--max-vocab is for words; add --level words, or leave it out")
    for name, optimizer in (("decay", "rmsprop"), ("beta1", "adam"), ("beta2", "adam")):
        if name in given and given.get("optimizer", DEFAULTS["optimizer"]) != optimizer:
            raise ValueError(f"--{name} is for --optimizer {optimizer}; choose that, or leave it out")
    if "patience" in given and given.get("valid") == 0:
        raise ValueError("--patience needs a validation loss; leave out --valid 0")
    if args.tie_weights and "embedding" not in given:
        given["embedding"] = given.get("hidden", DEFAULTS["hidden"])
    return stopped_by_a_closed_pipe(lambda: train(Path(args.out), args.texts, DEFAULTS | given, False, args.time_limit))


def stopped_by_a_closed_pipe(train: Callable[[], int]) -> int:
    """Train; whoever closes the pipe that the progress goes to has stopped the run before its end."""
    try:
        return train()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print("minirnn: nobody reads the output any more: stopped; --resume goes on", file=sys.stderr)
        return 130


def find_model(name: str) -> Path:
    """The file to load: the folder's best.npz, else last.npz, else model.npz (of an example); or the file itself."""
    path = Path(name)
    if not path.is_dir():
        return path
    for file in ("best.npz", "last.npz", "model.npz"):
        if (path / file).exists():
            return path / file
    raise ValueError(f"{path} holds no best.npz, last.npz or model.npz; is it the folder of a run?")


def run_sample(args: argparse.Namespace) -> int:
    """``minirnn sample``: text, as it is drawn."""
    model, vocab = minirnn.load_model(find_model(args.model))
    limits = (args.length, args.temperature, args.top_k, args.top_p, args.stop)
    for number in range(args.count):
        tokens = minirnn.sample(model, vocab, args.seed + number, args.prime, *limits)
        if args.count > 1:
            print(f"----- {number + 1} -----")
        print(args.prime, end="")
        at_line_start = not args.prime or args.prime[-1].isspace()
        for token in tokens:
            if vocab.kind == "words":
                token = "\n" if token == END_OF_LINE else token if at_line_start else f" {token}"
                at_line_start = token == "\n"
            print(token, end="", flush=True)
        print()
    return 0


def run_score(args: argparse.Namespace) -> int:
    """``minirnn score``: nats, bits, perplexity; a CSV file, colours."""
    from minirnn.commands import score

    model, vocab = minirnn.load_model(find_model(args.model))
    ids = vocab.encode(minirnn.read_text(args.file, args.encoding))
    nats = score.surprisals(model, ids)
    if args.csv:
        score.write_csv(Path(args.csv), ids, nats, vocab)
    if args.color == "always" or (args.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")):
        score.show_coloured(ids, nats, vocab)
    score.show_summary(nats, vocab)
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    """``minirnn doctor``: the text, if there is one, and the machine."""
    from minirnn.commands import doctor

    if args.text:
        print(*doctor.examine_text(args.text, DEFAULTS), sep="\n")
    print(*doctor.examine_machine(), sep="\n")
    return 0


def run_grade(args: argparse.Namespace) -> int:
    """``minirnn grade``."""
    from minirnn.grading import grade

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end the student's process too
    return grade.run(args.file, args.gradescope, args.timeout, args.part, args.traceback)


# --- exit codes -------------------------------------------------------------------------------------


def guarded(name: str, program: Callable[[], int]) -> int:
    """Run a program and return its exit code; bad input ends it with one sentence on stderr, and 2."""
    sys.stdout = sys.stdout or io.StringIO()  # it was closed: nobody reads
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shall not end a training run
    try:
        return program()
    except KeyboardInterrupt:
        print(f"{name}: interrupted; whatever is kept was named above", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except MemoryError as error:
        sentence = f"not enough memory: {error}; take a smaller model, batch or text"
    except OSError as error:
        sentence = f"cannot use {error.filename}: {error.strerror}" if error.filename else str(error)
    except (ValueError, FloatingPointError) as error:
        sentence = str(error)
    except Exception:
        traceback.print_exc()
        print(f"{name}: {REPORT}", file=sys.stderr)
        return 1
    print(f"{name}: {sentence}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, return the exit code."""
    args = build_parser().parse_args(argv)
    return guarded("minirnn", lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
