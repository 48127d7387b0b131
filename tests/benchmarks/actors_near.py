"""The near side: asks the far node's actors, and the bare Trio echo beside it, turn and turn about.

So whatever else the machine does strikes both alike, and the ratio of the two stands on a busy machine too.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial

import trio
from actors_frames import Sizes
from actors_typed import TypedEcho
from bench_actors import Counter, Store
from spread import timings
from talking import Message, answer, settings

from actors import ActorRef, Node, open_node

BUFFER = 65_536
TURNS = 20  # of each kind, in one measurement


class WrongCount(Exception):
    """What was counted is not what was sent."""


class Near:
    """Measures. `total` is what the far counter must say."""

    def __init__(self, node: Node) -> None:
        self._counter: ActorRef[Counter] = node.ref("far/counter", Counter)
        self._store: ActorRef[Store] = node.ref("far/store", Store)
        self._sizes = Sizes()
        self._total = 0

    async def size(self) -> Message:
        """Bytes of the frame of an ask; the far side is to say the same of its answer."""
        for _ in range(100):
            await self._ask()
        return {"size": self._sizes.end()}

    async def compare(self, count: int, port: int, typed_port: int, asked: int, answered: int) -> Message:
        """So many asks, one after another, and as many echoes of the same bytes, of either kind, and of typed
        messages."""
        took: dict[str, list[float]] = {}
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as stream,
            await trio.open_tcp_stream("127.0.0.1", port) as shared_stream,
            await trio.open_tcp_stream("127.0.0.1", typed_port) as typed_stream,
            trio.open_nursery() as nursery,
        ):
            shared = SharedEcho(shared_stream, bytes(asked), answered)
            typed = TypedEcho(typed_stream)
            nursery.start_soon(shared.read)
            nursery.start_soon(typed.read)
            ways = {
                "asks": self._ask,
                "echoes": partial(_echo, stream, bytes(asked), answered),
                "shared": shared.echo,
                "typed": typed.echo,
            }
            for turn in range(TURNS + 1):
                for name, way in ways.items():
                    times = [await way() for _ in range(count // TURNS)]
                    if turn:  # the first is to warm up
                        took.setdefault(name, []).extend(times)
            nursery.cancel_scope.cancel()
        return {name: timings(times) for name, times in took.items()}

    async def alone(self, seconds: float) -> Message:
        """Small asks, one after another, with nothing beside them."""
        return {"times": timings(await self._asked_for(seconds))}

    async def beside(self, seconds: float, size: int, streams: int) -> Message:
        """Small asks, one after another, while large messages go to the same peer, so many at a time."""
        sent = 0
        large = bytes(size)

        async def stream() -> None:
            nonlocal sent
            while True:
                if await self._store.ask(Store.put, large) != size:
                    raise WrongCount("what arrived is not as large as what was sent")
                sent += 1

        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(stream)
            begun = time.perf_counter()
            took = await self._asked_for(seconds)
            lasted = time.perf_counter() - begun
            nursery.cancel_scope.cancel()
        return {"times": timings(took), "rate": sent * size / lasted / 1e6}

    async def _asked_for(self, seconds: float) -> list[float]:
        took: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not took:
            took.append(await self._ask())
        return took

    async def _ask(self) -> float:
        """One ask; the seconds that it took."""
        begun = time.perf_counter()
        told = await self._counter.ask(Counter.add, 1)
        took = time.perf_counter() - begun
        self._total += 1
        if told != self._total:
            raise WrongCount(f"the counter says {told}, and {self._total} is right")
        return took


class SharedEcho:
    """An echo for whoever asks: a task of its own reads the answers, and wakes who waits for them."""

    def __init__(self, stream: trio.SocketStream, asked: bytes, answered: int) -> None:
        self._stream = stream
        self._asked = asked
        self._answered = answered
        self._waiting: deque[trio.Event] = deque()

    async def read(self) -> None:
        size = 0
        while data := await self._stream.receive_some(BUFFER):
            size += len(data)
            while size >= self._answered:
                size -= self._answered
                self._waiting.popleft().set()

    async def echo(self) -> float:
        begun = time.perf_counter()
        answered = trio.Event()
        self._waiting.append(answered)
        await self._stream.send_all(self._asked)
        await answered.wait()
        return time.perf_counter() - begun


async def _echo(stream: trio.SocketStream, asked: bytes, answered: int) -> float:
    begun = time.perf_counter()
    await stream.send_all(asked)
    size = 0
    while size < answered:
        size += len(await stream.receive_some(answered))
    return time.perf_counter() - begun


async def main(far: str) -> None:
    async with open_node("near") as node:
        node.set_peers({"far": far})
        near = Near(node)
        await answer(
            {"address": str(node.address)},
            {"size": near.size, "compare": near.compare, "alone": near.alone, "beside": near.beside},
        )


if __name__ == "__main__":
    trio.run(main, settings()["far"])
