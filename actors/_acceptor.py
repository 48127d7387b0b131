"""Links that others dialed: who is let in, and what they send goes to the exchange."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import trio

from actors._connection import HANDSHAKE_SECONDS, Connection, next_event
from actors._crowd import ARRIVAL_PATIENCE_SECONDS
from actors._exchange import Exchange, Origin
from actors._network import host_of, prove
from actors._protocol.credential import objection_to
from actors._protocol.envelope import Hello
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Asked, Link
from actors._room import Room

CONNECTIONS_MAX = 1_000
"""Accepted connections at a time. One more takes the place of the eldest that is not linked yet, or else is closed."""
SILENCE_SECONDS_MAX = 10.0
"""Who dialed and sends nothing, not even a ping, for this long has gone."""
STRANGERS_MAX = 900
"""Clients among them, and peers that this node does not know: one that was told of it and not yet the other way round.
The other places are for known peers, which must always find one: each has one link at a time."""
CONNECTIONS_PER_HOST_MAX, STRANGERS_PER_HOST_MAX = 500, 400
"""The same for those from one address: nobody takes all places from one."""
ANSWERS_SIZE_MAX = 2**26
"""Bytes that may wait to be sent to one client."""
INCOMING_SIZE_MAX, OUTGOING_SIZE_MAX = 2**26, 2**28
"""Bytes of frames that have not come as a whole, and bytes that wait to be sent, of all clients and unknown peers
together: see `Room`."""
DESCRIPTORS_KEPT = 128
"""Files that the process may need besides, or half of those that it may open. Where connections would take these, there
are fewer places, in proportion: a disk that cannot be opened stops a replica, and a connection that is closed does not.
"""


class _Places(NamedTuple):
    """How many connections there may be at a time; of them, of strangers; and the same for each address."""

    all: int
    strangers: int
    of_host: int
    strangers_of_host: int


def _places(descriptors: int) -> _Places:
    """In a process that may have so many files open."""
    room = descriptors - min(DESCRIPTORS_KEPT, descriptors // 2)
    limits = CONNECTIONS_MAX, STRANGERS_MAX, CONNECTIONS_PER_HOST_MAX, STRANGERS_PER_HOST_MAX
    return _Places(*(max(min(limit, limit * room // CONNECTIONS_MAX), 1) for limit in limits))


def _descriptors() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 if limit == resource.RLIM_INFINITY else limit


class Acceptor:
    """The accepted links of a node."""

    def __init__(self, exchange: Exchange, is_peer: Callable[[str], bool]) -> None:
        self._exchange = exchange
        self._is_peer = is_peer
        self._places = _places(_descriptors())
        self._rooms = Room(INCOMING_SIZE_MAX, "a frame"), Room(OUTGOING_SIZE_MAX, "what is to be sent")
        self._open = 0
        self._full = False
        self._strangers = 0
        self._hosts: Counter[str] = Counter()  # connections from each address
        self._full_hosts: set[str] = set()
        self._strangers_of: Counter[str] = Counter()
        self._arriving: dict[trio.CancelScope, str | None] = {}  # handshakes under way, the eldest first: where from
        self._connections: dict[Connection, Origin] = {}
        self._peers: dict[str, Connection] = {}

    async def serve(self, stream: trio.abc.Stream) -> None:
        """The whole life of an accepted connection. Raises only what is a bug here."""
        host = host_of(stream)
        self._open += 1
        _count(self._hosts, host, 1)
        try:
            if self._has_room(host):
                await self._serve(stream, host)
        finally:
            self._open -= 1
            _count(self._hosts, host, -1)
            await trio.aclose_forcefully(stream)

    def beat(self) -> None:
        """Once in a second: close the links whose dialers are silent."""
        now = trio.current_time()
        for connection in self._connections:
            if now - connection.heard > SILENCE_SECONDS_MAX:
                connection.close(f"silent for {now - connection.heard:.1f} s")

    async def _serve(self, stream: trio.abc.Stream, host: str | None) -> None:
        scope = trio.move_on_after(HANDSHAKE_SECONDS)
        self._arriving[scope] = host
        welcomed: tuple[Connection, Origin] | None = None
        try:
            with scope:
                await self._exchange.crowd.stand_back(ARRIVAL_PATIENCE_SECONDS)
                welcomed = await self._welcome(stream, host)
        except trio.BrokenResourceError:
            return
        except RemoteProtocolError as error:
            self._exchange.statistics.faults += 1
            self._complain("stranger turned away", host, peer=host, reason=str(error))
            return
        finally:
            self._arriving.pop(scope, None)
        if welcomed is not None:
            await self._live(*welcomed, host)

    async def _welcome(self, stream: trio.abc.Stream, host: str | None) -> tuple[Connection, Origin] | None:
        """The handshake; None if it came to nothing. The consent itself waits in the outbox: nothing is between the
        decision and the link being known."""
        link, exchange = Link.answer(), self._exchange
        credential = await prove(stream)
        asked = await next_event(stream, link)
        if not isinstance(asked, Asked):
            return None
        hello = asked.hello
        reason = asked.objection or objection_to(credential, hello) or self._objection(hello, host)
        if reason is not None:
            exchange.statistics.refused += 1
            self._complain("link refused", host, peer=hello.node, address=host, reason=reason)
            await stream.send_all(link.refuse(reason))
            return None
        is_known = self._is_known(hello)
        exchange.witness(hello.counter, known=is_known)
        rooms, crowd = (None, None) if is_known else (self._rooms, exchange.crowd)
        connection = Connection(stream, link, ANSWERS_SIZE_MAX, exchange.gate, exchange.stir, rooms=rooms, crowd=crowd)
        consent = link.accept(exchange.name, exchange.identity.incarnation, exchange.safe_counter())
        connection.outbox.put(consent, control=True)
        return connection, Origin(hello, connection, exchange, host, is_known=is_known)

    def _objection(self, hello: Hello, host: str | None) -> str | None:
        if not self._is_known(hello):
            places = self._places
            if self._strangers >= places.strangers:
                return f"{places.strangers} clients and unknown peers are here already, and no more are taken"
            if host is not None and self._strangers_of[host] >= places.strangers_of_host:
                return f"{places.strangers_of_host} clients and unknown peers are here from {host} already"
        if hello.role == "client":
            return None
        if hello.node == self._exchange.name:
            return f"this is {hello.node} itself: two nodes cannot have one name, and an address belongs to one node"
        return self._exchange.meet(hello.node, hello.incarnation)

    def _is_known(self, hello: Hello) -> bool:
        """Is it from a peer that this node keeps a link to? As far as it says, where nothing is proven."""
        return hello.role == "peer" and self._is_peer(hello.node)

    async def _live(self, connection: Connection, origin: Origin, host: str | None) -> None:
        exchange = self._exchange
        deliver = exchange.deliver if origin.is_known else exchange.deliver_from_stranger
        self._enter(connection, origin, host)
        try:
            await connection.run(partial(deliver, origin))
        finally:
            self._leave(connection, origin, host)
        exchange.closed(connection, origin.name, host, dialed=False)

    def _enter(self, connection: Connection, origin: Origin, host: str | None) -> None:
        self._connections[connection] = origin
        if not origin.is_known:
            self._strangers += 1
            _count(self._strangers_of, host, 1)
        if origin.is_client:
            self._exchange.statistics.clients += 1
            return
        self._exchange.statistics.peers_accepted += 1
        older = self._peers.get(origin.name)
        if older is not None:
            older.close("replaced by a newer link")
        self._peers[origin.name] = connection

    def _leave(self, connection: Connection, origin: Origin, host: str | None) -> None:
        del self._connections[connection]
        if not origin.is_known:
            self._strangers -= 1
            _count(self._strangers_of, host, -1)
        if origin.is_client:
            self._exchange.statistics.clients -= 1
        else:
            self._exchange.statistics.peers_accepted -= 1
            if self._peers[origin.name] is connection:
                del self._peers[origin.name]
                if not self._is_peer(origin.name):
                    self._exchange.forget(origin.name)
        self._exchange.tell_disconnected(origin)

    def _complain(self, event: str, host: str | None, **facts: object) -> None:
        self._exchange.complaints.warning(event, host, node=self._exchange.name, **facts)

    def _has_room(self, host: str | None) -> bool:
        """Makes room if it can. Logs once when it gets full, not for each that is closed."""
        full = self._open > self._places.all
        if full and not self._full:
            self._complain("too many connections", None, allowed=self._places.all)
        self._full = full
        if full:
            return self._displace(next(iter(self._arriving), None))
        if host is not None and self._is_full_of(host):
            return self._displace(next((scope for scope, where in self._arriving.items() if where == host), None))
        return True

    def _is_full_of(self, host: str) -> bool:
        allowed = self._places.of_host
        if self._hosts[host] <= allowed:
            self._full_hosts.discard(host)
            return False
        if host not in self._full_hosts:
            self._full_hosts.add(host)
            self._complain("too many connections from one address", host, peer=host, allowed=allowed)
        return True

    def _displace(self, eldest: trio.CancelScope | None) -> bool:
        """A newcomer takes the place of a handshake that is under way, if any is."""
        if eldest is None:
            return False
        del self._arriving[eldest]
        eldest.cancel()
        return True


def _count(counter: Counter[str], host: str | None, more: int) -> None:
    """One more of this address, or one less. What comes to nothing is not kept: addresses are many."""
    if host is not None:
        counter[host] += more
        if not counter[host]:
            del counter[host]
