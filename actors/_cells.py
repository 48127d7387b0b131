"""The actors of one node: their names, the ways to them, and what becomes of messages that reach nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import trio

from actors._actor import Actor
from actors._cell import TURNS, Cell, serving
from actors._interface import Interface, Method
from actors._log import Log
from actors._message import Asker, Message, Neighbour, Question
from actors._post import Post
from actors._protocol.address import check_actor_name, check_name
from actors._protocol.codec import decode
from actors._protocol.errors import (
    ActorStopped,
    AskCycle,
    InvalidMessage,
    NoSuchActor,
    OutcomeUnknown,
    Overloaded,
    Rejected,
)
from actors._ref import ActorRef, End, Ref
from actors._supervision import Supervision, Team
from actors._waits import Waits, end_of

if TYPE_CHECKING:
    from actors._node import Node

P = ParamSpec("P")
A = TypeVar("A", bound=Actor)

DEAD_LETTER_SECONDS = 1.0
"""Between two lines in the log about dead letters, at least: what came between is counted in the next."""

WARM_MAX = 64
"""Actors that keep their task though they could rest: to start one for a message costs more than the message."""

log = Log("troupe.actors")


@dataclass(slots=True)
class ActorStatistics:
    """Counts since the node was opened.

    actors: that are there now. dead_letters: told to nobody, or to one that took it no more. dropped: for other
    messages, by full mailboxes that drop. withdrawn: asked, and not handled, as nobody waited any more.
    """

    actors: int = 0
    dead_letters: int = 0
    dropped: int = 0
    withdrawn: int = 0


class Watch:
    """Of an actor of this node. To be waited for, once."""

    def __init__(self, cells: Cells, to: ActorRef[Any]) -> None:
        self._asker = Asker(cells)
        self._cell = cells.get(to.name)
        if self._cell is None:
            self._asker.settle(End(to.address, "missing"))
        else:
            self._cell.on_end(self._asker.settle)

    async def wait(self) -> End:
        """Until it has ended."""
        try:
            return cast(End, await self._asker.wait())
        finally:
            if self._cell is not None:
                self._cell.forget_on_end(self._asker.settle)


class TeamSpawner:
    """Spawns into one team. parent: None at the top of the node."""

    def __init__(self, cells: Cells, parent: Cell | None, team: Team) -> None:
        self._cells = cells
        self._parent = parent
        self._team = team

    async def spawn(self, name: str, actor: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> ActorRef[A]:
        """See `Spawner`."""
        if not isinstance(actor, type):
            raise TypeError(f"an actor is spawned from its class and what it is made with, not from {actor!r}")
        kind = cast("type[A]", actor)
        make = partial(kind, *args, **kwargs)
        return self._cells.ref((await self._cells.spawn(self._parent, name, kind, make, self._team)).address, kind)


class Cells:
    """All actors of a node, and what refs that are used there do.

    node: whose they are. nursery: in which those at the top live. groups: what makes a reference to each of the groups
    that this node takes part in.
    """

    def __init__(self, node: Node, nursery: trio.Nursery) -> None:
        self.node = node
        self._name = node.name
        self.nursery = nursery
        self.statistics = ActorStatistics()
        self.waits = Waits(node.name, self._further)
        self.is_closed = False
        self.post = Post(self)
        self.groups: dict[str, Callable[[type[Any]], Ref[Any]]] = {}
        self._named: dict[str, Cell] = {}
        self._team = Team(lambda: nursery, None)
        self._turns = 0
        self._warm: dict[Cell, None] = {}
        self._logged_at = -DEAD_LETTER_SECONDS
        self._unlogged = 0

    # -- names ------------------------------------------------------------------------------------------------------

    def ref(self, address: str, actor: type[A]) -> ActorRef[A]:
        """A reference, used from here. address: of an actor on any node, or the name of one on this."""
        return ActorRef(address if "/" in address else f"{self.node.name}/{address}", actor, self)

    def group(self, name: str, actor: type[A]) -> Ref[A]:
        """A reference to a replicated group. Raises ValueError if this node has no part in it."""
        make = self.groups.get(name)
        if make is None:
            raise ValueError(f"node {self.node.name} takes no part in the group {name!r}, and so cannot use it")
        return make(actor)

    def get(self, name: str) -> Cell | None:
        return self._named.get(name)

    def forget(self, cell: Cell) -> None:
        """It has ended: its name is free."""
        del self._named[cell.name]
        self.statistics.dropped += cell.queue.dropped
        self.statistics.actors -= 1

    def keep_warm(self, cell: Cell) -> None:
        """Let an actor that has nothing to do keep its task, as it has worked; who has had this longest may not."""
        if cell not in self._warm:
            if len(self._warm) >= WARM_MAX:
                eldest = next(iter(self._warm))
                del self._warm[eldest]
                eldest.wake()
            self._warm[cell] = None

    def cool(self, cell: Cell) -> None:
        """It has no task any more."""
        self._warm.pop(cell, None)

    def spawner(self, parent: Cell | None, policy: Supervision | None) -> TeamSpawner:
        """Where actors are spawned, as a team of their own if there is a policy."""
        if policy is None and parent is None:
            return TeamSpawner(self, None, self._team)
        return TeamSpawner(self, parent, Team(lambda: self.nursery if parent is None else parent.nursery, policy))

    async def spawn(
        self, parent: Cell | None, name: str, actor: type[Actor], make: Callable[[], Actor], team: Team
    ) -> Cell:
        interface = Interface.of(actor)
        check_name(name)
        path = name if parent is None else check_actor_name(f"{parent.name}/{name}")
        await trio.lowlevel.checkpoint()
        if self.is_closed:
            raise ActorStopped(f"node {self.node.name} is closed")
        if parent is not None and parent.nursery is None:
            raise ActorStopped(f"{parent.address} is not alive now, and can have no children")
        if path in self._named:
            raise ValueError(f"{path!r} is taken on node {self.node.name}: stop who has it, or use another name")
        cell = self._named[path] = Cell(self, parent, path, interface, make, team)
        self.statistics.actors += 1
        if parent is not None:
            parent.adopt(cell)
        with self.waiting(cell.address):
            await cell.start()
        return cell

    def counted(self) -> ActorStatistics:
        """The counts, with those of actors that are still there."""
        dropped = sum(cell.queue.dropped for cell in self._named.values())
        return replace(self.statistics, dropped=self.statistics.dropped + dropped)

    def close(self) -> None:
        """The node closes: no message is taken from now on. Those that have a task end by its cancellation."""
        self.is_closed = True

    def end(self) -> None:
        """All tasks of the node have ended: so do the actors that had none, and whoever is outside is told."""
        self.post.close()
        for cell in reversed(list(self._named.values())):
            cell.doom()

    # -- of references (see `Here`) ---------------------------------------------------------------------------------

    async def ask(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        if to.node != self.node.name:
            await trio.lowlevel.checkpoint_if_cancelled()
            return await self.post.ask(to, method, args, kwargs)
        try:
            cell = self.living(to.name)
            own = method if cell.interface is to.interface else self._method_of(cell, method)
            arguments = own.carry(args, kwargs, self)
        except Rejected:
            await trio.lowlevel.checkpoint()
            raise
        asker = Neighbour(self, None if own is method or own.answers_like(method) else (method, to.address))
        if cell.is_free and not own.is_async:
            await trio.lowlevel.checkpoint()
            if cell.is_free:
                cell.handle_now(self.message(own, arguments, self._sender(), (), asker))
                return await asker.wait()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        chain = self.chain()
        message = self.message(own, arguments, self._sender(), chain, asker)
        if not chain and self._put(cell, message):  # nobody waits for who asks: no cycle, and nothing to note
            return await asker.wait()
        return await self._ask_in_chain(cell, message, asker)

    async def _ask_in_chain(self, cell: Cell, message: Message, asker: Neighbour) -> object:
        """For a handler, or where there is no room."""
        chain = message.chain
        if chain and (cycle := self.waits.cycle(chain, cell.address)) is not None:
            raise AskCycle(cycle)
        with self.waiting(cell.address):
            await self.deliver(cell, message)
            return await asker.wait()

    async def tell(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        self._turns += 1
        if self._turns % TURNS:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if to.node != self._name:
            await self.post.tell(to, method, args, kwargs)
            return
        cell = self._named.get(to.name)
        if cell is None or cell.closing or self.is_closed:
            self._undelivered(to, method)
            return
        if cell.interface is not to.interface:
            method = self._method_of(cell, method)
        message = Message(method, method.carry(args, kwargs, self), self._sender(), self.node.clock.tick(), self._name)
        if not self._put(cell, message):
            await self._wait_for_room(cell, message)

    def tell_nowait(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        if to.node != self.node.name:
            self.post.tell_nowait(to, method, args, kwargs)
            return
        cell = self._named.get(to.name)
        if cell is None or cell.closing or self.is_closed:
            self._undelivered(to, method)
            return
        own = self._method_of(cell, method)
        self.deliver_nowait(cell, self.message(own, own.carry(args, kwargs, self), self._sender()))

    def tell_of_group(self, group: str, to: ActorRef[Any], method: Method, call: bytes) -> None:
        """A replicated actor tells one on a node, now or not at all. `call`: packed. Raises nothing."""
        try:
            if to.node != self.node.name:
                self.post.tell_of_group(group, to, call)
                return
            cell = self.living(to.name)
            own = self._method_of(cell, method)
            _, *arguments = cast("list[object]", decode(call))
            message = self.message(own, own.unpack(arguments, self), f"{self.node.name}/{group}")
            self.deliver_nowait(cell, message)
        except (Rejected, OutcomeUnknown) as error:
            self.dead_letter(to.address, method, f"{self.node.name}/{group}", str(error))

    async def stop(self, to: ActorRef[Any], *, kill: bool) -> None:
        await trio.lowlevel.checkpoint()
        if to.node != self.node.name:
            await self.post.stop(to, kill=kill)
            return
        cell = self._named.get(to.name)
        if cell is None:
            return
        if kill:
            cell.kill()
        else:
            self._check_end_awaited(cell.address)
            cell.begin_stop()
        with self.waiting(end_of(cell.address)):
            await cell.wait_ended()

    async def watch(self, to: ActorRef[Any]) -> End:
        await trio.lowlevel.checkpoint()
        if to.node != self.node.name:
            return await self.post.watch(to)
        self._check_end_awaited(to.address)
        with self.waiting(end_of(to.address)):
            return await Watch(self, to).wait()

    def begin_watch(self, to: ActorRef[Any]) -> Watch | None:
        """Watch an actor from now on, and not only when somebody waits; None if it is on another node."""
        return Watch(self, to) if to.node == self.node.name else None

    # -- delivering -------------------------------------------------------------------------------------------------

    def message(
        self,
        method: Method,
        arguments: tuple[object, ...],
        sender: str,
        chain: tuple[str, ...] = (),
        question: Question | None = None,
    ) -> Message:
        """A message of this node's, stamped."""
        return Message(method, arguments, sender, self.node.clock.tick(), self.node.name, chain, question)

    async def deliver(self, cell: Cell, message: Message) -> None:
        """Put a message into the mailbox; wait for room if that is the policy. Raises ActorStopped, Overloaded."""
        if not self._put(cell, message):
            await self._wait_for_room(cell, message)

    def deliver_nowait(self, cell: Cell, message: Message) -> None:
        """Put a message into the mailbox. Raises ActorStopped; Overloaded if there is no room for it."""
        if not self._put(cell, message):
            raise self._full(cell)

    def _put(self, cell: Cell, message: Message) -> bool:
        """False if the mailbox is full, and does not drop."""
        if cell.closing:
            raise cell.stopped()
        try:
            displaced = cell.queue.put(message)
        except trio.WouldBlock:
            return False
        if displaced is not None and displaced.question is not None:
            displaced.question.failed(displaced.method, self._full(cell))
        cell.wake()
        return True

    async def _wait_for_room(self, cell: Cell, message: Message) -> None:
        if cell.queue.policy.when_full == "refuse":
            raise self._full(cell)
        chain = self.chain()
        if chain and self.waits.cycle(chain, cell.address) is not None:
            raise Overloaded(f"the mailbox of {cell.address} is full, and it waits for {chain[-1]}")
        with self.waiting(cell.address):
            await cell.queue.wait_put(message)

    def deliver_from_afar(self, cell: Cell, message: Message) -> None:
        """Have an actor handle a message of another node: at once if it is free, else by its mailbox. Raises
        ActorStopped, Overloaded, AskCycle."""
        if cell.is_free and not message.method.is_async:
            cell.handle_now(message)
            return
        if message.chain and (cycle := self.waits.cycle(message.chain, cell.address)) is not None:
            raise AskCycle(cycle)
        self.deliver_nowait(cell, message)

    def undeliverable(self, address: str, message: Message, error: Rejected) -> None:
        """A message reaches nobody: a definite error to an asker, a dead letter of a teller."""
        if message.question is not None:
            message.question.failed(message.method, error)
        else:
            self.dead_letter(address, message.method, message.sender, str(error))

    def dead_letter(self, address: str, method: Method, sender: str, why: str) -> None:
        """Nobody has taken what was told."""
        self.log_dead_letter(address, method.label, sender, why)

    def log_dead_letter(self, address: str, label: str, sender: str, why: str) -> None:
        """As `dead_letter`, by the label of the method."""
        self.statistics.dead_letters += 1
        now = trio.current_time()
        if now - self._logged_at < DEAD_LETTER_SECONDS:
            self._unlogged += 1
            return
        log.warning("dead letter", actor=address, message=label, sender=sender, reason=why, others=self._unlogged)
        self._logged_at, self._unlogged = now, 0

    def _full(self, cell: Cell) -> Overloaded:
        held = cell.queue.policy.capacity
        return Overloaded(f"the mailbox of {cell.address} is full, with {held} messages: try again later")

    # -- who asks, and whom -----------------------------------------------------------------------------------------

    def chain(self) -> tuple[str, ...]:
        """The actors that wait for what the present task does, each for the next; none if no handler does."""
        cell = serving.get()
        if cell is None or cell.cells is not self or not cell.holds_up(trio.lowlevel.current_task()):
            return ()
        message = cell.message
        return (cell.address,) if message is None else (*message.chain, cell.address)

    def waiting(self, target: str) -> AbstractContextManager[object]:
        chain = self.chain()
        return self.waits.waiting(chain[-1], target) if chain else nullcontext()

    def _check_end_awaited(self, address: str) -> None:
        """Could it end, if the present handler waits for that? Raises AskCycle."""
        chain = self.chain()
        if chain and (cycle := self.waits.cycle(chain, end_of(address))) is not None:
            raise AskCycle(cycle)

    def _further(self, awaited: str) -> Iterable[str]:
        """See `Further`."""
        name = awaited.partition("/")[2]
        cell = self._named.get(name)
        if cell is not None:
            return cell.held_up_by
        cell = self._named.get(name.removesuffix("/"))  # of which the end is awaited, if there is one
        return () if cell is None else (cell.address, *(end_of(child.address) for child in cell.children or ()))

    def _sender(self) -> str:
        cell = serving.get()
        return self.node.name if cell is None or cell.cells is not self else cell.address

    def sender_name(self) -> str:
        """Of the actor that the present task belongs to; "" if it belongs to none."""
        cell = serving.get()
        return "" if cell is None or cell.cells is not self else cell.name

    def living(self, name: str) -> Cell:
        """The actor of that name. Raises NoSuchActor, ActorStopped."""
        cell = self._named.get(name)
        if cell is None or self.is_closed:
            raise self._missing(name)
        if cell.closing:
            raise cell.stopped()
        return cell

    def _missing(self, name: str) -> Rejected:
        if self.is_closed:
            return ActorStopped(f"node {self.node.name} is closed")
        return NoSuchActor(f"there is no actor {name!r} on node {self.node.name}")

    def _undelivered(self, to: ActorRef[Any], method: Method) -> None:
        cell = self._named.get(to.name)
        why = self._missing(to.name) if cell is None or self.is_closed else cell.stopped()
        self.dead_letter(to.address, method, self._sender(), str(why))

    def _method_of(self, cell: Cell, method: Method) -> Method:
        """The method of that tag, as the actor's own class has it."""
        own = cell.interface.methods.get(method.tag)
        if own is None:
            raise InvalidMessage(
                f"{cell.address} is a {cell.interface.actor.__name__}, which has no message {method.tag!r}; "
                f"it was taken for one with {method.label}"
            )
        return own
