"""A client's one link carries both directions, and says clearly when it is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from actors import _client_link
from actors._client_link import open_client_link
from actors._exchange import NO_SUCH
from actors._node import Node, Origin, open_node
from actors._protocol import envelope as e
from actors._protocol import link as protocol
from actors._protocol.codec import decode
from actors._protocol.errors import LinkBroken, TooLarge


class Echo:
    """Answers a client with its own body."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self.gone = trio.Event()

    def received(self, origin: Origin, envelope: e.Envelope) -> None:
        self.origins.append(origin)
        origin.send(envelope.sender, "echo", envelope.body, correlation=envelope.correlation)

    def connected(self, peer: str) -> None: ...

    def suspected(self, peer: str) -> None: ...

    def disconnected(self, origin: Origin) -> None:
        self.gone.set()


@pytest.fixture
def leaping_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0.02)


async def serve(handler: Callable[[trio.SocketStream], Awaitable[object]], nursery: trio.Nursery) -> str:
    listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    host, port = listeners[0].socket.getsockname()
    return f"{host}:{port}"


async def welcome(stream: trio.SocketStream, counter: int = 0, then: bytes = b"") -> None:
    """Take a client in as a node does, say this, and nothing more."""
    link = protocol.Link.answer()
    link.receive_data(await stream.receive_some())
    assert isinstance(link.next_event(), protocol.Asked)
    await stream.send_all(link.accept("mute", 1, counter) + then)
    await trio.sleep_forever()


def echoing(node: Node) -> Echo:
    echo = Echo()
    node.attach("echo", echo)
    return echo


async def test_a_client_asks_and_is_answered() -> None:
    async with open_node("a") as a:
        echo = echoing(a)
        async with open_client_link(str(a.address)) as client:
            assert (client.node, client.incarnation) == ("a", a.incarnation)
            for number in range(10):
                assert client.send("echo", "ask", b"%d" % number, sender="me", correlation=number)
            for number in range(10):
                answer = await anext(client)
                assert (answer.to, answer.tag, answer.body, answer.correlation) == (
                    "me",
                    "echo",
                    b"%d" % number,
                    number,
                )
                assert answer.counter <= client.clock.counter
            assert echo.origins[0].is_client
            assert echo.origins[0].name == client.name
            assert a.statistics().clients == 1
        await echo.gone.wait()
        assert echo.origins[0].closed
        assert not echo.origins[0].send("me", "late", b"")
        assert a.statistics().clients == 0


async def test_a_question_to_nobody_is_answered_so() -> None:
    async with open_node("a") as a, open_client_link(str(a.address)) as client:
        client.send("nobody", "ask", b"", sender="me", correlation=7)
        answer = await anext(client)
        assert (answer.to, answer.tag, answer.correlation, decode(answer.body)) == ("me", NO_SUCH, 7, "nobody")


async def test_two_clients_of_one_name_do_not_replace_each_other() -> None:
    async with open_node("a") as a:
        echoing(a)
        async with open_client_link(str(a.address), "c") as one, open_client_link(str(a.address), "c") as two:
            for client in (one, two):
                client.send("echo", "ask", b"x", sender="me")
                assert (await anext(client)).body == b"x"


async def test_a_client_of_a_peers_name_takes_nothing_from_the_peer() -> None:
    async with open_node("a") as a, open_node("b", peers={"a": str(a.address)}):
        echo = echoing(a)
        async with open_client_link(str(a.address), "b") as client:
            client.send("echo", "ask", b"x", sender="me")
            await anext(client)
            assert echo.origins[0].is_client


async def test_a_lost_link_is_broken_for_reader_and_writer() -> None:
    async with open_node("a") as a:
        echo = echoing(a)
        async with open_client_link(str(a.address)) as client:
            client.send("echo", "ask", b"x", sender="me")
            assert (await anext(client)).body == b"x"
            echo.origins[0].close("enough")
            with trio.fail_after(20), pytest.raises(LinkBroken, match="the link to node a is lost: "):
                await anext(client)
            with pytest.raises(LinkBroken, match="the link to node a is lost: "):
                client.send("echo", "ask", b"x")
            with pytest.raises(LinkBroken):
                await anext(client)


async def test_a_silent_node_is_lost_and_a_living_one_is_not(
    nursery: trio.Nursery, leaping_clock: trio.testing.MockClock
) -> None:
    async with open_node("a") as a, open_client_link(str(a.address)) as lively:
        with trio.move_on_after(30) as waiting:
            await anext(lively)
        assert waiting.cancelled_caught
        async with open_client_link(await serve(welcome, nursery)) as client:
            begun = trio.current_time()
            with pytest.raises(LinkBroken, match=r"silent for 1\.5 s"):
                await anext(client)
            assert 1.5 <= trio.current_time() - begun < 2.5


async def test_a_node_that_takes_nothing_and_says_nothing_is_lost_and_the_client_lives(nursery: trio.Nursery) -> None:
    """Its link is closed while the writer waits for room that never comes."""

    async with open_client_link(await serve(welcome, nursery)) as client:
        for _ in range(30):
            assert client.send("echo", "ask", bytes(2**20))
        with pytest.raises(LinkBroken, match=r"silent for 1\.5 s"):
            await anext(client)


async def test_garbage_from_a_node_breaks_the_link(nursery: trio.Nursery) -> None:
    async with open_client_link(await serve(partial(welcome, then=b"\xff" * 100), nursery)) as client:
        with pytest.raises(LinkBroken, match="broke the protocol"):
            await anext(client)


async def test_a_node_takes_a_clients_clock_no_further_than_another_node_takes_its_word(nursery: trio.Nursery) -> None:
    """Or no other node would ever take the client in again."""

    said = e.pack_envelope("me", "", 2**61, 0, "t", b"")
    async with open_client_link(await serve(partial(welcome, counter=2**50, then=said), nursery)) as client:
        with pytest.raises(LinkBroken, match="beyond belief"):
            await anext(client)
        assert client.clock.counter == 2**50
    with pytest.raises(ConnectionAbortedError, match="beyond belief"):
        async with open_client_link(await serve(partial(welcome, counter=2**61), nursery)):
            pass


async def test_what_waits_to_be_sent_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client_link, "BULK_SIZE_MAX", 10_000)
    async with open_node("a") as a, open_client_link(str(a.address)) as client:
        assert [client.send("x", "t", bytes(4_000)) for _ in range(3)] == [True, True, False]
        with pytest.raises(TooLarge):
            client.send("x", "t", bytes(2**24))


async def test_the_largest_body_of_a_client_arrives_and_a_larger_one_is_the_senders_error() -> None:
    async with open_node("a") as a, open_client_link(str(a.address)) as client:
        echoing(a)
        with pytest.raises(TooLarge):
            client.send("echo", "ask", bytes(e.CLIENT_BODY_SIZE_MAX + 1), sender="me")
        client.send("echo", "ask", bytes(e.CLIENT_BODY_SIZE_MAX), sender="me")
        with trio.fail_after(20):
            assert len((await anext(client)).body) == e.CLIENT_BODY_SIZE_MAX


# -- no link --------------------------------------------------------------------------------------------------------


async def test_nobody_there_is_a_connection_error() -> None:
    async with open_node("a") as a:
        pass
    with pytest.raises(ConnectionRefusedError):
        async with open_client_link(str(a.address)):
            pass


async def test_a_refusal_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node("a") as a:
        monkeypatch.setattr(_client_link, "VERSION_MIN", 2)
        monkeypatch.setattr(_client_link, "VERSION_MAX", 3)
        with pytest.raises(ConnectionRefusedError, match=r"versions 2 to 3 are spoken by .*, and 1 to 1 here"):
            async with open_client_link(str(a.address)):
                pass


async def test_what_is_no_node_is_told(nursery: trio.Nursery) -> None:
    async def web_server(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def door(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    with pytest.raises(ConnectionAbortedError, match="no node of ours listens at"):
        async with open_client_link(await serve(web_server, nursery)):
            pass
    with pytest.raises(ConnectionAbortedError, match="closed the connection before it answered"):
        async with open_client_link(await serve(door, nursery)):
            pass


async def test_no_answer_is_a_timeout(nursery: trio.Nursery, leaping_clock: trio.testing.MockClock) -> None:
    async def mute(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    address = await serve(mute, nursery)
    with pytest.raises(TimeoutError, match=f"{address} does not answer"):
        async with open_client_link(address):
            pass
