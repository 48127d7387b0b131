"""The benchmark: `python tests/benchmarks`, or `make bench`. With --help it says what it can do."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import trio
from agreement import Measured, NotTheSame
from amounts import Amounts, full, quick
from children import ChildFailed
from floors import measure_floors
from machine import FileSystem, NoDisk, description, disk_under, load_average
from ours import measure_failover, measure_ours
from running import leaves, positive, progress
from spread import gather
from syncobj import installed, measure_syncobj
from table import DEFAULT, FLOOR, LEGEND, OURS, TUNED, rendered

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = {DEFAULT: "default", TUNED: "tuned"}


@dataclass
class Run:
    """What was measured so far."""

    figures: dict[str, list[dict[str, float]]] = field(default_factory=dict[str, list[dict[str, float]]])
    counted: list[tuple[str, Measured]] = field(default_factory=list[tuple[str, Measured]])
    notes: list[str] = field(default_factory=list[str])

    def add(self, system: str, measured: Measured, *more: dict[str, float]) -> None:
        self.figures.setdefault(system, []).extend([measured.figures, *more])
        self.counted.append((system, measured))


async def measure(directory: Path, amounts: Amounts) -> Run:
    """All of it. Raises ChildFailed or NotTheSame if something of ours goes wrong; what PySyncObj does is noted."""
    run = Run()
    if not installed():
        run.notes.append("PySyncObj is not installed, and not measured: `make bench` installs it.")
    for number in range(1, amounts.rounds + 1):
        progress(f"round {number} of {amounts.rounds}: the floors")
        run.add(FLOOR, await measure_floors(directory / f"floor-{number}", amounts))
        progress(f"round {number} of {amounts.rounds}: ours")
        run.add(OURS, await measure_ours(directory / f"ours-{number}", amounts))
        for system, configuration in CONFIGURATIONS.items() if installed() else ():
            progress(f"round {number} of {amounts.rounds}: {system}")
            try:
                run.add(system, await measure_syncobj(directory / f"{configuration}-{number}", amounts, configuration))
            except* (ChildFailed, NotTheSame) as errors:
                run.notes.extend(f"{system}, round {number}, gave no figures: {error}" for error in leaves(errors))
    progress(f"failover, {amounts.trials} trials of each kind")
    measured, times = await measure_failover(directory / "failover", amounts.trials)
    run.add(OURS, measured, *times)
    return run


def report(run: Run, amounts: Amounts, disk: FileSystem, loads: tuple[str, str], seconds: float) -> str:
    """The table, and all that its reader must know."""
    elections = sum(value for each in run.figures[OURS] for name, value in each.items() if name.endswith("elections"))
    about = [
        *(f"{name}: {text}" for name, text in description(disk).items()),
        f"load average: {loads[0]} before, {loads[1]} after; it was measured for {seconds:.0f} s. Our own processes "
        "are in it: on a quiet machine it begins near 0",
        f"rounds: {amounts.rounds}; trials of losing the leader: {amounts.trials}; asks {amounts.asks:,} one after "
        f"another, {amounts.task_asks:,} by {amounts.tasks} tasks; pipelined {amounts.pipelined:,}",
        f"elections that nobody asked for while ours were measured: {elections:.0f}",
        "counted: a command when its answer, the right one, is back in the client. After each case "
        + ("a linearizable query and all replicas said the same" if _all_right(run) else "THE REPLICAS DIFFERED"),
        *run.notes,
    ]
    results = {system: gather(rounds) for system, rounds in run.figures.items()}
    return "\n".join([rendered(results), "", LEGEND, "", *about])


def _all_right(run: Run) -> bool:
    return all(measured.values == [measured.answered] * 3 for _, measured in run.counted)


def as_json(run: Run, amounts: Amounts, disk: FileSystem, loads: tuple[str, str], seconds: float) -> str:
    """The same, every value of every round, for programs."""
    results = {system: gather(rounds) for system, rounds in run.figures.items()}
    return json.dumps(
        {
            "machine": description(disk),
            "load": loads,
            "seconds": seconds,
            "amounts": asdict(amounts),
            "figures": {
                system: {name: spread.values for name, spread in figures.items()} for system, figures in results.items()
            },
            "counted": [
                {"system": system, "answered": measured.answered, "values": measured.values}
                for system, measured in run.counted
            ],
            "notes": run.notes,
        },
        indent=1,
    )


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description="Measure a replicated group, and what it can be compared to.")
    parser.add_argument("--data", type=Path, help="where the data lies: on a disk (default: build/bench)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of everything but losing the leader")
    parser.add_argument("--trials", type=positive, default=10, help="trials of losing the leader, of each kind")
    parser.add_argument("--quick", action="store_true", help="see whether it runs: a round of very little of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to this file, too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parsed(arguments)
    base = ROOT if os.access(ROOT, os.W_OK) else Path.cwd()
    data: Path = options.data or base / "build" / "bench"
    amounts = quick() if options.quick else full(options.rounds, options.trials)
    try:
        disk = disk_under(data)
    except NoDisk as error:
        sys.exit(f"bench: {error}")
    data.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=data))
    try:
        begun, load = time.monotonic(), load_average()
        run = trio.run(measure, directory, amounts)
        told = (run, amounts, disk, (load, load_average()), time.monotonic() - begun)
        print(report(*told))
        if options.json:
            options.json.write_text(as_json(*told) + "\n")
    except* (ChildFailed, NotTheSame) as errors:
        sys.exit("\n".join(f"bench: {error}" for error in leaves(errors)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
