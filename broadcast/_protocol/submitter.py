"""The owner's side of a session: numbers, resending, and what may be said about an outcome (rules 18, 19, 22).

One handle is one session. Calls are numbered in the order they were offered, and travel in runs. What is not answered
is sent again when the leader changes, when the way to it was lost, when a replica names a gap, or after long silence.
The table of sessions sees to it that each number is applied once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from actors._protocol.codec import join_array
from actors._protocol.errors import invariant
from broadcast._protocol.entries import VOID, Commands, SessionAsked, SessionEnded, SessionKept, Submittable
from broadcast._protocol.reports import Answers, Kept, Missing, Opened, Report, Resend

RUN_COUNT_MAX = 1_000  # commands in one run
RUN_SIZE_MAX = 256 * 1024  # bytes of calls in one run; a single larger call still makes one
SILENCE_MIN = 1_000_000  # microseconds without an answer before sending again unasked; doubles up to SILENCE_MAX
SILENCE_MAX = 16_000_000
KEEPS_PER_TERM = 4
FAR = 2**62  # no deadline


@dataclass(slots=True)
class Run:
    """Commands that were sent and are not all answered."""

    first: int
    count: int
    calls: bytes
    size: int

    @property
    def last(self) -> int:
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of the ticket is known."""

    ticket: int
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """These tickets' outcome will never be known: their session expired while they were under way."""

    first: int
    last: int


class Submitter:
    """One session, from its owner's side. Pure: the caller sends what `take` returns, and calls `tick` at `deadline`.

    A *ticket* is the place of a call in the order of offering, 1, 2, 3..., over the handle's whole life. Inside one
    session ticket and request number differ by a constant; when an expired session is reopened, numbers begin again.
    """

    def __init__(self, *, owner: str, nonce: bytes, term: int, now: int) -> None:
        """`nonce`: 16 random bytes of this handle. `term`: of a session, in microseconds."""
        self.owner = owner
        self.session: int | None = None
        self.full = False
        """The group has no room for another session; asked again until it has."""
        self._nonce = nonce
        self._generation = 0
        self._term = term
        self._tickets = 0
        self._answered = 0  # the last ticket whose outcome was handed out
        self._offset = 0  # ticket = request number + offset
        self._unsent: deque[bytes] = deque()
        self._runs: deque[Run] = deque()
        self._attempt = 0
        self._silence = SILENCE_MIN
        self._patient_until: int | None = None  # when what is under way counts as lost
        self._confirmed_at = now  # when the session was last known to be there
        self._keep_at = now  # when to keep it alive next
        self._probing = False  # nothing new is sent until it is known whether the session is still there
        self._opening = False
        self._ending = False
        self._resend = False
        self._outgoing: list[Submittable] = []
        self._results: list[Answered | Unknown] = []

    # -- what the owner asks and does ------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Calls offered and not answered."""
        return self._tickets - self._answered

    @property
    def offered(self) -> int:
        """The last ticket given out."""
        return self._tickets

    @property
    def answered(self) -> int:
        """The last ticket whose outcome is known; those of all before it are too."""
        return self._answered

    @property
    def unsent(self) -> int:
        """Calls that were offered and have never been sent."""
        return len(self._unsent)

    @property
    def deadline(self) -> int:
        """When `tick` is due."""
        if self.session is None:
            return self._patient_until if self._patient_until is not None else FAR
        return self._keep_at if self._patient_until is None else min(self._keep_at, self._patient_until)

    def offer(self, call: bytes) -> int:
        """Take a call into the session; returns its ticket."""
        self._tickets += 1
        self._unsent.append(call)
        return self._tickets

    def withdraw(self, ticket: int) -> bool:
        """Give up a call. True if it had not been sent: it becomes void, and is definitely never applied."""
        at = ticket - (self._tickets - len(self._unsent)) - 1
        if at < 0:
            return False
        self._unsent[at] = VOID
        return True

    def end(self) -> None:
        """The owner is done; the session is forgotten at the other end."""
        if self.session is not None:
            self._outgoing.append(SessionEnded(self.session))
        self._ending = True

    def lost(self) -> None:
        """What was sent may be lost: the leader changed, or the way to it was cut. Everything is sent again."""
        self._opening = self._probing = False
        self._patient_until = None
        self._resend = True

    def tick(self, now: int) -> None:
        """Time has passed."""
        if self._patient_until is not None and now >= self._patient_until:
            self._silence = min(2 * self._silence, SILENCE_MAX)
            self.lost()
        if self.session is not None and now >= self._keep_at:
            self._keep_at = now + self._term // KEEPS_PER_TERM
            self._outgoing.append(SessionKept(self.session))

    # -- what comes back -------------------------------------------------------------------------------------------

    def receive(self, report: Report, now: int) -> None:
        """A replica tells what became of something this session sent."""
        if isinstance(report, Opened):
            self._on_opened(report, now)
        elif isinstance(report, Resend):
            self.lost()
        elif report.session != self.session:
            return
        elif isinstance(report, Answers):
            self._on_answers(report, now)
        elif isinstance(report, Missing):
            if report.attempt == self._attempt and self._runs:
                self._resend = True
        elif isinstance(report, Kept):
            self._confirm(now)
        else:
            self._on_expired()

    def take_results(self) -> list[Answered | Unknown]:
        """Outcomes that became known, in the order of tickets."""
        results, self._results = self._results, []
        return results

    def _on_opened(self, report: Opened, now: int) -> None:
        if report.nonce != self._current_nonce or self.session is not None:
            return
        if report.session is None:
            self.full = True
            return  # asked again after a while
        self.full = False
        self.session = report.session
        self._opening = False
        self._patient_until = None
        self._silence = SILENCE_MIN
        self._offset = self._answered
        self._confirm(now)

    def _confirm(self, now: int) -> None:
        """The session is there, as of now."""
        self._confirmed_at = now
        self._keep_at = now + self._term // KEEPS_PER_TERM
        if self._probing:
            self._probing = False
            self._patient_until = None

    def _on_answers(self, report: Answers, now: int) -> None:
        self._confirm(now)
        done = self._answered - self._offset
        last = report.number + len(report.outcomes) - 1
        if last <= done:
            return
        if report.number > done + 1:
            self._resend = True  # answers before these were lost on their way here
            return
        for outcome in report.outcomes[done + 1 - report.number :]:
            self._answered += 1
            self._results.append(Answered(self._answered, outcome))
        invariant(self._answered <= self._tickets, "only what was asked is answered", answered=self._answered)
        while self._runs and self._runs[0].last <= last:
            self._runs.popleft()
        self._silence = SILENCE_MIN
        self._patient_until = now + self._silence if self._runs else None

    def _on_expired(self) -> None:
        """Nothing of it was applied on that attempt, but an earlier attempt may have been (rule 19)."""
        if self._runs:
            last = self._runs[-1].last + self._offset
            self._results.append(Unknown(self._answered + 1, last))
            self._answered = last
        self.session = None
        self._runs.clear()
        self._opening = self._resend = self._probing = False
        self._patient_until = None
        self._generation += 1

    # -- what goes out ---------------------------------------------------------------------------------------------

    @property
    def _current_nonce(self) -> bytes:
        """Each opening of this handle has a nonce of its own."""
        return self._nonce[:8] + (int.from_bytes(self._nonce[8:]) + self._generation & (2**64 - 1)).to_bytes(8)

    def take(self, stamp: int, now: int) -> list[Submittable]:
        """What to send now. `stamp`: our Lamport counter."""
        outgoing, self._outgoing = self._outgoing, []
        if self.session is None:
            if self._unsent and not self._opening and not self._ending:
                self._opening = True
                self._patient_until = now + self._silence
                outgoing.append(SessionAsked(self._current_nonce, self.owner))
            return outgoing
        if self._resend:
            self._resend = False
            self._attempt += 1
            outgoing.extend(self._commands(run, stamp) for run in self._runs)
        if self._unsent and not self._runs and now - self._confirmed_at > self._term // 2:
            return outgoing + self._probe(now)
        while self._unsent:
            run = self._next_run()
            self._runs.append(run)
            outgoing.append(self._commands(run, stamp))
        if self._runs and (outgoing or self._patient_until is None):
            self._patient_until = now + self._silence
        return outgoing

    def _probe(self, now: int) -> list[Submittable]:
        """After long silence the session may have expired: ask, so that what was never sent is not put in doubt."""
        if self._probing or self.session is None:
            return []
        self._probing = True
        self._patient_until = now + self._silence
        return [SessionKept(self.session)]

    def _next_run(self) -> Run:
        calls: list[bytes] = []
        size = 0
        while (
            self._unsent and len(calls) < RUN_COUNT_MAX and (not calls or size + len(self._unsent[0]) <= RUN_SIZE_MAX)
        ):
            calls.append(self._unsent.popleft())
            size += len(calls[-1])
        first = self._runs[-1].last + 1 if self._runs else self._answered - self._offset + 1
        return Run(first, len(calls), join_array(calls), size)

    def _commands(self, run: Run, stamp: int) -> Commands:
        session = self.session
        invariant(session is not None, "commands travel in a session")
        return Commands(
            session=session or 0,
            number=run.first,
            count=run.count,
            acknowledged=self._answered - self._offset,
            attempt=self._attempt,
            stamp=stamp,
            calls=run.calls,
        )
