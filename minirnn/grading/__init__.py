"""The assignment and its grader: the model answer, its possible mistakes, and what is said about a student's file.

In a notebook: ``from minirnn.grading import check``, then ``check(rnn_backward)``.
"""

from minirnn.grading.notebook import check, score

__all__ = ["check", "score"]
