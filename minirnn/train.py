"""The training loop, and all that changes while it runs.

A step is: take the next batch, compute loss and gradients, clip them, let the optimizer update the parameters. The
hidden state that one batch ends with is the one the next begins with; it is zeroed only where the text starts over.
"""

import contextlib
import ctypes
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minirnn.checks import Array, Rng, check_choice, check_decay, check_diverged, check_ids, check_positive
from minirnn.model import LanguageModel
from minirnn.ops import cross_entropy_forward, to_bag
from minirnn.optim import Optimizer, clip_norm, clip_value, global_norm
from minirnn.text import stream, stream_batches

CALMER = "try a smaller learning rate or a smaller clipping limit"


@dataclass(frozen=True)
class Report:
    """What one training step has to say."""

    step: int  # steps taken since training began
    epoch: float  # passes through the text since training began
    loss: float  # of this batch, nats per token (with reduction="sum", what is minimized is T times as much)
    smooth_loss: float  # its exponentially smoothed mean
    gradient_norm: float  # global norm of the gradients before clipping
    tokens_per_second: float  # since steps() was called, pauses of the caller included
    seconds_left: float  # until steps() ends


class Trainer:
    """Trains a model on a stream of token ids; owns everything that changes on the way.

    Parameters
    ----------
    model : LanguageModel
        Its parameters are updated in place.
    optimizer
        One of :mod:`minirnn.optim`.
    ids : int array
        The training text, encoded.
    batch_size, seq_length : int
        B sequences at a time, through which gradients flow back over T steps.
    clip_norm, clip_value : float
        Limits of the gradients' global norm and of each entry; infinite: no clipping. With both, first the norm is
        limited, then the entries.
    reduction : {"mean", "sum"}
        The loss that is minimized, as in :meth:`LanguageModel.loss`.
    smoothing : float
        ``smooth_loss = smoothing * smooth_loss + (1 - smoothing) * loss``, which starts at the loss of guessing
        blindly, log V.
    schedule : function, optional
        Takes the steps done and returns the factor on the learning rate that the optimizer had when the trainer was
        made; see :mod:`minirnn.schedules`. It sets the rate before every step, whatever was set by hand in between.
    rng : Generator or int
        Draws the dropout masks.

    Raises
    ------
    ValueError
        If the ids are outside the vocabulary, or too few for one batch, or a setting is out of its range.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: Optimizer,
        ids: Array,
        *,
        batch_size: int,
        seq_length: int,
        clip_value: float = np.inf,
        clip_norm: float = np.inf,
        reduction: str = "mean",
        smoothing: float = 0.99,
        schedule: Callable[[int], float] | None = None,
        rng: Rng = 0,
    ):
        V = model.config.vocab_size
        self.model = model
        self.optimizer = optimizer
        # A memory-mapped text is not read as a whole, only batch by batch; each batch is checked by the model.
        self.x, self.y = stream(ids if isinstance(ids, np.memmap) else check_ids(ids, V), batch_size, seq_length)
        self.clip_value = check_positive("clip_value", clip_value, limit=True)
        self.clip_norm = check_positive("clip_norm", clip_norm, limit=True)
        self.reduction = check_choice("reduction", reduction, "mean", "sum")
        self.smoothing = check_decay("smoothing", smoothing)
        if schedule is not None and not callable(schedule):
            raise ValueError(f"schedule must be a function of the steps done, got {schedule!r}; see minirnn.schedules")
        self.schedule, self.learning_rate = schedule, optimizer.learning_rate
        self.rng = np.random.default_rng(rng)
        self.step = 0
        self.state = model.zero_state(batch_size)
        self.smooth_loss = float(np.log(V))
        keep_freed_memory()

    @property
    def batches_per_epoch(self) -> int:
        """Steps after which the text starts over."""
        return len(self.x)

    def steps(self, n: int) -> Iterator[Report]:
        """Take ``n`` steps, handing a :class:`Report` back after each.

        Raises FloatingPointError if the loss or a gradient is no longer finite, and the parameters are those before
        that step; or if its update has spoilt the parameters.
        """
        started = time.perf_counter()
        for done in range(1, n + 1):
            batch = self.step % self.batches_per_epoch
            if batch == 0:  # the text starts over: nothing came before its first token
                self.state = self.model.zero_state(self.x.shape[2])
            loss, norm = self._update(self.x[batch], self.y[batch])
            self.step += 1
            self.smooth_loss = self.smoothing * self.smooth_loss + (1 - self.smoothing) * loss
            then = f"its update has spoilt the parameters, go back to a saved model and {CALMER}"
            check_diverged(self.step, then, norm_of_the_parameters=global_norm(self.model.params))
            seconds = time.perf_counter() - started
            yield Report(
                step=self.step,
                epoch=self.step / self.batches_per_epoch,
                loss=loss,
                smooth_loss=self.smooth_loss,
                gradient_norm=norm,
                tokens_per_second=done * self.x[0].size / seconds,
                seconds_left=(n - done) * seconds / done,
            )

    @np.errstate(over="ignore", invalid="ignore")  # the check below says it better
    def _update(self, x: Array, y: Array) -> tuple[float, float]:
        """One batch: loss -> gradients -> clipping -> update. Returns nats per token, and the norm before clipping."""
        loss, grads, state = self.model.loss_and_grads(x, y, self.state, rng=self.rng, reduction=self.reduction)
        norm = clip_norm(grads, self.clip_norm)
        then = f"the parameters are those before this step; {CALMER}"
        check_diverged(self.step + 1, then, loss=loss, gradient_norm=norm)
        if self.clip_value < np.inf:
            clip_value(grads, self.clip_value)
        if self.schedule is not None:
            self.optimizer.learning_rate = self.learning_rate * self.schedule(self.step)
        self.optimizer.step(self.model.params, grads)
        self.state = state  # carried on; its gradient is not: truncated back-propagation through time
        return float(loss) / (len(x) if self.reduction == "sum" else 1), norm


def evaluate(model: LanguageModel, ids: Array, batch_size: int = 32, seq_length: int = 50) -> tuple[float, float]:
    """Mean loss in nats per token, and accuracy: the share of tokens that were the most probable one.

    Every token but the first is predicted once. They are read as ``batch_size`` streams, each from a zero state, in
    slices of ``seq_length`` between which the state is carried; what does not fill a batch is one more stream.
    ValueError if there are fewer than 2 tokens, or an id is outside the vocabulary.
    """
    if len(ids) < 2:
        raise ValueError(f"evaluation needs at least 2 tokens, one to read and one to predict, got {len(ids)}")
    ids = check_ids(ids, model.config.vocab_size)
    nats, hits, rest = 0.0, 0, (len(ids) - 1) % max(1, batch_size * seq_length)
    for part, B, T in ((ids[: len(ids) - rest], batch_size, seq_length), (ids[len(ids) - 1 - rest :], 1, rest)):
        if len(part) < 2:
            continue
        batches, state = stream_batches(part, B, T), model.zero_state(B)
        for x, y in batches:
            with np.errstate(over="ignore", invalid="ignore"):  # the loss of a diverged model says it: nan
                logits, state = model.logits(x, state)
                logits = to_bag(logits)  # (V, N)
                loss, _ = cross_entropy_forward(logits, y.reshape(-1), np.ones(y.size))
            nats += float(loss)
            hits += int((logits[y.reshape(-1), np.arange(y.size)] == logits.max(axis=0)).sum())
    return nats / (len(ids) - 1), hits / (len(ids) - 1)


@functools.cache
def keep_freed_memory() -> None:
    """Ask the C library to keep large arrays that were freed, where it is glibc; elsewhere nothing happens.

    It would give them back to the system, and each step would fetch its memory anew, page by page: a quarter of the
    time of a step at H 256, T 50, B 32.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: bytes at the top of the heap that may lie idle
        _ = mallopt(-3, 1 << 28) or mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD; an older glibc admits at most 32 MiB
