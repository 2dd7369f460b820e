"""What surrounds the recurrence: inputs before it, the loss after it.

Each operation is a pair that mirrors itself: ``X_forward`` returns its result and a cache, ``X_backward``
takes the gradient of the result and that cache and returns the gradient of the inputs. Neither changes its
arguments, so a backward pass can be asked twice and answers the same.

Around the softmax, time no longer matters. There the T steps of B sequences lie side by side as the
N = T*B columns of one matrix, "the bag", and a single matrix product serves them all::

    h (T, H, B)  --to_bag-->  (H, N)  --linear-->  logits (V, N)  --cross entropy-->  loss
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minirnn.checks import Array, check_ids, check_shape


def sigmoid(z: Array) -> Array:
    """Logistic function ``1 / (1 + exp(-z))``, of any shape, real or complex.

    Far below zero exp overflows to infinity, and 1 / inf is the 0 that is right. An infinite complex number has no such
    reciprocal, but tanh never overflows, and ``(1 + tanh(z / 2)) / 2`` is the same function.
    """
    if np.iscomplexobj(z):
        return 0.5 * (1 + np.tanh(0.5 * z))
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))  # half the time of tanh: 6 % of a step of charrnn


# --- the bag ----------------------------------------------------------------------------------------


def to_bag(h: Array) -> Array:
    """Lay the time steps side by side: (T, H, B) -> (H, N), where column ``t*B + b`` is ``h[t, :, b]``."""
    return h.transpose(1, 0, 2).reshape(h.shape[1], -1)


def from_bag(bag: Array, T: int) -> Array:
    """Invert :func:`to_bag`: (H, N) -> (T, H, B)."""
    return np.ascontiguousarray(bag.reshape(len(bag), T, -1).transpose(1, 0, 2))


def pick(hs: Array, steps: Array) -> Array:
    """Column b of the result (H, B) is ``hs[steps[b], :, b]``: each sequence at a step of its own."""
    return np.ascontiguousarray(hs[steps, :, np.arange(hs.shape[2])].T)


# --- token ids become columns -----------------------------------------------------------------------


def one_hot(ids: ArrayLike, V: int, dtype: DTypeLike = np.float32) -> Array:
    """Token ids (T, B) -> (T, V, B) with a single one in each column.

    A weight matrix times a one-hot column picks one column of the matrix: ``Wxh @ x[t]`` looks the character up.
    """
    ids = check_ids(ids, V)
    if ids.ndim != 2:
        raise ValueError(f"ids must have shape (T, B), got {ids.shape}")
    T, B = ids.shape
    x = np.zeros((T, V, B), dtype)
    x[np.arange(T)[:, None], ids, np.arange(B)] = 1
    return x


def embedding_forward(ids: ArrayLike, table: Array) -> tuple[Array, tuple]:
    """Look token ids (T, B) up in a table (V, D): x (T, D, B), and the cache for :func:`embedding_backward`.

    The same as ``table.T @ one_hot(ids, V)``, without multiplying by all the zeros.
    """
    ids = check_ids(ids, len(table))
    x = table[ids].transpose(0, 2, 1)  # (T, B, D) -> (T, D, B)
    return np.ascontiguousarray(x), (ids, table.shape)


def embedding_backward(dx: Array, cache: tuple) -> Array:
    """Gradient of the table (V, D) from ``dx`` (T, D, B): a row gathers from every place its token stood."""
    ids, shape = cache
    dtable = np.zeros(shape, dx.dtype)
    np.add.at(dtable, ids, dx.transpose(0, 2, 1))  # dtable[ids] += ... would count a repeated token only once
    return dtable


# --- layers -----------------------------------------------------------------------------------------


def linear_forward(x: Array, W: Array, b: Array) -> tuple[Array, tuple]:
    """``y = W @ x + b`` on the bag: x (D, N), W (V, D), b (V, 1) -> y (V, N), cache."""
    return W @ x + b, (x, W)


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """From ``dy`` (V, N): ``dx`` (D, N), ``dW`` (V, D), ``db`` (V, 1)."""
    x, W = cache
    # y[v, n] = sum_d W[v, d] x[d, n] + b[v]: each factor's gradient is dy times the other factor,
    # summed over the index that factor does not have; b's factor is 1.
    return W.T @ dy, dy @ x.T, dy.sum(axis=1, keepdims=True)


def dropout_forward(x: Array, rate: float, rng: np.random.Generator | None) -> tuple[Array, Array | None]:
    """Inverted dropout: zero entries with probability ``rate``, scale up the rest so that the expectation stays.

    Returns the result and the mask, which is the cache. Without ``rng`` (evaluation) or at rate 0 the input passes
    as it is and the mask is None (Srivastava et al., 2014).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the dropout rate must be in [0, 1), got {rate}")
    if rng is None or rate == 0:
        return x, None
    kept = rng.random(x.shape, np.float32) >= rate
    mask = kept / np.asarray(1 - rate, x.real.dtype)
    return x * mask, mask


def dropout_backward(dout: Array, mask: Array | None) -> Array:
    """Gradient of the input: what was dropped gets nothing, what was kept was scaled by the mask."""
    return dout if mask is None else dout * mask


# --- the loss ---------------------------------------------------------------------------------------


def cross_entropy_forward(logits: Array, targets: Array, weights: Array) -> tuple[Any, tuple]:
    """Softmax and weighted negative log-likelihood in one, over the bag.

    Parameters
    ----------
    logits : array (V, N)
    targets : int array (N,)
        The index that should have won in each column.
    weights : array (N,)
        What each token counts: 1/N each gives the mean in nats per token, 0 takes a padded token out.

    Returns
    -------
    loss : scalar
        ``sum_n weights[n] * -log softmax(logits[:, n])[targets[n]]``, in nats.
    cache : tuple
        For :func:`cross_entropy_backward`.

    Raises
    ------
    ValueError
        If a shape does not fit, or a target is outside the logits.
    """
    targets = check_ids(targets, len(logits), "targets")
    columns = np.arange(logits.shape[1])
    check_shape("targets", targets, columns.shape)
    check_shape("weights", weights, columns.shape)
    # A shift of the whole column cancels in the softmax; the largest logit at 0 keeps exp from overflowing.
    shifted = logits - logits.real.max(axis=0)
    correct = shifted[targets, columns]
    unnormalized = np.exp(shifted, out=shifted)
    Z = unnormalized.sum(axis=0)
    weights = np.asarray(weights, Z.real.dtype)
    loss = (weights * (np.log(Z) - correct)).sum()
    return loss, (unnormalized, Z, targets, weights)


def cross_entropy_backward(cache: tuple) -> Array:
    """Gradient of the logits (V, N): (the probabilities, minus one at the target) times the token's weight."""
    unnormalized, Z, targets, weights = cache
    dlogits = unnormalized * (weights / Z)
    dlogits[targets, np.arange(len(targets))] -= weights
    return dlogits
