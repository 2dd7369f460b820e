"""Learning-rate schedules: the factor on the learning rate, as a plain function of the steps taken.

Give one to the trainer: ``schedule=lambda step: linear_decay(step, total)``.
"""

import math

from minirnn.checks import check_positive


def epoch_decay(step: int, steps_per_epoch: int, constant_epochs: int, decay: float) -> float:
    """1 for the first ``constant_epochs``, then multiplied by ``decay`` at the start of each (Zaremba et al., 2014).

    With 0 of them the first epoch is multiplied already.
    """
    return decay ** max(0, step // check_positive("steps_per_epoch", steps_per_epoch) + 1 - constant_epochs)


def exponential_decay(step: int, steps: int, decay: float) -> float:
    """Multiplied by ``decay`` over every ``steps`` steps, smoothly."""
    return decay ** (step / check_positive("steps", steps))


def linear_decay(step: int, total: int) -> float:
    """From 1 at the first step in a straight line to 0 after ``total`` steps."""
    return max(0.0, 1 - step / check_positive("total", total))


def cosine_decay(step: int, total: int) -> float:
    """From 1 to 0 along half a period of the cosine (Loshchilov and Hutter, 2017)."""
    return 0.5 * (1 + math.cos(math.pi * min(1, step / check_positive("total", total))))
