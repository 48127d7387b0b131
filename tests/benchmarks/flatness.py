"""What a command costs early and late in the life of a group, and beside few sessions and many: `make flat`.

Each cost is the CPU time of replicas for a command, all three or the followers; wall time depends on what else the
machine does.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio
from children import Message
from lasting import NAMES, Group, open_lasting
from machine import disk_under, load_average

PARTS = 10  # that the commands are measured in, and each of them once before
WINDOW = 10_000
TASKS = 100
ASKING_SECONDS_MAX = 600.0


async def measure(directory: Path, commands: int, sessions: int, asks: int) -> list[str]:
    """Lines for people."""
    async with open_lasting(directory / "group") as group:
        await group.start(*NAMES)
        await group.start_client()
        await group.ask("pipelined", count=WINDOW, window=WINDOW)
        return [
            *await over_time(group, commands),
            *await over_sessions(group, sessions, asks),
        ]


async def over_time(group: Group, commands: int) -> list[str]:
    """Pipelined, from an empty log on."""
    lines, costs = [f"pipelined, window {WINDOW:,}:"], list[float]()
    for part in range(PARTS):
        before = await group.settled()
        rate = (await group.ask("pipelined", count=commands // PARTS, window=WINDOW))["rate"]
        costs.append(spent(before, await group.settled(), commands // PARTS))
        lines.append(
            f"  up to {(part + 1) * commands // PARTS:>9,}: {costs[-1]:5.1f} us a command, {rate:,.0f}/s; "
            f"load {load_average()}"
        )
    return [*lines, f"  the last tenth costs {costs[-1] / costs[0]:.2f} times what the first does"]


async def over_sessions(group: Group, sessions: int, asks: int) -> list[str]:
    """Asked at the leader, by tasks that each wait for an answer, under each session in its turn.

    Of the followers, which have nothing to do with who asks: the askers are in the leader's process. What many tasks
    ask under one session at a time leaves as one: so one in use is compared with one in use.
    """
    name = await group.leader()
    leader, others = group.replicas[name], [each for each in NAMES if each != name]
    lines, costs = [f"{TASKS} tasks, each asking again once it is answered:"], list[float]()
    for there, in_use in ((1, 1), (TASKS, TASKS), (sessions, sessions), (sessions, 1)):
        await leader.ask("asks", ASKING_SECONDS_MAX, sessions=there, count=TASKS, tasks=TASKS)
        before = {each: await group.status(each) for each in others}
        done = await leader.ask("asks", ASKING_SECONDS_MAX, sessions=in_use, count=asks, tasks=TASKS)
        costs.append(spent(before, {each: await group.status(each) for each in others}, asks))
        lines.append(
            f"  {there:>6,} sessions, {in_use:>6,} in use: {costs[-1]:6.1f} us a command, {done['rate']:,.0f}/s, "
            f"p50 {done['p50']:.1f} ms, p99 {done['p99']:.1f} ms; load {load_average()}"
        )
    one, some, all_of_them, one_of_them = costs
    return [
        *lines,
        f"  beside {sessions:,} sessions one in use costs {one_of_them / one:.2f} times what it does alone; "
        f"{sessions:,} in use cost {all_of_them / some:.2f} times what {TASKS} do",
    ]


def spent(before: dict[str, Message], after: dict[str, Message], commands: int) -> float:
    """Microseconds of a processor for each command."""
    return 1e6 * sum(after[name]["cpu"] - before[name]["cpu"] for name in before) / commands


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("flatness", description="Does a command cost the same early and late?")
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="where the data lies: on a disk")
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--asks", type=int, default=20_000, help="commands for each number of sessions")
    options = parser.parse_args(arguments)
    disk_under(options.data)
    options.data.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="flat-", dir=options.data))
    try:
        print("\n".join(trio.run(measure, directory, options.commands, options.sessions, options.asks)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
