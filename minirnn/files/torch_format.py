"""The same parameters under PyTorch's names and shapes, and back. PyTorch itself is not needed.

``torch.nn.RNN``, ``LSTM`` and ``GRU`` put weights in the same orientation, so nothing is transposed. What differs:

* PyTorch has two biases where one would do, one beside each product. Exported, ours is the first and the second is
  zero; only the GRU's candidate needs both, because the reset gate comes between them.
* PyTorch's LSTM stacks its gates in the order i, f, g, o, ours in Karpathy's i, f, o, g.
* Biases are vectors (H,) there and columns (H, 1) here.

The names in the state dict begin with ``embedding.``, ``rnn.`` and ``linear.``.
"""

import numpy as np

from minirnn.checks import Array, Params, check_shape
from minirnn.model import LanguageModel, ModelConfig


def to_torch_state_dict(model: LanguageModel) -> dict[str, Array]:
    """A language model's parameters as a state dict of arrays.

    The result fits a ``torch.nn.Module`` with the members ``embedding`` (``torch.nn.Embedding``, if the model has
    one), ``rnn`` (``torch.nn.RNN``, ``LSTM`` or ``GRU``) and ``linear`` (``torch.nn.Linear``), once each array has gone
    through ``torch.from_numpy``.
    """
    if not isinstance(model, LanguageModel):
        raise ValueError(f"only a LanguageModel has a place for each parameter there, got a {type(model).__name__}")
    config, params = model.config, model.params
    out: dict[str, Array] = {}
    if config.embedding_size is not None:
        out["embedding.weight"] = params["embedding"].copy()
    for layer in range(config.layers):
        cell = {name: params[f"rnn{layer}.{name}"] for name in ("Wxh", "Whh", "bh")}
        second = np.zeros_like(cell["bh"])
        if config.cell == "gru":
            second[-config.hidden_size :] = params[f"rnn{layer}.bhn"]
        rows = gate_rows(config)
        out[f"rnn.weight_ih_l{layer}"] = cell["Wxh"][rows]
        out[f"rnn.weight_hh_l{layer}"] = cell["Whh"][rows]
        out[f"rnn.bias_ih_l{layer}"] = cell["bh"][rows, 0]
        out[f"rnn.bias_hh_l{layer}"] = second[rows, 0]
    out["linear.weight"] = params["embedding" if config.tie_weights else "Why"].copy()
    out["linear.bias"] = params["by"][:, 0].copy()
    return out


def from_torch_state_dict(config: ModelConfig, state_dict: dict[str, Array]) -> LanguageModel:
    """The model of :func:`to_torch_state_dict`'s arrays; pairs of biases that do the work of one are added.

    Raises
    ------
    ValueError
        If an array is missing, left over, or of another shape than the configuration asks for, or tied weights differ.
    """
    expected = to_torch_state_dict(LanguageModel.init(config, 0))
    if state_dict.keys() != expected.keys():
        raise ValueError(
            f"the state dict does not fit the config: {sorted(state_dict.keys() ^ expected.keys())} differ"
        )
    for name, array in expected.items():
        check_shape(name, state_dict[name], array.shape)

    if config.tie_weights and not np.array_equal(state_dict["linear.weight"], state_dict["embedding.weight"]):
        raise ValueError("linear.weight and embedding.weight differ, but tie_weights makes them one; turn it off")

    params: Params = {}
    if config.embedding_size is not None:
        params["embedding"] = np.array(state_dict["embedding.weight"])
    H, back = config.hidden_size, np.argsort(gate_rows(config))
    for layer in range(config.layers):
        names = (f"rnn.{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        Wxh, Whh, first, second = (np.asarray(state_dict[name])[back] for name in names)
        bias = first + second
        if config.cell == "gru":
            bias[-H:] = first[-H:]
        params |= {f"rnn{layer}.Wxh": Wxh, f"rnn{layer}.Whh": Whh, f"rnn{layer}.bh": bias[:, None]}
        if config.cell == "gru":
            params[f"rnn{layer}.bhn"] = second[-H:, None]
    if not config.tie_weights:
        params["Why"] = np.array(state_dict["linear.weight"])
    params["by"] = np.array(state_dict["linear.bias"])[:, None]
    return LanguageModel(config, params)


def gate_rows(config: ModelConfig) -> Array:
    """Which of our rows stands in each of PyTorch's."""
    H = config.hidden_size
    gates = {"rnn": (0,), "gru": (0, 1, 2), "lstm": (0, 1, 3, 2)}[config.cell]
    return np.concatenate([np.arange(gate * H, (gate + 1) * H) for gate in gates])
