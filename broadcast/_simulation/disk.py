"""A disk: what was asked of it becomes durable after a while, in order; a crash takes what was not done.

It may be slow, full, or fail in a sync; what is written may be damaged; another medium may take its place for a while.

The rules of a write are those of the real storage, which keeps what is durable here too, and so are its words when it
is opened: damage is told, a copy is refused, a torn tail that nobody was told of is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.world import World
from broadcast._storage import DiskDamaged, DiskRefused, MemoryDisk, MemorySnapshots, Stored
from membership._protocol.view import Promise

GROUP = "simulated"
RETRY_INTERVAL = 250 * MILLISECOND  # between attempts while the disk is full, as the real writer has it
SLOW = 1, 11  # election timeouts that a write to a slow disk takes

Done = Callable[[int], None]
"""done(number): everything up to this `Persist` is durable."""
Failed = Callable[[], None]
"""failed(): a sync has failed; nothing more is written in this life, and nothing more becomes durable."""


@dataclass(slots=True)
class _Medium:
    """What holds the data. damage: which part of it is not as it was written. copied: it is not where it was made."""

    memory: MemoryDisk
    torn: bool = False
    damage: str = ""
    copied: bool = False

    def copy(self) -> _Medium:
        """What a copy of it, as it is now, holds."""
        return _Medium(self.memory.copy(), damage=self.damage, copied=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    persist: Persist
    done: Done
    failed: Failed


class Disk:
    """The disk of one replica, over all lives of its process."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.promise = Promise()
        """The promise that is durable."""
        self.held: dict[int, Batch] = {}
        """The batches that are durable, by first index."""
        self.snapshot: Snapshot | None = None
        """The snapshot that is durable."""
        self.formed = False
        """Is the record that the group begins with durable?"""
        self.slow = False
        """Does each write take an election timeout, or several?"""
        self.full = False
        """Is there no room? Then a write waits for it, and what is asked for meanwhile joins it."""
        self._world = world
        self._medium = _Medium(MemoryDisk(world.chance.randbytes))
        self._true: _Medium | None = None  # while another takes its place
        self._copy: _Medium | None = None
        self._asked: list[_Asked] = []
        self._writing: list[_Asked] = []
        self._life = 0
        self._began = 0  # the write under way
        self._struck = False  # does that one take longer than one does that nothing strikes?
        self._fails_next = False
        self._failed = False  # in this life

    def open(self) -> Stored:
        """What a process finds when it starts. Raises `DiskDamaged` and `DiskRefused`, as the real storage does."""
        medium = self._medium
        if medium.damage:
            raise DiskDamaged(medium.damage)
        if medium.copied:
            raise DiskRefused("this is a copy of the data")
        self._world.marks["torn tails cut"] += medium.torn
        medium.torn = False
        stored = medium.memory.open_group(GROUP)
        self.snapshots.begin(stored.snapshot)
        return stored

    @property
    def snapshots(self) -> MemorySnapshots:
        """The files of snapshots that are there; what is said of them, the log has."""
        return self._medium.memory.snapshots(GROUP)

    @property
    def last(self) -> int:
        """The index that what is durable goes up to, without a gap from the beginning."""
        return max([self.snapshot.index if self.snapshot else 0, *(batch.last for batch in self.held.values())])

    def ends_at(self, index: int) -> bool:
        """Does what is durable have an end of a batch there?"""
        compacted = self.snapshot is not None and index <= self.snapshot.index
        return compacted or any(batch.last == index for batch in self.held.values())

    def holds(self, batch: Batch) -> bool:
        """Is this durable, as it is or in a snapshot?"""
        return (self.snapshot is not None and batch.last <= self.snapshot.index) or self.held.get(batch.first) == batch

    def submit(self, persist: Persist, done: Done, failed: Failed) -> None:
        """Write this. What is asked for while a write is under way joins the next one."""
        if self._failed:
            return
        self._asked.append(_Asked(persist, done, failed))
        if not self._writing:
            self._begin()

    def crash(self) -> None:
        """The power is gone: of the write under way a part may be there, of what waited for it nothing."""
        chance, lost = self._world.chance, len(self._writing) + len(self._asked)
        if lost:
            kept = 0 if self.full else chance.choice((0, 0, chance.randrange(len(self._writing) + 1)))
            self._write(self._writing[:kept])
            self._medium.torn = kept < len(self._writing) and chance.random() < 0.5
            if lost > kept:
                self._world.marks["crashes that dropped unsynced data"] += 1
                self._world.note(self.name, "dropped", lost - kept)
        self._writing, self._asked = [], []
        self._life += 1
        self._failed = False

    @property
    def hung_for(self) -> int:
        """How long the write under way has taken so far."""
        return self._world.now - self._began if self._writing else 0

    @property
    def held_up(self) -> bool:
        """Is a write under way that a fault has struck? It may go on for long after all faults have ended, and what is
        asked for meanwhile waits for it."""
        return self._struck and bool(self._writing)

    # -- other media -----------------------------------------------------------------------------------------------

    @property
    def wiped(self) -> bool:
        """Is this another disk than the group knows? What is durable, for the group, is what the true one holds."""
        return self._true is not None

    @property
    def damaged(self) -> bool:
        """Is something wrong with the data, now or when the true disk is back?"""
        return bool((self._true or self._medium).damage)

    def wipe(self) -> None:
        """While its process is down, an empty disk takes this one's place."""
        self._replace(_Medium(MemoryDisk(self._world.chance.randbytes)), "disks wiped")

    def back_up(self) -> None:
        """Somebody copies what is there now."""
        self._copy = self._medium.copy()

    def restore_copy(self) -> None:
        """While its process is down, the copy made last takes this one's place."""
        if self._copy is not None:
            self._replace(self._copy, "old copies restored")

    def bring_back(self) -> None:
        """While its process is down, the true disk comes back, as it was."""
        if self._true is not None:
            self._medium, self._true = self._true, None
            self._world.note(self.name, "restored")

    def _replace(self, medium: _Medium, mark: str) -> None:
        self._true, self._medium = self._medium, medium
        self._world.marks[mark] += 1
        self._world.note(self.name, "replaced", mark)

    # -- faults ----------------------------------------------------------------------------------------------------

    def damage(self) -> None:
        """A bit flips in what is durable. A process that runs does not notice; the next one to start does."""
        first = self._world.chance.choice(list(self.held)) if self.held else 0
        self._medium.damage = f"the batch at index {first} is damaged" if first else "the promise is damaged"
        self._world.marks["disks damaged"] += 1
        self._world.note(self.name, "damaged", self._medium.damage)

    def fail_next(self) -> None:
        """The sync of the next write to end fails."""
        self._fails_next = True

    def spare(self) -> None:
        """Its next sync need not fail."""
        self._fails_next = False

    def repair(self) -> None:
        """It does as it should again; what was lost or damaged stays so."""
        self.slow = self.full = self._fails_next = False

    # -- writing ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        world, options = self._world, self._world.options
        self._writing, self._asked = self._asked, []
        self._began = world.now
        latency = 1 + world.chance.randrange(options.disk_latency)
        before = latency
        if self.slow:
            latency += options.election_timeout * world.chance.randrange(*SLOW)
            world.marks["slow writes"] += 1
        elif world.strikes(options.stall):
            latency += world.chance.randrange(4 * options.election_timeout)
            world.marks["disk stalls"] += 1
        self._struck = latency > before
        world.schedule.after(latency, partial(self._end, self._life))

    def _end(self, life: int) -> None:
        if life != self._life:
            return
        if self.full:
            self._wait_for_room()
        elif self._fails_next:
            self._fails_next = False
            self._fail()
        else:
            self._complete()

    def _complete(self) -> None:
        written, self._writing = self._writing, []
        self._write(written)
        if self._asked:
            self._begin()
        written[-1].done(written[-1].persist.number)

    def _wait_for_room(self) -> None:
        """Nothing of it is there. It is tried again, with what has come meanwhile."""
        self._writing += self._asked
        self._asked = []
        self._struck = True
        self._world.marks["writes that waited for room"] += 1
        self._world.schedule.after(RETRY_INTERVAL, partial(self._end, self._life))

    def _fail(self) -> None:
        """The sync fails: what it covered is there, or partly, or not, and nobody can tell (rule 25)."""
        kept = self._world.chance.randrange(len(self._writing) + 1)
        failed = self._writing[-1].failed
        self._write(self._writing[:kept])
        self._world.marks["failed syncs"] += 1
        self._world.note(self.name, "sync fails", f"{kept} of {len(self._writing)} kept")
        self._writing, self._asked = [], []
        self._failed = True
        failed()

    def _write(self, written: list[_Asked]) -> None:
        for asked in written:
            persist = asked.persist
            self._medium.memory.write([(GROUP, persist)])
            self.formed = self.formed or persist.formation is not None
            if persist.promise is not None:
                self.promise = persist.promise
            if persist.truncate is not None:
                cut = persist.truncate
                self.held = {first: batch for first, batch in self.held.items() if first < cut}
            if persist.snapshot is not None:
                self.snapshot = persist.snapshot
            if persist.compact:
                self.held = {first: batch for first, batch in self.held.items() if first > persist.compact}
            self.held.update((batch.first, batch) for batch in persist.batches)
