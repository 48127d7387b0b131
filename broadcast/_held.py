"""What a replica holds of the total order: what was applied, and is in its log still (rule 9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from broadcast._delivery import Deliveries, Delivery
from broadcast._errors import Compacted, GroupClosed
from broadcast._protocol.following import LOOKED_AT_MAX, Harvest, Ordered
from broadcast._replica import ReplicaHost


def first_held(host: ReplicaHost[Any]) -> int:
    """The first index that is held here, once the group has formed."""
    machine, replica = host.machine, host.replica
    return 1 if machine is None or replica is None else max(machine.first_index, replica.log.start.index + 1)


def piece(host: ReplicaHost[Any], index: int) -> tuple[tuple[Ordered, ...], int]:
    """What was applied from `index` on, which is held, as much as a message takes; and where it goes on."""
    machine, replica = host.machine, host.replica
    harvest = Harvest()
    if machine is None or replica is None:
        return (), index
    for batch in replica.log.between(index - 1, min(machine.applied, index + LOOKED_AT_MAX - 1)):
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
        machine, replica, first = host.machine, host.replica, first_held(host)
        index = first if self._index is None else self._index
        if index < first:
            raise Compacted(first)
        self._index = index
        batch = replica.log.batch_at(index) if replica is not None and index <= host.applied else None
        if batch is None or machine is None:
            return ()
        self._index = batch.last + 1
        return list(machine.deliveries(batch, index))
