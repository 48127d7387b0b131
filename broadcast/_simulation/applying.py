"""A process applies what was delivered, some of it at a time; a snapshot takes the place of what was not applied."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.errors import invariant
from broadcast._machine import Machine, check_version
from broadcast._protocol.output import Applied, Input
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Expired, Missing
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.archive import Guard
from broadcast._simulation.disk import GROUP, Disk
from broadcast._simulation.invariants import Process
from broadcast._simulation.life import Life
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.undos import CountedBase
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World
from membership._protocol.view import Formation

APPLY_DELAY = 2 * MILLISECOND  # at most, from delivery to application


class Applying:
    """Of one life of a process. kind: the class that it runs. give: what its core is given."""

    def __init__(
        self,
        process: Process,
        life: Life,
        world: World,
        watch: Watch,
        disk: Disk,
        kind: type[Actor],
        guard: Guard,
        give: Callable[[Input], None],
    ) -> None:
        self.machine: Machine[Any] | None = None
        self._process = process
        self._life = life
        self._world = world
        self._watch = watch
        self._disk = disk
        self._kind = kind
        self._guard = guard
        self._give = give
        self._delivered: deque[Batch] = deque()

    # -- where the machine comes from ------------------------------------------------------------------------------

    def form(self, formation: Formation) -> Machine[Any]:
        """The group has formed: the machine begins, or goes on from the snapshot that was loaded."""
        machine = self._life.archive.loaded or self._begin(formation)
        self.machine, self._life.archive.loaded = machine, None
        return machine

    def _begin(self, formation: Formation) -> Machine[Any]:
        interface, history = Interface.of(self._kind), self._life.replica.log.between
        base, configuration, version = CountedBase(self._world.marks), formation.configuration, formation.version
        return Machine(self._kind, interface, configuration, history, group=GROUP, base=base, version=version)

    def restore(self, snapshot: Snapshot) -> Machine[Any]:
        """A machine at this snapshot, which is on the disk."""
        interface, history = Interface.of(self._kind), self._life.replica.log.between
        check_version(GROUP, interface, snapshot.agreed.version, snapshot.index)
        load = partial(self._disk.snapshots.pieces, snapshot)
        base = CountedBase(self._world.marks)
        return Machine.restored(self._kind, interface, history, load, group=GROUP, base=base)

    def install(self, snapshot: Snapshot) -> None:
        """What was delivered and not applied is in it."""
        life, archive = self._life, self._life.archive
        loaded = archive.loaded
        invariant(loaded is not None and loaded.applied == snapshot.index, "what is installed was loaded")
        self._watch.installing(self._process, snapshot)
        self._world.note(self._process.name, "install", snapshot.position)
        self._world.marks["snapshots installed"] += 1
        self._delivered.clear()
        self.machine, archive.loaded = loaded, None
        if loaded is not None:
            life.reception.installed(loaded)
        self._watch.installed(self._process, snapshot)

    # -- what is delivered -----------------------------------------------------------------------------------------

    def deliver(self, batches: list[Batch]) -> None:
        if not self._delivered:
            self._apply_later()
        self._delivered.extend(batches)

    def _apply_later(self) -> None:
        delay = self._world.chance.randrange(APPLY_DELAY)
        self._world.schedule.after(delay, self._guard(self._apply))

    def _apply(self) -> None:
        """Apply some of what was delivered."""
        machine = self._process.machine
        if not self._delivered:
            return  # a snapshot has taken its place
        count = 1 + self._world.chance.randrange(len(self._delivered))
        for _ in range(count):
            self._apply_one(machine, self._delivered.popleft())
        if self._delivered:
            self._apply_later()
        self._give(Applied(machine.applied, *machine.due))

    def _apply_one(self, machine: Machine[Any], batch: Batch) -> None:
        life, marks = self._life, self._world.marks
        version = machine.version
        reports = machine.apply(batch)
        marks["versions put in force"] += machine.version > version
        self._watch.applied(self._process, batch)
        if life.replica.speaks_for(batch.epoch):
            for telling in machine.tells:
                self._watch.telling(self._process, telling)
        if machine.at_marker:
            life.archive.take(machine)
        life.count_down()
        for report in reports:
            marks["expired sessions"] += isinstance(report, Expired)
            marks["reports of gaps"] += isinstance(report, Missing)
        life.reception.route(reports, batch.last)
