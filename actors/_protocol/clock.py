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

COUNTER_JUMP_MAX = 2**50
"""No stamp further ahead than this is accepted: a million stamps a second for thirty-five years."""

COUNTER_JUMP_CLIENT_MAX = 2**32
"""The same for a client, which could otherwise take the clocks of a group to their end in a few thousand messages."""

COUNTER_BLOCK = 2**20
"""How far ahead of the clock the durable mark is moved at a time."""


class Timestamp(NamedTuple):
    """(counter, node): compares by counter, then by the node's name: all stamps are in one total order."""

    counter: int
    node: str


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

    def witness(self, counter: int, jump_max: int = COUNTER_JUMP_MAX) -> None:
        """A stamp of another node was met: everything here is later than that from now on.

        jump_max: how far ahead of this clock it may be.

        Raises RemoteProtocolError, and changes nothing, if the stamp is out of bounds: one poisoned stamp
        would otherwise take every clock it meets to the end of its range.
        """
        if counter > self.counter:
            if counter > COUNTER_MAX or counter > self.counter + jump_max:
                raise RemoteProtocolError(
                    f"Lamport stamp {counter} is too far ahead of this node's {self.counter} "
                    f"(at most {jump_max} ahead, and {COUNTER_MAX} at all)"
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
