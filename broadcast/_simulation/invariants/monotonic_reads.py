"""What one read has shown, every later one shows, whoever asks, and whichever replica (rule 20).

Every later linearizable one; what a session may miss is said in `session_reads`.
"""

from __future__ import annotations

from broadcast._simulation.calls import Floor, Read
from broadcast._simulation.invariants.base import Invariant, Scene
from broadcast._simulation.invariants.claim import check


class MonotonicReads(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._shown = Floor()

    def read(self, read: Read) -> None:
        if read.seen is not None:
            shown = self._shown.at(read.after)
            went_back = read.is_linearizable and read.seen < shown
            check(not went_back, "reads never go back", shown=shown, read=read)
            self._shown.rise(read.moment, read.seen)
