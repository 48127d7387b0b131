"""The writer: group commit, reports in Trio's thread, a full disk that heals, a failed one, the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors._protocol.errors import InvariantViolation
from broadcast import _writer
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._storage import DiskFailed, DiskFull, MemoryDisk, Stored
from broadcast._writer import Reports, Writer, open_writer
from membership._protocol.view import Promise


def persist(number: int, size: int = 10) -> Persist:
    previous = 0 if number == 1 else 1
    batch = Batch(1, previous, number, 1, number, number, bytes(size))
    return Persist(number, batches=(batch,))


class GatedDisk(MemoryDisk):
    """A memory disk whose writes wait for a gate, may raise, and are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.attempts = threading.Semaphore(0)
        self.transactions: list[list[int]] = []
        self.threads: list[threading.Thread] = []
        self.troubles: list[BaseException] = []
        self.tended = 0
        self.tend_trouble: DiskFailed | None = None
        self.closed = False

    def open_for(self, writes: int) -> None:
        self.gate.release(writes)

    def wait_for_attempts(self, count: int) -> None:
        for _ in range(count):
            assert self.attempts.acquire(timeout=10)

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        assert self.gate.acquire(timeout=10)
        assert not self.closed
        self.threads.append(threading.current_thread())
        self.attempts.release()
        if self.troubles:
            raise self.troubles.pop(0)
        super().write(writes)
        self.transactions.append([persist.number for _, persist in writes])

    def tend(self) -> None:
        self.tended += 1
        if self.tend_trouble is not None:
            raise self.tend_trouble

    def close(self) -> None:
        self.closed = True


@dataclass
class Heard:
    """What a group's reports said, in order; `wait` until a condition on it holds."""

    said: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    _news: trio.Event = field(default_factory=trio.Event)

    def _hear(self, what: str) -> Callable[[object], None]:
        def report(detail: object) -> None:
            trio.lowlevel.current_task()  # raises outside of Trio's thread
            self.said.append((what, detail))
            self._news.set()

        return report

    @property
    def reports(self) -> Reports:
        return Reports(self._hear("completed"), self._hear("delayed"), self._hear("failed"))

    async def wait(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not condition():
                self._news = trio.Event()
                await self._news.wait()

    async def wait_completed(self, number: int) -> None:
        await self.wait(lambda: ("completed", number) in self.said)


async def begin(writer: Writer, group: str = "bank") -> Heard:
    heard = Heard()
    await writer.open_group(group, heard.reports)
    return heard


async def test_what_was_submitted_is_on_disk_when_it_is_completed() -> None:
    disk = MemoryDisk()
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait_completed(1)
        assert [batch.first for batch in disk.open_group("bank").batches] == [1]
    assert heard.said == [("completed", 1)]


async def test_what_queues_up_during_a_write_is_joined_in_one_transaction_and_reported_once_a_group() -> None:
    disk = GatedDisk()
    async with open_writer(disk) as writer:
        bank, room = await begin(writer, "bank"), await begin(writer, "room")
        disk.open_for(1)
        writer.submit("bank", persist(1))
        await bank.wait_completed(1)
        for number in (2, 3, 4):
            writer.submit("bank", persist(number))
            writer.submit("room", persist(number - 1))
        disk.open_for(10)
        await bank.wait_completed(4)
        await room.wait_completed(3)
    # the thread may have taken the first of them before the others were there
    assert len(disk.transactions) <= 3
    assert [number for joined in disk.transactions for number in joined] == [1, 2, 1, 3, 2, 4, 3]
    assert [said for said, _ in bank.said] == ["completed"] * len(bank.said)


async def test_what_was_submitted_in_a_turn_of_trio_is_given_to_the_thread_at_its_end() -> None:
    disk = GatedDisk()
    disk.open_for(2)
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        assert not disk.attempts.acquire(timeout=0.1)
        writer.submit("bank", persist(2))
        await heard.wait_completed(2)
        assert disk.transactions == [[1, 2]]


async def test_a_transaction_is_not_made_larger_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "JOINED_SIZE_MAX", 500)
    disk = GatedDisk()
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        for number in range(1, 21):
            writer.submit("bank", persist(number, size=36))  # 100 bytes each
        disk.open_for(100)
        await heard.wait_completed(20)
    assert max(map(len, disk.transactions)) <= 5


async def test_all_of_the_disk_happens_in_one_thread_that_is_not_trios() -> None:
    disk = GatedDisk()
    disk.open_for(10)
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        thread = await writer.call(threading.current_thread)
        for number in (1, 2):
            writer.submit("bank", persist(number))
            await heard.wait_completed(number)
    assert set(disk.threads) == {thread}
    assert thread is not threading.current_thread()
    assert not thread.daemon
    assert not thread.is_alive()


async def test_a_full_disk_delays_says_so_once_and_heals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "RETRY_INTERVAL", 0.001)
    disk = GatedDisk()
    disk.troubles = [DiskFull("no room"), DiskFull("no room"), DiskFull("no room")]
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        disk.open_for(3)
        writer.submit("bank", persist(1))
        await heard.wait(lambda: heard.said == [("delayed", "no room")])
        writer.submit("bank", persist(2))
        disk.open_for(10)
        await heard.wait_completed(2)
    assert [said for said in heard.said if said[0] == "delayed"] == [("delayed", "no room")]
    assert [batch.first for batch in disk.open_group("bank").batches] == [1, 2]


async def test_while_the_disk_is_full_later_writes_are_tried_with_the_waiting_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A promise must be able to reach the room that is kept for it, whatever waits before it."""
    monkeypatch.setattr(_writer, "RETRY_INTERVAL", 0.001)
    monkeypatch.setattr(_writer, "JOINED_SIZE_MAX", 1)
    disk = GatedDisk()
    disk.troubles = [DiskFull("no room"), DiskFull("no room")]
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        disk.open_for(1)
        writer.submit("bank", persist(1))
        await heard.wait(lambda: heard.said == [("delayed", "no room")])
        for number in range(2, 9):
            writer.submit("bank", persist(number))
        writer.submit("bank", Persist(9, promise=Promise(8, "b")))
        disk.open_for(10)  # the second attempt may have begun without some of them
        await heard.wait_completed(9)
    assert disk.transactions == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]


async def test_leaving_a_full_disk_gives_up_what_waits_and_completes_nothing() -> None:
    disk = GatedDisk()
    disk.troubles = [DiskFull("no room")] * 100
    disk.open_for(100)
    with trio.fail_after(5):
        async with open_writer(disk) as writer:
            heard = await begin(writer)
            writer.submit("bank", persist(1))
            await heard.wait(lambda: bool(heard.said))
    assert heard.said == [("delayed", "no room")]
    assert disk.closed
    assert disk.open_group("bank").batches == []


async def test_after_a_full_disk_was_given_up_nothing_later_is_written_and_calls_still_run() -> None:
    """What follows would be a log with a hole."""
    disk = GatedDisk()
    disk.troubles = [DiskFull("no room")] * 2
    disk.open_for(1)
    ran: list[int] = []
    async with trio.open_nursery() as nursery, open_writer(disk) as writer:
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait(lambda: bool(heard.said))
        nursery.start_soon(writer.call, ran.append, 1)
        await wait_all_tasks_blocked()
        writer.submit("bank", persist(2))
        disk.open_for(10)
    assert ran == [1]
    assert heard.said == [("delayed", "no room")]
    assert disk.transactions == []


async def test_after_a_failure_nothing_is_completed_and_nothing_is_written() -> None:
    disk = GatedDisk()
    error = DiskFailed("input/output error")
    disk.troubles = [error]
    disk.open_for(10)
    async with open_writer(disk) as writer:
        bank, room = await begin(writer, "bank"), await begin(writer, "room")
        writer.submit("bank", persist(1))
        await bank.wait(lambda: bool(bank.said))
        await room.wait(lambda: bool(room.said))  # idle, and told as well
        writer.submit("bank", persist(1))
        await writer.call(lambda: None)
    assert bank.said == [("failed", error)]
    assert room.said == [("failed", error)]
    assert disk.transactions == []


async def test_a_failure_of_housekeeping_is_a_failure_after_the_completion() -> None:
    disk = GatedDisk()
    disk.tend_trouble = DiskFailed("sync")
    disk.open_for(10)
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait(lambda: len(heard.said) == 2)
        writer.submit("bank", persist(2))
        await writer.call(lambda: None)
    assert heard.said == [("completed", 1), ("failed", disk.tend_trouble)]
    assert disk.transactions == [[1]]


async def test_a_bug_in_the_disk_is_raised_and_not_swallowed() -> None:
    disk = MemoryDisk()
    with pytest.RaisesGroup(InvariantViolation):
        async with open_writer(disk) as writer:
            await begin(writer)
            writer.submit("bank", persist(2))  # does not follow anything
            await trio.sleep_forever()


async def test_leaving_finishes_what_was_submitted_also_when_cancelled() -> None:
    disk = GatedDisk()

    async def open_once_nothing_else_moves() -> None:
        await wait_all_tasks_blocked()
        assert not disk.closed
        disk.open_for(10)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_writer(disk) as writer:
                await begin(writer)
                for number in (1, 2, 3):
                    writer.submit("bank", persist(number))
                nursery.start_soon(open_once_nothing_else_moves)
                scope.cancel()
        assert disk.closed
    assert [batch.first for batch in disk.open_group("bank").batches] == [1, 2, 3]
    assert disk.closed


async def test_leaving_by_an_exception_finishes_what_was_submitted() -> None:
    disk = GatedDisk()
    disk.open_for(10)
    with pytest.RaisesGroup(KeyError):
        async with open_writer(disk) as writer:
            await begin(writer)
            writer.submit("bank", persist(1))
            raise KeyError
    assert [batch.first for batch in disk.open_group("bank").batches] == [1]


async def test_after_the_end_nothing_is_written_and_nobody_has_broken_a_rule() -> None:
    """A writer ends with its node, in the same tick as those who use it: they may not have heard yet."""
    disk = MemoryDisk()
    async with open_writer(disk) as writer:
        heard = await begin(writer)
    writer.submit("bank", persist(1))
    with pytest.raises(trio.ClosedResourceError, match="the node is closing"):
        await writer.call(lambda: None)
    assert disk.open_group("bank").batches == []
    assert heard.said == []


async def test_a_call_by_one_who_is_cancelled_already_is_cancelled_whatever_the_writer_does() -> None:
    ran: list[int] = []
    async with open_writer(MemoryDisk()) as writer:
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.call(ran.append, 1)
        assert scope.cancelled_caught
        await writer.call(ran.append, 2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.call(ran.append, 3)
    assert scope.cancelled_caught
    assert ran == [2]


async def test_a_call_comes_after_what_was_submitted_and_raises_what_it_raises() -> None:
    disk = GatedDisk()
    disk.open_for(10)
    async with open_writer(disk) as writer:
        await begin(writer)
        writer.submit("bank", persist(1))
        stored: Stored = await writer.call(disk.open_group, "bank")
        assert [batch.first for batch in stored.batches] == [1]
        with pytest.raises(ZeroDivisionError):
            await writer.call(lambda: 1 // 0)


async def test_a_call_waits_for_room_too_and_cancelled_before_it_began_never_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_writer, "RETRY_INTERVAL", 0.001)
    disk = GatedDisk()
    disk.troubles = [DiskFull("no room")] * 10**6
    disk.open_for(10**6)
    ran: list[int] = []
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait(lambda: bool(heard.said))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.call, ran.append, 1)
            await wait_all_tasks_blocked()
            await trio.to_thread.run_sync(disk.wait_for_attempts, 5)
            nursery.cancel_scope.cancel()
        disk.troubles = []
        await heard.wait_completed(1)
        await writer.call(lambda: None)
    assert ran == []


async def test_a_call_cancelled_while_it_runs_is_waited_for() -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slowly() -> None:
        began.set()
        assert go_on.wait(10)
        ended.set()

    async with open_writer(MemoryDisk()) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.call, slowly)
        await trio.to_thread.run_sync(began.wait)
        nursery.cancel_scope.cancel()
        go_on.set()
    assert ended.is_set()


async def test_a_forgotten_group_hears_nothing_and_may_be_opened_again_after_what_it_submitted() -> None:
    disk = GatedDisk()
    async with open_writer(disk) as writer:
        old = await begin(writer)
        writer.submit("bank", persist(1))
        writer.forget_group("bank")
        disk.open_for(10)
        new = Heard()
        stored = await writer.open_group("bank", new.reports)
        assert [batch.first for batch in stored.batches] == [1]
        writer.submit("bank", persist(2))
        await new.wait_completed(2)
    assert old.said == []
    assert new.said == [("completed", 2)]


async def test_a_group_that_is_open_is_not_opened_again_and_goes_on_unharmed() -> None:
    async with open_writer(MemoryDisk()) as writer:
        first = await begin(writer)
        second = Heard()
        with pytest.raises(ValueError, match="the group 'bank' is open on this node already: join it once"):
            await writer.open_group("bank", second.reports)
        writer.submit("bank", persist(1))
        await first.wait_completed(1)
    assert second.said == []


async def test_of_two_that_open_a_group_at_once_one_is_refused() -> None:
    refused: list[str] = []

    async def open_bank(writer: Writer) -> None:
        try:
            await begin(writer)
        except ValueError as error:
            refused.append(str(error))

    async with open_writer(MemoryDisk()) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(open_bank, writer)
        nursery.start_soon(open_bank, writer)
    assert len(refused) == 1


class UnreadableDisk(MemoryDisk):
    """Its first attempt to open a group fails."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles: list[Exception] = [DiskFull("no room")]

    def open_group(self, group: str) -> Stored:
        if self.troubles:
            raise self.troubles.pop()
        return super().open_group(group)


async def test_a_group_that_could_not_be_opened_may_be_opened_again() -> None:
    async with open_writer(UnreadableDisk()) as writer:
        with pytest.raises(DiskFull):
            await begin(writer)
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait_completed(1)


async def test_a_group_whose_opening_was_cancelled_may_be_opened_again() -> None:
    disk = GatedDisk()
    async with open_writer(disk) as writer:
        await begin(writer, "room")
        writer.submit("room", persist(1))  # holds the thread up
        with trio.move_on_after(0):
            await begin(writer)
        disk.open_for(10)
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait_completed(1)


class DiskThatFailsAtTheSecond(GatedDisk):
    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        if any(persist.number == 2 for _, persist in writes):
            self.troubles.append(DiskFailed("input/output error"))
        super().write(writes)


async def test_a_failure_just_after_a_group_was_opened_is_told_to_it_too() -> None:
    """Also if whoever opened it has not been scheduled since."""
    disk = DiskThatFailsAtTheSecond()
    async with trio.open_nursery() as nursery, open_writer(disk) as writer:
        bank, room = await begin(writer), Heard()
        writer.submit("bank", persist(1))
        nursery.start_soon(writer.open_group, "room", room.reports)
        await wait_all_tasks_blocked()
        writer.submit("bank", persist(2))
        failed = threading.Event()
        nursery.start_soon(writer.call, failed.set)
        await wait_all_tasks_blocked()
        disk.open_for(2)
        assert failed.wait(10)  # Trio's thread does nothing until all of it has happened
        await room.wait(lambda: bool(room.said))
    assert [what for what, _ in bank.said] == ["completed", "failed"]
    assert [what for what, _ in room.said] == ["failed"]


async def test_who_comes_after_a_failure_of_which_nobody_was_told_is_told_too() -> None:
    """The group whose write failed had left. (Found by the shells' seed 16: its next life waited for ever.)"""
    disk = GatedDisk()
    disk.troubles = [DiskFailed("input/output error")]
    async with open_writer(disk) as writer:
        bank = await begin(writer)
        writer.submit("bank", persist(1))
        writer.forget_group("bank")
        disk.open_for(1)
        with pytest.raises(DiskFailed, match="input/output error"):
            await writer.open_group("bank", Heard().reports)
    assert bank.said == []


async def test_a_bug_met_while_leaving_is_raised_too() -> None:
    with pytest.RaisesGroup(InvariantViolation):
        async with open_writer(MemoryDisk()) as writer:
            await begin(writer)
            writer.submit("bank", persist(2))


async def test_what_was_told_last_is_reported_also_when_nobody_listens_any_more() -> None:
    with closing(Writer(MemoryDisk())) as writer:
        heard = Heard()
        writer.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.make_reports)
            await writer.open_group("bank", heard.reports)
            nursery.cancel_scope.cancel()
        writer.submit("bank", persist(1))
        await writer.end()
    assert heard.said == [("completed", 1)]


async def test_a_disk_that_was_full_once_is_as_fast_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = GatedDisk()
    disk.troubles = [DiskFull("no room")]
    disk.open_for(100)
    monkeypatch.setattr(_writer, "RETRY_INTERVAL", 0.05)
    async with open_writer(disk) as writer:
        heard = await begin(writer)
        writer.submit("bank", persist(1))
        await heard.wait_completed(1)
        monkeypatch.setattr(_writer, "RETRY_INTERVAL", 60)
        with trio.fail_after(5):
            for number in (2, 3):
                writer.submit("bank", persist(number))
                await heard.wait_completed(number)
    assert [what for what, _ in heard.said] == ["delayed", "completed", "completed", "completed"]
