"""Nodes meet, send, lose and find each other again, over real loopback sockets."""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing
import trio
import trio.testing

from actors import _arrivals, _connection, _exchange, _outbox
from actors._client_link import open_client_link
from actors._identity import DataDirectory, DataDirectoryInUse
from actors._node import LEFT_MAX, Node, Origin, open_node
from actors._protocol import envelope as e
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.errors import InvariantViolation, LinkBroken, RemoteProtocolError, TooLarge, invariant
from actors._protocol.frames import FrameReader
from actors._protocol.link import Asked, Event, Link, PeerReady, Refused
from actors._tcp import CannotListen, QuickStream, dial


class Recorder:
    """A receiver that notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.envelopes: list[e.Envelope] = []
        self.origins: list[Origin] = []
        self.answer: Callable[[Origin, e.Envelope], None] | None = None
        self._changed = trio.Event()

    def received(self, origin: Origin, envelope: e.Envelope) -> None:
        self.envelopes.append(envelope)
        self.origins.append(origin)
        self._note("received", envelope.tag)
        if self.answer is not None:
            self.answer(origin, envelope)

    def connected(self, peer: str) -> None:
        self._note("connected", peer)

    def suspected(self, peer: str) -> None:
        self._note("suspected", peer)

    def disconnected(self, origin: Origin) -> None:
        self._note("disconnected", origin.name)

    def _note(self, what: str, whom: object) -> None:
        self.told.append((what, whom))
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, what: str, whom: object, count: int = 1) -> None:
        """Until that was told so many times in all."""
        with trio.fail_after(20):
            while self.told.count((what, whom)) < count:
                await self._changed.wait()


@asynccontextmanager
async def recorded(
    name: str, *, listen: str | None = None, data: Path | None = None
) -> AsyncGenerator[tuple[Node, Recorder], None]:
    async with open_node(name, listen=listen, data=data) as node:
        recorder = Recorder()
        node.attach("box", recorder)
        yield node, recorder


@asynccontextmanager
async def pair() -> AsyncGenerator[tuple[Node, Recorder, Node, Recorder], None]:
    """Nodes a and b, linked both ways."""
    async with recorded("a") as (a, at_a), recorded("b") as (b, at_b):
        a.add_peer("b", str(b.address))
        b.add_peer("a", str(a.address))
        await at_a.wait("connected", "b")
        await at_b.wait("connected", "a")
        yield a, at_a, b, at_b


class Stranger:
    """The other end of a connection, spoken by hand."""

    def __init__(self, stream: trio.abc.Stream, link: Link) -> None:
        self.stream = stream
        self.link = link

    @classmethod
    async def meet(cls, node: Node, hello: e.Hello) -> Stranger:
        """Dial `node` and say hello."""
        stream = await dial(node.address)
        link, first = Link.dial(hello)
        await stream.send_all(first)
        return cls(stream, link)

    @classmethod
    async def await_dial(cls, listener: trio.SocketListener) -> Stranger:
        """Accept a node that dials, and take its hello."""
        with trio.fail_after(20):
            stranger = cls(QuickStream(await listener.accept()), Link.answer())
        assert isinstance(await stranger.event(), Asked)
        return stranger

    async def event(self) -> Event:
        with trio.fail_after(20):
            return await _connection.next_event(self.stream, self.link)

    async def is_closed(self) -> bool:
        """Waits until the other side closes; its last bytes are not looked at."""
        with trio.fail_after(20):
            try:
                while await self.stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await self.stream.aclose()
        return True


def peer_hello(name: str = "p", incarnation: int = 5, counter: int = 0) -> e.Hello:
    return e.Hello(1, 1, name, incarnation, "peer", counter)


async def free_listener() -> tuple[trio.SocketListener, str]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    return listener, f"{host}:{port}"


@pytest.fixture
def leaping_clock() -> trio.testing.MockClock:
    """Skips waiting, once the sockets have had time to pass on what is in them."""
    return trio.testing.MockClock(autojump_threshold=0.02)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Skips waiting only where nothing else can be going on."""
    return trio.testing.MockClock(autojump_threshold=0.5)


# -- envelopes ------------------------------------------------------------------------------------------------------


async def test_what_one_sends_the_other_receives_in_order_with_growing_stamps() -> None:
    async with pair() as (a, _, b, at_b):
        for number in range(100):
            assert a.send("b", "box", f"n{number}", b"body", sender="me", correlation=number)
        await at_b.wait("received", "n99")
        assert [envelope.tag for envelope in at_b.envelopes] == [f"n{number}" for number in range(100)]
        stamps = [envelope.counter for envelope in at_b.envelopes]
        assert stamps == sorted(set(stamps))
        assert b.clock.counter >= stamps[-1]
        last = at_b.envelopes[-1]
        assert (last.to, last.sender, last.correlation, last.body) == ("box", "me", 99, b"body")
        origin = at_b.origins[0]
        assert (origin.name, origin.is_client, origin.incarnation, origin.closed) == ("a", False, a.incarnation, False)
        assert b.statistics().received == 100
        assert a.statistics().sent == 100


async def test_an_answer_to_a_peer_goes_over_the_link_dialed_to_it() -> None:
    def answer(origin: Origin, envelope: e.Envelope) -> None:
        assert origin.send("box", "answer", envelope.body)

    async with pair() as (a, at_a, _, at_b):
        at_b.answer = answer
        a.send("b", "box", "question", b"?" * 1_000_000)
        await at_a.wait("received", "answer")
        assert at_a.envelopes[0].body == b"?" * 1_000_000
        assert at_a.envelopes[0].counter > at_b.envelopes[0].counter


async def test_without_a_link_it_is_dropped_and_counted() -> None:
    async with recorded("a") as (a, _):
        assert not a.send("b", "box", "t", b"")
        a.add_peer("b", "127.0.0.1:1")
        assert not a.send("b", "box", "t", b"")
        assert not a.send("a", "box", "t", b"")
        assert (a.statistics().dropped_unlinked, a.statistics().sent) == (3, 0)
        assert a.connected_peers() == ()


async def test_a_full_lane_drops_and_counts_and_the_other_lane_still_takes() -> None:
    async with pair() as (a, _, _, at_b):
        body = bytes(2**24 - 5_000)
        results = [a.send("b", "box", "bulk", body) for _ in range(5)]
        assert results == [True] * 4 + [False] or results == [True] * 3 + [False] * 2
        assert a.send("b", "box", "urgent", b"", control=True)
        assert a.statistics().dropped_full == results.count(False)
        await at_b.wait("received", "bulk", results.count(True))
        assert at_b.told.index(("received", "urgent")) < len(at_b.told) - 1


async def test_a_body_that_no_frame_holds_is_the_senders_error_and_changes_nothing() -> None:
    async with pair() as (a, _, _, at_b):
        before = a.statistics()
        with pytest.raises(TooLarge):
            a.send("b", "box", "t", bytes(2**24))
        assert a.statistics() == before
        a.send("b", "box", "after", b"")
        await at_b.wait("received", "after")
        assert at_b.told == [("connected", "a"), ("received", "after")]


async def test_an_envelope_for_nobody_is_counted_and_the_link_lives() -> None:
    async with pair() as (a, _, b, at_b):
        a.send("b", "nobody", "t", b"")
        a.send("b", "box", "after", b"")
        await at_b.wait("received", "after")
        assert b.statistics().unclaimed == 1


async def test_a_name_has_one_receiver_until_it_is_detached() -> None:
    async with recorded("a") as (a, at_a):
        with pytest.raises(ValueError, match="'box' is taken on node a"):
            a.attach("box", at_a)
        a.detach("box")
        a.attach("box", at_a)


async def test_a_receiver_of_two_names_is_told_once() -> None:
    async with recorded("a") as (a, at_a), recorded("b") as (b, _):
        a.attach("other", at_a)
        a.add_peer("b", str(b.address))
        await at_a.wait("connected", "b")
        assert at_a.told == [("connected", "b")]


async def test_what_a_receiver_calls_a_fault_closes_that_link_only_with_one_line() -> None:
    async with pair() as (a, at_a, b, at_b):

        def object_to(origin: Origin, envelope: e.Envelope) -> None:
            raise RemoteProtocolError("epoch 2**63")

        at_b.answer = object_to
        with structlog.testing.capture_logs() as lines:
            a.send("b", "box", "bad", b"")
            a.send("b", "box", "not looked at", b"")
            await at_b.wait("disconnected", "a")
            at_b.answer = None
            await at_a.wait("connected", "b", 2)
        warnings = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["peer"], line["reason"]) for line in warnings] == [("a", "epoch 2**63")]
        assert at_b.envelopes[-1].tag == "bad"
        assert at_b.origins[-1].closed
        assert ("suspected", "b") not in at_a.told
        assert b.statistics().faults == 1


async def test_what_else_a_receiver_raises_stops_the_node() -> None:
    def crash(origin: Origin, envelope: e.Envelope) -> None:
        raise ZeroDivisionError

    async def live() -> None:
        async with pair() as (a, _, _, at_b):
            at_b.answer = crash
            a.send("b", "box", "t", b"")
            with trio.fail_after(20):
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert caught.group_contains(ZeroDivisionError)


async def test_a_receiver_that_a_client_crashes_costs_the_client_its_link_and_nobody_else_anything() -> None:
    def crash(origin: Origin, envelope: e.Envelope) -> None:
        raise ZeroDivisionError("what no client may bring about")

    async with recorded("a") as (a, at_a), open_client_link(str(a.address)) as other:
        with structlog.testing.capture_logs() as lines:
            async with open_client_link(str(a.address), "c") as client:
                at_a.answer = crash
                client.send("box", "bad", b"")
                client.send("box", "not looked at", b"")
                with trio.fail_after(20), pytest.raises(LinkBroken):
                    await anext(client)
        await at_a.wait("disconnected", "c")
        at_a.answer = None
        other.send("box", "after", b"")
        await at_a.wait("received", "after")
        assert [envelope.tag for envelope in at_a.envelopes] == ["bad", "after"]
        assert a.statistics().faults == 1
        crashed, closed = [line for line in lines if line["log_level"] in ("warning", "error")]
        assert (crashed["log_level"], crashed["origin"], crashed["tag"]) == ("error", "c", "bad")
        assert isinstance(crashed["exc_info"], ZeroDivisionError)
        assert crashed["exc_info"].__traceback__ is not None
        assert closed["reason"] == "'bad' to 'box' made its receiver crash"


async def test_a_broken_invariant_stops_the_node_also_where_a_client_met_it() -> None:
    def contradict(origin: Origin, envelope: e.Envelope) -> None:
        invariant(False, "one is two")

    async def live() -> None:
        async with recorded("a") as (a, at_a), open_client_link(str(a.address)) as client:
            at_a.answer = contradict
            client.send("box", "t", b"")
            with trio.fail_after(20):
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert caught.group_contains(InvariantViolation)


async def test_one_who_pours_does_not_keep_the_others_waiting() -> None:
    drop = e.pack_envelope("box", "", 1, 0, "drop", b"")
    chunk = _connection.RECEIVE_SIZE // len(drop)
    async with recorded("a") as (a, at_a):
        pouring, polite = [await Stranger.meet(a, peer_hello(name)) for name in ("pouring", "polite")]

        async def pour() -> None:
            while True:
                await pouring.stream.send_all(drop * 16 * chunk)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            await at_a.wait("received", "drop", 16 * chunk)
            for number in range(5):
                before = a.statistics().received
                await polite.stream.send_all(e.pack_envelope("box", "", 1, 0, f"{number}", b""))
                await at_a.wait("received", f"{number}")
                # A chunk in the round in which it was sent, in that in which it came, and in that in which we see it.
                assert a.statistics().received - before <= 3 * (chunk + 1) + 1
            nursery.cancel_scope.cancel()
        await pouring.stream.aclose()
        await polite.stream.aclose()


# -- stamps and lives -----------------------------------------------------------------------------------------------


async def test_no_stamp_leaves_before_its_mark_is_on_disk(tmp_path: Path) -> None:
    async with recorded("a", data=tmp_path) as (a, at_a), recorded("b") as (b, at_b):
        a.add_peer("b", str(b.address))
        await at_a.wait("connected", "b")
        a.clock.advance(a.clock.reserved)
        marks = list[int]()

        def look(origin: Origin, envelope: e.Envelope) -> None:
            reader = FrameReader()
            reader.receive_data((tmp_path / "node").read_bytes())
            payload = reader.next_frame()
            assert payload is not None
            mark = e.parse(payload)
            assert isinstance(mark, list)
            marks.append(mark[3])

        at_b.answer = look
        a.send("b", "box", "t", b"")
        await at_b.wait("received", "t")
        assert marks[0] >= at_b.envelopes[0].counter
        assert a.clock.reserved == marks[0]


async def test_stamps_and_lives_grow_over_restarts(tmp_path: Path) -> None:
    async with recorded("b") as (b, at_b):
        for count in (1, 2):
            async with recorded("a", data=tmp_path) as (a, at_a):
                a.add_peer("b", str(b.address))
                await at_a.wait("connected", "b")
                a.send("b", "box", "t", b"")
                await at_b.wait("received", "t", count)
        first, second = at_b.envelopes
        assert second.counter > first.counter
        assert at_b.origins[1].incarnation > at_b.origins[0].incarnation


async def test_a_data_directory_is_for_one_node_at_a_time(tmp_path: Path) -> None:
    async with recorded("a", data=tmp_path) as (a, _):
        assert a.data == tmp_path
        with pytest.raises(DataDirectoryInUse):
            async with open_node("a", data=tmp_path):
                pass
    DataDirectory.open(tmp_path, "a").close()


@pytest.mark.parametrize("counter", [COUNTER_MAX, 2**60])
async def test_a_poisoned_stamp_closes_the_link_and_changes_nothing(counter: int) -> None:
    async with recorded("a") as (a, _):
        poisoner = await Stranger.meet(a, peer_hello())
        assert isinstance(await poisoner.event(), PeerReady)
        await poisoner.stream.send_all(e.pack_envelope("box", "", counter, 0, "t", b""))
        assert await poisoner.is_closed()
        greeter = await Stranger.meet(a, peer_hello(counter=counter))
        assert await greeter.is_closed()
        assert a.clock.counter < 100


async def test_strangers_take_no_clock_beyond_the_time_and_known_peers_somewhat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_780_000_000_000_000
    monkeypatch.setattr(_exchange, "_now", lambda: now)
    async with recorded("a") as (a, at_a):
        a.add_peer("known", "127.0.0.1:1")
        unknown, known = [await Stranger.meet(a, peer_hello(name, counter=now)) for name in ("unknown", "known")]
        later = e.pack_envelope("box", "", now + 1_000_000, 0, "t", b"")
        for stranger in (unknown, known):
            assert isinstance(await stranger.event(), PeerReady)
        await unknown.stream.send_all(later)
        assert await unknown.is_closed()
        await known.stream.send_all(later)
        await at_a.wait("received", "t")
        assert [origin.name for origin in at_a.origins] == ["known"]
        client = await Stranger.meet(a, e.Hello(1, 1, "c", 0, "client", now + 2_000_000))
        assert not isinstance(await client.event(), PeerReady)
        await known.stream.aclose()
        await client.stream.aclose()


async def test_a_receiver_that_an_unknown_peer_crashes_costs_that_peer_its_link() -> None:
    def crash(origin: Origin, envelope: e.Envelope) -> None:
        raise ZeroDivisionError

    async with recorded("a") as (a, at_a):
        at_a.answer = crash
        stranger = await Stranger.meet(a, peer_hello("unknown"))
        assert isinstance(await stranger.event(), PeerReady)
        await stranger.stream.send_all(e.pack_envelope("box", "", 1, 0, "bad", b""))
        assert await stranger.is_closed()
        await at_a.wait("disconnected", "unknown")
        assert await answered(a, "other") == "let in"


# -- losing and finding ---------------------------------------------------------------------------------------------


async def test_a_peer_whose_process_is_gone_is_suspected_at_once(patient_clock: trio.testing.MockClock) -> None:
    async with recorded("a") as (a, at_a):
        async with recorded("b") as (b, _):
            a.add_peer("b", str(b.address))
            await at_a.wait("connected", "b")
        lost = trio.current_time()
        await at_a.wait("suspected", "b")
        assert trio.current_time() == lost
        assert not a.send("b", "box", "t", b"")
        async with recorded("b", listen=str(b.address)):
            await at_a.wait("connected", "b", 2)
        await at_a.wait("suspected", "b", 2)


async def test_a_dying_process_that_takes_one_more_connection_is_suspected_when_it_no_longer_listens(
    leaping_clock: trio.testing.MockClock,
) -> None:
    listener, address = await free_listener()
    async with recorded("a") as (a, at_a):
        a.add_peer("p", address)
        async with listener:
            stranger = await Stranger.await_dial(listener)
            await stranger.stream.send_all(stranger.link.accept("p", 5, 0))
            await at_a.wait("connected", "p")
            await stranger.stream.aclose()
            await (await Stranger.await_dial(listener)).stream.aclose()
            assert at_a.told == [("connected", "p")]
        await at_a.wait("suspected", "p")
        await trio.sleep(5)  # and a few more tries do not say it again
        assert at_a.told == [("connected", "p"), ("suspected", "p")]


async def test_a_newer_life_met_at_once_is_a_suspicion_of_the_old_one() -> None:
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a):
        a.add_peer("p", address)
        for incarnation in (5, 6):
            stranger = await Stranger.await_dial(listener)
            await stranger.stream.send_all(stranger.link.accept("p", incarnation, 0))
            await at_a.wait("connected", "p", incarnation - 4)
            await stranger.stream.aclose()
        assert at_a.told == [("connected", "p"), ("suspected", "p"), ("connected", "p")]


async def test_a_link_closed_by_the_same_life_is_no_suspicion() -> None:
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a):
        a.add_peer("p", address)
        for _ in range(2):
            stranger = await Stranger.await_dial(listener)
            await stranger.stream.send_all(stranger.link.accept("p", 5, 0))
            await at_a.wait("connected", "p")
            await stranger.stream.aclose()
        await at_a.wait("connected", "p", 2)
        assert ("suspected", "p") not in at_a.told


async def test_a_lost_link_is_tried_again_without_a_pause(patient_clock: trio.testing.MockClock) -> None:
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a):
        a.add_peer("p", address)
        stranger = await Stranger.await_dial(listener)
        await stranger.stream.send_all(stranger.link.accept("p", 5, 0))
        await at_a.wait("connected", "p")
        lost = trio.current_time()
        await stranger.stream.aclose()
        await (await Stranger.await_dial(listener)).stream.aclose()
        assert trio.current_time() == lost


async def test_tries_become_rare_and_are_logged_once(leaping_clock: trio.testing.MockClock) -> None:
    listener, address = await free_listener()
    tries = list[float]()
    async with listener, recorded("a") as (a, at_a), trio.open_nursery() as nursery:

        async def slam_the_door() -> None:
            while True:
                stream = await listener.accept()
                tries.append(trio.current_time())
                await stream.aclose()

        nursery.start_soon(slam_the_door)
        with structlog.testing.capture_logs() as lines:
            a.add_peer("p", address)
            await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert 12 <= len(tries) <= 30
    assert tries[1] - tries[0] < 0.1
    assert 0.4 < tries[-1] - tries[-2] <= 1.1
    assert [line["event"] for line in lines] == ["no link"]
    assert at_a.told == []


async def test_a_peer_that_dials_us_is_dialed_without_waiting(leaping_clock: trio.testing.MockClock) -> None:
    """However rare the tries have become while it was not there."""
    listener, address = await free_listener()
    await listener.aclose()
    async with recorded("a") as (a, at_a):
        a.add_peer("p", address)
        await trio.sleep(10)
        leaping_clock.autojump_threshold = 0.5  # from here on it is measured
        (listener,) = await trio.open_tcp_listeners(int(address.rpartition(":")[2]), host="127.0.0.1")
        async with listener:
            met = trio.current_time()
            dialing = await Stranger.meet(a, peer_hello("p"))
            dialed = await Stranger.await_dial(listener)
            assert trio.current_time() == met
            await dialed.stream.send_all(dialed.link.accept("p", 5, 0))
            await at_a.wait("connected", "p")
            await dialing.stream.aclose()
            await dialed.stream.aclose()


async def test_a_peer_that_accepts_and_drops_is_no_loop_without_a_pause(leaping_clock: trio.testing.MockClock) -> None:
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a), trio.open_nursery() as nursery:

        async def accept_and_drop() -> None:
            while True:
                stranger = await Stranger.await_dial(listener)
                await stranger.stream.send_all(stranger.link.accept("p", 5, 0))
                await stranger.stream.aclose()

        nursery.start_soon(accept_and_drop)
        a.add_peer("p", address)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert 10 <= at_a.told.count(("connected", "p")) <= 60


async def test_a_silent_peer_is_lost_after_four_seconds_and_a_living_one_is_not(
    leaping_clock: trio.testing.MockClock,
) -> None:
    listener, address = await free_listener()
    async with listener, pair() as (a, at_a, _, _):
        a.add_peer("p", address)
        stranger = await Stranger.await_dial(listener)
        await stranger.stream.send_all(stranger.link.accept("p", 5, 0))
        await at_a.wait("connected", "p")
        begun = trio.current_time()
        with structlog.testing.capture_logs() as lines:
            assert await stranger.is_closed()
        assert "p" not in a.connected_peers()
        assert 4 <= trio.current_time() - begun <= 6
        assert lines[0]["reason"].startswith("silent for")
        await trio.sleep(30)
        assert a.connected_peers() == ("b",)
        assert at_a.told.count(("connected", "b")) == 1


async def test_peers_can_be_added_moved_and_removed() -> None:
    async with pair() as (a, at_a, b, at_b), recorded("b", listen="127.0.0.1:0") as (moved, at_moved):
        a.set_peers({"a": "127.0.0.1:1", "b": str(b.address)})
        assert at_a.told == [("connected", "b")]
        a.add_peer("b", str(moved.address))
        assert not a.send("b", "box", "t", b"")
        await at_a.wait("connected", "b", 2)
        a.send("b", "box", "t", b"")
        await at_moved.wait("received", "t")
        await at_b.wait("disconnected", "a")
        a.set_peers({})
        assert not a.send("b", "box", "t", b"")
        await at_moved.wait("disconnected", "a")
        with pytest.raises(ValueError, match="is no address"):
            a.set_peers({"c": "127.0.0.1:1", "d": "nowhere"})
        assert not a.has_peer("c")


async def test_where_a_group_says_that_a_peer_is_found_is_tried_beside_what_was_told() -> None:
    """Neither takes the place of the other."""
    listener, nowhere = await free_listener()
    await listener.aclose()
    async with recorded("a") as (a, at_a), recorded("b") as (b, _), recorded("c") as (c, _):
        a.add_peer("b", str(b.address))
        await at_a.wait("connected", "b")
        a.learn_peers("bank", {"a": "127.0.0.1:1", "b": nowhere, "c": nowhere})
        a.add_peer("c", str(c.address))
        await at_a.wait("connected", "c")
        assert (a.connected_peers(), a.address_of("b")) == (("b", "c"), str(b.address))
        a.add_peer("b", nowhere)
        a.learn_peers("bank", {"b": str(b.address)})
        await at_a.wait("connected", "b", 2)
        assert a.told_peers == ("b", "c")


async def test_a_peer_that_no_group_needs_and_nobody_has_named_is_dropped() -> None:
    async with recorded("a") as (a, _):
        here = dict.fromkeys("bcd", "127.0.0.1:1")
        a.add_peer("b", "127.0.0.1:1")
        a.learn_peers("bank", here)
        a.learn_peers("room", {"d": "127.0.0.1:1"})
        a.learn_peers("bank", {})
        assert a.peers == ("b", "d")
        with pytest.raises(ValueError, match="is no address"):
            a.learn_peers("room", {"e": "nowhere"})
        a.set_peers({})
        assert (a.peers, a.told_peers) == (("d",), ())
        a.forget_group("room")
        assert a.peers == ()


async def test_a_former_peer_s_link_lasts_and_is_dialed_again_only_if_it_shows_itself(
    leaping_clock: trio.testing.MockClock,
) -> None:
    """What is left to be said can be, on both sides."""
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a):
        a.learn_peers("bank", {"p": address})
        former = await Stranger.await_dial(listener)
        await former.stream.send_all(former.link.accept("p", 5, 0))
        await at_a.wait("connected", "p")
        a.learn_peers("bank", {})
        assert not a.has_peer("p")
        assert a.send("p", "box", "farewell", b"")
        await former.stream.aclose()
        with trio.move_on_after(60) as quiet:
            await listener.accept()
        assert quiet.cancelled_caught
        again = await Stranger.meet(a, peer_hello(incarnation=6))
        dialed = await Stranger.await_dial(listener)
        await dialed.stream.send_all(dialed.link.accept("p", 6, 0))
        await at_a.wait("connected", "p", 2)
        await again.stream.aclose()
        await dialed.stream.aclose()


async def test_of_former_peers_only_so_many_are_remembered() -> None:
    async with recorded("a") as (a, _):
        a.learn_peers("bank", {f"n{number}": "127.0.0.1:1" for number in range(2 * LEFT_MAX)})
        a.learn_peers("bank", {})
        assert len(a._left) == LEFT_MAX  # pyright: ignore[reportPrivateUsage]
        a.learn_peers("bank", {f"n{2 * LEFT_MAX - 1}": "127.0.0.1:1"})
        assert len(a._left) == LEFT_MAX - 1  # pyright: ignore[reportPrivateUsage]


# -- who is let in --------------------------------------------------------------------------------------------------


async def test_a_newer_link_of_a_peer_replaces_the_older_and_a_stale_life_is_refused() -> None:
    async with recorded("a") as (a, at_a):
        a.add_peer("p", "127.0.0.1:1")
        first = await Stranger.meet(a, peer_hello(incarnation=5))
        assert await first.event() == PeerReady(e.Ready(1, "a", a.incarnation, 0))
        for incarnation in (5, 6):
            newer = await Stranger.meet(a, peer_hello(incarnation=incarnation))
            assert isinstance(await newer.event(), PeerReady)
            assert await first.is_closed()
            first = newer
        stale = await Stranger.meet(a, peer_hello(incarnation=5))
        refused = await stale.event()
        assert isinstance(refused, Refused)
        assert refused.reason == (
            "incarnation 5 of p is stale: 6 was met already. Either two nodes have the name p, or its clock was set "
            "back: a node whose data directory is kept outlasts that"
        )
        assert await stale.is_closed()
        await at_a.wait("disconnected", "p", 2)
        await newer.stream.send_all(e.pack_envelope("box", "", 1, 0, "still here", b""))
        await at_a.wait("received", "still here")
        assert a.statistics().peers_accepted == 1
        assert a.statistics().refused == 1
        await newer.stream.aclose()


async def test_a_stale_life_that_answers_is_not_believed_either(leaping_clock: trio.testing.MockClock) -> None:
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a):
        a.add_peer("p", address)
        newer = await Stranger.meet(a, peer_hello(incarnation=6))
        assert isinstance(await newer.event(), PeerReady)
        stale = await Stranger.await_dial(listener)
        await stale.stream.send_all(stale.link.accept("p", 5, 0))
        assert await stale.is_closed()
        assert at_a.told == []
        await newer.stream.aclose()


async def test_a_life_numbered_far_ahead_of_the_wall_clock_is_not_believed() -> None:
    """It would make each later life of that peer a stale one."""
    year = 366 * 86_400_000_000
    listener, address = await free_listener()
    async with listener, recorded("a") as (a, at_a):
        a.add_peer("p", address)
        impostor = await Stranger.meet(a, peer_hello(incarnation=a.incarnation + year + 60_000_000))
        refused = await impostor.event()
        assert isinstance(refused, Refused)
        assert "more than a year ahead of the clock of a: set the clock" in refused.reason
        assert await impostor.is_closed()
        dialed = await Stranger.await_dial(listener)
        await dialed.stream.send_all(dialed.link.accept("p", 2**62, 0))
        assert await dialed.is_closed()
        assert at_a.told == []
        genuine = await Stranger.meet(a, peer_hello(incarnation=a.incarnation + year))
        assert isinstance(await genuine.event(), PeerReady)
        await genuine.stream.aclose()


async def test_a_node_of_our_own_name_is_refused() -> None:
    async with recorded("a") as (a, _):
        impostor = await Stranger.meet(a, peer_hello("a", incarnation=2**60))
        refused = await impostor.event()
        assert isinstance(refused, Refused)
        assert "two nodes cannot have one name" in refused.reason
        assert await impostor.is_closed()


async def test_another_node_at_a_peers_address_is_not_taken_for_it() -> None:
    async with recorded("a") as (a, at_a), recorded("c") as (c, at_c):
        with structlog.testing.capture_logs() as lines:
            a.add_peer("b", str(c.address))
            await at_c.wait("disconnected", "a", 2)
        reasons = [line["reason"] for line in lines if line["node"] == "a"]
        assert reasons == ["node 'c' answers at the address of 'b'"]
        assert at_a.told == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(8),
        b"\xff" * 100,
        e.pack(e.Ping(1)),
        e.pack(e.Hello(1, 1, "p", 1, "peer", 0))[:-1] + b"?",
    ],
)
async def test_garbage_is_turned_away_with_one_line(garbage: bytes) -> None:
    async with recorded("a") as (a, _):
        with structlog.testing.capture_logs() as lines:
            stranger = Stranger(await dial(a.address), Link.answer())
            await stranger.stream.send_all(garbage)
            assert await stranger.is_closed()
        assert [line["log_level"] for line in lines] == ["warning"]
        assert a.statistics().faults == 1


async def test_garbage_after_the_handshake_closes_that_link_only() -> None:
    async with pair() as (a, at_a, b, at_b):
        stranger = await Stranger.meet(a, peer_hello())
        assert isinstance(await stranger.event(), PeerReady)
        await stranger.stream.send_all(b"\xff" * 100)
        assert await stranger.is_closed()
        await at_a.wait("disconnected", "p")
        b.send("a", "box", "t", b"")
        await at_a.wait("received", "t")
        assert at_b.told == [("connected", "a")]


async def test_a_stranger_has_five_seconds_to_say_hello_and_a_dialer_ten_between_two_words(
    leaping_clock: trio.testing.MockClock,
) -> None:
    async with recorded("a") as (a, _):
        begun = trio.current_time()
        silent = Stranger(await dial(a.address), Link.answer())
        assert await silent.is_closed()
        assert 5 <= trio.current_time() - begun <= 6
        begun = trio.current_time()
        quiet = await Stranger.meet(a, peer_hello())
        assert isinstance(await quiet.event(), PeerReady)
        assert await quiet.is_closed()
        assert 10 <= trio.current_time() - begun <= 13


async def test_connections_beyond_the_limit_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 2)
    async with recorded("a") as (a, _):
        kept = [await Stranger.meet(a, peer_hello(f"p{number}")) for number in range(2)]
        for stranger in kept:
            assert isinstance(await stranger.event(), PeerReady)
        with structlog.testing.capture_logs() as lines:
            for _ in range(3):
                assert await (await Stranger.meet(a, peer_hello("late"))).is_closed()
        assert [line["event"] for line in lines] == ["too many connections"]
        await kept[0].stream.aclose()
        assert await kept[1].stream.send_all(e.pack(e.Ping(1))) is None
        await kept[1].stream.aclose()


async def test_clients_leave_places_for_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "STRANGERS_MAX", 1)
    async with recorded("a") as (a, _), open_client_link(str(a.address)):
        with pytest.raises(ConnectionRefusedError, match="1 clients and unknown peers are here already"):
            async with open_client_link(str(a.address)):
                pass
        assert await answered(a, "unknown") == "refused"
        a.add_peer("p", "127.0.0.1:1")
        assert await answered(a, "p") == "let in"
        with pytest.raises(ConnectionRefusedError):
            async with open_client_link(str(a.address), "p"):  # a client of a peer's name is a client
                pass


async def test_peers_that_are_not_known_yet_are_let_in_and_make_room_when_they_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_arrivals, "STRANGERS_MAX", 1)
    async with recorded("a") as (a, at_a):
        for count in (1, 2):
            assert await answered(a, "unknown") == "let in"
            await at_a.wait("disconnected", "unknown", count)


async def answered(node: Node, peer: str) -> str:
    """How a peer of this name is received that says hello and goes."""
    stranger = await Stranger.meet(node, peer_hello(peer))
    event = await stranger.event()
    await stranger.stream.aclose()
    return "let in" if isinstance(event, PeerReady) else "refused" if isinstance(event, Refused) else repr(event)


async def test_who_says_nothing_makes_room_for_who_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(_arrivals, "SILENT_SECONDS", 0.0)
    async with recorded("a") as (a, _):
        silent = [Stranger(await dial(a.address), Link.answer()) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as lines:
            peer = await Stranger.meet(a, peer_hello())
            assert isinstance(await peer.event(), PeerReady)
        assert [line["event"] for line in lines] == ["too many connections"]
        with trio.fail_after(2):  # long before a handshake's time is over
            assert await silent[0].is_closed()
        await silent[1].stream.aclose()
        await peer.stream.aclose()


async def test_who_pings_and_never_reads_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outbox, "CONTROL_COUNT_MAX", 100)
    async with recorded("a") as (a, at_a):
        stranger = await Stranger.meet(a, peer_hello())

        async def ping_for_ever() -> None:
            while True:
                await stranger.stream.send_all(e.pack(e.Ping(1)) * 10_000)
                await trio.lowlevel.checkpoint()

        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await ping_for_ever()
        await at_a.wait("disconnected", "p")
        await stranger.stream.aclose()


# -- opening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_listening_beyond_loopback_is_asked_for_by_name(listen: str) -> None:
    with pytest.raises(ValueError, match="insecure=True"):
        async with open_node("a", listen=listen):
            pass
    async with open_node("a", listen=listen, insecure=True) as node:
        assert node.address.port > 0


async def test_a_port_in_use_is_told_with_the_address_and_what_to_do(tmp_path: Path) -> None:
    async with open_node("a") as a:
        with pytest.raises(
            CannotListen, match=f"cannot listen on {a.address}: another process listens there"
        ) as caught:
            async with open_node("b", listen=str(a.address), data=tmp_path):
                pass
        assert caught.value.errno == errno.EADDRINUSE
    DataDirectory.open(tmp_path, "b").close()


async def test_a_host_that_is_not_there_is_told() -> None:
    with pytest.raises(CannotListen, match="no such host"):
        async with open_node("a", listen="no-such-host.invalid:0"):
            pass


async def test_a_host_that_no_resolver_can_be_asked_for_is_one_that_is_not_there(
    leaping_clock: trio.testing.MockClock,
) -> None:
    """Resolvers are stricter about what is a name than `parse_address`."""
    snowman = "\u2603:1"
    with pytest.raises(CannotListen, match="no such host"):
        async with open_node("a", listen=snowman):
            pass
    with pytest.raises(OSError, match="is no name of a host"):
        async with open_client_link(snowman):
            pass
    with structlog.testing.capture_logs() as lines:
        async with open_node("a", peers={"b": snowman}):
            await trio.sleep(5)
    assert [(line["event"], line["reason"]) for line in lines] == [("no link", "'\u2603' is no name of a host")]


async def test_bad_names_and_addresses_are_refused_before_anything_is_opened(tmp_path: Path) -> None:
    for name, listen, peers in [
        ("a/b", None, {}),
        ("a", "nowhere", {}),
        ("a", None, {"b": "nowhere"}),
        ("a", None, {"b c": "127.0.0.1:1"}),
    ]:
        with pytest.raises(ValueError, match=r"cannot be a name|is no address"):
            async with open_node(name, listen=listen, peers=peers, data=tmp_path / "data"):
                pass
    assert not (tmp_path / "data").exists()


async def test_a_node_listens_where_its_peers_expect_it() -> None:
    listener, address = await free_listener()
    await listener.aclose()
    async with open_node("a", peers={"a": address}) as a:
        assert str(a.address) == a.address_of("a") == address
        assert not a.has_peer("a")


async def test_a_node_tells_the_address_that_others_are_to_use() -> None:
    async with open_node("a", listen="0.0.0.0:0", peers={"a": "host-a:7101", "b": "host-b:7101"}, insecure=True) as a:
        assert a.address.host == "0.0.0.0"
        assert [a.address_of(name) for name in "abc"] == ["host-a:7101", "host-b:7101", None]
        a.add_peer("a", "gate:7102")
        assert a.address_of("a") == "gate:7102"
        assert a.peers == ("b",)
        a.set_peers({"a": "other:7103"})
        assert a.address_of("a") == "other:7103"
        a.set_peers({})
        assert a.address_of("a") == str(a.address)
    async with open_node("a", peers={"a": "127.0.0.1:0"}) as a:
        assert a.address_of("a") == str(a.address)
        assert a.address.port > 0
