"""Play histories of the shells: `python tests/simulation/shells --count 100`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from broadcast._simulation.invariants import Violation
from shells.history import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="shells", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many histories")
    parser.add_argument("--trace", action="store_true", help="show the last events")
    given = parser.parse_args()
    marks: Counter[str] = Counter()
    began, failed = time.process_time(), 0
    for seed in range(given.seed, given.seed + given.count):
        try:
            history = run(seed)
        except Violation as violation:
            failed += 1
            print("\n".join([*(violation.trace if given.trace else ()), str(violation)]))
            continue
        marks += history.marks
        if given.trace:
            print("\n".join(history.trace))
        if given.trace or given.count == 1:
            print(f"seed {seed}: {history.digest}, {history.ended_at:.3f} s, {history.steps} steps")
    spent = time.process_time() - began
    print(f"{given.count} histories, {failed} failed, {spent:.1f} s of processor time; {dict(marks.most_common())}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
