"""One client's turns in the crowd: when it has to stand back before what it has sent is looked at, or goes on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf

import trio

from actors._crowd import Crowd

TURN_SECONDS = 0.002
"""For which what a client has sent is looked at in one go."""
NEW_FOR = 3
"""Times that a client who has just come says something, and stands back: many may come with one thing to say each."""
SUSPECT_SECONDS = 1.0
"""For which who has said what no good client says stands back with each thing that it says."""
POURED = 4
"""Receptions in a row, of 64 KiB at most, of which nothing came: who has more of them sends something large."""


class Turns:
    """Whenever something was received of a client: `begin`, then `go_on` while `are_over`, then `end`.

    who: the client, as the crowd knows it. time: Trio's clock.
    """

    __slots__ = ("_crowd", "_had_more", "_new_for", "_poured", "_pours", "_suspect_until", "_time", "_until", "_who")

    def __init__(self, crowd: Crowd, who: Hashable, time: Callable[[], float]) -> None:
        self._crowd = crowd
        self._who = who
        self._time = time
        self._until = inf
        self._had_more = False  # than fitted in a turn, at the last time
        self._new_for = NEW_FOR
        self._suspect_until = -inf
        self._poured, self._pours = 0, False

    def suspect(self) -> None:
        """It has said what no good client says: it stands back with those who have much to say, for a while."""
        self._suspect_until = self._time() + SUSPECT_SECONDS

    async def begin(self) -> None:
        """Something has come; what it is may have to wait."""
        crowd = self._crowd
        if self._had_more:
            crowd.has_more(self._who)  # for all that is known
            self._had_more = False
        backs = self._new_for or self._time() < self._suspect_until or crowd.holds_up(self._who)
        if self._poured == POURED:
            self._poured, self._pours = 0, True
            backs = crowd.pours(self._who) or backs
        if backs:
            await crowd.stand_back()
        self._new_for = max(self._new_for - 1, 0)
        self._until = self._time() + TURN_SECONDS

    @property
    def are_over(self) -> bool:
        """Has it had as much as fits in a turn?"""
        return self._time() > self._until

    async def go_on(self) -> None:
        """There is more of it than fitted in its turn."""
        self._had_more = True
        self._crowd.has_more(self._who)
        if self._crowd.holds_up(self._who):
            await self._crowd.stand_back()
        else:
            await trio.lowlevel.checkpoint()
        self._until = self._time() + TURN_SECONDS

    def end(self, *, came: bool) -> None:
        """All was looked at. came: was anything whole in it?"""
        if came:
            self._poured, self._pours = 0, False
        self._crowd.is_done(self._who, pours=self._pours)
        self._poured += 1

    def leave(self) -> None:
        """Nothing more comes of it."""
        self._crowd.is_done(self._who)
