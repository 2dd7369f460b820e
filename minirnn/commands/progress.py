"""The line that says how far training is, and losses in other units."""

import math
import os
import shutil
import time
from typing import Any, TextIO

from minirnn.train import Report


def beside(nats: float, unit: str) -> str:
    """What is said beside a loss in nats per token: bits for characters, perplexity for words."""
    if unit == "character":
        return f"{nats / math.log(2):.3f} bits per character"
    return f"perplexity {math.exp(min(nats, 700)):.2f}"


class Progress:
    """One line that is written over on a terminal, and a line now and then anywhere else."""

    def __init__(self, stream: TextIO, unit: str, total: int):
        self.stream, self.unit, self.total = stream, unit, total
        self.live = stream.isatty()
        self.bold = self.live and not os.environ.get("NO_COLOR")
        self.shown = -math.inf  # when the line was last written over
        self.valid: list[str] = []  # of the last evaluation

    def show(self, report: Report, row: dict[str, Any], lasting: bool, summed: int = 0) -> None:
        """Say how far training is; ``lasting`` lines stay. ``summed``: also the loss summed over so many tokens."""
        if "valid" in row:
            other = beside(row["valid"], self.unit).removesuffix(" per character")
            self.valid = [f"valid {row['valid']:.3f}", other, f"accuracy {row['accuracy']:.3f}"]
        now = time.monotonic()
        if not lasting and not (self.live and now - self.shown > 0.2):
            return
        self.shown = now
        minutes, seconds = divmod(round(report.seconds_left), 60)
        fields = [f"step {report.step:,}/{self.total:,}", f"loss {report.smooth_loss:.3f}"]
        fields += [f"(sum over {summed}: {summed * report.smooth_loss:.2f})"] if summed else []
        fields += [*self.valid[:2], f"{minutes}:{seconds:02} left", *self.valid[2:]]
        fields += [f"{report.tokens_per_second:,.0f} {self.unit}s/s", f"epoch {report.epoch:.2f}"]
        width = shutil.get_terminal_size().columns - 1
        while len("  ".join(fields)) > width and len(fields) > 1:
            fields.pop()
        line = "  ".join(fields)
        if self.bold and self.valid:
            line = line.replace(self.valid[0], f"\033[1m{self.valid[0]}\033[0m")
        print(f"\r{line}\033[K" if self.live else line, end="\n" if lasting or not self.live else "", file=self.stream,
              flush=True)  # fmt: skip

    def pause(self) -> None:
        """Leave the line that is written over, so that something else can be printed."""
        if self.live:
            print("\r\033[K", end="", file=self.stream)
