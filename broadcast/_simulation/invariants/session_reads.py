"""A read within a session sees what its owner wrote, and what it saw before, at whichever replica (rule 20).

Terry and others 1994: read your writes, monotonic reads. What others wrote it may miss.
"""

from __future__ import annotations

from collections import defaultdict

from broadcast._simulation.calls import Answer, Call, Floor, Read
from broadcast._simulation.invariants.base import Invariant, Scene
from broadcast._simulation.invariants.claim import check


class SessionReads(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._wrote = defaultdict[str, Floor](Floor)
        self._shown = defaultdict[str, Floor](Floor)

    def answered(self, call: Call, answer: Answer) -> None:
        if answer.ran is not None:
            self._wrote[call.owner].rise(answer.moment, answer.ran.index)

    def read(self, read: Read) -> None:
        if read.seen is None:
            return
        wrote, shown = self._wrote[read.owner].at(read.after), self._shown[read.owner].at(read.after)
        check(read.seen >= wrote, "a session reads what it wrote", wrote=wrote, read=read)
        check(read.seen >= shown, "a session's reads never go back", shown=shown, read=read)
        self._shown[read.owner].rise(read.moment, read.seen)
