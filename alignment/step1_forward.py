"""Step 1 of the official guide, `python -m alignment.step1_forward --model NAME`: the forward comparison by itself."""

from __future__ import annotations

import sys

from alignment.command import classic

if __name__ == "__main__":
    sys.exit(classic("forward"))
