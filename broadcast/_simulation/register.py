"""Who is in, as the order has it and as disks and logs may still have it: what a history is judged and ended by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from broadcast._protocol.entries import Configured, Entry, configuration_in
from broadcast._protocol.position import Batch
from broadcast._simulation.disk import Disk
from membership._protocol.change import destination
from membership._protocol.view import Configuration

if TYPE_CHECKING:
    from broadcast._simulation.node import Node


class Register:
    """The configuration that was delivered last, by anybody, and where it stands; None until a group has formed."""

    def __init__(self) -> None:
        self.index = 0
        self.committed: Configuration | None = None
        self.removed: set[str] = set()
        """Who was a member once, and is none as of the last one."""

    def formed(self, configuration: Configuration) -> None:
        """A replica has the record."""
        if self.committed is None:
            self.committed = configuration

    def delivered(self, batch: Batch, entries: Sequence[Entry]) -> None:
        """Told of each batch that is delivered for the first time."""
        for entry in entries:
            if isinstance(entry, Configured):
                before = set(self.committed.names) if self.committed else set[str]()
                self.index, self.committed = batch.first, entry.configuration
                self.removed |= before.difference(entry.configuration.names)

    def open(self, nodes: Mapping[str, Node], disks: Mapping[str, Disk]) -> list[Configuration]:
        """Those that may decide what comes next: the committed one, what logs hold beyond it, and where these lead."""
        logs: list[Iterable[Batch]] = [disk.held.values() for disk in disks.values()]
        longer = [node.replica.log for node in nodes.values() if node.alive]
        logs += [log.between(self.index, log.last.index) for log in longer if log.last.index > self.index]
        found = [configuration_in(batch) for log in logs for batch in log if batch.first > self.index]
        there = [each for each in (self.committed, *found) if each is not None]
        return [*there, *map(destination, there)]


def suffice(names: Iterable[str], configurations: Sequence[Configuration]) -> bool:
    """Can these elect a leader and commit, whichever of the configurations is in force?"""
    them = frozenset(names)
    return all(each.elects(them) and each.commits(them) for each in configurations)
