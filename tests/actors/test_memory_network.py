"""The network in memory: as reliable as TCP, and as unreliable, at will."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import MockClock

from actors import Address, CannotListen, Envelope, Origin, open_node
from actors._client_link import open_client_link
from actors.testing import BACKLOG, Host, MemoryNetwork, MemoryStream


async def connected(network: MemoryNetwork) -> tuple[Host, MemoryStream, Host, MemoryStream]:
    """Host "a", which dialed, its end of the connection; "b", and its end."""
    a, b = network.host("a"), network.host("b")
    [listener] = await b.listen(Address("b", 1), insecure=False)
    return a, await a.dial(Address("b", 1)), b, await listener.accept()


async def received(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some()
    return data


async def test_bytes_arrive_both_ways_and_the_end_after_them() -> None:
    _, here, _, there = await connected(MemoryNetwork())
    await here.send_all(b"ping")
    assert here.send_nowait(b"!") == 1
    assert await received(there, 5) == b"ping!"
    await there.send_all(b"pong")
    await there.aclose()
    assert await received(here, 4) == b"pong"
    assert await here.receive_some() == b""


async def test_what_is_under_way_takes_its_time_and_stays_in_order(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(random=Random(1), latency=5.0)
    _, here, _, there = await connected(network)
    began = trio.current_time()
    sent = [bytes([number]) for number in range(20)]
    for each in sent:
        await here.send_all(each)
    with trio.fail_after(60):
        assert await received(there, len(sent)) == b"".join(sent)
    assert 1 < trio.current_time() - began <= 5


async def test_a_full_connection_takes_no_more_until_it_is_read(autojump_clock: MockClock) -> None:
    _, here, _, there = await connected(MemoryNetwork(buffer_size=10))
    assert here.send_nowait(b"x" * 8) == 8
    assert here.send_nowait(b"y" * 8) == 2
    with trio.move_on_after(1) as scope:
        await here.send_all(b"z")
    assert scope.cancelled_caught
    assert await received(there, 10) == b"x" * 8 + b"yy"
    await here.send_all(b"z")
    assert await there.receive_some() == b"z"


async def test_a_connection_that_was_made_narrower_takes_nothing_until_less_is_under_way(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork(buffer_size=10, tearing=0.5, random=Random(1))
    _, here, _, there = await connected(network)
    await here.send_all(b"x" * 10)
    network.buffer_size = 4
    assert here.send_nowait(b"y") == 0
    with trio.move_on_after(1) as scope:
        await here.send_all(b"y")
    assert scope.cancelled_caught
    assert await received(there, 10) == b"x" * 10
    await here.send_all(b"y")
    assert await there.receive_some() == b"y"


async def test_who_waits_for_room_goes_on_when_there_is_more(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(buffer_size=2)
    _, here, _, there = await connected(network)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.send_all, b"four")
            await trio.testing.wait_all_tasks_blocked()
            network.buffer_size = 4
    assert await received(there, 4) == b"four"


async def test_a_write_may_be_torn_and_loses_nothing(autojump_clock: MockClock) -> None:
    _, here, _, there = await connected(MemoryNetwork(random=Random(1), tearing=0.9, buffer_size=50))
    data = bytes(range(256))
    pieces: list[bytes] = []

    async def read() -> None:
        while sum(map(len, pieces)) < len(data):
            pieces.append(await there.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await here.send_all(data)
    assert b"".join(pieces) == data
    assert len(pieces) > 10


async def test_a_cut_way_holds_what_is_sent_until_it_is_healed(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    _, here, _, there = await connected(network)
    network.cut("a", "b")
    await here.send_all(b"later")
    await there.send_all(b"now")
    assert await here.receive_some() == b"now"
    with trio.move_on_after(60) as scope:
        await there.receive_some()
    assert scope.cancelled_caught
    network.heal("a", "b")
    assert await there.receive_some() == b"later"


async def test_healing_what_is_not_cut_leaves_the_next_cut_alone(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    _, here, _, there = await connected(network)
    network.heal("a", "b")
    network.cut("a", "b")
    await here.send_all(b"later")
    with trio.move_on_after(60) as scope:
        await there.receive_some()
    assert scope.cancelled_caught


async def test_nobody_gets_through_to_a_host_that_is_cut_off(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    a, _, _, _ = await connected(network)
    network.cut("b", "a")
    with trio.move_on_after(60) as scope:
        await a.dial(Address("b", 1))
    assert scope.cancelled_caught


async def test_of_a_lost_connection_a_beginning_arrives_and_then_the_break() -> None:
    network = MemoryNetwork(random=Random(3))
    _, here, _, there = await connected(network)
    await here.send_all(b"a frame of some length")
    network.lose("b", "a")
    came: list[bytes] = []

    async def read() -> None:
        while True:
            came.append(await there.receive_some())

    with pytest.raises(trio.BrokenResourceError) as caught:
        await read()
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert b"a frame of some length".startswith(b"".join(came))
    assert 0 < len(b"".join(came)) < 22
    assert here.send_nowait(b"more") == 0
    with pytest.raises(trio.BrokenResourceError):
        await here.send_all(b"more")


async def test_a_host_that_crashes_takes_all_that_is_its_own() -> None:
    network = MemoryNetwork()
    a, here, b, there = await connected(network)
    b.crash()
    with pytest.raises(trio.BrokenResourceError):
        await here.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await there.send_all(b"x")
    with pytest.raises(ConnectionRefusedError):
        await a.dial(Address("b", 1))
    with pytest.raises(OSError, match="down"):
        await b.dial(Address("a", 1))
    [again] = await network.host("b").listen(Address("b", 1), insecure=False)
    await a.dial(again.address)


async def test_closing_gives_everything_back() -> None:
    network = MemoryNetwork()
    a, here, b, there = await connected(network)
    await a.dial(Address("b", 1))
    for stream in (here, there):
        await stream.aclose()
    for listener in list(b._listeners):
        await listener.aclose()
    assert len(a.streams) == 1
    assert not b.streams
    with pytest.raises(trio.ClosedResourceError):
        await here.receive_some()


async def test_who_waits_to_read_hears_that_it_was_closed_here(nursery: trio.Nursery) -> None:
    _, here, _, _ = await connected(MemoryNetwork())

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await here.receive_some()
        done.set()

    done = trio.Event()
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    await here.aclose()
    await done.wait()


async def test_closing_with_something_unread_breaks_the_connection() -> None:
    _, here, _, there = await connected(MemoryNetwork())
    await here.send_all(b"unread")
    await there.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await here.receive_some()


async def test_who_dials_waits_where_too_many_do(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    [listener] = await network.host("b").listen(Address("b", 1), insecure=False)
    host, came, refused = network.host("a"), list[MemoryStream](), 0

    async def dial() -> None:
        nonlocal refused
        try:
            came.append(await host.dial(Address("b", 1)))
        except ConnectionRefusedError:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(BACKLOG + 10):
            nursery.start_soon(dial)
        await trio.sleep(1)
        assert len(came) == BACKLOG
        for _ in range(5):
            await (await listener.accept()).aclose()
        await trio.sleep(1)
        assert len(came) == BACKLOG + 5
        await listener.aclose()
    assert (len(came), refused) == (BACKLOG + 5, 5)


async def test_dials_can_be_refused(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(random=Random(1), refusals=0.5)
    a, b = network.host("a"), network.host("b")
    await b.listen(Address("b", 1), insecure=False)
    refused = 0
    for _ in range(40):
        try:
            await a.dial(Address("b", 1))
        except ConnectionRefusedError:
            refused += 1
    assert 5 < refused < 35


async def test_an_address_belongs_to_one_host_and_one_listener() -> None:
    network = MemoryNetwork()
    a = network.host("a")
    [first] = await a.listen(Address("a", 0), insecure=False)
    with pytest.raises(CannotListen, match="this host is a"):
        await a.listen(Address("b", 1), insecure=False)
    with pytest.raises(CannotListen, match="somebody does already"):
        await a.listen(first.address, insecure=False)


class Recorder:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.suspects: list[str] = []

    def received(self, origin: Origin, envelope: Envelope) -> None:
        self.came.append(envelope.body)

    def connected(self, peer: str) -> None:
        pass

    def suspected(self, peer: str) -> None:
        self.suspects.append(peer)

    def disconnected(self, origin: Origin) -> None:
        pass


async def test_nodes_and_clients_speak_over_it(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(random=Random(1), latency=0.01, tearing=0.3, buffer_size=100)
    addresses = {"a": "a:1", "b": "b:1"}
    recorder = Recorder()
    host = network.host("b")
    async with (
        open_node("a", peers=addresses, network=network.host("a")) as a,
        open_node("b", peers=addresses, network=host) as b,
    ):
        b.attach("here", recorder)
        await trio.sleep(1)
        assert all(a.send("b", "here", "tag", body) for body in (b"one", b"x" * 5_000, b"three"))
        async with open_client_link("b:1", network=network.host("c")) as client:
            assert client.send("here", "tag", b"of a client")
            await trio.sleep(1)
        assert sorted(recorder.came, key=len) == [b"one", b"three", b"of a client", b"x" * 5_000]
        assert [body for body in recorder.came if body != b"of a client"] == [b"one", b"x" * 5_000, b"three"]


async def test_a_node_suspects_a_peer_whose_host_has_crashed(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    addresses = {"a": "a:1", "b": "b:1"}
    recorder = Recorder()
    host = network.host("b")
    async with open_node("a", peers=addresses, network=network.host("a")) as a:
        a.attach("here", recorder)
        async with open_node("b", peers=addresses, network=host):
            await trio.sleep(1)
            assert a.connected_peers() == ("b",)
            host.crash()
            await trio.sleep(0.1)
        assert recorder.suspects == ["b"]
