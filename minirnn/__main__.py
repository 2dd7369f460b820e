"""``python -m minirnn`` is the command ``minirnn``."""

import sys

from minirnn.commands.cli import main

sys.exit(main())
