"""The `intriguing` command.

Text from a run folder is printed as text: what would command the terminal is shown as escapes.

Results and `--json` go to stdout, progress and logs to stderr. Exit codes: 0 all done, 1 some tasks failed, 2 bad use,
130 stopped by Ctrl-C.
"""

import sys

try:
    from intriguing.cli import keeping, running, showing, starting
    from intriguing.cli.app import app
    from intriguing.cli.process import call, main
except KeyboardInterrupt:  # a Ctrl-C this early; `call` answers later ones
    sys.exit(130)

COMMANDS = (running, showing, keeping, starting)
"""The modules whose functions are the commands."""

__all__ = ["COMMANDS", "app", "call", "main"]
