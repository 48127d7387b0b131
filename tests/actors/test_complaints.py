"""Whatever others do, the log does not fill up with it: few lines, short ones, and a count of what was left out."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing
from test_node import Stranger, peer_hello, recorded

from actors import _arrivals, _complaints
from actors._complaints import ADDRESSES_MAX, LINES_MAX, PERIOD_SECONDS, Complaints
from actors._log import TEXT_LENGTH_MAX
from actors._protocol import envelope as e
from actors._protocol.codec import DecodeError, OneOf, encode
from actors._protocol.link import Link, PeerReady
from actors._tcp import dial


@pytest.fixture
def lines() -> Generator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_the_first_are_said_at_once_and_the_others_in_one_line(
    lines: list[Any], autojump_clock: trio.testing.MockClock
) -> None:
    complaints = Complaints()
    for number in range(LINES_MAX + 3):
        complaints.warning("turned away", "10.0.0.1", reason=f"{number}")
        complaints.beat()
    assert [line["reason"] for line in lines] == [str(number) for number in range(LINES_MAX)]
    await trio.sleep(PERIOD_SECONDS)
    complaints.beat()
    last = {"event": "turned away", "log_level": "warning", "reason": f"{LINES_MAX + 2}", "others": 2}
    assert lines[LINES_MAX:] == [last | {"logger": "troupe.actors"}]
    complaints.beat()
    complaints.warning("turned away", "10.0.0.1", reason="in the next period")
    assert len(lines) == LINES_MAX + 2


async def test_where_nothing_was_left_out_nothing_more_is_said(
    lines: list[Any], autojump_clock: trio.testing.MockClock
) -> None:
    complaints = Complaints()
    complaints.error("crashed", None)
    await trio.sleep(PERIOD_SECONDS)
    complaints.beat()
    assert [line["log_level"] for line in lines] == ["error"]


async def test_one_address_does_not_drown_another_or_another_kind(lines: list[Any]) -> None:
    complaints = Complaints()
    for _ in range(100):
        complaints.warning("turned away", "10.0.0.1")
    complaints.warning("turned away", "10.0.0.2")
    complaints.warning("refused", "10.0.0.1")
    assert len(lines) == LINES_MAX + 2


async def test_very_many_addresses_are_one(lines: list[Any], autojump_clock: trio.testing.MockClock) -> None:
    complaints = Complaints()
    for number in range(10_000):
        complaints.warning("turned away", f"2001:db8:0:{number:x}::/64")
    assert len(lines) == ADDRESSES_MAX + LINES_MAX
    await trio.sleep(PERIOD_SECONDS)
    complaints.beat()
    assert lines[-1]["others"] == 10_000 - ADDRESSES_MAX - LINES_MAX - 1


async def test_a_line_is_short_whatever_is_in_it(lines: list[Any]) -> None:
    complaints = Complaints()
    complaints.warning("turned away", None, reason="x" * 10_000_000, node="a")
    assert lines[0]["reason"] == "x" * (TEXT_LENGTH_MAX - 25) + "... (10000000 characters)"
    assert lines[0]["node"] == "a"


def test_of_a_kind_that_is_none_little_is_shown() -> None:
    for tag in ("x" * 10_000, b"\0" * 10_000, [["x"] * 1_000]):
        with pytest.raises(DecodeError) as caught:
            OneOf(e.Ping).decode(encode([tag]))
        assert len(str(caught.value)) < 100


# -- a node ----------------------------------------------------------------------------------------------------------


async def turned_away(node: Any) -> None:
    stranger = Stranger(await dial(node.address), Link.answer())
    await stranger.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
    assert await stranger.is_closed()


async def refused(node: Any) -> None:
    assert await (await Stranger.meet(node, peer_hello(node.name))).is_closed()


async def at_fault(node: Any) -> None:
    stranger = await Stranger.meet(node, peer_hello())
    assert isinstance(await stranger.event(), PeerReady)
    await stranger.stream.send_all(bytes(100))
    assert await stranger.is_closed()


async def crashing(node: Any) -> None:
    stranger = await Stranger.meet(node, peer_hello())
    assert isinstance(await stranger.event(), PeerReady)
    await stranger.stream.send_all(e.pack_envelope("box", "", 1, 0, "crash", b""))
    assert await stranger.is_closed()


async def one_too_many(node: Any) -> None:
    """One that comes when all places are taken, one when there is room again: it was full, and then not."""
    kept = [await Stranger.meet(node, peer_hello(f"p{number}")) for number in range(2)]
    for stranger in kept:
        assert isinstance(await stranger.event(), PeerReady)
    assert await (await Stranger.meet(node, peer_hello("late"))).is_closed()
    for stranger in kept:
        await stranger.stream.aclose()
    with trio.fail_after(20):
        while node.statistics().peers_accepted:
            await trio.lowlevel.checkpoint()


WRONGS = {
    "stranger turned away": turned_away,
    "link refused": refused,
    "link closed for a fault": at_fault,
    "a peer's envelope made its receiver crash: please report this": crashing,
    "too many connections": one_too_many,
}


@pytest.mark.parametrize("event", WRONGS)
async def test_whoever_does_wrong_often_has_few_lines(
    event: str, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if event == "too many connections":
        monkeypatch.setattr(_arrivals, "CONNECTIONS_MAX", 2)
    async with recorded("a") as (a, box):

        def crash(*_: object) -> None:
            raise ZeroDivisionError

        box.answer = crash
        for _ in range(LINES_MAX + 5):
            await WRONGS[event](a)
        assert len([line for line in lines if line["event"] == event]) == LINES_MAX


async def test_a_node_says_what_it_left_out(lines: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async with recorded("a") as (a, _):
        for _ in range(LINES_MAX + 2):
            await refused(a)
        monkeypatch.setattr(_complaints, "PERIOD_SECONDS", 0.0)
        with trio.fail_after(20):
            while len(lines) == LINES_MAX:
                await trio.lowlevel.checkpoint()
        assert (lines[-1]["event"], lines[-1]["address"], lines[-1]["others"]) == ("link refused", "127.0.0.1", 1)
