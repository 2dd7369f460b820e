"""The solution of the assignment: the model answer of the grader, in plain loops."""

from minirnn.grading.answer import (
    adagrad_step,
    clip_norm,
    clip_value,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
    rnn_step_backward,
    rnn_step_forward,
    sample_token,
    softmax_cross_entropy,
)

__all__ = [
    "adagrad_step",
    "clip_norm",
    "clip_value",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
    "rnn_step_backward",
    "rnn_step_forward",
    "sample_token",
    "softmax_cross_entropy",
]
