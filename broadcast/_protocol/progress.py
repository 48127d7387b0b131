"""The leader's picture of one follower: what it holds, and what may be on its way (rule 10).

PROBE: not known where the two logs part; one message at a time finds out. STREAM: they agree; batches follow each other
without waiting, up to a bound. SNAPSHOT: what it needs next was compacted; it gets a snapshot first. What is lost shows
as silence, and leads back to PROBE, or to the same part of the snapshot again.
"""

from __future__ import annotations

import enum
from collections import deque

from broadcast._protocol.outgoing import Outgoing
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot

IN_FLIGHT_MAX = 8 * 1024 * 1024  # bytes that may be on their way to one follower


class Flow(enum.Enum):
    PROBE = "probe"
    STREAM = "stream"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower in one epoch. Times in microseconds."""

    def __init__(self, next_index: int) -> None:
        self.flow = Flow.PROBE
        self.match = 0
        """Up to here it holds durably what we hold."""
        self.next = next_index
        """What to send next begins here."""
        self.commit = 0
        """The commit index it was last told."""
        self.awaits = 0
        """Up to here it passed on what askers wait for there."""
        self.lost = False
        """It no longer has what it acknowledged: nothing it says is counted (rule 16)."""
        self.is_behind = False
        """Its own words say that it needs what begins at `next`."""
        self.outgoing: Outgoing | None = None
        """The snapshot that it gets; kept for another try, until it is level with that."""
        self._in_flight: deque[tuple[int, int]] = deque()  # (last index, bytes)
        self._in_flight_size = 0
        self._waiting_since: int | None = None
        self._probed = 0  # the index that the outstanding probe hangs on
        self._stamp = 0  # when its newest acknowledgement was said

    def may_send(self) -> bool:
        if self.flow is Flow.PROBE:
            return self._waiting_since is None
        return self.flow is Flow.STREAM and self._in_flight_size < IN_FLIGHT_MAX

    def sent(self, previous: int, batches: tuple[Batch, ...], now: int) -> None:
        """These were sent, to follow index `previous`."""
        self._probed = previous
        if self._waiting_since is None:
            self._waiting_since = now
        if self.flow is Flow.STREAM and batches:
            size = sum(batch.size for batch in batches)
            self._in_flight.append((batches[-1].last, size))
            self._in_flight_size += size
            self.next = batches[-1].last + 1

    def overdue(self, now: int, patience: int) -> bool:
        """Has it been silent about what was sent for `patience`?"""
        return self._waiting_since is not None and now - self._waiting_since >= patience

    def acknowledged(self, match: int, stamp: int, now: int) -> None:
        """It holds everything up to `match`."""
        if match < self.match and stamp > self._stamp:
            # In one life it never says less than before: it has started anew, and must be shown its own log again.
            self._stamp = stamp
            self.probe()
            return
        self._stamp = max(self._stamp, stamp)
        self.match = max(self.match, match)
        self.next = max(self.next, self.match + 1)
        if self.outgoing is not None and self.match >= self.outgoing.snapshot.index:
            self.outgoing = None
        if self.flow is Flow.PROBE:
            if match < self._probed:
                return  # told on another occasion: where the logs part is not known yet
            self.flow, self.is_behind = Flow.STREAM, False
            self.next = self.match + 1
        elif self.flow is Flow.SNAPSHOT:
            return  # whether it gets on, the parts tell
        while self._in_flight and self._in_flight[0][0] <= match:
            self._in_flight_size -= self._in_flight.popleft()[1]
            self._waiting_since = now  # it gets on; one that says the same again and again does not
        if not self._in_flight:
            self._waiting_since = None

    def rejected(self, rejected: int, conflict: int, stamp: int) -> None:
        """It could not place what followed `rejected`, and hints at `conflict` to go on from."""
        if stamp < self._stamp:
            return  # said before its newest acknowledgement: the network held it back
        if rejected <= self.match:
            self.lost = True
        elif self.flow is Flow.STREAM or (
            self.flow is Flow.PROBE and rejected == self._probed
        ):  # else it answers an earlier probe
            self.probe(conflict)
            self.is_behind = True

    # -- snapshots -------------------------------------------------------------------------------------------------

    def restore(self, snapshot: Snapshot, held_from: int, now: int) -> None:
        """It needs a snapshot: the one that it was getting, if the log still goes on from there, or else this one."""
        if self.outgoing is None or self.outgoing.snapshot.index < held_from:
            self.outgoing = Outgoing(snapshot)
        self.flow = Flow.SNAPSHOT
        self._waiting_since = now
        self._in_flight.clear()
        self._in_flight_size = 0
        self.outgoing.repeat()

    def confirmed(self, size: int, stamp: int, now: int) -> None:
        """It has so many bytes of the snapshot."""
        if self.outgoing is not None and stamp > self._stamp:
            self._stamp = stamp
            if self.outgoing.confirmed(size):
                self._waiting_since = now

    def repeat(self, now: int) -> None:
        """It has been silent about the snapshot."""
        self._waiting_since = now
        if self.outgoing is not None:
            self.outgoing.repeat()

    def stream(self) -> None:
        """What it holds now, the log goes on from."""
        self.flow, self.is_behind, self.outgoing = Flow.STREAM, False, None
        self.next = self.match + 1
        self._waiting_since = None

    def probe(self, next_index: int | None = None) -> None:
        """Find out anew where the logs part: from `next_index`, or right after what is known to match, if anything."""
        self.flow, self.is_behind = Flow.PROBE, False
        self.next = max(self.match + 1, next_index or (0 if self.match else self.next))
        self._in_flight.clear()
        self._in_flight_size = 0
        self._waiting_since = None
