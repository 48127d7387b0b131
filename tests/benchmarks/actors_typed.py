"""An echo of typed messages, for both sides: what any framework does that has these, and nothing else.

A question names a method and has its arguments: it is checked and written, read and checked, and answered by a call;
the answer goes the same way. cbor2 writes and reads, msgspec checks, as with ours. There is one actor, and no checksum,
no limit on what a stranger may send, no deadline, no clock, and nothing that is lost or in doubt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import TypeVar

import cbor2
import msgspec
import trio

BUFFER = 65_536
HEAD_SIZE = 4

T = TypeVar("T")


class Asked(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag="ask"):
    correlation: int
    actor: str
    method: str
    arguments: list[object]


class Answered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag="answer"):
    correlation: int
    value: int


class Add(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The arguments of the one method there is."""

    amount: int


class Frames:
    """Bytes in, values out."""

    def __init__(self) -> None:
        self._kept = b""

    def receive(self, data: bytes, kind: type[T]) -> Iterator[T]:
        """What has come as a whole."""
        kept = self._kept + data if self._kept else data
        while len(kept) >= HEAD_SIZE and len(kept) >= (end := HEAD_SIZE + int.from_bytes(kept[:HEAD_SIZE], "big")):
            yield msgspec.convert(cbor2.loads(kept[HEAD_SIZE:end]), kind)
            kept = kept[end:]
        self._kept = kept


def frame(message: msgspec.Struct) -> bytes:
    data = cbor2.dumps(msgspec.to_builtins(message))
    return len(data).to_bytes(HEAD_SIZE, "big") + data


async def serve(stream: trio.SocketStream) -> None:
    """The far side: a counter."""
    frames, total = Frames(), 0
    while data := await stream.receive_some(BUFFER):
        for asked in frames.receive(bytes(data), Asked):
            total += msgspec.convert(asked.arguments, Add).amount
            await stream.send_all(frame(Answered(asked.correlation, total)))


class TypedEcho:
    """The near side: a task of its own reads the answers, and wakes who waits for them."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._correlations = count(1)
        self._waiting: dict[int, tuple[trio.Event, list[int]]] = {}

    async def read(self) -> None:
        frames = Frames()
        while data := await self._stream.receive_some(BUFFER):
            for answered in frames.receive(bytes(data), Answered):
                event, value = self._waiting.pop(answered.correlation)
                value.append(answered.value)
                event.set()

    async def echo(self) -> float:
        """One question; the seconds until its answer."""
        begun = time.perf_counter()
        correlation, answered, value = next(self._correlations), trio.Event(), list[int]()
        self._waiting[correlation] = answered, value
        arguments = msgspec.convert([1], Add)
        asked = Asked(correlation, "counter", "add", [arguments.amount])
        await self._stream.send_all(frame(asked))
        await answered.wait()
        took = time.perf_counter() - begun
        if value != [correlation]:
            raise RuntimeError(f"the counter says {value}, and {correlation} is right")
        return took
