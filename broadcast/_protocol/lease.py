"""A leader's lease: for how long it may answer reads without a round (rule 20; Ongaro 2014, 6.4.1).

A voter that hears a leader grants nobody else for the shortest election timeout (`Election`, where leases are on). So
from the moment at which a round of heartbeats left that a commit quorum has answered, nobody else can be elected for
that long, as each of them measures it. The lease ends before, so that it has ended for a leader whose clock is slower.
"""

from __future__ import annotations

from collections import deque

from broadcast._protocol.output import Now
from membership._protocol.view import Configuration

LEASE_PARTS = 9, 10
"""A lease lasts this part of the shortest election timeout. So the clocks of two members may differ by a tenth in what
they take for the same time: one may be 5 % fast and the other 5 % slow (`Limits.leases`)."""


class Lease:
    """Of one epoch of one leader. floor: the shortest election timeout, in microseconds."""

    def __init__(self, leader: str, floor: int) -> None:
        parts, whole = LEASE_PARTS
        self._leader = leader
        self._span = floor * parts // whole
        self._first = 1
        self._begun: deque[Now] = deque()  # when the rounds from `_first` on left
        self._confirmed: dict[str, int] = {}  # voter -> the newest round that it answered

    def begin(self, now: Now) -> None:
        """The next round leaves: they are numbered 1, 2, 3..."""
        self._forget(now)
        self._begun.append(now)

    def confirm(self, name: str, number: int) -> None:
        """A voter follows us, as of the round `number`: it grants nobody from when it heard of that."""
        if number < self._first + len(self._begun):
            self._confirmed[name] = max(number, self._confirmed.get(name, 0))

    def retract(self, name: str) -> None:
        """What it said counts no more."""
        self._confirmed.pop(name, None)

    def holds(self, configuration: Configuration, now: Now) -> bool:
        """Can nobody else have been elected by now?"""
        self._forget(now)
        bound = frozenset(name for name, number in self._confirmed.items() if number >= self._first)
        return now.boottime is not None and configuration.commits(bound | {self._leader})

    def _forget(self, now: Now) -> None:
        """Rounds that left too long ago vouch for nothing."""
        while self._begun and self._is_over(self._begun[0], now):
            self._begun.popleft()
            self._first += 1

    def _is_over(self, began: Now, now: Now) -> bool:
        """By either clock: time that a suspended machine slept counts, and so does that of a clock made for tests."""
        if now.boottime is None or began.boottime is None:
            return True
        return max(now.monotonic - began.monotonic, now.boottime - began.boottime) >= self._span
