"""What strikes a group of real processes, one fault after the other, each repaired after a while. Seeded."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio
from changing import Changing
from disks import FAILURES
from rig import Member, Rig
from wires import Wire, around, between, parted

from broadcast._sqlite import JOURNAL_SIZE
from broadcast.cli._process import ReplicaEnded

STRUCK_SECONDS = 0.2, 3.0  # how long a fault lasts
CALM_SECONDS = 0.2, 2.0  # and what is between two
LEADER_STRUCK = 0.6  # chance that it is the leader
SLOW_SECONDS = 0.060
SYNC_MS = 3  # of a healthy disk: time for a power cut to come in between
SLOW_SYNC_MS = 50, 200, 30_000
ROOM_BYTES = 200_000  # at most, that are left on a disk that becomes full
MEMBERS_MIN, MEMBERS_MAX = 3, 5
CHANGES_MAX = 60  # of a disk, until its process dies in the midst of one


@dataclass(frozen=True)
class Fault:
    """strike: does it, waits, and repairs it. quorum: does a majority keep running and hearing each other?"""

    name: str
    strike: Callable[[Nemesis], Awaitable[None]]
    quorum: bool


class Nemesis:
    """Strikes until its time is over. strikes: how often each fault did. now: the fault that strikes, or did last."""

    def __init__(self, rig: Rig, chance: random.Random, faults: Sequence[Fault]) -> None:
        self.rig = rig
        self.chance = chance
        self.changing = Changing(rig, chance.choice)
        self.faults = faults
        self.strikes = Counter[str]()
        self.now = "nothing"
        self.quorum = True
        """Can the group be expected to get on now?"""

    async def run(self, until: float) -> None:
        """Every fault once, if there is time, and then any; in the end everything is repaired."""
        due = self.chance.sample(self.faults, len(self.faults))
        while trio.current_time() < until:
            for member in self.all():
                assert member.process.pid is not None, f"{member.name} has ended by itself: {member.process.ended}"
            fault = due.pop() if due else self.chance.choice(self.faults)
            self.strikes[fault.name] += 1
            self.now, self.quorum = fault.name, fault.quorum
            await fault.strike(self)
            self.quorum = True
            await self.wait(*CALM_SECONDS)

    async def wait(self, least: float, most: float) -> None:
        """As long as chance wants it."""
        await trio.sleep(self.chance.uniform(least, most))

    def victim(self) -> Member:
        anyone = self.chance.choice(self.all())
        return (self.rig.leader or anyone) if self.chance.random() < LEADER_STRUCK else anyone

    def all(self) -> list[Member]:
        return list(self.rig.members.values())

    # -- processes -------------------------------------------------------------------------------------------------

    async def kill_one(self) -> None:
        await self._kill([self.victim()])

    async def kill_two(self) -> None:
        await self._kill(self.chance.sample(self.all(), 2))

    async def kill_all(self) -> None:
        await self._kill(self.all())

    async def stop_one(self) -> None:
        """SIGSTOP: its links stay open, and it wakes up as if nothing had been."""
        victim = self.victim()
        if victim.name == self.changing.leaving:  # it ends when it likes
            return
        pid = victim.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await self.wait(*STRUCK_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)

    # -- power -----------------------------------------------------------------------------------------------------

    async def power_cut_of_one(self) -> None:
        await self._kill([self.victim()], power=True)

    async def power_cut_of_all(self) -> None:
        await self._kill(self.all(), power=True)

    async def power_cut_and_isolation(self) -> None:
        """One is alone while the others commit; then one of these forgets, and the other is alone (T31)."""
        alone, forgets, other = self.chance.sample(self.all(), 3)
        with parted(around(self.rig.wires, alone.name)):
            await self.wait(*STRUCK_SECONDS)
            await self._kill([forgets], power=True)
        with parted(around(self.rig.wires, other.name)):
            await self.wait(*STRUCK_SECONDS)

    async def _kill(self, victims: list[Member], *, power: bool = False) -> None:
        for victim in victims:
            victim.process.kill()
        for victim in victims:
            await victim.process.wait_ended()
            if power:
                victim.disk.lose_power(self._seed())
        await self.wait(0, 1)
        async with trio.open_nursery() as nursery:
            for victim in victims:
                nursery.start_soon(self.changing.revive, victim)

    def _seed(self) -> int | None:
        """Of what survives a power cut; None: nothing that was not synced."""
        return self.chance.choice([None, self.chance.randrange(2**32)])

    # -- disks -----------------------------------------------------------------------------------------------------

    async def full_disk(self) -> None:
        """Of one that is started without room for its journal, and has used up soon what it finds."""
        victim = self.victim()
        await victim.kill()
        with victim.disk.going_wrong("limit", victim.disk.size - JOURNAL_SIZE + self.chance.randrange(ROOM_BYTES)):
            with suppress(ReplicaEnded):  # too little to begin with
                await victim.start()
            await self.wait(*STRUCK_SECONDS)
        if victim.process.pid is None:
            why = await victim.wait_ended()
            assert "DiskFull: " in why or os.strerror(errno.ENOSPC) in why, why
            await victim.start()

    async def slow_disk(self) -> None:
        with self.victim().disk.going_wrong("slow-sync", self.chance.choice(SLOW_SYNC_MS)):
            await self.wait(*STRUCK_SECONDS)

    async def short_writes(self) -> None:
        with self.victim().disk.going_wrong("short-writes"):
            await self.wait(*STRUCK_SECONDS)

    async def failing_sync(self) -> None:
        """One fails, and the next would succeed."""
        await self._break("fail-sync", "once")

    async def failing_write(self) -> None:
        await self._break("fail-write", errno.EIO)

    async def read_only(self) -> None:
        await self._break("fail-write", errno.EROFS)

    async def _break(self, fault: str, value: object) -> None:
        """The process ends, and says why; what it had not synced may be gone when it is started again."""
        victim = self.victim()
        with victim.disk.going_wrong(fault, value):
            why = await victim.wait_ended()
            assert why.startswith(FAILURES), why
        victim.disk.lose_power(self._seed())
        await victim.start()

    async def death_in_a_write(self) -> None:
        """Of one, in the midst of a change of its disk."""
        victim = self.victim()
        with victim.disk.going_wrong("die", f"{self.chance.randint(1, CHANGES_MAX)} {self.chance.randrange(2**16)}"):
            await victim.wait_ended()
        if self.chance.random() < 0.5:
            victim.disk.lose_power(self._seed())
        await victim.start()

    # -- links -----------------------------------------------------------------------------------------------------

    async def isolate(self) -> None:
        await self._strike(around(self.rig.wires, self.victim().name))

    async def mute(self) -> None:
        """It hears the others, and is not heard."""
        victim = self.victim().name
        await self._strike([wire for (sayer, _), wire in self.rig.wires.items() if sayer == victim])

    async def deaf(self) -> None:
        victim = self.victim().name
        await self._strike([wire for (_, hearer), wire in self.rig.wires.items() if hearer == victim])

    async def part_two(self) -> None:
        """These two do not hear each other; the third hears both."""
        one, other = self.chance.sample(list(self.rig.members), 2)
        await self._strike(between(self.rig.wires, [one], [other]))

    async def part_all(self) -> None:
        await self._strike(list(self.rig.wires.values()))

    async def flap(self) -> None:
        """Cut and healed, again and again."""
        for _ in range(4):
            with parted(around(self.rig.wires, self.victim().name)):
                await self.wait(0.1, 0.7)
            await self.wait(0.1, 0.7)

    async def tear(self) -> None:
        """Every connection is reset."""
        for wire in self.rig.wires.values():
            wire.tear()
        await self.wait(0, 0.5)

    async def slow(self) -> None:
        wires = around(self.rig.wires, self.victim().name)
        for wire in wires:
            wire.delay = SLOW_SECONDS
        try:
            await self.wait(*STRUCK_SECONDS)
        finally:
            for wire in wires:
                wire.delay = 0

    async def _strike(self, wires: list[Wire]) -> None:
        with parted(wires):
            await self.wait(*STRUCK_SECONDS)

    # -- members, and something besides ----------------------------------------------------------------------------

    async def grow(self) -> None:
        """Or shrink, if there are enough."""
        if len(self.rig.members) < MEMBERS_MAX:
            await self.changing.add(self._besides())
        else:
            await self.shrink()

    async def shrink(self) -> None:
        if len(self.rig.members) > MEMBERS_MIN:
            await self.changing.remove(self.victim().name, self._besides())
        else:
            await self.grow()

    async def exchange(self) -> None:
        """One for another, in one step."""
        await self.changing.replace(self.victim().name, self._besides())

    async def wipe(self) -> None:
        await self.changing.wipe(self.victim().name)

    async def nothing(self) -> None:
        pass

    def _besides(self) -> Callable[[], Awaitable[None]]:
        return partial(self.chance.choice(BESIDES), self)


BESIDES: Sequence[Callable[[Nemesis], Awaitable[None]]] = (
    Nemesis.nothing,
    Nemesis.kill_one,
    Nemesis.power_cut_of_one,
    Nemesis.stop_one,
    Nemesis.isolate,
    Nemesis.part_two,
    Nemesis.tear,
)
"""What may strike while members change: who is left can go on."""

CHANGES = (
    Fault("member added", Nemesis.grow, quorum=True),
    Fault("member removed", Nemesis.shrink, quorum=True),
    Fault("member replaced", Nemesis.exchange, quorum=True),
    Fault("wiped member", Nemesis.wipe, quorum=True),
)
FAULTS = (
    *CHANGES,
    Fault("kill -9 of one", Nemesis.kill_one, quorum=True),
    Fault("kill -9 of two", Nemesis.kill_two, quorum=False),
    Fault("kill -9 of all", Nemesis.kill_all, quorum=False),
    Fault("stopped process", Nemesis.stop_one, quorum=True),
    Fault("power cut of one", Nemesis.power_cut_of_one, quorum=True),
    Fault("power cut of all", Nemesis.power_cut_of_all, quorum=False),
    Fault("power cut and isolation", Nemesis.power_cut_and_isolation, quorum=False),
    Fault("full disk", Nemesis.full_disk, quorum=True),
    Fault("slow disk", Nemesis.slow_disk, quorum=True),
    Fault("short writes", Nemesis.short_writes, quorum=True),
    Fault("failing sync", Nemesis.failing_sync, quorum=True),
    Fault("failing write", Nemesis.failing_write, quorum=True),
    Fault("read-only disk", Nemesis.read_only, quorum=True),
    Fault("death in a write", Nemesis.death_in_a_write, quorum=True),
    Fault("isolated member", Nemesis.isolate, quorum=True),
    Fault("mute member", Nemesis.mute, quorum=True),
    Fault("deaf member", Nemesis.deaf, quorum=True),
    Fault("two members apart", Nemesis.part_two, quorum=True),
    Fault("all members apart", Nemesis.part_all, quorum=False),
    Fault("flapping member", Nemesis.flap, quorum=False),
    Fault("torn connections", Nemesis.tear, quorum=True),
    Fault("slow member", Nemesis.slow, quorum=True),
)
