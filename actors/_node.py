"""A node: a process with a name, links to its peers, and receivers that take what comes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, ParamSpec, TypeVar

import trio

from actors import _tcp
from actors._acceptor import Acceptor
from actors._actor import Actor
from actors._cells import ActorStatistics, Cells
from actors._connection import PING_SECONDS
from actors._exchange import NO_SUCH, Exchange, NodeStatistics, Origin, Receiver
from actors._identity import DataDirectory, Identity, MemoryIdentity
from actors._interface import Method
from actors._network import Network
from actors._nursery import Lasting, open_background
from actors._peer import Peer
from actors._post import ADDRESS
from actors._protocol.address import Address, check_name, parse_address
from actors._protocol.clock import LamportClock
from actors._protocol.credential import Credential
from actors._ref import ActorRef, Ref
from actors._spawning import Spawner
from actors._supervision import Supervision
from actors._tls import Credentials, Tls, TlsNetwork
from actors._trace import Trace, TracedExchange, open_exchange

__all__ = ["NO_SUCH", "Node", "NodeStatistics", "Origin", "Receiver", "open_node"]

P = ParamSpec("P")
A = TypeVar("A", bound=Actor)

BULK_SIZE_MAX = 2**26
"""Bytes that may wait in the bulk lane to one peer."""
LEFT_MAX = 100
"""Former peers that are still answered if they show themselves."""


class Node:
    """An open node. Made by `open_node`; used in its Trio thread only.

    name, incarnation: who it is, and in which life. clock: its Lamport clock. data: its data directory, if it has one.
    address: where it listens. trace: where what happens is noted, if it is.
    """

    def __init__(
        self,
        exchange: Exchange,
        address: Address,
        network: Network,
        nursery: trio.Nursery,
        links: Lasting,
        random: Random,
    ) -> None:
        self.name = exchange.name
        self.incarnation = exchange.identity.incarnation
        self.clock: LamportClock = exchange.clock
        self.data: Path | None = exchange.data
        self.address = address
        self.trace: Trace | None = exchange.trace if isinstance(exchange, TracedExchange) else None
        self._exchange = exchange
        self._network = network
        self._links = links  # what serves links, and whatever else needs them to the end
        self._random = random
        self._peers: dict[str, Peer] = {}
        self._left: dict[str, Peer] = {}  # peers no more, the eldest first
        self._told: dict[str, Address] = {}
        self._learnt: dict[str, dict[str, Address]] = {}  # by group
        self._advertised: Address | None = None
        self._cells = Cells(self, nursery)
        self.attach(ADDRESS, self._cells.post)
        exchange.on_lost = self._cells.post.lost
        exchange.is_awaited = self._cells.post.is_awaited

    def __repr__(self) -> str:
        return f"<Node {self.name} at {self.address}>"

    # -- actors -----------------------------------------------------------------------------------------------------

    async def spawn(self, name: str, actor: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> ActorRef[A]:
        """Start an actor on this node, for as long as it is open: `await node.spawn("greeter", Greeter, "Hello")`.

        actor: its class; args, kwargs: what the class is called with. Returns once its `lifespan` is entered. A crash
        of it leaves `open_node` as those of any task leave their nursery: as a group of exceptions.

        Raises what the class or its `lifespan` raises, and ValueError if the name is none or is taken.
        """
        return await self._cells.spawner(None, None).spawn(name, actor, *args, **kwargs)

    def supervised(self, policy: Supervision) -> Spawner:
        """A team of actors of which crashes are seen to by a policy: `await team.spawn("greeter", Greeter)`."""
        return self._cells.spawner(None, policy)

    def ref(self, address: str, actor: type[A]) -> ActorRef[A]:
        """The actor of that name, whether it is there or not, as one of this class: "b/greeter" on node b, "greeter"
        on this one. Raises ValueError if it is no such address."""
        return self._cells.ref(address, actor)

    def introduce(self, group: str, make: Callable[[type[Any]], Ref[Any]]) -> None:
        """From now on a reference to this group, where it is sent to an actor here, is made so, of a given class."""
        self._cells.groups[group] = make

    def tell_of_group(self, group: str, to: ActorRef[Any], method: Method, call: bytes) -> None:
        """The replicated actor of this group tells one on a node, now or not at all; its sender is "node/group".

        method, call: of the class that it is taken for, packed. What cannot be delivered is a dead letter.
        """
        self._cells.tell_of_group(group, to, method, call)

    def forget_group(self, group: str) -> None:
        """This node has no part in the group any more."""
        self._cells.groups.pop(group, None)
        self.learn_peers(group, {})

    def actor_statistics(self) -> ActorStatistics:
        """A copy of the counts of this node's actors."""
        return self._cells.counted()

    def close_actors(self) -> None:
        """No actor takes a message any more; by the node's own task."""
        self._cells.close()

    def end_actors(self) -> None:
        """All tasks have ended, and so have the actors; by the node's own task."""
        self._cells.end()

    # -- envelopes --------------------------------------------------------------------------------------------------

    def attach(self, to: str, receiver: Receiver) -> None:
        """From now on `receiver` takes the envelopes for `to`. Raises ValueError if somebody does already."""
        if to in self._exchange.receivers:
            raise ValueError(f"{to!r} is taken on node {self.name}: detach what is there, or use another name")
        self._exchange.receivers[to] = receiver

    def detach(self, to: str) -> None:
        """Nobody takes the envelopes for `to` any more. Raises KeyError if nobody did."""
        del self._exchange.receivers[to]

    def send(
        self,
        peer: str,
        to: str,
        tag: str,
        body: bytes,
        *,
        sender: str = "",
        correlation: int = 0,
        control: bool = False,
        flow: Hashable = None,
    ) -> bool:
        """Stamp an envelope and queue it for `peer`, without waiting.

        False if it was dropped and counted: there is no link, or its lane is full. True promises nothing more than
        that it was queued. What one receiver sends to one peer by one lane arrives in order, or not at all.
        to, sender, correlation, tag, body: see `Envelope`. control: overtakes what is not; for small and urgent ones.
        flow: only what is of the same one arrives in order, as far as it is large; `to` unless given.
        Raises TooLarge if no frame can hold the body.
        """
        connection = self._exchange.dialed.get(peer)
        return self._exchange.send(connection, to, tag, body, sender, correlation, control=control, flow=flow)

    def is_linked(self, peer: str) -> bool:
        """Is there a link to `peer` now?"""
        connection = self._exchange.dialed.get(peer)
        return connection is not None and connection.ended is None

    def connected_peers(self) -> tuple[str, ...]:
        """Peers to which there is a link now."""
        return tuple(self._exchange.dialed)

    def statistics(self) -> NodeStatistics:
        """A copy of the counts."""
        return replace(self._exchange.statistics)

    # -- peers ------------------------------------------------------------------------------------------------------

    def add_peer(self, name: str, address: str) -> None:
        """Keep a link to node `name` at `address`, `host:port`, from now on. This node's own is where others find it.

        It takes the place of the address that was told before, if any was; where a group says that the node is found is
        tried as well. Raises ValueError for what is no name or no address.
        """
        self._tell(check_name(name), parse_address(address))

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """Keep links to these, and to no others but those whom groups need.

        Raises ValueError, and changes nothing, as `add_peer` does.
        """
        parsed = {check_name(name): parse_address(address) for name, address in peers.items()}
        self._advertised = None
        for name in [name for name in self._told if name not in parsed]:
            del self._told[name]
            self._keep(name, cuts=True)
        for name, address in parsed.items():
            self._tell(name, address)

    def learn_peers(self, group: str, members: Mapping[str, str]) -> None:
        """These are the members of a group now, and where they are found: keep a link to each.

        To whom it was before, and is needed by nobody else, a link is kept no longer than the other side keeps it. What
        this node was told by who runs it (`add_peer`, `set_peers`) stays, and is tried as well, first.
        Raises ValueError, and changes nothing, for what is no name or no address.
        """
        learnt = {check_name(name): parse_address(address) for name, address in members.items() if name != self.name}
        before = self._learnt.pop(group, {})
        if learnt:
            self._learnt[group] = learnt
        for name in {**before, **learnt}:
            self._keep(name)

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of those to whom a link is kept, or tried."""
        return tuple(self._peers)

    @property
    def told_peers(self) -> tuple[str, ...]:
        """Those among them whom who runs this node has named."""
        return tuple(self._told)

    def address_of(self, name: str) -> str | None:
        """Where a node can be reached; None if that is not known here. This one: where its peers are said to find it,
        or else where it listens."""
        if name == self.name:
            return str(self._advertised or self.address)
        peer = self._peers.get(name)
        return None if peer is None else str(peer.address)

    async def start(self, service: Callable[..., Awaitable[object]], *args: object) -> Any:
        """Run a service beside the node, for as long as that is open; as `trio.Nursery.start` does."""
        return await self._links.start(service, *args)

    def has_peer(self, name: str) -> bool:
        """Is a link to `name` kept, or tried?"""
        return name in self._peers

    def _tell(self, name: str, address: Address) -> None:
        if name == self.name:
            self._advertised = address if address.port else None  # port 0 was the system's to choose
        else:
            self._told[name] = address
            self._keep(name, cuts=True)

    def _keep(self, name: str, *, cuts: bool = False) -> None:
        """Something else is known of where this peer is, if it is one. cuts: a link to elsewhere is not wanted."""
        told = [self._told[name]] if name in self._told else []
        addresses = tuple(dict.fromkeys([*told, *(each[name] for each in self._learnt.values() if name in each)]))
        known = self._peers.get(name)
        if known is not None and addresses and not (cuts and known.address not in addresses):
            known.addresses = addresses
            return
        if known is not None:
            self._drop(self._peers.pop(name), cuts=cuts)
        if addresses:
            if name in self._left:
                self._left.pop(name).stop()
            peer = Peer(name, addresses, self._exchange, self._network, self._random, BULK_SIZE_MAX)
            self._peers[name] = peer
            self._links.start_soon(peer.run)
        elif known is not None:
            self._exchange.forget(name)
            self._cells.post.forget(name)

    def _drop(self, peer: Peer, *, cuts: bool) -> None:
        if cuts:
            peer.stop()
            return
        peer.leave()
        self._left[peer.name] = peer
        if len(self._left) > LEFT_MAX:
            self._left.pop(next(iter(self._left))).stop()

    def beat(self) -> None:
        """Once in a second, by the node's own task."""
        for peer in (*self._peers.values(), *self._left.values()):
            peer.beat()
        self._cells.post.beat()


@asynccontextmanager
async def open_node(
    name: str,
    *,
    listen: str | None = None,
    peers: Mapping[str, str] | None = None,
    data: str | os.PathLike[str] | None = None,
    tls: Tls | None = None,
    insecure: bool = False,
    trace: str | os.PathLike[str] | None = None,
    network: Network | None = None,
    random: Random | None = None,
) -> AsyncGenerator[Node, None]:
    """Open node `name`: listen, and keep a link to every peer for as long as the context lasts.

    listen: `host:port`; left out, the node's own entry in `peers`, or else a free port of 127.0.0.1.
    peers: addresses by name; the node itself may be among them, with the address that others are to use.
    data: the directory that keeps its identity over restarts. None: nothing is kept, and a restart is another disk.
    tls: the certificates by which it proves who it is, and lets others in. None: whatever others say is believed.
    insecure: allow listening beyond loopback without them, where anybody in reach could act as a peer.
    trace: the directory to note in what is sent, received and delivered (see `troupe trace`); unless given, what the
        environment variable TROUPE_TRACE names, if anything.
    network: what it listens and dials on; TCP unless given.
    random: for the pauses between tries.

    Raises ValueError for a bad name or address, TlsError, CannotListen (an OSError), DataDirectoryInUse,
    DataDirectoryError, OSError if there can be no trace.
    """
    addresses = dict(peers or {})
    where = parse_address(listen or addresses.get(name) or "127.0.0.1:0")
    for peer, address in addresses.items():
        check_name(peer)
        parse_address(address)
    directory = None if data is None else Path(data)
    network = await secured(network, tls, Credential("node", check_name(name)), insecure=insecure)
    identity = await _open_identity(name, directory)
    try:
        async with (
            open_exchange(name, identity, directory, trace) as exchange,
            _running(exchange, where, insecure, network, random or Random()) as node,  # noqa: S311
        ):
            node.set_peers(addresses)
            yield node
    finally:
        identity.close()


@asynccontextmanager
async def _running(
    exchange: Exchange, where: Address, insecure: bool, network: Network, random: Random
) -> AsyncGenerator[Node, None]:
    listeners = await network.listen(where, insecure=insecure)
    with ExitStack() as stack:
        async with open_background() as nursery:
            links = Lasting(nursery)
            node = Node(exchange, listeners[0].address, network, nursery, links, random)
            stack.callback(node.end_actors)
            acceptor = Acceptor(exchange, node.has_peer)
            links.start_soon(acceptor.run, listeners)
            links.start_soon(_keep_beating, node, acceptor, exchange)
            if isinstance(network, TlsNetwork):
                links.start_soon(network.credentials.watch)
            try:
                yield node
            finally:
                node.close_actors()
                links.end()


async def secured(
    network: Network | None, tls: Tls | None, expected: Credential | None = None, *, insecure: bool = False
) -> Network:
    """The network to use: the given one or TCP, under TLS if there is one. Raises TlsError; ValueError for a wish that
    contradicts itself."""
    if tls is None:
        return network or _tcp
    if insecure:
        raise ValueError("insecure=True is for nodes without certificates, and tls= gives some: leave one of them out")
    return TlsNetwork(await trio.to_thread.run_sync(Credentials, tls, expected), network or _tcp)


async def _keep_beating(node: Node, acceptor: Acceptor, exchange: Exchange) -> None:
    while True:
        await trio.sleep(PING_SECONDS)
        node.beat()
        acceptor.beat()
        exchange.complaints.beat()


async def _open_identity(name: str, data: Path | None) -> Identity:
    """Lives are numbered from the wall clock on, so that a new disk of an old node is newer than what was met of it."""
    now = time.time_ns() // 1_000
    if data is None:
        return MemoryIdentity(now)
    return await trio.to_thread.run_sync(DataDirectory.open, data, name, now)
