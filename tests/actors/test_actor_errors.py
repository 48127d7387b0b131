"""Every error that `actors` shows: its class, its text, and whether it says what became of the message."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog.testing
import trio
from boxes import Box, Small, instance_of
from provoked import Fate, Patch, Row, Seen, came_to, check, missing, name, raised_by, raised_in
from test_ask_cycles import Hop
from test_remote_actors import box_on_b, lose_link_of, pair, sleep_and
from trio.testing import MockClock

import actors
from actors import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    CannotListen,
    DataDirectoryError,
    DataDirectoryInUse,
    InvalidMessage,
    InvariantViolation,
    LinkBroken,
    NoSuchActor,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Rejected,
    RemoteProtocolError,
    Supervision,
    Tls,
    TlsError,
    TooLarge,
    command,
    open_node,
)
from actors._identity import DataDirectory
from actors._protocol.clock import COUNTER_MAX, LamportClock
from actors._protocol.frames import FrameReader, frame
from actors.testing import MemoryNetwork


class Busy(Box):
    """Busy with what it has not begun to keep, or with what it has kept."""

    @command
    async def keep_first(self, text: str) -> None:
        self.kept.append(text)
        await self.gate.wait()

    @command
    async def keep_last(self, text: str) -> None:
        await self.gate.wait()
        self.kept.append(text)


# -- messages -------------------------------------------------------------------------------------------------------


async def asked_of_nobody(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        await box_on_b(nodes)
        error = await raised_by(nodes.a.ref("b/nobody", Box).ask(Box.keep, "x"))
        return Seen(error, bool(instance_of(nodes.b, "box").kept))


async def asked_with_what_does_not_fit(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        error = await raised_by(box.ask(Box.keep, 1))  # type: ignore[arg-type]  # the mistake under test
        return Seen(error, bool(instance_of(nodes.b, "box").kept))


async def asked_with_too_much(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        error = await raised_by(box.ask(Box.keep, "x" * 2**25))
        return Seen(error, bool(instance_of(nodes.b, "box").kept))


async def asked_where_the_mailbox_is_full(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        box = await box_on_b(nodes, Small)
        for _ in range(3):
            await box.tell(Box.hold)
        error = await raised_by(box.ask(Box.keep, "x"))
        instance_of(nodes.b, "box").gate.set()
        return Seen(error, "x" in await box.ask(Box.all))


async def asked_what_is_refused(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        box = await box_on_b(nodes)
        return Seen(await raised_by(box.ask(Box.refuse, "no luck")), bool(await box.ask(Box.all)))


async def asked_of_one_that_stops(_: Path, __: Patch) -> Seen:
    async with pair() as nodes, trio.open_nursery() as nursery:
        box, seen = await box_on_b(nodes), instance_of(nodes.b, "box")
        nursery.start_soon(box.ask, Box.hold)
        await trio.sleep(1)
        nursery.start_soon(box.stop)
        await trio.sleep(1)
        error = await raised_by(box.ask(Box.keep, "x"))
        seen.gate.set()
        return Seen(error, bool(seen.kept))


async def asked_in_a_cycle(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        one, other = [await nodes.a.spawn(each, Raising) for each in ("one", "other")]
        await one.ask(Raising.pass_on, [other, one])
        return Seen(*Raising.raised)


class Raising(Hop):
    """Keeps what the ask that closes a cycle raises, and what came of the message: it was not begun."""

    raised: tuple[BaseException, bool]
    begun: int = 0

    @command
    async def pass_on(self, way: list[actors.Ref[Hop]]) -> str:
        self.begun += 1
        if way:
            try:
                return await way[0].ask(Hop.pass_on, way[1:])
            except AskCycle as cycle:
                Raising.raised = cycle, self.begun > 1
        return ""


async def asked_of_one_that_crashes(_: Path, __: Patch) -> Seen:
    async with pair() as nodes:
        box = await box_on_b(nodes, policy=Supervision(backoff_min=0))
        error = await raised_by(box.ask(Box.crash))
        return Seen(error, bool(await box.ask(Box.all)))


async def killed_before_it_kept_it(_: Path, __: Patch) -> Seen:
    return await _ended(lambda nodes, box: box.kill(), Busy.keep_last)


async def killed_after_it_kept_it(_: Path, __: Patch) -> Seen:
    return await _ended(lambda nodes, box: box.kill(), Busy.keep_first)


async def lost_before_it_kept_it(_: Path, __: Patch) -> Seen:
    return await _ended(lambda nodes, box: lose_link_of(nodes, "a"), Busy.keep_last)


async def lost_after_it_kept_it(_: Path, __: Patch) -> Seen:
    return await _ended(lambda nodes, box: lose_link_of(nodes, "a"), Busy.keep_first)


async def _ended(ends: Any, asked: Any) -> Seen:
    async with pair() as nodes, trio.open_nursery() as nursery:
        await box_on_b(nodes, Busy)
        box, seen = nodes.a.ref("b/box", Busy), instance_of(nodes.b, "box")

        def end() -> Awaitable[None]:
            return ends(nodes, box)  # type: ignore[no-any-return]

        nursery.start_soon(sleep_and, 1, end)
        error = await raised_by(box.ask(asked, "x"))
        applied = bool(seen.kept)
        seen.gate.set()
        return Seen(error, applied)


# -- nodes ----------------------------------------------------------------------------------------------------------


async def opened_where_another_listens(_: Path, __: Patch) -> Seen:
    async with open_node("a") as a:
        return Seen(await raised_by(_open("b", listen=str(a.address))))


async def opened_on_data_in_use(data: Path, _: Patch) -> Seen:
    with closing(DataDirectory.open(data, "a")):
        return Seen(await raised_by(_open("a", data=data)))


async def opened_on_another_node_s_data(data: Path, _: Patch) -> Seen:
    DataDirectory.open(data, "a").close()
    return Seen(await raised_by(_open("b", data=data)))


async def opened_without_its_certificate(data: Path, _: Patch) -> Seen:
    missing = str(data / "a.pem")
    return Seen(await raised_by(_open("a", tls=Tls(certificate=missing, key=missing, authority=missing))))


async def _open(name: str, **given: Any) -> None:
    async with open_node(name, **given):
        pass


async def given_what_no_peer_sends(_: Path, __: Patch) -> Seen:
    """To a user it is a line in the log, and a link that is closed."""
    sent = bytearray(frame(b"payload"))
    sent[-1] ^= 1
    network = MemoryNetwork(random=Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_node("b", listen="b:1", network=network.host("b")):
            stream = await network.host("stranger").dial(actors.Address("b", 1))
            await stream.send_all(bytes(sent))
            with trio.fail_after(100):
                while await stream.receive_some(100):
                    pass
            await stream.aclose()
    assert any("checksum" in str(line) for line in logs), logs
    reader = FrameReader()
    reader.receive_data(bytes(sent))
    return Seen(raised_in(reader.next_frame))


async def contradicted_itself(_: Path, __: Patch) -> Seen:
    return Seen(raised_in(lambda: LamportClock("a", 7).advance(COUNTER_MAX + 1)))


TABLE = (
    Row(NoSuchActor, Fate.NOT_APPLIED, "there is no actor 'nobody' on node b", asked_of_nobody),
    Row(InvalidMessage, Fate.NOT_APPLIED, r"Box\.keep: text: Expected `str`, got `int`", asked_with_what_does_not_fit),
    Row(
        TooLarge,
        Fate.NOT_APPLIED,
        r"the message to b/box takes \d+ bytes, and \d+ are allowed: give it in parts",
        asked_with_too_much,
    ),
    Row(
        Overloaded,
        Fate.NOT_APPLIED,
        "the mailbox of b/box is full, with 2 messages: try again later",
        asked_where_the_mailbox_is_full,
    ),
    Row(Refused, Fate.NOT_APPLIED, "^no luck$", asked_what_is_refused),
    Row(ActorStopped, Fate.NOT_APPLIED, "b/box has stopped, or is stopping", asked_of_one_that_stops),
    Row(AskCycle, Fate.NOT_APPLIED, "a/other -> a/one -> a/other. Tell instead of ask", asked_in_a_cycle),
    Row(
        ActorCrashed,
        Fate.RAISED,
        r"Box\.crash of b/box raised ZeroDivisionError: a bug in its class",
        asked_of_one_that_crashes,
    ),
    Row(
        OutcomeUnknown,
        Fate.UNKNOWN,
        r"b/box was ended while it handled Busy\.keep_last; how far it came, nobody knows",
        killed_before_it_kept_it,
    ),
    Row(
        OutcomeUnknown,
        Fate.UNKNOWN,
        r"b/box was ended while it handled Busy\.keep_first; how far it came, nobody knows",
        killed_after_it_kept_it,
    ),
    Row(
        LinkBroken,
        Fate.UNKNOWN,
        r"the link to node b was lost before Busy\.keep_last of b/box answered; it may have been handled",
        lost_before_it_kept_it,
    ),
    Row(
        LinkBroken,
        Fate.UNKNOWN,
        r"the link to node b was lost before Busy\.keep_first of b/box answered; it may have been handled",
        lost_after_it_kept_it,
    ),
    Row(
        CannotListen,
        Fate.NO_MESSAGE,
        r"cannot listen on 127\.0\.0\.1:\d+: another process listens there",
        opened_where_another_listens,
    ),
    Row(DataDirectoryInUse, Fate.NO_MESSAGE, r"is in use by process \d+: stop that one first", opened_on_data_in_use),
    Row(DataDirectoryError, Fate.NO_MESSAGE, "belongs to node 'a', not to 'b'", opened_on_another_node_s_data),
    Row(TlsError, Fate.NO_MESSAGE, r"a\.pem cannot be read", opened_without_its_certificate),
    Row(RemoteProtocolError, Fate.NO_MESSAGE, "checksum", given_what_no_peer_sends),
    Row(InvariantViolation, Fate.NO_MESSAGE, "broken invariant: .*; please report this", contradicted_itself),
)
BASES = (Rejected,)
"""They only stand for their kinds: what catches them, catches those."""


@pytest.mark.parametrize("row", TABLE, ids=name)
async def test_an_error_is_what_the_table_says(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs():
        check(row, await row.provoke(tmp_path / "a", monkeypatch))


@pytest.mark.parametrize("kind", [OutcomeUnknown, LinkBroken], ids=lambda kind: kind.__name__)
async def test_what_is_said_to_be_unknown_comes_both_ways(
    kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs():
        assert await came_to(kind, TABLE, tmp_path, monkeypatch) == {True, False}


def test_every_error_that_is_shown_has_a_row() -> None:
    assert missing(actors, TABLE, BASES) == []
