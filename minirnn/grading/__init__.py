"""The assignment and its grader: the model answer, its possible mistakes, and what is said about a student's file.

In a notebook: ``from minirnn.grading import check``, then ``check(rnn_backward)``.
"""

from typing import Any

__all__ = ["check", "score"]


def __getattr__(name: str) -> Any:
    """What is used in a notebook is imported when it is asked for: the grader's processes need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from minirnn.grading import notebook

    return getattr(notebook, name)
