"""Parameters to PyTorch and back: against golden arrays everywhere, against PyTorch itself where it is installed."""

import numpy as np
import pytest
from conftest import ROOT

from minirnn import CELLS, LanguageModel, ModelConfig, SequenceClassifier, from_torch_state_dict, to_torch_state_dict


@pytest.fixture(scope="module")
def golden():
    with np.load(ROOT / "tests/golden/torch.npz") as file:
        return dict(file)


def part(golden, prefix):
    return {name.removeprefix(prefix): array for name, array in golden.items() if name.startswith(prefix)}


def compare(model, expected):
    """Outputs, loss, final state and gradients of our model against PyTorch's arrays."""
    x, y = expected["x"], expected["y"]
    state = tuple(
        tuple(expected[name][layer].T for name in ("h0", "c0")[: 2 if model.config.cell == "lstm" else 1])
        for layer in range(model.config.layers)
    )
    logits, final = model.logits(x, state)
    near = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(logits, expected["logits"].transpose(0, 2, 1), **near)
    for i, name in enumerate(("h", "c")[: len(final[0])]):
        np.testing.assert_allclose(np.stack([layer[i].T for layer in final]), expected[name], **near)
    loss, grads, _ = model.loss_and_grads(x, y, state)
    np.testing.assert_allclose(loss, expected["loss"], **near)
    # A gradient has the names and shapes of a parameter, so the same function exports it.
    exported = to_torch_state_dict(LanguageModel(model.config, grads))
    for name, array in part(expected, "grad/").items():
        if name.startswith("rnn.bias_hh") and model.config.cell != "gru":
            ours = exported[name.replace("hh", "ih")]  # both biases have the gradient of their sum
        elif name.startswith("rnn.bias_hh"):
            H = model.config.hidden_size
            ours = np.concatenate([exported[name.replace("hh", "ih")][: 2 * H], exported[name][2 * H :]])
        else:
            ours = exported[name]
        np.testing.assert_allclose(ours, array, err_msg=name, **near)


def config_of(cell):
    return ModelConfig(cell, 7, 4, layers=2, embedding_size=3)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_gradients_equal_what_torch_computed_once(cell, golden):
    expected = part(golden, f"{cell}/")
    compare(from_torch_state_dict(config_of(cell), part(expected, "weights/")), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_gradients_equal_torch(cell, rng):
    torch = pytest.importorskip("torch")
    from make_golden import TorchModel, run

    ours = LanguageModel.init(config_of(cell), rng, np.float64)
    for p in ours.params.values():
        p += rng.normal(0, 0.5, p.shape)
    theirs = TorchModel(cell, 7, 3, 4, 2).double()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch_state_dict(ours).items()})
    x, y = rng.integers(0, 7, (2, 6, 2))
    h0, c0 = rng.uniform(-1, 1, (2, 2, 2, 4))
    compare(ours, {"x": x, "y": y, "h0": h0, "c0": c0} | run(theirs, cell, x, y, h0, c0))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"embedding_size": 3}, {"embedding_size": 4, "tie_weights": True}])
def test_there_and_back_changes_nothing(cell, options, rng):
    model = LanguageModel.init(ModelConfig(cell, 7, 4, layers=2, **options), rng)
    for p in model.params.values():
        p += rng.normal(0, 0.5, p.shape).astype(np.float32)
    back = from_torch_state_dict(model.config, to_torch_state_dict(model))
    assert model.params.keys() == back.params.keys()
    for name, p in model.params.items():
        np.testing.assert_array_equal(back.params[name], p)
        assert back.params[name].dtype == np.float32 and not np.shares_memory(back.params[name], p)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"embedding_size": 3}, {"embedding_size": 4, "tie_weights": True}])
def test_no_memory_is_shared_in_either_direction(cell, options):
    model = LanguageModel.init(ModelConfig(cell, 7, 4, **options), 0)
    state_dict = to_torch_state_dict(model)
    back = from_torch_state_dict(model.config, state_dict)
    for array in state_dict.values():
        assert not any(np.shares_memory(array, p) for p in (*model.params.values(), *back.params.values()))


def test_a_state_dict_that_does_not_fit_is_named():
    state_dict = to_torch_state_dict(LanguageModel.init(config_of("gru"), 0))
    with pytest.raises(ValueError, match=r"does not fit the config: \['rnn.weight_hh_l1'\] differ"):
        from_torch_state_dict(config_of("gru"), {n: a for n, a in state_dict.items() if n != "rnn.weight_hh_l1"})
    with pytest.raises(ValueError, match=r"does not fit the config: \['rnn.weight_hh_l2'\] differ"):
        from_torch_state_dict(config_of("gru"), state_dict | {"rnn.weight_hh_l2": np.ones((12, 4))})
    with pytest.raises(ValueError, match=r"rnn.weight_ih_l0 must have shape \(16, 3\), got \(12, 3\)"):
        from_torch_state_dict(config_of("lstm"), state_dict)


def test_a_classifier_has_no_state_dict():
    with pytest.raises(ValueError, match=r"only a LanguageModel .*, got a SequenceClassifier"):
        to_torch_state_dict(SequenceClassifier.init(config_of("gru"), 2, 0))


def test_tied_weights_that_differ_are_refused():
    config = ModelConfig("rnn", 7, 4, embedding_size=4, tie_weights=True)
    state_dict = to_torch_state_dict(LanguageModel.init(config, 0))
    state_dict["linear.weight"] = state_dict["linear.weight"] + 1
    with pytest.raises(ValueError, match="differ, but tie_weights makes them one"):
        from_torch_state_dict(config, state_dict)
