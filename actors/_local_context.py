"""What an actor on a node may know about its message, and do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import trio

from actors._context import Context, checked_seconds
from actors._interface import Method
from actors._log import Log
from actors._message import Message
from actors._protocol.clock import Timestamp
from actors._protocol.errors import ActorStopped, OutcomeUnknown, Rejected
from actors._ref import ActorRef, Ref

if TYPE_CHECKING:
    from actors._actor import Actor, Marked
    from actors._cell import Cell
    from actors._cells import Watch
    from actors._node import Node
    from actors._ref import End
    from actors._spawning import Spawner
    from actors._supervision import Supervision

P = ParamSpec("P")
A = TypeVar("A", bound="Actor")

_log = Log("troupe.actors")


class _Telling(NamedTuple):
    """A message to be sent. arguments: a copy, as they are sent."""

    ref: Ref[Any]
    method: Method
    arguments: tuple[object, ...]


def _tellings(effects: Iterable[_Telling | Callable[[], None]]) -> Iterator[_Telling]:
    return (effect for effect in effects if isinstance(effect, _Telling))


class LocalContext(Context):
    """Of the messages, and of the lifespan, of an actor on a node.

    effects: what to do, in its order, before the next message is handled.
    """

    __slots__ = ("_cell", "_message", "effects")

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.version = cell.interface.actor.version
        self.sender = ""
        self._position = None
        self._random_ready = False
        self._cell = cell
        self._message: Message | None = None
        self.effects: list[_Telling | Callable[[], None]] = []

    # -- of the cell ------------------------------------------------------------------------------------------------

    def begin_message(self, message: Message) -> None:
        """Move on to the next message."""
        self._message = message
        self.sender = message.sender
        self._active = True

    def enter(self) -> int:
        """`lifespan` is entered, or left. How many effects there are from before?"""
        self._message = None
        self.sender = ""
        self._active = True
        return len(self.effects)

    async def deliver(self) -> None:
        """Do what is to be done. Cancelled: what was not done is still to be."""
        while self.effects:
            effect = self.effects[0]
            if isinstance(effect, _Telling):
                await self._tell(effect)
            else:
                effect()
            del self.effects[0]

    def take_back(self, before: int) -> None:
        """`lifespan` could not be entered, or left: what came after so many effects does not happen."""
        del self.effects[before:]

    async def take_leave(self, before: int) -> None:
        """`lifespan` was left, or not entered: send what was told meanwhile, after so many effects. Cancelled: now, or
        not at all."""
        last = deque(_tellings(self.effects[before:]))
        del self.effects[before:]
        try:
            while last:
                await self._tell(last[0])
                last.popleft()
        except trio.Cancelled:  # it is raised again, wherever that is still of account
            for telling in last:
                self._tell_now(telling)

    def end_life(self) -> None:
        """What is still to be told is told in the next life; timers and watches end with this one."""
        self.effects = [*_tellings(self.effects)]

    def give_up(self) -> None:
        """The actor has ended: what is still to be told is told to nobody."""
        for telling in _tellings(self.effects):
            self._lose(telling, self._cell.stopped())
        self.effects.clear()

    # -- of the actor -----------------------------------------------------------------------------------------------

    @property
    def timestamp(self) -> Timestamp:
        message = self._message
        if message is None:
            clock = self._cell.cells.node.clock
            return Timestamp(clock.counter, clock.node)
        return Timestamp(message.counter, message.node)

    @property
    def time(self) -> datetime:
        return datetime.now(UTC)

    @property
    def node(self) -> Node:
        return self._cell.cells.node

    def ref(self, actor: type[A]) -> ActorRef[A]:
        return self._cell.cells.ref(self._cell.address, actor)

    async def spawn(self, name: str, actor: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> ActorRef[A]:
        return await self._cell.cells.spawner(self._cell, None).spawn(name, actor, *args, **kwargs)

    def supervised(self, policy: Supervision) -> Spawner:
        return self._cell.cells.spawner(self._cell, policy)

    def tell(self, ref: Ref[A], method: Marked[A, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        asked = ref.interface.method_for(method)
        self._take(_Telling(ref, asked, asked.carry(args, kwargs, self._cell.cells)))

    def after(self, seconds: float, method: Marked[Any, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        seconds = checked_seconds(seconds)
        asked = self._cell.interface.method_for(method)
        arguments = asked.carry(args, kwargs, self._cell.cells)
        self._take(partial(self._cell.run_errand, self._tell_after, seconds, asked, arguments))

    def watch(self, ref: ActorRef[Any], method: Marked[Any, [End], object]) -> None:
        asked = self._cell.interface.method_for(method)
        self._take(partial(self._watch, ref, asked))

    def stop(self) -> None:
        self._cell.begin_stop()

    # -- effects ----------------------------------------------------------------------------------------------------

    def _take(self, effect: _Telling | Callable[[], None]) -> None:
        self.effects.append(effect)
        if self._cell.message is None:
            self._cell.wake()

    async def _tell(self, telling: _Telling) -> None:
        ref = telling.ref
        if isinstance(ref, ActorRef) and ref.node != self._cell.cells.node.name:
            self._tell_now(telling)  # without a link this would hold the actor up for as long as a peer is away
            return
        try:
            await ref._tell(telling.method, telling.arguments, {})  # pyright: ignore[reportPrivateUsage]
        except (Rejected, OutcomeUnknown) as error:
            self._lose(telling, error)

    def _tell_now(self, telling: _Telling) -> None:
        """Where it would have to wait, it is lost."""
        ref = telling.ref
        try:
            if not isinstance(ref, ActorRef):
                raise ActorStopped(f"{self._cell.address} has ended, and no group takes anything at once")
            ref._at().tell_nowait(ref, telling.method, telling.arguments, {})  # pyright: ignore[reportPrivateUsage]
        except (Rejected, OutcomeUnknown) as error:
            self._lose(telling, error)

    def _lose(self, telling: _Telling, error: Exception) -> None:
        self._cell.cells.dead_letter(str(telling.ref), telling.method, self._cell.address, str(error))

    async def _tell_after(self, seconds: float, method: Method, arguments: tuple[object, ...]) -> None:
        await trio.sleep(seconds)
        cells, address = self._cell.cells, self._cell.address
        try:
            await cells.deliver(self._cell, cells.message(method, arguments, address))
        except Rejected as error:
            cells.dead_letter(address, method, address, str(error))

    def _watch(self, ref: ActorRef[Any], method: Method) -> None:
        self._cell.run_errand(self._tell_end, ref, method, self._cell.cells.begin_watch(ref))

    async def _tell_end(self, ref: ActorRef[Any], method: Method, watch: Watch | None) -> None:
        end = await ref.watch() if watch is None else await watch.wait()
        arguments = method.carry((end,), {}, self._cell.cells)
        self._cell.queue.put_control(self._cell.cells.message(method, arguments, end.address))
        self._cell.wake()
