"""Many commands without a task each: sent one after another, answered in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

import outcome
import trio

from actors._actor import Actor, Marked
from actors._interface import Interface, Method
from broadcast._handle import Handle
from broadcast._outcomes import open_outcomes
from broadcast._takers import Taker

A_contra = TypeVar("A_contra", bound=Actor, contravariant=True)
TURNS = 64
"""Sends after which other tasks get their turn, and answers that are opened in one: a turn for each would cost as much
as all the rest."""

P = ParamSpec("P")
T = TypeVar("T")


class Pipeline(Generic[A_contra]):
    """Commands in flight, and a window that bounds those whose answer has not been read.

    `async with group.pipeline(window=10_000) as pipe:` begins; leaving waits until every command has an outcome.
    Iterate over it for the answers, in order: in a task beside the one that sends, or after at most a window of them.
    The iteration ends with the last answer once `end` was called; whoever stops reading before that calls `end` too, or
    the window fills, and `send` waits. Each answer is an `outcome.Value` or `outcome.Error`:
    `unwrap()` gives the value or raises the error, so that one refused command does not hide the answers behind it.
    """

    def __init__(self, handle: Handle, interface: Interface, window: int) -> None:
        if not isinstance(window, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # not everybody checks types
            raise TypeError(f"a pipeline's window is a number of commands, not {window!r}")
        if window < 1:
            raise ValueError(f"a pipeline's window is at least 1, not {window}")
        self.window = window
        self._handle = handle
        self._interface = interface
        self._sent = 0
        self._answered = 0
        self._taken = 0
        self._settled: Taker = self._settle
        self._methods: deque[Method] = deque()  # of all whose outcome was not opened
        self._outcomes: deque[bytes | BaseException] = deque()
        self._opened: deque[outcome.Value[object] | outcome.Error] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._full = False  # does somebody wait for room in the window?
        self._reading = False
        self._ended = False
        self._turns = 0

    async def send(self, method: Marked[A_contra, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Take a command in; waits while the window is full of commands whose answer was not read."""
        if self._ended:
            self._check_open()
        asked = self._interface.method_for(method)
        if asked.kind != "command":
            raise TypeError(f"{asked.label} is a query, and a pipeline carries commands: use ask")
        call = asked.pack(args, kwargs)
        self._turns += 1
        if self._turns % TURNS:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
            self._check_open()
        while (full := self._sent - self._taken >= self.window) or not self._handle.offer(asked, call, self._settled):
            await self._wait(full=full)
        self._sent += 1
        self._methods.append(asked)

    async def _wait(self, *, full: bool) -> None:
        """Until there may be room: in the window, if that is `full`, or with the handle."""
        if full and not self._reading and self._answered == self._sent:
            raise RuntimeError(
                f"the window of {self.window} is full of answers that nobody reads: iterate over the pipeline in "
                "another task, or use tell if the answers do not matter"
            )
        self._full = self._full or full
        await (self._changed.park() if full else self._handle.room())
        self._check_open()

    def _check_open(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("this pipeline has ended")

    def end(self) -> None:
        """Nothing more will be sent: whoever iterates comes to an end after the last answer."""
        self._ended = True
        self._changed.unpark_all()
        self._handle.look_again()

    def __aiter__(self) -> Pipeline[A_contra]:
        self._reading = True
        return self

    async def __anext__(self) -> outcome.Value[object] | outcome.Error:
        self._reading = True
        if self._opened:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        while not self._opened:  # somebody else who iterates may have had them
            if self._outcomes:
                self._open()
            elif self._ended and self._taken == self._sent:
                raise StopAsyncIteration
            else:
                await self._changed.park()
        self._taken += 1
        if self._full:
            self._full = False
            self._changed.unpark_all()
        return self._opened.popleft()

    def _open(self) -> None:
        """Of the outcomes that have come the next few, which are of one method."""
        method, results = self._methods[0], list[bytes | BaseException]()
        while self._outcomes and len(results) < TURNS and self._methods[0] is method:
            results.append(self._outcomes.popleft())
            self._methods.popleft()
        self._opened.extend(open_outcomes(method, results))

    def _settle(self, results: Sequence[bytes | BaseException]) -> None:
        self._answered += len(results)
        self._outcomes.extend(results)  # they come in the order in which they were sent
        if self._changed:
            self._changed.unpark_all()

    async def __aenter__(self) -> Pipeline[A_contra]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until every command has an outcome, unless the body failed."""
        try:
            while kind is None and self._answered < self._sent:
                await self._changed.park()
        finally:
            self.end()
