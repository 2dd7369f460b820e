"""The command ``minirnn``; also ``python -m minirnn``."""

import argparse
import sys
from collections.abc import Sequence

import minirnn


def build_parser() -> argparse.ArgumentParser:
    """Every command and every option, with the help that teaches them."""
    parser = argparse.ArgumentParser(prog="minirnn", description="Recurrent networks in NumPy, written out by hand.")
    parser.add_argument("--version", action="version", version=f"minirnn {minirnn.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    grade = commands.add_parser(
        "grade",
        help="grade a student's file of the assignment",
        description="Grade a student's file of the assignment in examples/assignment: points for every function, and "
        "one sentence for everything that is wrong. The file runs in a process of its own with a time limit, which "
        "keeps accidents apart. It is no security sandbox: run files of strangers in a container.",
    )
    grade.add_argument("file", metavar="STUDENT.py", help="the student's file")
    grade.add_argument(
        "--gradescope", metavar="RESULTS.json", help="also write Gradescope's results.json, always valid"
    )
    grade.add_argument("--timeout", type=seconds, default=60, help="seconds for the whole file (default 60); a single "
                       "call may take a tenth of it")  # fmt: skip
    grade.add_argument("--part", type=int, choices=(1, 2), help="only part 1 (tanh) or 2 (GRU, LSTM); without, both")
    grade.add_argument("--traceback", action="store_true", help="show the student's traceback after an exception")
    grade.set_defaults(command=run_grade)
    return parser


def seconds(text: str) -> float:
    """An argparse type: a positive, finite number of seconds."""
    if not 0 < float(text) < 1e9:
        raise argparse.ArgumentTypeError(f"must be more than 0, got {text}")
    return float(text)


def run_grade(args: argparse.Namespace) -> int:
    """``minirnn grade``."""
    from minirnn import grade

    return grade.run(args.file, args.gradescope, args.timeout, args.part, args.traceback)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, return the exit code: 0 done, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    try:
        return args.command(args)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"minirnn: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
