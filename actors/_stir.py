"""When something was last read on the links of a node."""

from __future__ import annotations

from math import inf

import trio


class Stir:
    """When something was last read on the links of a node, and how often that was so far. For one run of Trio.

    time: what Trio's clock says, for a third of what `trio.current_time` takes.
    """

    __slots__ = ("at", "count", "time")

    def __init__(self) -> None:
        self.count = 0
        self.at = -inf
        self.time = trio.lowlevel.current_clock().current_time

    def note(self) -> float:
        """Something has been read: what is sent now is likely to be an answer. The time, on Trio's clock."""
        self.count += 1
        self.at = self.time()
        return self.at
