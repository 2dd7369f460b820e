"""Who speaks? A classifier reads a speech word by word and names the speaker.

    python examples/who_said_it.py

Many to one: a recurrent network reads speeches of different lengths; what it remembers at the end of each goes through
two dense layers and a softmax over the speakers.
"""

from support import find_text

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minirnn
from minirnn.checks import check_diverged
from minirnn.classifier import pad
from minirnn.commands.build import choose_threads
from minirnn.commands.cli import PATH, Parser, guarded
from minirnn.commands.progress import Progress
from minirnn.commands.settings import POSITIVE, SHARE, THREADS, Settings, one_of, whole
from minirnn.files.checkpoint import writing
from minirnn.optim import global_norm
from minirnn.plots import plot_confusion
from minirnn.schedules import linear_decay

SPEECH = re.compile(r"^([^\W\d_][\w .'\u2019-]*):\n(.+)", re.DOTALL)  # O'Neil, Anne-Marie and Dr. Who are names too
TOKEN = re.compile(r"[\w']+|[^\w\s]")
ROMAN = re.compile(r"X{0,3}(IX|IV|V?I{0,3})")
LARGEST_PICTURE = 30  # speakers in the confusion matrix: about 20 inches


def find_speeches(text: str) -> list[tuple[str, str]]:
    """All (speaker, words) of a script: a name with a colon on a line of its own, the speech, a blank line."""
    matches = [SPEECH.match(block) for block in re.split(r"\n\s*\n", text)]
    found = [(match[1], TOKEN.findall(match[2].lower())) for match in matches if match]
    return [(spell(name), " ".join(words)) for name, words in found if name[0].isupper() and words]


def spell(name: str) -> str:
    """One spelling of a name in capitals or not: KING RICHARD III is King Richard III, O'NEIL'S SON is O'Neil's Son."""
    words = (word.upper() if ROMAN.fullmatch(word.upper()) else word.title() for word in name.split())
    return re.sub(r"(?<=['\u2019])S\b", "s", " ".join(words))


def split(speeches: list[tuple[str, str]], speakers: list[str]) -> tuple[list, list]:
    """Every fifth speech of each speaker to test on, the others to train on."""
    train, test = [], []
    for speaker in speakers:
        own = [(name, speech) for name, speech in speeches if name == speaker]
        test += own[::5]
        train += [pair for i, pair in enumerate(own) if i % 5]
    return train, test


def choose_speakers(counts: Counter, names: list[str] | None, most: int) -> list[str]:
    """The speakers asked for, or those who speak most, the most frequent first.

    Raises
    ------
    ValueError
        If a name hardly ever occurs, or fewer than two speakers are left.
    """
    if names and len(set(names)) < 2:
        raise ValueError(f"--names needs at least two different names, got {names[0]}")
    speakers = names or [name for name, count in counts.most_common(most) if count >= 10]
    for name in speakers:
        if counts[name] < 5:
            known = ", ".join(known for known, _ in counts.most_common(10))
            raise ValueError(
                f"{name} has {counts[name]} speeches, too few to learn from; those who speak most: {known}"
            )
    if len(speakers) < 2:
        raise ValueError(
            f"found {counts.total()} speeches and {len(speakers)} speaker(s) with 10 or more, but 2 are needed; "
            f"a speech begins with NAME: on a line of its own and ends with a blank line"
        )
    return sorted(dict.fromkeys(speakers), key=lambda name: -counts[name])  # equal ones as they came


def train(args: argparse.Namespace) -> int:
    """Train a classifier, and show on unseen speeches whom it recognizes; returns the exit code."""
    choose_threads(Settings(hidden_size=args.hidden_size, layers=args.layers), args.threads, args.as_program)
    path, why = find_text(args.text, args.offline)
    print(why)
    speeches = find_speeches(minirnn.read_text(path, args.encoding))
    speakers = choose_speakers(Counter(name for name, _ in speeches), args.names, args.speakers)
    labels = {name: i for i, name in enumerate(speakers)}
    train_set, test_set = split(speeches, speakers)

    words = " ".join(speech for _, speech in train_set)
    seen_twice = sum(count > 1 for count in Counter(words.split()).values())
    vocab = minirnn.Vocabulary.from_words(words, max_size=seen_twice + 1)  # and <unk> for all others
    rng = np.random.default_rng(args.seed)
    config = minirnn.ModelConfig(args.cell, len(vocab), args.hidden_size, args.layers, args.hidden_size, args.dropout)
    model = minirnn.SequenceClassifier.init(config, len(speakers), rng, dense_size=args.hidden_size)
    optimizer = minirnn.Adam(args.learning_rate)

    def encode(pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first words of speeches as columns, the index of each one's speaker, the length of each."""
        x, lengths = pad([vocab.encode(speech)[: args.length] for _, speech in pairs])
        return x, np.array([labels[name] for name, _ in pairs]), lengths

    x, answers, lengths = encode(test_set)
    majority = np.bincount(answers).max() / len(answers)
    print(f"data: {len(train_set)} speeches to learn from, {len(test_set)} to test, {len(speakers)} speakers")
    print(f"model: {args.layers} x {args.hidden_size} {args.cell}, {len(vocab)} words")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    began, read, total = time.monotonic(), 0, args.epochs * -(-len(train_set) // args.batch_size)
    progress = Progress(sys.stdout, "word", total)
    with minirnn.catch_interrupt() as interrupted, np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(1, args.epochs + 1):
            optimizer.learning_rate = args.learning_rate * linear_decay(epoch - 1, args.epochs)
            order, losses = rng.permutation(len(train_set)), []
            for i in range(0, len(order), args.batch_size):
                batch = encode([train_set[j] for j in order[i : i + args.batch_size]])
                loss, grads = model.loss_and_grads(*batch, rng=rng)
                minirnn.clip_norm(grads, 1.0)
                optimizer.step(model.params, grads)
                step, norm = int(optimizer.state["t"]), global_norm(model.params)
                check_diverged(step, "try a smaller --learning-rate", loss=loss, norm_of_the_parameters=norm)
                losses.append(float(loss))
                read, took = read + int(batch[2].sum()), max(time.monotonic() - began, 1e-9)
                left, part = took * (total / step - 1), epoch - 1 + (i + len(batch[2])) / len(order)
                progress.show(
                    minirnn.Report(step, part, loss, sum(losses) / len(losses), 0.0, read / took, left), {}, False
                )
            guesses = model.predict(x, lengths)
            accuracy = (guesses == answers).mean()
            progress.pause()
            print(f"epoch {epoch}/{args.epochs}  loss {np.mean(losses):.3f} nats  accuracy {accuracy:.3f}", flush=True)
            if interrupted.is_set():
                print(f"interrupted after epoch {epoch}")
                break

    confusion = np.zeros((len(speakers), len(speakers)), int)
    np.add.at(confusion, (answers, guesses), 1)
    for i in rng.permutation(len(test_set))[:5]:
        name, speech = test_set[i]
        print(
            f"  {speech[:60]!r}: {speakers[guesses[i]]}"
            + ("" if speakers[guesses[i]] == name else f", but it was {name}")
        )
    print(f"accuracy on unseen speeches {accuracy:.3f}; always naming the most frequent speaker {majority:.3f}")
    sys.stdout.flush()  # whatever may become of the picture
    shown = speakers[:LARGEST_PICTURE]
    with writing(out / "confusion.png"):
        plot_confusion(confusion[: len(shown), : len(shown)], shown, out / "confusion.png")
    who = "" if len(shown) == len(speakers) else f" (the {len(shown)} who speak most)"
    print(f"written: {out / 'confusion.png'}{who}")
    return 130 if interrupted.is_set() else 0


def main(argv: list[str] | None = None) -> int:
    """Train as the command line says."""
    parser = Parser(description="Learn to tell who speaks a speech of a play.")

    def add(name: str, metavar: str, kind: Callable[[str], Any], default: Any, words: str) -> None:
        words += "" if default is None else f" ({default})"
        parser.add_argument(name, metavar=metavar, type=kind, default=default, help=words)

    add("--text", "FILE", PATH, None, "a script; else tiny Shakespeare, or the play in examples/data")
    add("--encoding", "NAME", str, "utf-8", "encoding of FILE")
    parser.add_argument("--offline", action="store_true", help="never download anything")
    add("--out", "DIR", PATH, "runs/who_said_it", "where the picture is written")
    add("--speakers", "N", whole(2), 10, "tell apart the N who speak most")
    parser.add_argument("--names", metavar="NAME", nargs="+", type=spell, help="tell these apart instead")
    add("--length", "N", whole(1), 60, "words of a speech that are read")
    add("--cell", "NAME", one_of(*minirnn.CELLS), "lstm", "recurrent cell: " + ", ".join(minirnn.CELLS))
    add("--layers", "L", whole(1), 1, "cells stacked on each other")
    add("--hidden-size", "H", whole(1), 128, "hidden units, and width of the embedding")
    add("--dropout", "P", SHARE, 0.7, "share dropped while training")
    add("--learning-rate", "X", POSITIVE, 0.005, "of Adam, falling to zero")
    add("--epochs", "N", whole(1), 30, "passes through the speeches")
    add("--batch-size", "B", whole(1), 32, "speeches in a batch")
    add("--seed", "N", whole(0), 1, "the same seed gives the same run")
    add("--threads", "N", THREADS, None, "of BLAS; OPENBLAS_NUM_THREADS, if it is set, wins")
    parser.set_defaults(as_program=argv is None)
    return guarded(Path(sys.argv[0]).name, lambda: train(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
