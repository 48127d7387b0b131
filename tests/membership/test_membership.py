"""What users hold of membership: the views so far, those to come, and the end of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from membership import Configuration, Majority, Member, Membership, View
from membership import _membership as module
from membership._protocol.messages import Verdict, Wish

ALONE = Configuration((Member("a", b"a" * 16),))


class Closed(Exception):
    pass


class Nobody:
    """Takes wishes to nobody."""

    async def wish(self, wish: Wish) -> tuple[Verdict, str] | None:
        return None


def view(number: int) -> View:
    return View(number, number, "a", number, ("a",), (), Majority(), ("a",))


async def look(membership: Membership, see: Callable[[View], None]) -> None:
    async for each in membership.views():
        see(each)


async def all_views(membership: Membership) -> list[View]:
    """Those before the end."""
    seen: list[View] = []
    with pytest.raises(Closed):
        await look(membership, seen.append)
    return seen


async def next_view(membership: Membership) -> View:
    with pytest.raises(Closed):
        await membership.wait_view(after=2)
    return await membership.wait_view()


async def test_the_views_so_far_come_first_then_those_that_begin(autojump_clock: trio.testing.MockClock) -> None:
    membership = Membership(Nobody())
    membership.begin(view(1), ALONE)
    seen: list[View] = []
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, membership, seen.append)
            await wait_all_tasks_blocked()
            assert seen == [view(1)]
            membership.begin(view(2), ALONE)
            assert (await membership.wait_view(after=1)).number == 2
    assert seen == [view(1), view(2)]


@pytest.mark.parametrize(
    ("number", "error"), [("x", TypeError), (True, TypeError), (None, TypeError), (2**70, ValueError)]
)
async def test_what_can_be_no_view_s_number_is_not_waited_for(
    number: Any, error: type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    membership = Membership(Nobody())
    membership.begin(view(1), ALONE)
    with trio.fail_after(1), pytest.raises(error, match=r"^after= is the number of a view"):
        await membership.wait_view(after=number)
    with trio.fail_after(1), pytest.raises(error, match=r"^from_number= is the number of a view"):
        await anext(membership.views(number))


async def test_views_that_a_snapshot_has_skipped_are_missing_and_the_others_keep_their_numbers() -> None:
    membership = Membership(Nobody())
    for number in (4, 5, 5, 4, 9):  # begun with, begun; installed twice without anything new; and with
        membership.begin(view(number), ALONE)
    assert (await membership.wait_view(after=8)).number == 9
    membership.end(Closed())
    assert [each.number for each in await all_views(membership)] == [4, 5, 9]
    async with aclosing(membership.views(from_number=6)) as views:
        assert await anext(views) == view(9)


async def test_the_last_views_are_remembered_and_not_all_there_ever_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VIEWS_MAX", 3)
    membership = Membership(Nobody())
    for number in range(1, 8):
        membership.begin(view(number), ALONE)
    async with aclosing(membership.views(from_number=2)) as views:
        assert (await anext(views)).number == 5
    membership.end(Closed())
    assert [each.number for each in await all_views(membership)] == [5, 6, 7]


@pytest.mark.parametrize("wait", [all_views, next_view])
async def test_who_waits_for_a_view_when_it_ends_is_told(
    wait: Callable[[Membership], Awaitable[object]], autojump_clock: trio.testing.MockClock
) -> None:
    membership = Membership(Nobody())
    membership.begin(view(1), ALONE)
    membership.begin(view(2), ALONE)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait, membership)
            await wait_all_tasks_blocked()
            membership.end(Closed("the group is closed"))


async def test_after_the_end_the_views_that_began_are_still_there(autojump_clock: trio.testing.MockClock) -> None:
    membership = Membership(Nobody())
    membership.begin(view(1), ALONE)
    membership.begin(view(2), ALONE)
    membership.end(Closed("the group is closed"))
    with trio.fail_after(1):
        assert await all_views(membership) == [view(1), view(2)]
        assert (await next_view(membership)).number == 2
    assert membership.view == view(2)


async def test_each_who_is_told_sees_where_it_waited_and_not_where_others_did() -> None:
    membership = Membership(Nobody())
    membership.end(Closed("the group is closed"))
    depths: list[int] = []
    for _ in range(3):
        with pytest.raises(Closed) as caught:
            await membership.wait_view()
        depths.append(len(caught.traceback))
    assert depths == [depths[0]] * 3
