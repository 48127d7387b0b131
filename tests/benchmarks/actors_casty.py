"""casty's actors, in a process of their own: told and asked. Everything is counted. Python 3.12 and newer."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from casty import ActorSystem, Askable, Context, actor  # type: ignore[import-not-found,unused-ignore]
from talking import Message, say

TURNS = 64


@dataclass(frozen=True)
class Add:
    amount: int


@dataclass(frozen=True)
class AddAsked(Askable[int]):  # type: ignore[misc,unused-ignore]
    amount: int


@actor(initial=0)  # type: ignore[untyped-decorator,unused-ignore]
async def counter(ctx: Context[int, Add | AddAsked]) -> None:
    total = 0
    async for message in ctx.inbox:
        total += message.amount
        if isinstance(message, AddAsked):
            message.reply_to.tell(total)


class WrongCount(Exception):
    """What was counted is not what was sent."""


class Casty:
    """Measures. `total` is what the counter must say."""

    def __init__(self, ref: Any) -> None:
        self._ref = ref
        self._total = 0

    async def tells(self, count: int) -> Message:
        begun, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            self._ref.tell(Add(1))
            if not number % TURNS:
                await asyncio.sleep(0)
        return await self._rated(count, begun, cpu)

    async def asks(self, count: int) -> Message:
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await self._ref.ask(AddAsked(1))
        return await self._rated(count, begun, cpu)

    async def _rated(self, count: int, begun: float, cpu: float) -> Message:
        told = await self._ref.ask(AddAsked(0))  # it is handled after all that was told
        figures = {"rate": count / (time.perf_counter() - begun), "cpu": 1e6 * (time.process_time() - cpu) / count}
        self._total += count
        if told != self._total:
            raise WrongCount(f"the counter says {told}, and {self._total} is right")
        return figures


async def main() -> None:
    async with ActorSystem() as system:
        casty = Casty(system.ref(counter, "bench"))
        table = {"tell": casty.tells, "async ask": casty.asks}
        say({})
        for line in sys.stdin:  # nothing else is to be done meanwhile
            asked = json.loads(line)
            try:
                done = await table[asked.pop("do")](**asked)
            except Exception as error:
                say({"error": f"{type(error).__name__}: {error}"})
                raise
            say(done)


if __name__ == "__main__":
    asyncio.run(main())
