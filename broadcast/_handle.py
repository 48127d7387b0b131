"""A handle: one session, from the calls of its tasks to the way that leads to the group (rules 18, 19, 20).

Tasks offer calls and wait; the submitter numbers and repeats; a *way* carries. A lone call leaves at once. While others
are under way, calls that come in the same round of the scheduler leave as one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from actors._interface import Method
from actors._protocol.clock import LamportClock
from actors._protocol.errors import InvalidMessage, TooLarge, invariant
from broadcast._delivery import Order
from broadcast._errors import AnswerNotKept, GroupClosed, SessionExpired
from broadcast._log import log
from broadcast._outcomes import open_outcome
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.entries import Submittable
from broadcast._protocol.queries import Queries, Query
from broadcast._protocol.reports import Report
from broadcast._protocol.submitter import Submitter, Unknown
from broadcast._takers import Taker, Takers
from membership._protocol.view import Limits

SILENCES_MAX = 2  # after so many in a row, another way may be better


def monotonic() -> int:
    """Trio's clock in microseconds."""
    return round(trio.current_time() * 1_000_000)  # at n / 1_000_000 seconds it is n, whatever floats make of it


class Way(Protocol):
    """The way from a handle to the group: a replica in this process, or a link to one."""

    def submit(self, entries: Sequence[Submittable]) -> None:
        """Carry these. What is lost on the way is reported, or sent again in time."""
        ...

    def read(self, queries: Sequence[Query]) -> None:
        """Run these, each at its level; each is answered by `Handle.answer`, once, if at all."""
        ...

    def give_up(self, number: int) -> None:
        """Nobody waits for this query any more."""
        ...

    def fruitless(self) -> None:
        """Nothing came of what was sent, again and again: another way may be better."""
        ...


class Handle:
    """One session of one group. Takes calls at once, and begins to carry them with the first way."""

    def __init__(self, *, group: str, owner: str, nonce: bytes, clock: LamportClock, order: Order) -> None:
        """group, owner: the names of the group, and of who speaks by this handle."""
        self.group = group
        self.name = owner
        self.clock = clock
        self.order = order
        self.limits: Limits | None = None
        """Of the group; None until the first way has led to it."""
        self._submitter = Submitter(owner=owner, nonce=nonce)
        self._queries = Queries()
        self._way: Way | None = None
        self._takers = Takers()  # of commands, by ticket
        self._readers: dict[int, Taker] = {}  # number of a query -> who waits
        self._told = 0  # told, and without an outcome
        self._late: list[Report] = []  # that came while something was being sent
        self._sending = False
        self._full = False  # was it said that the group has no room for this session?
        self._wake = trio.Event()
        self._sleeps_until = 0
        self._room = trio.lowlevel.ParkingLot()  # who waits for room for a command, or for a way
        self._reading_room = trio.lowlevel.ParkingLot()  # and for a query
        self._settled = trio.lowlevel.ParkingLot()
        self._closed = False
        self._taking_size_max = -1  # of the calls that are taken in; less than any while it is none

    # -- asking ----------------------------------------------------------------------------------------------------

    async def ask(
        self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object], consistency: Consistency
    ) -> object:
        """Send a message, and wait for its outcome, for as long as the caller's scope allows.

        consistency: of a query; a command has no choice. Raises ValueError for a level that the group does not have.
        """
        call = method.pack(args, kwargs)
        waiter = _Waiter()
        if method.kind == "query" and consistency is not Consistency.LOG:
            number = await self._query(method, call, waiter, consistency)
            return open_outcome(method, await waiter.wait(lambda: self._give_up(number)))
        ticket = await self._offer(method, call, waiter)
        return open_outcome(method, await waiter.wait(lambda: self._submitter.withdraw(ticket)))

    async def tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Take a message into the session; from there it is applied once, or reported in the log if that is unknown."""
        if method.kind == "query":
            raise InvalidMessage(f"{method.label} is a query, and to tell it would come to nothing: ask it")
        call = method.pack(args, kwargs)
        await trio.lowlevel.checkpoint()
        await self._offer(method, call, _Told(method, self._tell_answered))
        self._told += 1

    def offer(self, method: Method, call: bytes, taker: Taker) -> int:
        """Take a message into the session; `taker` gets its outcome, but not before this has returned.

        Returns its ticket, or 0 if there is no room: wait for `room`, and try again. Raises what stands against it.
        """
        if len(call) > self._taking_size_max and not self._takes(method, call):
            return 0
        ticket = self._submitter.offer(call)
        if not ticket:
            return 0
        self._takers.add(taker)
        if self._submitter.outstanding > 1:
            self._wake.set()  # it leaves with what else comes in this round
        else:
            self._pump()
        return ticket

    async def room(self) -> None:
        """Wait until there may be some, or somebody says to look again."""
        await self._room.park()

    def look_again(self) -> None:
        """Something has changed for one of those who wait for room."""
        self._room.unpark_all()

    async def drained(self) -> None:
        """Wait until everything that was told has an outcome."""
        while self._told:
            self._check_open()
            await self._settled.park()

    def _tell_answered(self) -> None:
        self._told -= 1

    async def _offer(self, method: Method, call: bytes, taker: Taker) -> int:
        """Returns the ticket. Nothing is taken in if this is cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not (ticket := self.offer(method, call, taker)):
            await self._room.park()
        return ticket

    def _takes(self, method: Method, call: bytes) -> bool:
        """May this call be taken in? False while no way has led to the group yet. Raises what stands against it."""
        self._check_open()
        if self.limits is None:
            return False
        if len(call) > self.limits.command_size_max:
            raise TooLarge(f"the message {method.label}", len(call), self.limits.command_size_max)
        return True

    # -- reading ---------------------------------------------------------------------------------------------------

    def check_level(self, consistency: Consistency) -> None:
        """Raise ValueError for a level that this group does not have, if that is known by now."""
        if consistency is Consistency.LEASE and self.limits is not None and not self.limits.leases:
            raise ValueError(
                "reading(Consistency.LEASE): this group was formed without leases. Form it with limits=Limits(leases="
                "True), the same for all members (see there what that takes for granted); or read LINEARIZABLE"
            )

    def saw(self, index: int) -> None:
        """A replica whose state is that of this index is about to answer something."""
        self._queries.saw(index)

    async def _query(self, method: Method, call: bytes, taker: Taker, consistency: Consistency) -> int:
        """A read, after the earlier commands of this handle (rule 20); a local one waits for nothing. Its number."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waiting_for = 0 if consistency is Consistency.LOCAL else self._submitter.offered
        while self._submitter.answered < waiting_for:
            self._check_open()
            await self._settled.park()
        while not self._takes(method, call) or not self._queries.has_room(call):
            await self._reading_room.park()
        self.check_level(consistency)
        idle = self._queries.outstanding == 0
        number = self._queries.ask(call, consistency)
        self._readers[number] = taker
        if idle:
            self._pump()
        else:
            self._wake.set()
        return number

    def _give_up(self, number: int) -> None:
        self._readers.pop(number, None)
        if self._queries.give_up(number) and self._way is not None:
            self._way.give_up(number)
        self._reading_room.unpark(count=self._queries.room)

    def answer(self, number: int, result: bytes) -> None:
        """The outcome of a query has come."""
        if self._queries.answered(number, monotonic()):
            self._readers.pop(number)([result])
            self._sleep_no_longer()
            if self._reading_room:
                self._reading_room.unpark(count=self._queries.room)

    # -- what comes back -------------------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """A replica tells what became of something. Raises `RemoteProtocolError` for what cannot be."""
        if self._sending:  # told at once, by who knew already: but nobody is called back while he still calls
            self._late.append(report)
            self._wake.set()
            return
        self._submitter.receive(report, monotonic())
        self._hand_out()
        if self._submitter.full and not self._full:
            log.warning("the group has no room for another session; still trying", client=self.name)
        self._full = self._submitter.full
        if self._submitter.is_due:
            self._wake.set()

    def take_way(self, way: Way, cluster: bytes, limits: Limits) -> None:
        """From now on this is the way to the group; what was under way on another may be lost.

        cluster: the group's id. limits: that it agreed on.
        """
        self._way = way
        self.limits = limits
        if not self._closed:
            self._taking_size_max = limits.command_size_max
        self._submitter.enter(cluster, term=limits.session_term, window=limits.answers_max, now=monotonic())
        self._hand_out()
        self._queries.enter(cluster)
        self._room.unpark_all()
        self._reading_room.unpark_all()
        self._pump()

    def lose_way(self) -> None:
        """There is no way to the group at present."""
        self._way = None

    def close(self) -> None:
        """Whoever still waits is told that the outcome is unknown."""
        if self._closed:
            return
        self._submitter.end()
        self._pump()
        self._closed = True
        self._taking_size_max = -1
        error = GroupClosed(
            f"this handle of the group {self.group} was closed while an answer was awaited: what was asked may have "
            "been applied. Open another handle, and look, before asking for it again"
        )
        self._takers.give_up(error)
        readers, self._readers = list(self._readers.values()), {}
        for taker in readers:
            taker([error])
        self._room.unpark_all()
        self._reading_room.unpark_all()
        self._settled.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise GroupClosed(f"this handle of the group {self.group} is closed; nothing was sent: open another one")

    def _hand_out(self) -> None:
        results = self._submitter.take_results()
        if not results:
            return
        for result in results:
            if isinstance(result, Unknown):
                error = SessionExpired(
                    f"the group {self.group} forgot this session while the command was under way: it was not heard of "
                    "for longer than the session's term (Limits.session_term), or the group was formed anew. The "
                    "command may have been applied: look before asking for it again"
                )
                self._takers.hand_out([error] * (result.last + 1 - result.first))
            else:
                self._takers.hand_out(result.outcomes)
        self._settled.unpark_all()
        self._room.unpark(count=self._submitter.room)

    # -- what goes out ---------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what is due."""
        if self._way is None or self._closed or self._sending:
            return
        now = monotonic()
        self._sending = True
        try:
            queries = self._queries.take(now) if self._queries.outstanding else ()
            if queries:
                self._way.read(queries)
            entries = self._submitter.take(self.clock.tick(), now)
            if entries:
                self._way.submit(entries)
        finally:
            self._sending = False
        self._sleep_no_longer()

    def _sleep_no_longer(self) -> None:
        """Than until what is due by now."""
        if self._deadline < self._sleeps_until:
            self._wake.set()

    @property
    def _deadline(self) -> int:
        return min(self._submitter.deadline, self._queries.deadline)

    async def run(self) -> None:
        """Send what waits, and again what is overdue. Until cancelled."""
        while True:
            self._sleeps_until = self._deadline
            with trio.move_on_at(self._sleeps_until / 1_000_000):
                await self._wake.wait()
            self._wake = trio.Event()
            late, self._late = self._late, []
            for report in late:
                self.report(report)
            self._submitter.tick(monotonic())
            self._queries.tick(monotonic())
            if self._way is not None and max(self._submitter.silences, self._queries.silences) >= SILENCES_MAX:
                self._way.fruitless()
            self._pump()


class _Waiter:
    """One task waits for one result, with one wake-up."""

    __slots__ = ("_result", "_task")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._result: bytes | BaseException | None = None

    def __call__(self, results: Sequence[bytes | BaseException]) -> None:
        (self._result,) = results
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self, give_up: Callable[[], object]) -> bytes:
        """The result; `give_up` is called when this is cancelled before there is one."""
        if self._result is None:

            def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
                self._task = None
                give_up()
                return trio.lowlevel.Abort.SUCCEEDED

            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            await trio.lowlevel.checkpoint()
        if isinstance(self._result, BaseException):
            raise self._result
        invariant(self._result is not None, "who is woken has a result")
        return self._result or b""


class _Told:
    """Nobody waits: what went wrong is said in the log."""

    __slots__ = ("_answered", "_method")

    def __init__(self, method: Method, answered: Callable[[], None]) -> None:
        self._method = method
        self._answered = answered

    def __call__(self, results: Sequence[bytes | BaseException]) -> None:
        (result,) = results
        self._answered()
        try:
            if isinstance(result, BaseException):
                raise result
            open_outcome(self._method, result)
        except AnswerNotKept:
            return  # it was applied, and nobody waits for what it answered
        except Exception as error:  # told to whoever reads the log: that is what tell promises
            log.warning("told command failed", command=self._method.label, error=repr(error))
