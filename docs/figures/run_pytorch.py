"""Train the same model here and in PyTorch, from the same weights on the same batches: writes pytorch.json.

python docs/figures/run_pytorch.py        needs torch (2.13.0 was used); about 40 s on one core
"""

import json
from pathlib import Path

import numpy as np
import torch

import minirnn
from minirnn.files.torch_format import to_torch_state_dict

FIGURES = Path(__file__).parent
PLAY = FIGURES.parents[1] / "examples" / "data" / "play.txt"
CELLS = {"tanh": "rnn", "GRU": "gru", "LSTM": "lstm"}
H, B, T, STEPS = 100, 16, 25, 300
torch.set_num_threads(1)


class Model(torch.nn.Module):
    """One-hot characters, one recurrent layer, softmax: minirnn.LanguageModel as PyTorch users write it."""

    def __init__(self, cell, V):
        super().__init__()
        layer = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
        self.rnn = layer(V, H)
        self.linear = torch.nn.Linear(H, V)

    def forward(self, ids, state):
        x = torch.nn.functional.one_hot(ids, self.linear.out_features)  # (T, B, V)
        h, state = self.rnn(x.to(self.linear.weight.dtype), state)
        return self.linear(h), state  # (T, B, V)


def the_same_in_torch(model, one_bias):
    """A PyTorch model with the weights of ours; with ``one_bias`` it does not learn the biases that we do not have."""
    torch_model = Model(model.config.cell, model.config.vocab_size).to(torch.float64)
    arrays = to_torch_state_dict(model)
    torch_model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    if one_bias:
        second = torch_model.rnn.bias_hh_l0
        ours_too = torch.zeros_like(second)
        if model.config.cell == "gru":
            ours_too[2 * H :] = 1  # bhn, inside the reach of the reset gate
        second.register_hook(lambda gradient: gradient * ours_too)
    return torch_model


def torch_step(model, x, y, state):
    """Loss and new state of one batch; the gradients are in the parameters."""
    logits, state = model(torch.from_numpy(x).long(), state)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(y).long().flatten())
    model.zero_grad()
    loss.backward()
    detached = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    return loss.item(), detached  # detach: truncated back-propagation through time


def largest_difference(grads, torch_model):
    """Between our gradients and PyTorch's, relative to the largest entry of each."""
    theirs = {name: p.grad.numpy() for name, p in torch_model.named_parameters()}
    errors = []
    for ours, name in (("rnn0.Whh", "rnn.weight_hh_l0"), ("rnn0.Wxh", "rnn.weight_ih_l0"), ("Why", "linear.weight")):
        g, expected = grads[ours], theirs[name]
        if torch_model.rnn.mode == "LSTM" and ours != "Why":
            i, f, o, c = np.split(g, 4)
            g = np.concatenate([i, f, c, o])
        errors.append(float(np.abs(g - expected).max() / np.abs(expected).max()))
    return max(errors)


def compare(cell, one_bias, ids, V):
    """The largest difference of the first gradient, and the losses of both while they are trained by Adam."""
    model = minirnn.LanguageModel.init(minirnn.ModelConfig(cell, V, H), 0, np.float64)
    torch_model = the_same_in_torch(model, one_bias)
    optimizer, torch_optimizer = minirnn.Adam(2e-3), torch.optim.Adam(torch_model.parameters(), lr=2e-3)
    losses, gradient_error, done = [], None, 0
    while done < STEPS:
        state, torch_state = model.zero_state(B), None
        for x, y in minirnn.stream_batches(ids, B, T):
            loss, grads, state = model.loss_and_grads(x, y, state)
            torch_loss, torch_state = torch_step(torch_model, x, y, torch_state)
            gradient_error = gradient_error or largest_difference(grads, torch_model)
            optimizer.step(model.params, grads)
            torch_optimizer.step()
            losses.append((float(loss), torch_loss))
            done += 1
            if done == STEPS:
                break
    ours, theirs = np.array(losses).T
    return {
        "gradient_error": gradient_error,
        "minirnn": np.round(ours[::5], 4).tolist(),
        "torch": np.round(theirs[::5], 4).tolist(),
        "difference": [float(f"{d:.2g}") for d in np.abs(ours - theirs)[::5]],
    }


def main():
    text = minirnn.read_text(PLAY)
    vocab = minirnn.Vocabulary.from_chars(text)
    data = {
        biases: {name: compare(cell, one_bias, vocab.encode(text), len(vocab)) for name, cell in CELLS.items()}
        for biases, one_bias in (("one bias", True), ("two biases", False))
    }
    (FIGURES / "pytorch.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
