"""Once-only commands (rules 18, 19; Ongaro 2014, 6.3).

A session numbers its commands 1, 2, 3... and each number is applied once, in order, whoever leads and however often it
was sent. The table is replicated state: every change to it comes from the log, and time is log time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from actors._protocol.errors import invariant


class Outcome(enum.IntEnum):
    """What became of an entry: agreed, and stored as long as the entry (rule 9)."""

    APPLIED = 0
    REFUSED = 1
    CRASHED = 2
    INVALID = 3
    VOID = 4
    DUPLICATE = 5
    GAP = 6
    EXPIRED = 7


@dataclass(slots=True)
class Session:
    """One submitter. `answers` holds those of the numbers `acknowledged + 1 .. last`."""

    owner: str
    touched: int
    """Log time it was last heard of, in microseconds."""
    last: int = 0
    """The number of the last command that was applied."""
    acknowledged: int = 0
    answers: list[bytes] = field(default_factory=list[bytes])

    def acknowledge(self, number: int) -> None:
        """The owner has the answers up to `number`: forget them."""
        if number > self.acknowledged:
            number = min(number, self.last)
            del self.answers[: number - self.acknowledged]
            self.acknowledged = number

    def answered(self, answer: bytes) -> None:
        """The next number was applied."""
        self.last += 1
        self.answers.append(answer)

    def remembered(self, first: int, last: int) -> tuple[int, list[bytes]]:
        """The answers of `first .. last` that are still here, and the number of the first of them."""
        start = max(first, self.acknowledged + 1)
        end = min(last, self.last)
        return start, self.answers[start - self.acknowledged - 1 : max(end - self.acknowledged, 0)]


class Sessions:
    """All sessions of a group, the one heard of longest ago first."""

    def __init__(self, *, term: int, sessions_max: int) -> None:
        """`term`: a session not heard of for this long has expired; log time, microseconds."""
        self._term = term
        self._max = sessions_max
        self._sessions: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[tuple[int, Session]]:
        return iter(self._sessions.items())

    def get(self, session: int) -> Session | None:
        return self._sessions.get(session)

    def open(self, session: int, owner: str, time: int) -> bool:
        """A session begins; its id is the index of its entry. False if there is no room: nothing is evicted."""
        invariant(session not in self._sessions, "an index opens one session", session=session)
        if len(self._sessions) >= self._max:
            return False
        self._sessions[session] = Session(owner, time)
        return True

    def touch(self, session: int, time: int) -> Session | None:
        """It was heard of; None if it has expired."""
        found = self._sessions.pop(session, None)
        if found is not None:
            found.touched = time
            self._sessions[session] = found
        return found

    def end(self, session: int) -> None:
        self._sessions.pop(session, None)

    def expire(self, time: int) -> list[int]:
        """Remove those whose term has passed at log time `time`; returns their ids."""
        expired: list[int] = []
        for number, session in self._sessions.items():
            if session.touched + self._term > time:
                break
            expired.append(number)
        for number in expired:
            del self._sessions[number]
        return expired

    def renew(self, time: int) -> None:
        """A new epoch began: every session has its full term again (rule 12)."""
        for session in self._sessions.values():
            session.touched = time

    def restore(self, sessions: Iterable[tuple[int, Session]]) -> None:
        """Replace all, in the order given."""
        self._sessions = dict(sessions)
