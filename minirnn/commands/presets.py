"""Settings with a name: ``minirnn train --preset NAME``."""

from dataclasses import replace

from minirnn.commands.settings import Settings

# A tanh network with Adagrad, which the example trains by default: old methods, and they learn to spell. Adagrad's
# first steps move every weight by the whole rate, which saturates the units; one that rises slowly may be much larger.
TANH = Settings(
    cell="rnn", optimizer="adagrad", learning_rate=0.15, schedule="linear", warmup=1000, clip_norm=0.5, seq_length=25,
    steps=6000, report_every=300, sample_every=1500,
)  # fmt: skip

# W. Zaremba, I. Sutskever and O. Vinyals (2014), as the TensorFlow tutorial has them (the paper's medium divides the
# rate by 1.2, not 1.25). Their loss is summed over the steps of a slice, and the rate and the limit of the norm are
# made for that sum. All biases begin at zero, the forget gate's too (the paper draws them).
PTB_SMALL = Settings(
    kind="words", max_vocab=10_000, cell="lstm", layers=2, hidden_size=200, embedding_size=200, init_uniform=0.1,
    optimizer="sgd", learning_rate=1.0, schedule="epochs", constant_epochs=4, epoch_decay=0.5, clip_norm=5.0,
    reduction="sum", batch_size=20, seq_length=20, steps=None, epochs=13, report_every=None, seed=0,
)  # fmt: skip

PRESETS = {
    "default": TANH,
    # The best in about a minute on two cores.
    "minute": Settings(steps=3800, sample_every=1000),
    # A. Karpathy, min-char-rnn (2015), to the letter.
    "karpathy": replace(
        TANH, hidden_size=100, learning_rate=0.1, schedule="constant", warmup=0, clip_norm=None, clip_value=5.0,
        batch_size=1, steps=100_000, valid=0.0, reduction="sum", smoothing=0.999, init_normal=0.01, report_every=1000,
        sample_every=10_000, temperature=1.0,
    ),
    # A. Karpathy, char-rnn (2015), its defaults but for the initial weights and 30 epochs of 50; published: 1.394 nats
    # per character in validation at epoch 26. Its gradients are those of the loss summed over the slice.
    "char-rnn": Settings(
        cell="lstm", layers=2, hidden_size=128, optimizer="rmsprop", learning_rate=0.002, schedule="epochs",
        clip_norm=None, clip_value=5.0, batch_size=50, seq_length=50, steps=None, epochs=30, valid=0.05,
        reduction="sum", patience=10, report_every=500, sample_every=2500,
    ),
    # M. Goerner, TensorFlow and deep learning (2017); published on all of Shakespeare: 1.467 nats, accuracy 0.555.
    "goerner": Settings(
        cell="gru", layers=3, hidden_size=512, dropout=0.2, learning_rate=0.001, schedule="constant", clip_norm=None,
        batch_size=200, seq_length=30, steps=None, epochs=10, patience=10, report_every=50, sample_every=500,
    ),
    "small": PTB_SMALL,
    "medium": replace(
        PTB_SMALL, hidden_size=650, embedding_size=650, init_uniform=0.05, dropout=0.5, constant_epochs=6,
        epoch_decay=0.8, seq_length=35, epochs=39,
    ),
    "large": replace(
        PTB_SMALL, hidden_size=1500, embedding_size=1500, init_uniform=0.04, dropout=0.65, constant_epochs=14,
        epoch_decay=1 / 1.15, clip_norm=10.0, seq_length=35, epochs=55,
    ),
    "tanh": replace(PTB_SMALL, cell="rnn", layers=1, learning_rate=0.1),  # ours: small with another cell
}  # fmt: skip
