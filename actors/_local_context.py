"""What an actor on a node may know about its message, and do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import trio

from actors._context import Context
from actors._interface import Method
from actors._log import Log
from actors._message import Message
from actors._protocol.clock import Timestamp
from actors._protocol.errors import OutcomeUnknown, Rejected

if TYPE_CHECKING:
    from actors._actor import Actor, Marked
    from actors._cell import Cell
    from actors._cells import Watch
    from actors._node import Node
    from actors._ref import ActorRef, End, Ref
    from actors._spawning import Spawner
    from actors._supervision import Supervision

P = ParamSpec("P")
A = TypeVar("A", bound="Actor")

_log = Log("troupe.actors")


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
        self.effects: list[Callable[[], Awaitable[None]]] = []

    # -- of the cell ------------------------------------------------------------------------------------------------

    def begin_message(self, message: Message) -> None:
        """Move on to the next message."""
        self._message = message
        self.sender = message.sender
        self._active = True

    def enter(self) -> None:
        """`lifespan` is entered, or left."""
        self._message = None
        self.sender = ""
        self._active = True

    async def deliver(self) -> None:
        """Do what is to be done. Cancelled: what was not done is still to be."""
        while self.effects:
            await self.effects[0]()
            del self.effects[0]

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
        self._take(partial(self._tell, ref, asked, asked.carry(args, kwargs, self._cell.cells)))

    def after(self, seconds: float, method: Marked[Any, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        asked = self._cell.interface.method_for(method)
        arguments = asked.carry(args, kwargs, self._cell.cells)
        self._take(partial(self._run, self._tell_after, seconds, asked, arguments))

    def watch(self, ref: ActorRef[Any], method: Marked[Any, [End], object]) -> None:
        asked = self._cell.interface.method_for(method)
        self._take(partial(self._watch, ref, asked))

    def stop(self) -> None:
        self._cell.begin_stop()

    # -- effects ----------------------------------------------------------------------------------------------------

    def _take(self, effect: Callable[[], Awaitable[None]]) -> None:
        self.effects.append(effect)
        if self._cell.message is None:
            self._cell.wake()

    async def _tell(self, ref: Ref[Any], method: Method, arguments: tuple[object, ...]) -> None:
        try:
            await ref._tell(method, arguments, {})  # pyright: ignore[reportPrivateUsage]
        except (Rejected, OutcomeUnknown) as error:
            self._cell.cells.dead_letter(str(ref), method, self._cell.address, str(error))

    async def _run(self, errand: Callable[..., Awaitable[None]], *args: object) -> None:
        self._cell.run_errand(errand, *args)

    async def _tell_after(self, seconds: float, method: Method, arguments: tuple[object, ...]) -> None:
        await trio.sleep(seconds)
        cells, address = self._cell.cells, self._cell.address
        try:
            await cells.deliver(self._cell, cells.message(method, arguments, address))
        except Rejected as error:
            cells.dead_letter(address, method, address, str(error))

    async def _watch(self, ref: ActorRef[Any], method: Method) -> None:
        self._cell.run_errand(self._tell_end, ref, method, self._cell.cells.begin_watch(ref))

    async def _tell_end(self, ref: ActorRef[Any], method: Method, watch: Watch | None) -> None:
        end = await ref.watch() if watch is None else await watch.wait()
        arguments = method.carry((end,), {}, self._cell.cells)
        self._cell.queue.put_control(self._cell.cells.message(method, arguments, end.address))
        self._cell.wake()
