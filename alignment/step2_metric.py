"""Step 2 of the official guide, `python -m alignment.step2_metric --model NAME`: the metric comparison by itself."""

from __future__ import annotations

import sys

from alignment.command import classic

if __name__ == "__main__":
    sys.exit(classic("metric"))
