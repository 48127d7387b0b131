"""One disk and one writer for each node, whatever the number of its groups (rule 27)."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

import trio

from actors import Node
from broadcast._sqlite import SqliteDisk
from broadcast._storage import Disk, MemoryDisk
from broadcast._writer import Writer, open_writer

_writers: WeakKeyDictionary[Node, Writer] = WeakKeyDictionary()
_opening: WeakKeyDictionary[Node, trio.Lock] = WeakKeyDictionary()


StoppedDisk = SqliteDisk
"""A disk that somebody repairs."""


def stopped_disk(data: Path) -> StoppedDisk:
    """The disk of a node that is stopped, for who repairs it."""
    return SqliteDisk(data)


async def disk_writer(node: Node) -> Writer:
    """The writer of the node's disk: of its data directory, or in memory if it has none. Ends with the node.

    Raises RuntimeError if the node is closed.
    """
    async with _opening.setdefault(node, trio.Lock()):
        writer = _writers.get(node)
        if writer is None:
            disk: Disk = MemoryDisk() if node.data is None else SqliteDisk(node.data)
            writer = await node.start(_serve, node, disk)
        return writer


async def _serve(node: Node, disk: Disk, task_status: trio.TaskStatus[Writer] = trio.TASK_STATUS_IGNORED) -> None:
    try:
        async with open_writer(disk) as writer:
            _writers[node] = writer
            task_status.started(writer)
            await trio.sleep_forever()
    finally:
        _writers.pop(node, None)  # it may not have come to be
