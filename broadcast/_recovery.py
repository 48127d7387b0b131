"""A group whose voters are lost for good, all but too few: one that is left begins anew, with what its own disk holds.

What the lost ones had acknowledged, and this one had not, is gone, though somebody was told that it was done. So this
is never done unasked. The new group has another cluster id: who comes back from the old one is told that it belongs to
another, takes part in nothing, and has to be added with an empty disk.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from actors._identity import DataDirectory
from broadcast._disks import StoppedDisk, stopped_disk
from broadcast._protocol.entries import Configured, EpochStart, configuration_in, encode_entries
from broadcast._protocol.log import Log
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._storage import Stored
from broadcast._verify import Found, verify
from membership._protocol.view import Configuration, Formation, Member, Promise


class CannotRecover(Exception):
    """There is nothing that a group could begin anew with; the text says why."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it. last: index that the log was kept up to. committed: up to here it was known to be committed.

    before: the voters of before. cluster, old_cluster: ids of the group that it is now, and that it was.
    """

    group: str
    node: str
    last: int
    committed: int
    before: tuple[str, ...]
    cluster: bytes
    old_cluster: bytes


def recover(data: Path, node: str, group: str) -> Recovered:
    """Make this node, which is stopped, the only voter of a new group with the old one's log. Blocks.

    All that is there is looked at before: nothing is changed where no replica could go on with it.

    Raises CannotRecover, DataDirectoryError, OSError, and what opening a disk does: DiskDamaged, DiskRefused,
    DiskFailed, DiskFull.
    """
    if not (data / "node").exists():
        raise CannotRecover(f"{data} is no data directory of a node")
    _check(verify(data), group)
    identity = DataDirectory.open(data, node, time.time_ns() // 1_000)
    try:
        disk = stopped_disk(data)
        try:
            if group not in disk.names():
                there = ", ".join(disk.names()) or "nothing"
                raise CannotRecover(f"{data} holds nothing of a group {group!r}, but {there}")
            return _refound(disk, disk.open_group(group), node, group)
        finally:
            disk.close()
    finally:
        identity.close()


def _check(found: Found, group: str) -> None:
    """Raise CannotRecover if what the group has here is damaged, or is not what the others had."""
    why = found.damage
    for each in found.groups:
        if each.name == group:
            why = each.damage
            divergence = each.stored.divergence
            if divergence is not None:
                why = f"at index {divergence.at} a majority of the voters had another state, so that it starts no more"
    if why is not None:
        raise CannotRecover(
            f"what this node has cannot be gone on with, and nothing of it was changed: {why}. To begin the group "
            "anew, take another member that is left, with which `troupe log verify` finds nothing wrong"
        )


def _refound(disk: StoppedDisk, stored: Stored, node: str, group: str) -> Recovered:
    old = stored.formation
    if old is None:
        raise CannotRecover(f"the group {group!r} has never formed on this disk: there is nothing to begin anew with")
    log, before = _log_of(stored), _latest(old, stored)
    mine = before.member(node)
    if mine is not None and mine.storage != stored.storage:
        raise CannotRecover(f"the group {group!r} knows {node!r} by another disk than this one")
    alone = Configuration((mine or Member(node, stored.storage),), limits=before.limits)
    new = Formation(group, os.urandom(16), alone, old.version)
    epoch = max(stored.promise.epoch, log.last.epoch) + 1
    first, second = EpochStart(node), Configured(alone)
    start = Batch(
        epoch, log.last.epoch, log.last.index + 1, 1, log.last_time, log.last_stamp + 1, encode_entries([first])
    )
    change = Batch(epoch, epoch, start.last + 1, 1, start.time, start.last_stamp + 1, encode_entries([second]))
    disk.refound(group, Persist(1, Promise(epoch, node), new, None, (start, change), stored.commit))
    return Recovered(group, node, log.last.index, stored.commit, before.voter_names, new.cluster, old.cluster)


def _log_of(stored: Stored) -> Log:
    snapshot = stored.snapshot
    if snapshot is None or stored.batches:
        return Log(stored.batches, stored.start)
    return Log((), stored.start, stamp=snapshot.stamp, time=snapshot.time)


def _latest(formation: Formation, stored: Stored) -> Configuration:
    """What the log says of the members in the end, as far as it goes back; else what stood in it before."""
    found = [configuration_in(batch) for batch in stored.batches]
    before = formation.configuration if stored.snapshot is None else stored.snapshot.agreed.configuration
    return next((each for each in reversed(found) if each is not None), before)
