"""A disk: what was asked of it becomes durable after a while, in order; a crash takes what was not done.

It may be wiped, and the old data brought back.

The rules of a write are those of the real storage, which keeps what is durable here too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._simulation.world import World
from broadcast._storage import MemoryDisk, Stored
from membership._protocol.view import Promise

GROUP = "simulated"

Done = Callable[[int], None]
"""done(number): everything up to this `Persist` is durable."""


class Disk:
    """The disk of one replica, over all lives of its process."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.promise = Promise()
        """The promise that is durable."""
        self.held: dict[int, Batch] = {}
        """The batches that are durable, by first index."""
        self.formed = False
        """Is the record that the group begins with durable?"""
        self._world = world
        self._memory = MemoryDisk(world.chance.randbytes)
        self._old: MemoryDisk | None = None  # while another takes its place
        self._asked: list[tuple[Persist, Done]] = []
        self._writing: list[tuple[Persist, Done]] = []
        self._life = 0
        self._began = 0  # the write under way

    def open(self) -> Stored:
        """What a process finds when it starts."""
        return self._memory.open_group(GROUP)

    def submit(self, persist: Persist, done: Done) -> None:
        """Write this. What is asked for while a write is under way joins the next one."""
        self._asked.append((persist, done))
        if not self._writing:
            self._begin()

    def crash(self) -> None:
        """The power is gone: of the write under way a part may be there, of what waited for it nothing."""
        kept = self._world.chance.choice((0, 0, self._world.chance.randrange(len(self._writing) + 1)))
        self._write(self._writing[:kept])
        dropped = len(self._writing) + len(self._asked) - kept
        self._writing, self._asked = [], []
        self._life += 1
        if dropped:
            self._world.marks["crashes that dropped unsynced data"] += 1
            self._world.note(self.name, "dropped", dropped)

    @property
    def hung_for(self) -> int:
        """How long the write under way has taken so far."""
        return self._world.now - self._began if self._writing else 0

    @property
    def wiped(self) -> bool:
        """Is this another disk than the group knows? What is durable, for the group, is what the old one holds."""
        return self._old is not None

    def wipe(self) -> None:
        """While its process is down, an empty disk takes this one's place."""
        self._old, self._memory = self._memory, MemoryDisk(self._world.chance.randbytes)
        self._world.marks["disks wiped"] += 1
        self._world.note(self.name, "wiped")

    def bring_back(self) -> None:
        """While its process is down, the old disk comes back, as it was."""
        if self._old is not None:
            self._memory, self._old = self._old, None
            self._world.note(self.name, "restored")

    def _begin(self) -> None:
        world, options = self._world, self._world.options
        self._writing, self._asked = self._asked, []
        self._began = world.now
        latency = 1 + world.chance.randrange(options.disk_latency)
        if world.strikes(options.stall):
            latency += world.chance.randrange(4 * options.election_timeout)
            world.marks["disk stalls"] += 1
        world.schedule.after(latency, partial(self._end, self._life))

    def _end(self, life: int) -> None:
        if life != self._life:
            return
        written, self._writing = self._writing, []
        self._write(written)
        if self._asked:
            self._begin()
        persist, done = written[-1]
        done(persist.number)

    def _write(self, written: list[tuple[Persist, Done]]) -> None:
        for persist, _ in written:
            self._memory.write([(GROUP, persist)])
            self.formed = self.formed or persist.formation is not None
            if persist.promise is not None:
                self.promise = persist.promise
            if persist.truncate is not None:
                cut = persist.truncate
                self.held = {first: batch for first, batch in self.held.items() if first < cut}
            self.held.update((batch.first, batch) for batch in persist.batches)
