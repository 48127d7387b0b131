"""Who has dialed and is not linked yet: it costs little, has its turn, and makes room."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from test_node import Stranger, peer_hello, recorded
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import _arrivals, open_node
from actors._arrivals import GREETED_SECONDS, SHORT_SECONDS, TAKEN_AT_ONCE, TURNED_AWAY_AT_ONCE
from actors._crowd import REST_SECONDS
from actors._network import Listener
from actors._node import Node
from actors._protocol.address import Address
from actors._protocol.link import Link, PeerReady
from actors._tcp import QuickStream


async def silent(node: Node, source: str = "127.0.0.1") -> Stranger:
    socket = trio.socket.socket()
    await socket.bind((source, 0))
    await socket.connect((node.address.host, node.address.port))
    return Stranger(QuickStream(trio.SocketStream(socket)), Link.answer())


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


# -- what it costs ---------------------------------------------------------------------------------------------------


async def test_who_says_nothing_has_no_task() -> None:
    async with recorded("a") as (a, _):
        await wait_all_tasks_blocked(0.01)
        before = tasks()
        strangers = [await silent(a) for _ in range(20)]
        await wait_all_tasks_blocked(0.01)
        assert tasks() == before
        await strangers[0].stream.send_all(b"\0")
        await wait_all_tasks_blocked(0.05)
        assert tasks() == before + 1
        for stranger in strangers:
            await stranger.stream.aclose()
        with trio.fail_after(5):
            while tasks() != before:  # who hangs up has its turn, too, in which that is seen
                await wait_all_tasks_blocked(0.01)


async def test_the_end_of_a_node_is_the_end_of_who_waits() -> None:
    async with recorded("a") as (a, _):
        strangers = [await silent(a) for _ in range(20)]
        for stranger in strangers[10:]:
            await stranger.stream.send_all(b"\0")
        await wait_all_tasks_blocked()
    for stranger in strangers:
        assert await stranger.is_closed()


# -- who makes room --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes", [0, 1, 2], ids=["had its turn", "could have spoken", "just came"])
async def test_a_newcomer_takes_the_place_of_one_that_had_its_time(goes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(_arrivals, "GREETED_SECONDS", inf if goes else 0.0)
    monkeypatch.setattr(_arrivals, "SILENT_SECONDS", 0.0 if goes == 1 else inf)
    async with recorded("a") as (a, _):
        strangers = [await silent(a)]
        await strangers[0].stream.send_all(b"\0")
        await wait_all_tasks_blocked(0.05)
        strangers.append(await silent(a))
        await wait_all_tasks_blocked(0.01)
        strangers.append(await Stranger.meet(a, peer_hello()))
        with trio.fail_after(2):  # long before a handshake's time is over
            assert await strangers.pop(goes).is_closed()
        if goes < 2:
            assert isinstance(await strangers[-1].event(), PeerReady)
        for stranger in strangers:
            await stranger.stream.aclose()


async def test_an_address_that_is_full_costs_no_other_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(_arrivals, "CONNECTIONS_PER_HOST_MAX", 1)
    monkeypatch.setattr(_arrivals, "SILENT_SECONDS", 0.0)
    async with recorded("a") as (a, _):
        one, eldest, newest = [await silent(a, f"127.0.0.{host}") for host in (2, 3, 3)]
        with trio.fail_after(2):
            assert await eldest.is_closed()
        with trio.move_on_after(0.05) as still:
            await one.is_closed()
        assert still.cancelled_caught
        for stranger in (one, newest):
            await stranger.stream.aclose()


# -- how many at a time ----------------------------------------------------------------------------------------------


class Silence(trio.abc.Stream):
    """Nobody is at its other end."""

    closed = had_its_turn = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.had_its_turn = True
        await trio.sleep_forever()
        raise AssertionError

    async def send_all(self, data: object) -> None: ...

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class Flood(Listener):
    """Somebody is always there; as many as may come before no file is left."""

    def __init__(self, files: float = inf) -> None:
        self.files = files
        self.streams: list[Silence] = []
        self.times: list[float] = []

    @property
    def address(self) -> Address:
        return Address("flood", 1)

    async def accept(self) -> trio.abc.Stream:
        self.times.append(trio.current_time())
        if sum(not stream.closed for stream in self.streams) >= self.files:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self.streams.append(Silence())
        return self.streams[-1]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Floods:
    """A network of it, by one address or more."""

    def __init__(self, flood: Flood, addresses: int) -> None:
        self.flood = flood
        self.addresses = addresses

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        return [self.flood] * self.addresses

    async def dial(self, address: Address) -> trio.abc.Stream:
        raise ConnectionRefusedError


@asynccontextmanager
async def flooded(flood: Flood, addresses: int = 1) -> AsyncGenerator[None]:
    async with open_node("a", listen="flood:1", network=Floods(flood, addresses)):
        yield


@pytest.mark.parametrize("addresses", [1, 2])
async def test_no_more_are_taken_at_a_time_than_others_can_bear(
    addresses: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 100)
    flood = Flood()
    async with flooded(flood, addresses):
        await trio.sleep(1.0)
    per_go = [flood.times.count(each) for each in dict.fromkeys(flood.times)]
    assert per_go[:4] == [TAKEN_AT_ONCE] * 4
    assert set(per_go[5:-1]) == {TURNED_AWAY_AT_ONCE}
    goes = sorted(set(flood.times))
    assert all(later - earlier >= REST_SECONDS * 0.99 for earlier, later in pairwise(goes))
    assert len(flood.times) == pytest.approx(TURNED_AWAY_AT_ONCE / REST_SECONDS, rel=0.1)
    assert all(stream.closed for stream in flood.streams)


async def test_places_that_others_wait_for_are_soon_free_for_them(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 100)
    flood = Flood()
    async with flooded(flood):
        await trio.sleep(2.0)
    assert 0.9 < sum(stream.had_its_turn for stream in flood.streams) / (2.0 * 100 / GREETED_SECONDS) <= 1.1


async def test_where_no_file_is_left_the_eldest_goes_and_it_is_tried_again(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    flood = Flood(files=8)
    with structlog.testing.capture_logs() as lines:
        async with flooded(flood):
            await trio.sleep(10.5 * SHORT_SECONDS)
            assert len(flood.streams) == 8 + 10
            assert [stream.closed for stream in flood.streams] == [True] * 11 + [False] * 7
    assert {line["event"] for line in lines} == {"no connection can be taken"}
    assert lines[0]["reason"] == "Too many open files"
    assert capsys.readouterr().err == ""


async def test_what_else_a_listener_raises_is_raised() -> None:
    class Broken(Flood):
        async def accept(self) -> trio.abc.Stream:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Bad file"), flatten_subgroups=True):
        async with flooded(Broken()):
            await trio.sleep_forever()


@pytest.mark.parametrize("file", ["gone", -1, "no such kind"])
async def test_a_file_that_cannot_be_waited_on_stops_no_node(
    file: object, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Who has gone already is greeted as one whose stream has no file."""
    with (tmp_path / "file").open("wb") as regular:  # which the system does not wait on

        class Odd(Silence):
            def fileno(self) -> int:
                if file == "gone":
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                return -1 if file == -1 else regular.fileno()

            def close_nowait(self) -> None:
                self.closed = True
                raise ConnectionResetError

        class Odds(Flood):
            async def accept(self) -> trio.abc.Stream:
                if len(self.streams) == 4:
                    await trio.sleep_forever()
                self.streams.append(Odd())
                return self.streams[-1]

        flood = Odds()
        async with flooded(flood):
            await trio.sleep(2.0)
            assert all(stream.had_its_turn for stream in flood.streams)
        assert all(stream.closed for stream in flood.streams)
