"""Step 3 of the official guide, `python -m alignment.step3_loss --model NAME`: the loss comparison by itself."""

from __future__ import annotations

import sys

from alignment.command import classic

if __name__ == "__main__":
    sys.exit(classic("loss"))
