"""Looking inside: the trace of a text, what is claimed of units and what is not, the page's numbers, the terminal."""

import base64
import json
import re
import tomllib

import numpy as np
import pytest
from conftest import ROOT, TEXT

import minirnn
from minirnn.commands import inspect, probes
from minirnn.commands.cli import main
from minirnn.derivatives import complex_step_gradient
from minirnn.files.checkpoint import load_checkpoint

VOCAB = minirnn.Vocabulary.from_chars(TEXT)
CELLS = {"rnn": "h", "gru": "hrzn", "lstm": "hcifog"}


def new(cell, V=24, H=6, seed=0, **more):
    return minirnn.LanguageModel.init(minirnn.ModelConfig(cell, V, H, **more), seed)


def saved(folder, model, vocab=VOCAB):
    folder.mkdir(exist_ok=True)
    minirnn.save_model(folder / "model.npz", model, vocab)
    return str(folder)


def data_of(path):
    html = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def unpack(packed):
    stored = np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['type']}")
    return stored * packed["scale"]


# --- the trace of a text ------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_is_what_the_equations_say(cell):
    model = new(cell, layers=2).astype(np.float64)
    ids = VOCAB.encode(TEXT[:20])
    trace = model.trace(ids)
    assert list(trace) == [f"{cell} {layer} {letter}" for layer in (1, 2) for letter in CELLS[cell]]
    assert all(values.shape == (20, 6) for values in trace.values())
    for layer in (1, 2):
        t = {name[-1]: values for name, values in trace.items() if name[-3] == str(layer)}
        before = {name: np.vstack([np.zeros((1, 6)), t[name][:-1]]) for name in ("h", "c") if name in t}
        if cell == "gru":
            np.testing.assert_allclose(t["h"], (1 - t["z"]) * t["n"] + t["z"] * before["h"], atol=1e-14)
        if cell == "lstm":
            np.testing.assert_allclose(t["c"], t["f"] * before["c"] + t["i"] * t["g"], atol=1e-14)
            np.testing.assert_allclose(t["h"], t["o"] * np.tanh(t["c"]), atol=1e-14)
    _, state = model.logits(ids[:, None], model.zero_state(1))
    for layer, now in enumerate(state, 1):
        for letter, s in zip("hc", now, strict=False):
            assert np.array_equal(trace[f"{cell} {layer} {letter}"][-1], s[:, 0])


# --- what is claimed ------------------------------------------------------------------------------------


def test_properties_of_a_small_text():
    text = 'ANN:\nHe "is" [a 3].\n'
    found = probes.properties(list(text))
    said = {name: "".join("#" if v else "." for v in values) for name, values in found.items()}
    assert said["speaker's name"] == "####................"
    assert said["inside quotes"] == "........###........."
    assert said["inside brackets"] == "." * 13 + "####" + "..."
    assert said["vowel"] == "#.....#..#....#....."
    assert said["digit"] == "." * 16 + "#..." and said["space"] == ".......#....#..#...."
    assert said["next: space"] == said["space"][1:] + "."
    assert found["place in the word"][:5].tolist() == [1, 2, 3, 0, 0]
    assert found["place in the line"][3:8].tolist() == [4, 0, 1, 2, 3]
    nested = probes.properties(list("[(]])]"))["inside brackets"]  # only the innermost can be closed
    assert nested.tolist() == [1, 1, 1, 1, 1, 0]
    assert probes.properties(list("((((\nx"))["inside brackets"].tolist() == [1, 1, 1, 1, 0, 0]  # never closed
    words = probes.properties(["First", "Citizen:", "<eos>", "we", "(are", "3)", "<eos>"])
    assert words["speaker's name"].tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert words["inside brackets"].tolist() == [0, 0, 0, 0, 1, 0, 0] and words["digit"].tolist()[5] == 1
    assert words["place in the line"].tolist() == [1, 2, 0, 1, 2, 3, 0] and "vowel" not in words


def test_what_is_there_is_found_and_what_is_not_is_not_claimed():
    rng = np.random.default_rng(0)
    T = 2000
    known = (rng.random(T) < 0.3).astype(float)
    hidden = (rng.random(T) < 0.3).astype(float)  # no unit knows of it
    units = rng.normal(size=(T, 40))
    units[:, 17] -= 2 * known
    units[1000:, 30] += 4 * known[1000:]  # which the first half cannot know
    units[:, :8] += rng.normal(size=8) * (rng.random(T) < 0.5)[:, None]
    first, second = probes.find(units, {"hidden": hidden, "known": known, "constant": np.ones(T)}, rng)[0]
    assert (first.name, first.unit, first.claimed) == ("known", 17, True)
    assert first.r == pytest.approx(np.corrcoef(units[1000:, 17], known[1000:])[0, 1], abs=1e-12) and first.r < -0.5
    assert first.probe > 0.5 > first.probe_chance
    assert second.name == "hidden" and not second.claimed and abs(second.probe) < second.probe_chance
    assert 0.05 < second.chance < 0.25
    found, r = probes.find(units[:100], {"known": known[:100]}, rng)
    assert found == [] and r.shape == (40, 0)


def test_a_rhythm_alone_is_not_claimed():
    """A slow unit beside a slow property correlates by chance; text shuffled letter by letter would not show it."""
    t = np.arange(2000)
    units = np.sin(t[:, None] / np.arange(60, 90))
    (found,), _ = probes.find(units, {"slow": np.sin(t / 75.3) > 0}, np.random.default_rng(0))
    assert found.chance > 0.5 and not found.claimed


def test_units_that_go_together_stand_together():
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(300, 2))
    units = np.concatenate([ways[:, [i % 2]] + 0.1 * rng.normal(size=(300, 1)) for i in range(10)], axis=1)
    order = probes.by_similarity(units)
    assert sorted(order) == list(range(10)) and len(set(order[:5] % 2)) == len(set(order[5:] % 2)) == 1
    fan = np.array([[np.cos(a), np.sin(a)] for a in np.radians([170, 10, 130, 50, 90])]).T  # between 170 and 10: a gap
    waves = np.stack([np.sin(np.arange(360) * np.pi / 180), np.cos(np.arange(360) * np.pi / 180)], axis=1) @ fan
    assert probes.by_similarity(waves).tolist() in ([1, 3, 4, 2, 0], [0, 2, 4, 3, 1])
    assert probes.by_similarity(units[:, :1]).tolist() == [0]


@pytest.mark.parametrize("cell", CELLS)
def test_connectivity_is_the_gradient_of_each_loss_by_each_input(cell):
    model = new(cell, V=5, H=4, layers=2, embedding_size=3).astype(np.float64)
    ids = np.random.default_rng(0).integers(0, 5, 8)
    reach = probes.connectivity(model, ids, 4)
    assert reach.shape == (7, 4)
    for t in range(7):
        own = minirnn.LanguageModel(
            minirnn.ModelConfig(cell, t + 6, 4, layers=2, embedding_size=3),  # every step has an embedding of its own
            {**model.params, "embedding": model.params["embedding"][np.append(ids[: t + 1], range(5))]},
        )

        def last(p, own=own, t=t):
            copy = minirnn.LanguageModel(own.config, {**own.params, **p}).astype(np.complex128)
            logits, _ = copy.logits(np.arange(t + 1)[:, None], copy.zero_state(1))
            return np.log(np.exp(logits[-1, :, 0]).sum()) - logits[-1, ids[t + 1], 0]

        slopes = complex_step_gradient(last, {"embedding": own.params["embedding"]})["embedding"]
        expected = [np.linalg.norm(slopes[t - k]) if k <= t else 0 for k in range(4)]
        np.testing.assert_allclose(reach[t], expected, rtol=1e-10)


# --- the page -------------------------------------------------------------------------------------------


def test_the_numbers_make_the_journey(tmp_path, capsys):
    model = new("lstm", layers=2, seed=1)
    (tmp_path / "text.txt").write_text(TEXT[:300])
    page = tmp_path / "page.html"
    assert main(["inspect", saved(tmp_path / "run", model), str(tmp_path / "text.txt"), "--out", str(page)]) == 0
    assert "300 characters" in capsys.readouterr().out
    data = data_of(page)
    assert "".join(data["distinct"][i] for i in unpack(data["text"]).astype(int)) == TEXT[:300]
    (network,) = data["networks"]
    ids, trace = VOCAB.encode(TEXT[:300]), model.trace(VOCAB.encode(TEXT[:300]))
    assert [part["name"] for part in network["parts"]] == list(trace)
    for part in network["parts"]:
        kept = unpack(part["values"]).reshape(len(part["units"]), 300)
        np.testing.assert_allclose(kept, trace[part["name"]][:, part["units"]].T, atol=part["high"] / 200)
        assert sorted(part["units"]) == sorted(part["order"]) == list(range(6))
        values, low, high = trace[part["name"]], part["low"], part["high"]
        gate = part["name"][-1] in "ifo"
        assert low == (0 if gate else -high)
        assert part["histogram"] == np.histogram(values, 32, (low, high))[0].tolist()
        assert part["saturated"] == [(values < (0.1 if gate else 0.9 * low)).mean(), (values > 0.9 * high).mean()]
    assert [part["first"] for part in network["parts"]] == [0, 6, *[None] * 4, 12, 18, *[None] * 4]
    states, given = inspect.states(new("lstm", layers=2).trace(ids)), probes.properties(list(TEXT[:300]))
    untrained = {f.name: f.r for f in probes.find(states, given, np.random.default_rng(0))[0]}
    assert {f["name"]: f["untrained"] for f in network["findings"]} == pytest.approx(untrained, abs=1e-6)
    logits, _ = model.logits(ids[:, None], model.zero_state(1))
    p = np.exp(logits[:, :, 0]) / np.exp(logits[:, :, 0]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(unpack(network["surprisal"]), -np.log(p[np.arange(299), ids[1:]]), atol=6e-4)
    best = unpack(network["best"]["ids"]).reshape(300, 5).astype(int)
    np.testing.assert_allclose(np.sort(p, axis=1)[:, :-6:-1], np.take_along_axis(p, best, axis=1))
    assert unpack(network["rank"])[7] == 1 + (p[7] > p[7, ids[8]]).sum()
    reach = 10 ** ((unpack(network["reach"]["decades"]).reshape(299, 64) - 1) / 20 - 10)
    np.testing.assert_allclose(reach[:, 0], probes.connectivity(model, ids, 1)[:, 0], rtol=0.07)
    assert network["norms"] is None and {f["name"] for f in network["findings"]} >= {"vowel", "space"}
    assert not re.search(r"(src|href)=|@import|url\(|https?:(?!//www\.w3\.org/2000/svg)", page.read_text())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('</script><script>alert("1")</script><!-- \\u003c "q" \'\n', "chars"),
        ("</script> <b> & \"q\" 'r' \\\n<!-- /* inspect.js */ /* inspect.json */\n", "words"),
        ("שלום עולם، مرحبا\n", "chars"),
        ("👩‍🚀 und 🇩🇪 e\u0301\u2028\t", "chars"),
        ("x", "chars"),
        ("one", "words"),
    ],
)
def test_any_text_arrives_as_it_is(tmp_path, text, kind):
    vocab = (minirnn.Vocabulary.from_chars if kind == "chars" else minirnn.Vocabulary.from_words)(text)
    (tmp_path / "text.txt").write_bytes(text.encode())
    folder = saved(tmp_path / "run", new("gru", V=len(vocab), H=3), vocab)
    assert main(["inspect", folder, str(tmp_path / "text.txt"), "--out", str(tmp_path / "page.html")]) == 0
    html, data = (tmp_path / "page.html").read_text(), data_of(tmp_path / "page.html")
    tokens = [data["distinct"][i] for i in unpack(data["text"]).astype(int)]
    assert tokens == (list(text) if kind == "chars" else minirnn.text.split_words(text))
    assert html.count("<script") == html.count("</script>") == 2
    assert "alert" not in html or html.count("alert") == json.dumps(data).count("alert")


def test_a_page_has_room_for_the_best_known_units(tmp_path, monkeypatch):
    monkeypatch.setattr(inspect, "BYTES", 300 * 6 + 3 * 300 * 2)  # all of h, two of each gate
    model, tokens = new("gru"), list(TEXT[:300])
    monkeypatch.setattr(inspect, "WORK", 20 * 300 * model.size)  # and time for twenty steps back from every place
    checkpoint = load_checkpoint(saved(tmp_path / "run", model) + "/model.npz")
    network = inspect.network("run", checkpoint, tokens)
    assert [len(part["units"]) for part in network["parts"]] == [6, 2, 2, 2]
    assert (network["reach"]["steps"], network["reach"]["positions"]) == (20, 299)
    known = unpack(network["known"]["r"]).reshape(6, -1)
    assert network["parts"][0]["units"] == network["parts"][1]["units"] + network["parts"][0]["units"][2:]
    above = np.abs(known) - [f["chance"] for f in network["findings"]]
    assert network["parts"][1]["units"][0] == above.max(axis=1).argmax()


def test_a_run_shows_the_text_it_set_aside_and_its_norms(tmp_path, text_file, without_pictures):
    small = ["--hidden", "6", "--batch-size", "4", "--seq-length", "10", "--report-every", "5", "--sample-every", "0"]
    assert main(["train", str(text_file), "--out", str(tmp_path / "run"), *small, "--steps", "10"]) == 0
    assert main(["inspect", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    data = data_of(tmp_path / "page.html")
    (network,) = data["networks"]
    assert network["name"] == "run" and data["source"] == "the text set aside for validation, 112 characters"
    shown = "".join(data["distinct"][i] for i in unpack(data["text"]).astype(int))
    assert len(shown) == 112 and TEXT.endswith(shown)
    norms, checkpoint = network["norms"], load_checkpoint(tmp_path / "run" / "last.npz")
    assert norms["steps"] == [0, 5, 10] and norms["names"] == list(checkpoint.model.params)
    for name, weights, gradients in zip(*(norms[key] for key in ("names", "weights", "gradients")), strict=True):
        assert weights[-1] == pytest.approx(np.linalg.norm(checkpoint.model.params[name]), rel=1e-3)
        assert len(gradients) == 3 and min(gradients) > 0


def test_two_networks_share_the_text(tmp_path, capsys):
    one, other = saved(tmp_path / "one", new("rnn")), saved(tmp_path / "two", new("lstm", H=4))
    (tmp_path / "text.txt").write_text(TEXT[:60])
    page = tmp_path / "page.html"
    assert main(["inspect", one, str(tmp_path / "text.txt"), "--compare", other, "--out", str(page)]) == 0
    assert [network["name"] for network in data_of(page)["networks"]] == ["one", "two"]
    words = minirnn.Vocabulary.from_words(TEXT)
    third = saved(tmp_path / "three", new("rnn", V=len(words)), words)
    capsys.readouterr()
    assert main(["inspect", one, "--compare", third, "--out", str(page)]) == 2
    assert "one reads chars and three reads words" in capsys.readouterr().err


def test_what_cannot_be_looked_at_is_one_sentence(tmp_path, capsys):
    run, text = saved(tmp_path / "run", new("rnn")), tmp_path / "text.txt"
    text.write_text("¿qué?")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 half of a model")
    cases = [
        ([run, str(text)], "not in the vocabulary of 24 chars: 'q', '¿', 'é'"),
        ([run, str(tmp_path / "empty.txt")], "empty.txt is empty"),
        ([str(tmp_path / "bad.npz")], "bad.npz is not a model that minirnn can load"),
        ([run, "--length", "20", "--terminal", "--unit", "6"], "rnn 1 h has the units 0 to 5, there is no 6"),
        (
            [run, "--length", "20", "--terminal", "--part", "gru 1 z"],
            "the network has no 'gru 1 z'; its parts are rnn 1 h",
        ),
        ([run, "--terminal", "--compare", run], "--compare needs a page"),
        ([run, "--unit", "1"], "--unit and --part are for --terminal"),
        ([run, "--length", "20", "--out", str(tmp_path)], f"cannot use {tmp_path}"),
        ([run, "--length", "20", "--out", str(tmp_path / "no" / "page.html")], "No such file or directory"),
    ]
    for arguments, sentence in cases:
        assert main(["inspect", *arguments]) == 2, arguments
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1, (arguments, err)


# --- the terminal ---------------------------------------------------------------------------------------


def test_the_terminal_shows_colours_or_bars(tmp_path, capsys, monkeypatch):
    model = new("gru")
    model.params["rnn0.bh"][6 + 2] = 9  # z of unit 2 is near 1
    run, text = saved(tmp_path / "run", model), tmp_path / "text.txt"
    text.write_text("the sea\n\nis")
    options = ["inspect", run, str(text), "--terminal", "--part", "gru 1 z", "--unit", "2"]
    assert main(options) == 0
    assert capsys.readouterr().out.startswith("the sea\n███████\n\nis\n██\ngru 1 z, unit 2: mean 1.000, from ")
    assert main([*options, "--color", "always"]) == 0
    out = capsys.readouterr().out
    assert f"\033[{inspect.COLOURS[-1]}mt\033[0m" in out and re.sub(r"\033\[[\d;]*m", "", out).startswith(
        "the sea↵\n↵\nis"
    )
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for no_colour, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_colour)
        assert main(options) == 0
        assert ("\033[" in capsys.readouterr().out) == coloured
    assert main(options[:4]) == 0  # the unit is chosen
    assert re.search(r"gru 1 h, unit 0 \(nothing can be found in 11 tokens\): ", capsys.readouterr().out)


def test_wide_characters_have_wide_bars():
    vocab = minirnn.Vocabulary.from_chars("中é\u0301")
    text = inspect.coloured(vocab, list("中é\u0301"), np.array([0.0, 1.0, 1.0]), "rnn 1 h", False)
    assert text == "中é\u0301\n▅▅█"


# --- the package ----------------------------------------------------------------------------------------


def test_what_is_installed_has_the_page():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = ROOT / "minirnn" / "commands"
    shipped = {path for pattern in table["minirnn.commands"] for path in folder.glob(pattern)}
    assert {f"inspect.{kind}" for kind in ("html", "css", "js")} == {path.name for path in shipped}
    assert {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")} == shipped
