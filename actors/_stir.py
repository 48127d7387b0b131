"""When something was last read on the links of a node."""

from __future__ import annotations

from math import inf

import trio


class Stir:
    """When something was last read on the links of a node, and how often that was so far. For one run of Trio."""

    __slots__ = ("_clock", "at", "count")

    def __init__(self) -> None:
        self.count = 0
        self.at = -inf
        self._clock = trio.lowlevel.current_clock()

    def note(self) -> float:
        """Something has been read: what is sent now is likely to be an answer. The time, on Trio's clock."""
        self.count += 1
        self.at = self._clock.current_time()  # a third of what `trio.current_time` takes
        return self.at
