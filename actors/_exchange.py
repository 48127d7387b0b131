"""The inside of a node: who gets what comes, under which stamp what is sent leaves, and whom this node has met."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from actors._complaints import Complaints
from actors._connection import Connection
from actors._crowd import Crowd
from actors._gate import Gate
from actors._identity import Identity
from actors._log import Log
from actors._protocol.clock import COUNTER_LEAST_MAX, LamportClock, counter_max
from actors._protocol.codec import encode
from actors._protocol.envelope import Envelope, Hello, pack_envelope
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import VERSION_MAX, VERSION_MIN
from actors._stir import Stir

log = Log("troupe.actors")

NO_SUCH = "no-such"
"""Tag of the answer to a client's envelope for nobody; its body is the name, encoded."""
INCARNATION_AHEAD_MAX = 366 * 86_400_000_000
"""Lives are numbered from the wall clock on, in microseconds since 1970. A number further ahead of this node's is not
believed: it would make every later life of that peer a stale one."""


class Receiver(Protocol):
    """Who takes the envelopes for one or more names at a node. Called in the node's Trio thread; none may block."""

    def received(self, origin: Origin, envelope: Envelope) -> None:
        """An envelope has come. Raise RemoteProtocolError to have the link it came by closed. Anything else is a bug:
        it stops the node if a peer's envelope met it, and closes the link of a client."""
        ...

    def connected(self, peer: str) -> None:
        """What is sent to `peer` from now on goes over a new link; what was sent before may be lost."""
        ...

    def suspected(self, peer: str) -> None:
        """A hint that `peer` has died: its link was lost, and nobody listens there now, or a newer life of it."""
        ...

    def disconnected(self, origin: Origin) -> None:
        """Nothing more comes from this origin."""
        ...


class Origin:
    """Where envelopes come from: the accepted link of a peer or a client.

    name: of the peer's node, or of the client; only a peer's is unique.
    host: the address that its connections are counted by; None if there is none.
    is_known: when it came, it was a peer that this node keeps a link to. Anybody can be another, and is trusted with no
        more than a client is.
    """

    __slots__ = ("_connection", "_exchange", "host", "incarnation", "is_client", "is_known", "name")

    def __init__(
        self, hello: Hello, connection: Connection, exchange: Exchange, host: str | None, *, is_known: bool
    ) -> None:
        self.name = hello.node
        self.host = host
        self.is_client = hello.role == "client"
        self.is_known = is_known
        self.incarnation = hello.incarnation
        self._connection = connection
        self._exchange = exchange

    def __repr__(self) -> str:
        return f"<{'client' if self.is_client else 'peer'} {self.name} ({self.incarnation})>"

    @property
    def connection(self) -> Connection:
        """The link itself, for those who keep track of links."""
        return self._connection

    @property
    def closed(self) -> bool:
        """Is the link over?"""
        return self._connection.ended is not None

    def suspect(self) -> None:
        """It has said what no good client says, and may go on: behind others."""
        self._connection.suspect()

    def send(
        self, to: str, tag: str, body: bytes, *, sender: str = "", correlation: int = 0, flow: Hashable = None
    ) -> bool:
        """Send an envelope there, without waiting; False if it cannot be (see `Node.send`)."""
        connection = self._connection if self.is_client else self._exchange.dialed.get(self.name)
        return self._exchange.send(connection, to, tag, body, sender, correlation, control=False, flow=flow)

    def close(self, reason: str) -> None:
        """Close the link: the other side does not do what it should, as `reason` says."""
        self._connection.close(reason, fault=True)


@dataclass(slots=True)
class NodeStatistics:
    """Counts since the node was opened, and what is open now.

    sent, received: envelopes. dropped_unlinked, dropped_full: not sent, as there was no link, or a lane was full.
    unclaimed: received for nobody here. refused: links that were not wanted. faults: links closed as the other side
    broke the rules. peers_dialed, peers_accepted, clients: links that are ready now.
    """

    sent: int = 0
    received: int = 0
    dropped_unlinked: int = 0
    dropped_full: int = 0
    unclaimed: int = 0
    refused: int = 0
    faults: int = 0
    peers_dialed: int = 0
    peers_accepted: int = 0
    clients: int = 0


class Exchange:
    """What the links of a node share.

    gate: what every link sends leaves through it. stir: what is read on any is noted there. crowd: of clients.
    complaints: what the log is told of those at the other ends.
    data: the directory that the identity is kept in; None if it is not.
    dialed: the ready link to each peer, which is where envelopes for it are sent.
    receivers: by the name that envelopes are for.
    on_lost: told of each peer to which a ready link is lost, as soon as it is.
    is_awaited: says whether somebody waits for a link to this peer.
    """

    def __init__(self, name: str, identity: Identity, data: Path | None = None) -> None:
        self.name = name
        self.identity = identity
        self.data = data
        self.clock = LamportClock(name, identity.counter, identity.reserved)
        self.gate = Gate(self.clock, identity, data)
        self.stir = Stir()
        self.crowd = Crowd()
        self.statistics = NodeStatistics()
        self.complaints = Complaints()
        self.dialed: dict[str, Connection] = {}
        self.receivers: dict[str, Receiver] = {}
        self.on_lost: Callable[[str], None] | None = None
        self.is_awaited: Callable[[str], bool] | None = None
        self._newest: dict[str, int] = {}
        self._awaited: dict[str, trio.Event] = {}

    # -- sending ----------------------------------------------------------------------------------------------------

    def hello(self) -> Hello:
        """What this node says first where it dials."""
        return Hello(VERSION_MIN, VERSION_MAX, self.name, self.identity.incarnation, "peer", self.safe_counter())

    def safe_counter(self) -> int:
        """A stamp to begin a link with, which needs no disk."""
        return min(self.clock.counter, self.clock.reserved)

    def send(
        self,
        connection: Connection | None,
        to: str,
        tag: str,
        body: bytes,
        sender: str,
        correlation: int,
        *,
        control: bool,
        flow: Hashable = None,
    ) -> bool:
        """Stamp an envelope and queue it; False, and it is dropped and counted, without a link or with a full lane."""
        if connection is None or connection.ended is not None:
            self.statistics.dropped_unlinked += 1
            return False
        data = pack_envelope(to, sender, self.clock.tick(), correlation, tag, body)
        if not connection.outbox.put(data, control=control, flow=to if flow is None else flow):
            self.statistics.dropped_full += 1
            return False
        self.statistics.sent += 1
        return True

    # -- receiving --------------------------------------------------------------------------------------------------

    def witness(self, counter: int, *, known: bool) -> None:
        """A stamp was met, of a known peer or of whoever. Raises RemoteProtocolError if it is beyond belief."""
        if counter > COUNTER_LEAST_MAX:
            self.clock.witness(counter, counter_max(_now(), known=known))
        else:  # whatever the time is: no need to look
            self.clock.witness(counter)

    def deliver(self, origin: Origin, envelope: Envelope) -> None:
        """Hand an envelope to whom it is for. Raises RemoteProtocolError if it breaks the rules."""
        self.statistics.received += 1
        if envelope.counter > self.clock.counter:
            self.witness(envelope.counter, known=origin.is_known)
        receiver = self.receivers.get(envelope.to)
        if receiver is not None:
            receiver.received(origin, envelope)
            return
        self.statistics.unclaimed += 1
        log.debug("envelope for nobody", node=self.name, origin=origin.name, to=envelope.to, tag=envelope.tag)
        if origin.is_client:
            origin.send(envelope.sender, NO_SUCH, encode(envelope.to), correlation=envelope.correlation)

    def deliver_from_stranger(self, origin: Origin, envelope: Envelope) -> None:
        """As `deliver`, but what else a receiver raises costs the sender its link, and not this node its life: anybody
        can be a client, or a peer unknown here. A broken invariant, which is no `Exception`, stops the node all the
        same."""
        try:
            self.deliver(origin, envelope)
        except RemoteProtocolError:
            raise
        except Exception as error:
            who = "client" if origin.is_client else "peer"
            what = f"a {who}'s envelope made its receiver crash: please report this"
            facts = {"node": self.name, "origin": origin.name, "to": envelope.to, "tag": envelope.tag}
            self.complaints.error(what, origin.host, **facts, exc_info=error)
            raise RemoteProtocolError(f"{envelope.tag!r} to {envelope.to!r} made its receiver crash") from error

    def tell_connected(self, peer: str) -> None:
        for receiver in self._each_receiver():
            receiver.connected(peer)

    def tell_lost(self, peer: str) -> None:
        if self.on_lost is not None:
            self.on_lost(peer)

    def tell_suspected(self, peer: str) -> None:
        for receiver in self._each_receiver():
            receiver.suspected(peer)

    def tell_disconnected(self, origin: Origin) -> None:
        for receiver in self._each_receiver():
            receiver.disconnected(origin)

    def _each_receiver(self) -> list[Receiver]:
        """Every receiver once, however many names it has."""
        return list({id(receiver): receiver for receiver in self.receivers.values()}.values())

    def closed(self, connection: Connection, who: str, about: str | None, *, dialed: bool) -> None:
        """A link is over: one line in the log, louder if the other side broke the rules. about: see `Complaints`."""
        if connection.fault:
            self.statistics.faults += 1
            self.complaints.warning(
                "link closed for a fault", about, node=self.name, peer=who, address=about, reason=connection.ended
            )
        elif dialed:
            log.info("link down", node=self.name, peer=who, reason=connection.ended)
        else:
            log.debug("accepted link down", node=self.name, peer=who, reason=connection.ended)

    # -- lives of peers ---------------------------------------------------------------------------------------------

    def meet(self, peer: str, incarnation: int) -> str | None:
        """A life of `peer` shows itself: None, or why it is not believed (rule 31).

        What is sent over a link to an earlier life of it is lost, and nobody would be told: not even this one, where it
        waits for an answer. So such a link is closed, though nothing else may show yet that it leads nowhere.
        """
        if incarnation > _now() + INCARNATION_AHEAD_MAX:
            return (
                f"incarnation {incarnation} of {peer} is more than a year ahead of the clock of {self.name}: set the "
                f"clock of the one that is wrong; if {peer} was first started under a wrong clock, remove its data "
                "directory, and add it to its groups again"
            )
        newest = self._newest.get(peer, 0)
        if incarnation < newest:
            return (
                f"incarnation {incarnation} of {peer} is stale: {newest} was met already. Either two nodes have the "
                f"name {peer}, or its clock was set back: a node whose data directory is kept outlasts that"
            )
        if incarnation > newest:
            self._newest[peer] = incarnation
            earlier = self.dialed.get(peer)
            if earlier is not None:
                earlier.close("a newer life of it has shown itself")
        awaited = self._awaited.get(peer)
        if awaited is not None:
            awaited.set()
        return None

    async def wait_met(self, peer: str) -> None:
        """Until a life of `peer` shows itself, and is believed. For one task at a time."""
        awaited = self._awaited[peer] = trio.Event()
        try:
            await awaited.wait()
        finally:
            if self._awaited.get(peer) is awaited:
                del self._awaited[peer]

    def forget(self, peer: str) -> None:
        """A node that is no peer of ours has gone: what was met of it is not kept, or strangers could fill memory."""
        self._newest.pop(peer, None)


def _now() -> int:
    """By the wall clock, in microseconds since 1970."""
    return time.time_ns() // 1_000
