"""A replica in a process of its own, that tells what it did."""

from __future__ import annotations

import time
from collections.abc import Sequence

import trio
from bench_counter import Counter
from talking import Message, answer, settings

from broadcast import Consistency, Group, open_group
from broadcast._protocol.output import Persist
from broadcast._sqlite import SqliteDisk


class CountingDisk:
    """Counts the transactions of every `SqliteDisk` in this process that were committed.

    With `synchronous=FULL` SQLite syncs its journal once for each. What it syncs beyond that, when the journal is
    brought into the database, is not counted.
    """

    def __init__(self) -> None:
        self.transactions = 0
        write = SqliteDisk.write

        def counted(disk: SqliteDisk, writes: Sequence[tuple[str, Persist]]) -> None:
            write(disk, writes)
            self.transactions += 1

        setattr(SqliteDisk, "write", counted)  # noqa: B010 - mypy refuses the assignment, rightly but for a program like this


class Telling:
    """Says how far this replica is, and what it cost."""

    def __init__(self, group: Group[Counter], disk: CountingDisk) -> None:
        self._group = group
        self._disk = disk

    async def status(self) -> Message:
        status = self._group.status()
        value = await self._group.reading(Consistency.LOCAL).ask(Counter.value) if status.applied else 0
        return {
            "leader": status.leader,
            "epoch": status.epoch,
            "applied": status.applied,
            "last": status.last,
            "value": value,
            "transactions": self._disk.transactions,
            "cpu": time.process_time(),
        }


async def main(name: str, members: dict[str, str], data: str) -> None:
    disk = CountingDisk()
    async with open_group("bench", Counter, node=name, members=members, data=data) as group:
        await answer({}, {"status": Telling(group, disk).status})


if __name__ == "__main__":
    told = settings()
    trio.run(main, told["name"], told["members"], told["data"])
