"""A language model: token ids in, a loss and its gradients out.

The model is a pipeline, and its backward pass is the same pipeline walked from the end::

    ids (T, B) -> one-hot or embedding -> cell -> ... -> cell -> bag -> linear -> softmax cross-entropy -> loss
                                          h fed to the next layer        logits (V, N)

Parameters live in one flat dict: ``"rnn0.Wxh"`` is the Wxh of the lowest cell, ``"Why"`` and ``"by"`` belong to the
output layer, ``"embedding"`` is the table. Gradients come back under the same names.

The model holds no state: the hidden state passes in and out of every call. Whoever evaluates or samples brings a
state of their own, and the training run's is never touched.

Sequences of different lengths need no mask inside a cell. A causal network never looks right, so padding at the end
of a sequence can only matter to the loss, where it weighs nothing, and to the final state, which is taken at the
sequence's own length.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minirnn import gru, lstm, ops, rnn
from minirnn.checks import Array, ModelState, Params, Rng, check_choice, check_dtype, check_each, check_grid, check_size

CELLS: dict[str, ModuleType] = {"rnn": rnn, "gru": gru, "lstm": lstm}
# What a cell's cache holds after params and x: states, and gates whose blocks of rows lie one below the other.
CACHED = {"rnn": ("h",), "gru": ("h", "rzn"), "lstm": ("h", "c", "ifog")}


@dataclass(frozen=True)
class ModelConfig:
    """What has to be known to build a model; everything else is in its parameters.

    Dropout never touches the recurrence, only what passes upwards from the embedding to the output (Zaremba,
    Sutskever and Vinyals, 2014).
    Tied weights use the embedding table as the output layer's too, instead of ``"Why"`` (Press and Wolf, 2017).
    """

    cell: str  # a name in CELLS
    vocab_size: int  # V, tokens in the vocabulary
    hidden_size: int  # H, hidden units of each layer
    layers: int = 1  # how many cells are stacked
    embedding_size: int | None = None  # D, width of the learned input vectors; None feeds one-hot columns
    dropout: float = 0.0  # probability of dropping an entry of the embedding and of each layer's output
    tie_weights: bool = False  # needs embedding_size equal to hidden_size

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, *CELLS)
        sizes = {"vocab_size": self.vocab_size, "hidden_size": self.hidden_size, "layers": self.layers}
        if self.embedding_size is not None:
            sizes["embedding_size"] = self.embedding_size
        for name, size in sizes.items():
            object.__setattr__(self, name, check_size(name, size))  # frozen for everybody else
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.tie_weights and self.embedding_size != self.hidden_size:
            sizes_given = f"{self.embedding_size} and {self.hidden_size}"
            raise ValueError(f"tied weights need embedding_size equal to hidden_size, got {sizes_given}")


# --- what all models share: ids -> input vectors -> cell -> ... -> cell -------------------------------


def init_stack(config: ModelConfig, rng: np.random.Generator, dtype: DTypeLike) -> Params:
    """Draw the parameters of embedding and cells; embedding vectors have a length of about one."""
    V, H, D = config.vocab_size, config.hidden_size, config.embedding_size
    params: Params = {}
    check_dtype(dtype)
    if D is not None:
        params["embedding"] = (rng.standard_normal((V, D)) * D**-0.5).astype(dtype)
    for layer in range(config.layers):
        input_size = (D or V) if layer == 0 else H
        for name, p in CELLS[config.cell].init(input_size, H, rng, dtype).items():
            params[f"rnn{layer}.{name}"] = p
    return params


def stack_forward(
    config: ModelConfig, params: Params, ids: ArrayLike, state: ModelState, rng: np.random.Generator | None
) -> tuple[Array, ModelState, tuple]:
    """Ids (T, B) to the top layer's h (T, H, B), the final state, and the cache of everything on the way."""
    ids = check_grid("token ids", ids)
    if len(state) != config.layers:
        raise ValueError(f"the state must hold one cell state for each of {config.layers} layers, got {len(state)}")

    if config.embedding_size is None:
        h = ops.one_hot(ids, config.vocab_size, params["rnn0.Wxh"].dtype)  # (T, V, B)
        embedding_cache = mask = None
    else:
        h, embedding_cache = ops.embedding_forward(ids, params["embedding"])  # (T, D, B)
        h, mask = ops.dropout_forward(h, config.dropout, rng)
    final, layer_caches = [], []
    for layer in range(config.layers):
        prefix = f"rnn{layer}."
        cell_params = {name.removeprefix(prefix): p for name, p in params.items() if name.startswith(prefix)}
        h, layer_state, cell_cache = CELLS[config.cell].forward(cell_params, h, state[layer])  # (T, H, B)
        h, layer_mask = ops.dropout_forward(h, config.dropout, rng)
        final.append(layer_state)
        layer_caches.append((cell_cache, layer_mask))
    return h, tuple(final), (embedding_cache, mask, layer_caches)


def stack_backward(config: ModelConfig, dh: Array, cache: tuple) -> Params:
    """Walk :func:`stack_forward` from its end: each line there has its backward line here."""
    embedding_cache, mask, layer_caches = cache
    grads: Params = {}
    for layer in reversed(range(config.layers)):
        cell_cache, layer_mask = layer_caches[layer]
        dh = ops.dropout_backward(dh, layer_mask)
        dh, _, cell_grads = CELLS[config.cell].backward(dh, cell_cache)  # no dstate: truncated where the slice ends
        for name, g in cell_grads.items():
            grads[f"rnn{layer}.{name}"] = g
    if embedding_cache is not None:
        grads["embedding"] = ops.embedding_backward(ops.dropout_backward(dh, mask), embedding_cache)
    return grads


class LanguageModel:
    """Predicts each next token of a sequence from all tokens before it; :meth:`init` makes a new one."""

    def __init__(self, config: ModelConfig, params: Params):
        self.config = config
        self.params = params

    @classmethod
    def init(cls, config: ModelConfig, rng: Rng, dtype: DTypeLike = np.float32) -> "LanguageModel":
        """Draw a model's parameters; those of the output layer uniformly from +-1/sqrt(H)."""
        rng, V, H = np.random.default_rng(rng), config.vocab_size, config.hidden_size
        params = init_stack(config, rng, dtype)
        if not config.tie_weights:
            params["Why"] = rng.uniform(-(H**-0.5), H**-0.5, (V, H)).astype(dtype)
        params["by"] = np.zeros((V, 1), dtype)
        return cls(config, params)

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters: float32 to train, float64 or complex128 to check."""
        return self.params["by"].dtype

    @property
    def size(self) -> int:
        """How many numbers the parameters hold."""
        return sum(p.size for p in self.params.values())

    def astype(self, dtype: DTypeLike) -> "LanguageModel":
        """The same model in another precision; the parameters are copied."""
        return LanguageModel(self.config, {name: p.astype(check_dtype(dtype)) for name, p in self.params.items()})

    def zero_state(self, batch_size: int) -> ModelState:
        """The state before anything was read: one cell state per layer."""
        zero_state, H = CELLS[self.config.cell].zero_state, self.config.hidden_size
        return tuple(zero_state(H, batch_size, self.dtype) for _ in range(self.config.layers))

    def loss(
        self,
        x: ArrayLike,
        y: ArrayLike,
        state: ModelState,
        *,
        reduction: str = "mean",
        lengths: ArrayLike | None = None,
    ) -> tuple[Any, ModelState]:
        """Cross-entropy of the targets ``y`` (T, B) given the inputs ``x`` (T, B), without dropout.

        Parameters
        ----------
        x, y : int array (T, B)
            Token ids; ``y[t]`` is what should follow ``x[t]``.
        state : tuple
            One cell state per layer, from :meth:`zero_state` or an earlier call.
        reduction : {"mean", "sum"}
            "mean": nats per token, over all real tokens. "sum": nats summed over time and averaged over the batch, as
            in min-char-rnn and the TensorFlow PTB tutorial; without ``lengths`` that is T times the mean.
        lengths : int array (B,), optional
            How many tokens of each sequence are real; the rest is padding (any valid ids) and counts nothing.

        Returns
        -------
        loss : scalar
        state : tuple
            The state after the last step, with ``lengths`` after each sequence's own last.

        Raises
        ------
        ValueError
            If shapes do not fit, an id is outside the vocabulary, or a length outside 1..T.
        """
        loss, _, state, _ = self._loss(x, y, state, None, reduction, lengths)
        return loss, state

    def loss_and_grads(
        self,
        x: ArrayLike,
        y: ArrayLike,
        state: ModelState,
        *,
        rng: Rng | None = None,
        reduction: str = "mean",
        lengths: ArrayLike | None = None,
    ) -> tuple[Any, Params, ModelState]:
        """The loss as :meth:`loss` gives it, its gradient for every parameter, and the final state.

        ``rng`` draws the dropout masks; without it nothing is dropped. No gradient comes in through the returned
        state: handing it to the next call makes back-propagation through time truncated (Williams and Peng, 1990).
        """
        rng = None if rng is None else np.random.default_rng(rng)
        loss, loss_cache, state, (stack_cache, linear_cache, T) = self._loss(x, y, state, rng, reduction, lengths)
        dlogits = ops.cross_entropy_backward(loss_cache)
        dbag, dWhy, dby = ops.linear_backward(dlogits, linear_cache)
        grads = stack_backward(self.config, ops.from_bag(dbag, T), stack_cache)
        if self.config.tie_weights:
            grads["embedding"] += dWhy  # one table used twice: its gradients add up
        else:
            grads["Why"] = dWhy
        grads["by"] = dby
        return loss, grads, state

    def logits(self, x: ArrayLike, state: ModelState) -> tuple[Array, ModelState]:
        """Unnormalized log-probabilities (T, V, B) of each next token, and the state after the last step."""
        logits, state, (_, _, T) = self._forward(x, state, None)
        return logits.reshape(len(logits), T, -1).transpose(1, 0, 2), state  # the bag as it lies, nothing copied

    def predict(self, x: ArrayLike, state: ModelState) -> tuple[Array, ModelState]:
        """The most probable next token after each step, ids (T, B), and the state after the last step."""
        logits, state = self.logits(x, state)
        return logits.argmax(axis=1), state

    def trace(self, ids: ArrayLike) -> dict[str, Array]:
        """Every state and gate while one text, ids (T,), is read from a zero state.

        Arrays (T, H) by names such as ``"lstm 1 c"`` and ``"gru 2 z"``: the cell, the layer from 1 on, the letter that
        the cell's lesson has for it. Row t is how it was after token t.
        """
        x, found = np.asarray(ids)[:, None], {}
        _, _, (_, _, layers) = stack_forward(self.config, self.params, x, self.zero_state(1), None)
        for layer, ((_, _, *arrays), _) in enumerate(layers, 1):
            for letters, array in zip(CACHED[self.config.cell], arrays, strict=False):
                rows = array[-len(x) :, :, 0]  # (T, H): of the states without the one before the first step
                for letter, block in zip(letters, np.split(rows, len(letters), axis=1), strict=True):
                    found[f"{self.config.cell} {layer} {letter}"] = block
        return found

    def _forward(self, x: ArrayLike, state: ModelState, rng: Any) -> tuple[Array, ModelState, tuple]:
        """Ids (T, B) to logits (V, N), the final state, and the cache."""
        h, state, stack_cache = stack_forward(self.config, self.params, x, state, rng)
        Why = self.params["embedding" if self.config.tie_weights else "Why"]
        logits, linear_cache = ops.linear_forward(ops.to_bag(h), Why, self.params["by"])
        return logits, state, (stack_cache, linear_cache, len(h))

    def _loss(self, x: ArrayLike, y: ArrayLike, state: ModelState, rng: Any, reduction: str, lengths: Any) -> tuple:
        """The loss and its cache, the final state, and the cache of the forward pass."""
        logits, state, cache = self._forward(x, state, rng)
        y = check_grid("targets", y)
        if y.shape != np.shape(x):
            raise ValueError(f"targets must have the shape of the inputs, {np.shape(x)}, got {y.shape}")
        check_choice("reduction", reduction, "mean", "sum")
        T, B = y.shape
        real: Array = np.ones((T, B))
        if lengths is not None:
            lengths = check_each("lengths", lengths, 1, T, B)
            real = np.arange(T)[:, None] < lengths  # (T, B): the rest is padding
            cell, (_, _, layer_caches) = CELLS[self.config.cell], cache[0]
            state = tuple(cell.state_at(cell_cache, lengths) for cell_cache, _ in layer_caches)
        weights = real.reshape(-1) / (real.sum() if reduction == "mean" else B)
        loss, loss_cache = ops.cross_entropy_forward(logits, y.reshape(-1), weights)
        return loss, loss_cache, state, cache
