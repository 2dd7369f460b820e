"""Train a word model as Zaremba, Sutskever and Vinyals (2014) and the TensorFlow tutorial did on the Penn Treebank.

    python examples/word_ptb.py --data-path DIR --model small

DIR holds ptb.train.txt, ptb.valid.txt and, for the final score, ptb.test.txt. Perplexity is exp(nats per word).
"""

from support import find_text

import argparse
import os
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from minirnn import read_text
from minirnn.commands.build import choose_threads
from minirnn.commands.cli import PATH, Parser, guarded, treebank
from minirnn.commands.folder import begin_anew
from minirnn.commands.presets import PRESETS
from minirnn.commands.run import Run
from minirnn.commands.settings import THREADS, Settings, changed, given, one_of, whole

MODELS = ("small", "medium", "large", "tanh")


def begin(args: argparse.Namespace, settings: Settings) -> Run:
    """A run on the treebank, or else on what the character example reads, of which the last lines validate."""
    out = Path(args.out or f"runs/ptb-{args.model}")
    data = args.data_path or os.environ.get("MINIRNN_DATA", "")
    if data and (args.data_path or any(Path(data).glob("ptb.*.txt"))):
        parts = treebank(data, "--data-path" if args.data_path else "MINIRNN_DATA")
        print(f"text: the Penn Treebank in {data}" + ("" if parts[2:] else ", without ptb.test.txt"))
        return begin_anew(out, parts, settings)
    path, why = find_text(None, args.offline)
    print(f"{why}; no --data-path names the Penn Treebank")
    lines = read_text(path).splitlines(keepends=True)
    cut = len(lines) * 9 // 10
    seen_twice = sum(count > 1 for count in Counter("".join(lines[:cut]).split()).values())
    with tempfile.TemporaryDirectory() as folder:
        parts = [[str(Path(folder) / "first-nine-tenths.txt")], [str(Path(folder) / "last-tenth.txt")]]
        for (name,), text in zip(parts, (lines[:cut], lines[cut:]), strict=True):
            Path(name).write_text("".join(text), encoding="utf-8")
        # Two more words: <eos>, and <unk> for all that occur once.
        return begin_anew(out, parts, replace(settings, max_vocab=seen_twice + 2))


def train(args: argparse.Namespace) -> int:
    """Train, and say the perplexity after each epoch; returns the exit code."""
    settings = changed(PRESETS[args.model], given(args))
    choose_threads(settings, args.threads, args.as_program)
    run = begin(args, settings)
    with run.watched():
        for report in run.trainer.steps(run.steps_left):
            if run.over(report):
                break
    return run.finish()


def main(argv: list[str] | None = None) -> int:
    """Train as the command line says."""
    parser = Parser(
        description="Train a word model on the Penn Treebank, in the published configurations.",
        epilog="minirnn train --preset NAME has the same configurations, and an option for every setting.",
    )
    add = parser.add_argument
    add("--data-path", "--data_path", metavar="DIR", type=PATH, help="folder of ptb.train.txt and so on; else "
        "MINIRNN_DATA")  # fmt: skip
    add("--model", metavar="NAME", type=one_of(*MODELS), default="small", help="small, medium, large as published, or "
        "tanh, a vanilla RNN of the size of small (small)")  # fmt: skip
    add("--epochs", metavar="N", type=whole(1), default=argparse.SUPPRESS, help="passes through the text")
    add("--out", metavar="DIR", type=PATH, help="folder of the run (runs/ptb-MODEL)")
    add("--offline", action="store_true", help="never download anything")
    add("--seed", metavar="N", type=whole(0), default=argparse.SUPPRESS, help="the same seed gives the same run (0)")
    add("--threads", metavar="N", type=THREADS, help="of BLAS; OPENBLAS_NUM_THREADS, if it is set, wins")
    parser.set_defaults(as_program=argv is None)
    return guarded(Path(sys.argv[0]).name, lambda: train(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
