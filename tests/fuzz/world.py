"""Where frames go: links in every state, replicas in every role, and a node with a group, a client and actors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, cast

import trio
from kinds import ACTOR, CLIENT, GROUP, PEER
from test_every_message import ROLES
from test_replica_steps import One, disk

from actors import Actor, command, query
from actors._connection import Connection
from actors._exchange import Exchange, Origin
from actors._node import Node
from actors._protocol.codec import encode_struct
from actors._protocol.envelope import Envelope, Hello, Ready, pack
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Asked, Link, State
from broadcast import local_group
from broadcast._protocol.entries import SessionAsked
from broadcast._protocol.following import Piece, Slots, Unheld
from broadcast._protocol.messages import decode_message
from broadcast._protocol.output import Received
from broadcast._protocol.visits import TO_CLIENT, Enter, Offer
from broadcast._replica import ReplicaHost

REPLICA_FRAMES = 40
"""That a replica hears before another takes its place: most of what comes leads it away from everyday life."""
NODE_FRAMES = 25
"""Between two times that the tasks of the node may run."""


class Bag(Actor):
    """An actor that keeps little."""

    def __init__(self) -> None:
        self.items: list[int] = []

    @command
    def put(self, items: list[int]) -> int:
        self.items = [*self.items, *items][-100:]
        return len(self.items)

    @query
    def count(self) -> int:
        return len(self.items)

    def _private(self) -> None:
        raise AssertionError("nobody calls this from outside")


HELLOS = {role: Hello(1, 1, CLIENT if role == "client" else PEER, 5, role, 0) for role in ("client", "peer")}


def _acceptor(random: Random) -> Link:
    return Link.answer()


def _asked(role: str) -> Link:
    link = Link.answer()
    link.receive_data(pack(HELLOS[role]))
    if not isinstance(link.next_event(), Asked):
        raise AssertionError("a hello is heard")
    return link


def _accepted(random: Random) -> Link:
    link = _asked(random.choice(("client", "peer")))
    if random.random() < 0.9:
        link.accept("a", 1, 0)
    else:
        link.refuse("no")
    return link


def _dialer(random: Random) -> Link:
    return Link.dial(HELLOS[random.choice(("client", "peer"))], random.choice((None, "a")))[0]


def _dialed(random: Random) -> Link:
    link = _dialer(random)
    link.receive_data(pack(Ready(1, "a", 1, 0)))
    link.next_event()
    return link


LINKS: tuple[Callable[[Random], Link], ...] = (_acceptor, _accepted, _dialer, _dialed)


class _Wire:
    """A connection's place: takes all, and keeps nothing."""

    def __init__(self) -> None:
        self.outbox = self
        self.ended: str | None = None

    def put(self, data: bytes, *, control: bool = False, flow: Hashable = None) -> bool:
        return True

    def close(self, reason: str, *, fault: bool = False) -> None:
        self.ended = reason

    def suspect(self) -> None: ...


class World:
    """One of each."""

    def __init__(self, node: Node, host: ReplicaHost[Bag], random: Random) -> None:
        self._node = node
        self._host = host
        self._random = random
        self._exchange: Exchange = node._exchange  # pyright: ignore[reportPrivateUsage]
        self._origins: dict[str, Origin] = {}
        self._links: dict[str, Link] = {}
        self._sessions = 0
        self._replicas: dict[str, tuple[One, int]] = {}

    def hear(self, kind: str, data: bytes) -> None:
        """Take a frame. Raises RemoteProtocolError, or what is found."""
        if kind == "link":
            link = self._random.choice(LINKS)(self._random)
            link.receive_data(data)
            while (event := link.next_event()) is not None and link.state is not State.ASKED:
                del event
            return
        role = "client" if kind == "client" else "peer"
        link = self._links.get(role) or self._ready(role)
        try:
            link.receive_data(data)
            while isinstance(envelope := link.next_event(), Envelope):
                self._deliver(kind, role, envelope)
        except RemoteProtocolError:
            del self._links[role]
            raise
        if link.waiting:
            del self._links[role]

    def _ready(self, role: str) -> Link:
        link = self._links[role] = _asked(role)
        link.accept("a", 1, 0)
        return link

    def _deliver(self, kind: str, role: str, envelope: Envelope) -> None:
        if envelope.to == "bank":
            self._step(envelope)
        elif envelope.to == "to a client":
            told = TO_CLIENT.decode(envelope.body)
            if isinstance(told, Piece | Unheld):
                Slots().is_answered_by(told)
        else:
            self._receive(role, envelope)
            failure = self._host._failure  # pyright: ignore[reportPrivateUsage]
            if failure is not None:
                raise failure

    def _step(self, envelope: Envelope) -> None:
        """As a host does, for a replica without one."""
        said = decode_message(envelope.body)
        role = self._random.choice(list(ROLES))
        one, count = self._replicas.get(role) or (ROLES[role](), 0)
        self._replicas.pop(role, None)  # one that breaks is not used again
        one.stamp += 1
        sender, nonsense = "c" if said.storage == disk("c") else "b", None
        commit = one.replica.commit
        try:
            one.step(Received(sender, said.cluster, said.storage, one.stamp, said.message))
        except RemoteProtocolError as error:
            nonsense = error
            if one.replica.commit != commit:
                raise AssertionError(f"index {one.replica.commit} is committed by what was refused") from error
        if self._random.random() < 0.3:
            one.written()
        if count < REPLICA_FRAMES:
            self._replicas[role] = one, count + 1
        if nonsense is not None:
            raise nonsense

    # -- the node --------------------------------------------------------------------------------------------------

    def _receive(self, role: str, envelope: Envelope) -> None:
        origin = self._origins.get(role) or self._met(role)
        try:
            self._exchange.deliver(origin, envelope)
        except RemoteProtocolError:
            self._part(role)
            raise
        if origin.closed:
            self._part(role)

    def _met(self, role: str) -> Origin:
        wire = cast(Connection, _Wire())
        origin = self._origins[role] = Origin(HELLOS[role], wire, self._exchange, "10.0.0.1", is_known=role == "peer")
        if role == "client":
            for message in (Enter(), Offer((SessionAsked(self._nonce(), CLIENT),))):
                self._exchange.deliver(origin, Envelope(1, 0, GROUP, "", "group", encode_struct(message)))
        return origin

    def _nonce(self) -> bytes:
        """Of a session like no other."""
        self._sessions += 1
        return self._sessions.to_bytes(16, "big")

    def _part(self, role: str) -> None:
        self._exchange.tell_disconnected(self._origins.pop(role))

    async def go_on(self) -> None:
        """Let the node's tasks run. Raises what ended its replica."""
        replica = self._host.replica
        assert replica is not None
        with trio.fail_after(600):  # the process may be stopped for a while
            while replica.applied < replica.log.last.index:
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        with suppress(ValueError):  # it is there still
            await self._node.spawn(ACTOR, Bag)


@asynccontextmanager
async def open_world(random: Random) -> AsyncGenerator[World]:
    """A world whose node runs for as long as it lasts."""
    async with local_group(Bag, replicas=1, name=GROUP) as group:
        with trio.fail_after(600):  # the process may be stopped for a while
            await group.ask(Bag.put, [1])
        host = cast("ReplicaHost[Any]", group.replicas[0]._host)  # pyright: ignore[reportPrivateUsage]
        host.node.add_peer(PEER, "127.0.0.1:1")
        yield World(host.node, host, random)
