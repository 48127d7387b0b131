"""Places in the total order, and the batches that fill them.

The log's unit is a `Batch`: what a leader sealed in one go, under one epoch. It is stored, sent, checked and
acknowledged whole, and never cut, so that a lone command and a thousand cost the same number of writes and messages.
Every *entry* in it still has an index and a Lamport stamp of its own, counted from the batch's first.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

INTEGER_MAX = 2**62  # no epoch, index, stamp or time beyond this is accepted from anyone (protocol rule 30)

Natural = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
"""A non-negative integer within the absolute bound."""
Positive = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
"""A positive integer within the absolute bound."""


class Position(msgspec.Struct, frozen=True, array_like=True, order=True, forbid_unknown_fields=True, gc=False):
    """(epoch, index): a place in the log. Compares as a *standing* does: the epoch first (Ongaro 2014, 3.6.1)."""

    epoch: Natural
    index: Natural


START = Position(0, 0)
"""The place before the first entry."""

FRAME_SIZE = 280
"""Bytes of a batch beside its entries' content, as it lies in a log in memory."""


class Batch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Consecutive entries, sealed by one leader. Two batches with equal (epoch, first) are the same batch.

    epoch, previous_epoch: of this batch, and of the entry at `first - 1` (0 at the start of the log).
    first, count: the indices `first .. first + count - 1` are filled; `count >= 1`.
    time: log time in microseconds since 1970, stamped by the leader, never going back along the log.
    stamp: Lamport counter of the first entry; the entry at `index` has `stamp + index - first`.
    entries: the encoded entries (see `entries.py`), opened only by whoever applies them.
    """

    epoch: Positive
    previous_epoch: Natural
    first: Positive
    count: Positive
    time: Natural
    stamp: Positive
    entries: bytes

    @property
    def last(self) -> int:
        """Index of the last entry."""
        return self.first + self.count - 1

    @property
    def last_stamp(self) -> int:
        """Lamport counter of the last entry."""
        return self.stamp + self.count - 1

    @property
    def end(self) -> Position:
        """Position of the last entry."""
        return Position(self.epoch, self.first + self.count - 1)

    @property
    def previous(self) -> Position:
        """Position of the entry before this batch: where it fits."""
        return Position(self.previous_epoch, self.first - 1)

    @property
    def size(self) -> int:
        """Bytes that count against limits: about as many as it takes in memory, which is more than on disk or wire."""
        return len(self.entries) + FRAME_SIZE
