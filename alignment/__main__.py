"""`python -m alignment`: compares the recognizers with their PyTorch twins, re-judges a report, tests itself."""

from __future__ import annotations

import sys

from alignment import command
from runtime.command import clear_errors

if __name__ == "__main__":
    with clear_errors():
        sys.exit(command.run(sys.argv[1:]))
