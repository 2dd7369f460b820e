"""Drawing text from a model: read what is there, draw one token, read it too, and so on.

The model is called with the same forward pass that trained it, one step at a time; all that is new here is how one
token is chosen from the logits. Many texts at once are the columns of a minibatch: a step of 64 costs little more than
a step of one.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn.checks import Array, Rng, check_size, check_vocab_size
from minirnn.model import LanguageModel
from minirnn.text import END_OF_LINE, Vocabulary


def sample(
    model: LanguageModel,
    vocab: Vocabulary,
    rng: Rng,
    prime: str = "",
    length: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: str | None = None,
    count: int | None = None,
) -> Iterator[Any]:
    """Draw tokens one after the other, each given all before it; ``vocab.join`` makes text of them.

    An iterator of tokens; with ``count``, of lists of so many tokens, the next one of each text, or ``""`` where the
    text has ended.

    Parameters
    ----------
    model, vocab
        The model, and the vocabulary it was trained with.
    rng : Generator or int
        Draws the tokens; the same seed gives the same text.
    prime : str
        Text the model reads first; it is not repeated. Empty: the model starts as on a new line, or where the
        vocabulary has no line end after a token drawn at random.
    length : int
        Tokens to draw at most.
    temperature : float
        Logits are divided by it: below 1 bolder, above 1 wilder, 0 always takes the most probable token.
    top_k, top_p : int, float, optional
        Draw among the k most probable tokens, or among the fewest that together have probability p (nucleus
        sampling; Holtzman et al., 2020). With both, p is a share of what the k have together.
    stop : str, optional
        End as soon as the drawn text ends with this string, which is the last thing drawn.
    count : int, optional
        Draw so many texts at once, all from the same prime and each by itself.

    Raises
    ------
    ValueError
        At the call, before anything is drawn, if an argument is out of range or the prime has unknown tokens.
    """
    check_vocab_size(len(vocab), model.config.vocab_size)
    if length < 0:
        raise ValueError(f"length must be at least 0, got {length}")
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0 (0 takes the most probable token), got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    B = 1 if count is None else check_size("count", count)
    rng = np.random.default_rng(rng)
    line_end = "\n" if vocab.kind == "chars" else END_OF_LINE
    first = np.repeat(vocab.encode(prime)[:, None], B, axis=1)  # (T, B)
    if not first.size:
        known = line_end in vocab.ids
        first = np.full((1, B), vocab.ids[line_end]) if known else rng.integers(len(vocab), size=(1, B))

    def draw() -> Iterator[list[str]]:
        ids, state = first, model.zero_state(B)
        tails: list[deque[str]] = [deque(maxlen=len(stop or "")) for _ in range(B)]
        ended = [False] * B
        for _ in range(length):
            logits, state = model.logits(ids, state)  # (T, V, B), T = 1 once the prime is read
            ids = choose(logits[-1].T, rng, temperature, top_k, top_p)[None]  # (1, B)
            drawn = [vocab.tokens[i] for i in ids[0]]
            yield ["" if end else token for token, end in zip(drawn, ended, strict=True)]
            if stop:
                for b, (tail, token) in enumerate(zip(tails, drawn, strict=True)):
                    tail.append(token)
                    ended[b] = ended[b] or vocab.join(tail).endswith(stop)
                if all(ended):
                    return

    return draw() if count is not None else (token for (token,) in draw())


def choose(
    logits: Array, rng: np.random.Generator, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """Draw ids (B,) from ``softmax(logits / temperature)``, logits (B, V), each row cut to ``top_k`` and ``top_p``."""
    best = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(best).all():
        raise ValueError("the model's logits are not finite: its training diverged; load an earlier model")
    if temperature == 0:
        return logits.argmax(axis=-1)
    with np.errstate(over="ignore"):  # a tiny temperature may send all but the best to -inf, which is right
        p = np.exp((logits - best).astype(np.float64) / temperature)
    if top_k is not None or top_p is not None:
        order = np.argsort(-p, axis=-1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=-1)
        if top_k is not None:
            ranked[..., top_k:] = 0
        if top_p is not None:
            before = np.cumsum(ranked, axis=-1) - ranked  # what all better tokens have together
            ranked[before >= top_p * ranked.sum(axis=-1, keepdims=True)] = 0
        np.put_along_axis(p, order, ranked, axis=-1)
    cumulative = np.cumsum(p, axis=-1)
    # In (0, total]: a token of probability 0 adds nothing to the sum and can never be the first to reach it.
    at = (1 - rng.random(best.shape)) * cumulative[..., -1:]
    return (cumulative < at).sum(axis=-1)
