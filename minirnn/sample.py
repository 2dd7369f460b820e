"""Drawing text from a model: read what is there, draw one token, read it too, and so on.

The model is called with the same forward pass that trained it, one step of one sequence at a time; all that is new
here is how one token is chosen from the logits.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from minirnn.checks import Array, Rng, check_vocab_size
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
) -> Iterator[str]:
    """Draw tokens one after the other, each given all before it; ``vocab.join`` makes text of them.

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
    rng = np.random.default_rng(rng)
    line_end = "\n" if vocab.kind == "chars" else END_OF_LINE
    first = vocab.encode(prime)
    if not first.size:
        first = np.array([vocab.ids[line_end] if line_end in vocab.ids else rng.integers(len(vocab))])

    def draw() -> Iterator[str]:
        ids, state = first, model.zero_state(1)
        tail: deque[str] = deque(maxlen=len(stop or ""))
        for _ in range(length):
            logits, state = model.logits(ids[:, None], state)  # (T, V, 1), T = 1 once the prime is read
            ids = np.array([choose(logits[-1, :, 0], rng, temperature, top_k, top_p)])
            token = vocab.tokens[ids[0]]
            yield token
            tail.append(token)
            if stop and vocab.join(tail).endswith(stop):
                return

    return draw()


def choose(
    logits: Array, rng: np.random.Generator, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> int:
    """Draw one id from ``softmax(logits / temperature)``, logits (V,), cut to ``top_k`` and ``top_p``."""
    best = logits.max()
    if not np.isfinite(best):
        raise ValueError("the model's logits are not finite: its training diverged; load an earlier model")
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature may send all but the best to -inf, which is right
        p = np.exp((logits - best).astype(np.float64) / temperature)
    if top_k is not None or top_p is not None:
        order = np.argsort(-p, kind="stable")
        if top_k is not None:
            p[order[top_k:]] = 0
        if top_p is not None:
            before = np.cumsum(p[order]) - p[order]  # what all better tokens have together
            p[order[before >= top_p * p.sum()]] = 0
    cumulative = np.cumsum(p)
    # In (0, total]: a token of probability 0 adds nothing to the sum and can never be the first to reach it.
    return int(np.searchsorted(cumulative, (1 - rng.random()) * cumulative[-1]))
