"""Ctrl-C, and what batch systems send, as a request."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


@contextmanager
def catch_interrupt() -> Iterator[Event]:
    """Turn Ctrl-C, SIGTERM or SIGHUP into a request: the event is set, and a loop that looks at it can finish and save.

    A second one interrupts at once.
    """
    asked = Event()

    def ask(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup asks for
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
