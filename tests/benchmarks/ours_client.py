"""The client of our group, in a process of its own. A command counts once its answer is here, and is the right one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable

import trio
from bench_counter import Counter
from spread import timings
from talking import Message, answer, settings

from broadcast import GroupRef, Pipeline, connect

IDLE_SECONDS_MAX = 0.2  # before a leader is lost: longer than the heartbeats are apart


class WrongAnswer(Exception):
    """What came back is not what a counter says that was incremented once for each command."""


class Client:
    """Measures. `total` is what the counter must say."""

    def __init__(self, group: GroupRef[Counter]) -> None:
        self._group = group
        self.total = 0

    async def asks(self, count: int, tasks: int, warm: int) -> Message:
        """`count` commands, by tasks that each wait for an answer before they ask again."""
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await self._group.ask(Counter.add, 1))

        first = self.total + 1
        await _repeated(ask, warm, tasks)
        measured = await _measured(ask, count, tasks)
        self.total += warm + count
        if sorted(answers) != list(range(first, self.total + 1)):
            raise WrongAnswer(f"{warm + count} commands from {first} on were answered {len(answers)} times, or wrongly")
        return measured

    async def reads(self, count: int, tasks: int, warm: int) -> Message:
        """`count` linearizable queries, by tasks that each wait for an answer before they ask again."""

        async def read() -> None:
            told = await self._group.ask(Counter.value)
            if told != self.total:
                raise WrongAnswer(f"the counter says {told}, and {self.total} commands were answered")

        await _repeated(read, warm, tasks)
        return await _measured(read, count, tasks)

    async def pipelined(self, count: int, window: int, warm: int) -> Message:
        """`count` commands, without waiting for answers while fewer than `window` are awaited."""
        await self._pipeline(warm, window)
        begun, cpu = time.perf_counter(), time.process_time()
        await self._pipeline(count, window)
        return _rated(count, time.perf_counter() - begun, time.process_time() - cpu)

    async def _pipeline(self, count: int, window: int) -> None:
        async with self._group.pipeline(window=window) as pipe, trio.open_nursery() as nursery:
            nursery.start_soon(self._read_answers, pipe, count)
            for _ in range(count):
                await pipe.send(Counter.add, 1)
            pipe.end()

    async def _read_answers(self, pipe: Pipeline[Counter], count: int) -> None:
        expected = self.total
        async for each in pipe:
            expected += 1
            if each.unwrap() != expected:
                raise WrongAnswer(f"command {expected} was answered {each!r}")
        self.total += count
        if expected != self.total:
            raise WrongAnswer(f"{self.total - expected} commands were not answered")

    async def failover(self, pid: int, number: int, warm: int) -> Message:
        """From the moment when process `pid` gets this signal until the next command is answered."""
        for _ in range(warm):
            await self.add()
        await trio.sleep(random.uniform(0, IDLE_SECONDS_MAX))
        begun = time.perf_counter()
        os.kill(pid, number)
        await self.add()
        return {"milliseconds": 1e3 * (time.perf_counter() - begun)}

    async def add(self) -> Message:
        told = await self._group.ask(Counter.add, 1)
        self.total += 1
        if told != self.total:
            raise WrongAnswer(f"command {self.total} was answered {told}")
        return {"value": told}

    async def value(self) -> Message:
        """What the counter says, and what it must say."""
        return {"value": await self._group.ask(Counter.value), "expected": self.total}


async def _repeated(do: Callable[[], Awaitable[None]], count: int, tasks: int) -> list[float]:
    """Do it `count` times, each task its share; the seconds that each time took."""
    seconds: list[float] = []

    async def share(times: int) -> None:
        for _ in range(times):
            begun = time.perf_counter()
            await do()
            seconds.append(time.perf_counter() - begun)

    async with trio.open_nursery() as nursery:
        for task in range(tasks):
            nursery.start_soon(share, count // tasks + (task < count % tasks))
    return seconds


async def _measured(do: Callable[[], Awaitable[None]], count: int, tasks: int) -> Message:
    begun, cpu = time.perf_counter(), time.process_time()
    seconds = await _repeated(do, count, tasks)
    return _rated(count, time.perf_counter() - begun, time.process_time() - cpu) | timings(seconds)


def _rated(count: int, seconds: float, cpu: float) -> Message:
    return {"rate": count / seconds, "client cpu": 1e6 * cpu / count}


async def main(members: dict[str, str]) -> None:
    async with connect("bench", Counter, members=members) as group:
        client = Client(group)
        await answer(
            {},
            {
                "asks": client.asks,
                "reads": client.reads,
                "pipelined": client.pipelined,
                "failover": client.failover,
                "add": client.add,
                "value": client.value,
            },
        )


if __name__ == "__main__":
    trio.run(main, settings()["members"])
