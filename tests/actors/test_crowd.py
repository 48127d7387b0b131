"""Clients that have much to say, that arrive, or are suspect, stand back, and threads take short turns meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Hashable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Address, _turns, open_node
from actors._client_link import SILENCE_SECONDS_MAX, open_client_link
from actors._connection import RECEIVE_SIZE, Connection
from actors._crowd import (
    ARRIVAL_PATIENCE_SECONDS,
    AT_ONCE,
    PATIENCE_SECONDS,
    REST_SECONDS,
    THREAD_SECONDS,
    Crowd,
)
from actors._exchange import Exchange
from actors._identity import MemoryIdentity
from actors._protocol.envelope import Envelope, Hello, pack, pack_envelope
from actors._protocol.link import Asked, Link
from actors._turns import NEW_FOR, POURED, SUSPECT_SECONDS, TURN_SECONDS
from actors.testing import MemoryNetwork, MemoryStream

MOMENT = 0.6 * TURN_SECONDS  # more than half of a turn
LETTER = pack_envelope("box", "", 1, 0, "letter", b"")


def test_only_those_who_have_more_where_others_have_hold_up() -> None:
    crowd = Crowd()
    for _ in range(2):
        crowd.has_more("a")
        assert not crowd.holds_up("a")
    crowd.has_more("b")
    assert crowd.holds_up("a")
    assert crowd.holds_up("b")
    assert not crowd.holds_up("c")
    crowd.is_done("c")
    for _ in range(2):
        crowd.is_done("b")
        assert not crowd.holds_up("a")
    crowd.is_done("a")


async def test_one_alone_that_has_more_stands_back_with_those_who_do(mock_clock: MockClock) -> None:
    crowd = Crowd()
    crowd.has_more("a")
    await crowd.stand_back()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.stand_back)
        await wait_all_tasks_blocked(0.001)
        assert crowd.holds_up("a")
        assert not crowd.holds_up("b")
        mock_clock.jump(REST_SECONDS)
    assert not crowd.holds_up("a")


def test_threads_take_short_turns_while_several_have_more() -> None:
    before, crowd = sys.getswitchinterval(), Crowd()
    assert before > 2 * THREAD_SECONDS
    crowd.has_more("a")
    assert sys.getswitchinterval() == before
    for _ in range(2):
        crowd.has_more("b")
        assert sys.getswitchinterval() == pytest.approx(THREAD_SECONDS, abs=2e-6)
        crowd.has_more("c")
        crowd.is_done("a")
        assert sys.getswitchinterval() == pytest.approx(THREAD_SECONDS, abs=2e-6)
        crowd.is_done("b")
        assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
        crowd.has_more("a")
        crowd.is_done("c")
    crowd.is_done("a")


# -- whose turn it is ------------------------------------------------------------------------------------------------


async def test_whoever_stands_back_alone_waits_for_no_time(mock_clock: MockClock) -> None:
    with trio.fail_after(1):
        await Crowd().stand_back()
    assert trio.current_time() == mock_clock.current_time()


async def test_between_the_turns_of_those_who_stand_back_there_is_a_rest(autojump_clock: MockClock) -> None:
    crowd, taken, began = Crowd(), list[tuple[int, float]](), trio.current_time()

    async def stand_back(who: int) -> None:
        for _ in range(2):
            await crowd.stand_back()
            taken.append((who, trio.current_time() - began))

    async with trio.open_nursery() as nursery:
        for who in range(3):
            nursery.start_soon(stand_back, who)
    assert [at for _, at in taken] == pytest.approx([turn * REST_SECONDS for turn in range(6)])
    assert sorted(who for who, _ in taken[:3]) == sorted(who for who, _ in taken[3:]) == [0, 1, 2]


async def test_nobody_stands_back_for_long_however_many_do(autojump_clock: MockClock) -> None:
    crowd, waited = Crowd(), list[float]()

    async def stand_back(wait: Callable[[], Awaitable[object]]) -> None:
        began = trio.current_time()
        await wait()
        waited.append(trio.current_time() - began)

    for patience, wait in ((PATIENCE_SECONDS, crowd.stand_back), (0.25, partial(crowd.wait_turn, 0.25))):
        waited.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(stand_back, wait)
        assert len(waited) == 200
        assert max(waited) == pytest.approx(patience)
    assert PATIENCE_SECONDS < SILENCE_SECONDS_MAX, "no client leaves for it"


async def test_those_who_have_waited_long_enough_do_not_come_all_at_once(autojump_clock: MockClock) -> None:
    crowd, rounds, taken = Crowd(), 0, list[int]()

    async def count() -> None:
        nonlocal rounds
        await trio.sleep(PATIENCE_SECONDS)
        for rounds in range(500):  # noqa: B007 - others look at it
            await trio.lowlevel.checkpoint()

    async def stand_back() -> None:
        await crowd.stand_back()
        taken.append(rounds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(400):
            nursery.start_soon(stand_back)
    assert len(taken) == 400
    late = [taken.count(each) for each in set(taken) if each]
    assert sum(late) > 100
    assert max(late) <= AT_ONCE


# -- connections -----------------------------------------------------------------------------------------------------


class Watched(Crowd):
    """Notes what it is told, and what is received meanwhile."""

    def __init__(self, clock: MockClock) -> None:
        super().__init__()
        self.told: list[str] = []
        self._clock = clock

    def receive(self, _: Envelope) -> None:
        self.told.append("letter")
        self._clock.jump(MOMENT)

    def has_more(self, who: Hashable) -> None:
        self.told.append("more")
        super().has_more(who)

    def pours(self, who: Hashable) -> bool:
        self.told.append("pours")
        return super().pours(who)

    def is_done(self, who: Hashable, *, pours: bool = False) -> None:
        self.told.append("done" if not pours else "so far")
        super().is_done(who, pours=pours)

    async def stand_back(self) -> None:
        self.told.append("rest")
        await trio.lowlevel.checkpoint()

    def take_told(self) -> list[str]:
        told, self.told = self.told, []
        return told


async def _linked(crowd: Watched, nursery: trio.Nursery) -> tuple[MemoryStream, Connection]:
    """The client's end of a connection that is one of `crowd`, and runs; and the connection."""
    network = MemoryNetwork()
    client, node = network.host("client"), network.host("node")
    [listener] = await node.listen(Address("node", 1), insecure=False)
    stream = await client.dial(Address("node", 1))
    link = Link.answer()
    link.receive_data(pack(Hello(1, 1, "c", 0, "client", 0)))
    assert isinstance(link.next_event(), Asked)
    link.accept("node", 1, 0)
    exchange = Exchange("node", MemoryIdentity(1))
    connection = Connection(await listener.accept(), link, 2**20, exchange.gate, exchange.stir, crowd=crowd)
    nursery.start_soon(connection.run, crowd.receive)
    await wait_all_tasks_blocked(0.001)
    return stream, connection


async def _said(stream: MemoryStream, crowd: Watched, letters: int) -> list[str]:
    """What comes of so many letters at once."""
    await stream.send_all(LETTER * letters)
    await wait_all_tasks_blocked(0.001)
    return crowd.take_told()


@pytest.fixture
def nobody_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "NEW_FOR", 0)


async def test_who_has_just_come_stands_back_with_the_first_things_that_it_says(mock_clock: MockClock) -> None:
    crowd = Watched(mock_clock)
    async with trio.open_nursery() as nursery:
        stream, _ = await _linked(crowd, nursery)
        assert crowd.take_told() == ["rest", "done"]
        for _ in range(NEW_FOR - 1):
            assert await _said(stream, crowd, 1) == ["rest", "letter", "done"]
        assert await _said(stream, crowd, 1) == ["letter", "done"]
        nursery.cancel_scope.cancel()


async def test_who_is_suspect_stands_back_with_each_thing_it_says_for_a_while(
    mock_clock: MockClock, nobody_is_new: None
) -> None:
    crowd = Watched(mock_clock)
    async with trio.open_nursery() as nursery:
        stream, connection = await _linked(crowd, nursery)
        assert crowd.take_told() == ["done"]
        assert await _said(stream, crowd, 1) == ["letter", "done"]
        connection.suspect()
        for _ in range(2):
            assert await _said(stream, crowd, 1) == ["rest", "letter", "done"]
        mock_clock.jump(SUSPECT_SECONDS)
        assert await _said(stream, crowd, 1) == ["letter", "done"]
        nursery.cancel_scope.cancel()


async def test_who_says_more_than_fits_in_a_turn_is_known_for_it(mock_clock: MockClock, nobody_is_new: None) -> None:
    assert TURN_SECONDS < 2 * MOMENT < 2 * TURN_SECONDS
    crowd = Watched(mock_clock)
    async with trio.open_nursery() as nursery:
        stream, _ = await _linked(crowd, nursery)
        assert crowd.take_told() == ["done"]
        letters = ["letter", "letter", "more"] * 2 + ["letter", "done"]
        assert await _said(stream, crowd, 5) == letters
        assert await _said(stream, crowd, 1) == ["more", "letter", "done"]  # it was thought to have
        assert await _said(stream, crowd, 1) == ["letter", "done"]
        nursery.cancel_scope.cancel()


async def test_where_another_has_more_too_it_stands_back_between_its_turns(
    mock_clock: MockClock, nobody_is_new: None
) -> None:
    crowd = Watched(mock_clock)
    async with trio.open_nursery() as nursery:
        stream, _ = await _linked(crowd, nursery)
        assert crowd.take_told() == ["done"]
        crowd.has_more("another")
        crowd.take_told()
        letters = ["letter", "letter", "more", "rest"] * 2 + ["letter", "done"]
        assert await _said(stream, crowd, 5) == letters
        assert await _said(stream, crowd, 5) == ["more", "rest", *letters]
        crowd.is_done("another")
        nursery.cancel_scope.cancel()


async def test_those_who_send_something_large_stand_back_now_and_then(
    mock_clock: MockClock, nobody_is_new: None
) -> None:
    crowd = Watched(mock_clock)
    large = pack_envelope("box", "", 1, 0, "letter", bytes(6 * POURED * RECEIVE_SIZE))
    piece = POURED * RECEIVE_SIZE
    async with trio.open_nursery() as nursery:
        stream, _ = await _linked(crowd, nursery)
        crowd.take_told()

        async def send(data: bytes) -> list[str]:
            await stream.send_all(data)
            await wait_all_tasks_blocked(0.001)
            return [each for each in crowd.take_told() if each not in ("done", "so far")]

        assert await send(large[:piece]) == ["pours"]
        assert await send(large[piece : 2 * piece]) == ["pours"]
        assert crowd.pours("another")
        assert await send(large[2 * piece : 3 * piece]) == ["pours", "pours", "rest"]
        crowd.is_done("another")
        assert await send(large[3 * piece : 4 * piece]) == ["pours"]
        assert (await send(large[4 * piece :]))[-1] == "letter"
        assert not crowd._pouring  # pyright: ignore[reportPrivateUsage]
        nursery.cancel_scope.cancel()


async def test_a_connection_that_ends_has_no_more(mock_clock: MockClock, nobody_is_new: None) -> None:
    crowd = Watched(mock_clock)
    async with trio.open_nursery() as nursery:
        stream, _ = await _linked(crowd, nursery)
        assert crowd.take_told() == ["done"]
        await _said(stream, crowd, 3)
        await stream.send_all(b"\0\0\0\1garbage")
        await wait_all_tasks_blocked(0.001)
        assert crowd.take_told()[-1] == "done"
        assert not crowd._busy  # pyright: ignore[reportPrivateUsage]


async def test_who_arrives_stands_back_before_it_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    told, network = list[str](), MemoryNetwork()

    async def wait_turn(_: Crowd, seconds: float) -> bool:
        assert 0 <= seconds <= ARRIVAL_PATIENCE_SECONDS
        told.append("back")
        await trio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(Crowd, "wait_turn", wait_turn)
    async with open_node("node", listen="node:1", network=network.host("node")):
        stream = await network.host("stranger").dial(Address("node", 1))
        await wait_all_tasks_blocked(0.001)
        assert told == ["back"]
        await stream.aclose()


async def test_who_arrives_waits_behind_no_others_that_have_waited_long(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with open_node("node", listen="node:1", network=network.host("node")) as node, trio.open_nursery() as nursery:
        crowd = node._exchange.crowd  # pyright: ignore[reportPrivateUsage]

        async def stand_back_always() -> None:
            while True:
                await crowd.stand_back()
                autojump_clock.jump(0.002)

        for _ in range(2_000):
            nursery.start_soon(stand_back_always)
        await trio.sleep(5 * PATIENCE_SECONDS)
        for _ in range(5):
            began = trio.current_time()
            async with open_client_link("node:1", network=network.host("client")):
                assert trio.current_time() - began < 2 * ARRIVAL_PATIENCE_SECONDS
        nursery.cancel_scope.cancel()
