"""The name under which :mod:`minirnn.grading.diagnosis` is imported in assignments."""

from minirnn.grading.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
