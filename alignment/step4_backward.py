"""Step 4 of the official guide, `python -m alignment.step4_backward --model NAME`: the gradients and steps."""

from __future__ import annotations

import sys

from alignment.command import classic

if __name__ == "__main__":
    sys.exit(classic("backward"))
