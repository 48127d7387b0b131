"""Which configuration is in force at which place of the log (rule 14).

One is in force as soon as its entry is appended, committed or not (Ongaro 2014, 4.1), and taken back with it: kept by
index, so that what a truncated or an old log says is never remembered beyond it.
"""

from __future__ import annotations

from bisect import bisect_right

from actors._protocol.errors import invariant
from membership._protocol.view import Configuration


class Configurations:
    """Those of one log: that of the formation record at index 0, and one for each entry that sets another."""

    def __init__(self, formed: Configuration) -> None:
        self._indices = [0]
        self._configurations = [formed]

    @property
    def latest(self) -> Configuration:
        """The one in force at the end of the log: decisions are made by it."""
        return self._configurations[-1]

    @property
    def index(self) -> int:
        """Where the latest was set; 0 for that of the formation record."""
        return self._indices[-1]

    def append(self, index: int, configuration: Configuration) -> None:
        """The entry at `index`, beyond all others, sets this one."""
        invariant(index > self.index, "configurations follow each other along the log", index=index, last=self.index)
        self._indices.append(index)
        self._configurations.append(configuration)

    def truncate(self, first: int) -> None:
        """The log is cut from index `first` on: what was set there is in force no more."""
        keep = bisect_right(self._indices, first - 1)
        invariant(keep > 0, "a record is never cut", first=first)
        del self._indices[keep:]
        del self._configurations[keep:]

    def at(self, index: int) -> tuple[int, Configuration]:
        """The one in force at `index`, and where it was set."""
        place = bisect_right(self._indices, index) - 1
        return self._indices[place], self._configurations[place]

    def joined_at(self, name: str, storage: bytes) -> int | None:
        """Where the last one was set that knows this member by this disk; None if none does."""
        for index, configuration in zip(reversed(self._indices), reversed(self._configurations), strict=True):
            if configuration.disk_of(name) == storage:
                return index
        return None
