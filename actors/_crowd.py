"""What clients send is looked at in turns, which are shorter where several have much to say at once.

What is urgent in a node, what its peers say, its disk and its clocks, has a part in each round of Trio's scheduler: how
long a round takes is how long all that waits, several times on the way of each command. So all clients that have more
to say than fits in a turn share the time of one, and others are hardly held up by how many these are.

The thread that writes to the disk needs the interpreter several times for each write, and while this thread computes it
may wait for it for 5 ms each time. With one busy client that goes by its commands, which come fastest so: shorter waits
cost a tenth of them. With several at once it is others who pay, and threads take short turns.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import ExitStack

from actors._short_turns import short_turns

TURN_SECONDS = 0.002
"""For which what clients have sent is looked at in a round, by all together who have more than that."""
TURN_SECONDS_MIN = 0.000_2
"""That each of them has nevertheless, however many they are."""
SEVERAL = 2
THREAD_SECONDS = 0.000_1
"""That a thread has the interpreter, at least, while so many have more to say at once, and another thread wants it."""


class Crowd:
    """The clients of a node that have more to say than fitted in their last turn. turn: seconds that one takes now."""

    def __init__(self) -> None:
        self.turn = TURN_SECONDS
        self._busy: set[Hashable] = set()
        self._short = ExitStack()
        self._is_short = False

    def has_more(self, who: Hashable) -> None:
        """Its turn is over, and there is more of it."""
        if who not in self._busy:
            self._busy.add(who)
            self._changed()

    def is_done(self, who: Hashable) -> None:
        """All that it has sent was looked at, or will not be."""
        if who in self._busy:
            self._busy.remove(who)
            self._changed()

    def _changed(self) -> None:
        self.turn = max(TURN_SECONDS / max(len(self._busy), 1), TURN_SECONDS_MIN)
        if (len(self._busy) >= SEVERAL) is not self._is_short:
            self._is_short = not self._is_short
            if self._is_short:
                self._short.enter_context(short_turns(THREAD_SECONDS))
            else:
                self._short.close()
