"""What waits to be sent is bounded, joined, and lets the control lane go first; what need not wait does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from actors import _outbox
from actors._gate import Gate
from actors._identity import MemoryIdentity
from actors._outbox import Outbox
from actors._protocol.clock import LamportClock
from actors._protocol.envelope import Envelope, Part, Ping, pack_envelope, unpack
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import FrameReader
from actors._stir import Stir
from actors._tcp import QuickStream


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


class SlowDisk(MemoryIdentity):
    """An identity that takes as long as a test wants to keep a mark."""

    def __init__(self) -> None:
        super().__init__(1)
        self.marks: list[int] = []
        self._asked = trio.Event()
        self._written = trio.Event()
        self._may = threading.Event()

    def reserve(self, mark: int) -> None:
        trio.from_thread.run_sync(self._asked.set)
        assert self._may.wait(20)
        self.marks.append(mark)
        trio.from_thread.run_sync(self._written.set)

    async def write(self) -> None:
        """Write the mark that is asked for."""
        with trio.fail_after(10):
            await self._asked.wait()
            self._may.set()
            await self._written.wait()
            while trio.to_thread.current_default_thread_limiter().borrowed_tokens:  # until the thread has ended
                await trio.lowlevel.checkpoint()


class Wire:
    """Both ends of a connection: an outbox at one, and at the other what came through."""

    def __init__(self, gate: Gate | None = None, send_buffer: int | None = None, stir: Stir | None = None) -> None:
        ours, self._theirs = socket.socketpair()
        if send_buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self._theirs.setblocking(False)
        self.stream = QuickStream(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        self.stir = stir or Stir()
        self.outbox = Outbox(2**20, gate, self.stir)

    def came(self) -> bytes:
        """What has come since this was asked last."""
        try:
            return self._theirs.recv(2**20)
        except BlockingIOError:
            return b""

    async def close(self) -> None:
        await self.stream.aclose()
        self._theirs.close()


@asynccontextmanager
async def wired(
    gate: Gate | None = None, send_buffer: int | None = None, stir: Stir | None = None
) -> AsyncGenerator[Wire, None]:
    """A connection whose writer waits."""
    wire = Wire(gate, send_buffer, stir)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.outbox.write_to, wire.stream)
            await trio.testing.wait_all_tasks_blocked()
            yield wire
            nursery.cancel_scope.cancel()
    finally:
        await wire.close()


async def test_what_waits_is_joined_into_one_write_with_control_first(nursery: trio.Nursery) -> None:
    stream, outbox = Recording(), Outbox(1_000, None, Stir())
    nursery.start_soon(outbox.write_to, stream)
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
    monkeypatch.setattr(_outbox, "WRITE_SIZE", 10)
    stream, outbox = Recording(), Outbox(1_000, None, Stir())
    for number in range(4):
        outbox.put(b"bulk%d." % number)
    nursery.start_soon(outbox.write_to, stream)
    await trio.testing.wait_all_tasks_blocked()
    outbox.put(b"urgent", control=True)
    for _ in range(3):
        stream.gate.release()
        await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == [b"bulk0.bulk1.", b"urgentbulk2.", b"bulk3."]


async def test_the_bulk_lane_is_bounded_by_bytes_and_takes_again_when_it_is_emptied(nursery: trio.Nursery) -> None:
    stream, outbox = Recording(), Outbox(10, None, Stir())
    assert outbox.put(b"x" * 6)
    assert not outbox.put(b"x" * 5)
    assert outbox.put(b"x" * 4)
    assert not outbox.put(b"x")
    assert outbox.put(b"urgent", control=True)
    nursery.start_soon(outbox.write_to, stream)
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.put(b"x" * 10)


async def test_the_control_lane_is_bounded_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outbox, "CONTROL_COUNT_MAX", 3)
    outbox = Outbox(10, None, Stir())
    assert [outbox.put(b"x" * 100, control=True) for _ in range(4)] == [True, True, True, False]
    assert outbox.put(b"x")


async def test_nothing_leaves_before_its_mark_is_on_disk(nursery: trio.Nursery) -> None:
    stream, disk = Recording(), SlowDisk()
    clock = LamportClock("a", 5, 5)
    outbox = Outbox(100, Gate(clock, disk), Stir())
    nursery.start_soon(outbox.write_to, stream)
    clock.tick()
    outbox.put(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == []
    await disk.write()
    await trio.testing.wait_all_tasks_blocked()
    assert stream.writes == [b"x"]
    assert clock.reserved >= 6


async def test_one_mark_is_written_for_all_that_wait_for_it(nursery: trio.Nursery) -> None:
    clock, disk = LamportClock("a", 5, 5), SlowDisk()
    gate = Gate(clock, disk)
    clock.tick()
    for _ in range(3):
        nursery.start_soon(gate.open)
    await disk.write()
    await trio.testing.wait_all_tasks_blocked()
    assert gate.is_open
    assert len(disk.marks) == 1


async def test_a_writer_that_never_has_to_wait_lets_others_run() -> None:
    class Endless(Recording):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            outbox.put(b"more")

    outbox = Outbox(100, None, Stir())
    outbox.put(b"x")
    outbox.put(b"y")
    with trio.move_on_after(0.01) as scope:
        await outbox.write_to(Endless())
    assert scope.cancelled_caught


# -- in parts -------------------------------------------------------------------------------------------------------


def opened(frames: bytes) -> list[str]:
    """Who the envelopes in these frames are for, and the parts, each by what is left."""
    reader, found = FrameReader(), list[str]()
    reader.receive_data(frames)
    while (payload := reader.next_frame()) is not None:
        message = unpack(payload)
        found.append(f"{message.left} left" if isinstance(message, Part) else getattr(message, "to", ""))
    return found


def letter(to: str, size: int = 1) -> bytes:
    return pack_envelope(to, "", 1, 0, "t", bytes(size))


async def test_what_is_small_goes_between_the_parts_of_what_is_large_but_for_its_own_flow(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_outbox, "PART_SIZE", 100)
    stream, outbox = Recording(), Outbox(1_000, None, Stir(), in_parts=True)
    assert outbox.put(letter("large", 200), flow="one")
    assert outbox.put(letter("small"), flow="two")
    assert outbox.put(letter("behind"), flow="one")
    assert outbox.put(letter("other large", 101), flow="two")
    nursery.start_soon(outbox.write_to, stream)
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.put(letter("late"), flow="three")
    assert outbox.put(letter("late, behind"), flow="two")
    assert outbox.put(letter("urgent"), flow="one", control=True)
    for _ in range(9):
        stream.gate.release()
        await trio.testing.wait_all_tasks_blocked()
    assert [opened(write) for write in stream.writes] == [
        ["small", "139 left"],
        ["urgent", "late", "39 left"],
        ["0 left"],
        ["behind"],
        ["46 left"],
        ["0 left"],
        ["late, behind"],
    ]
    assert not outbox._flows
    assert outbox._bulk_size == 0


async def test_what_is_large_takes_room_until_its_last_part_has_left(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_outbox, "PART_SIZE", 100)
    large = letter("large", 150)
    stream, outbox = Recording(), Outbox(len(large), None, Stir(), in_parts=True)
    assert outbox.put(large)
    nursery.start_soon(outbox.write_to, stream)
    await trio.testing.wait_all_tasks_blocked()
    assert not outbox.put(b"x")
    stream.gate.release()
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.put(b"x")


async def test_to_who_takes_no_parts_all_goes_as_it_is_and_in_order(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_outbox, "PART_SIZE", 100)
    stream, outbox = Recording(), Outbox(1_000, None, Stir())
    outbox.put(letter("large", 200), flow="one")
    outbox.put(letter("small"), flow="two")
    nursery.start_soon(outbox.write_to, stream)
    await trio.testing.wait_all_tasks_blocked()
    assert [opened(write) for write in stream.writes] == [["large", "small"]]


# -- and no more than that under way ---------------------------------------------------------------------------------

AHEAD_MAX = 2**20
"""Bytes that what is urgent may have before it: 50 ms, a tenth of the shortest election timeout, at 20 MB/s."""


class Slow(Recording):
    """A peer that takes whatever it is sent, as two systems do for a while, and looks at it when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen = 0
        """Bytes that it has not looked at."""
        self._sent = bytearray()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.send_nowait(data)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        self._sent += data
        self.unseen += len(data)
        return len(data)

    def look(self) -> list[Envelope | Part | Ping]:
        """At all that has come."""
        reader, seen = FrameReader(), list[Envelope | Part | Ping]()
        reader.receive_data(self._sent)
        while (payload := reader.next_frame()) is not None:
            message = unpack(payload)
            assert isinstance(message, Envelope | Part | Ping)
            seen.append(message)
        assert reader.is_between_frames
        self._sent.clear()
        self.unseen = 0
        return seen


def answer(outbox: Outbox, seen: list[Envelope | Part | Ping]) -> None:
    """The pings among this."""
    for message in seen:
        if isinstance(message, Ping):
            outbox.got(message.number)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("size", [500, 30_000, 60_000, 1_000_000])
async def test_what_is_urgent_never_waits_for_more_of_what_is_not_than_a_bound(
    nursery: trio.Nursery, size: int, alone: bool
) -> None:
    """alone: each is the first of a turn, and does not wait for the writer if it is small."""
    stream, outbox = Slow(), Outbox(2**24, None, Stir(), in_parts=True)
    nursery.start_soon(outbox.write_to, stream)
    await trio.testing.wait_all_tasks_blocked()
    count, came, looks = 6_000_000 // size, 0, 0
    for number in range(count):
        assert outbox.put(letter("bulk", size), flow=number)
        if alone:
            await trio.testing.wait_all_tasks_blocked()
    while came < count:
        await trio.testing.wait_all_tasks_blocked()
        before = stream.unseen
        assert before < AHEAD_MAX
        assert outbox.put(letter("urgent"), control=True)
        assert stream.unseen > before, "what is urgent leaves all the same, and at once"
        seen = stream.look()
        answer(outbox, seen)
        came += sum(not each.left if isinstance(each, Part) else not isinstance(each, Ping) for each in seen) - 1
        looks += 1
        assert looks < 100, "what a pong has made room for leaves"
    assert looks > 5


async def test_what_waits_for_a_pong_is_not_overtaken_by_what_comes_later(nursery: trio.Nursery) -> None:
    stream, outbox = Slow(), Outbox(2**24, None, Stir(), in_parts=True)
    nursery.start_soon(outbox.write_to, stream)
    for number in range(100):
        outbox.put(letter(f"{number:03}", 30_000), flow="one")
    names = list[str]()
    for number in range(100, 130):
        await trio.testing.wait_all_tasks_blocked()
        if number < 120:
            outbox.put(letter(f"{number:03}"), flow="one")
        seen = stream.look()
        names += [each.to for each in seen if isinstance(each, Envelope)]
        answer(outbox, seen)
    assert names == [f"{number:03}" for number in range(120)]


async def test_a_peer_answers_for_no_more_than_it_was_sent(nursery: trio.Nursery) -> None:
    stream, outbox = Slow(), Outbox(2**24, None, Stir(), in_parts=True)
    nursery.start_soon(outbox.write_to, stream)
    sent = letter("bulk", 1_000)
    outbox.put(sent)
    await trio.testing.wait_all_tasks_blocked()
    outbox.ping()
    assert stream.look()[-1] == Ping(len(sent))
    outbox.got(len(sent))
    with pytest.raises(RemoteProtocolError, match=f"{len(sent) + 1} bytes are answered for, and {len(sent)} were sent"):
        outbox.got(len(sent) + 1)


async def test_who_takes_no_parts_is_not_asked_how_far_it_is(nursery: trio.Nursery) -> None:
    stream, outbox = Slow(), Outbox(2**24, None, Stir())
    nursery.start_soon(outbox.write_to, stream)
    for _ in range(100):
        outbox.put(letter("bulk", 30_000))
    await trio.testing.wait_all_tasks_blocked()
    assert len(stream.look()) == 100


# -- past the writer ------------------------------------------------------------------------------------------------


async def test_what_is_alone_leaves_at_once_and_a_burst_is_joined() -> None:
    async with wired() as wire:
        for round_ in (b"1", b"2"):
            wire.stir.note()
            wire.outbox.put(b"first" + round_)
            assert wire.came() == b"first" + round_
            wire.outbox.put(b"bulk")
            wire.outbox.put(b"urgent", control=True)
            assert wire.came() == b""
            await trio.testing.wait_all_tasks_blocked()
            assert wire.came() == b"urgentbulk"


class Steps(trio.abc.Instrument):
    """Counts what tasks do."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_what_leaves_at_once_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outbox, "APART_SECONDS", 10.0)
    async with wired() as wire:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        try:
            for messages, woken in (([b"alone"], 0), ([b"first since then", b"second"], 1)):
                wire.stir.note()
                steps.count = 0
                for message in messages:
                    wire.outbox.put(message)
                await trio.testing.wait_all_tasks_blocked()
                assert steps.count == 1 + woken  # this task is one
        finally:
            trio.lowlevel.remove_instrument(steps)


async def test_one_after_another_each_leaves_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with wired() as wire:
        for _ in range(3):
            await trio.sleep(2 * _outbox.APART_SECONDS)
            wire.outbox.put(b"x")
            assert wire.came() == b"x"


async def test_what_is_read_on_any_link_lets_one_leave_at_once(autojump_clock: trio.testing.MockClock) -> None:
    stir = Stir()
    async with wired(stir=stir) as wire, wired(stir=stir) as other:
        for _ in range(3):
            stir.note()
            for each in (wire, other):
                each.outbox.put(b"x")
                assert each.came() == b"x"
            await trio.testing.wait_all_tasks_blocked()
            for each in (wire, other):
                each.outbox.put(b"y")
                assert each.came() == b""
            await trio.testing.wait_all_tasks_blocked()
            assert wire.came() == other.came() == b"y"


async def test_a_burst_long_after_the_last_read_is_joined(autojump_clock: trio.testing.MockClock) -> None:
    async with wired() as wire:
        wire.stir.note()
        await trio.sleep(10)
        for came in (b"a", b"a", b"", b""):  # the first does not ask for the time
            wire.outbox.put(b"a")
            assert wire.came() == came
        await trio.testing.wait_all_tasks_blocked()
        assert wire.came() == b"aa"


async def test_the_rest_of_what_left_in_part_goes_before_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outbox, "DIRECT_SIZE_MAX", 2**20)
    big = bytes(range(256)) * 2_000
    async with wired(send_buffer=4_096) as wire:
        assert wire.outbox.put(big)
        assert wire.outbox.put(b"urgent", control=True)
        assert wire.outbox.put(b"bulk")
        came = wire.came()
        assert 0 < len(came) < len(big)
        for _ in range(1_000):
            await trio.testing.wait_all_tasks_blocked()
            came += wire.came()
        assert came == big + b"urgentbulk"


async def test_what_is_large_is_left_to_the_writer() -> None:
    async with wired() as wire:
        wire.outbox.put(bytes(_outbox.DIRECT_SIZE_MAX + 1))
        assert wire.came() == b""
        await trio.testing.wait_all_tasks_blocked()
        assert len(wire.came()) == _outbox.DIRECT_SIZE_MAX + 1


async def test_no_stamp_leaves_at_once_before_its_mark_is_on_disk() -> None:
    clock, disk = LamportClock("a", 5, 5), SlowDisk()
    async with wired(Gate(clock, disk)) as wire:
        wire.outbox.put(b"marked")
        assert wire.came() == b"marked"
        await trio.testing.wait_all_tasks_blocked()
        clock.tick()
        wire.outbox.put(b"not yet")
        await trio.testing.wait_all_tasks_blocked()
        assert wire.came() == b""
        await disk.write()
        await trio.testing.wait_all_tasks_blocked()
        assert wire.came() == b"not yet"
        clock.tick()
        wire.outbox.put(b"marked ahead")
        assert wire.came() == b"marked ahead"
        assert len(disk.marks) == 1


async def test_nothing_is_written_past_a_writer_that_has_ended() -> None:
    wire = Wire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.outbox.write_to, wire.stream)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert wire.outbox.put(b"to whom?")
    assert wire.came() == b""
    await wire.close()


async def test_a_closed_stream_writes_to_no_other_file() -> None:
    wire = Wire()
    number = wire.stream._file
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    await wire.stream.aclose()
    os.dup2(writing, number)
    try:
        assert wire.stream.send_nowait(b"x") == 0
        with pytest.raises(trio.BrokenResourceError):
            await wire.stream.send_all(b"x")
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
    finally:
        for file in (reading, writing, number):
            os.close(file)
        await wire.close()


async def test_a_lost_connection_is_for_the_writer_to_find_with_the_first_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(file: int, data: bytes) -> int:
        raise ConnectionResetError

    async def lose() -> None:
        async with wired() as wire:
            monkeypatch.setattr(os, "write", fail)
            assert wire.outbox.put(b"x")
            monkeypatch.undo()
            with trio.fail_after(10):
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await lose()
    [error] = caught.value.exceptions
    assert isinstance(error, trio.BrokenResourceError)
    assert isinstance(error.__cause__, ConnectionResetError)
