"""Once-only commands (rules 18, 19; Ongaro 2014, 6.3).

A session numbers its commands 1, 2, 3... and each number is applied once, in order, whoever leads and however often it
was sent. The table is replicated state: every change to it comes from the log, and time is log time.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from actors._protocol.errors import invariant
from broadcast._protocol.crashes import Undos


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
    OVERLOADED = 8
    QUERIED = 9
    """No command, but a query that was answered at this place (rule 20). Its answer is packed as one that applied."""


ANSWERS_SIZE_MAX = 64 * 1024 * 1024
"""Bytes of answers that a session may leave unacknowledged before further commands of it are not applied. Agreed."""


@dataclass(slots=True)
class Session:
    """One submitter. `answers` holds those of the numbers `acknowledged + 1 .. last`, `size` bytes in all."""

    owner: str
    touched: int
    """Log time it was last heard of, in microseconds."""
    last: int = 0
    """The number of the last command that has an answer."""
    acknowledged: int = 0
    answers: list[bytes] = field(default_factory=list[bytes])
    nonce: bytes = b""
    """What it was asked for under."""
    undos: Undos | None = None
    """None if it had nothing undone."""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.answers))

    @property
    def room(self) -> int:
        """For the answers of further commands, in bytes: for one as long as there is any."""
        return ANSWERS_SIZE_MAX - self.size

    def acknowledge(self, number: int) -> None:
        """The owner has the answers up to `number`: forget them."""
        if number > self.acknowledged:
            number = min(number, self.last)
            forgotten = number - self.acknowledged
            self.size -= sum(map(len, self.answers[:forgotten]))
            del self.answers[:forgotten]
            self.acknowledged = number

    def answered(self, answers: Sequence[bytes]) -> None:
        """The next numbers have these outcomes, as they are kept for who asks again."""
        self.last += len(answers)
        self.size += sum(map(len, answers))
        self.answers.extend(answers)

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
        self._sessions = OrderedDict[int, Session]()  # of a dict, what stood before the first is still walked over
        self._by_nonce: dict[tuple[str, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[tuple[int, Session]]:
        return iter(self._sessions.items())

    def get(self, session: int) -> Session | None:
        return self._sessions.get(session)

    def open(self, session: int, nonce: bytes, owner: str, time: int) -> int | None:
        """A session begins; its id is the index of its entry. None if there is no room: nothing is evicted.

        Asked for once more under the same nonce, as who has heard nothing does, it is the session that began before.
        """
        invariant(session not in self._sessions, "an index opens one session", session=session)
        before = self._by_nonce.get((owner, nonce))
        if before is not None:
            self.touch(before, time)
            return before
        if len(self._sessions) >= self._max:
            return None
        self._sessions[session] = Session(owner, time, nonce=nonce)
        self._by_nonce[owner, nonce] = session
        return session

    def touch(self, session: int, time: int) -> Session | None:
        """It was heard of; None if it has expired."""
        found = self._sessions.get(session)
        if found is not None:
            found.touched = time
            self._sessions.move_to_end(session)
        return found

    def end(self, session: int) -> Session | None:
        """Remove it; returns what it was, if it was there."""
        ended = self._sessions.pop(session, None)
        if ended is not None:
            del self._by_nonce[ended.owner, ended.nonce]
        return ended

    def expire(self, time: int) -> list[tuple[int, Session]]:
        """Remove those whose term has passed at log time `time`; returns them."""
        expired: list[tuple[int, Session]] = []
        for number, session in self._sessions.items():
            if session.touched + self._term > time:
                break
            expired.append((number, session))
        for number, _ in expired:
            self.end(number)
        return expired

    def renew(self, time: int) -> None:
        """A new epoch began: every session has its full term again (rule 12)."""
        for session in self._sessions.values():
            session.touched = time

    def restore(self, sessions: Iterable[tuple[int, Session]]) -> None:
        """Replace all, in the order given."""
        self._sessions = OrderedDict(sessions)
        self._by_nonce = {(session.owner, session.nonce): number for number, session in self._sessions.items()}
