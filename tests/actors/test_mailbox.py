"""What waits for an actor: bounds, policies, order, and who waits for room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorStopped, Mailbox, _mailbox
from actors._mailbox import Queue, WhenFull


def taken(queue: Queue[int]) -> list[int]:
    """All that wait, in their order."""
    found: list[int] = []
    while (message := queue.take()) is not None:
        found.append(message)
    return found


def filled(when_full: WhenFull, count: int = 2) -> Queue[int]:
    queue = Queue[int](Mailbox(2, when_full))
    for number in range(1, count + 1):
        assert queue.put(number) is None
    return queue


def test_first_come_first_served() -> None:
    queue = filled("wait")
    assert len(queue) == 2
    assert taken(queue) == [1, 2]
    assert queue.is_empty


@pytest.mark.parametrize("when_full", ["wait", "refuse"])
def test_full_takes_no_more(when_full: WhenFull) -> None:
    queue = filled(when_full)
    with pytest.raises(trio.WouldBlock):
        queue.put(3)
    assert taken(queue) == [1, 2]
    assert queue.dropped == 0


def test_the_oldest_is_dropped() -> None:
    queue = filled("drop-oldest")
    assert [queue.put(3), queue.put(4)] == [1, 2]
    assert queue.dropped == 2
    assert taken(queue) == [3, 4]


def test_the_newest_is_dropped() -> None:
    queue = filled("drop-newest")
    assert [queue.put(3), queue.put(4)] == [3, 4]
    assert queue.dropped == 2
    assert taken(queue) == [1, 2]


def test_control_messages_overtake_and_find_room() -> None:
    queue = filled("refuse")
    queue.put_control(10)
    queue.put_control(11)
    assert not queue.is_empty
    assert taken(queue) == [10, 11, 1, 2]


async def test_who_waits_longest_is_next_and_nobody_passes() -> None:
    queue = filled("wait")
    async with trio.open_nursery() as nursery:
        for number in (3, 4, 5):
            nursery.start_soon(queue.wait_put, number)
            await wait_all_tasks_blocked()
        assert queue.take() == 1
        with pytest.raises(trio.WouldBlock):
            queue.put(99)  # the room is that of 3
        assert taken(queue) == [2, 3, 4, 5]


async def test_who_is_cancelled_while_it_waits_has_not_put() -> None:
    queue = filled("wait")
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await queue.wait_put(3)
        assert scope.cancelled_caught
        nursery.start_soon(queue.wait_put, 4)
        await wait_all_tasks_blocked()
        assert taken(queue) == [1, 2, 4]


async def test_who_is_cancelled_is_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look at each of the others."""
    looks = 0

    class Waiting(_mailbox._Waiting[int]):
        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return self is other

        __hash__ = object.__hash__

    monkeypatch.setattr(_mailbox, "_Waiting", Waiting)
    queue = filled("wait")
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(queue.wait_put, number)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert taken(queue) == [1, 2]
    assert looks < 100


async def test_who_waits_is_told_that_it_closes_and_what_was_taken_stays() -> None:
    queue = filled("wait")

    async def refused() -> None:
        with pytest.raises(ActorStopped, match="over"):
            await queue.wait_put(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        await wait_all_tasks_blocked()
        queue.close(ActorStopped("over"))
    queue.put_control(9)
    assert list(queue.clear()) == [9, 1, 2]
    assert queue.is_empty


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True])
def test_there_is_room_for_one_at_least(capacity: int) -> None:
    with pytest.raises(ValueError, match="at least one message"):
        Mailbox(capacity)


def test_a_policy_is_one_of_four() -> None:
    with pytest.raises(ValueError, match="wait, refuse, drop-oldest, drop-newest, not 'explode'"):
        Mailbox(1, "explode")  # type: ignore[arg-type]  # the mistake under test
