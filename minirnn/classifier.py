"""Many to one: read a whole sequence, then say which class it belongs to.

The recurrent stack is the language model's. Only the end differs: no prediction at each step, but two dense layers on
what the network remembers after the last real token::

    h (T, H, B) --pick--> last (H, B) --tanh(Wd last + bd)--> dense (K, B) --Why, by--> logits (C, B)

C classes, K units of the dense layer. Sequences of different lengths are padded to T; what stands in the padding
changes nothing, neither the loss nor any gradient, because nothing after the last real token is read.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minirnn import ops
from minirnn.checks import Array, Params, Rng, check_each, check_grid, check_integers
from minirnn.model import CELLS, ModelConfig, init_stack, stack_backward, stack_forward


class SequenceClassifier:
    """Assigns one of C classes to each sequence.

    Parameters
    ----------
    config : ModelConfig
        Of the recurrent stack; its ``tie_weights`` must be off.
    params : dict of arrays
        As :meth:`init` makes them.
    """

    def __init__(self, config: ModelConfig, params: Params):
        self.config = config
        self.params = params

    @classmethod
    def init(
        cls, config: ModelConfig, classes: int, rng: Rng, dense_size: int = 64, dtype: DTypeLike = np.float32
    ) -> "SequenceClassifier":
        """Draw a classifier's parameters; both dense layers uniformly from +-1/sqrt(inputs)."""
        if classes < 1 or dense_size < 1:
            raise ValueError(f"classes and dense_size must be at least 1, got {classes} and {dense_size}")
        if config.tie_weights:
            raise ValueError("a classifier has no output table to tie the embedding to; leave tie_weights off")
        rng, H = np.random.default_rng(rng), config.hidden_size
        params = init_stack(config, rng, dtype)
        for W, b, outputs, inputs in (("Wd", "bd", dense_size, H), ("Why", "by", classes, dense_size)):
            params[W] = rng.uniform(-(inputs**-0.5), inputs**-0.5, (outputs, inputs)).astype(dtype)
            params[b] = np.zeros((outputs, 1), dtype)
        return cls(config, params)

    def loss(self, x: ArrayLike, labels: ArrayLike, lengths: ArrayLike) -> Any:
        """Mean cross-entropy in nats per sequence, without dropout.

        Parameters
        ----------
        x : int array (T, B)
            Token ids, sequences as columns, padded with any valid id.
        labels : int array (B,)
            The class of each sequence.
        lengths : int array (B,)
            How many tokens of each are real.

        Raises
        ------
        ValueError
            If shapes do not fit, or an id, label or length is out of range.
        """
        logits, _ = self._forward(x, lengths, None)
        return self._cross_entropy(logits, labels)[0]

    def loss_and_grads(
        self, x: ArrayLike, labels: ArrayLike, lengths: ArrayLike, *, rng: Rng | None = None
    ) -> tuple[Any, Params]:
        """The loss and its gradient for every parameter; ``rng`` draws dropout masks, without it nothing is dropped."""
        logits, (stack_cache, shape, last, dense, dense_cache, output_cache) = self._forward(x, lengths, rng)
        loss, loss_cache = self._cross_entropy(logits, labels)
        grads: Params = {}
        ddense, grads["Why"], grads["by"] = ops.linear_backward(ops.cross_entropy_backward(loss_cache), output_cache)
        da = ddense * (1 - dense**2)  # through dense = tanh(a)
        dlast, grads["Wd"], grads["bd"] = ops.linear_backward(da, dense_cache)
        dh = np.zeros(shape, dlast.dtype)  # (T, H, B): only the state that was picked has a gradient
        dh[last, :, np.arange(shape[2])] = dlast.T
        return loss, stack_backward(self.config, dh, stack_cache) | grads

    def logits(self, x: ArrayLike, lengths: ArrayLike) -> Array:
        """Unnormalized log-probabilities (C, B) of the classes."""
        return self._forward(x, lengths, None)[0]

    def predict(self, x: ArrayLike, lengths: ArrayLike) -> Array:
        """The most probable class of each sequence, (B,)."""
        return self.logits(x, lengths).argmax(axis=0)

    def _forward(self, x: ArrayLike, lengths: ArrayLike, rng: Rng | None) -> tuple[Array, tuple]:
        """Logits (C, B), and what backward needs."""
        rng = None if rng is None else np.random.default_rng(rng)
        x = check_grid("token ids", x)
        cell, config, p = CELLS[self.config.cell], self.config, self.params
        state = tuple(cell.zero_state(config.hidden_size, x.shape[1], p["by"].dtype) for _ in range(config.layers))
        h, _, stack_cache = stack_forward(config, p, x, state, rng)  # (T, H, B)
        last = check_each("lengths", lengths, 1, *x.shape) - 1
        a, dense_cache = ops.linear_forward(ops.pick(h, last), p["Wd"], p["bd"])
        dense = np.tanh(a)  # (K, B)
        logits, output_cache = ops.linear_forward(dense, p["Why"], p["by"])
        return logits, (stack_cache, h.shape, last, dense, dense_cache, output_cache)

    def _cross_entropy(self, logits: Array, labels: ArrayLike) -> tuple[Any, tuple]:
        C, B = logits.shape
        return ops.cross_entropy_forward(logits, check_each("labels", labels, 0, C - 1, B), np.full(B, 1 / B))


def pad(sequences: list[Array]) -> tuple[Array, Array]:
    """Sequences of ids as columns of one array (T, B), padded with 0, and their lengths (B,).

    Raises
    ------
    ValueError
        If there is none, or one of them is empty or not of integers.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    if not len(lengths) or not lengths.min():
        raise ValueError("there must be at least one sequence, and each must have at least one token")
    x = np.zeros((lengths.max(), len(lengths)), np.int64)
    for b, sequence in enumerate(sequences):
        x[: len(sequence), b] = check_integers("sequences", sequence)
    return x, lengths
