"""The least that three processes must do to agree on frames of commands: no sessions, no elections, no losses.

    client -> leader: a frame; leader -> followers: the same; each appends it and syncs; a follower says how many
    frames it holds; once a majority holds a frame, it is opened and applied, and the client gets the answers.

Everything that has come while a member was syncing is made durable by its next sync, as in the real thing.
A frame of kind READ is not written, but its way is the same: a majority must have spoken.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, cast

import cbor2
import trio
from talking import Message, answer, settings

HEAD = struct.Struct(">IBQ")  # size of the content, kind, number of frames known to be held by a majority
COUNT = struct.Struct(">Q")
READ, WRITE = 0, 1


class Frame(NamedTuple):
    kind: int
    held: int
    content: bytes


def pack(kind: int, held: int, content: bytes) -> bytes:
    return HEAD.pack(len(content), kind, held) + content


class Frames:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, data: bytes | bytearray) -> list[Frame]:
        self._buffer += data
        frames: list[Frame] = []
        at = 0
        while len(self._buffer) - at >= HEAD.size:
            size, kind, held = HEAD.unpack_from(self._buffer, at)
            end = at + HEAD.size + size
            if len(self._buffer) < end:
                break
            frames.append(Frame(kind, held, bytes(self._buffer[at + HEAD.size : end])))
            at = end
        del self._buffer[:at]
        return frames


class Member:
    """A log on disk, and the counter that its frames make."""

    def __init__(self, data: Path) -> None:
        self.taken = 0
        self.applied = 0
        self.total = 0
        self.syncs = 0
        self._file = os.open(data, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._waiting: deque[Frame] = deque()

    def write(self, frames: list[Frame]) -> None:
        """Make them durable."""
        written = b"".join(pack(*frame) for frame in frames if frame.kind == WRITE)
        if written:
            os.write(self._file, written)
            os.fdatasync(self._file)
            self.syncs += 1

    def take(self, frames: list[Frame]) -> None:
        """These are next."""
        self.taken += len(frames)
        self._waiting.extend(frames)

    def apply(self, held: int) -> bytes:
        """Apply the frames up to the one of this number; returns the frames of answers."""
        answers: list[bytes] = []
        while self._waiting and self.applied < held:
            self.applied += 1
            answers.append(pack(READ, 0, self._apply(self._waiting.popleft())))
        return b"".join(answers)

    def _apply(self, frame: Frame) -> bytes:
        if frame.kind == READ:
            return cbor2.dumps([self.total])
        told: list[int] = []
        for _, amount in cast(list[tuple[str, int]], cbor2.loads(frame.content)):
            self.total += amount
            told.append(self.total)
        return cbor2.dumps(told)

    async def status(self) -> Message:
        return {"value": self.total, "transactions": self.syncs, "cpu": time.process_time()}


class Leader(Member):
    """Takes frames from a client, and has the followers hold them too."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self._followers: list[trio.SocketStream] = []
        self._held: list[int] = []
        self._durable = 0
        self._client: trio.SocketStream | None = None
        self._answering = trio.Lock()

    async def follow(self, nursery: trio.Nursery, ports: list[int]) -> None:
        """Connect to the followers."""
        for at, port in enumerate(ports):
            self._followers.append(await trio.open_tcp_stream("127.0.0.1", port))
            self._held.append(0)
            nursery.start_soon(self._hear, at)

    async def serve(self, client: trio.SocketStream) -> None:
        self._client = client
        reader = Frames()
        async for chunk in client:
            frames = reader.take(chunk)
            if frames:
                onward = b"".join(pack(frame.kind, self.applied, frame.content) for frame in frames)
                for follower in self._followers:
                    await follower.send_all(onward)
                self.take(frames)
                self.write(frames)
                self._durable = self.taken
                await self._advance()

    async def _hear(self, at: int) -> None:
        buffer = b""
        async for chunk in self._followers[at]:
            buffer += chunk
            whole = len(buffer) - len(buffer) % COUNT.size
            if whole:
                (self._held[at],) = COUNT.unpack_from(buffer, whole - COUNT.size)
                buffer = buffer[whole:]
                await self._advance()

    async def _advance(self) -> None:
        """Answer what a majority of the three holds."""
        async with self._answering:
            answers = self.apply(sorted([self._durable, *self._held])[1])
            if answers and self._client is not None:
                await self._client.send_all(answers)


class Follower(Member):
    """Holds what the leader sends."""

    async def serve(self, leader: trio.SocketStream) -> None:
        reader = Frames()
        async for chunk in leader:
            frames = reader.take(chunk)
            if frames:
                self.write(frames)
                self.take(frames)
                await leader.send_all(COUNT.pack(self.taken))
                self.apply(frames[-1].held)


async def echo(stream: trio.SocketStream) -> None:
    """Send back what comes."""
    async for chunk in stream:
        await stream.send_all(chunk)


async def main(data: str, followers: list[int]) -> None:
    async with trio.open_nursery() as nursery:
        member = Leader(Path(data)) if followers else Follower(Path(data))
        if isinstance(member, Leader):
            await member.follow(nursery, followers)
        serving: dict[str, Callable[[trio.SocketStream], Awaitable[None]]] = {"members": member.serve, "echo": echo}
        ports: Message = {}
        for name, serve in serving.items():
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ports[name] = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, serve, [listener])
        await answer(ports, {"status": member.status})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    told = settings()
    trio.run(main, told["data"], told["followers"])
