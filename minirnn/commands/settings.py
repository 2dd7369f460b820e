"""The settings of a training run: every default, help text and check stands here, and the command line is made of them.

None means "no limit" or "not at all"; the command line and the tables of presets write ``none``.
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minirnn.model import CELLS
from minirnn.optim import OPTIMIZERS

LARGEST = 10**12  # of whole numbers
AVERAGES = {"decay": "rmsprop", "beta1": "adam", "beta2": "adam"}  # which optimizer has them
SCHEDULES = ("constant", "linear", "cosine", "exponential", "epochs")  # functions of minirnn.schedules


@dataclass(frozen=True)
class Kind:
    """The values a setting may have: in words, how they are read from the command line, and as a test."""

    words: str
    parse: Callable[[str], Any]
    fits: Callable[[Any], bool]
    none: tuple[str, ...] = ()  # what the command line may say for None
    names: tuple[str, ...] = ()  # if there are only a few values

    def __call__(self, text: str) -> Any:
        """The value of a word of the command line: an argparse type."""
        try:
            return self.check(None if text in self.none else self.parse(text))
        except ValueError as error:
            own = str(error).startswith("takes")
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # as it was typed in any locale
            raise argparse.ArgumentTypeError(str(error) if own else f"takes {self.words}, got {text!r:.40}") from None

    def check(self, value: Any) -> Any:
        """The value, or ValueError in words."""
        if not self.fits(value) and not (value is None and self.none):
            large = type(value) is int and value >= LARGEST and self.fits(LARGEST - 1)
            words = f"a whole number below {LARGEST:,}" if large else self.words
            raise ValueError(f"takes {words}, got {str(value)[:30]!r}")
        return value


def whole(minimum: int, none: tuple[str, ...] = ()) -> Kind:
    """Whole numbers from ``minimum`` on."""
    return Kind(
        f"a whole number of at least {minimum}",
        int,
        lambda value: type(value) is int and minimum <= value < LARGEST,
        none,
    )


def number(words: str, test: Callable[[float], bool], none: tuple[str, ...] = ()) -> Kind:
    """Finite numbers that pass a test."""
    return Kind(f"a number {words}", float, lambda v: type(v) in (int, float) and abs(v) < 1e300 and test(v), none)


def one_of(*names: str) -> Kind:
    """One of a few names."""
    return Kind(f"{', '.join(names[:-1])} or {names[-1]}", str, lambda value: value in names, names=names)


POSITIVE = number("greater than 0", lambda v: v > 0)
AT_LEAST_0 = number("of at least 0", lambda v: v >= 0)
SHARE = number("of at least 0 and less than 1", lambda v: 0 <= v < 1)
NONE = ("none",)
NONE_OR_0 = ("none", "0")
PERHAPS_SHARE = number("of at least 0 and less than 1", lambda v: 0 <= v < 1, NONE)
LIMIT = number("greater than 0", lambda v: v > 0, NONE_OR_0)
THREADS = Kind("a whole number from 1 to 1,024", int, lambda v: type(v) is int and 1 <= v <= 1024)
FLAG = Kind("true or false", str, lambda value: type(value) is bool)


def setting(default: Any, group: str, kind: Kind, metavar: str | None, words: str) -> Any:
    """A field of :class:`Settings`."""
    return field(default=default, metadata={"group": group, "kind": kind, "metavar": metavar, "help": words})


@dataclass(frozen=True)
class Settings:
    """How a model is made and trained; ValueError if a value makes no sense."""

    kind: str = setting("chars", "text", one_of("chars", "words"), None, "what a token is")
    max_vocab: int | None = setting(None, "text", whole(1, NONE), "V", "size of a vocabulary of words; the rest is "
                                    "<unk>")  # fmt: skip
    encoding: str = setting("utf-8", "text", Kind("the name of an encoding", str, lambda v: type(v) is str and v != ""),
                            "NAME", "of the text files")  # fmt: skip
    valid: float = setting(0.1, "text", SHARE, "SHARE", "share at the end of the text kept for validation")
    cell: str = setting("gru", "model", one_of(*CELLS), None, "recurrent cell")
    layers: int = setting(1, "model", whole(1), "L", "cells stacked on each other")
    hidden_size: int = setting(256, "model", whole(1), "H", "hidden units of each layer")
    embedding_size: int | None = setting(None, "model", whole(1, NONE), "D", "size of learned input vectors; without, "
                                         "one-hot")  # fmt: skip
    dropout: float = setting(0.0, "model", SHARE, "P", "share of each layer's output dropped while training")
    tie_weights: bool = setting(False, "model", FLAG, None, "use the embedding as output layer too (needs D = H)")
    init_normal: float | None = setting(None, "model", LIMIT, "X", "draw all weights from a normal distribution of "
                                        "this standard deviation, biases zero")  # fmt: skip
    init_uniform: float | None = setting(None, "model", LIMIT, "X", "or uniformly from -X to X, biases zero")
    optimizer: str = setting("adam", "training", one_of(*OPTIMIZERS), None, "update rule")
    decay: float | None = setting(None, "training", PERHAPS_SHARE, "X", "of RMSProp's moving average, 0.95 if not "
                                  "given")  # fmt: skip
    beta1: float | None = setting(None, "training", PERHAPS_SHARE, "X", "of Adam's average of gradients, 0.9 if not "
                                  "given")  # fmt: skip
    beta2: float | None = setting(None, "training", PERHAPS_SHARE, "X", "of Adam's average of squared gradients, 0.999 "
                                  "if not given")  # fmt: skip
    learning_rate: float = setting(0.005, "training", POSITIVE, "X", "of the optimizer, at first")
    schedule: str = setting("linear", "training", one_of(*SCHEDULES), None, "how the rate falls: not, in a line or a "
                            "cosine to 0, exponentially to a hundredth, or by epochs")  # fmt: skip
    constant_epochs: int = setting(10, "training", whole(0), "N", "schedule epochs: before the rate falls")
    epoch_decay: float = setting(0.97, "training", number("of at least 0 and at most 1", lambda v: 0 <= v <= 1), "X",
                                 "schedule epochs: factor on the rate at each epoch after those")  # fmt: skip
    clip_norm: float | None = setting(1.0, "training", LIMIT, "X", "limit of the gradients' global norm; 0: none")
    clip_value: float | None = setting(None, "training", LIMIT, "X", "limit of each entry; 0: none")
    reduction: str = setting("mean", "training", one_of("mean", "sum"), None, "minimize the mean loss of a token, or "
                             "the sum over a sequence")  # fmt: skip
    batch_size: int = setting(32, "training", whole(1), "B", "sequences in a batch")
    seq_length: int = setting(32, "training", whole(1), "T", "steps through which gradients flow back")
    warmup: int = setting(0, "training", whole(0), "N", "steps over which the rate rises at first")
    steps: int | None = setting(4000, "training", whole(1, NONE), "N", "updates to make")
    epochs: int | None = setting(None, "training", whole(1, NONE), "N", "or passes through the text to make")
    max_epochs: int | None = setting(20, "training", whole(1, NONE), "N", "but no more passes than so many, "
                                     "where steps were not asked for")  # fmt: skip
    patience: int | None = setting(5, "training", whole(1, NONE_OR_0), "N", "stop after so many evaluations without "
                                   "a better one; 0: never")  # fmt: skip
    seed: int = setting(1, "training", whole(0), "N", "the same seed gives the same run")
    report_every: int | None = setting(
        250, "progress", whole(1, NONE), "N", "steps between two evaluations; none: an epoch"
    )
    sample_every: int | None = setting(1000, "progress", whole(1, NONE_OR_0), "N", "steps between two samples; 0: none")
    temperature: float = setting(0.8, "progress", AT_LEAST_0, "X", "of samples: below 1 bolder, above wilder")
    smoothing: float = setting(0.99, "progress", SHARE, "X", "of the training loss that is shown")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            try:
                f.metadata["kind"].check(getattr(self, f.name))
            except ValueError as error:
                raise ValueError(f"{f.name} {error}") from None
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"give steps or epochs, one of the two, got {self.steps} and {self.epochs}")
        if self.init_normal and self.init_uniform:
            raise ValueError("init_normal and init_uniform exclude each other; give one of the two")
        for name, optimizer in AVERAGES.items():
            if getattr(self, name) is not None and self.optimizer != optimizer:
                raise ValueError(f"{option(name)} is for --optimizer {optimizer}; choose that, or leave it out")


MAY_CHANGE = ("steps", "epochs", "patience", "learning_rate", "report_every", "sample_every")  # when a run is resumed


# --- on the command line ------------------------------------------------------------------------------


def option(name: str) -> str:
    """A setting's name on the command line."""
    return f"--{name.replace('_', '-')}"


def typed(name: str, value: Any) -> str:
    """A setting as it is typed on the command line."""
    return option(name) if value is True else f"{option(name)} {'none' if value is None else value}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for every setting; one that is not given leaves no trace among the arguments."""
    groups: dict[str, Any] = {}
    for f in dataclasses.fields(Settings):
        group = f.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        words = f.metadata["help"] + ("" if f.default in (None, False) else f" ({f.default})")
        options: dict[str, Any] = dict(dest=f.name, default=argparse.SUPPRESS, help=words)
        if f.metadata["kind"] is FLAG:
            groups[group].add_argument(option(f.name), action="store_true", **options)
        else:
            options |= dict(
                type=f.metadata["kind"], metavar=f.metadata["metavar"] or f"{{{','.join(f.metadata['kind'].names)}}}"
            )
            groups[group].add_argument(option(f.name), **options)
    # What the option was called before; --hidden and --embedding are understood anyway.
    parser.add_argument("--level", dest="kind", type=Settings.__dataclass_fields__["kind"].metadata["kind"],
                        default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # fmt: skip


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line names."""
    return {f.name: getattr(args, f.name) for f in dataclasses.fields(Settings) if hasattr(args, f.name)}


def changed(settings: Settings, wishes: Mapping[str, Any]) -> Settings:
    """The settings with other values for some; ValueError if a wish makes no sense beside the others."""
    wishes = dict(wishes)
    for one, other in (("steps", "epochs"), ("epochs", "steps"), ("init_normal", "init_uniform"),
                       ("init_uniform", "init_normal")):  # fmt: skip
        if wishes.get(one) is not None:
            wishes.setdefault(other, None)
    if wishes.get("steps") or wishes.get("epochs"):
        wishes.setdefault("max_epochs", None)
    if wishes.get("steps") and wishes.get("epochs"):
        raise ValueError("--steps and --epochs both say how long to train; give one of the two")
    if wishes.get("tie_weights"):
        wishes.setdefault("embedding_size", wishes.get("hidden_size", settings.hidden_size))
    settings = dataclasses.replace(settings, **wishes)
    needed = {"max_vocab": ("kind", "words"), "constant_epochs": ("schedule", "epochs"),
              "epoch_decay": ("schedule", "epochs")}  # fmt: skip
    for name, (other, value) in needed.items():
        if wishes.get(name) is not None and getattr(settings, other) != value:
            raise ValueError(f"{option(name)} is for {option(other)} {value}; choose that, or leave it out")
    if wishes.get("patience") and settings.valid == 0 and wishes.get("valid") == 0:
        raise ValueError("--patience needs a validation loss; leave out --valid 0")
    return settings


# --- in files -----------------------------------------------------------------------------------------

# What the first releases called differently, and what their runs could not choose.
FORMER_NAMES = {"level": "kind", "hidden": "hidden_size", "embedding": "embedding_size"}
FORMER = dict(
    decay=None, beta1=None, beta2=None, init_normal=None, init_uniform=None, constant_epochs=10, epoch_decay=0.97,
    reduction="mean", smoothing=0.99, sample_every=None, temperature=0.8, warmup=0, max_epochs=None,
)  # fmt: skip


def settings_from(stored: Mapping[str, Any]) -> Settings:
    """The settings in a run's file, also of the first releases; ValueError names what is missing or wrong."""
    if "level" in stored:
        stored = FORMER | {FORMER_NAMES.get(name, name): value for name, value in stored.items()}
        for limit in ("clip_norm", "clip_value"):
            if type(stored.get(limit)) is float and stored[limit] == 0:
                stored[limit] = None
        if stored.get("epochs") and "steps" in stored:
            stored["steps"] = None
    names = [f.name for f in dataclasses.fields(Settings)]
    for name in names:
        if name not in stored:
            raise ValueError(f"the settings have no {name}")
    return Settings(**{name: stored[name] for name in names})
