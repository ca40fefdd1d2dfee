"""`python -m alignment`: compares the recognizers with their PyTorch twins, re-judges a report, tests itself."""

from __future__ import annotations

import sys

from alignment import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv[1:]))
