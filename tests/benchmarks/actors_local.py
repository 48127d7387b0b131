"""Our plain actors, in a process of its own: told, asked, and idle. Everything is counted."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import trio
from bench_actors import Counter, Idle
from talking import Message, answer

from actors import ActorRef, Node, open_node

REMEMBERED = 100  # actors of the idle ones that are asked who they are
PAGE = os.sysconf("SC_PAGE_SIZE")


class WrongCount(Exception):
    """What was counted is not what was sent."""


class Local:
    """Measures. `total` is what the counter must say."""

    def __init__(self, node: Node, counter: ActorRef[Counter]) -> None:
        self._node = node
        self._counter = counter
        self._total = 0

    async def tells(self, count: int) -> Message:
        """Tell so many times, one after another, and wait until the last is handled; of the count before, too."""
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await self._counter.tell(Counter.add, 1)
        self._total += count
        await self._check()  # it is handled after all that was told
        return {"rate": count / (time.perf_counter() - begun), "cpu": 1e6 * (time.process_time() - cpu) / count}

    async def asks(self, count: int) -> Message:
        """Ask for a plain `def`, one after another."""
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await self._counter.ask(Counter.add, 1)
        return await self._rated(count, begun, cpu)

    async def async_asks(self, count: int) -> Message:
        """Ask for an `async def`, one after another."""
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await self._counter.ask(Counter.add_async, 1)
        return await self._rated(count, begun, cpu)

    async def _rated(self, count: int, begun: float, cpu: float) -> Message:
        figures = {"rate": count / (time.perf_counter() - begun), "cpu": 1e6 * (time.process_time() - cpu) / count}
        self._total += count
        await self._check()
        return figures

    async def _check(self) -> None:
        told = await self._counter.ask(Counter.value)
        if told != self._total:
            raise WrongCount(f"the counter says {told}, and {self._total} is right")

    async def idle(self, count: int) -> Message:
        """Spawn so many actors that then do nothing: memory of the process, in MB, and tasks beside those before."""
        gc.collect()
        before, tasks = _resident(), trio.lowlevel.current_statistics().tasks_living
        begun = time.perf_counter()
        refs = [await self._node.spawn(f"idle-{number}", Idle, number) for number in range(count)]
        seconds = time.perf_counter() - begun
        gc.collect()
        grown, living = _resident() - before, trio.lowlevel.current_statistics().tasks_living
        step = max(1, count // REMEMBERED)
        for number in range(0, count, step):
            if await refs[number].ask(Idle.value) != number:
                raise WrongCount(f"actor {number} is another")
        return {"MB": grown / 1e6, "tasks": living - tasks, "rate": count / seconds}


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


async def main() -> None:
    async with open_node("bench") as node:
        local = Local(node, await node.spawn("counter", Counter))
        await answer({}, {"tell": local.tells, "ask": local.asks, "async ask": local.async_asks, "idle": local.idle})


if __name__ == "__main__":
    trio.run(main)
