"""A snapshot on its way from the leader to one follower, part by part (rules 10, 11; Ongaro 2014, 5.1).

A few parts are under way at a time, so that neither memory nor a queue fills. The follower says how much it has; where
it says nothing, what it has not confirmed is sent again.
"""

from __future__ import annotations

from broadcast._protocol.output import ReadPart
from broadcast._protocol.snapshots import PART_SIZE_MAX, Snapshot

UNDER_WAY_MAX = 4 * PART_SIZE_MAX  # bytes read or sent, and not confirmed


class Outgoing:
    """What a follower has of a snapshot, as far as it has said so."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._confirmed = 0
        self._next = 0
        self._is_reading = False  # one part at a time: a slow disk is not asked again
        self._is_unreadable = False

    def ask(self, to: str) -> ReadPart | None:
        """The part to be read next, if one should be."""
        under_way = self._next - self._confirmed
        if self._is_reading or self._is_unreadable or self._next >= self.snapshot.size or under_way >= UNDER_WAY_MAX:
            return None
        self._is_reading = True
        return ReadPart(to, self.snapshot, self._next, min(PART_SIZE_MAX, self.snapshot.size - self._next))

    def read(self, offset: int, data: bytes | None) -> bool:
        """A part was read; or it could not be, and is tried again after a while. Is it to be sent?"""
        self._is_reading = False
        self._is_unreadable = not data
        if not data or offset != self._next:
            return False
        self._next += len(data)
        return True

    def confirmed(self, size: int) -> bool:
        """The follower has so much of it. Is that more than before?"""
        more = size > self._confirmed
        if size < self._confirmed or size > self._next:
            self._next = size  # it has begun anew; or it had more than we knew
        self._confirmed = size
        return more

    def repeat(self) -> None:
        """Nothing was heard for a while: send again what it may not have, and something in any case."""
        self._next = min(self._confirmed, self.snapshot.size - 1)
        self._is_unreadable = False
