"""`python -m tests.fuzz.worker KIND SEED COUNT FOLDER`: reads damaged files and prints what became of them as JSON.

Before a file is read its name is printed, so that whoever reads the output knows at which one a process has died.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from runtime.errors import UserError
from tests.fuzz.damage import damaged
from tests.fuzz.kinds import KINDS

HANG_S = 300  # a safety net: the limits of a reader end it long before


def main() -> None:
    """Reads COUNT damaged files of a kind."""
    kind, seed, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    make, read = KINDS[kind]
    examples = make(folder / "whole")
    outcomes = {"read": 0, "refused": 0, "tracebacks": []}
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = list(examples)[number % len(examples)]
        path = folder / "damaged" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damaged(examples[name], rng))
        print(number, name, flush=True)
        signal.alarm(HANG_S)
        begin = time.process_time()
        try:
            read(path)
            outcomes["read"] += 1
        except UserError as error:
            outcomes["refused"] += 1
            if "\n" in str(error):
                outcomes["tracebacks"].append(f"{number} {name}: more than one line: {error}")
        except BaseException:
            outcomes["tracebacks"].append(f"{number} {name}: {traceback.format_exc()[-1500:]}")
        signal.alarm(0)
        slowest = max(slowest, time.process_time() - begin)
        path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**outcomes, "slowest_s": round(slowest, 2), "grown_mb": (peak - before) // 1024}))


if __name__ == "__main__":
    main()
