"""Who is at the other end is proven before a word is looked at, over real loopback sockets and real TLS (T46-T49)."""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import ssl
import weakref
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog.testing
import trio
import trio.testing

from actors import Tls, TlsError, _arrivals, _tcp
from actors._client_link import open_client_link
from actors._network import Listener, Network, host_of
from actors._node import Node, Origin, open_node
from actors._protocol import envelope as e
from actors._protocol.address import Address
from actors._protocol.credential import Credential, check_answerer, credential_in, objection_to
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Link
from actors._tls import WATCH_SECONDS, Credentials, TlsNetwork, TlsStream
from broadcast.cli._certificates import Files, make_authority, make_leaf, revoke

YEARS_AGO = datetime.now(UTC) - timedelta(days=700)


class Cluster:
    """An authority, and files that it signed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        make_authority(directory)

    def files(self, role: str, name: str, **how: object) -> Files:
        out = self.directory.parent / role  # where no client of a node's name is noticed
        path = out / f"{role}-{name}.pem"
        if path.exists():
            return Files(path, path.with_suffix(".key"), datetime.now(UTC))
        return make_leaf(self.directory, Credential(role, name), out=out, **how)  # type: ignore[arg-type]

    def tls(self, role: str, name: str, **how: object) -> Tls:
        files = self.files(role, name, **how)
        return Tls(certificate=files.certificate, key=files.key, authority=self.directory / "authority.pem")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("cluster") / "certs")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Another cluster: the same names, another authority."""
    return Cluster(tmp_path_factory.mktemp("other") / "certs")


class Box:
    """A receiver that notes what comes, and answers clients with it."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.connections: list[str] = []
        self.changed = trio.lowlevel.ParkingLot()

    def received(self, origin: Origin, envelope: e.Envelope) -> None:
        self._note(self.tags, envelope.tag)
        if origin.is_client:
            origin.send(envelope.sender, "answer", origin.name.encode())

    def connected(self, peer: str) -> None:
        self._note(self.connections, peer)

    def suspected(self, peer: str) -> None: ...

    def disconnected(self, origin: Origin) -> None:
        self.changed.unpark_all()

    def _note(self, where: list[str], what: str) -> None:
        where.append(what)
        self.changed.unpark_all()

    async def wait_connected(self, peer: str, count: int = 1) -> None:
        with trio.fail_after(20):
            while self.connections.count(peer) < count:
                await self.changed.park()

    async def wait_tag(self, tag: str) -> None:
        with trio.fail_after(20):
            while tag not in self.tags:
                await self.changed.park()


@asynccontextmanager
async def boxed(
    name: str, tls: Tls | None, network: Network | None = None, listen: str | None = None
) -> AsyncGenerator[tuple[Node, Box]]:
    async with open_node(name, tls=tls, network=network, listen=listen) as node:
        box = Box()
        node.attach("box", box)
        yield node, box


async def wait_for_faults(node: Node, count: int) -> None:
    with trio.fail_after(20):
        while node.statistics().faults + node.statistics().refused < count:
            await trio.lowlevel.checkpoint()


async def ask(node: Node, tls: Tls, name: str | None = None) -> str:
    """Who the node takes this client for."""
    with trio.fail_after(20):
        network = TlsNetwork(Credentials(tls), _tcp)
        async with open_client_link(str(node.address), name, network) as link:
            link.send("box", "question", b"")
            return (await anext(link)).body.decode()


def raw_context(files: Files | None, authority: Path, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """What somebody uses who does not go by our rules."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    if version is not None:
        context.maximum_version = version
    return context


async def knock(node: Node, context: ssl.SSLContext | None, hello: e.Hello, *more: bytes) -> bytes:
    """Dial, say hello and more, and read until the other side closes; what it said."""
    said = b""
    plain = await _tcp.dial(node.address)
    stream: trio.abc.Stream = plain
    if context is not None:
        stream = trio.SSLStream(plain, context, https_compatible=True)
    with trio.fail_after(20):
        try:
            await stream.send_all(e.pack(hello) + b"".join(more))
            while data := await stream.receive_some(65_536):
                said += data
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)
    return said


def peer_hello(name: str, role: str = "peer", incarnation: int = 5) -> e.Hello:
    return e.Hello(1, 1, name, incarnation, role, 0)


ENVELOPE = e.pack_envelope("box", "", 1, 0, "evil", b"payload")


# -- those who belong to it ------------------------------------------------------------------------------------------


async def test_nodes_and_clients_of_one_authority_reach_each_other(cluster: Cluster) -> None:
    async with boxed("a", cluster.tls("node", "a")) as (a, _), boxed("b", cluster.tls("node", "b")) as (b, at_b):
        a.add_peer("b", str(b.address))
        b.add_peer("a", str(a.address))
        await at_b.wait_connected("a")
        with trio.fail_after(20):
            while not a.send("b", "box", "large", b"x" * 10_000_000):
                await trio.lowlevel.checkpoint()
        await at_b.wait_tag("large")
        assert await ask(b, cluster.tls("client", "reports")) == "reports"
        assert await ask(b, cluster.tls("node", "a")) == "a"  # a node may do what a client may
        assert (b.statistics().faults, b.statistics().refused) == (0, 0)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_with_certificates_a_node_listens_anywhere_and_insecure_is_a_contradiction(
    cluster: Cluster, listen: str
) -> None:
    async with open_node("a", listen=listen, tls=cluster.tls("node", "a")) as a:
        assert a.address.port > 0
    with pytest.raises(ValueError, match="leave one of them out"):
        async with open_node("a", listen=listen, tls=cluster.tls("node", "a"), insecure=True):
            pass


# -- those who do not ------------------------------------------------------------------------------------------------


def self_signed(directory: Path, name: str) -> Files:
    """An authority's own certificate, shown as if it were a node's."""
    return make_authority(directory / f"selfmade-{name}")


STRANGERS = ["another authority", "expired", "self-signed", "no certificate", "TLS 1.2", "no TLS", "a browser"]


@pytest.mark.parametrize("who", STRANGERS)
async def test_a_stranger_is_turned_away_before_it_is_listened_to(
    who: str, cluster: Cluster, other: Cluster, tmp_path: Path
) -> None:
    own, authority = cluster.files("node", "b"), cluster.directory / "authority.pem"
    context, reason = {
        "another authority": (raw_context(other.files("node", "b"), authority), "unable to get local issuer"),
        "expired": (raw_context(make_expired(cluster, tmp_path), authority), "certificate has expired"),
        "self-signed": (raw_context(self_signed(tmp_path, "b"), authority), "certificate is refused: "),
        "no certificate": (raw_context(None, authority), "it shows no certificate"),
        "TLS 1.2": (raw_context(own, authority, version=ssl.TLSVersion.TLSv1_2), "unsupported protocol"),
        "no TLS": (None, "no TLS 1.3"),
        "a browser": (None, "no TLS 1.3"),
    }[who]
    before = b"GET / HTTP/1.1\r\n\r\n" if who == "a browser" else b""
    async with boxed("a", cluster.tls("node", "a")) as (a, box):
        a.add_peer("b", "127.0.0.1:1")
        with structlog.testing.capture_logs() as lines:
            if before:
                assert await shout(a, before) == b""
            else:
                await knock(a, context, peer_hello("b"), ENVELOPE)
            await wait_for_faults(a, 1)
        assert box.tags == []
        assert a.statistics().received == 0
        assert a.statistics().faults == 1
        told = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["event"], line["peer"]) for line in told] == [("stranger turned away", "127.0.0.1")]
        assert reason in told[0]["reason"]
        assert "BEGIN" not in repr(lines)


async def test_who_speaks_tls_to_a_node_without_is_told_so(cluster: Cluster) -> None:
    async with boxed("a", None) as (a, _), boxed("b", cluster.tls("node", "b")) as (b, _):
        with structlog.testing.capture_logs() as lines:
            b.add_peer("a", str(a.address))
            await wait_for_faults(a, 1)
        [told] = {line["reason"] for line in lines if line["event"] == "stranger turned away"}
        assert told.startswith("what it speaks is TLS, and here is none")


async def shout(node: Node, data: bytes) -> bytes:
    stream = await _tcp.dial(node.address)
    await stream.send_all(data)
    said = b""
    with trio.fail_after(20):
        try:
            while more := await stream.receive_some():
                said += more
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    return said


def make_expired(cluster: Cluster, out: Path, name: str = "b", role: str = "node") -> Files:
    out.chmod(0o700)
    return make_leaf(cluster.directory, Credential(role, name), days=1, out=out, now=YEARS_AGO)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        pytest.param(("node", "c"), peer_hello("b"), id="a node that says to be another"),
        pytest.param(("client", "reports"), peer_hello("b"), id="a client that speaks as a peer"),
        pytest.param(("client", "b"), peer_hello("b"), id="a client of a peer's name that speaks as the peer"),
        pytest.param(("client", "reports"), peer_hello("sales", "client"), id="a client that says to be another"),
    ],
)
async def test_what_a_hello_says_is_what_the_certificate_says(
    shown: tuple[str, str], said: e.Hello, cluster: Cluster
) -> None:
    """And the living node of that name keeps its link, and its life."""
    async with boxed("a", cluster.tls("node", "a")) as (a, box), boxed("b", cluster.tls("node", "b")) as (b, at_b):
        a.add_peer("b", str(b.address))
        b.add_peer("a", str(a.address))
        await at_b.wait_connected("a")
        said = e.Hello(1, 1, said.node, b.incarnation + 1, said.role, 0)
        with structlog.testing.capture_logs() as lines:
            context = raw_context(cluster.files(*shown), cluster.directory / "authority.pem")
            await knock(a, context, said, ENVELOPE)
        told = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["event"], line["peer"]) for line in told] == [("link refused", said.node)]
        assert "its certificate is that of" in told[0]["reason"]
        assert a.statistics().refused == 1
        assert box.tags == []
        assert b.send("a", "box", "still there", b"")
        await box.wait_tag("still there")
        assert at_b.connections == ["a"]


@pytest.mark.parametrize("answers", ["another node", "a client", "another cluster's node", "a node without TLS"])
async def test_who_answers_in_the_place_of_a_peer_hears_nothing(
    answers: str, cluster: Cluster, other: Cluster, nursery: trio.Nursery
) -> None:
    files = {
        "another node": cluster.files("node", "c"),
        "a client": cluster.files("client", "b"),
        "another cluster's node": other.files("node", "b"),
        "a node without TLS": None,
    }[answers]
    heard: list[bytes] = []
    done = trio.Event()

    async def answer(plain: trio.SocketStream) -> None:
        stream: trio.abc.Stream = plain
        if files is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.certificate, files.key)
            stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        try:
            if files is None:
                await stream.receive_some()
                await stream.send_all(b"what do you want?" * 100)
            while data := await stream.receive_some():
                heard.append(data if files is not None else b"")
        except trio.BrokenResourceError:
            pass
        finally:
            done.set()
            await trio.aclose_forcefully(stream)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, [listener])
    address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
    async with boxed("a", cluster.tls("node", "a")) as (a, _):
        with structlog.testing.capture_logs() as lines:
            a.add_peer("b", address)
            with trio.fail_after(20):
                await done.wait()
            await wait_for_faults(a, 1)
        assert b"".join(heard) == b""
        assert a.connected_peers() == ()
        told = [(line["event"], line["log_level"], line["peer"]) for line in lines]
        assert told == [("no link", "warning", "b")]
        if answers != "another node":  # of whom a client may be glad
            network = TlsNetwork(Credentials(cluster.tls("client", "x")), _tcp)
            with pytest.raises(OSError, match=r"certificate|TLS"):
                async with open_client_link(address, network=network):
                    pass
        assert "BEGIN" not in repr(lines)
    nursery.cancel_scope.cancel()


async def test_a_node_that_says_to_be_another_has_no_clients(cluster: Cluster, nursery: trio.Nursery) -> None:
    files = cluster.files("node", "c")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)

    async def answer(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        link = Link.answer()
        link.receive_data(await stream.receive_some())
        link.next_event()
        await stream.send_all(link.accept("b", 1, 0))
        assert await stream.receive_some() == b""

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, [listener])
    network = TlsNetwork(Credentials(cluster.tls("client", "x")), _tcp)
    with pytest.raises(ConnectionAbortedError, match=r"node 'b' was expected to answer, and .* that of node 'c'"):
        async with open_client_link(f"127.0.0.1:{listener.socket.getsockname()[1]}", network=network):
            pass
    nursery.cancel_scope.cancel()


async def test_a_client_that_is_refused_is_told_so(cluster: Cluster, other: Cluster, tmp_path: Path) -> None:
    foreign = other.tls("client", "reports")
    async with boxed("a", cluster.tls("node", "a")) as (a, _):
        with pytest.raises(OSError, match="its certificate is refused: another authority signed it"):
            await ask(a, foreign)
        # One who trusts this cluster, and is not trusted by it, learns only that it was turned away.
        both = joined(tmp_path / "both.pem", cluster, other)
        with pytest.raises(OSError, match=r"saw our certificate|broke the connection"):
            await ask(a, Tls(certificate=foreign.certificate, key=foreign.key, authority=both))
        with pytest.raises(ConnectionRefusedError, match="its certificate is that of client 'reports'"):
            await ask(a, cluster.tls("client", "reports"), "sales")


# -- those in between ------------------------------------------------------------------------------------------------


class Tapped:
    """TCP, by somebody who notes what a dialer sends, and flips one bit of it when told."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.flips = False

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        return await _tcp.listen(address, insecure=insecure)

    async def dial(self, address: Address) -> trio.abc.Stream:
        return TappedStream(await _tcp.dial(address), self)


class TappedStream(trio.abc.Stream):
    def __init__(self, inner: trio.abc.Stream, tap: Tapped) -> None:
        self.inner = inner
        self.tap = tap

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytearray(data)
        self.tap.sent += data
        if self.tap.flips:
            self.tap.flips = False
            data[-1] ^= 1
        await self.inner.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_one_flipped_bit_ends_the_link_and_is_counted(cluster: Cluster) -> None:
    tap = Tapped()
    async with boxed("a", cluster.tls("node", "a"), tap) as (a, at_a), boxed("b", cluster.tls("node", "b")) as (b, box):
        a.add_peer("b", str(b.address))
        await at_a.wait_connected("b")
        with structlog.testing.capture_logs() as lines:
            tap.flips = True
            a.send("b", "box", "flipped", b"x")
            await wait_for_faults(b, 1)
            await at_a.wait_connected("b", 2)
        told = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["event"], line["peer"]) for line in told] == [("link closed for a fault", "a")]
        assert box.tags == []
        a.send("b", "box", "whole", b"x")
        await box.wait_tag("whole")


async def test_a_conversation_that_is_played_again_is_refused_and_counted(cluster: Cluster) -> None:
    tap = Tapped()
    async with boxed("b", cluster.tls("node", "b")) as (b, box):
        async with boxed("a", cluster.tls("node", "a"), tap) as (a, at_a):
            a.add_peer("b", str(b.address))
            await at_a.wait_connected("b")
            a.send("b", "box", "once", b"x")
            await box.wait_tag("once")
        captured = bytes(tap.sent)
        assert len(captured) > 1_000
        with structlog.testing.capture_logs() as lines:
            await shout(b, captured)
            await wait_for_faults(b, 1)
        assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["stranger turned away"]
        assert box.tags == ["once"]


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0.02)


async def test_a_handshake_has_a_time_limit(cluster: Cluster, autojump_clock: trio.testing.MockClock) -> None:
    """Also one that trickles in, a byte at a time."""
    hello = bytes.fromhex("16030100c8010000c40303")
    async with boxed("a", cluster.tls("node", "a")) as (a, _):
        stream = await _tcp.dial(a.address)
        begun = trio.current_time()
        with trio.fail_after(60):
            for byte in hello:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.4)
            assert await stream.receive_some() == b""
        assert 4.9 <= trio.current_time() - begun <= 6
        await stream.aclose()


# -- limits per address ----------------------------------------------------------------------------------------------


async def test_one_address_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its eldest that has not said who it is makes room; where all have, one more is closed."""
    monkeypatch.setattr(_arrivals, "CONNECTIONS_PER_HOST_MAX", 2)
    monkeypatch.setattr(_arrivals, "SILENT_SECONDS", 0.0)
    async with boxed("a", None) as (a, box):
        silent = [await _tcp.dial(a.address) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as lines:
            async with open_client_link(str(a.address)):
                with trio.fail_after(3):
                    assert await silent[0].receive_some() == b""
                async with open_client_link(str(a.address)):
                    with trio.fail_after(3):
                        assert await silent[1].receive_some() == b""
                    with pytest.raises(ConnectionAbortedError):
                        async with open_client_link(str(a.address)):
                            pass
        told = [(line["event"], line["peer"]) for line in lines if line["log_level"] == "warning"]
        assert told == [("too many connections from one address", "127.0.0.1")]
        with trio.fail_after(20):
            while a.statistics().clients:
                await box.changed.park()
        again = [await _tcp.dial(a.address) for _ in range(2)]  # there is room, and nobody has to go
        await trio.testing.wait_all_tasks_blocked()
        async with open_client_link(str(a.address)):
            pass
        silent += again
        for stream in silent:
            await stream.aclose()


async def test_room_is_made_by_those_of_the_same_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_PER_HOST_MAX", 1)
    monkeypatch.setattr(_arrivals, "SILENT_SECONDS", 0.0)
    async with boxed("a", None) as (a, _):
        eldest = await trio.open_tcp_stream(*a.address, local_address="127.0.0.2")
        await trio.testing.wait_all_tasks_blocked()
        older, newer = await _tcp.dial(a.address), await _tcp.dial(a.address)
        with trio.fail_after(3):
            assert await older.receive_some() == b""
        async with newer, older:
            await eldest.send_all(e.pack(peer_hello("p", "client")))
            with trio.fail_after(3):
                assert b"ready" in await eldest.receive_some()
        await eldest.aclose()


async def test_clients_of_one_address_leave_places_for_peers_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "STRANGERS_PER_HOST_MAX", 1)
    async with boxed("a", None) as (a, box):
        async with open_client_link(str(a.address)), boxed("b", None) as (b, at_b):
            with pytest.raises(ConnectionRefusedError, match=r"1 clients and unknown peers are here from 127\.0\.0\.1"):
                async with open_client_link(str(a.address)):
                    pass
            a.add_peer("b", str(b.address))
            b.add_peer("a", str(a.address))
            await at_b.wait_connected("a")
        with trio.fail_after(20):
            while a.statistics().clients:
                await box.changed.park()
        async with open_client_link(str(a.address)):
            pass


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, None),
    ],
)
def test_a_host_has_all_of_its_ipv6_network(address: str | None, host: str | None) -> None:
    stream = trio.testing.memory_stream_pair()[0]
    stream.remote_host = address  # type: ignore[attr-defined]
    assert host_of(stream) == host


# -- files -----------------------------------------------------------------------------------------------------------


def copied(tls: Tls, directory: Path) -> Tls:
    """The same, to be changed by a test."""
    directory.mkdir(mode=0o700, exist_ok=True)
    names = {"certificate": tls.certificate, "key": tls.key, "authority": tls.authority}
    return Tls(**{field: shutil.copy2(path, directory / field) for field, path in names.items()})


async def test_files_that_change_count_from_the_next_connection_on(
    cluster: Cluster, other: Cluster, tmp_path: Path
) -> None:
    """The cluster changes its authority: by one file with both, a new certificate, and a file with the new one."""
    tls = copied(cluster.tls("node", "a"), tmp_path / "a")
    both, new = joined(tmp_path / "both.pem", cluster, other), other.directory / "authority.pem"
    veteran, newcomer = cluster.tls("client", "x"), other.tls("client", "x")
    tolerant = Tls(certificate=newcomer.certificate, key=newcomer.key, authority=both)
    async with boxed("a", tls) as (a, _):
        assert await ask(a, veteran) == "x"
        with pytest.raises(OSError, match=r"saw our certificate|broke the connection"):
            await ask(a, tolerant)
        replace(tls.authority, both)
        assert await ask(a, tolerant) == await ask(a, veteran) == "x"
        issued = other.files("node", "a")
        with structlog.testing.capture_logs() as lines:
            replace(tls.key, issued.key)
            assert await ask(a, veteran) == "x"  # half of the change: the old ones stay
            assert await ask(a, veteran) == "x"
            replace(tls.certificate, issued.certificate)
            assert await ask(a, newcomer) == "x"
        told = [line for line in lines if "certificates" in line["event"]]
        assert [(line["event"], line["log_level"]) for line in told] == [
            ("new certificates cannot be used: the old ones stay", "warning"),
            ("certificates loaded anew", "info"),
        ]
        assert "key values mismatch" in told[0]["reason"]
        replace(tls.authority, new)
        with pytest.raises(OSError, match="refused"):
            await ask(a, veteran)
        assert await ask(a, newcomer) == "x"


def test_a_key_that_was_closed_to_others_is_looked_at_again(cluster: Cluster, tmp_path: Path) -> None:
    tls = copied(cluster.tls("client", "x"), tmp_path / "x")
    credentials = Credentials(tls)
    first = credentials.current()
    with structlog.testing.capture_logs() as lines:
        Path(tls.key).chmod(0o644)
        assert credentials.current() is credentials.current() is first
        Path(tls.key).chmod(0o600)
        assert credentials.current() is not first
    assert [line["log_level"] for line in lines] == ["warning", "info"]


def replace(path: str | os.PathLike[str], by: Path) -> None:
    """As a file is replaced while it may be read."""
    beside = Path(path).with_name("beside")
    shutil.copyfile(by, beside)
    beside.chmod(0o600)
    beside.replace(path)


async def test_links_that_are_open_stay_when_files_change(cluster: Cluster, other: Cluster, tmp_path: Path) -> None:
    tls = copied(cluster.tls("node", "a"), tmp_path / "a")
    async with boxed("a", tls) as (a, at_a), boxed("b", cluster.tls("node", "b")) as (b, at_b):
        b.add_peer("a", str(a.address))
        await at_b.wait_connected("a")
        damage(tls.authority)
        with pytest.raises(OSError, match="refused"):
            await ask(a, other.tls("client", "x"))
        assert b.send("a", "box", "as before", b"")
        await at_a.wait_tag("as before")
        assert at_b.connections == ["a"]


async def test_a_certificate_that_is_revoked_counts_no_more_from_the_next_connection_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A client's at a node, a node's at a client, and a node's at itself."""
    stolen, kept = cluster.tls("client", "stolen"), cluster.tls("client", "kept")
    listed = copied(cluster.tls("node", "a"), tmp_path / "a")
    empty = tmp_path / "list.pem"
    shutil.copyfile(revoke(cluster.directory, []), empty)
    tls = dataclasses.replace(listed, revoked=empty)
    async with boxed("a", tls) as (a, _):
        assert await ask(a, stolen) == "stolen"
        replace(empty, revoke(cluster.directory, [Path(stolen.certificate)]))
        with structlog.testing.capture_logs() as lines, pytest.raises(OSError, match=r"saw our certificate|broke"):
            await ask(a, stolen)
        await wait_for_faults(a, 1)
        told = [line for line in lines if line["event"] == "stranger turned away"]
        assert [line["reason"] for line in told] == ["its certificate is refused: certificate revoked"]
        assert await ask(a, kept) == "kept"
        revoke(cluster.directory, [Path(listed.certificate)])
        wary = dataclasses.replace(kept, revoked=cluster.directory / "revoked.pem")
        with pytest.raises(OSError, match="certificate revoked"):
            await ask(a, wary)
        with pytest.raises(OSError, match=r"saw our certificate|broke"):  # the list still holds what it held
            await ask(a, stolen)
    assert "certificate revoked" in expect_unusable(
        dataclasses.replace(listed, revoked=cluster.directory / "revoked.pem")
    )
    (cluster.directory / "revoked.pem").unlink()


def test_a_list_that_is_none_or_of_another_authority_cannot_be_used(
    cluster: Cluster, other: Cluster, tmp_path: Path
) -> None:
    """With a list that does not say whether its own certificate counts, a node would turn away everybody."""
    tls = copied(cluster.tls("node", "a"), tmp_path / "a")
    missing = tmp_path / "missing.pem"
    assert f"the file {missing} cannot be read" in expect_unusable(dataclasses.replace(tls, revoked=missing))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    assert "must be in PEM" in expect_unusable(dataclasses.replace(tls, revoked=garbage))
    assert "holds no list" in expect_unusable(dataclasses.replace(tls, revoked=tls.authority))
    foreign = revoke(other.directory, [])
    assert "unable to get certificate CRL" in expect_unusable(dataclasses.replace(tls, revoked=foreign))
    foreign.unlink()


def damage(path: str | os.PathLike[str]) -> None:
    Path(path).write_text("nothing of use")


def append(path: Path, more: Path) -> None:
    path.write_bytes(path.read_bytes() + more.read_bytes())


def joined(path: Path, *clusters: Cluster) -> Path:
    """One file with the authorities of all."""
    path.write_bytes(b"".join((each.directory / "authority.pem").read_bytes() for each in clusters))
    return path


def expect_unusable(tls: Tls, expected: Credential | None = None) -> str:
    with pytest.raises(TlsError) as caught:
        Credentials(tls, expected)
    assert "PRIVATE" not in str(caught.value)
    return str(caught.value)


def test_files_that_cannot_be_used_are_told_with_the_reason(cluster: Cluster, other: Cluster, tmp_path: Path) -> None:
    def fresh(name: str) -> Tls:
        return copied(cluster.tls("node", "a"), tmp_path / name)

    missing = fresh("missing")
    Path(missing.key).unlink()
    assert "cannot be read (No such file or directory)" in expect_unusable(missing)
    missing = fresh("authority")
    Path(missing.authority).unlink()
    assert f"the file {missing.authority} cannot be read" in expect_unusable(missing)
    damaged = fresh("damaged")
    Path(damaged.certificate).write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert "cannot be used together" in expect_unusable(damaged)
    open_key = fresh("open")
    Path(open_key.key).chmod(0o644)
    assert f"chmod 600 {open_key.key}" in expect_unusable(open_key)
    mixed = fresh("mixed")
    shutil.copyfile(other.files("node", "a").key, mixed.key)
    assert "key values mismatch" in expect_unusable(mixed)
    foreign = fresh("foreign")
    shutil.copyfile(other.directory / "authority.pem", foreign.authority)
    assert "unable to get local issuer certificate" in expect_unusable(foreign)
    garbage = fresh("garbage")
    Path(garbage.authority).write_text("garbage")
    assert "the authority" in expect_unusable(garbage)
    (tmp_path / "expired").mkdir(mode=0o700)
    expired = make_expired(cluster, tmp_path / "expired", "a")
    told = expect_unusable(
        Tls(certificate=expired.certificate, key=expired.key, authority=cluster.directory / "authority.pem")
    )
    assert "certificate has expired" in told


def test_a_passphrase_is_refused_and_not_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    tls = copied(cluster.tls("node", "a"), tmp_path / "a")
    key = s.load_pem_private_key(Path(tls.key).read_bytes(), None)
    secret = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret"))
    Path(tls.key).write_bytes(secret)
    assert "the key has a passphrase" in expect_unusable(tls)


async def test_a_certificate_is_for_one_node(cluster: Cluster) -> None:
    for role, name in (("node", "b"), ("client", "a")):
        with pytest.raises(TlsError, match=f"that of {role} '{name}', and this is node 'a'"):
            async with open_node("a", tls=cluster.tls(role, name)):
                pass


def test_an_authority_is_no_node(cluster: Cluster) -> None:
    authority = cluster.directory / "authority.pem"
    tls = Tls(certificate=authority, key=cluster.directory / "authority.key", authority=authority)
    assert "cannot be used" in expect_unusable(tls) or "would be refused" in expect_unusable(tls)


async def test_the_log_says_in_time_and_daily_that_a_certificate_ends(cluster: Cluster, tmp_path: Path) -> None:
    files = make_leaf(cluster.directory, Credential("node", "a"), days=10, out=_private(tmp_path / "short"))
    short = Tls(certificate=files.certificate, key=files.key, authority=cluster.directory / "authority.pem")
    with structlog.testing.capture_logs() as lines:
        async with open_node("a", tls=cluster.tls("node", "a")):
            await trio.testing.wait_all_tasks_blocked()
    assert lines == []
    with structlog.testing.capture_logs() as lines:
        async with open_node("a", tls=short):
            await trio.testing.wait_all_tasks_blocked()
    [line] = lines
    assert (line["event"], line["log_level"], line["node"]) == ("certificates end soon", "warning", "a")
    assert str(files.certificate) in line["reason"]
    assert f"{files.ends:%Y-%m-%d}" in line["reason"]
    assert WATCH_SECONDS == 86_400


async def test_an_authority_that_has_ended_and_signed_none_of_ours_is_no_news(cluster: Cluster, tmp_path: Path) -> None:
    """As after a change of authorities, while both are in the file."""
    made = make_authority(tmp_path / "old", days=1, now=YEARS_AGO)
    tls = copied(cluster.tls("node", "a"), tmp_path / "a")
    both = tmp_path / "both.pem"
    shutil.copyfile(made.certificate, both)
    append(both, cluster.directory / "authority.pem")
    replace(tls.authority, both)
    with structlog.testing.capture_logs() as lines:
        async with open_node("a", tls=tls):
            await trio.testing.wait_all_tasks_blocked()
    assert lines == []


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


# -- the rules -------------------------------------------------------------------------------------------------------


def test_a_certificate_names_one_of_ours() -> None:
    assert credential_in(["https://example.org", "troupe://node/a"]) == Credential("node", "a")
    for uris in (
        [],
        ["https://example.org"],
        ["troupe://node/a", "troupe://node/b"],
        ["troupe://node/a", "troupe://client/a"],
        ["troupe://node/"],
        ["troupe://node/a/b"],
        ["troupe://node/a\n"],
        ["troupe://root/a"],
        ["Troupe://node/a"],
        ["troupe:node/a"],
    ):
        with pytest.raises(RemoteProtocolError, match="its certificate names"):
            credential_in(uris)


def test_a_hello_agrees_with_the_certificate_or_is_refused() -> None:
    node, client = Credential("node", "a"), Credential("client", "a")
    assert objection_to(None, peer_hello("a")) is None
    assert objection_to(node, peer_hello("a")) is None
    assert objection_to(node, peer_hello("a", "client")) is None
    assert objection_to(client, peer_hello("a", "client")) is None
    for credential, hello in (
        (node, peer_hello("b")),
        (node, peer_hello("b", "client")),
        (client, peer_hello("a")),
        (client, peer_hello("b", "client")),
    ):
        assert "its certificate is that of" in str(objection_to(credential, hello))


def test_only_the_node_that_was_dialed_may_answer() -> None:
    check_answerer(None, "a")
    check_answerer(Credential("node", "a"), "a")
    for credential in (Credential("node", "b"), Credential("client", "a")):
        with pytest.raises(RemoteProtocolError, match="was expected to answer"):
            check_answerer(credential, "a")


def unproven(accepted: bool) -> tuple[TlsStream, trio.abc.Stream]:
    """A stream whose handshake is not over, and what is at its other end."""
    here, there = trio.testing.memory_stream_pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if accepted else ssl.PROTOCOL_TLS_CLIENT)
    return TlsStream(here, context, accepted=accepted), there


@pytest.mark.parametrize("accepted", [True, False])
async def test_who_goes_within_a_handshake_leaves_nothing_to_the_garbage_collector(accepted: bool) -> None:
    """Else what OpenSSL keeps for each of ten thousand waits for a collector that does not know how much it is."""
    gc.collect()
    gc.disable()
    try:
        stream, there = unproven(accepted)
        gone = weakref.ref(stream._stream)  # pyright: ignore[reportPrivateUsage]
        with trio.move_on_after(0):
            await stream.prove()
        await trio.aclose_forcefully(stream)
        del stream
        await trio.lowlevel.checkpoint()
        assert gone() is None
        await there.aclose()
    finally:
        gc.enable()


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_closed_stream_says_so(accepted: bool) -> None:
    stream, _ = unproven(accepted)
    for _ in range(2):
        await trio.aclose_forcefully(stream)
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
