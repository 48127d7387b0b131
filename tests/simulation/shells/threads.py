"""Threads that run only while Trio's loop stands still, and wait only for what happens in the loop.

They are real threads, so that the code that runs in them is the product's; but one is let go only by the loop, which
then waits for it to end or to wait. So virtual time stands still while a thread runs, and one seed gives one order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from queue import Empty
from random import Random
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import outcome
import trio

T = TypeVar("T")
Wait = Callable[[], Awaitable[Any]]

_current = threading.local()


class Abandoned(BaseException):
    """The history is over, and this thread was not."""


class Fibre:
    """One thread, in turns with the loop."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._mine = threading.Lock()  # each is held until it is the other's turn
        self._loops = threading.Lock()
        self._mine.acquire()
        self._loops.acquire()
        self._wait: Wait | None = None
        self._answer: object = None
        self._failure: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._main, daemon=True)

    async def drive(self) -> None:
        """In the loop: until the thread has ended. Raises what it raised. Cancelled, it ends at once."""
        self._thread.start()
        wait = self._turn()
        while wait is not None:
            try:
                self._answer = await wait()
            except trio.Cancelled:
                self._abandoned = True
                raise
            finally:
                self._mine.release()
                wait = self._turn()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _turn(self) -> Wait | None:
        self._loops.acquire()
        return self._wait

    def wait(self, wait: Wait) -> Any:
        """In the thread: have this awaited in the loop."""
        if not self._abandoned:
            self._wait = wait
            self._loops.release()
            self._mine.acquire()
        if self._abandoned:
            raise Abandoned
        return self._answer

    def _main(self) -> None:
        _current.fibre = self
        try:
            self._run()
        except BaseException as error:
            self._failure = error
        finally:
            self._wait = None
            self._loops.release()


def in_loop(wait: Wait) -> Any:
    """In a thread: wait for something that happens in the loop."""
    return _current.fibre.wait(wait)


def sleep(seconds: float) -> None:
    """In a thread."""
    in_loop(partial(trio.sleep, seconds))


class Queue(Generic[T]):
    """In the place of `queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiting = trio.lowlevel.ParkingLot()

    def put(self, item: T) -> None:
        self._items.append(item)
        if self._waiting:
            self._waiting.unpark_all()

    def get(self, block: bool = True) -> T:
        while not self._items:
            if not block:
                raise Empty
            in_loop(self._waiting.park)
        return self._items.popleft()

    def get_nowait(self) -> T:
        return self.get(block=False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class Event:
    """In the place of `threading.Event`."""

    def __init__(self) -> None:
        self._set = False
        self._waiting = trio.lowlevel.ParkingLot()

    def set(self) -> None:
        self._set = True
        self._waiting.unpark_all()

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            in_loop(partial(self._wait, timeout))
        return self._set

    async def _wait(self, timeout: float | None) -> None:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            await self._waiting.park()


class Threads:
    """All the threads of a history. modules: what takes the place of `threading` and `trio.to_thread.run_sync`."""

    def __init__(self, nursery: trio.Nursery, chance: Random) -> None:
        self._nursery = nursery
        self._chance = chance
        self._drivers: dict[trio.CancelScope, None] = {}

    @property
    def threading(self) -> SimpleNamespace:
        return SimpleNamespace(Thread=partial(Thread, self), Event=Event, Lock=threading.Lock)

    def start(self, fibre: Fibre, ended: Event) -> None:
        self._nursery.start_soon(self._drive, fibre, ended)

    async def _drive(self, fibre: Fibre, ended: Event) -> None:
        with trio.CancelScope(shield=True) as scope:
            self._drivers[scope] = None
            try:
                await fibre.drive()
            finally:
                del self._drivers[scope]
                ended.set()

    @property
    def running(self) -> int:
        """Threads that have not ended."""
        return len(self._drivers)

    def abandon(self) -> None:
        """End those that still run."""
        for scope in self._drivers:
            scope.cancel()

    async def run_sync(self, function: Callable[..., T], *arguments: object, **_options: object) -> T:
        """As `trio.to_thread.run_sync`, which a cancellation does not cut short."""
        await trio.lowlevel.checkpoint_if_cancelled()
        results: list[outcome.Outcome[T]] = []
        fibre = Fibre(lambda: results.append(outcome.capture(function, *arguments)))
        with trio.CancelScope(shield=True):
            await trio.sleep(self._chance.uniform(0, 0.001))
            await fibre.drive()
        return results[0].unwrap()


class Thread:
    """In the place of `threading.Thread`."""

    def __init__(
        self, threads: Threads, *, target: Callable[[], object], name: str | None = None, daemon: bool | None = None
    ) -> None:
        self._threads = threads
        self._fibre = Fibre(target)
        self._ended = Event()

    def start(self) -> None:
        self._threads.start(self._fibre, self._ended)

    def join(self) -> None:
        self._ended.wait()
