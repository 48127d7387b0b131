"""A client's link to one node: both directions on one connection, no rights of a peer."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from actors import _tcp
from actors._connection import RECEIVE_SIZE, next_event
from actors._network import Network, prove
from actors._nursery import open_background
from actors._outbox import Outbox
from actors._protocol.address import Address, parse_address
from actors._protocol.clock import LamportClock, counter_max
from actors._protocol.credential import check_answerer
from actors._protocol.envelope import CLIENT_BODY_SIZE_MAX, Envelope, Hello, Ping, Ready, pack, pack_envelope
from actors._protocol.errors import LinkBroken, RemoteProtocolError
from actors._protocol.link import VERSION_MAX, VERSION_MIN, Link, LinkClosed, PeerReady, Refused
from actors._stir import Stir
from actors._tls import certified_name

BULK_SIZE_MAX = 2**26
"""Bytes that may wait to be sent to the node."""
PING_SECONDS = 0.5
"""Between two pings of a client."""
SILENCE_SECONDS_MAX = 1.5
"""A node that says nothing for this long, or does not answer a hello within it, is not worth waiting for: a client can
go to another, and loses nothing by it."""


class ClientLink:
    """An open link to a node. Made by `open_client_link`. Iterate over it for the envelopes that come, in one task.

    name: the client's. node, incarnation: who answered, and in which life. clock: the client's Lamport clock.
    """

    def __init__(self, name: str, stream: trio.abc.Stream, link: Link, ready: Ready) -> None:
        self.name = name
        self.node = ready.node
        self.incarnation = ready.incarnation
        self.clock = LamportClock(name, ready.counter)
        self._stream = stream
        self._link = link
        self._stir = Stir()
        self._outbox = Outbox(BULK_SIZE_MAX, None, self._stir)
        self._broken: str | None = None
        self._pings = 0
        self._patient_until = math.inf  # with a node that is listened to, and says nothing

    def __repr__(self) -> str:
        return f"<ClientLink {self.name} to {self.node}>"

    @property
    def broken(self) -> str | None:
        """Why the link is lost; None as far as is known."""
        return self._broken

    def send(self, to: str, tag: str, body: bytes, *, sender: str = "", correlation: int = 0) -> bool:
        """Stamp an envelope and queue it, without waiting; False, and it is dropped, if too much waits already.

        Raises LinkBroken once the link is lost, TooLarge if no frame of a client's can hold the body.
        """
        if self._broken is not None:
            raise LinkBroken(self._broken)
        counter = self.clock.tick()
        return self._outbox.put(pack_envelope(to, sender, counter, correlation, tag, body, CLIENT_BODY_SIZE_MAX))

    def __aiter__(self) -> ClientLink:
        return self

    async def __anext__(self) -> Envelope:
        """The next envelope. Never ends by itself: raises LinkBroken once the link is lost."""
        while self._broken is None:
            try:
                match self._link.next_event():
                    case Envelope() as envelope:
                        self.clock.witness(envelope.counter, _counter_max())
                        return envelope
                    case LinkClosed():
                        self._break("the node closed the link")
                    case _:
                        await self._receive()
            except RemoteProtocolError as error:
                self._break(f"the node broke the protocol: {error}")
        raise LinkBroken(self._broken)

    async def _receive(self) -> None:
        self._patient_until = trio.current_time() + SILENCE_SECONDS_MAX
        try:
            self._link.receive_data(await self._stream.receive_some(RECEIVE_SIZE))
            self._stir.note()
        except trio.BrokenResourceError as error:
            self._break(f"the connection broke: {error.__cause__ or error}")
        except trio.ClosedResourceError:
            self._break("it was closed here")
        finally:
            self._patient_until = math.inf

    def _break(self, why: str) -> None:
        """The first reason counts."""
        self._broken = self._broken or f"the link to node {self.node} is lost: {why}"

    async def write(self) -> None:
        """Send what waits; by the link's own task."""
        try:
            await self._outbox.write_to(self._stream)
        except trio.BrokenResourceError as error:
            self._break(f"the connection broke: {error.__cause__ or error}")
        except trio.ClosedResourceError:
            self._break("it was closed here")  # by `ping`, while this waited for a node that takes nothing

    async def ping(self) -> None:
        """Show that this client lives, and have the node do the same or be left; by the link's own task."""
        ping_at = trio.current_time()
        while self._broken is None:
            now = trio.current_time()
            if now >= self._patient_until:
                self._break(f"the node was silent for {SILENCE_SECONDS_MAX:g} s")
                await trio.aclose_forcefully(self._stream)  # whoever waits for it to speak need not wait any more
                return
            if now >= ping_at:
                self._pings += 1
                self._outbox.put(pack(Ping(self._pings)), control=True)
                ping_at = now + PING_SECONDS
            await trio.sleep_until(min(ping_at, self._patient_until))


@asynccontextmanager
async def open_client_link(
    address: str, name: str | None = None, network: Network | None = None
) -> AsyncGenerator[ClientLink, None]:
    """A link to the node that listens at `address`, `host:port`, open for as long as the context lasts.

    name: the client's; that of its certificate where it has one, else made up, unless given.
    network: what it is dialed on; TCP unless given.

    Raises ValueError for a bad address, OSError (ConnectionError, TimeoutError) if no link comes about: nothing was
    sent then.
    """
    where = parse_address(address)
    network = network or _tcp
    name = name or certified_name(network) or f"client-{secrets.token_hex(8)}"
    try:
        with trio.fail_after(SILENCE_SECONDS_MAX):
            stream = await network.dial(where)
            link, ready = await _shake_hands(stream, where, name)
    except trio.TooSlowError:
        raise TimeoutError(f"{where} does not answer") from None
    try:
        client = ClientLink(name, stream, link, ready)
        async with open_background() as nursery:
            nursery.start_soon(client.write)
            nursery.start_soon(client.ping)
            yield client
    finally:
        await trio.aclose_forcefully(stream)


async def _shake_hands(stream: trio.abc.Stream, where: Address, name: str) -> tuple[Link, Ready]:
    link, first = Link.dial(Hello(VERSION_MIN, VERSION_MAX, name, 0, "client", 0))
    try:
        credential = await prove(stream)
        await stream.send_all(first)
        match await next_event(stream, link):
            case PeerReady(ready=ready):
                check_answerer(credential, ready.node)
                LamportClock(name).witness(ready.counter, _counter_max())
                return link, ready
            case Refused(reason=reason):
                raise ConnectionRefusedError(f"the node at {where} refused the link: {reason}")
            case _:
                raise ConnectionAbortedError(f"{where} closed the connection before it answered")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise ConnectionAbortedError(f"{where} broke the connection before it answered") from error
    except RemoteProtocolError as error:
        await trio.aclose_forcefully(stream)
        raise ConnectionAbortedError(f"no node of ours listens at {where}: {error}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def _counter_max() -> int:
    """Of the stamps of a node: a client believes as much as another node does."""
    return counter_max(time.time_ns() // 1_000, known=True)
