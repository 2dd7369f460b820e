"""The command ``minirnn``, as a package of its own: what it imports takes a moment, in which Ctrl-C is no mistake."""

import sys


def main() -> int:
    """Import the program and run it; returns the exit code."""
    try:
        from minirnn.commands.cli import main as program
    except KeyboardInterrupt:
        print("minirnn: interrupted", file=sys.stderr)
        return 130
    return program()
