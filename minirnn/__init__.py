"""minirnn: recurrent neural networks in NumPy, back-propagation written out by hand.

Every forward pass has its backward pass next to it, and nothing is differentiated by a machine. Read the package in the
order in which data flows: ``text`` -> ``ops`` -> ``rnn`` (then ``lstm`` and ``gru``) -> ``model`` -> ``optim`` ->
``train`` -> ``sample``, and last ``gradcheck``, which checks all of it.

Letters, the same everywhere:

====  ================================================
T     time steps unrolled
B     sequences in the minibatch
V     vocabulary size
D     input features
H     hidden units
N     tokens of a minibatch, T*B, "the bag"
====  ================================================

One layout rule: a step's input is a matrix ``x[t]`` (D, B), each *column* one sequence of the minibatch. A sequence
is an array (T, D, B), hidden states are (T, H, B), token ids (T, B). Weights act from the left and biases are
columns, so with B = 1 the equations are those of Karpathy's min-char-rnn to the letter.

The gradient of ``z`` is called ``dz``. Losses are in nats per token unless it says otherwise.
"""

import signal
import sys

# python -m minirnn: loading what follows takes a moment, in which Ctrl-C ends it without a word. Importing alone
# changes nothing: argv begins with "-m" while Python looks for the module to run, whose name orig_argv has there.
if (
    sys.argv[:1] == ["-m"]
    and sys.orig_argv[-len(sys.argv)] == "minirnn"
    and signal.getsignal(signal.SIGINT) == signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until minirnn.commands.cli.guarded

from minirnn import gradcheck, gru, lstm, ops, rnn
from minirnn.classifier import SequenceClassifier
from minirnn.files.checkpoint import load_model, save_model
from minirnn.files.corpus import read_text
from minirnn.files.interrupt import catch_interrupt
from minirnn.files.torch_format import from_torch_state_dict, to_torch_state_dict
from minirnn.model import CELLS, LanguageModel, ModelConfig
from minirnn.optim import SGD, Adagrad, Adam, RMSProp, clip_norm, clip_value
from minirnn.sample import sample
from minirnn.text import Vocabulary, stream_batches
from minirnn.train import Report, Trainer, evaluate

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "SGD",
    "Adagrad",
    "Adam",
    "LanguageModel",
    "ModelConfig",
    "RMSProp",
    "Report",
    "SequenceClassifier",
    "Trainer",
    "Vocabulary",
    "catch_interrupt",
    "clip_norm",
    "clip_value",
    "evaluate",
    "from_torch_state_dict",
    "gradcheck",
    "gru",
    "load_model",
    "lstm",
    "ops",
    "read_text",
    "rnn",
    "sample",
    "save_model",
    "stream_batches",
    "to_torch_state_dict",
]
