"""The owner's side of a session: numbers, resending, and what may be said about an outcome (rules 18, 19, 22).

One handle is one session. Calls are numbered in the order they were offered, and travel in runs. What is not answered
is sent again when the leader changes, when the way to it was lost, when a replica names a gap, or after long silence.
The table of sessions sees to it that each number is applied once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from actors._protocol.codec import join_array
from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.entries import VOID, Commands, SessionAsked, SessionEnded, SessionKept, Submittable
from broadcast._protocol.patience import FAR, Patience
from broadcast._protocol.reports import Answers, Kept, Missing, Opened, Report, Resend
from membership._protocol.view import Limits

RUN_COUNT_MAX = 1_000  # commands in one run
RUN_SIZE_MAX = 256 * 1024  # bytes of calls in one run; a single larger call still makes one
UNDER_WAY_SIZE_MAX = 16 * 1024 * 1024  # bytes of calls that were sent and are not answered; a larger run goes alone
OUTSTANDING_MAX = 16_384  # commands that are held; beyond it who asks waits for a turn
OUTSTANDING_SIZE_MAX = 64 * 1024 * 1024  # and bytes of them; a single larger one is held alone
KEEPS_PER_TERM = 4
UNACKNOWLEDGED_SIZE_MAX = 1024 * 1024  # bytes of answers with which an idle session does not wait until it is kept


def check_run(run: Commands, limits: Limits) -> None:
    """Raise `RemoteProtocolError` for commands that no submitter of this group sends together."""
    if run.count > RUN_COUNT_MAX or run.count >= len(run.calls):
        raise RemoteProtocolError(f"a run of {run.count} commands in {len(run.calls)} bytes")
    if len(run.calls) > max(RUN_SIZE_MAX, limits.command_size_max) + 1024:
        raise RemoteProtocolError(f"a run of {len(run.calls)} bytes, beyond the group's limits")
    if run.number + run.count - 1 - run.acknowledged > limits.answers_max:
        raise RemoteProtocolError("more commands under way in one session than the group allows")


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
    """The outcomes of the tickets `first, first + 1, ...` are known."""

    first: int
    outcomes: list[bytes]


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

    def __init__(self, *, owner: str, nonce: bytes) -> None:
        """`nonce`: 16 random bytes of this handle."""
        self.owner = owner
        self.session: int | None = None
        self.full = False
        """The group has no room for another session; asked again until it has."""
        self._nonce = nonce
        self._generation = 0
        self._cluster = b""  # that the session belongs to
        self._term = 0
        self._window = 0
        self._tickets = 0
        self._answered = 0  # the last ticket whose outcome was handed out
        self._offset = 0  # ticket = request number + offset
        self._unsent: deque[bytes] = deque()
        self._runs: deque[Run] = deque()
        self._unsent_size = 0
        self._runs_size = 0
        self._attempt = 0
        self._patience = Patience()  # with what is under way
        self._confirmed_at = 0  # when the session was last known to be there
        self._keep_at = FAR  # when to keep it alive next
        self._keeping = False  # it is time to
        self._unacknowledged_size = 0  # bytes of answers that came since we told what had: not in a copy, see `Copies`
        self._kept_size = 0  # bytes of them that what keeps the session has told of, as soon as it is heard
        self._probing = False  # nothing new is sent until it is known whether the session is still there
        self._opening = False
        self._ending = False
        self._resend = False
        self._results: list[Answered | Unknown] = []

    # -- what the owner asks and does ------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Calls offered and not answered."""
        return self._tickets - self._answered

    @property
    def room(self) -> int:
        """How many more may be offered, as far as their number goes; at least one has a chance."""
        return max(OUTSTANDING_MAX - self.outstanding, 1)

    @property
    def offered(self) -> int:
        """The last ticket given out."""
        return self._tickets

    @property
    def answered(self) -> int:
        """The last ticket whose outcome is known; those of all before it are too."""
        return self._answered

    @property
    def size(self) -> int:
        """Bytes of calls that are held: offered, and not answered."""
        return self._unsent_size + self._runs_size

    @property
    def silences(self) -> int:
        """How often in a row nothing came of what was sent."""
        return self._patience.silences

    @property
    def deadline(self) -> int:
        """When `tick` is due."""
        return min(self._patience.until, self._keep_at)

    @property
    def is_due(self) -> bool:
        """May `take` have something?"""
        return self._resend or self._keeping or bool(self._unsent)

    def enter(self, cluster: bytes, *, term: int, window: int, now: int) -> None:
        """From now on there is a way, perhaps a new one: what was sent on an old one may be lost.

        cluster: the id of the group that it leads to. If it is another than before (formed anew at the same addresses),
        the old one's session is gone. term: of its sessions, in microseconds. window: answers it lets one leave open.
        """
        if cluster != self._cluster != b"":
            self._on_expired()
        self._cluster = cluster
        self._term, self._window = term, window
        self._keep_at = FAR if self.session is None else min(self._keep_at, now + term // KEEPS_PER_TERM)
        self._patience.heard()
        self.lost()

    def offer(self, call: bytes) -> int:
        """Take a call into the session. Returns its ticket, or 0 if there is no room until more is answered."""
        outstanding, size = self._tickets - self._answered, self._unsent_size + len(call)
        if outstanding and (outstanding >= OUTSTANDING_MAX or size + self._runs_size > OUTSTANDING_SIZE_MAX):
            return 0
        self._tickets += 1
        self._unsent.append(call)
        self._unsent_size = size
        return self._tickets

    def withdraw(self, ticket: int) -> bool:
        """Give up a call. True if it had not been sent: it becomes void, and is definitely never applied."""
        at = ticket - (self._tickets - len(self._unsent)) - 1
        if at < 0:
            return False
        self._unsent_size += len(VOID) - len(self._unsent[at])
        self._unsent[at] = VOID
        return True

    def end(self) -> None:
        """The owner is done: the session is forgotten at the other end, and nothing more is sent."""
        self._ending = True

    def lost(self) -> None:
        """What was sent may be lost: the leader changed, or the way to it was cut. Everything is sent again."""
        self._opening = self._probing = False
        self._patience.rest()
        self._resend = bool(self._runs)
        self._keeping = self._keeping or self._holds_much

    def tick(self, now: int) -> None:
        """Time has passed."""
        if self._patience.ends(now):
            self.lost()
        if now >= self._keep_at:
            self._keep_at = now + self._term // KEEPS_PER_TERM
            self._keeping = True

    # -- what comes back -------------------------------------------------------------------------------------------

    def receive(self, report: Report, now: int) -> None:
        """A replica tells what became of something we sent. Raises `RemoteProtocolError` for what cannot be."""
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
            self._unacknowledged_size -= self._kept_size
            self._kept_size = 0
            self._confirm(now)
        else:
            self._on_expired()

    def take_results(self) -> list[Answered | Unknown]:
        """Outcomes that became known, in the order of tickets."""
        results, self._results = self._results, []
        return results

    def _on_opened(self, report: Opened, now: int) -> None:
        if (report.owner, report.nonce) != (self.owner, self._current_nonce) or self.session is not None:
            return
        self._patience.heard()
        if report.session is None:
            self.full = True
            self._patience.begin(now)  # asked again after a while
            return
        self.full = False
        self.session = report.session
        self._opening = False
        self._offset = self._answered
        self._confirm(now)

    def _confirm(self, now: int) -> None:
        """The session is there, as of now."""
        self._confirmed_at = now
        self._keep_at = now + self._term // KEEPS_PER_TERM
        if self._probing:
            self._probing = False
            self._patience.heard()

    def _on_answers(self, report: Answers, now: int) -> None:
        done = self._answered - self._offset
        last = report.number + len(report.outcomes) - 1
        if last > (self._runs[-1].last if self._runs else done):
            raise RemoteProtocolError(f"an answer to command {last} of session {report.session}, which was not sent")
        self._confirm(now)
        if last <= done:
            return
        if report.number > done + 1:
            self._resend = True  # answers before these were lost on their way here
            return
        outcomes = report.outcomes[done + 1 - report.number :]
        self._results.append(Answered(self._answered + 1, outcomes))
        self._answered += len(outcomes)
        self._unacknowledged_size += sum(map(len, outcomes))
        while self._runs and self._runs[0].last <= last:
            self._runs_size -= self._runs.popleft().size
        self._patience.heard()
        if self._runs:
            self._patience.begin(now)
        elif self._holds_much:
            self._keeping = True

    def _on_expired(self) -> None:
        """Nothing of it was applied on that attempt, but an earlier attempt may have been (rule 19)."""
        if self._runs:
            last = self._runs[-1].last + self._offset
            self._results.append(Unknown(self._answered + 1, last))
            self._answered = last
        self.session = None
        self._runs.clear()
        self._runs_size = self._unacknowledged_size = self._kept_size = 0
        self._opening = self._resend = self._probing = self._keeping = False
        self._keep_at = FAR
        self._patience.heard()
        self._generation += 1

    # -- what goes out ---------------------------------------------------------------------------------------------

    @property
    def _current_nonce(self) -> bytes:
        """Each opening of this handle has a nonce of its own."""
        return self._nonce[:8] + (int.from_bytes(self._nonce[8:]) + self._generation & (2**64 - 1)).to_bytes(8)

    def take(self, stamp: int, now: int) -> list[Submittable]:
        """What to send now, if there is a way. `stamp`: our Lamport counter."""
        session = self.session
        if session is None:
            return self._open(now)
        if self._ending:
            return [SessionEnded(session)]
        outgoing: list[Submittable] = [self._keep(session)] if self._keeping else []
        self._keeping = False
        if self._resend:
            self._resend = False
            self._attempt += 1
            outgoing.extend(self._commands(session, run, stamp) for run in self._runs)
        if self._unsent and not self._runs and now - self._confirmed_at > self._term // 2:
            return outgoing + self._probe(session, now)
        while self._unsent and (room := self._sendable) > 0:
            run = self._next_run(room)
            self._runs.append(run)
            self._runs_size += run.size
            self._unacknowledged_size = self._kept_size = 0  # once all is answered, this was applied, and what it tells
            outgoing.append(self._commands(session, run, stamp))
        if self._runs:
            self._patience.begin(now)
        return outgoing

    def _open(self, now: int) -> list[Submittable]:
        if not self._unsent or self._opening or self._ending:
            return []
        self._opening = True
        self._patience.begin(now)
        return [SessionAsked(self._current_nonce, self.owner)]

    def _probe(self, session: int, now: int) -> list[Submittable]:
        """After long silence the session may have expired: ask, so that what was never sent is not put in doubt."""
        if self._probing:
            return []
        self._probing = True
        self._patience.begin(now)
        return [self._keep(session)]

    def _keep(self, session: int) -> SessionKept:
        self._kept_size = self._unacknowledged_size
        return SessionKept(session, self._answered - self._offset)

    @property
    def _holds_much(self) -> bool:
        """Does an idle session make every replica hold much that is here already? No command will soon say so."""
        idle = self.session is not None and not self.outstanding
        return idle and self._unacknowledged_size >= UNACKNOWLEDGED_SIZE_MAX

    @property
    def _sendable(self) -> int:
        """Commands that may be sent before more is answered."""
        if self._runs and self._runs_size + min(self._unsent_size, RUN_SIZE_MAX) > UNDER_WAY_SIZE_MAX:
            return 0
        done = self._answered - self._offset
        return self._window - (self._runs[-1].last - done if self._runs else 0)

    def _next_run(self, count_max: int) -> Run:
        calls: list[bytes] = []
        size, count_max = 0, min(count_max, RUN_COUNT_MAX, len(self._unsent))
        while len(calls) < count_max and (not calls or size + len(self._unsent[0]) <= RUN_SIZE_MAX):
            calls.append(self._unsent.popleft())
            size += len(calls[-1])
        self._unsent_size -= size
        first = self._runs[-1].last + 1 if self._runs else self._answered - self._offset + 1
        return Run(first, len(calls), join_array(calls), size)

    def _commands(self, session: int, run: Run, stamp: int) -> Commands:
        return Commands(
            session=session,
            number=run.first,
            count=run.count,
            acknowledged=self._answered - self._offset,
            attempt=self._attempt,
            stamp=stamp,
            calls=run.calls,
        )
