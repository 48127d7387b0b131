"""The leader's picture of one follower: what it holds, and what may be on its way (rule 10).

PROBE: not known where the two logs part; one message at a time finds out. STREAM: they agree; batches follow each other
without waiting, up to a bound. SNAPSHOT: what it needs next was compacted; it gets a snapshot first.

What is lost shows as silence. But so does what is still on its way: behind megabytes on a slow link, or to a process
that is short of a processor; to send it again would only make the way longer. So who was silent about a stream is asked
first what it has, and what is sent again is what that answer shows to be lost: it comes after all that went before.
Who was silent about a probe is probed without content; and parts of a snapshot are repeated after longer and longer.
"""

from __future__ import annotations

import enum
from collections import deque

from broadcast._protocol.outgoing import Outgoing
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot

IN_FLIGHT_MAX = 8 * 1024 * 1024  # bytes that may be on their way to one follower
SILENCES_MAX = 4  # after which parts of a snapshot are repeated no later than before: after 16 times the first one


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
        self._asked = 0  # how often it was asked what it has
        self._is_asked = False  # and has not answered yet
        self._silences = 0  # since something came of what was sent, about

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

    @property
    def is_silent(self) -> bool:
        """Did nothing come of what was sent since it was overdue?"""
        return self._silences > 0

    def overdue(self, now: int, patience: int) -> bool:
        """Has it been silent about what was sent for `patience`; or about a snapshot longer, after earlier silences?"""
        if self.flow is Flow.SNAPSHOT:
            patience <<= self._silences
        return self._waiting_since is not None and now - self._waiting_since >= patience

    def ask(self, now: int) -> int:
        """It was silent. Returns the number to ask it by what it has; 0 if it is probed anew instead."""
        self._silences = 1
        if self.flow is not Flow.STREAM or not self._in_flight:
            self.probe()
            return 0
        self._asked += 1
        self._is_asked, self._waiting_since = True, now
        return self._asked

    def acknowledged(self, match: int, stamp: int, now: int, number: int = 0) -> None:
        """It holds everything up to `match`. number: of the question that this answers, if it does."""
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
            self.flow, self.is_behind, self._silences = Flow.STREAM, False, 0
            self.next = self.match + 1
        elif self.flow is Flow.SNAPSHOT:
            return  # whether it gets on, the parts tell
        while self._in_flight and self._in_flight[0][0] <= match:
            self._in_flight_size -= self._in_flight.popleft()[1]
            self._waiting_since = now  # it gets on; one that says the same again and again does not
            self._silences = 0
        if self._is_asked and number == self._asked:
            self._is_asked = False
            if self._in_flight:
                self.stream()  # the rest is lost
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
            self.is_behind, self._silences = True, 0

    # -- snapshots -------------------------------------------------------------------------------------------------

    def restore(self, snapshot: Snapshot, held_from: int, now: int) -> None:
        """It needs a snapshot: the one that it was getting, if the log still goes on from there, or else this one."""
        if self.outgoing is None or self.outgoing.snapshot.index < held_from:
            self.outgoing = Outgoing(snapshot)
        self.flow, self._silences = Flow.SNAPSHOT, 0
        self._forget()
        self._waiting_since = now
        self.outgoing.repeat()

    def confirmed(self, size: int, stamp: int, now: int) -> None:
        """It has so many bytes of the snapshot."""
        if self.outgoing is not None and stamp > self._stamp:
            self._stamp = stamp
            if self.outgoing.confirmed(size):
                self._waiting_since = now
                self._silences = max(0, self._silences - 1)

    def repeat(self, now: int) -> None:
        """It has been silent about the snapshot."""
        self._waiting_since = now
        self._silences = min(self._silences + 1, SILENCES_MAX)
        if self.outgoing is not None:
            self.outgoing.repeat()

    def stream(self) -> None:
        """What it holds now, the log goes on from."""
        self.flow, self.is_behind, self.outgoing = Flow.STREAM, False, None
        self.next = self.match + 1
        self._forget()

    def probe(self, next_index: int | None = None) -> None:
        """Find out anew where the logs part: from `next_index`, or right after what is known to match, if anything."""
        self.flow, self.is_behind = Flow.PROBE, False
        self.next = max(self.match + 1, next_index or (0 if self.match else self.next))
        self._forget()

    def _forget(self) -> None:
        """What is on its way."""
        self._in_flight.clear()
        self._in_flight_size = 0
        self._waiting_since = None
        self._is_asked = False
