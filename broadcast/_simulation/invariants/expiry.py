"""A session is there until its term has passed in log time since it was heard of, and then no more (rules 12, 18; 6.3).

The table that the log gives is reckoned anew here, and compared with every replica's at every index. And nobody is told
that the fate of a command is unknown unless its session has expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broadcast._protocol.entries import Commands, Entry, EpochStart, SessionAsked, SessionEnded, SessionKept, span
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from membership._protocol.view import Limits


@dataclass(slots=True)
class _Known:
    """A session. touched: the log time it was heard of last."""

    asked_for: tuple[str, bytes]
    touched: int


class Expiry(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._known: dict[int, _Known] = {}
        self._expired: set[int] = set()
        self._touched_at: dict[int, dict[int, int]] = {}  # index of a batch's end -> session -> when it was heard of

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        formation = process.replica.formation
        if formation is None:
            return
        limits = formation.configuration.limits
        if isinstance(entries[0], EpochStart):  # while nobody led, nobody could be heard of
            for known in self._known.values():
                known.touched = batch.time
        self._expire(batch.time, limits.session_term)
        index = batch.first
        for entry in entries:
            self._take(entry, index, batch.time, limits)
            index += span(entry)
        self._touched_at[batch.last] = {session: known.touched for session, known in self._known.items()}

    def _expire(self, time: int, term: int) -> None:
        over = [session for session, known in self._known.items() if time - known.touched >= term]
        for session in over:
            del self._known[session]
        self._expired.update(over)

    def _take(self, entry: Entry, index: int, time: int, limits: Limits) -> None:
        if isinstance(entry, SessionAsked):
            asked_for = entry.owner, entry.nonce
            again = [known for known in self._known.values() if known.asked_for == asked_for]
            for known in again:
                known.touched = time
            if not again and len(self._known) < limits.sessions_max:
                self._known[index] = _Known(asked_for, time)
        elif isinstance(entry, SessionEnded):
            if self._known.pop(entry.session, None) is not None:
                self._expired.add(entry.session)
        elif isinstance(entry, SessionKept | Commands) and entry.session in self._known:
            self._known[entry.session].touched = time

    def applied(self, process: Process, batch: Batch) -> None:
        ours = self._touched_at[batch.last]
        theirs = {session: known.touched for session, known in process.machine.sessions}
        check(theirs.keys() >= ours.keys(), "no session expires early", name=process.name, ours=ours, theirs=theirs)
        check(theirs.keys() <= ours.keys(), "a session expires in time", name=process.name, ours=ours, theirs=theirs)
        check(theirs == ours, "a session is heard of with its entries", name=process.name, ours=ours, theirs=theirs)

    def lapsed(self, session: int | None) -> None:
        check(session in self._expired, "a fate is unknown only when its session is over", session=session)
