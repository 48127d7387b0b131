"""The thread that writes: one for each disk, so that the replicas' tasks never wait for it.

What was submitted while it was writing goes into its next transaction, so that the cost of a sync is shared
(group commit), and a sync that hangs holds up nothing but what depends on it. What it has done travels back
through a queue and an event descriptor that a task of Trio waits on: about half of what a hand-over by
`trio.to_thread` costs, and one wake-up for each transaction, however many writes it held.

Python runs one thread at a time. So the writer is given its work when Trio has none left, and is about to wait: woken
sooner, it would wait for the interpreter, then Trio for it, and both would pay for being woken twice.

No write happens after the scope of the writer has ended (P26): leaving it waits for the thread, shielded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeVar

import trio

from broadcast._protocol.output import Persist
from broadcast._storage import Disk, DiskFailed, DiskFull, Snapshots, Stored

T = TypeVar("T")

RETRY_INTERVAL = 0.25  # seconds between attempts while the disk is full
JOINED_SIZE_MAX = 2**20  # bytes of batches after which a transaction is not made larger


@dataclass(frozen=True, slots=True)
class Reports:
    """What a group wants to hear of its writes. Called in Trio's thread; must neither block nor raise.

    completed(number): everything up to and including `Persist(number)` is durable.
    delayed(reason): there is no room; what was submitted stays queued, and is tried until it fits. Said once
        until a write succeeds again. For the group a full disk is just a slow disk.
    failed(error): the disk failed; nothing more will be completed.
    """

    completed: Callable[[int], None]
    delayed: Callable[[str], None]
    failed: Callable[[DiskFailed], None]


@dataclass(frozen=True, slots=True)
class _Write:
    group: str
    persist: Persist

    @property
    def size(self) -> int:
        return sum(batch.size for batch in self.persist.batches)


@dataclass(frozen=True, slots=True)
class _Call:
    """A function to run in the thread.

    Whoever gets hold of `claim` first decides: the thread, which then runs it, or the cancelled caller, who
    takes it back.
    """

    run: Callable[[], None]
    claim: threading.Lock = field(default_factory=threading.Lock)
    done: trio.Event = field(default_factory=trio.Event)


@dataclass(frozen=True, slots=True)
class _End:
    """The last thing in the queue."""


class _Turn(trio.abc.Instrument):
    """What was submitted in this turn of Trio's scheduler: for the thread at its end."""

    def __init__(self, jobs: SimpleQueue[_Write | _Call | _End]) -> None:
        self._jobs = jobs
        self._writes: list[_Write] = []

    def add(self, write: _Write) -> None:
        """For the end of the turn."""
        self._writes.append(write)

    def put(self, job: _Call | _End) -> None:
        """For the thread now, after what was submitted before."""
        self.before_io_wait()
        self._jobs.put(job)

    def before_io_wait(self, timeout: float = 0) -> None:
        """The turn is over (see `trio.abc.Instrument`)."""
        for write in self._writes:
            self._jobs.put(write)
        self._writes.clear()


class Writer:
    """Writes what is submitted, in its order. Made by `open_writer`, and used in Trio's thread."""

    def __init__(self, disk: Disk) -> None:
        self._reports: dict[str, Reports | None] = {}  # by group; None while it is being opened
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ended = False
        self._thread = _Thread(disk, self)
        self._turn = _Turn(self._thread.jobs)

    async def open_group(self, group: str, reports: Reports) -> Stored:
        """Read a group, or begin it; from then on its reports are made. Raises as `Disk.open_group` does.

        DiskFailed too, if a write has failed before: whoever was told of that may have left.
        ValueError: the group is open, or being opened; it stays as it is.
        """
        if group in self._reports:
            raise ValueError(
                f"the group {group!r} is open on this node already: join it once, and share what that gives"
            )
        self._reports[group] = None
        try:
            return await self.call(self._open_group, group, reports)
        except BaseException:
            self.forget_group(group)
            raise

    def _open_group(self, group: str, reports: Reports) -> Stored:
        """In the writer's thread, so that the group hears of all that the thread does from here on, and of no more."""
        if self._thread.failure is not None:
            raise self._thread.failure
        stored = self._thread.disk.open_group(group)
        self.tell(partial(self._reports.__setitem__, group, reports))
        return stored

    async def snapshots(self, group: str) -> Snapshots:
        """The snapshots of a group that is open."""
        return await self.call(self._thread.disk.snapshots, group)

    def forget_group(self, group: str) -> None:
        """Make no more reports for this group. What it submitted is still written; it may be opened again."""
        self._reports.pop(group, None)

    def submit(self, group: str, persist: Persist) -> None:
        """Have this written; answered by `completed`, in time. Never blocks.

        The queue is bounded by its users: a replica has only so much in flight. Once the writer has ended, with its
        node, nothing is written and nothing answered: who submits has not heard yet that it is to stop.
        """
        if not self._ended:
            self._turn.add(_Write(group, persist))

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function in the writer's thread, after what was submitted before, and return what it returns.

        Cancelled before the function has begun, it never does; later, the cancellation waits for its end.
        trio.ClosedResourceError: the writer has ended, with its node.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._ended:
            raise trio.ClosedResourceError("the node is closing, and its disk is written no more")
        answers: list[Callable[[], T]] = []

        def run() -> None:
            try:
                result = function(*arguments)
            except BaseException as error:  # raised at the caller, whatever it is
                answers.append(partial(_raise, error))
            else:
                answers.append(lambda: result)

        call = _Call(run)
        self._turn.put(call)
        try:
            await call.done.wait()
        except trio.Cancelled:
            if not call.claim.acquire(blocking=False):
                with trio.CancelScope(shield=True):
                    await call.done.wait()
            raise
        return answers[0]()

    # -- reports: told in the writer's thread, made in Trio's --------------------------------------------

    def tell(self, report: Callable[[], None]) -> None:
        """Have a report made in Trio's thread. For the writer's thread."""
        self._done.put(report)
        os.eventfd_write(self._wake, 1)

    def completed(self, numbers: dict[str, int]) -> None:
        """The highest number that is durable, by group."""
        for group, number in numbers.items():
            if (reports := self._reports.get(group)) is not None:
                reports.completed(number)

    def delayed(self, groups: list[str], reason: str) -> None:
        """These groups' writes wait for room."""
        for group in groups:
            if (reports := self._reports.get(group)) is not None:
                reports.delayed(reason)

    def failed(self, error: DiskFailed) -> None:
        """The disk takes no more writes."""
        for reports in list(self._reports.values()):
            if reports is not None:
                reports.failed(error)

    async def make_reports(self) -> None:
        """Until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._wake)
            os.eventfd_read(self._wake)
            self._make_waiting_reports()

    def _make_waiting_reports(self) -> None:
        while True:
            try:
                report = self._done.get_nowait()
            except Empty:
                return
            report()

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        trio.lowlevel.add_instrument(self._turn)

    async def end(self) -> None:
        """Wait until all that was submitted is written (on a full disk: given up), and the disk is closed."""
        self._ended = True
        self._thread.ending.set()
        self._turn.put(_End())
        trio.lowlevel.remove_instrument(self._turn)
        await trio.to_thread.run_sync(self._thread.join)
        self._make_waiting_reports()

    def close(self) -> None:
        os.close(self._wake)


class _Thread:
    """Joins what is queued, writes it, tells of it. Runs until it meets `_End`, whatever the disk does."""

    def __init__(self, disk: Disk, writer: Writer) -> None:
        self._thread = threading.Thread(target=self._run, name="troupe-writer", daemon=False)
        self.disk = disk
        self.jobs: SimpleQueue[_Write | _Call | _End] = SimpleQueue()
        self.ending = threading.Event()
        self._writer = writer
        self._joined: list[_Write] = []
        self._then: _Call | _End | None = None
        self._delayed: dict[str, None] = {}  # the groups told that the disk is full, in order
        self.failure: DiskFailed | None = None
        self._stopped = False  # nothing is written any more: the disk failed, or was full in the end

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            while not isinstance(self._then, _End):
                self._take()
                self._write()
                self._perform()
        except BaseException as error:  # a bug of ours: let it stop the node, in Trio's thread
            self._writer.tell(partial(_raise, error))
        finally:
            self._close()

    def _take(self) -> None:
        """Join what is queued, up to what is no write. Waits for the first, or for the time of a retry."""
        if self._delayed:
            self.ending.wait(RETRY_INTERVAL)
        size = 0
        while self._then is None and (size < JOINED_SIZE_MAX or self._delayed):
            try:
                job = self.jobs.get(block=not self._joined)
            except Empty:
                return
            if isinstance(job, _Write):
                self._joined.append(job)
                size += job.size
            else:
                self._then = job

    def _write(self) -> None:
        if not self._joined or self._stopped:
            self._joined.clear()
            return
        try:
            self.disk.write([(write.group, write.persist) for write in self._joined])
        except DiskFull as full:
            self._delay(str(full))
        except DiskFailed as error:
            self._stop(error)
        else:
            numbers = {write.group: write.persist.number for write in self._joined}
            self._writer.tell(partial(self._writer.completed, numbers))
            self._joined.clear()
            self._delayed.clear()
            self._tend()

    def _delay(self, reason: str) -> None:
        if self.ending.is_set():  # nobody is left to wait for room, and what comes after this must not be without it
            self._joined.clear()
            self._stopped = True
            return
        untold = [group for group in dict.fromkeys(write.group for write in self._joined) if group not in self._delayed]
        if untold:
            self._delayed.update(dict.fromkeys(untold))
            self._writer.tell(partial(self._writer.delayed, untold, reason))

    def _tend(self) -> None:
        try:
            self.disk.tend()
        except DiskFailed as error:
            self._stop(error)

    def _stop(self, error: DiskFailed) -> None:
        self._stopped = True
        self.failure = error
        self._joined.clear()
        self._delayed.clear()
        self._writer.tell(partial(self._writer.failed, error))

    def _perform(self) -> None:
        """Run the call that came after the writes, unless these still wait or its caller took it back."""
        call = self._then
        if not isinstance(call, _Call):
            return
        if call.claim.locked():
            self._then = None
        elif not self._joined and call.claim.acquire(blocking=False):
            self._then = None
            call.run()
            self._writer.tell(call.done.set)

    def _close(self) -> None:
        try:
            self.disk.close()
        except DiskFailed as error:
            self._writer.tell(partial(self._writer.failed, error))


def _raise(error: BaseException) -> NoReturn:
    raise error


@asynccontextmanager
async def open_writer(disk: Disk) -> AsyncGenerator[Writer, None]:
    """A writer for this disk, which it closes in the end.

    Leaving waits, shielded, until all that was submitted is written; on a full disk what waits is given up.
    """
    with closing(Writer(disk)) as writer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.make_reports)
            writer.start()
            try:
                yield writer
            finally:
                with trio.CancelScope(shield=True):
                    await writer.end()
                nursery.cancel_scope.cancel()
