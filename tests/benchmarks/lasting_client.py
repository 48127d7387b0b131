"""A client for a group over a long life. A command counts once its answer is here, and is the right one."""

from __future__ import annotations

import time
from pathlib import Path

import trio
from bench_store import Store
from ours_client import WrongAnswer
from talking import Message, answer, settings

from broadcast import GroupRef, Pipeline, connect


class Client:
    """`total` is what the counter must say."""

    def __init__(self, group: GroupRef[Store]) -> None:
        self._group = group
        self.total = 0

    async def pipelined(self, count: int, window: int, size: int = 0) -> Message:
        """So many commands; they add one, or bring so many bytes each."""
        begun = time.perf_counter()
        async with self._group.pipeline(window=window) as pipe, trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, pipe)
            for _ in range(count):
                await (pipe.send(Store.note, "x" * size) if size else pipe.send(Store.add, 1))
            pipe.end()
        return self._rated(count, begun)

    async def _hear(self, pipe: Pipeline[Store]) -> None:
        async for each in pipe:
            self.total += 1
            if each.unwrap() != self.total:
                raise WrongAnswer(f"command {self.total} was answered {each!r}")

    async def asks(self, count: int, tasks: int) -> Message:
        """One after another, by so many tasks."""
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for task in range(tasks):
                nursery.start_soon(self._ask, count // tasks + (task < count % tasks))
        return self._rated(count, begun)

    async def _ask(self, count: int) -> None:
        for _ in range(count):
            await self._group.ask(Store.add, 1)
            self.total += 1

    def _rated(self, count: int, begun: float) -> Message:
        return {"rate": count / (time.perf_counter() - begun), "memory": memory("VmRSS"), "peak": memory("VmHWM")}

    async def flood(self, seconds: float, tasks: int, size: int) -> Message:
        """As many commands of so many bytes as these tasks get answered in that time; who waits then waits on."""
        begun, before, until = time.perf_counter(), self.total, trio.current_time() + seconds
        longest = 0.0

        async def ask() -> None:
            nonlocal longest
            while (asked := trio.current_time()) < until:
                await self._group.ask(Store.note, "x" * size)
                self.total += 1
                longest = max(longest, trio.current_time() - asked)

        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(ask)
        return self._rated(self.total - before, begun) | {"longest": longest, "count": self.total - before}

    async def status(self) -> Message:
        return {"memory": memory("VmRSS"), "peak": memory("VmHWM")}

    async def keep(self, times: int, count: int, size: int) -> Message:
        """Make the state larger."""
        kept = 0
        for _ in range(times):
            kept = await self._group.ask(Store.keep, count, size)
        return {"kept": kept}

    async def value(self) -> Message:
        """What the counter says, and what it must say."""
        return {"value": await self._group.ask(Store.value), "expected": self.total}


def memory(what: str) -> int:
    """Bytes of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


async def main(members: dict[str, str]) -> None:
    async with connect("bench", Store, members=members) as group:
        client = Client(group)
        doing = {
            "pipelined": client.pipelined,
            "asks": client.asks,
            "keep": client.keep,
            "flood": client.flood,
            "status": client.status,
            "value": client.value,
        }
        await answer({}, doing)


if __name__ == "__main__":
    trio.run(main, settings()["members"])
