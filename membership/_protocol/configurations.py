"""Which configuration is in force at which place of the log (rule 14), and who is said to be reachable there.

A configuration is in force as soon as its entry is appended, committed or not (Ongaro 2014, 4.1), and taken back with
it: kept by index, so that what a truncated or an old log says is never remembered beyond it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from actors._protocol.errors import invariant
from membership._protocol.view import Configuration


@dataclass(frozen=True, slots=True)
class Agreed:
    """What stands in the log up to a place: who is in, which of them can be reached, and where the first was set."""

    configuration: Configuration
    reachable: frozenset[str]
    set_at: int = 0

    @classmethod
    def formed(cls, configuration: Configuration) -> Agreed:
        """In the beginning all can be reached: they had to, to form the group."""
        return cls(configuration, frozenset(configuration.names))

    def configured(self, configuration: Configuration, index: int) -> Agreed:
        """Another configuration, by the entry at `index`. Who comes with it can be reached, until it is said not so."""
        names, before = configuration.names, set(self.configuration.names)
        came = {name for name in names if name not in before}
        return Agreed(configuration, frozenset(self.reachable | came).intersection(names), index)

    def reached(self, names: Iterable[str]) -> Agreed:
        """These can be reached, and no others."""
        return Agreed(self.configuration, frozenset(names).intersection(self.configuration.names), self.set_at)


class Configurations:
    """Those of one log: that of the formation record at index 0, and one for each entry that changes what is agreed."""

    def __init__(self, formed: Configuration) -> None:
        self._indices = [0]
        self._agreed = [Agreed.formed(formed)]

    @property
    def latest(self) -> Configuration:
        """The one in force at the end of the log: decisions are made by it."""
        return self._agreed[-1].configuration

    @property
    def reachable(self) -> frozenset[str]:
        """Who can be reached, as of the end of the log."""
        return self._agreed[-1].reachable

    @property
    def index(self) -> int:
        """Where the latest was set; 0 for that of the formation record."""
        return self._agreed[-1].set_at

    def append(self, index: int, configuration: Configuration) -> None:
        """The entry at `index`, beyond all others, sets this one."""
        self._append(index, self._agreed[-1].configured(configuration, index))

    def reach(self, index: int, names: Iterable[str]) -> None:
        """The entry at `index`, beyond all others, says that these can be reached."""
        self._append(index, self._agreed[-1].reached(names))

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

    def at(self, index: int) -> tuple[int, Configuration]:
        """The one in force at `index`, and where it was set."""
        place = bisect_right(self._indices, index) - 1
        return self._agreed[place].set_at, self._agreed[place].configuration

    def since(self, index: int) -> list[Configuration]:
        """The one in force at `index`, and all that follow it."""
        place = bisect_right(self._indices, index) - 1
        return [agreed.configuration for agreed in self._agreed[place:]]

    def votes_since(self, index: int, name: str, storage: bytes) -> bool:
        """Does the one in force at `index`, or one that follows it, know this voter by this disk?"""
        return any(configuration.storage_of(name) == storage for configuration in self.since(index))

    def joined_at(self, name: str, storage: bytes) -> int | None:
        """Where the last one was set that knows this member by this disk; None if none does."""
        for agreed in reversed(self._agreed):
            if agreed.configuration.disk_of(name) == storage:
                return agreed.set_at
        return None
