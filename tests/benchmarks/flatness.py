"""What a command costs early and late in the life of a group, and beside few sessions and many: `make flat`.

Each cost is the CPU time of replicas for a command, all three or the followers; wall time depends on what else the
machine does.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import trio
from children import Message
from lasting import NAMES, Group, open_lasting
from machine import disk_under, load_average

PARTS = 10  # that the commands are measured in, and each of them once before
WINDOW = 10_000
TASKS = 100
ROUNDS = 5
ASKING_SECONDS_MAX = 600.0


async def measure(directory: Path, commands: int, sessions: int, asks: int) -> list[str]:
    """Lines for people."""
    async with open_lasting(directory / "group") as group:
        await begin(group)
        lines = await over_time(group, commands)
        async with open_lasting(directory / "young") as young:
            await begin(young)
            lines += await old_and_young(group, young, commands)
        return [*lines, *await over_sessions(group, sessions, asks)]


async def begin(group: Group) -> None:
    """With what only the first commands pay for behind it."""
    await group.start(*NAMES)
    await group.start_client()
    await group.ask("pipelined", count=WINDOW, window=WINDOW)


async def over_time(group: Group, commands: int) -> list[str]:
    """Pipelined, from an empty log on. What the machine does meanwhile is in it too: see `old_and_young`."""
    lines = [f"pipelined, window {WINDOW:,}:"]
    for part in range(1, PARTS + 1):
        cost, rate = await pipelined(group, commands // PARTS)
        lines.append(
            f"  up to {part * commands // PARTS:>9,}: {cost:5.1f} us a command, {rate:,.0f}/s; load {load_average()}"
        )
    return lines


async def old_and_young(old: Group, young: Group, commands: int) -> list[str]:
    """By turns in a group with all these commands behind it, and in one that begins: one machine for both."""
    costs = {group: list[float]() for group in (old, young)}
    for _ in range(PARTS):
        for group, found in costs.items():
            found.append((await pipelined(group, commands // PARTS**2))[0])
    after, first = (statistics.median(found) for found in costs.values())
    return [
        f"  by turns: {after:.1f} us a command after {commands:,}, {first:.1f} in a group that begins: "
        f"{after / first:.2f} times"
    ]


async def pipelined(group: Group, commands: int) -> tuple[float, float]:
    """What each cost, in microseconds of all replicas, and how many a second there were."""
    before = await group.settled()
    rate = (await group.ask("pipelined", count=commands, window=WINDOW))["rate"]
    return spent(before, await group.settled(), commands), rate


async def over_sessions(group: Group, sessions: int, asks: int) -> list[str]:
    """Asked at the leader, by tasks that each wait for an answer, under each session in its turn.

    Of the followers, which have nothing to do with who asks: the askers are in the leader's process. What many tasks
    ask under one session at a time leaves as one run, and what they ask under sessions of their own as a run each,
    which costs more whoever asks: so what is compared has the same shape. One in use, alone and beside many; and as
    many runs of one command under few sessions and under all. By turns, and the middle of some rounds, for a machine
    is never the same for long.
    """
    alone = await by_turns(group, [(1, 1), (TASKS, TASKS)], asks)
    beside = await by_turns(group, [(sessions, 1), (sessions, TASKS), (sessions, sessions)], asks)
    one, _ = alone
    one_of_them, some_of_them, all_of_them = beside
    return [
        f"{TASKS} tasks, each asking again once it is answered:",
        *(each.told for each in (*alone, *beside)),
        f"  in runs of many: beside {sessions:,} sessions one in use costs {one_of_them.cost / one.cost:.2f} times "
        "what it does alone",
        f"  in runs of one: {sessions:,} in use cost {all_of_them.cost / some_of_them.cost:.2f} times what {TASKS} of "
        "them do",
        f"  (a run of one beside a command in a run of many: {some_of_them.cost / one_of_them.cost:.2f} times; that is "
        "the price of runs, and not of sessions)",
    ]


@dataclass(frozen=True, slots=True)
class Case:
    """What commands cost under so many sessions. cost: microseconds; batch: commands that came in one."""

    there: int
    in_use: int
    cost: float
    batch: float
    rate: float
    p50: float
    p99: float

    @property
    def told(self) -> str:
        return (
            f"  {self.there:>6,} sessions, {self.in_use:>6,} in use: {self.cost:6.1f} us a command, "
            f"{self.batch:,.0f} in a batch, {self.rate:,.0f}/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms"
        )


async def by_turns(group: Group, cases: Sequence[tuple[int, int]], asks: int) -> list[Case]:
    """For each the middle of what its rounds say, all by turns."""
    found: dict[tuple[int, int], list[Case]] = {case: [] for case in cases}
    for there, _ in cases:
        await ask(group, there, TASKS)
    for _ in range(ROUNDS):
        for there, in_use in cases:
            found[there, in_use].append(await measure_case(group, there, in_use, asks // ROUNDS))
    return [_middle(each) for each in found.values()]


async def measure_case(group: Group, there: int, in_use: int, asks: int) -> Case:
    leader = await group.leader()
    others = [each for each in NAMES if each != leader]
    before = {each: await group.status(each) for each in others}
    done = await ask(group, in_use, asks)
    after = {each: await group.status(each) for each in others}
    batches = sum(after[each]["batches"] - before[each]["batches"] for each in others) / len(others)
    return Case(there, in_use, spent(before, after, asks), asks / batches, done["rate"], done["p50"], done["p99"])


async def ask(group: Group, sessions: int, count: int) -> Message:
    leader = group.replicas[await group.leader()]
    return await leader.ask("asks", ASKING_SECONDS_MAX, sessions=sessions, count=count, tasks=TASKS)


def _middle(cases: Sequence[Case]) -> Case:
    """Each figure for itself."""
    return Case(*(statistics.median(values) for values in zip(*map(astuple, cases), strict=True)))


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
