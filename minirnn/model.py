"""A language model: token ids in, a loss and its gradients out.

The model is a pipeline, and its backward pass is the same pipeline walked from the end::

    ids (T, B) -> one-hot or embedding -> cell -> ... -> cell -> bag -> linear -> softmax cross-entropy -> loss
                                          h fed to the next layer        logits (V, N)

Parameters live in one flat dict: ``"rnn0.Wxh"`` is the Wxh of the lowest cell, ``"Why"`` and ``"by"`` belong to the
output layer, ``"embedding"`` is the table. Gradients come back under the same names.

The model holds no state: the hidden state passes in and out of every call. Whoever evaluates or samples brings a
state of their own, and the training run's is never touched.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minirnn import ops, rnn
from minirnn.ops import Array, Params, Rng, State

CELLS: dict[str, ModuleType] = {"rnn": rnn}


@dataclass(frozen=True)
class ModelConfig:
    """What has to be known to build a model; everything else is in its parameters.

    Attributes
    ----------
    cell : str
        A name in ``CELLS``.
    vocab_size : int
        V, tokens in the vocabulary.
    hidden_size : int
        H, hidden units of each layer.
    layers : int
        How many cells are stacked.
    embedding_size : int or None
        Width of the learned input vectors; None feeds one-hot columns.
    dropout : float
        Probability of dropping an entry of the embedding and of each layer's output while training. The recurrence
        is never dropped (Zaremba, Sutskever and Vinyals, 2014).
    """

    cell: str
    vocab_size: int
    hidden_size: int
    layers: int = 1
    embedding_size: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"unknown cell {self.cell!r}; known cells: {', '.join(CELLS)}")
        sizes = {"vocab_size": self.vocab_size, "hidden_size": self.hidden_size, "layers": self.layers}
        if self.embedding_size is not None:
            sizes["embedding_size"] = self.embedding_size
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {size!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


class LanguageModel:
    """Predicts each next token of a sequence from all tokens before it.

    Parameters
    ----------
    config : ModelConfig
    params : dict of arrays
        As :meth:`init` makes them.
    """

    def __init__(self, config: ModelConfig, params: Params):
        self.config = config
        self.params = params

    @classmethod
    def init(cls, config: ModelConfig, rng: Rng, dtype: DTypeLike = np.float32) -> "LanguageModel":
        """Draw a model's parameters: the output layer from +-1/sqrt(H), embeddings of length about one."""
        rng = np.random.default_rng(rng)
        V, H, D = config.vocab_size, config.hidden_size, config.embedding_size
        params: Params = {}
        if D is not None:
            params["embedding"] = (rng.standard_normal((V, D)) * D**-0.5).astype(dtype)
        for layer in range(config.layers):
            input_size = (D or V) if layer == 0 else H
            for name, p in CELLS[config.cell].init(input_size, H, rng, dtype).items():
                params[f"rnn{layer}.{name}"] = p
        params["Why"] = rng.uniform(-(H**-0.5), H**-0.5, (V, H)).astype(dtype)
        params["by"] = np.zeros((V, 1), dtype)
        return cls(config, params)

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters: float32 to train, float64 or complex128 to check."""
        return self.params["by"].dtype

    def astype(self, dtype: DTypeLike) -> "LanguageModel":
        """The same model in another precision; the parameters are copied."""
        return LanguageModel(self.config, {name: p.astype(dtype) for name, p in self.params.items()})

    def zero_state(self, batch_size: int) -> tuple[State, ...]:
        """The state before anything was read: one cell state per layer."""
        zero_state, H = CELLS[self.config.cell].zero_state, self.config.hidden_size
        return tuple(zero_state(H, batch_size, self.dtype) for _ in range(self.config.layers))

    def _cell_params(self, layer: int) -> Params:
        """The parameters of one cell under its own short names."""
        prefix = f"rnn{layer}."
        return {name.removeprefix(prefix): p for name, p in self.params.items() if name.startswith(prefix)}

    # --- the pipeline, forward and backward ---------------------------------------------------------

    def _forward(
        self, ids: ArrayLike, state: tuple[State, ...], rng: np.random.Generator | None = None
    ) -> tuple[Array, tuple[State, ...], tuple]:
        """Ids (T, B) to logits (V, N), the final state, and the cache of everything on the way."""
        config, params, cell = self.config, self.params, CELLS[self.config.cell]
        if np.ndim(ids) != 2 or np.size(ids) == 0:
            raise ValueError(f"token ids must have shape (T, B) with T, B >= 1, got {np.shape(ids)}")
        if len(state) != config.layers:
            raise ValueError(f"the state must hold one cell state for each of {config.layers} layers, got {len(state)}")

        if config.embedding_size is None:
            h = ops.one_hot(ids, config.vocab_size, self.dtype)  # (T, V, B)
            embedding_cache = mask = None
        else:
            h, embedding_cache = ops.embedding_forward(ids, params["embedding"])  # (T, D, B)
            h, mask = ops.dropout_forward(h, config.dropout, rng)
        final, layer_caches = [], []
        for layer in range(config.layers):
            h, layer_state, cell_cache = cell.forward(self._cell_params(layer), h, state[layer])  # (T, H, B)
            h, layer_mask = ops.dropout_forward(h, config.dropout, rng)
            final.append(layer_state)
            layer_caches.append((cell_cache, layer_mask))
        logits, linear_cache = ops.linear_forward(ops.to_bag(h), params["Why"], params["by"])  # (V, N)
        return logits, tuple(final), (len(h), embedding_cache, mask, layer_caches, linear_cache)

    def _backward(self, dlogits: Array, cache: tuple) -> Params:
        """Walk the pipeline of :meth:`_forward` from its end: every line there has its inverse here."""
        T, embedding_cache, mask, layer_caches, linear_cache = cache
        cell, grads = CELLS[self.config.cell], {}

        dbag, grads["Why"], grads["by"] = ops.linear_backward(dlogits, linear_cache)
        dh = ops.from_bag(dbag, T)  # (T, H, B)
        for layer in reversed(range(self.config.layers)):
            cell_cache, layer_mask = layer_caches[layer]
            dh = ops.dropout_backward(dh, layer_mask)
            # Truncation: the final state went on into the next slice, but no gradient comes back from there.
            dh, _, cell_grads = cell.backward(dh, cell_cache, dstate=None)
            for name, g in cell_grads.items():
                grads[f"rnn{layer}.{name}"] = g
        if embedding_cache is not None:
            grads["embedding"] = ops.embedding_backward(ops.dropout_backward(dh, mask), embedding_cache)
        return grads

    # --- what users call ----------------------------------------------------------------------------

    def loss(
        self, x: ArrayLike, y: ArrayLike, state: tuple[State, ...], reduction: str = "mean"
    ) -> tuple[Any, tuple[State, ...]]:
        """Cross-entropy of the targets ``y`` (T, B) given the inputs ``x`` (T, B), without dropout.

        Parameters
        ----------
        x, y : int array (T, B)
            Token ids; ``y[t]`` is what should follow ``x[t]``.
        state : tuple
            One cell state per layer, from :meth:`zero_state` or an earlier call.
        reduction : {"mean", "sum"}
            "mean": nats per token, over all T*B tokens. "sum": nats summed over time and averaged over the
            batch, T times the mean, as in min-char-rnn and the TensorFlow PTB tutorial.

        Returns
        -------
        loss : scalar
        state : tuple
            The state after the last step.

        Raises
        ------
        ValueError
            If shapes do not fit, or an id is outside the vocabulary.
        """
        logits, state, _ = self._forward(x, state)
        loss, _ = ops.cross_entropy_forward(logits, *bag_targets(x, y, reduction))
        return loss, state

    def loss_and_grads(
        self,
        x: ArrayLike,
        y: ArrayLike,
        state: tuple[State, ...],
        rng: np.random.Generator | None = None,
        reduction: str = "mean",
    ) -> tuple[Any, Params, tuple[State, ...]]:
        """The loss as :meth:`loss` gives it, its gradient for every parameter, and the state after the last step.

        ``rng`` draws the dropout masks; without it nothing is dropped. Carrying the returned state into the next
        slice, and not its gradient, is truncated back-propagation through time (Williams and Peng, 1990).
        """
        logits, state, cache = self._forward(x, state, rng)
        loss, loss_cache = ops.cross_entropy_forward(logits, *bag_targets(x, y, reduction))
        return loss, self._backward(ops.cross_entropy_backward(loss_cache), cache), state

    def logits(self, x: ArrayLike, state: tuple[State, ...]) -> tuple[Array, tuple[State, ...]]:
        """Unnormalized log-probabilities (T, V, B) of each next token, and the state after the last step."""
        logits, state, _ = self._forward(x, state)
        return ops.from_bag(logits, len(np.asarray(x))), state

    def predict(self, x: ArrayLike, state: tuple[State, ...]) -> tuple[Array, tuple[State, ...]]:
        """The most probable next token after each step, ids (T, B), and the state after the last step."""
        logits, state = self.logits(x, state)
        return logits.argmax(axis=1), state


def bag_targets(x: ArrayLike, y: ArrayLike, reduction: str) -> tuple[Array, Array]:
    """Targets (T, B) laid out as the bag (N,), and the weight of each token in the loss."""
    y = np.asarray(y)
    if y.shape != np.shape(x):
        raise ValueError(f"targets must have the shape of the inputs, {np.shape(x)}, got {y.shape}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction must be "mean" or "sum", got {reduction!r}')
    T, B = y.shape
    return y.reshape(-1), np.full(T * B, 1 / (T * B) if reduction == "mean" else 1 / B)
