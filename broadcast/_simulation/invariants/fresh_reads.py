"""A linearizable read sees all that anyone was told before it began (Ongaro 2014, 6.4; rule 20)."""

from __future__ import annotations

from broadcast._simulation.calls import Read
from broadcast._simulation.invariants.base import Invariant
from broadcast._simulation.invariants.claim import check


class FreshReads(Invariant):
    def read(self, read: Read) -> None:
        if read.seen is not None and read.is_linearizable:
            floor = self.scene.calls.floor.at(read.after)
            check(read.seen >= floor, "a read is not stale", floor=floor, read=read)
