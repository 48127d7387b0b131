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
from actors._protocol.errors import InvalidMessage, Overloaded, TooLarge, invariant
from broadcast._consistency import Consistency
from broadcast._errors import GroupClosed, SessionExpired
from broadcast._log import log
from broadcast._outcomes import unpack_outcome
from broadcast._protocol.entries import Submittable
from broadcast._protocol.reports import Report
from broadcast._protocol.submitter import Submitter, Unknown
from membership._protocol.view import Limits

OUTSTANDING_MAX = 16_384  # commands of one handle that may be under way; beyond it askers wait their turn

Taker = Callable[["bytes | BaseException"], None]
"""Gets an encoded outcome, or why there is none."""


def monotonic() -> int:
    """Trio's clock in microseconds."""
    return int(trio.current_time() * 1_000_000)


class Way(Protocol):
    """The way from a handle to the group: a replica in this process, or a link to one."""

    def submit(self, entries: Sequence[Submittable]) -> None:
        """Carry these. What is lost on the way is reported, or sent again in time."""
        ...

    def read(self, number: int, call: bytes, *, local: bool) -> None:
        """Run a query, linearizable unless `local`; answered by `Handle.answer(number, outcome)`, once, if at all."""
        ...

    def give_up(self, number: int) -> None:
        """Nobody waits for this query any more."""
        ...


class Handle:
    """One session of one group."""

    def __init__(self, *, owner: str, nonce: bytes, clock: LamportClock, limits: Limits) -> None:
        self.limits = limits
        self._submitter = Submitter(owner=owner, nonce=nonce, term=limits.session_term, now=monotonic())
        self.clock = clock
        self._way: Way | None = None
        self._takers: dict[int, Taker] = {}  # ticket -> who waits
        self._reads: dict[int, tuple[bytes, bool, Taker]] = {}  # number -> (call, local, who waits)
        self._read_number = 0
        self._told = 0  # told, and without an outcome
        self._wake = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self._settled = trio.lowlevel.ParkingLot()
        self._closed: BaseException | None = None

    # -- asking ----------------------------------------------------------------------------------------------------

    async def ask(
        self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object], consistency: Consistency
    ) -> object:
        """Send a message, and wait for its outcome, for as long as the caller's scope allows.

        consistency: of a query; a command has no choice.
        """
        call = self._pack(method, args, kwargs)
        if method.kind == "query":
            return unpack_outcome(method, await self._query(call, local=consistency is Consistency.LOCAL))
        await self._wait_room()
        waiter = _Waiter()
        ticket = self._offer(call, waiter)

        def give_up() -> None:
            self._takers.pop(ticket, None)
            self._submitter.withdraw(ticket)

        return unpack_outcome(method, await waiter.wait(give_up))

    async def tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Take a message into the session; from there it is applied once, or reported in the log if that is unknown."""
        if method.kind == "query":
            raise InvalidMessage(f"{method.label} is a query, and to tell it would come to nothing: ask it")
        call = self._pack(method, args, kwargs)
        await self._wait_room()
        self._told += 1
        self._offer(call, _Told(method, self._tell_answered))
        await trio.lowlevel.checkpoint_if_cancelled()

    async def offer(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object], taker: Taker) -> None:
        """Take a message into the session; `taker` gets its outcome."""
        call = self._pack(method, args, kwargs)
        await self._wait_room()
        self._offer(call, taker)

    async def drained(self) -> None:
        """Wait until everything that was told has an outcome."""
        while self._told:
            self._check_open()
            await self._settled.park()

    def _tell_answered(self) -> None:
        self._told -= 1

    def _pack(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        self._check_open()
        call = method.pack(args, kwargs)
        if len(call) > self.limits.command_size_max:
            raise TooLarge(f"the message {method.label}", len(call), self.limits.command_size_max)
        return call

    def _offer(self, call: bytes, taker: Taker) -> int:
        idle = self._submitter.outstanding == 0
        ticket = self._submitter.offer(call)
        self._takers[ticket] = taker
        if idle:
            self._pump()
        else:
            self._wake.set()
        return ticket

    async def _wait_room(self) -> None:
        while self._submitter.outstanding >= min(OUTSTANDING_MAX, self.limits.answers_max):
            self._wake.set()
            await self._room.park()
            self._check_open()

    def check_room(self) -> None:
        """Raise `Overloaded` if a command would have to wait for its turn."""
        if self._submitter.outstanding >= OUTSTANDING_MAX:
            raise Overloaded(f"{self._submitter.outstanding} commands of this handle are under way")

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _query(self, call: bytes, *, local: bool) -> bytes:
        """A read, after the earlier commands of this handle (rule 20); a local one waits for nothing."""
        waiting_for = 0 if local else self._submitter.offered
        while self._submitter.answered < waiting_for:
            await self._settled.park()
            self._check_open()
        self._read_number += 1
        number = self._read_number
        waiter = _Waiter()
        self._reads[number] = (call, local, waiter)
        if self._way is not None:
            self._way.read(number, call, local=local)

        def give_up() -> None:
            self._reads.pop(number, None)
            if self._way is not None:
                self._way.give_up(number)

        return await waiter.wait(give_up)

    def answer(self, number: int, result: bytes) -> None:
        """The outcome of a query has come."""
        found = self._reads.pop(number, None)
        if found is not None:
            found[2](result)

    # -- what comes back -------------------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """A replica tells what became of something."""
        self._submitter.receive(report, monotonic())
        self._hand_out()
        self._wake.set()

    def take_way(self, way: Way | None) -> None:
        """From now on this is the way to the group; what was under way on the old one may be lost."""
        self._way = way
        if way is not None:
            self._submitter.lost()
            for number, (call, local, _) in list(self._reads.items()):
                way.read(number, call, local=local)
            self._pump()

    def close(self) -> None:
        """Whoever still waits is told that the outcome is unknown."""
        if self._closed is None:
            self._submitter.end()
            self._pump()
            self._fail(GroupClosed("this handle of the group was closed while an answer was awaited"))

    def _fail(self, error: BaseException) -> None:
        self._closed = error
        takers = [*self._takers.values(), *(taker for _, _, taker in self._reads.values())]
        self._takers.clear()
        self._reads.clear()
        for taker in takers:
            taker(error)
        self._room.unpark_all()
        self._settled.unpark_all()

    def _check_open(self) -> None:
        if self._closed is not None:
            raise GroupClosed("this handle of the group is closed")

    def _hand_out(self) -> None:
        results = self._submitter.take_results()
        if not results:
            return
        for result in results:
            if isinstance(result, Unknown):
                error = SessionExpired(
                    "the group forgot this session (it was away for longer than "
                    f"{self.limits.session_term / 1e6:g} s) while the command was under way"
                )
                for ticket in range(result.first, result.last + 1):
                    self._take(ticket, error)
            else:
                self._take(result.ticket, result.outcome)
        self._settled.unpark_all()
        self._room.unpark_all()

    def _take(self, ticket: int, result: bytes | BaseException) -> None:
        taker = self._takers.pop(ticket, None)
        if taker is not None:
            taker(result)

    # -- what goes out ---------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what is due."""
        if self._way is not None:
            entries = self._submitter.take(self.clock.tick(), monotonic())
            if entries:
                self._way.submit(entries)

    async def run(self) -> None:
        """Send what waits, and again what is overdue. Until cancelled."""
        while True:
            deadline = self._submitter.deadline / 1_000_000
            with trio.move_on_at(deadline):
                await self._wake.wait()
            self._wake = trio.Event()
            self._submitter.tick(monotonic())
            self._pump()


class _Waiter:
    """One task waits for one result, with one wake-up."""

    __slots__ = ("_result", "_task")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._result: bytes | BaseException | None = None

    def __call__(self, result: bytes | BaseException) -> None:
        self._result = result
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self, give_up: Callable[[], None]) -> bytes:
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

    def __call__(self, result: bytes | BaseException) -> None:
        self._answered()
        try:
            if isinstance(result, BaseException):
                raise result
            unpack_outcome(self._method, result)
        except Exception as error:  # told to whoever reads the log: that is what tell promises
            log.warning("told command failed", command=self._method.label, error=repr(error))
