"""Writes tests/golden/torch.npz: what PyTorch computes for a small model of each kind of cell, in double precision.

    python tests/make_golden.py          needs torch

Run once; the tests compare this package with the file wherever PyTorch is not installed, and with PyTorch where it is.
"""

from pathlib import Path

import numpy as np
import torch

V, D, H, LAYERS, T, B = 7, 3, 4, 2, 5, 3
MODULES = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


class TorchModel(torch.nn.Module):
    """Embedding, recurrent layers, linear: the members that a state dict of this package names."""

    def __init__(self, cell, vocab_size, embedding_size, hidden_size, layers):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, embedding_size)
        self.rnn = MODULES[cell](embedding_size, hidden_size, layers)
        self.linear = torch.nn.Linear(hidden_size, vocab_size)

    def forward(self, ids, state):
        h, state = self.rnn(self.embedding(ids), state)
        return self.linear(h), state


def run(model, cell, x, y, h0, c0):
    """Logits, loss, final state and every gradient of a model, as arrays."""
    x, y, h0, c0 = (torch.from_numpy(array) for array in (x, y, h0, c0))
    logits, state = model(x, (h0, c0) if cell == "lstm" else h0)
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))
    model.zero_grad()
    loss.backward()
    out = {"logits": logits, "loss": loss, "h": state[0] if cell == "lstm" else state}
    if cell == "lstm":
        out["c"] = state[1]
    out |= {f"grad/{name}": p.grad for name, p in model.named_parameters()}
    return {name: value.detach().numpy() for name, value in out.items()}


def main():
    rng = np.random.default_rng(0)
    arrays = {}
    for cell in MODULES:
        torch.manual_seed(0)
        model = TorchModel(cell, V, D, H, LAYERS).double()
        x, y = rng.integers(0, V, (2, T, B))
        h0, c0 = rng.uniform(-1, 1, (2, LAYERS, B, H))
        inputs = {"x": x, "y": y, "h0": h0, "c0": c0}
        weights = {f"weights/{name}": p.detach().numpy() for name, p in model.state_dict().items()}
        for name, array in (inputs | weights | run(model, cell, x, y, h0, c0)).items():
            arrays[f"{cell}/{name}"] = array
    path = Path(__file__).parent / "golden" / "torch.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
