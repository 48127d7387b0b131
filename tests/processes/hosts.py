"""Hosts of our own on this machine: a network namespace for each, and a network between them that does as it is told.

    async with open_hosts("abc") as network:
        network.command("a")                         # what to run a program on that host by
        connect(..., network=network.from_host("a"))   # a client on that host
        network.line("a", "b").loss = 0.05           # of the packets that a sends to b

Each host has one interface (tun), and what it sends comes here as packets: real ones, of the kernel's TCP, so that
what is lost here is sent again there, and what is corrupted is found out by its checksums, or is not. What a packet
filter does, and a queueing discipline, a `Line` does; the kernel need not have either.

Namespaces have names that nobody else uses, and are removed in the end, whatever happens. No packet leaves them: there
is no other interface, and the addresses (RFC 2544) are for nothing but measuring.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import secrets
import struct
import subprocess
import threading
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import trio

import actors
from actors import Address, Listener
from actors._tcp import QuickStream

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_SIZE_MAX = 65_536
QUEUE_SIZE_MAX = 2**18  # bytes that wait at a line; more is lost, as at any router
HEADER_SIZE = 40  # bytes of IP and TCP, at least; what is corrupted lies behind
NET = "198.18.0"


class CannotMakeHosts(Exception):
    """This machine does not allow it, or lacks what it takes; the text says what."""


@dataclass
class Line:
    """What becomes of the packets from one host to another.

    delay, jitter: seconds, between delay - jitter and delay + jitter. loss, duplicates, corruption: share of the
    packets, 0 to 1. reordering: share that is not delayed at all. rate: bits in a second; None: any.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    corruption: float = 0.0
    reordering: float = 0.0
    rate: float | None = None
    carried: int = 0
    lost: int = 0
    corrupted: int = 0
    busy_until: float = 0.0

    def clear(self) -> None:
        """From now on it only carries."""
        self.__init__(carried=self.carried, lost=self.lost, corrupted=self.corrupted)  # type: ignore[misc]


class Network:
    """Lines between all of these hosts."""

    def __init__(self, hosts: dict[str, _Host], chance: random.Random) -> None:
        self.addresses = {name: host.address for name, host in hosts.items()}
        self._hosts = hosts
        self._chance = chance
        self._lines = {(one, other): Line() for one in hosts for other in hosts if one != other}

    def line(self, sender: str, receiver: str) -> Line:
        return self._lines[sender, receiver]

    def lines(self, name: str | None = None) -> list[Line]:
        """All, or those from and to this host."""
        return [line for pair, line in self._lines.items() if name is None or name in pair]

    def command(self, name: str) -> tuple[str, ...]:
        """Before a command that is to run on this host."""
        return "ip", "netns", "exec", self._hosts[name].namespace

    def from_host(self, name: str) -> HostNetwork:
        """For clients in this process that are on that host."""
        return HostNetwork(self, name)

    @contextmanager
    def visited(self, name: str) -> Generator[None]:
        """The sockets that this thread makes meanwhile are that host's. Nobody else may run meanwhile: a thread that is
        begun here stays there, and so do the processes that are started by it, for whoever comes to use it."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._hosts[name].namespace)
            try:
                yield
            finally:
                _set_namespace(here)
        finally:
            os.close(here)

    async def carry_from(self, name: str, nursery: trio.Nursery) -> None:
        """What this host sends, for ever."""
        file = self._hosts[name].file
        receivers = {host.number: other for other, host in self._hosts.items()}
        while True:
            await trio.lowlevel.wait_readable(file)
            try:
                packet = os.read(file, PACKET_SIZE_MAX)
            except BlockingIOError:
                continue
            receiver = receivers.get(packet[19]) if packet[0] >> 4 == 4 else None
            if receiver is not None and receiver != name:
                self._send(self._lines[name, receiver], self._hosts[receiver].file, packet, nursery)

    def _send(self, line: Line, file: int, packet: bytes, nursery: trio.Nursery) -> None:
        chance, now = self._chance, trio.current_time()
        waiting = 0.0
        if line.rate is not None:
            if (line.busy_until - now) * line.rate / 8 > QUEUE_SIZE_MAX:
                line.lost += 1
                return
            line.busy_until = max(now, line.busy_until) + len(packet) * 8 / line.rate
            waiting = line.busy_until - now
        for _ in range(2 if chance.random() < line.duplicates else 1):
            if chance.random() < line.loss:
                line.lost += 1
                continue
            sent = packet
            if chance.random() < line.corruption and len(packet) > HEADER_SIZE:
                at = chance.randrange(HEADER_SIZE, len(packet))
                sent = packet[:at] + bytes([packet[at] ^ 1 << chance.randrange(8)]) + packet[at + 1 :]
                line.corrupted += 1
            delay = 0.0 if chance.random() < line.reordering else line.delay + chance.uniform(-1, 1) * line.jitter
            line.carried += 1
            if waiting + delay <= 0:
                _write(file, sent)
            else:
                nursery.start_soon(_send_later, now + waiting + delay, file, sent)


class HostNetwork(actors.Network):
    """Dials from one host."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        raise NotImplementedError

    async def dial(self, address: Address) -> QuickStream:
        with self._network.visited(self._name):
            made = trio.socket.socket()
        try:
            await made.connect((address.host, address.port))
        except BaseException:
            made.close()
            raise
        return QuickStream(trio.SocketStream(made))


async def _send_later(when: float, file: int, packet: bytes) -> None:
    await trio.sleep_until(when)
    _write(file, packet)


def _write(file: int, packet: bytes) -> None:
    with suppress(BlockingIOError):  # then it is lost
        os.write(file, packet)


@dataclass(frozen=True)
class _Host:
    namespace: str
    number: int
    file: int  # of its interface

    @property
    def address(self) -> str:
        return f"{NET}.{self.number}"


@asynccontextmanager
async def open_hosts(names: Iterable[str], seed: int = 0) -> AsyncGenerator[Network]:
    """Raises CannotMakeHosts."""
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(_host(name, number)) for number, name in enumerate(names, 1)}
        network = Network(hosts, random.Random(seed))
        async with trio.open_nursery() as nursery:
            for name in hosts:
                nursery.start_soon(network.carry_from, name, nursery)
            yield network
            nursery.cancel_scope.cancel()


def try_one() -> None:
    """Does this machine allow it? Raises CannotMakeHosts."""
    with _host("try", 1):
        pass


@contextmanager
def _host(name: str, number: int) -> Generator[_Host]:
    namespace = f"troupe-{os.getpid()}-{secrets.token_hex(3)}-{name}"
    _ip("netns", "add", namespace)
    try:
        file = _open_interface(namespace)
        try:
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "address", "add", f"{NET}.{number}/24", "dev", "wire")
            _ip("-n", namespace, "link", "set", "wire", "mtu", "1400", "up")
            yield _Host(namespace, number, file)
        finally:
            os.close(file)
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=False)


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise CannotMakeHosts("there is no `ip` (Debian and Ubuntu: apt-get install iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise CannotMakeHosts(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from None


def _open_interface(namespace: str) -> int:
    """The file of a new interface, named wire, of that namespace: made by a thread that enters it, and ends."""
    made: list[int | OSError] = []

    def make() -> None:
        try:
            _enter(namespace)
            file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
            made.append(file)
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (file,) = made
    if isinstance(file, OSError):
        raise CannotMakeHosts(f"no tun interface: {file}")
    return file


def _enter(namespace: str) -> None:
    file = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(file)
    finally:
        os.close(file)


def _set_namespace(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
