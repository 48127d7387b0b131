"""What many links keep here together is bounded, and those that get on are not the ones that pay for it."""

from __future__ import annotations

import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from test_node import Recorder, Stranger, peer_hello, recorded

from actors import _acceptor, _turns
from actors._arrivals import CONNECTIONS_MAX, places_of
from actors._connection import Connection
from actors._node import Node, Origin, open_node
from actors._protocol import envelope as e
from actors._protocol.frames import FRAME_SIZE_MAX
from actors._protocol.link import Link, PeerReady
from actors._room import SMALL, Room
from actors._stir import Stir
from actors.testing import MemoryNetwork

BIG = 2 * SMALL


class Closed:
    """A holder that notes why it has to let go."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def close(self, reason: str, *, fault: bool) -> None:
        assert fault
        self.reason = reason


def test_who_has_got_no_further_for_longest_makes_room() -> None:
    room = Room(3 * BIG, "a frame")
    one, two, three, four = holders = [Closed() for _ in range(4)]
    for holder in holders[:3]:
        room.hold(holder, BIG, moved=False)
    room.hold(two, BIG - 1, moved=False)  # less than before is not further
    room.hold(one, BIG, moved=True)
    room.hold(two, BIG, moved=False)
    room.hold(four, BIG, moved=False)
    assert [holder.reason is None for holder in holders] == [True, False, True, True]
    assert two.reason is not None
    assert f"{BIG} bytes of a frame are kept for it" in two.reason
    assert f"room for {3 * BIG} of all" in two.reason
    room.hold(three, 0, moved=True)
    room.hold(four, BIG + 1, moved=False)
    assert room.size == 2 * BIG + 1


def test_little_is_not_counted_and_who_alone_is_too_much_goes_itself() -> None:
    room = Room(BIG, "a frame")
    small = [Closed() for _ in range(100)]
    for holder in small:
        room.hold(holder, SMALL, moved=False)
    large = Closed()
    room.hold(large, BIG + 1, moved=False)
    assert large.reason is not None
    assert not any(holder.reason for holder in small)
    assert room.size == 0


# -- a node ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def crowded() -> AsyncGenerator[tuple[Node, Recorder, list[Stranger]]]:
    """A node with four strangers; three may keep what is big."""
    async with recorded("a") as (a, box):
        strangers = [await Stranger.meet(a, e.Hello(1, 1, f"c{number}", 1, "client", 0)) for number in range(4)]
        for stranger in strangers:
            assert isinstance(await stranger.event(), PeerReady)
        try:
            yield a, box, strangers
        finally:
            for stranger in strangers:
                await trio.aclose_forcefully(stranger.stream)


LETTER = e.pack_envelope("box", "", 1, 0, "large", bytes(BIG))


async def test_of_frames_that_never_end_the_eldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_acceptor, "INCOMING_SIZE_MAX", 3 * len(LETTER))
    async with crowded() as (a, box, strangers):
        for stranger in strangers:
            await stranger.stream.send_all(LETTER[:-9])
            await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(20):
            await box.wait("disconnected", "c0")
        for stranger in strangers[1:]:
            await stranger.stream.send_all(LETTER[-9:])
        await box.wait("received", "large", 3)
        assert [what for what in box.told if what[0] == "disconnected"] == [("disconnected", "c0")]
        assert a.statistics().faults == 1
        for _ in range(8):  # room again, for as many as come one after the other
            await strangers[1].stream.send_all(LETTER)
        await box.wait("received", "large", 11)


async def test_of_those_who_take_no_answers_the_eldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = bytes(2**22)  # more than sockets take
    monkeypatch.setattr(_acceptor, "OUTGOING_SIZE_MAX", 3 * len(answer))

    async with crowded() as (_, box, strangers):

        def reply(origin: Origin, envelope: e.Envelope) -> None:
            assert origin.send("", "answer", answer)

        box.answer = reply
        question = e.pack_envelope("box", "", 1, 0, "question", b"")
        for stranger in strangers[:3]:
            await stranger.stream.send_all(question)
        await box.wait("received", "question", 3)
        for count in range(4, 8):  # one that takes what it is sent stays, however much it is
            await strangers[3].stream.send_all(question)
            await box.wait("received", "question", count)
            assert isinstance(await strangers[3].event(), e.Envelope)
        gone = [whom for what, whom in box.told if what == "disconnected"]
        assert gone
        assert "c3" not in gone


async def test_who_has_taken_its_answers_keeps_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = bytes(2**22)
    monkeypatch.setattr(_acceptor, "OUTGOING_SIZE_MAX", 2 * len(answer) + BIG)

    async with crowded() as (_, box, strangers):

        def reply(origin: Origin, envelope: e.Envelope) -> None:
            assert origin.send("", "answer", answer)

        box.answer = reply
        for count, stranger in enumerate(strangers[:3], 1):
            await stranger.stream.send_all(e.pack_envelope("box", "", 1, 0, "question", b""))
            await box.wait("received", "question", count)
            if count == 2:
                assert isinstance(await stranger.event(), e.Envelope)
                await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not [what for what in box.told if what[0] == "disconnected"]


async def test_who_has_gone_keeps_nothing_here() -> None:
    rooms = Room(10 * BIG, "a frame"), Room(10 * BIG, "what is to be sent")
    ours, theirs = trio.testing.lockstep_stream_pair()
    link, _ = Link.dial(e.Hello(1, 1, "c", 1, "client", 0))
    async with recorded("a") as (a, _):
        gate = a._exchange.gate  # pyright: ignore[reportPrivateUsage]
        connection = Connection(ours, link, 10 * BIG, gate, Stir(), rooms=rooms)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, None)
            link.become_ready(FRAME_SIZE_MAX)
            await theirs.send_all(LETTER[:-9])
            connection.outbox.put(bytes(BIG))
            await trio.testing.wait_all_tasks_blocked()
            assert (rooms[0].size, rooms[1].size) == (len(LETTER) - 9, BIG)
            connection.close("the test is over")
        assert (rooms[0].size, rooms[1].size) == (0, 0)


async def test_known_peers_have_room_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_acceptor, "INCOMING_SIZE_MAX", 1)
    async with recorded("a") as (a, box):
        a.add_peer("p", "127.0.0.1:1")
        peer = await Stranger.meet(a, peer_hello())
        assert isinstance(await peer.event(), PeerReady)
        await peer.stream.send_all(LETTER)
        await box.wait("received", "large")
        await peer.stream.aclose()


# -- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("descriptors", "places"),
    [
        (2**31, (1_000, 900, 500, 400)),
        (1_128, (1_000, 900, 500, 400)),
        (1_024, (896, 806, 448, 358)),
        (256, (128, 115, 64, 51)),
        (64, (32, 28, 16, 12)),
        (1, (1, 1, 1, 1)),
    ],
)
def test_connections_leave_files_to_the_rest_of_the_process(descriptors: int, places: tuple[int, ...]) -> None:
    assert tuple(places_of(descriptors)) == places
    assert CONNECTIONS_MAX == 1_000


async def test_a_process_that_may_open_few_files_can_still_open_some() -> None:
    """T43: more strangers than there are descriptors; those who stay are served, and files can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (160, hard))
    try:
        async with recorded("a") as (a, box):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))  # the strangers are in this process
            first = await Stranger.meet(a, e.Hello(1, 1, "first", 1, "client", 0))
            assert isinstance(await first.event(), PeerReady)
            silent = [await trio.open_tcp_stream(*a.address) for _ in range(200)]
            await first.stream.send_all(e.pack_envelope("box", "", 1, 0, "t", b""))
            await box.wait("received", "t")
            assert a.statistics().clients == 1
            with trio.fail_after(20):
                while await silent[0].receive_some():
                    pass
            for stream in [*silent, first.stream]:
                await stream.aclose()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- turns -----------------------------------------------------------------------------------------------------------


async def test_of_who_takes_no_answers_nothing_more_is_read_until_it_does() -> None:
    """T44: it is held up, and nobody else is; it loses nothing."""
    async with recorded("a") as (a, box):
        stranger = await Stranger.meet(a, e.Hello(1, 1, "c", 1, "client", 0))
        assert isinstance(await stranger.event(), PeerReady)

        def reply(origin: Origin, envelope: e.Envelope) -> None:
            assert origin.send("", envelope.tag, bytes(2**16))

        box.answer = reply
        asked = 1_000  # far less than sockets take, if they were read
        questions = b"".join(e.pack_envelope("box", "", 1, 0, f"{number}", bytes(200)) for number in range(asked))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stranger.stream.send_all, questions)
            received = -1
            while received != a.statistics().received:  # until it gets no further
                received = a.statistics().received
                await trio.testing.wait_all_tasks_blocked(0.05)
            assert received < asked / 2
            for number in range(asked):
                answer = await stranger.event()
                assert isinstance(answer, e.Envelope)
                assert answer.tag == f"{number}"
        await stranger.stream.aclose()


async def test_who_takes_no_answers_for_long_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork()
    async with open_node("a", listen="a:1", network=network.host("a")) as a:
        box = Recorder()
        a.attach("box", box)

        def reply(origin: Origin, envelope: e.Envelope) -> None:
            origin.send("", "answer", bytes(2**20))

        box.answer = reply
        stream = await network.host("c").dial(a.address)
        await stream.send_all(e.pack(e.Hello(1, 1, "c", 1, "client", 0)))
        await stream.send_all(e.pack_envelope("box", "", 1, 0, "t", b"") * 8)
        began = trio.current_time()
        with trio.move_on_after(60):
            while "disconnected" not in [what for what, _ in box.told]:
                await stream.send_all(e.pack(e.Ping(1)))  # it is there, and takes nothing
                await trio.sleep(1)
        assert 10 <= trio.current_time() - began < 15
        await trio.aclose_forcefully(stream)


async def test_who_takes_its_answers_slowly_gets_them(autojump_clock: trio.testing.MockClock) -> None:
    """64 KiB in a second: for more than a minute nothing is read of it, and all the time it takes something."""
    network = MemoryNetwork()
    async with open_node("a", listen="a:1", network=network.host("a")) as a:
        box = Recorder()
        a.attach("box", box)

        def reply(origin: Origin, envelope: e.Envelope) -> None:
            assert origin.send("", "answer", bytes(2**22))

        box.answer = reply
        stream = await network.host("c").dial(a.address)
        await stream.send_all(e.pack(e.Hello(1, 1, "c", 1, "client", 0)))
        await stream.send_all(e.pack_envelope("box", "", 1, 0, "t", b""))
        received = 0
        while received < 2**22:
            chunk = await stream.receive_some(2**16)
            assert chunk, "the link is open"
            received += len(chunk)
            await trio.sleep(1)
        assert trio.current_time() > 60
        assert box.told == [("received", "t")]
        await trio.aclose_forcefully(stream)


async def test_what_takes_long_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "TURN_SECONDS", 0.0)
    async with recorded("a") as (a, box):
        pouring = await Stranger.meet(a, e.Hello(1, 1, "pouring", 1, "client", 0))
        polite = await Stranger.meet(a, e.Hello(1, 1, "polite", 1, "client", 0))
        await polite.event()
        await pouring.event()
        drop = e.pack_envelope("box", "", 1, 0, "drop", b"")
        await pouring.stream.send_all(drop * 200)
        await polite.stream.send_all(e.pack_envelope("box", "", 1, 0, "asked", b""))
        await box.wait("received", "asked")
        assert box.told.count(("received", "drop")) < 100
        for stranger in (pouring, polite):
            await stranger.stream.aclose()
