"""``python -m minirnn`` is the command ``minirnn``."""

import sys

from minirnn.cli import main

sys.exit(main())
