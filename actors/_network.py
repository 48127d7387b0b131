"""What a node needs of a network: somewhere to listen, and a way to dial. TCP unless another is given."""

from __future__ import annotations

import ipaddress
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, cast

import trio

from actors._protocol.address import Address
from actors._protocol.credential import Credential


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Takes connections at one address."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens, its port chosen."""


class Network(Protocol):
    """Reliable streams of bytes between addresses, as TCP gives them: what arrives is a beginning of what was sent.

    A stream is used by one reader and one writer. A lost connection raises trio.BrokenResourceError, from the OSError
    that says why if there is one. What a stream may offer besides:

    `send_nowait(data) -> int` sends as much as there is room for at once and says how many bytes, without raising: a
    message that is alone is then written by whoever sends it.
    `async prove() -> Credential` tells who is at the other end, and is called before anything else; then a stream
    raises RemoteProtocolError for what cannot have come from there.
    `close_nowait()` closes it at once, and `fileno() -> int` is a file of the system that is readable when something
    has come: so thousands can be held, and turned away, that say nothing. Nobody has used a stream when these are
    called.
    `remote_host: str | None` is the numeric address of the other end, whose connections are counted together.
    """

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        """At least one listener. Raises CannotListen; ValueError if the address must not be listened on unless
        `insecure`, as others than this machine's could reach it."""
        ...

    async def dial(self, address: Address) -> trio.abc.Stream:
        """A connection. Raises OSError; ConnectionRefusedError only if nobody listens there: who is refused takes it
        that the process there is gone."""
        ...


async def prove(stream: trio.abc.Stream) -> Credential | None:
    """Who is at the other end; None where the network proves nothing. Raises RemoteProtocolError,
    trio.BrokenResourceError."""
    proof = getattr(stream, "prove", None)
    return None if proof is None else cast(Credential, await proof())


def file_of(stream: trio.abc.Stream) -> int | None:
    """The file to wait on before anything is done with a stream; None if there is none."""
    fileno: Callable[[], int] | None = getattr(stream, "fileno", None)
    if fileno is not None:
        with suppress(OSError):  # it has gone already, which is found out soon enough
            return number if (number := fileno()) >= 0 else None
    return None


def close_nowait(stream: trio.abc.Stream) -> bool:
    """Close a stream that nobody has used, if it can be closed at once. Can it?"""
    close: Callable[[], None] | None = getattr(stream, "close_nowait", None)
    if close is None:
        return False
    with suppress(OSError):  # of what nobody wants any more
        close()
    return True


def host_of(stream: trio.abc.Stream) -> str | None:
    """Whose connection it is, as far as an address tells; None where there is none. Of IPv6, the 64 bits that name a
    network: one host has all that are in it."""
    host: str | None = getattr(stream, "remote_host", None)
    if host is None or ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.IPv6Network((address, 64), strict=False))
