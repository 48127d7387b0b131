"""Lamport's logical clock: stamps that grow along every causal path, restarts included (Lamport 1978; P20).

A stamp tells causality, never the order of delivery: that is the leader's index. So that stamps also grow
over restarts, no stamp leaves the node before a mark at or above it is on disk. The mark is moved ahead by
whole blocks, so that a write is needed once in `COUNTER_BLOCK` stamps only; a restart begins at the mark.
"""

from __future__ import annotations

from typing import NamedTuple

from actors._protocol.errors import RemoteProtocolError, invariant

COUNTER_MAX = 2**62
"""No stamp beyond this is accepted from anyone."""

COUNTER_LEAST_MAX = 2**50
"""Stamps up to this are believed whatever the time is said to be: a million a second for thirty-five years."""

COUNTER_ALLOWANCE = 86_400_000_000
"""What a peer's stamps may be ahead of a stranger's: as many microseconds as there are in a day."""

COUNTER_BLOCK = 2**20
"""How far ahead of the clock the durable mark is moved at a time."""


def counter_max(now: int, *, known: bool) -> int:
    """The greatest stamp that is believed at `now`, in microseconds since 1970 by this node's wall clock.

    No group counts a million stamps in each second since 1970; so whoever lies takes a clock no further than that,
    never near its end, and time makes room again. known: of a peer that this node knows, which is allowed some more:
    where strangers can take one node, another whose wall clock is behind must follow. Without TLS anybody
    can say to be such a peer, and take the clocks ahead by that allowance: clients are then turned away until the time
    has caught up, a day at most.
    """
    return max(now, COUNTER_LEAST_MAX) + (COUNTER_ALLOWANCE if known else 0)


class Timestamp(NamedTuple):
    """(counter, node): compares by counter, then by the node's name: all stamps are in one total order.

    That order agrees with causality, and says more than is known: what happened before comes before, and what comes
    before need not have happened before. `happened_before` tells the one from the other, as far as stamps do.
    """

    counter: int
    node: str

    def happened_before(self, other: Timestamp) -> bool | None:
        """Can this event have had a part in the other? (Lamport 1978: this -> other.)

        True: it happened before, as both are of one node, which does one thing after the other.
        False: it did not. Either the other happened before this one, or neither knew of the other.
        None: stamps do not tell. Whether a chain of messages leads from here to there is known only to who has seen the
        messages: `troupe trace` merges what nodes have noted of them.

        Between stamps of a node that keeps no data directory, of two of its lives, this says nothing of use.
        """
        if self.counter >= other.counter:
            return False
        return True if self.node == other.node else None


class LamportClock:
    """The clock of one node.

    counter: of the last event here; only grows.
    reserved: the durable mark. While `counter > reserved` nothing may be sent: the shell makes a mark ahead
        of `counter` durable, then calls `reserve`. A node that keeps nothing has everything reserved.
    """

    __slots__ = ("counter", "node", "reserved")

    def __init__(self, node: str, counter: int = 0, durable: int = COUNTER_MAX) -> None:
        invariant(counter >= 0, "a clock starts at what was counted before", counter=counter)
        self.node = node
        self.counter = counter
        self.reserved = durable

    def tick(self) -> int:
        """Count an event of this node; its counter. The stamp of a message is taken when it is sent."""
        self.counter += 1
        return self.counter

    def witness(self, counter: int, most: int = COUNTER_MAX) -> None:
        """A stamp of another node was met: everything here is later than that from now on.

        most: the greatest that is believed (see `counter_max`).

        Raises RemoteProtocolError, and changes nothing, if the stamp is out of bounds: a poisoned stamp would
        otherwise take every clock it meets to the end of its range.
        """
        if counter > self.counter:
            if counter > most:
                raise RemoteProtocolError(
                    f"Lamport stamp {counter} is beyond belief: this node is at {self.counter}, and at most {most} can "
                    "have been counted by now; if it was, compare the wall clocks"
                )
            self.counter = counter
        elif counter < 0:
            raise RemoteProtocolError(f"Lamport stamp {counter} is negative")

    def advance(self, to: int) -> None:
        """This node's own memory (its log, a snapshot) shows that it had already counted `to`."""
        invariant(0 <= to <= COUNTER_MAX, "a remembered stamp is within bounds", to=to)
        self.counter = max(self.counter, to)

    def reserve(self, mark: int) -> None:
        """The mark `mark` is durable now: stamps up to it may be sent."""
        invariant(mark >= self.reserved, "the durable mark only grows", mark=mark, reserved=self.reserved)
        self.reserved = mark

    def timestamp(self) -> Timestamp:
        """Count an event of this node; its whole stamp."""
        return Timestamp(self.tick(), self.node)
