"""A handle between its tasks and a way that the test plays: what leaves, what waits, and what is forgotten."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, TooLarge, command, query
from actors._interface import Interface
from actors._protocol.clock import LamportClock
from actors._protocol.codec import decode
from broadcast import GroupClosed, GroupRef
from broadcast._feed import Feed
from broadcast._handle import Handle, Way
from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, Submittable
from broadcast._protocol.queries import Query
from broadcast._protocol.reports import Answers, Opened
from broadcast._protocol.submitter import Submitter
from membership import Limits

CLUSTER = b"c" * 16
LIMITS = Limits(command_size_max=1_000)
ONE = b"\x82\x00\x01"
"""The outcome of a command that was applied, and gave 1."""


NOTHING = b"\x82\x00\xf6"


class Count(Actor):
    @command
    def add(self, amount: int) -> int:
        return amount

    @command
    def note(self, text: str) -> None: ...

    @query
    def value(self) -> int:
        return 1


class Played(Way):
    """Keeps what is to be carried. Opens a session when it is asked for one, unless told otherwise."""

    def __init__(self, handle: Handle, *, opens: bool = True) -> None:
        self.sent: list[Submittable] = []
        self.queries: list[Query] = []
        self.given_up: list[int] = []
        self._handle = handle
        self._opens = opens

    def submit(self, entries: Sequence[Submittable]) -> None:
        self.sent.extend(entries)
        for entry in entries:
            if isinstance(entry, SessionAsked) and self._opens:
                self._handle.report(Opened(entry.nonce, entry.owner, 5))

    def read(self, queries: Sequence[Query]) -> None:
        self.queries.extend(queries)

    def give_up(self, number: int) -> None:
        self.given_up.append(number)

    def fruitless(self) -> None: ...

    def calls(self) -> list[object]:
        """That were sent, opened; void is None."""
        runs = [entry for entry in self.sent if isinstance(entry, Commands)]
        return [call for run in runs for call in _opened(run)]


def _opened(run: Commands) -> list[object]:
    calls = decode(run.calls)
    assert isinstance(calls, list)
    return list(calls)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def made() -> Handle:
    order = Feed("count", Interface.of(Count)).deliveries
    return Handle(group="count", owner="me", nonce=b"n" * 16, clock=LamportClock("me"), order=order)


@asynccontextmanager
async def held(*, opens: bool = True) -> AsyncGenerator[tuple[Handle, GroupRef[Count], Played, trio.Nursery]]:
    handle = made()
    way = Played(handle, opens=opens)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.run)
            handle.take_way(way, CLUSTER, LIMITS)
            yield handle, GroupRef(Count, handle, "count"), way, nursery
            nursery.cancel_scope.cancel()


async def test_no_more_commands_are_taken_in_than_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcast._protocol.submitter.OUTSTANDING_MAX", 3)
    async with held() as (handle, group, way, nursery):
        for number in range(5):
            nursery.start_soon(group.ask, Count.add, number)
        await wait_all_tasks_blocked()
        assert len(way.calls()) == 3
        handle.report(Answers(5, 1, [ONE]))
        await wait_all_tasks_blocked()
        assert len(way.calls()) == 4
        handle.report(Answers(5, 2, [ONE, ONE, ONE]))
        await wait_all_tasks_blocked()
        assert sorted(map(str, way.calls())) == [f"['add', {number}]" for number in range(5)]
        handle.report(Answers(5, 5, [ONE]))


async def test_a_pipeline_opens_each_answer_by_the_command_that_it_is_of() -> None:
    async with held() as (handle, group, way, _), group.pipeline() as pipe:
        await pipe.send(Count.add, 1)
        await pipe.send(Count.add, 2)
        await pipe.send(Count.note, "x")
        await pipe.send(Count.add, 3)
        pipe.end()
        await wait_all_tasks_blocked()
        assert way.calls() == [["add", 1], ["add", 2], ["note", "x"], ["add", 3]]
        handle.report(Answers(5, 1, [ONE, ONE, NOTHING, ONE]))
        assert [answer.unwrap() async for answer in pipe] == [1, 1, None, 1]


async def test_two_who_iterate_over_a_pipeline_have_each_answer_between_them() -> None:
    got: list[object] = []

    async def hear() -> None:
        got.extend([answer.unwrap() async for answer in pipe])

    async with held() as (handle, group, _, nursery), group.pipeline() as pipe:
        nursery.start_soon(hear)
        nursery.start_soon(hear)
        for _ in range(200):
            await pipe.send(Count.add, 1)
        pipe.end()
        await wait_all_tasks_blocked()
        handle.report(Answers(5, 1, [b"\x82\x00\x18" + bytes([number]) for number in range(24, 224)]))
        await wait_all_tasks_blocked()
        assert sorted(map(repr, got), key=int) == [str(number) for number in range(24, 224)]


async def test_no_more_queries_are_taken_in_than_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcast._protocol.queries.UNDER_WAY_MAX", 2)
    async with held() as (handle, group, way, nursery):
        for _ in range(3):
            nursery.start_soon(group.ask, Count.value)
        await wait_all_tasks_blocked()
        assert len(way.queries) == 2
        handle.answer(1, ONE)
        await wait_all_tasks_blocked()
        assert [query.number for query in way.queries] == [1, 2, 3]
        handle.answer(2, ONE)
        handle.answer(3, ONE)


async def test_a_way_that_comes_after_the_end_opens_nothing_again() -> None:
    async with held() as (handle, group, way, _):
        handle.close()
        handle.take_way(way, CLUSTER, LIMITS)
        with pytest.raises(GroupClosed, match="nothing was sent"):
            await group.ask(Count.add, 1)


async def test_queries_that_are_given_up_make_room_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcast._protocol.queries.UNDER_WAY_MAX", 2)
    async with held() as (handle, group, way, nursery):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as others:
                for _ in range(2):
                    others.start_soon(group.ask, Count.value)
                await wait_all_tasks_blocked()
                nursery.start_soon(group.ask, Count.value)
                await wait_all_tasks_blocked()
                scope.cancel()
        await wait_all_tasks_blocked()
        assert [query.number for query in way.queries] == [1, 2, 3]
        handle.answer(3, ONE)


async def test_only_those_are_woken_for_whom_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcast._protocol.submitter.OUTSTANDING_MAX", 3)
    tries = 0
    offer = Submitter.offer

    def tried(self: Submitter, call: bytes) -> int:
        nonlocal tries
        tries += 1
        return offer(self, call)

    async with held() as (handle, group, way, nursery):
        monkeypatch.setattr(Submitter, "offer", tried)
        for number in range(100):
            nursery.start_soon(group.ask, Count.add, number)
        await wait_all_tasks_blocked()
        for number in range(100):
            handle.report(Answers(5, number + 1, [ONE]))
            await wait_all_tasks_blocked()
        assert len(way.calls()) == 100
        assert tries <= 300


async def test_what_is_too_large_is_told_with_both_sizes_before_anything_is_sent() -> None:
    async with held() as (_, group, way, _):
        for send in (group.ask, group.tell):
            with pytest.raises(TooLarge, match=r"Count\.note.*1010.*1000") as told:
                await send(Count.note, "x" * 1_001)
            assert isinstance(told.value, TooLarge)
        assert way.sent == []


async def test_without_a_way_nothing_leaves_and_with_the_next_everything_does() -> None:
    async with held() as (handle, group, way, nursery):
        handle.lose_way()
        nursery.start_soon(group.ask, Count.value)
        await wait_all_tasks_blocked()  # a query waits for earlier commands, and for later ones not
        nursery.start_soon(group.ask, Count.add, 7)
        await wait_all_tasks_blocked()
        assert (way.sent, way.queries) == ([], [])
        handle.take_way(way, CLUSTER, LIMITS)
        await wait_all_tasks_blocked()
        assert (way.calls(), len(way.queries)) == ([["add", 7]], 1)
        handle.report(Answers(5, 1, [ONE]))
        handle.answer(1, ONE)


async def test_a_cancelled_ask_that_was_not_sent_is_void_and_later_ones_do_not_wait_for_it() -> None:
    async with held(opens=False) as (handle, group, way, nursery):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(group.ask, Count.add, 1)
                await wait_all_tasks_blocked()
                scope.cancel()
        nursery.start_soon(group.ask, Count.add, 2)
        await wait_all_tasks_blocked()
        (asked,) = way.sent
        assert isinstance(asked, SessionAsked)
        handle.report(Opened(asked.nonce, asked.owner, 5))
        await wait_all_tasks_blocked()
        assert way.calls() == [None, ["add", 2]]
        handle.report(Answers(5, 1, [b"\x81\x04", ONE]))


async def test_nobody_is_told_of_what_was_cancelled_and_its_place_is_free_again() -> None:
    async with held() as (handle, group, way, _):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(group.ask, Count.add, 1)
                await wait_all_tasks_blocked()
                scope.cancel()
        handle.report(Answers(5, 1, [ONE]))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(group.ask, Count.value)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert way.given_up == [1]
        handle.answer(1, ONE)  # it was on its way
        assert await _answered(handle, group) == 1


async def _answered(handle: Handle, group: GroupRef[Count]) -> int:
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await group.ask(Count.add, 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        handle.report(Answers(5, 2, [ONE]))
    return answers[0]


async def test_closing_ends_the_session_at_the_other_end() -> None:
    async with held() as (handle, group, way, _):
        await group.tell(Count.add, 1)
        await wait_all_tasks_blocked()
        handle.report(Answers(5, 1, [ONE]))
        await handle.drained()
        handle.close()
        handle.close()
        assert way.sent[-1] == SessionEnded(5)
        assert sum(isinstance(entry, SessionEnded) for entry in way.sent) == 1


async def test_closing_wakes_whoever_waits_for_anything() -> None:
    """For an answer, for room, for a way to the group, for earlier commands, for what was told."""
    handle = made()
    group = GroupRef(Count, handle, "count")
    way = Played(handle)
    told: list[str] = []

    async def wait(what: str, wait: Callable[[], Awaitable[object]]) -> None:
        try:
            await wait()
        except GroupClosed:
            told.append(what)
        else:
            told.append(f"{what}, with nothing left to wait for")

    with trio.fail_after(10), pytest.MonkeyPatch.context() as patch:
        patch.setattr("broadcast._protocol.submitter.OUTSTANDING_MAX", 2)
        patch.setattr("broadcast._protocol.queries.UNDER_WAY_MAX", 1)
        async with trio.open_nursery() as nursery:

            async def begin(what: str, awaited: Callable[[], Awaitable[object]]) -> None:
                nursery.start_soon(wait, what, awaited)
                await wait_all_tasks_blocked()

            handle.take_way(way, CLUSTER, LIMITS)
            await begin("a query's answer", lambda: group.ask(Count.value))
            await begin("room for a query", lambda: group.ask(Count.value))
            await group.tell(Count.add, 1)
            await begin("what was told", handle.drained)
            await begin("an answer", lambda: group.ask(Count.add, 2))
            await begin("room", lambda: group.ask(Count.add, 3))
            await begin("earlier commands", lambda: group.ask(Count.value))
            assert told == []
            handle.close()
            await wait_all_tasks_blocked()
            assert sorted(told) == [
                "a query's answer",
                "an answer",
                "earlier commands",
                "room",
                "room for a query",
                "what was told, with nothing left to wait for",
            ]
            with pytest.raises(GroupClosed):
                await group.ask(Count.add, 4)


async def test_closing_wakes_who_waits_for_a_first_way() -> None:
    handle = made()
    group = GroupRef(Count, handle, "count")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(GroupClosed):
                    await group.ask(Count.add, 1)

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            handle.close()


async def test_what_a_pipeline_has_not_taken_when_it_ends_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it has only left others a turn: who reads has come to the end by then, and would miss the answer."""
    async with held() as (_, group, way, _), group.pipeline() as pipe:

        async def turn() -> None:
            pipe.end()  # which others may do in it

        with monkeypatch.context() as patched:
            patched.setattr("broadcast._pipeline.TURNS", 1)
            patched.setattr(trio.lowlevel, "checkpoint", turn)
            with pytest.raises(trio.ClosedResourceError):
                await pipe.send(Count.add, 1)
        await wait_all_tasks_blocked()
        assert way.sent == []


async def test_who_waits_for_room_hears_that_the_pipeline_has_ended() -> None:
    """No more than who waits for its window: nothing need come of what others have under way, or of the group."""
    pipe = GroupRef(Count, made(), "count").pipeline()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _send() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await pipe.send(Count.add, 1)

            await wait_all_tasks_blocked()
            pipe.end()
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks
            nursery.cancel_scope.cancel()
