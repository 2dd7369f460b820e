"""What is wrong ends in one clear sentence and exit code 2, and nothing on the disk is lost."""

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import TEXT

from minirnn import load_model, save_model
from minirnn.commands.cli import main
from minirnn.commands.settings import Settings, option
from minirnn.files.checkpoint import load_checkpoint

SMALL = ["--hidden", "8", "--batch-size", "4", "--seq-length", "10", "--report-every", "10", "--steps", "20"]


pytestmark = pytest.mark.usefixtures("without_pictures", "short_samples")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A run that has ended: its files, by name."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text(TEXT)
    assert main(["train", str(folder / "text.txt"), "--out", str(folder / "run"), *SMALL]) == 0
    return {path.name: path.read_bytes() for path in (folder / "run").iterdir()}


@pytest.fixture
def run(tmp_path, finished_run):
    """A copy of that run's folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, data in finished_run.items():
        (folder / name).write_bytes(data)
    return folder


def digest(folder):
    """What is in a folder and all below it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def ends_in_a_sentence(capsys, folder, *arguments, code=2):
    """Run a command that must fail, leaving the folder as it is; returns the sentence."""
    before = digest(folder)
    capsys.readouterr()
    try:
        ended = main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse
        ended = error.code
    err = capsys.readouterr().err.rstrip()
    assert ended == code, err
    assert err and "Traceback" not in err and "\n" not in err
    assert digest(folder) == before
    return err


def rewritten(data, change):
    """A checkpoint whose arrays, and description, have been changed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays.pop("about")))
    change(about, arrays)
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(json.dumps(about)), **arrays)
    return buffer.getvalue()


def bomb(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("about.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**27,)})
        for _ in range(4):
            member.write(bytes(2**24))
    return buffer.getvalue()


def pickled(data):
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(["{}", {1: 2}], dtype=object))
    return buffer.getvalue()


def set_value(array, value):
    array.reshape(-1)[0] = value


DAMAGED = {
    "empty": (lambda data: b"", "not a model that minirnn can load"),
    "one byte": (lambda data: b"P", "not a model that minirnn can load"),
    "text": (lambda data: b"hello, this is a book\n" * 100, "File is not a zip file"),
    "half": (lambda data: data[: len(data) // 2], "File is not a zip file"),
    "last byte missing": (lambda data: data[:-1], "not a model that minirnn can load"),
    "first byte missing": (lambda data: data[1:], "not a model that minirnn can load"),
    "bits flipped": (lambda data: data[:3000] + bytes([data[3000] ^ 8]) + data[3001:], "Bad CRC-32"),
    "zip bomb": (bomb, "it is compressed, which files of minirnn are not"),
    "pickled": (pickled, "Object arrays cannot be loaded when allow_pickle=False"),
    "foreign npz": (lambda data: rewritten(data, lambda about, arrays: about.clear()), "it has no 'format'"),
    "another format": (lambda data: rewritten(data, lambda a, _: a.update(format="x")), "another format"),
    "of the future": (lambda data: rewritten(data, lambda a, _: a.update(version=99)), "format version 99"),
    "no configuration": (lambda data: rewritten(data, lambda a, _: a.pop("config")), "it has no 'config'"),
    "unknown cell": (
        lambda data: rewritten(data, lambda a, _: a["config"].update(cell="x")),
        'cell must be "rnn" or "gru" or "lstm"',
    ),
    "huge model": (
        lambda data: rewritten(data, lambda a, _: a["config"].update(hidden_size=2**30)),
        "not those of its configuration",
    ),
    "NaN": (lambda data: rewritten(data, lambda _, arrays: set_value(arrays["params/Why"], np.nan)), "is not finite"),
    "infinite": (lambda data: rewritten(data, lambda _, arrays: set_value(arrays["params/by"], np.inf)), "not finite"),
    "parameter missing": (lambda data: rewritten(data, lambda _, arrays: arrays.pop("params/by")), "not those of"),
    "parameter of text": (
        lambda data: rewritten(data, lambda _, arrays: arrays.update({"params/by": np.full((24, 1), "x")})),
        "dtype must be of floating or complex numbers",
    ),
    "wrong shape": (
        lambda data: rewritten(data, lambda _, arrays: arrays.update({"params/by": np.ones((3, 1))})),
        "by must have shape",
    ),
    "wrong vocabulary": (
        lambda data: rewritten(data, lambda a, _: a["vocabulary"].update(tokens=["a", "b"])),
        "the vocabulary has 2 tokens",
    ),
    "vocabulary twice": (
        lambda data: rewritten(data, lambda a, _: a["vocabulary"].update(tokens=["a"] * 23)),
        "must all be different",
    ),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_checkpoint(capsys, run, how):
    change, expected = DAMAGED[how]
    for name in ("best.npz", "last.npz"):
        (run / name).write_bytes(change((run / name).read_bytes()))
    sentence = ends_in_a_sentence(capsys, run, "sample", run)
    assert expected in sentence and "best.npz is not a model that minirnn can load" in sentence
    ends_in_a_sentence(capsys, run, "train", "--resume", "--out", run)
    (run.parent / "text.txt").write_text("abc")
    ends_in_a_sentence(capsys, run, "score", run, run.parent / "text.txt")


def test_any_flipped_bit_is_noticed_or_harmless(run):
    good = (run / "last.npz").read_bytes()
    arrays = load_checkpoint(run / "last.npz").arrays
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        data = bytearray(good)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (run / "last.npz").write_bytes(data)
        try:
            loaded = load_checkpoint(run / "last.npz")
        except ValueError:
            refused += 1
        else:  # a date in the zip file, for instance
            assert all(a.tobytes() == arrays[name].tobytes() for name, a in loaded.arrays.items())
    assert refused > 250


RESUME = {
    "a model without a run": (
        lambda run: save_model(run / "last.npz", *load_model(run / "last.npz")),
        "without a training",
    ),
    "no last.npz": (lambda run: (run / "last.npz").unlink(), "has no last.npz to resume from"),
    "no text": (lambda run: (run / "text.npy").unlink(), "text.npy: No such file"),
    "another text": (lambda run: np.save(run / "text.npy", np.zeros(5, np.uint8)), "does not hold the"),
    "a text of other numbers": (
        lambda run: np.save(run / "text.npy", np.load(run / "text.npy").astype(float)),
        "does not hold the",
    ),
    "no bytes": (lambda run: (run / "text.npy").write_bytes(b""), "text.npy is damaged"),
    "turned around": (lambda run: np.save(run / "text.npy", np.load(run / "text.npy")[::-1]), "is not the text"),
    "text is text": (lambda run: (run / "text.npy").write_text("hello"), "text.npy is damaged"),
    "text is cut": (lambda run: os.truncate(run / "text.npy", 500), "text.npy is damaged"),
}


@pytest.mark.parametrize("how", RESUME)
def test_what_cannot_be_resumed(capsys, run, how):
    change, expected = RESUME[how]
    change(run)
    assert expected in ends_in_a_sentence(capsys, run, "train", "--resume", "--out", run)


TEXTS = {
    "missing": (None, "No such file or directory"),
    "empty": (b"", "is empty; there is nothing to learn from"),
    "binary": (bytes(range(256)) * 20, "is not utf-8 text"),
    "zeros": (bytes(5000), "has NUL characters"),
    "latin-1": ("schön ".encode("latin-1") * 500, "it may be latin-1"),
    "utf-16": ("hello ".encode("utf-16") * 500, "is not utf-8 text"),
    "mixed encodings": ("schön ".encode() * 500_000 + "schön".encode("latin-1"), "is not utf-8 text"),
    "too short": (b"abc", "too few"),
    "one character": (b"a", "too few"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "is empty"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_text_that_cannot_be_used(capsys, tmp_path, what):
    data, expected = TEXTS[what]
    text = tmp_path / "book.txt"
    if data is not None:
        text.write_bytes(data)
    sentence = ends_in_a_sentence(capsys, tmp_path, "train", text, "--out", tmp_path / "run", *SMALL)
    assert expected in sentence


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_text(capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        sentence = ends_in_a_sentence(capsys, tmp_path / "x", "train", tmp_path / name, "--out", tmp_path / "run")
        assert "is no file; a text is read twice" in sentence


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_score_and_doctor_read_no_pipe_and_no_device(capsys, run):
    os.mkfifo(run.parent / "pipe")
    for text in (run.parent / "pipe", "/dev/zero"):
        for command in (["score", run, text], ["doctor", text]):
            assert "is no file; a text is read twice" in ends_in_a_sentence(capsys, run, *command)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_no_model(capsys, run):
    os.mkfifo(run.parent / "pipe")
    (run.parent / "text.txt").write_text(TEXT)
    for model in (run.parent / "pipe", "/dev/zero"):
        for command in (
            ["sample", model], ["info", model], ["score", model, run.parent / "text.txt"], ["sample", run, model],
            ["train", run.parent / "text.txt", "--out", run.parent / "new", "--init-from", model],
        ):  # fmt: skip
            sentence = ends_in_a_sentence(capsys, run, *command)
            assert f"{model} is no file; neither a pipe nor a device holds a model" in sentence


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_no_file_takes_the_place_of_a_pipe_or_device(capsys, run):
    os.mkfifo(run.parent / "pipe")
    (run.parent / "text.txt").write_text(TEXT)
    (run.parent / "student.py").write_text("")
    for command, said in (
        (["score", run, run.parent / "text.txt", "--csv", run.parent / "pipe"], "a device or a pipe"),
        (["score", run, run.parent / "text.txt", "--csv", "."], "cannot use .: "),
        (["grade", run.parent / "student.py", "--gradescope", run.parent / "pipe"], "is no file that could be"),
    ):
        assert said in ends_in_a_sentence(capsys, run, *command)
        assert (run.parent / "pipe").is_fifo()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["text.npy", "config.json", "last.npz", "history.csv", "loss.png", "best.npz.partial"])
def test_a_pipe_in_the_folder_of_a_run(capsys, run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    said = ends_in_a_sentence(capsys, run, "train", "--resume", "--out", run)
    assert f"{run / name} is a pipe or a device, which has no place in a run; remove it" in said
    if name == "text.npy":
        assert f"{run / name} is no file; neither a pipe" in ends_in_a_sentence(capsys, run, "inspect", run)
        for path in run.glob("[!t]*"):
            path.unlink()  # what is left of a run that was killed while it encoded
        (run.parent / "text.txt").write_text(TEXT)
        assert "is a pipe" in ends_in_a_sentence(capsys, run, "train", run.parent / "text.txt", "--out", run)


def test_a_name_is_legible_where_the_locale_knows_only_ascii():
    for name, errors in (("b\udcc3\udcbccher", "minirnn.legible"), ("bücher", "minirnn.legible")):
        assert name.encode("utf-8", errors) == "bücher".encode()
    assert "b\udcc3\udcbc…".encode("latin-1", "minirnn.legible") == b"b\xc3\xbc?"


def test_a_terminal_of_ascii_alone_is_sent_utf_8(monkeypatch, capsys):
    streams = [io.TextIOWrapper(io.BytesIO(), "ascii", "strict") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    assert main(["info", "b\udcc3\udcbccher"]) == 2
    streams[1].flush()
    assert streams[1].buffer.getvalue() == "minirnn: cannot use bücher: No such file or directory\n".encode()


def test_the_file_that_is_missing_is_named(capsys, tmp_path):
    (tmp_path / "there").write_text(TEXT)
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (("nope", "No such file"), ("-", "No such file"), ("loop", "Too many levels of symbolic links")):
        texts = [tmp_path / "there", tmp_path / name if name != "-" else name]
        sentence = ends_in_a_sentence(capsys, tmp_path, "train", *texts, "--out", tmp_path / "run", *SMALL)
        assert sentence.startswith(f"minirnn: cannot use {texts[1]}: {why}")


def test_utf16_with_a_mark_is_called_so(capsys, tmp_path):
    for name, encoding in (("little", "utf-16"), ("big", "utf-16-be")):
        mark = "\ufeff" if name == "big" else ""
        (tmp_path / name).write_bytes((mark + "hello ").encode(encoding) * 500)
        sentence = ends_in_a_sentence(capsys, tmp_path, "train", tmp_path / name, "--out", tmp_path / "run", *SMALL)
        assert "is not utf-8 text" in sentence and "it may be utf-16; name the encoding with --encoding" in sentence


def test_a_huge_line_is_no_text_of_words_but_one_of_characters(capsys, tmp_path):
    text = tmp_path / "book.txt"
    text.write_text("abcdefgh" * 140_000)
    words = ["--level", "words", "--out", tmp_path / "run", *SMALL]
    assert "a word has more than 1,048,576 characters" in ends_in_a_sentence(capsys, tmp_path, "train", text, *words)
    assert main(["train", str(text), "--out", str(tmp_path / "run"), *SMALL, "--valid", "0"]) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_text_that_may_not_be_read(capsys, tmp_path):
    (tmp_path / "book.txt").write_text(TEXT)
    (tmp_path / "book.txt").chmod(0)
    assert "Permission denied" in ends_in_a_sentence(
        capsys, tmp_path / "x", "train", tmp_path / "book.txt", "--out", "run"
    )


OPTIONS = [
    (["--out", "RUN"], "holds a run already"),
    (["--out", "TEXT"], "TEXT"),
    (["--out", "PARENT"], "is not empty"),
    (["--out", ""], "the name of a file or folder, got ''"),
    (["--out", "NEW", "--dropout", "1"], "--dropout takes a number of at least 0 and less than 1, got '1.0'"),
    (["--out", "NEW", "--hidden", "0"], "--hidden-size takes a whole number of at least 1, got '0'"),
    (["--out", "NEW", "--hidden", "many"], "--hidden-size takes a whole number of at least 1, got 'many'"),
    (["--out", "NEW", "--cell", "transformer"], "--cell takes rnn, gru or lstm, got 'transformer'"),
    (["--out", "NEW", "--optimizer", "lbfgs"], "--optimizer takes sgd, adagrad, rmsprop or adam, got 'lbfgs'"),
    (["--out", "NEW", "--learning-rate", "-1"], "--learning-rate takes a number greater than 0, got '-1.0'"),
    (["--out", "NEW", "--learning-rate", "nan"], "takes a number greater than 0"),
    (["--out", "NEW", "--clip-norm", "-1"], "takes a number greater than 0"),
    (["--out", "NEW", "--valid", "1"], "takes a number of at least 0 and less than 1"),
    (["--out", "NEW", "--tie-weights", "--embedding", "5"], "tied weights need"),
    (["--out", "NEW", "--batch-size", "100000"], "too few"),
    (["--out", "NEW", "--steps", "1" + "0" * 400], "takes a whole number below 1,000,000,000,000"),
    (["--out", "NEW", "--max-vocab", "5"], "--max-vocab is for --kind words"),
    (["--out", "NEW", "--decay", "0.9"], "--decay is for --optimizer rmsprop"),
    (["--out", "NEW", "--optimizer", "sgd", "--beta2", "0.9"], "--beta2 is for --optimizer adam"),
    (["--out", "NEW", "--valid", "0", "--patience", "1"], "--patience needs a validation loss"),
    (["--out", "NEW", "--learning-rate", "inf"], "takes a number greater than 0"),
    (["--out", "NEW", "--clip-norm", "inf"], "takes a number greater than 0"),
    (["--out", "NEW", "--encoding", "klingon"], "unknown encoding 'klingon'"),
    (["--out", "NEW", "--level", "words", "--max-vocab", "0"], "takes a whole number of at least 1"),
    (["--out", "NEW", "--hidden", "100000000"], "not enough memory"),
    (["--out", "NEW", "--layers", "1000000000"], "not enough memory: training "),
    (["--out", "NEW", "--hidden", "9" * 11], "hidden_size must be less than 2**31"),
    (["--out", "NEW", "--epochs", "3"], "--steps and --epochs both say how long to train"),
    (["--out", "NEW", "--valid", "0.0001"], "--valid 0.0001: evaluation needs at least 2 tokens"),
    (["--out", "NEW", "--valid", "0.001"], "--valid 0.001: evaluation needs at least 2 tokens, one to read"),
    (["--out", "NEW", "--constant-epochs", "3"], "--constant-epochs is for --schedule epochs"),
    (["--out", "NEW", "--preset", "mine"], "--preset takes default, minute, karpathy, "),
    (["--out", "NEW", "--init-from", "PARENT"], "holds no best.npz, last.npz or model.npz"),
    (["--out", "NEW", "--frobnicate"], "there is no --frobnicate"),
    (["--out", "NEW", "--data-path", "PARENT"], "both say what to train on"),
    (["--out", "NEW", "--threads", "0"], "--threads takes a whole number from 1 to 1,024, got '0'"),
    (["--out", "NEW", "--threads", "9" * 11], "--threads takes a whole number from 1 to 1,024, got '9999"),
    (["--out", "NEW", "--threads", "9" * 13], "--threads takes a whole number from 1 to 1,024, got '9999"),
    (["--out"], "--out expected one argument"),
    ([], "--out"),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS, ids=str)
def test_options_that_cannot_be(capsys, run, options, expected):
    text = run.parent / "text.txt"
    text.write_text(TEXT)
    places = {"RUN": run, "TEXT": text, "PARENT": run.parent, "NEW": run.parent / "new"}
    options = [str(places.get(option, option)) for option in options]
    assert expected.replace("TEXT", str(text)) in ends_in_a_sentence(
        capsys, run.parent, "train", text, *SMALL, *options
    )


ODD_VALUES = ("", " ", "x", "-3", "nan", "1e999", "[]", "None", "1,5", "\N{SUPERSCRIPT TWO}", "9" * 5000, "--")


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings) if field.name != "tie_weights"])
def test_every_option_refuses_odd_values_in_one_sentence(capsys, tmp_path, name):
    (tmp_path / "text.txt").write_text(TEXT)
    for value in ODD_VALUES:
        arguments = ["train", tmp_path / "text.txt", "--out", tmp_path / "run", option(name), value]
        sentence = ends_in_a_sentence(capsys, tmp_path, *arguments)
        assert option(name) in sentence or (name == "encoding" and "unknown encoding" in sentence), value


def odd_texts():
    """Bytes that are no text in UTF-8, or too little of one."""
    whole, rng = "Grüße, 言葉, λόγος. ".encode() * 200, np.random.default_rng(0)
    yield from (
        whole + tail for tail in (b"\xff", b"\xc3", b"\xe8\xa8", b"\xed\xa0\x80", b"\xf8\x88", b"\xc0\x80", b"\0")
    )
    yield from (whole.decode().encode(name) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"))
    yield from (b"", b"\xef\xbb\xbf", b"a", b"\n", b"\r\n", b"\xef\xbb\xbfa", b"ab" * 20, b"\0" * 9000)
    yield from (rng.bytes(int(n)) for n in rng.integers(50, 5000, 25))
    for position in rng.integers(0, len(whole), 25):
        yield whole[:position] + b"\xfe" + whole[position:]


def test_odd_texts_are_refused_in_one_sentence(capsys, tmp_path):
    texts = list(odd_texts())
    assert len(texts) >= 60
    for data in texts:
        (tmp_path / "text.txt").write_bytes(data)
        sentence = ends_in_a_sentence(
            capsys, tmp_path, "train", tmp_path / "text.txt", "--out", tmp_path / "run", *SMALL
        )
        assert "text.txt" in sentence or "too few to train on" in sentence, data[:50]


def test_resuming_takes_no_texts_and_no_new_model(capsys, run):
    options = ["--out", run, "--resume"]
    assert "the texts cannot change" in ends_in_a_sentence(capsys, run, "train", "a.txt", *options)
    assert "--hidden-size cannot change" in ends_in_a_sentence(capsys, run, "train", *options, "--hidden", "9")
    assert "is at step 20 already" in ends_in_a_sentence(capsys, run, "train", *options, "--steps", "10")
    assert "no text to train on" in ends_in_a_sentence(capsys, run, "train", "--out", run.parent / "new")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sample", "RUN/nothing"], "No such file or directory"),
        (["sample", "PARENT"], "holds no best.npz, last.npz or model.npz"),
        (["sample", "RUN/history.csv"], "is not a model that minirnn can load"),
        (["sample", "RUN", "--prime", "~"], "not in the vocabulary"),
        (["sample", "RUN", "--temperature", "-1"], "takes a number of at least 0"),
        (["sample", "RUN", "--top-k", "0"], "takes a whole number of at least 1"),
        (["sample", "RUN", "--top-p", "2"], "top_p must be in (0, 1]"),
        (["sample", "RUN", "--length", "-1"], "takes a whole number of at least 0"),
        (["score", "RUN", "RUN/nothing"], "No such file or directory"),
        (["score", "RUN", "RUN/loss.png"], "is not utf-8 text"),
        (["score", "RUN", "RUN/config.json"], "not in the vocabulary"),
        (["doctor", "RUN/nothing"], "No such file or directory"),
        (["doctor", "RUN/loss.png"], "NUL characters"),
        (["grade", ""], "the name of a file or folder, got ''"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_other_commands(capsys, run, arguments, expected):
    arguments = [argument.replace("RUN", str(run)).replace("PARENT", str(run.parent)) for argument in arguments]
    assert expected in ends_in_a_sentence(capsys, run.parent, *arguments)


# --- a full disk, and a process that is killed --------------------------------------------------------


def test_a_full_disk_leaves_the_old_checkpoint_whole(run):
    """A limit on the size of files stands for the full disk: writing fails in the middle."""
    before = digest(run)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "sys.dont_write_bytecode = True; "  # or the modules it compiles are cut off, for all that come later
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
        "from minirnn.commands.cli import main; "
        f"sys.exit(main(['train', '--resume', '--out', {str(run)!r}, '--steps', '30']))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.returncode == 2 and ".npz: File too large" in ended.stderr.splitlines()[-1], ended.stderr
    # NumPy 2.0 leaves the zip file open, and Python tells of it when it is closed too late.
    assert "Traceback" not in ended.stderr or np.lib.NumpyVersion(np.__version__) < "2.1.0", ended.stderr
    after = digest(run)
    assert {name for name in before if before[name] != after.get(name)} <= {
        "config.json"
    } and before.keys() == after.keys()
    assert load_checkpoint(run / "last.npz").training["step"] == 20


KILLER = """
import os, random, signal, sys, time
import numpy as np
from minirnn import Adam, LanguageModel, ModelConfig, Trainer, Vocabulary
from minirnn.files.checkpoint import load_checkpoint, restore, save_checkpoint

os.fsync = lambda descriptor: None  # slow, and for power cuts; what is killed is a process
path, random = sys.argv[1], random.Random(0)
vocab = Vocabulary.from_chars("abcdefgh")
def make():
    model = LanguageModel.init(ModelConfig("lstm", 8, 64), 0)
    return Trainer(model, Adam(0.01), np.arange(500) % 8, batch_size=2, seq_length=5)
trainer, interrupted = make(), 0
for _ in range(2):  # the first takes longer
    started = time.monotonic()
    next(trainer.steps(1))
    save_checkpoint(path, trainer, vocab)
seconds = time.monotonic() - started  # that a step and its file take here and now
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        while True:
            next(trainer.steps(1))
            save_checkpoint(path, trainer, vocab)
    time.sleep(random.uniform(2, 12) * seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    interrupted += os.path.exists(path + ".partial")
    checkpoint = load_checkpoint(path)
    assert checkpoint.training["step"] >= trainer.step - 1
    trainer = make()
    restore(trainer, checkpoint.arrays, checkpoint.training)
    next(trainer.steps(1))
print(trainer.step, interrupted)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_killed_while_saving_it_always_loads_and_goes_on(tmp_path, kills):
    command = [sys.executable, "-c", KILLER, str(tmp_path / "last.npz"), str(kills)]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr
    steps, interrupted = map(int, ended.stdout.split())
    assert steps > kills and interrupted > (20 if kills == 200 else 0)  # many were killed in the middle of a file
