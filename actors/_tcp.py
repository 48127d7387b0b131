"""Sockets: where to listen, and how to reach a peer. Errors say which address, and what to do."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

import trio

from actors._network import Listener
from actors._protocol.address import Address

BACKLOG = 512
"""Connections that the system holds for a listener until they are taken, which it does 1,000 times in a second at least
(see `_arrivals`): each waits half of one at most. Who comes on top of them tries anew, after a second at first."""
_HINTS = {
    errno.EADDRINUSE: "another process listens there: stop it, or choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "this user may not listen there: choose a port above 1023",
}


class CannotListen(OSError):
    """The address cannot be listened on; the text says why, and what to do."""


async def listen(address: Address, *, insecure: bool) -> list[QuickListener]:
    """Listeners on every address that the host stands for.

    Raises ValueError for an address beyond loopback unless `insecure`; CannotListen if it cannot be had.
    """
    try:
        found = await _resolve(address, socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise CannotListen(error.errno, f"cannot listen on {address}: no such host") from error
    hosts = list(dict.fromkeys(str(where[0]) for *_, where in found))
    beyond = [host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback]
    if beyond and not insecure:
        raise ValueError(
            f"{address} can be reached from other machines, and links are not encrypted: anybody there could act as "
            "a peer. Give certificates (tls=, made by `troupe certs`), listen on 127.0.0.1, or say insecure=True if "
            "the network is yours alone"
        )
    listeners: list[trio.SocketListener] = []
    try:
        for host in hosts:
            listeners += await trio.open_tcp_listeners(address.port, host=host, backlog=BACKLOG)
    except OSError as error:
        for listener in listeners:
            await listener.aclose()
        why = _HINTS.get(error.errno or 0, error.strerror or str(error))
        raise CannotListen(error.errno, f"cannot listen on {address}: {why}") from error
    return [QuickListener(listener) for listener in listeners]


class QuickListener(Listener):
    """A `SocketListener` that gives a `QuickStream` for each connection."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener

    @property
    def address(self) -> Address:
        host, port = self._listener.socket.getsockname()[:2]
        return Address(str(host), int(port))

    async def accept(self) -> QuickStream:
        stream = await self._listener.accept()
        try:
            host = str(stream.socket.getpeername()[0])
        except OSError:  # it has gone already
            host = None
        return QuickStream(stream, host)

    async def aclose(self) -> None:
        await self._listener.aclose()


class QuickStream(trio.abc.Stream):
    """A `SocketStream` for one reader and one writer whose calls cost half as much.

    Trio's own tries to receive first and waits when that fails, and visits the scheduler after each call that went
    through at once; between messages that is a vain system call, an exception and two rounds of the scheduler on the
    way of every message. This one waits first, and is a checkpoint only where it waits.
    """

    def __init__(self, stream: trio.SocketStream, remote_host: str | None = None) -> None:
        self.remote_host = remote_host
        self._stream = stream
        self._file = stream.socket.fileno()
        self._failure: OSError | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, at least one byte; b"" at the end. Always a checkpoint."""
        while True:
            await trio.lowlevel.wait_readable(self._file)
            try:
                return os.read(self._file, max_bytes or 65_536)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    def send_nowait(self, data: bytes) -> int:
        """Send as much as there is room for at once, and say how many bytes. None if the connection is lost: that is
        for the next `send_all` to raise. Not while a `send_all` is under way."""
        try:
            return os.write(self._file, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._failure = error
            return 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. No checkpoint if there is room at once."""
        if self._failure is not None:
            raise trio.BrokenResourceError from self._failure
        try:
            sent = self._write(data)
            if sent == len(data):
                return
            with memoryview(data) as view:
                while sent < len(data):
                    await trio.lowlevel.wait_writable(self._file)
                    sent += self._write(view[sent : sent + 2**20])
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self._file)

    def fileno(self) -> int:
        """The number that the system knows it by."""
        return self._file

    def close_nowait(self) -> None:
        """As `aclose`, without a checkpoint."""
        self._file = -1  # the number may be another file's from now on
        self._stream.socket.close()

    async def aclose(self) -> None:
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return os.write(self._file, data)
        except BlockingIOError:
            return 0


async def dial(address: Address) -> QuickStream:
    """A connection to the first of the host's addresses, resolved anew, that takes it. Raises OSError of the last."""
    failure: OSError = ConnectionRefusedError(errno.ECONNREFUSED, f"{address} stands for no address")
    for family, kind, protocol, where in await _resolve(address):
        connecting = trio.socket.socket(family, kind, protocol)
        try:
            await connecting.connect(where)
            # With nobody listening on a port of the ephemeral range, a socket can meet itself there.
            if connecting.getsockname() == connecting.getpeername():
                raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        except OSError as error:
            connecting.close()
            failure = error
        except BaseException:
            connecting.close()
            raise
        else:
            return QuickStream(trio.SocketStream(connecting))
    raise failure


async def _resolve(
    address: Address, flags: int = 0
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, tuple[object, ...]]]:
    """Family, kind, protocol and address of each socket that the host stands for. Raises OSError."""
    try:
        found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # no name by the rules of the resolver, which are stricter than `parse_address`
        raise socket.gaierror(socket.EAI_NONAME, f"{address.host!r} is no name of a host") from error
    return [(family, kind, protocol, where) for family, kind, protocol, _, where in found]
