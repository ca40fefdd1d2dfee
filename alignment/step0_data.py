"""Step 3.2 of the official guide, `python -m alignment.step0_data`: the comparison of the data by itself."""

from __future__ import annotations

import sys

from alignment.command import classic

if __name__ == "__main__":
    sys.exit(classic("data"))
