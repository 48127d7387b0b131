"""Do the replicas still agree? Each tells the others the digest of its snapshot at each agreed marker (rule 28).

The order is agreed on; what commands make of it is the user's class, and one that looks at a clock, at chance or at its
own process makes something else of it on each replica. The bytes of a snapshot follow from the log alone, so that equal
states have equal digests. A majority of the voters of that place decides who is right.
"""

from __future__ import annotations

import enum
from collections import Counter

from broadcast._protocol.position import Position
from broadcast._protocol.snapshots import Digest, Snapshot

PLACES_MAX = 8  # markers whose digests are remembered
TOLD_MAX = 64  # members whose digests are remembered for each


class Opinion(enum.Enum):
    """What the digests so far say of this replica."""

    OPEN = "open"
    """Not enough of them are here."""
    AGREED = "agreed"
    """A majority of the voters is where this one is."""
    DIVERGED = "diverged"
    """A majority of the voters is elsewhere."""
    DIVIDED = "divided"
    """Voters differ, and no majority is anywhere yet: nobody can say who is right."""


class Digests:
    """What the members have told, for the newest markers."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mine: dict[Position, Snapshot] = {}
        self._told: dict[Position, dict[str, tuple[int, Digest]]] = {}
        self.newest: Snapshot | None = None
        """Our own newest."""
        self.agreed: Position | None = None
        """The newest place at which a majority was where this one is."""
        self.divided: Position | None = None
        """The newest place at which voters differ, unless a majority was found to agree there, or further on."""

    def took(self, snapshot: Snapshot) -> Opinion:
        """Ours."""
        self.newest = snapshot
        self._mine[snapshot.position] = snapshot
        _bound(self._mine)
        return self.heard(self._name, snapshot.position, snapshot.layout, snapshot.digest)

    def heard(self, name: str, position: Position, layout: int, digest: Digest) -> Opinion:
        """A member's. It may come before our own."""
        told = self._told.setdefault(position, {})
        if name in told or len(told) < TOLD_MAX:
            told[name] = layout, digest
        _bound(self._told)
        return self._opinion(position)

    def _opinion(self, position: Position) -> Opinion:
        mine = self._mine.get(position)
        if mine is None:
            return Opinion.OPEN
        voters = mine.agreed.configuration.voter_names
        told = self._told.get(position, {}).items()
        counted = Counter(digest for name, (layout, digest) in told if name in voters and layout == mine.layout)
        if not counted:
            return Opinion.OPEN
        digest, count = counted.most_common(1)[0]
        if 2 * count > len(voters):
            if digest != mine.digest:
                return Opinion.DIVERGED
            self.agreed = max(position, self.agreed or position)
            if self.divided is not None and position >= self.divided:
                self.divided = None
            return Opinion.AGREED
        if len(counted) < 2:
            return Opinion.OPEN
        self.divided = max(position, self.divided or position)
        return Opinion.DIVIDED


def _bound(places: dict[Position, Snapshot] | dict[Position, dict[str, tuple[int, Digest]]]) -> None:
    """Keep the newest."""
    while len(places) > PLACES_MAX:
        del places[min(places, key=lambda place: place.index)]
