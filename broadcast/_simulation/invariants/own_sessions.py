"""Who is told of a session is its owner: whoever knows what another one sends can do nothing with it (rules 18, 32)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Entry, SessionAsked, span
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Opened, Report, Resend
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class OwnSessions(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._owners: dict[int, str] = {}  # by index of the entry that asked: a session's id, if it opened one

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        index = batch.first
        for entry in entries:
            if isinstance(entry, SessionAsked):
                self._owners[index] = entry.owner
            index += span(entry)

    def told(self, owner: str, report: Report) -> None:
        if isinstance(report, Resend):
            return
        whose = report.owner if isinstance(report, Opened) else self._owners.get(report.session)
        check(whose == owner, "who is told of a session is its owner", told=owner, report=report, owner=whose)
