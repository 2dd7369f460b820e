"""The command ``minirnn``; also ``python -m minirnn``."""

import argparse
import codecs
import contextlib
import dataclasses
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import minirnn
from minirnn.commands.presets import PRESETS
from minirnn.commands.settings import (
    AT_LEAST_0,
    MAY_CHANGE,
    POSITIVE,
    THREADS,
    Kind,
    Settings,
    add_options,
    changed,
    given,
    one_of,
    option,
    whole,
)  # fmt: skip
from minirnn.files.checkpoint import special

REPORT = "this is a mistake in minirnn; please report it, with the lines above, where you got minirnn from"
PATH = Kind("the name of a file or folder", str, bool)  # an empty one would silently be the current folder


def words(text: str) -> str:
    """An argparse type: text, also where the locale knows only ASCII."""
    return os.fsencode(text).decode("utf-8", "replace")


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are one sentence."""

    def __init__(self, **options: Any):
        options.setdefault(
            "formatter_class", lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110)
        )
        super().__init__(**options)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help that cannot be written is an error, which argparse would pass over."""
        if file is not None:
            print(message, end="", file=file)

    def error(self, message: str) -> NoReturn:
        message = (
            message.removeprefix("argument ").replace(": takes ", " takes ", 1).replace(": expected ", " expected ", 1)
        )
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help says more\n")


# --- commands and options ---------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Every command and every option, with the help that teaches them."""
    parser = Parser(
        prog="minirnn",
        description="Recurrent networks in NumPy, written out by hand: train them on a text, let them write, ask how "
        "surprised they are, and grade those who write their own.",
        epilog="To begin: minirnn train book.txt --out run, then minirnn sample run. Exit codes: 0 done, 2 bad input, "
        "130 interrupted (a training run has saved everything), 141 nobody reads the output any more, 1 a mistake in "
        "minirnn.",
    )
    parser.add_argument("--version", action="version", version=f"minirnn {minirnn.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, description: str, run: Callable[[argparse.Namespace], int]) -> Any:
        made = commands.add_parser(name, help=summary, description=description)
        made.set_defaults(run=run)
        return made

    add_train(command)
    add_sample(command)
    add_score(command)
    add_inspect(command)
    info = command(
        "info",
        "what is in a run?",
        "What was trained on what, how far it is, how good it is, and how to go on.",
        run_info,
    )
    info.add_argument("model", metavar="RUN", type=PATH, help="folder of a run, or one .npz file")
    doctor = command(
        "doctor",
        "look at a text and at this machine before training",
        "Say what is in a text, which settings suit it and what training will cost; which BLAS and kernels NumPy uses; "
        "and by a trial of a few seconds whether other settings of it would be faster here.",
        run_doctor,
    )
    doctor.add_argument("text", metavar="TEXT", nargs="?", type=PATH, help="a text file; without it, the machine")
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

    parser.add_argument("texts", metavar="TEXT", nargs="*", type=PATH, help="text files, read one after the other")
    parser.add_argument("--data-path", "--data_path", metavar="DIR", type=PATH, help="or a folder of ptb.train.txt, "
                        "ptb.valid.txt and perhaps ptb.test.txt")  # fmt: skip
    parser.add_argument("--out", metavar="RUN", type=PATH, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN; no texts are needed")
    parser.add_argument("--restart", action="store_true", help="begin anew; a run in RUN is kept under another name")
    parser.add_argument("--init-from", metavar="RUN", type=PATH, help="begin with the model of another run; the text "
                        "may have further characters")  # fmt: skip
    parser.add_argument(
        "--threads", metavar="N", type=THREADS, help="of BLAS; OPENBLAS_NUM_THREADS, if it is set, wins"
    )
    parser.add_argument("--time-limit", metavar="SECONDS", type=POSITIVE, help="stop after so long, with everything "
                        "saved")  # fmt: skip
    parser.add_argument("--preset", metavar="NAME", type=one_of(*PRESETS), help="where the defaults come from: "
                        f"{', '.join(PRESETS)}; without one from here")  # fmt: skip
    add_options(parser)


def add_sample(command: Callable[..., Any]) -> None:
    """``minirnn sample``."""
    parser = command(
        "sample",
        "let a trained model write",
        "Draw text from the best checkpoint of a run, and show it as it is drawn; many texts are drawn at once, and "
        "shown when they are done.",
        run_sample,
    )
    parser.add_argument("models", metavar="RUN", nargs="+", type=PATH, help="folder of a run, or one .npz file; of "
                        "several each draws with the same seed")  # fmt: skip
    parser.add_argument("--prime", metavar="TEXT", type=words, default="", help="text the model reads first")
    parser.add_argument("--length", metavar="N", type=whole(0), default=500, help="tokens to draw (500)")
    parser.add_argument("--temperature", metavar="X", type=AT_LEAST_0, default=0.8, help="below 1 bolder, above "
                        "wilder, 0 always the most probable (0.8)")  # fmt: skip
    parser.add_argument("--top-k", metavar="K", type=whole(1), help="draw among the K most probable tokens")
    parser.add_argument("--top-p", metavar="P", type=POSITIVE, help="or among the fewest with probability P together")
    parser.add_argument("--stop", metavar="TEXT", type=words, help="end when this has been drawn")
    parser.add_argument("--count", metavar="N", type=whole(1), default=1, help="texts to draw, all at once (1)")
    parser.add_argument("--seed", metavar="N", type=whole(0), default=0, help="the same seed, the same text (0)")


def add_score(command: Callable[..., Any]) -> None:
    """``minirnn score``."""
    parser = command(
        "score",
        "how surprised is a model by a text?",
        "Mean surprisal of a text in nats and bits per token, and perplexity; on a terminal also the text itself, each "
        "token in the colour of its surprisal.",
        run_score,
    )
    parser.add_argument("model", metavar="RUN", type=PATH, help="folder of a run, or one .npz file")
    parser.add_argument("file", metavar="FILE", type=PATH, help="the text")
    parser.add_argument("--encoding", default="utf-8", help="of the text (utf-8)")
    parser.add_argument("--unknown", metavar="{refuse,skip,price}", type=one_of("refuse", "skip", "price"),
                        default="refuse", help="tokens the model never saw: an error, left out, or each priced as one "
                        "more token, as likely as any (refuse)")  # fmt: skip
    parser.add_argument("--csv", metavar="CSV", type=PATH, help="write the surprisal of every token to this file")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="show the text in colour; "
                        "auto: on a terminal, unless NO_COLOR is set (auto)")  # fmt: skip


def add_inspect(command: Callable[..., Any]) -> None:
    """``minirnn inspect``."""
    parser = command(
        "inspect",
        "look inside a network while it reads",
        "Write one page for a browser, which loads nothing: a text in the colours of any unit or gate, which units "
        "know what about it (and which only seem to), what comes next at every place, what a prediction depends on. Or "
        "show the text in the colours of one unit on the terminal.",
        run_inspect,
    )
    parser.add_argument("model", metavar="RUN", type=PATH, help="folder of a run, or one .npz file")
    parser.add_argument("file", metavar="TEXT", nargs="?", type=PATH, help="a text file; without one the text that the "
                        "run set aside for validation, else one that the model writes")  # fmt: skip
    parser.add_argument("--out", metavar="PAGE", type=PATH, default="inspect.html", help="the page (inspect.html)")
    parser.add_argument("--compare", metavar="RUN", type=PATH, help="another network beside it, on the same text")
    parser.add_argument(
        "--length", metavar="N", type=whole(1), default=5000, help="tokens of the text to look at (5000)"
    )
    parser.add_argument("--encoding", default="utf-8", help="of the text (utf-8)")
    parser.add_argument("--terminal", action="store_true", help="no page: the text here, in the colours of one unit")
    parser.add_argument("--unit", metavar="N", type=whole(0), help="which one; without it that which goes best with "
                        "something")  # fmt: skip
    parser.add_argument("--part", metavar="NAME", help='of which state or gate: "gru 1 z" is the update gate of the '
                        "first layer (h of the last layer)")  # fmt: skip
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="or bars below the text; "
                        "auto: colours on a terminal, unless NO_COLOR is set (auto)")  # fmt: skip


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
    parser.add_argument("files", metavar="STUDENT.py", nargs="+", type=PATH, help="the student's file, or many")
    parser.add_argument(
        "--gradescope",
        metavar="RESULTS.json",
        type=PATH,
        help="also write Gradescope's results.json, always valid; for one file",
    )
    parser.add_argument("--csv", metavar="MARKS.csv", type=PATH, help="a table of files and functions")
    parser.add_argument("--html", metavar="REPORT.html", type=PATH, help="the same as a page, with frequent mistakes")
    parser.add_argument("--timeout", metavar="SECONDS", type=POSITIVE, default=60, help="for a whole file; a single "
                        "function may take a fourteenth of it (60)")  # fmt: skip
    parser.add_argument("--part", type=int, choices=(1, 2), help="only part 1 (tanh) or 2 (GRU, LSTM); without, both")
    parser.add_argument("--traceback", action="store_true", help="show the student's traceback after an exception")


# --- what the commands do ---------------------------------------------------------------------------


def run_train(args: argparse.Namespace) -> int:
    """``minirnn train``: a new run, or one that goes on."""
    from minirnn.commands.build import choose_threads
    from minirnn.commands.folder import begin, begin_anew, resume
    from minirnn.commands.run import train

    wishes, folder = given(args), Path(args.out)
    if args.resume:
        fixed = [option(name) for name in wishes if name not in MAY_CHANGE]
        fixed += [f"--{name}" for name in ("preset", "restart", "init-from") if getattr(args, name.replace("-", "_"))]
        if args.texts or args.data_path or fixed:
            what = fixed[0] if fixed else "the texts"
            may = ", ".join(map(option, MAY_CHANGE))
            raise ValueError(f"{what} cannot change when a run is resumed; only {may}, --threads and --time-limit can")
        choose_threads(Settings(), args.threads, args.as_program, threads_of(folder))
        return train(resume(folder, wishes), args.time_limit)
    if args.texts and args.data_path:
        raise ValueError("the text files and --data-path both say what to train on; give one of the two")
    if not args.texts and not args.data_path:
        raise ValueError("no text to train on: name one or more text files, or --data-path, or --resume a run")
    parts = treebank(args.data_path) if args.data_path else [args.texts]
    former = find_model(args.init_from) if args.init_from else None
    base = PRESETS[args.preset] if args.preset else Settings()
    settings = changed(as_in(former, base, wishes) if former else base, wishes)
    choose_threads(settings, args.threads, args.as_program)
    return train((begin_anew if args.restart else begin)(folder, parts, settings, former), args.time_limit)


def threads_of(folder: Path) -> int:
    """With how many threads the run in a folder began; one if it does not say so."""
    path = folder / "config.json"
    try:
        return 1 if special(path) else int(json.loads(path.read_text())["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def as_in(path: Path, settings: Settings, wishes: dict[str, Any]) -> Settings:
    """The settings with the architecture and the tokens of a model in a file; no wish may contradict them."""
    model, vocab = minirnn.load_model(path)
    fixed = dataclasses.asdict(model.config) | {"kind": vocab.kind, "max_vocab": None}
    for name in ("vocab_size", "dropout"):
        del fixed[name]
    for name in ("init_normal", "init_uniform", *fixed):
        if name in wishes and wishes[name] != fixed.get(name):
            raise ValueError(f"{option(name)} is the model's own with --init-from; leave it out")
    return dataclasses.replace(settings, init_normal=None, init_uniform=None, dropout=model.config.dropout, **fixed)


def treebank(folder: str, named: str = "--data-path") -> list[list[str]]:
    """The files ptb.train.txt, ptb.valid.txt and, if it is there, ptb.test.txt of a folder, each a part of its own."""
    paths = [Path(folder) / f"ptb.{part}.txt" for part in ("train", "valid", "test")]
    missing = [str(path) for path in paths[:2] if not path.is_file()]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}; {named} must name a folder with the files of the treebank")
    return [[str(path)] for path in paths if path.is_file()]


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
    models = [(name, *minirnn.load_model(find_model(name))) for name in args.models]
    limits = (args.length, args.temperature, args.top_k, args.top_p, args.stop)
    # All arguments are looked at before anything is printed.
    draws = [minirnn.sample(model, vocab, args.seed, args.prime, *limits, args.count) for _, model, vocab in models]
    for (name, _, vocab), draw in zip(models, draws, strict=True):
        # Many are drawn at once, and shown one after the other; a single one is shown as it is drawn.
        rows = list(draw) if args.count > 1 else draw
        for number in range(args.count):
            if len(models) > 1 or args.count > 1:
                titles = [name] * (len(models) > 1) + [str(number + 1)] * (args.count > 1)
                print(f"----- {', '.join(titles)} -----")
            print(args.prime, end="")
            for piece in vocab.spaced((row[number] for row in rows if row[number]), args.prime):
                print(piece, end="", flush=True)
            print()
    return 0


def run_info(args: argparse.Namespace) -> int:
    """``minirnn info``."""
    from minirnn.commands.info import lines_about

    print(*lines_about(find_model(args.model)), sep="\n")
    return 0


def run_score(args: argparse.Namespace) -> int:
    """``minirnn score``: nats, bits, perplexity; a CSV file, colours."""
    from minirnn.commands import score

    model, vocab = minirnn.load_model(find_model(args.model))
    tokens, nats, unknown = score.score(model, vocab, minirnn.read_text(args.file, args.encoding), args.unknown)
    if args.csv:
        score.write_csv(Path(args.csv), tokens, nats)
    if in_colour(args.color):
        score.show_coloured(tokens, nats, vocab)
    score.show_summary(nats, unknown, vocab)
    return 0


def in_colour(wish: str) -> bool:
    """Whether to write in colours, as ``--color`` says."""
    return wish == "always" or (wish == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


def run_inspect(args: argparse.Namespace) -> int:
    """``minirnn inspect``: a page, or a text in colours."""
    from minirnn.commands import inspect

    if args.terminal and args.compare:
        raise ValueError("--compare needs a page; leave --terminal out")
    if not args.terminal and (args.unit is not None or args.part):
        raise ValueError("--unit and --part are for --terminal; on a page they are chosen there")
    text = minirnn.read_text(args.file, args.encoding) if args.file else None
    paths = find_model(args.model), find_model(args.compare) if args.compare else None
    named, tokens, source = inspect.gather(paths[0], text, args.length, paths[1])
    if args.terminal:
        checkpoint = named[0][1]
        part, unit, why, values = inspect.choose(checkpoint, tokens, args.part, args.unit)
        print(inspect.coloured(checkpoint.vocab, tokens, values, part, in_colour(args.color)))
        print(f"{part}, unit {unit}{why}: mean {values.mean():.3f}, from {values.min():.3f} to {values.max():.3f}")
        return 0
    html = inspect.page(named, tokens, source or Path(args.file).name)
    inspect.write(Path(args.out), html)
    print(f"{args.out}: {inspect.counted(named[0][1].vocab, tokens)}, {len(html) / 1e6:.1f} MB; open it in a browser")
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    """``minirnn doctor``: the text, if there is one, and the machine."""
    from minirnn.commands import doctor

    if args.text:
        print(*doctor.examine_text(args.text, Settings()), sep="\n")
    print(*doctor.examine_machine(), sep="\n")
    return 0


def run_grade(args: argparse.Namespace) -> int:
    """``minirnn grade``."""
    from minirnn.grading import classroom, grade

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end the student's process too
    if len(args.files) == 1 and not (args.csv or args.html):
        return grade.run(args.files[0], args.gradescope, args.timeout, args.part, args.traceback)
    if args.gradescope:
        raise ValueError("--gradescope is for one file; --csv and --html take many")
    return classroom.run_all(args.files, args.timeout, args.part, args.csv, args.html)


# --- exit codes -------------------------------------------------------------------------------------


def legible(error: UnicodeError) -> tuple[bytes, int]:
    """What is written for characters that a stream lacks, which shall not end a training run: question marks.

    The bytes of a file's name that are no text in this locale are written as they are.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return b"".join(bytes([ord(c) - 0xDC00]) if "\udc80" <= c <= "\udcff" else b"?" for c in part), error.end


codecs.register_error("minirnn.legible", legible)


def guarded(name: str, program: Callable[[], int]) -> int:
    """Run a program and return its exit code; bad input ends it with one sentence on stderr, and 2."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # all is loaded
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.stdout or io.StringIO()  # it was closed: nobody reads
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # in a locale of ASCII alone a terminal still knows UTF-8
            ascii_alone = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_alone else None, errors="minirnn.legible")
    try:
        try:
            return program()
        finally:
            sys.stdout.flush()  # after --help too
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141  # what a shell says of a program that ends by SIGPIPE
    except MemoryError as error:
        sentence = f"not enough memory: {error}; take a smaller model, batch or text"
    except OSError as error:
        sentence = f"cannot use {error.filename}: {error.strerror}"
        if error.filename is None:  # it was the output
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sentence = f"cannot write the output: {error.strerror or error}"
    except (ValueError, FloatingPointError) as error:
        sentence = str(error)
    except Exception:
        traceback.print_exc()
        print(f"{name}: {REPORT}", file=sys.stderr)
        return 1
    with contextlib.suppress(OSError):  # of a terminal that is gone
        print(f"{name}: {sentence}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, return the exit code."""
    return guarded("minirnn", lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """Parse and run."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if "texts" in args:  # texts may stand on both sides of the options
        while rest and not rest[0].startswith("-"):
            args.texts.append(rest.pop(0))
    elif "compare" in args and args.file is None and rest and not rest[0].startswith("-"):
        args.file = rest.pop(0)  # so may the one of inspect
    if rest:
        parser.error(f"there is no {rest[0]}")
    args.as_program = argv is None
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
