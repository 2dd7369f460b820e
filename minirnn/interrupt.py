"""Ctrl-C as a request."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


@contextmanager
def catch_interrupt() -> Iterator[Event]:
    """Turn Ctrl-C into a request: the event is set, and a loop that looks at it can finish its step and save.

    A second Ctrl-C interrupts at once.
    """
    asked = Event()

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
