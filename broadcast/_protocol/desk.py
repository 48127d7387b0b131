"""Where sessions end at a replica: whose they are, and what needs no new entry because it is known already.

A session's owner may come by any replica, and change. Whoever spoke for a session last is its owner here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, Submittable
from broadcast._protocol.reports import Answers, Opened, Report, Resend
from broadcast._protocol.sessions import Sessions


class Owner(Protocol):
    """The near end of a session: a handle in this process, or a client's link."""

    def report(self, report: Report) -> None:
        """Take a report; must not block."""
        ...


class Desk:
    """The sessions that are spoken for at this replica."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._owners: dict[int, Owner] = {}
        self._opening: dict[bytes, Owner] = {}

    def submit(self, owner: Owner, entries: Iterable[Submittable]) -> tuple[Submittable, ...]:
        """Take what an owner wants in the log; returns what the replica must see to."""
        return tuple(entry for entry in entries if not self._settle(owner, entry))

    def route(self, reports: Iterable[Report]) -> None:
        """Hand out what applying told."""
        for report in reports:
            if isinstance(report, Opened):
                owner = self._opening.pop(report.nonce, None)
                if owner is not None and report.session is not None:
                    self._owners[report.session] = owner
            elif isinstance(report, Resend):
                owner = None
            else:
                owner = self._owners.get(report.session)
            if owner is not None:
                owner.report(report)

    def lost(self) -> None:
        """What was on its way to the leader may be lost."""
        owners = {id(owner): owner for owner in (*self._owners.values(), *self._opening.values())}
        for owner in owners.values():
            owner.report(Resend())

    def leave(self, owner: Owner) -> None:
        """This owner is gone; its sessions stay until they expire, or are spoken for elsewhere."""
        self._owners = {session: other for session, other in self._owners.items() if other is not owner}
        self._opening = {nonce: other for nonce, other in self._opening.items() if other is not owner}

    def _settle(self, owner: Owner, entry: Submittable) -> bool:
        """Can this be answered from what is applied here?"""
        if isinstance(entry, SessionAsked):
            self._opening[entry.nonce] = owner
            return False
        if isinstance(entry, SessionEnded):
            self._owners.pop(entry.session, None)
            return False
        self._owners[entry.session] = owner
        session = self._sessions.get(entry.session)
        if not isinstance(entry, Commands) or session is None or entry.number + entry.count - 1 > session.last:
            return False
        first, outcomes = session.remembered(entry.number, entry.number + entry.count - 1)
        if outcomes:
            owner.report(Answers(entry.session, first, outcomes))
        return True
