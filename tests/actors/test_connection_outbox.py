"""What waits to be sent is bounded, joined, and lets the control lane go first."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors import _connection
from actors._connection import Outbox


class Recording(trio.abc.SendStream):
    """Notes each write, and blocks in it until it is let go."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.gate = trio.Semaphore(0)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        await self.gate.acquire()

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


async def test_what_waits_is_joined_into_one_write_with_control_first(nursery: trio.Nursery) -> None:
    stream, outbox = Recording(), Outbox(1_000)
    nursery.start_soon(outbox.write_to, stream, None)
    assert outbox.put(b"first")
    await trio.testing.wait_all_tasks_blocked()
    for data in (b"bulk1 ", b"bulk2 "):
        assert outbox.put(data)
    for data in (b"urgent1 ", b"urgent2 "):
        assert outbox.put(data, control=True)
    stream.gate.release()
    await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == [b"first", b"urgent1 urgent2 bulk1 bulk2 "]


async def test_a_write_is_bounded_and_control_overtakes_between_writes(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "WRITE_SIZE", 10)
    stream, outbox = Recording(), Outbox(1_000)
    for number in range(4):
        outbox.put(b"bulk%d." % number)
    nursery.start_soon(outbox.write_to, stream, None)
    await trio.testing.wait_all_tasks_blocked()
    outbox.put(b"urgent", control=True)
    for _ in range(3):
        stream.gate.release()
        await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == [b"bulk0.bulk1.", b"urgentbulk2.", b"bulk3."]


async def test_the_bulk_lane_is_bounded_by_bytes_and_takes_again_when_it_is_emptied(nursery: trio.Nursery) -> None:
    stream, outbox = Recording(), Outbox(10)
    assert outbox.put(b"x" * 6)
    assert not outbox.put(b"x" * 5)
    assert outbox.put(b"x" * 4)
    assert not outbox.put(b"x")
    assert outbox.put(b"urgent", control=True)
    nursery.start_soon(outbox.write_to, stream, None)
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.put(b"x" * 10)


async def test_the_control_lane_is_bounded_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "CONTROL_COUNT_MAX", 3)
    outbox = Outbox(10)
    assert [outbox.put(b"x" * 100, control=True) for _ in range(4)] == [True, True, True, False]
    assert outbox.put(b"x")


async def test_nothing_leaves_before_what_it_must_wait_for(nursery: trio.Nursery) -> None:
    stream, outbox, durable = Recording(), Outbox(100), trio.Event()
    nursery.start_soon(outbox.write_to, stream, durable.wait)
    outbox.put(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == []
    durable.set()
    await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == [b"x"]


async def test_a_writer_that_never_has_to_wait_lets_others_run() -> None:
    class Endless(Recording):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            outbox.put(b"more")

    outbox = Outbox(100)
    outbox.put(b"x")
    outbox.put(b"y")
    with trio.move_on_after(0.01) as scope:
        await outbox.write_to(Endless(), None)
    assert scope.cancelled_caught
