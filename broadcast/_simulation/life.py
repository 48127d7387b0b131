"""What a process has in memory, from one start to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors._protocol.clock import LamportClock
from broadcast._protocol.output import Now
from broadcast._protocol.replica import Replica
from broadcast._simulation.archive import Archive
from broadcast._simulation.options import SECOND
from broadcast._simulation.world import World
from broadcast._storage import Stored
from membership._protocol.formation import Plan

if TYPE_CHECKING:
    from broadcast._simulation.applying import Applying
    from broadcast._simulation.reception import Reception
    from broadcast._simulation.steps import Steps

WALL_START = 1_700_000_000 * SECOND  # the wall clock when a history begins
PARTS = 1_000_000  # a clock's drift is a number of microseconds in these
DRIFT = 0.05
"""By so much a clock may run fast or slow where a group has leases: as much as `Limits.leases` allows."""


class Killed(Exception):
    """The process dies here, in the midst of what it does."""


class Expelled(Killed):
    """It has learnt that it is no member any more, and ends."""


class Life:
    """One life of a process. `mark`: at or above every stamp that an earlier one sent."""

    def __init__(self, name: str, world: World, plan: Plan, found: Stored, mark: int) -> None:
        chance, options = world.chance, world.options
        self.clock = LamportClock(name, mark, mark)
        self.boot = chance.randrange(1000 * SECOND)  # the monotonic clock at time 0
        self.slept = 0
        """How far the clock that does not count sleep is behind the other one by now."""
        self.asleep_since: int | None = None
        """What that other one showed when its machine was suspended, while it is."""
        parts = round(DRIFT * PARTS)
        self._rate = chance.randrange(-parts, parts + 1) if options.leases else 0  # as `_drift`, of all other clocks
        self.wall = 0  # the wall clock at time 0, if it had not drifted
        self.set_clock(world)
        drift = round(options.clock_drift * PARTS)
        self._drift = chance.randrange(-drift, drift + 1) if drift else 0
        self.replica = Replica(
            name=name,
            plan=plan,
            found=found,
            cluster=chance.randbytes(16),
            clock=self.clock,
            chance=chance,
            now=self.at(world.now),
        )
        self.archive: Archive
        self.applying: Applying
        self.reception: Reception
        self.steps: Steps
        self.tick_at: int | None = None
        self.paused = False
        self.waiting: deque[Callable[[], None]] = deque()
        self.dies_in: int | None = None
        """So many things it will still do."""

    def at(self, now: int) -> Now:
        """What its clocks show."""
        boottime = self._boottime(now)
        sleeps = 0 if self.asleep_since is None else boottime - self.asleep_since
        return Now(boottime - self.slept - sleeps, self.wall + now + self._drift * now // PARTS, boottime)

    def _boottime(self, now: int) -> int:
        return self.boot + now + self._rate * now // PARTS

    def fall_asleep(self, now: int) -> None:
        """Its machine is suspended: the monotonic clock stands still."""
        self.asleep_since = self._boottime(now)

    def wake_up(self, now: int) -> None:
        """The machine goes on, if it slept."""
        if self.asleep_since is not None:
            self.slept += self._boottime(now) - self.asleep_since
            self.asleep_since = None

    def when(self, monotonic: int) -> int:
        """The time at which its monotonic clock shows this, if it does not sleep."""
        now = (monotonic + self.slept - self.boot) * PARTS // (PARTS + self._rate) - 1
        while self.at(now).monotonic < monotonic:
            now += 1
        return now

    def set_clock(self, world: World) -> None:
        """Somebody sets its wall clock, rightly or not."""
        error = world.options.clock_error
        self.wall = WALL_START + world.chance.randrange(-error, error + 1)

    def count_down(self) -> None:
        """It does one thing more, if it still has so many. Raises `Killed`."""
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                raise Killed
