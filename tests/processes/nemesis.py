"""What strikes a group of real processes, one fault after the other, each repaired after a while. Seeded."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio
from wires import Wire, Wires, around, between

from broadcast.cli._process import ReplicaProcess, newest_view

STRUCK_SECONDS = 0.2, 3.0  # how long a fault lasts
CALM_SECONDS = 0.2, 2.0  # and what is between two
LEADER_STRUCK = 0.6  # chance that it is the leader
SLOW_SECONDS = 0.060


@dataclass(frozen=True)
class Fault:
    """strike: does it, waits, and repairs it. quorum: does a majority keep running and hearing each other?"""

    name: str
    strike: Callable[[Nemesis], Awaitable[None]]
    quorum: bool


class Nemesis:
    """Strikes until it is cancelled. strikes: how often each fault did."""

    def __init__(self, replicas: Mapping[str, ReplicaProcess], wires: Wires, chance: random.Random) -> None:
        self.replicas = replicas
        self.wires = wires
        self.chance = chance
        self.strikes = Counter[str]()
        self.quorum = True
        """Can the group be expected to get on now?"""

    async def run(self, until: float) -> None:
        """Until that time; then everything is repaired."""
        while trio.current_time() < until:
            fault = self.chance.choice(FAULTS)
            self.strikes[fault.name] += 1
            self.quorum = fault.quorum
            await fault.strike(self)
            self.quorum = True
            await self.wait(*CALM_SECONDS)

    async def wait(self, least: float, most: float) -> None:
        """As long as chance wants it."""
        await trio.sleep(self.chance.uniform(least, most))

    def victim(self) -> str:
        leader = newest_view(self.replicas.values()).leader
        return leader if self.chance.random() < LEADER_STRUCK else self.chance.choice(list(self.replicas))

    # -- processes -------------------------------------------------------------------------------------------------

    async def kill_one(self) -> None:
        await self._kill([self.replicas[self.victim()]])

    async def kill_two(self) -> None:
        await self._kill(self.chance.sample(list(self.replicas.values()), 2))

    async def kill_all(self) -> None:
        await self._kill(list(self.replicas.values()))

    async def _kill(self, victims: list[ReplicaProcess]) -> None:
        for victim in victims:
            victim.kill()
        for victim in victims:
            await victim.wait_ended()
        await self.wait(0, 1)
        async with trio.open_nursery() as nursery:
            for victim in victims:
                nursery.start_soon(victim.start)

    async def stop_one(self) -> None:
        """SIGSTOP: its links stay open, and it wakes up as if nothing had been."""
        pid = self.replicas[self.victim()].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await self.wait(*STRUCK_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)

    # -- links -----------------------------------------------------------------------------------------------------

    async def isolate(self) -> None:
        await self._cut(around(self.wires, self.victim()))

    async def mute(self) -> None:
        """It hears the others, and is not heard."""
        victim = self.victim()
        await self._cut([wire for (sayer, _), wire in self.wires.items() if sayer == victim])

    async def deaf(self) -> None:
        victim = self.victim()
        await self._cut([wire for (_, hearer), wire in self.wires.items() if hearer == victim])

    async def part_two(self) -> None:
        """These two do not hear each other; the third hears both."""
        one, other = self.chance.sample(list(self.replicas), 2)
        await self._cut(between(self.wires, [one], [other]))

    async def part_all(self) -> None:
        await self._cut(list(self.wires.values()))

    async def flap(self) -> None:
        """Cut and healed, again and again."""
        for _ in range(4):
            wires = around(self.wires, self.victim())
            self._each(wires, Wire.cut)
            await self.wait(0.1, 0.7)
            self._each(wires, Wire.heal)
            await self.wait(0.1, 0.7)

    async def tear(self) -> None:
        """Every connection is reset."""
        self._each(list(self.wires.values()), Wire.tear)
        await self.wait(0, 0.5)

    async def slow(self) -> None:
        wires = around(self.wires, self.victim())
        for wire in wires:
            wire.delay = SLOW_SECONDS
        try:
            await self.wait(*STRUCK_SECONDS)
        finally:
            for wire in wires:
                wire.delay = 0

    async def _cut(self, wires: list[Wire]) -> None:
        self._each(wires, Wire.cut)
        try:
            await self.wait(*STRUCK_SECONDS)
        finally:
            self._each(wires, Wire.heal)

    @staticmethod
    def _each(wires: list[Wire], do: Callable[[Wire], None]) -> None:
        for wire in wires:
            do(wire)


FAULTS = (
    Fault("kill -9 of one", Nemesis.kill_one, quorum=True),
    Fault("kill -9 of one", Nemesis.kill_one, quorum=True),
    Fault("kill -9 of two", Nemesis.kill_two, quorum=False),
    Fault("kill -9 of all", Nemesis.kill_all, quorum=False),
    Fault("stopped process", Nemesis.stop_one, quorum=True),
    Fault("stopped process", Nemesis.stop_one, quorum=True),
    Fault("isolated member", Nemesis.isolate, quorum=True),
    Fault("mute member", Nemesis.mute, quorum=True),
    Fault("deaf member", Nemesis.deaf, quorum=True),
    Fault("two members apart", Nemesis.part_two, quorum=True),
    Fault("all members apart", Nemesis.part_all, quorum=False),
    Fault("flapping member", Nemesis.flap, quorum=False),
    Fault("torn connections", Nemesis.tear, quorum=True),
    Fault("slow member", Nemesis.slow, quorum=True),
)
