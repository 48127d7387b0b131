"""Where sessions end at a replica: whose they are, and what needs no new entry because it is known already.

A session's owner may come by any replica, and change. Whoever spoke for a session last is its owner here. What is said
for a session goes into the log only once its opening is applied here, so that whose it is can be checked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, Submittable
from broadcast._protocol.owned import Owned
from broadcast._protocol.reports import Answers, Expired, Opened, Report, Resend
from broadcast._protocol.sessions import Session, Sessions

FORGOTTEN_MAX = 1_000  # sessions that have expired, and are still spoken for, before they are looked for
SESSIONS_MAX = 16  # that one owner has here; a handle has one at a time


class Owner(Hashable, Protocol):
    """The near end of a session: a handle in this process, or a client's link. name: that it goes by in the group.

    There may be very many: what one of them says must not cost more for the others.
    """

    @property
    def name(self) -> str: ...

    def report(self, report: Report) -> None:
        """Take a report; must not block."""
        ...


class Desk:
    """The sessions that are spoken for at this replica."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._applied = 0
        self._owners = Owned[int, Owner]()
        self._opening = Owned[tuple[str, bytes], Owner]()  # name and nonce -> who asked: another may copy a nonce
        self._early: dict[Owner, int] = {}  # who spoke for a session whose opening is not applied here yet

    def submit(self, owner: Owner, entries: Iterable[Submittable]) -> tuple[Submittable, ...]:
        """Take what an owner wants in the log; returns what the replica must see to.

        Raises `RemoteProtocolError` for another's session, before anything is taken.
        """
        entries = tuple(entries)
        for entry in entries:
            self._check(owner, entry)
        self._check_room(owner, {entry.nonce for entry in entries if isinstance(entry, SessionAsked)})
        told: dict[int, int] = {}  # session -> up to where it was answered: once is enough
        return tuple(entry for entry in entries if not self._settle(owner, entry, told))

    def route(self, reports: Iterable[Report], applied: int) -> None:
        """Hand out what applying up to the index `applied` told."""
        self._applied = applied
        for report in reports:
            owner = self._owner_of(report)
            if owner is not None:
                owner.report(report)
        if self._early:
            self._call_back()

    def installed(self, sessions: Sessions, applied: int) -> None:
        """A snapshot has taken the place of what was to be applied; what that would have told is asked for again."""
        self._sessions = sessions
        self._applied = applied
        self._call_back()
        self.lost()

    def lost(self) -> None:
        """What was on its way to the leader may be lost."""
        for owner in dict.fromkeys((*self._owners.owners, *self._opening.owners)):
            owner.report(Resend())

    def leave(self, owner: Owner) -> None:
        """This owner is gone; its sessions stay until they expire, or are spoken for elsewhere."""
        self._owners.leave(owner)
        self._opening.leave(owner)
        self._early.pop(owner, None)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def _check(self, owner: Owner, entry: Submittable) -> None:
        if isinstance(entry, SessionAsked):
            of = entry.owner
        else:
            session = self._sessions.get(entry.session)
            of = session.owner if session else owner.name
        if of != owner.name:
            raise RemoteProtocolError(f"{owner.name} speaks for a session of {of}")

    def _check_room(self, owner: Owner, nonces: set[bytes]) -> None:
        if nonces:
            asked = {nonce for _, nonce in self._opening.of(owner)}
            count = len(asked | nonces) + len(self._owners.of(owner))
            if count > SESSIONS_MAX:
                raise RemoteProtocolError(f"{owner.name} asks for {count} sessions here")

    def _settle(self, owner: Owner, entry: Submittable, told: dict[int, int]) -> bool:
        """Can this be answered from what is applied here, or is it too early to say?"""
        if isinstance(entry, SessionAsked):
            self._opening.give((entry.owner, entry.nonce), owner)
            return False
        session = self._sessions.get(entry.session)
        if session is None:
            self._miss(owner, entry)
            return True
        if isinstance(entry, SessionEnded):
            self._owners.pop(entry.session)
            return False
        self._owners.give(entry.session, owner)
        return isinstance(entry, Commands) and self._answer(owner, session, entry, told)

    def _miss(self, owner: Owner, entry: Submittable) -> None:
        """A session that is not there: any more, or not yet."""
        if isinstance(entry, SessionAsked | SessionEnded):
            return
        if entry.session > self._applied:
            self._early[owner] = entry.session
        else:
            owner.report(Expired(entry.session))

    def _answer(self, owner: Owner, session: Session, entry: Commands, told: dict[int, int]) -> bool:
        """Was all of it applied? Then what is remembered of it is told."""
        last = entry.number + entry.count - 1
        if last > session.last:
            return False
        first, outcomes = session.remembered(max(entry.number, told.get(entry.session, 0) + 1), last)
        if outcomes:
            told[entry.session] = last
            owner.report(Answers(entry.session, first, outcomes))
        return True

    # -- what goes out ---------------------------------------------------------------------------------------------

    def _owner_of(self, report: Report) -> Owner | None:
        if isinstance(report, Opened):
            owner = self._opening.pop((report.owner, report.nonce))
            if owner is not None and report.session is not None:
                self._owners.give(report.session, owner)
                self._tidy()
            return owner
        if isinstance(report, Resend):
            return None
        if isinstance(report, Expired):
            return self._owners.pop(report.session)
        return self._owners.get(report.session)

    def _tidy(self) -> None:
        """Sessions that nobody speaks for any more expire without a word: forget them before they are many."""
        if len(self._owners) > len(self._sessions) + FORGOTTEN_MAX:
            self._owners.retain(lambda session: self._sessions.get(session) is not None)

    def _call_back(self) -> None:
        """Whose session is there now: what it said too early is to be said again."""
        ready = [owner for owner, session in self._early.items() if session <= self._applied]
        for owner in ready:
            del self._early[owner]
        for owner in ready:
            owner.report(Resend())
