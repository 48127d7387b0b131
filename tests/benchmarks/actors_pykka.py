"""Pykka's actors, each a thread, in a process of their own: told and asked. Everything is counted."""

from __future__ import annotations

import time
from typing import Any

import pykka  # type: ignore[import-not-found,unused-ignore]
import trio
from talking import Message, answer

SECONDS_MAX = 60.0


class Counter(pykka.ThreadingActor):  # type: ignore[misc,unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: Any) -> int:
        self.total += message
        return self.total


class WrongCount(Exception):
    """What was counted is not what was sent."""


class Pykka:
    """Measures. `total` is what the counter must say."""

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._total = 0

    async def tells(self, count: int) -> Message:
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            self._counter.tell(1)
        return self._rated(count, begun, cpu)

    async def asks(self, count: int) -> Message:
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            self._counter.ask(1, timeout=SECONDS_MAX)
        return self._rated(count, begun, cpu)

    def _rated(self, count: int, begun: float, cpu: float) -> Message:
        told = self._counter.ask(0, timeout=SECONDS_MAX)  # it is handled after all that was told
        figures = {"rate": count / (time.perf_counter() - begun), "cpu": 1e6 * (time.process_time() - cpu) / count}
        self._total += count
        if told != self._total:
            raise WrongCount(f"the counter says {told}, and {self._total} is right")
        return figures


async def main() -> None:
    counter = Counter.start()
    try:
        pykka_ = Pykka(counter)
        await answer({}, {"tell": pykka_.tells, "ask": pykka_.asks})
    finally:
        counter.stop()


if __name__ == "__main__":
    trio.run(main)
