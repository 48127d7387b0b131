"""Which configuration is in force at which place of the log (rule 14), and what else the log agrees on beside commands:
who is said to be reachable there, and the version of the class (rule 29).

A configuration is in force as soon as its entry is appended, committed or not (Ongaro 2014, 4.1), and taken back with
it: kept by index, so that what a truncated or an old log says is never remembered beyond it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated

import msgspec

from actors._protocol.errors import invariant
from membership._protocol.view import Configuration, Epoch, Name, StorageId, Version

FORMER_MAX = 1_000  # disks of former members that are remembered


class Agreed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What stands in the log up to a place: who is in, who of them can be reached, who was in, and what they run.

    set_at, set_in: index and epoch of the entry that set the configuration; 0 for the formation record.
    reachable: sorted. former: the disks of those who are members no more, the one that left last at the end.
    version: of the class in force. It never goes down.
    """

    configuration: Configuration
    reachable: tuple[Name, ...]
    set_at: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    set_in: Epoch = 0
    former: Annotated[tuple[StorageId, ...], msgspec.Meta(max_length=FORMER_MAX)] = ()
    version: Version = 1

    @classmethod
    def formed(cls, configuration: Configuration, version: int = 1) -> Agreed:
        """In the beginning all can be reached: they had to, to form the group."""
        return cls(configuration, tuple(sorted(configuration.names)), version=version)

    def configured(self, configuration: Configuration, index: int, epoch: int) -> Agreed:
        """Another configuration, by that entry. Who comes with it can be reached, until it is said not so."""
        names, before = configuration.names, self.configuration.names
        reachable = [name for name in names if name in self.reachable or name not in before]
        disks = {member.storage for member in configuration.members}
        left = [member.storage for member in self.configuration.members if member.storage not in disks]
        former = (*(disk for disk in self.former if disk not in disks), *left)
        return Agreed(configuration, tuple(sorted(reachable)), index, epoch, former[-FORMER_MAX:], self.version)

    def reached(self, names: Iterable[str]) -> Agreed:
        """These can be reached, and no others."""
        reachable = tuple(sorted(set(names).intersection(self.configuration.names)))
        return msgspec.structs.replace(self, reachable=reachable)

    def versioned(self, version: int) -> Agreed:
        """This version of the class is in force from here on, unless a later one is already."""
        return msgspec.structs.replace(self, version=max(self.version, version))


class Configurations:
    """Those of one log: what is agreed where it begins, and after each entry that changes that."""

    def __init__(self, agreed: Agreed, index: int = 0) -> None:
        """`agreed` up to `index`: by the formation record (0), or a snapshot."""
        self._indices = [index]
        self._agreed = [agreed]

    @property
    def latest(self) -> Configuration:
        """The one in force at the end of the log: decisions are made by it."""
        return self._agreed[-1].configuration

    @property
    def reachable(self) -> frozenset[str]:
        """Who can be reached, as of the end of the log."""
        return frozenset(self._agreed[-1].reachable)

    @property
    def version(self) -> int:
        """Of the class, as of the end of the log."""
        return self._agreed[-1].version

    @property
    def index(self) -> int:
        """Where the latest was set; 0 for that of the formation record."""
        return self._agreed[-1].set_at

    @property
    def epoch(self) -> int:
        """Of the entry that set the latest; 0 for the formation record."""
        return self._agreed[-1].set_in

    def append(self, index: int, epoch: int, configuration: Configuration) -> None:
        """The entry at `index`, beyond all others, sets this one."""
        self._append(index, self._agreed[-1].configured(configuration, index, epoch))

    def reach(self, index: int, names: Iterable[str]) -> None:
        """The entry at `index`, beyond all others, says that these can be reached."""
        self._append(index, self._agreed[-1].reached(names))

    def put_in_force(self, index: int, version: int) -> None:
        """The entry at `index`, beyond all others, puts this version of the class in force."""
        self._append(index, self._agreed[-1].versioned(version))

    def _append(self, index: int, agreed: Agreed) -> None:
        last = self._indices[-1]
        invariant(index > last, "configurations follow each other along the log", index=index, last=last)
        self._indices.append(index)
        self._agreed.append(agreed)

    def truncate(self, first: int) -> None:
        """The log is cut from index `first` on: what was set there is in force no more."""
        keep = bisect_right(self._indices, first - 1)
        invariant(keep > 0, "a record is never cut", first=first)
        del self._indices[keep:]
        del self._agreed[keep:]

    def install(self, agreed: Agreed, index: int, *, keep: bool) -> None:
        """A snapshot takes the place of the log up to `index`. keep: is the log that goes on there still this one?"""
        after = bisect_right(self._indices, index) if keep else len(self._indices)
        self._indices = [index, *self._indices[after:]]
        self._agreed = [agreed, *self._agreed[after:]]

    def at(self, index: int) -> Agreed:
        """What is agreed at `index`."""
        place = bisect_right(self._indices, index) - 1
        invariant(place >= 0, "what is asked for is not before the log", index=index, start=self._indices[0])
        return self._agreed[place]

    def since(self, index: int) -> list[Configuration]:
        """The one in force at `index`, and all that follow it."""
        place = bisect_right(self._indices, index) - 1
        return [agreed.configuration for agreed in self._agreed[place:]]

    def votes_since(self, index: int, name: str, storage: bytes) -> bool:
        """Does the one in force at `index`, or one that follows it, know this voter by this disk?"""
        return any(configuration.storage_of(name) == storage for configuration in self.since(index))

    def was_member(self, storage: bytes) -> bool:
        """Is this the disk of one that was a member, here or in another configuration since the log begins?"""
        disks = (member.storage for agreed in self._agreed for member in agreed.configuration.members)
        return storage in self._agreed[-1].former or storage in disks

    def joined_at(self, name: str, storage: bytes) -> tuple[int, int] | None:
        """Epoch and index at which the last one was set that knows this member by this disk; None if none does."""
        for agreed in reversed(self._agreed):
            if agreed.configuration.disk_of(name) == storage:
                return agreed.set_in, agreed.set_at
        return None
