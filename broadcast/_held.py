"""What a replica holds of the total order: what was applied, and is in its log still (rule 9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from actors._protocol.errors import violated
from broadcast._delivery import Deliveries, Delivery
from broadcast._errors import Compacted, GroupClosed
from broadcast._protocol.following import LOOKED_AT_MAX, Harvest, Ordered
from broadcast._protocol.log import Log
from broadcast._replica import ReplicaHost
from broadcast._running import Running


def first_held(machine: Running[Any], log: Log) -> int:
    """The first index of which both the entry is held, and what became of it."""
    return max(machine.first_index, log.start.index + 1)


def piece(machine: Running[Any], log: Log, index: int) -> tuple[tuple[Ordered, ...], int]:
    """What was applied from `index` on, which is held, as much as a message takes; and where it goes on."""
    harvest = Harvest()
    for batch in log.between(index - 1, min(machine.applied, index + LOOKED_AT_MAX - 1)):
        for command in machine.ordered(batch, index):
            if not harvest.takes(command):
                return tuple(harvest.commands), command.index
        index = batch.last + 1
    return tuple(harvest.commands), index


class HeldDeliveries(Deliveries):
    """Of a replica in this process. It takes a batch at a time from the log: nothing is kept for it, and none waits."""

    def __init__(self, host: ReplicaHost[Any], from_index: int | None) -> None:
        super().__init__(from_index)
        self._host = host

    async def _take(self) -> Iterable[Delivery]:
        host = self._host
        await trio.lowlevel.checkpoint()
        while host.applied < (self._index or 1):
            if host.closed:
                raise GroupClosed(
                    f"the group {host.plan.group} is closed here: join it again, and go on from the next index"
                )
            await host.progressed.park()
        machine, replica = host.machine, host.replica
        if machine is None or replica is None:
            violated("what has applied something has formed", group=host.plan.group)
        first = first_held(machine, replica.log)
        self._index = index = first if self._index is None else self._index
        if index < first:
            raise Compacted(first)
        batch = replica.log.batch_at(index) if index <= machine.applied else None
        if batch is None:
            return ()
        self._index = batch.last + 1
        return list(machine.deliveries(batch, index))
