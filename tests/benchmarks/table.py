"""The table: a row for each figure, a column for each system, and how ours compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spread import Spread

OURS, FLOOR, DEFAULT, TUNED = "ours", "floor", "PySyncObj default", "PySyncObj tuned"
SYSTEMS = (OURS, FLOOR, DEFAULT, TUNED)

Results = Mapping[str, Mapping[str, Spread]]
"""System -> figure -> its spread."""


@dataclass(frozen=True, slots=True)
class Row:
    """label: for people. figure: its name in what was measured."""

    label: str
    unit: str
    figure: str


ROWS = (
    Row("ask, one after another: p50", "ms", "ask p50"),
    Row("ask, one after another: p99", "ms", "ask p99"),
    Row("ask, 100 tasks", "/s", "tasks rate"),
    Row("ask, 100 tasks: p50", "ms", "tasks p50"),
    Row("ask, 100 tasks: p99", "ms", "tasks p99"),
    Row("pipelined, window 1,000", "/s", "window 1,000 rate"),
    Row("pipelined, window 10,000", "/s", "window 10,000 rate"),
    Row("read, one after another: p50", "ms", "read p50"),
    Row("read, one after another: p99", "ms", "read p99"),
    Row("read, 100 tasks", "/s", "read tasks rate"),
    Row("leader killed (SIGKILL), next answer", "ms", "killed"),
    Row("leader stopped (SIGSTOP), next answer", "ms", "stopped"),
    Row("64 bytes there and back: p50", "ms", "echo p50"),
    Row("64 bytes there and back: p99", "ms", "echo p99"),
    Row("200 bytes appended, fdatasync: p50", "ms", "append p50"),
    Row("200 bytes appended, fdatasync: p99", "ms", "append p99"),
    Row("CPU of the servers, one after another", "us/command", "ask server cpu"),
    Row("CPU of the servers, window 10,000", "us/command", "window 10,000 server cpu"),
    Row("CPU of the client, window 10,000", "us/command", "window 10,000 client cpu"),
    Row("CPU of all together, window 10,000", "us/command", "window 10,000 cpu"),
    Row("commands a transaction, one after another", "", "ask per transaction"),
    Row("commands a transaction, 100 tasks", "", "tasks per transaction"),
    Row("commands a transaction, window 10,000", "", "window 10,000 per transaction"),
)

LEGEND = """\
Median, and (lowest-highest) where there is more than one: of the rounds; of the trials where the leader is lost.
ours: three replicas and a client, each a process; every command synced to disk by a majority before it is answered.
floor: the same way through three processes with frames and fdatasync alone: no sessions, no elections, no losses.
  64 bytes there and back: bare Trio, two processes. 200 bytes appended: one process, in the same directory.
PySyncObj: called at its leader (it has no clients), log in memory as it ships: it never syncs. The better of two ways
  to drive it. tuned: a tick each ms, batches each 5 ms, large buffers, no compaction.
ours/x: our figure divided by x's. For ms and us less is better for us, for /s more.
commands a transaction: answered commands for each transaction (ours) or fdatasync (floor) of one replica. Ours are
  counted at the write to SQLite, which syncs its journal once for each (synchronous=FULL); checkpoints come on top."""


def rendered(results: Results, rows: Sequence[Row] = ROWS, systems: Sequence[str] = SYSTEMS) -> str:
    """The table as text."""
    rivals = [system for system in systems if system != OURS]
    lines = [["", "", OURS, *(column for rival in rivals for column in (rival, f"{OURS}/{_short(rival)}"))]]
    for row in rows:
        spreads = {system: results.get(system, {}).get(row.figure) for system in systems}
        ours = spreads[OURS]
        compared = [column for rival in rivals for column in (_cell(spreads[rival]), _ratio(ours, spreads[rival]))]
        lines.append([row.label, row.unit, _cell(ours), *compared])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_joined(line, widths) for line in lines)


def _joined(line: list[str], widths: list[int]) -> str:
    cells = [
        f"{cell:<{width}}" if at < 2 else f"{cell:>{width}}"
        for at, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _short(system: str) -> str:
    return system.removeprefix("PySyncObj ")


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if len(spread.values) == 1:
        return _number(spread.middle)
    return f"{_number(spread.middle)} ({_number(spread.low)}-{_number(spread.high)})"


def _ratio(ours: Spread | None, other: Spread | None) -> str:
    if ours is None or other is None or not other.middle:
        return "-"
    return f"{ours.middle / other.middle:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
