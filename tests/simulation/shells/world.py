"""What all parts of a history share: chance, the network, the disks, the trace, the marks, the judge."""

from __future__ import annotations

import contextvars
import hashlib
import heapq
from collections import Counter, deque
from dataclasses import dataclass
from random import Random

import trio

from actors.testing import MemoryNetwork
from membership import Limits
from shells.disk import Life, Store
from shells.judge import Judge
from shells.threads import Threads

NAMES = ("a", "b", "c")
MEMBERS = {name: f"{name}:1" for name in NAMES}
TRACE_LENGTH = 600  # events kept for a reader


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds; an interval of 0 means never.

    duration: how long faults strike, and work is done. idle: of a worker between two things it does, at most.
    clients, workers: handles from outside, and tasks on each handle.
    strike_interval: mean time between two faults; each has its weight.
    """

    duration: float = 3.0
    idle: float = 0.15
    clients: int = 2
    workers: int = 1
    latency: float = 0.002
    buffer_size: int = 2**16
    tearing: float = 0.1
    refusals: float = 0.02
    disk_latency: float = 0.004
    strike_interval: float = 0.4
    losses: int = 4
    cuts: int = 3
    kills: int = 2
    stops: int = 1
    rejoins: int = 2
    stalls: int = 2
    full_disks: int = 1
    failed_disks: int = 1
    election_timeout: float = 0.25

    @staticmethod
    def drawn(chance: Random) -> Options:
        """Some options, each kind of fault absent now and then."""
        return Options(
            duration=chance.uniform(1.5, 3),
            idle=chance.choice((0.1, 0.2, 0.4)),
            clients=chance.randint(1, 2),
            workers=chance.randint(1, 2),
            latency=chance.choice((0, 0.001, 0.005)),
            buffer_size=chance.choice((400, 2_000, 2**16)),
            tearing=chance.choice((0, 0.05, 0.2)),
            refusals=chance.choice((0, 0.1)),
            disk_latency=chance.choice((0.001, 0.005, 0.03)),
            strike_interval=chance.choice((0, 0.25, 0.4, 0.4)),
            losses=chance.choice((0, 4)),
            cuts=chance.choice((0, 3)),
            kills=chance.choice((0, 2)),
            stops=chance.choice((0, 1)),
            rejoins=chance.choice((0, 2)),
            stalls=chance.choice((0, 2)),
            full_disks=chance.choice((0, 1)),
            failed_disks=chance.choice((0, 1)),
        )

    @property
    def limits(self) -> Limits:
        return Limits(election_timeout=int(self.election_timeout * 1_000_000))


class World:
    """The stage of one history. Made inside its run."""

    def __init__(self, chance: Random, options: Options, nursery: trio.Nursery) -> None:
        self.chance = chance
        self.options = options
        self.marks: Counter[str] = Counter()
        self.calm = False
        self.working = 0
        self.clock = trio.lowlevel.current_clock()  # which threads may ask too
        self.threads = Threads(nursery, Random(chance.random()))
        self.stores = {name: Store(self, name) for name in NAMES}
        self.lives: dict[str, Life] = {}
        self.starts: Counter[str] = Counter()
        self.network = MemoryNetwork(random=chance)
        self.judge = Judge(self)
        self.steps = Steps()
        self._digest = hashlib.blake2b(digest_size=16)
        self._last: deque[str] = deque(maxlen=TRACE_LENGTH)

    @property
    def now(self) -> int:
        """Virtual microseconds; what the judge calls a schedule knows no more."""
        return round(self.clock.current_time() * 1_000_000)

    @property
    def schedule(self) -> World:
        return self

    def note(self, what: str, where: str, shown: object = "", *, counts: bool = True) -> None:
        """An event. counts: does it belong to the digest?"""
        line = f"{self.clock.current_time() * 1000:10.3f}  {where:<9} {what:<8} {shown}"
        if counts:
            self._digest.update(line.encode())
        self._last.append(line)

    def digest(self) -> str:
        return self._digest.hexdigest()

    def lines(self) -> list[str]:
        return list(self._last)


under_test: contextvars.ContextVar[object] = contextvars.ContextVar("under_test", default=None)
"""What the current task belongs to, if its steps are counted for themselves. Inherited by the tasks it starts."""


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks, and cancels scopes between two of them: at whatever checkpoint their tasks are."""

    def __init__(self) -> None:
        self.count = 0
        self._own: tuple[object, trio.CancelScope] | None = None
        self._own_left = 0
        self._due: list[tuple[int, int, trio.CancelScope]] = []
        self._orders = 0

    def cancel_after(self, steps: int, scope: trio.CancelScope) -> None:
        self._orders += 1
        heapq.heappush(self._due, (self.count + steps, self._orders, scope))

    def cancel_at_own(self, steps: int, mark: object, scope: trio.CancelScope) -> None:
        """Count only steps of tasks that are `under_test` as `mark`: cancel at their checkpoint of this number."""
        self._own, self._own_left = (mark, scope), steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1
        if self._own is not None and task.context.get(under_test) is self._own[0]:
            self._own_left -= 1
            if self._own_left == 0:
                self._own[1].cancel()
        while self._due and self._due[0][0] <= self.count:
            heapq.heappop(self._due)[2].cancel()
