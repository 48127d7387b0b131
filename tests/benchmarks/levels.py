"""What a read costs at each level: `python tests/benchmarks/levels.py`.

Three replicas and a client, in this process and over loopback, each replica with a disk of its own. One read after the
other; the levels take turns, so that what else the machine does strikes all of them. Microseconds of an `ask`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from actors import Actor, command, open_node, query
from broadcast import Consistency, Group, GroupRef, connect, join
from membership import Limits

NAMES = "abc"
TURNS, READS = 20, 50  # of each level, and reads in each turn


class Count(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total


async def measure(ref: GroupRef[Count]) -> dict[str, list[float]]:
    """Microseconds by level; of a command too."""
    took: dict[str, list[float]] = {level.name: [] for level in Consistency} | {"a command": []}
    for _ in range(TURNS):
        for level in Consistency:
            reading = ref.reading(level)
            for _ in range(READS):
                began = time.perf_counter()
                await reading.ask(Count.value)
                took[level.name].append((time.perf_counter() - began) * 1e6)
        for _ in range(READS):
            began = time.perf_counter()
            await ref.ask(Count.add, 1)
            took["a command"].append((time.perf_counter() - began) * 1e6)
    return took


async def main(directory: str) -> None:
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(open_node(name, listen="127.0.0.1:0", data=Path(directory, name)))
            for name in NAMES
        ]
        members = {node.name: str(node.address) for node in opened}
        groups: dict[str, Group[Count]] = {}
        for node in opened:
            node.set_peers(members)
            joined = join(node, "count", Count, members=members, limits=Limits(leases=True))
            groups[node.name] = await stack.enter_async_context(joined)
        await groups["a"].ask(Count.add, 1)
        leader = (await groups["a"].membership.wait_view()).leader
        follower = next(name for name in NAMES if name != leader)
        client = await stack.enter_async_context(connect("count", Count, members=members))
        await client.ask(Count.value)
        with trio.move_on_after(1):
            await trio.sleep_forever()  # until the client has gone to the leader
        print(f"{'p50, p99 in microseconds':<24}{'leader':>16}{'follower':>16}{'client':>16}")
        columns = [await measure(ref) for ref in (groups[leader], groups[follower], client)]
        for row in columns[0]:
            cells = [statistics.quantiles(column[row], n=100) for column in columns]
            print(f"{row:<24}" + "".join(f"{f'{cell[49]:,.0f}, {cell[98]:,.0f}':>16}" for cell in cells))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as here:
        trio.run(main, here)
