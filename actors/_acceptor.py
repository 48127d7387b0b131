"""Links that others dialed: who is let in, and what they send goes to the exchange."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import trio

from actors._arrivals import Arrivals, count, descriptors, places_of
from actors._connection import Connection, next_event
from actors._exchange import Exchange, Origin
from actors._network import Listener, prove
from actors._protocol.credential import objection_to
from actors._protocol.envelope import Hello
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Asked, Link
from actors._room import Room

SILENCE_SECONDS_MAX = 10.0
"""Who dialed and sends nothing, not even a ping, for this long has gone."""
ANSWERS_SIZE_MAX = 2**26
"""Bytes that may wait to be sent to one client."""
INCOMING_SIZE_MAX, OUTGOING_SIZE_MAX = 2**26, 2**28
"""Bytes of frames that have not come as a whole, and bytes that wait to be sent, of all clients and unknown peers
together: see `Room`."""


class Acceptor:
    """The accepted links of a node."""

    def __init__(self, exchange: Exchange, is_peer: Callable[[str], bool]) -> None:
        self._exchange = exchange
        self._is_peer = is_peer
        self._rooms = Room(INCOMING_SIZE_MAX, "a frame"), Room(OUTGOING_SIZE_MAX, "what is to be sent")
        self._places = places_of(descriptors())
        self._arrivals = Arrivals(exchange, self._places, self._greet, self._live)
        self._strangers = 0
        self._strangers_of: Counter[str] = Counter()
        self._connections: dict[Connection, Origin] = {}
        self._peers: dict[str, Connection] = {}

    async def run(self, listeners: Sequence[Listener]) -> None:
        """Serve who dials, until it is cancelled. Raises only what is a bug here."""
        await self._arrivals.run(listeners)

    def beat(self) -> None:
        """Once in a second: close the links whose dialers are silent."""
        self._arrivals.beat()
        now = trio.current_time()
        for connection in self._connections:
            if now - connection.heard > SILENCE_SECONDS_MAX:
                connection.close(f"silent for {now - connection.heard:.1f} s")

    async def _greet(self, stream: trio.abc.Stream, host: str | None) -> tuple[Connection, Origin] | None:
        try:
            return await self._welcome(stream, host)
        except trio.BrokenResourceError:
            return None
        except RemoteProtocolError as error:
            self._exchange.statistics.faults += 1
            self._complain("stranger turned away", host, peer=host, reason=str(error))
            return None

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

    async def _live(self, welcomed: tuple[Connection, Origin], host: str | None) -> None:
        exchange, (connection, origin) = self._exchange, welcomed
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
            count(self._strangers_of, host, 1)
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
            count(self._strangers_of, host, -1)
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
