"""What clients send is looked at in turns; those who have much to say, and those who arrive, stand back for others.

What is urgent in a node, what its peers say, its disk and its clocks, has a part in each round of Trio's scheduler: how
long a round takes is how long all that waits, several times on the way of each command. So where several clients have
more to say than fits in a turn, one of them at a time has one, with a rest after it; or they would take all that others
leave, and others would find neither the interpreter nor a processor free when they need them next. Who arrives is one
of them: many may come, be turned away, and come again. So is who has just said what no good client says, such as what
no class understands.

The thread that writes to the disk needs the interpreter several times for each write, and while this thread computes it
may wait for it for 5 ms each time. With one busy client that goes by its commands, which come fastest so: shorter waits
cost a tenth of them. With several at once it is others who pay, and threads take short turns.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import ExitStack
from math import inf

import trio

from actors._short_turns import short_turns

REST_SECONDS = 0.006
"""From a turn of one that stands back to the next one's turn."""
ARRIVAL_PATIENCE_SECONDS, PATIENCE_SECONDS = 0.25, 1.0
"""After which who arrives has one, and anybody else, however many stand back: nobody keeps a member from its links by
coming again and again, and who is kept waiting must not take its link for dead."""
AT_ONCE = 8
"""Of those who have stood back for so long, in one round: thousands may have come together."""
SEVERAL = 2
THREAD_SECONDS = 0.000_1
"""That a thread has the interpreter, at least, while so many have more to say at once, and another thread wants it."""


class Crowd:
    """The clients of a node that have more to say than fitted in their last turn, that send something large, that
    arrive, or are suspect."""

    def __init__(self) -> None:
        self._busy: set[Hashable] = set()
        self._pouring: set[Hashable] = set()
        self._queue = trio.StrictFIFOLock()
        self._rests_until = -inf
        self._late = trio.Semaphore(AT_ONCE)
        self._short = ExitStack()
        self._is_short = False

    def has_more(self, who: Hashable) -> None:
        """Its turn is over, and there is more of it."""
        if who not in self._busy:
            self._busy.add(who)
            self._changed()

    def pours(self, who: Hashable) -> bool:
        """It sends something large, of which nothing can be looked at before all is here. Should it stand back: do
        others, too, or do they stand back?"""
        self._pouring.add(who)
        return len(self._pouring) >= SEVERAL or self._queue.locked()

    def is_done(self, who: Hashable, *, pours: bool = False) -> None:
        """All that it has sent was looked at, or will not be; but for something large, if that goes on."""
        if not pours:
            self._pouring.discard(who)
        if who in self._busy:
            self._busy.remove(who)
            self._changed()

    def holds_up(self, who: Hashable) -> bool:
        """Should it stand back: has it more to say, and others, too, or do they stand back?"""
        return who in self._busy and (self._is_short or self._queue.locked())

    async def stand_back(self) -> None:
        """Until it is the turn of who calls this, or it has been patient for long enough: it takes it before it waits
        for anything."""
        if not await self.wait_turn(PATIENCE_SECONDS):
            async with self._late:
                await trio.lowlevel.checkpoint()
            self._rest()

    async def wait_turn(self, seconds: float) -> bool:
        """The same, for so long at most. Is it its turn, one at a time?"""
        with trio.move_on_after(seconds):
            async with self._queue:
                await trio.sleep_until(self._rests_until)
            self._rest()
            return True
        return False

    def _rest(self) -> None:
        self._rests_until = trio.current_time() + REST_SECONDS

    def _changed(self) -> None:
        if (len(self._busy) >= SEVERAL) is not self._is_short:
            self._is_short = not self._is_short
            if self._is_short:
                self._short.enter_context(short_turns(THREAD_SECONDS))
            else:
                self._short.close()
