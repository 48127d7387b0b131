"""Spoiled frames against everything that takes frames, on all processors: `make fuzz FRAMES=10000000`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from random import SystemRandom

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "broadcast"), str(HERE.parents[1])]

from campaign import CHUNK, REACHED_LEAST, Finding, Tally, run  # noqa: E402

PROGRESS_SECONDS = 5.0
SLOWEST_SECONDS_MAX = 0.5
"""Of processor time, for one frame: they are small."""
GROWN_MAX = 200 * 1024
"""KiB that a process may grow while it is at it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=CHUNK, help=f"how many, in chunks of {CHUNK}")
    parser.add_argument("--seed", type=int, help="the same frames again; a new one unless given")
    parser.add_argument("--chunk", type=int, help="this chunk of the seed, and no other")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    given = parser.parse_args()
    seed = SystemRandom().randrange(2**32) if given.seed is None else given.seed
    chunks: Iterable[int] = range(-(-given.frames // CHUNK)) if given.chunk is None else (given.chunk,)
    print(f"seed {seed}", flush=True)
    total, began, shown = Tally(), time.monotonic(), 0.0
    places: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for tally in pool.imap_unordered(partial(run, seed), chunks):
            total.add(tally)
            for finding in tally.findings:
                if finding.place not in places:
                    show(seed, finding)
                places[finding.place] += 1
            if time.monotonic() - shown >= PROGRESS_SECONDS:
                shown = time.monotonic()
                print(progress(total, shown - began, seed), file=sys.stderr, flush=True)
    for line in summary(total, time.monotonic() - began):
        print(line)
    failures = shortfalls(total)
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def show(seed: int, finding: Finding) -> None:
    print(
        f"FOUND in frame {finding.number} of chunk {finding.chunk}, made of a {finding.kind} message:\n{finding.error}"
    )
    print(f"frame: {finding.frame}\nagain: python tests/fuzz --seed {seed} --chunk {finding.chunk}", flush=True)


def progress(total: Tally, seconds: float, seed: int) -> str:
    reached, found = total.reached / total.frames, len(total.findings)
    return f"{total.frames:,} frames, {reached:.1%} held against types, {found} findings, {seconds:.0f} s, seed {seed}"


def summary(total: Tally, seconds: float) -> list[str]:
    took, kind, begins = total.slowest
    return [
        f"{total.frames:,} frames in {seconds:.0f} s; {total.reached / total.frames:.1%} decoded and were held against "
        f"the types of their kind, of which {total.refused / max(total.reached, 1):.1%} were refused; "
        f"{total.accepted / total.frames:.1%} of all accepted",
        f"of each kind: {dict(total.kinds)}",
        f"the slowest took {took * 1000:.1f} ms ({kind}, {begins[:80]}...)",
        f"a process grew by {total.grown / 1024:.0f} MiB at most",
        f"{len(total.findings)} findings",
    ]


def shortfalls(total: Tally) -> list[str]:
    """What a campaign must not end with."""
    told: list[str] = []
    if total.findings:
        places = {finding.place for finding in total.findings}
        told.append(f"{len(total.findings)} frames did what none may do, in {len(places)} places")
    if total.reached < REACHED_LEAST * total.frames:
        told.append(f"only {total.reached} of {total.frames} frames were held against types")
    if total.slowest[0] > SLOWEST_SECONDS_MAX:
        told.append(f"a frame took {total.slowest[0]:.2f} s of processor time")
    if total.grown > GROWN_MAX:
        told.append(f"a process grew by {total.grown // 1024} MiB")
    return told


if __name__ == "__main__":
    sys.exit(main())
