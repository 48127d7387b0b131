"""What the machine itself allows, measured from a process of its own."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import cast

import cbor2
import trio
from floor_member import READ, WRITE, Frames, pack
from spread import timings
from talking import Message, answer, settings

ECHO_SIZE = 64
APPEND_SIZE = 200
CALL = ("add", 1)


class WrongAnswer(Exception):
    """What came back is not what was counted."""


class Pipe:
    """A connection to the leader, over which frames of commands go without waiting for each."""

    def __init__(self, stream: trio.SocketStream, total: int) -> None:
        """total: what the counter says."""
        self.total = total
        self._stream = stream

    async def frames(self, count: int, size: int, under_way: int, kind: int) -> list[float]:
        """Send `count` frames of `size` commands, at most so many at a time; the seconds that each took."""
        room = trio.Semaphore(under_way)
        sent: deque[float] = deque()
        seconds: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, count, size, kind, room, sent, seconds)
            unsent = count
            while unsent:
                await room.acquire()
                together = 1
                while together < unsent and room.value:  # what there is room for leaves in one go
                    room.acquire_nowait()
                    together += 1
                unsent -= together
                sent.extend([time.perf_counter()] * together)
                frames = [pack(kind, 0, _frame(size) if kind == WRITE else b"") for _ in range(together)]
                await self._stream.send_all(b"".join(frames))
        return seconds

    async def _receive(
        self, count: int, size: int, kind: int, room: trio.Semaphore, sent: deque[float], seconds: list[float]
    ) -> None:
        reader = Frames()
        while len(seconds) < count:
            for frame in reader.take(await self._stream.receive_some(65_536)):
                self._check(cast(list[int], cbor2.loads(frame.content)), size, kind)
                seconds.append(time.perf_counter() - sent.popleft())
                room.release()

    def _check(self, answers: list[int], size: int, kind: int) -> None:
        expected = [self.total] if kind == READ else list(range(self.total + 1, self.total + size + 1))
        if answers != expected:
            raise WrongAnswer(f"a frame was answered {answers[:3]}..., and {expected[:3]}... is right")
        self.total = expected[-1]


def _frame(size: int) -> bytes:
    """Commands that were each encoded by an asker."""
    return cbor2.dumps([None] * size)[:-size] + b"".join(cbor2.dumps(CALL) for _ in range(size))


async def piped(port: int, frames: int, size: int, under_way: int, written: bool, total: int) -> Message:
    """`frames` frames of commands, or of nothing but a question: the rate, the times, and what the counter says.

    total: what it said before.
    """
    kind, warm = (WRITE if written else READ), -(-frames // 10)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        pipe = Pipe(stream, total)
        await pipe.frames(warm, size, under_way, kind)
        begun, cpu = time.perf_counter(), time.process_time()
        seconds = await pipe.frames(frames, size, under_way, kind)
        rate = frames * size / (time.perf_counter() - begun)
        cpu = 1e6 * (time.process_time() - cpu) / (frames * size)
        await pipe.frames(1, 1, 1, READ)  # tells the followers, too, what a majority holds
    figures = {"rate": rate, "client cpu": cpu} | timings(seconds)
    return {"figures": figures, "count": (frames + warm) * size, "total": pipe.total}


async def echoed(port: int, count: int) -> Message:
    """One small message there and back, again and again."""
    message = bytes(ECHO_SIZE)
    seconds: list[float] = []
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(count // 10 + count):
            begun = time.perf_counter()
            await stream.send_all(message)
            size = 0
            while size < ECHO_SIZE:
                size += len(await stream.receive_some(ECHO_SIZE))
            seconds.append(time.perf_counter() - begun)
    return timings(seconds[count // 10 :])


async def appended(path: str, count: int) -> Message:
    """Append a few bytes and sync, again and again; nothing else runs in this process meanwhile."""
    content = bytes(APPEND_SIZE)
    seconds: list[float] = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count // 10 + count):
            begun = time.perf_counter()
            os.write(file, content)
            os.fdatasync(file)
            seconds.append(time.perf_counter() - begun)
    finally:
        os.close(file)
    return timings(seconds[count // 10 :])


async def main() -> None:
    await answer({}, {"piped": piped, "echoed": echoed, "appended": appended})


if __name__ == "__main__":
    settings()
    trio.run(main)
