"""Clients that count at a pace that nobody else sets: each command has its time, and leaves then, answered or not."""

from __future__ import annotations

from collections.abc import Mapping

import trio
from tally import Tally

from broadcast import connect
from broadcast._pipeline import Pipeline

WINDOW = 1_000_000  # nobody waits for room: those who do would ask for less while a group gives less
TICK_SECONDS = 0.002


class Steady:
    """rate: commands in a second, of all clients together.

    sent: how many have left. answers: what each client was told, in order. delays: seconds from the time that a command
    had to its answer. gaps: when nobody got an answer for longer than `GAP_SECONDS`, from when to when.
    """

    GAP_SECONDS = 0.02

    def __init__(self, rate: float, clients: int) -> None:
        self.sent = 0
        self.answers: list[list[int]] = [[] for _ in range(clients)]
        self.delays: list[float] = []
        self.gaps: list[tuple[float, float]] = []
        self.ending = False
        self._period = clients / rate
        self._last = trio.current_time()

    @property
    def answered(self) -> int:
        return len(self.delays)

    async def run(self, client: int, members: Mapping[str, str]) -> None:
        """One of the clients, until `ending`, and until all of it is answered."""
        times: list[float] = []
        async with (
            connect("group", Tally, members=members) as group,
            trio.open_nursery() as nursery,
            group.pipeline(window=WINDOW) as pipe,
        ):
            nursery.start_soon(self._hear, client, pipe, times)
            due = trio.current_time() + client * self._period / len(self.answers)
            while not self.ending:
                while due <= trio.current_time():
                    times.append(due)
                    await pipe.send(Tally.add, 1)
                    self.sent += 1
                    due += self._period
                await trio.sleep_until(max(due, trio.current_time() + TICK_SECONDS))

    async def _hear(self, client: int, pipe: Pipeline[Tally], times: list[float]) -> None:
        async for answer in pipe:
            total = answer.unwrap()
            assert isinstance(total, int)
            now = trio.current_time()
            self.delays.append(now - times[len(self.answers[client])])
            self.answers[client].append(total)
            if now - self._last > self.GAP_SECONDS:
                self.gaps.append((self._last, now))
            self._last = now
