"""A process: it runs the real replica, machine and desk, and performs each `Output` in its order.

It can crash, also in the midst of what it does, restart and be paused. A restart finds what the disk kept, and nothing
else: a stamp above every one that was sent, and the replica's durable word. If the disk cannot be used, it stays down.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from actors._interface import Interface
from broadcast._errors import Outdated
from broadcast._machine import Machine
from broadcast._protocol.messages import decode_message
from broadcast._protocol.output import (
    Input,
    Received,
)
from broadcast._protocol.replica import Replica
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.applying import Applying
from broadcast._simulation.archive import Archive
from broadcast._simulation.disk import Disk
from broadcast._simulation.life import Expelled, Killed, Life
from broadcast._simulation.network import Network
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.play import Play
from broadcast._simulation.reception import Asker, Reception
from broadcast._simulation.steps import Steps
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World
from broadcast._storage import DiskDamaged, DiskRefused
from membership._protocol.formation import Plan
from membership._protocol.messages import Verdict, Wish

STAMPS_RESERVED = 64  # stamps that one write of the mark covers
RESTARTED_AFTER = 400 * MILLISECOND  # that a replica was stopped by its class


class Node:
    """One member of the group, over all its lives."""

    def __init__(self, name: str, world: World, plan: Plan, disk: Disk, play: Play, watch: Watch) -> None:
        self.name = name
        self.life = 0
        self.removed = False
        """It was a member, and has learnt that it is one no more: there is nothing left for it to do."""
        self._world = world
        self._plan = plan
        self._disk = disk
        self._play = play
        self._watch = watch
        self._network: Network | None = None
        self._mark = 0  # durable: at or above every stamp that was ever sent
        self._tokens = itertools.count(1)  # of reads
        self._wall = 0  # what the wall clock of the last life was set to
        self._kind = play.actor
        if world.options.upgrades:
            self.choose_class()
        self._now: Life | None = None

    # -- its lives -------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._now is not None

    @property
    def replica(self) -> Replica:
        return self._living.replica

    @property
    def machine(self) -> Machine[Any]:
        machine = self._living.applying.machine
        if machine is None:
            raise AttributeError("a machine runs once the group has formed")
        return machine

    @property
    def effects_waiting(self) -> int:
        """How many of the actor's messages to itself wait, as far as is known here."""
        machine = self._now.applying.machine if self._now else None
        return 0 if machine is None else len(machine.effects)

    @property
    def _living(self) -> Life:
        if self._now is None:
            raise AttributeError("a process that is gone has no state")
        return self._now

    def begin(self, network: Network, *, observer: bool) -> None:
        """A spare's first start: from now on it asks to be added. observer: without a vote, and by itself."""
        self._plan = replace(self._plan, observer=observer)
        self.start(network)

    def start(self, network: Network) -> None:
        """The process starts, on what its disk holds. If that is not to be trusted it ends at once, with the reason."""
        if self.removed:
            return
        self._network = network
        self.life += 1
        self._world.note(self.name, "start", self.life)
        try:
            found = self._disk.open()
        except (DiskDamaged, DiskRefused) as error:
            self._world.note(self.name, "ends", error)
            self._world.marks["disks refused"] += 1
            return
        interface = Interface.of(self._kind)
        takes, digest = dict(interface.takes), interface.digest
        plan = replace(self._plan, version=interface.version, takes=takes, interface=digest)
        self._now = life = Life(self.name, self._world, plan, found, self._mark)
        life.steps = Steps(self, life, self._world, self._watch, self._disk, network, self._guard, self.crash)
        give = life.steps.take
        life.applying = Applying(self, life, self._world, self._watch, self._disk, self._kind, self._guard, give)
        life.archive = Archive(
            self._world, self._disk, self._guard, give, life.applying.restore, partial(self._watch.taken, self)
        )
        life.reception = Reception(self, life, self._world, self._tokens, self._guard, give)
        try:
            self._begin(life, found.snapshot)
        except Outdated as error:
            self._stopped(error)
        else:
            network.started(self.name)

    def _begin(self, life: Life, snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            life.archive.loaded = life.applying.restore(snapshot)
            self._world.marks["restarts on a snapshot"] += 1
            self._world.marks["restarts with effects that wait"] += len(life.archive.loaded.effects) > 0
        self._world.marks["restarts with an older clock"] += life.wall < self._wall
        self._wall = life.wall
        self._watch.started(self)
        life.steps.begin()

    def choose_class(self) -> None:
        """Its next lives run any version of the class."""
        self._kind = self._world.chance.choice((self._play.actor, *self._play.later))

    def _stopped(self, error: Outdated) -> None:
        """Its class is too old. Somebody reads what it says, and does that."""
        self._world.note(self.name, "ends", error)
        self._world.marks["replicas stopped by their class"] += 1
        self.crash()
        self._kind = self._play.later[-1]
        network = self._network
        if network is not None:
            self._world.schedule.after(RESTARTED_AFTER, lambda: None if self.alive else self.start(network))

    def crash(self) -> None:
        """The process is gone, and with it all that its disk does not hold."""
        reception = self._living.reception
        self._world.note(self.name, "crash", self.life)
        self._world.marks["crashes"] += 1
        self._now = None
        self._disk.crash()
        if self._network is not None:
            self._network.crashed(self.name)
        reception.close()

    def set_clock(self) -> None:
        """Somebody sets its wall clock, rightly or not."""
        self._world.note(self.name, "clock set")
        self._world.marks["clocks set"] += 1
        self._living.set_clock(self._world)

    def ambush(self, count: int) -> None:
        """After so many things that it does, a write, a message, a batch to apply, it dies."""
        self._living.dies_in = count

    def spare(self) -> None:
        """It need not die."""
        if self._now is not None:
            self._now.dies_in = None

    def pause(self, *, asleep: bool = False) -> None:
        """The process is stopped: what comes waits. asleep: and so is its machine."""
        self._world.note(self.name, "pause")
        self._world.marks["pauses"] += 1
        self._living.paused = True
        if asleep:
            self._world.marks["machines that slept"] += 1
            self._living.fall_asleep(self._world.now)

    def resume(self) -> None:
        """It goes on, with all that has come meanwhile."""
        self._world.note(self.name, "resume")
        living = self._living
        living.paused = False
        living.wake_up(self._world.now)
        while living.waiting and self._now is living:
            self._do(living.waiting.popleft())

    @property
    def paused(self) -> bool:
        return self._now is not None and self._now.paused

    def _enter(self, action: Callable[[], None]) -> None:
        """Something comes from outside: to this life, when it is not stopped."""
        if self._now is None:
            return
        if self._now.paused:
            self._now.waiting.append(action)
        else:
            self._do(action)

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Killed as end:
            self.removed = isinstance(end, Expelled)
            self._world.marks["ambushes"] += not self.removed
            self.crash()
        except Outdated as error:
            self._stopped(error)

    def _guard(self, action: Callable[[], None]) -> Callable[[], None]:
        """For what this life has under way: forgotten if it ends before."""
        life = self._now

        def come() -> None:
            if self._now is life:
                self._enter(action)

        return come

    # -- steps -----------------------------------------------------------------------------------------------------

    def give(self, given: Input) -> None:
        """An input of the shell's."""
        self._enter(lambda: self._living.steps.take(given))

    def receive(self, sender: str, stamp: int, data: bytes) -> None:
        """A message of another member arrives."""
        self._enter(partial(self._receive, sender, stamp, data))

    def _receive(self, sender: str, stamp: int, data: bytes) -> None:
        came = decode_message(data)
        self._living.clock.witness(stamp)
        self._living.steps.take(Received(sender, came.cluster, came.storage, stamp, came.message), data)
        self._watch.heard(self, sender, came.message)

    def want(self, wish: Wish, told: Callable[[Verdict], None]) -> None:
        """An operator here wants this; `told` gets the leader's word, if one comes."""
        self._enter(lambda: self._living.steps.want(wish, told))

    # -- clients ---------------------------------------------------------------------------------------------------

    def connect(self, asker: Asker) -> bool:
        """A client's link begins. False if nobody listens."""
        if self._now is None:
            return False
        self._now.reception.connect(asker)
        self.serve(lambda reception: reception.welcome(asker))
        return True

    def serve(self, action: Callable[[Reception], None]) -> None:
        """A client comes with this."""
        self._enter(lambda: action(self._living.reception))

    @property
    def clock(self) -> int:
        return self._living.at(self._world.now).monotonic

    @property
    def holds_lease(self) -> bool:
        living = self._now
        return living is not None and living.replica.holds_lease(living.at(self._world.now))

    @property
    def applied(self) -> int:
        """The index of the state that queries see."""
        machine = self._living.applying.machine
        return machine.applied if machine else 0

    def stamp(self) -> int:
        """A stamp to send under; the mark above it is durable first."""
        clock = self._living.clock
        stamp = clock.tick()
        if stamp > clock.reserved:
            self._mark = stamp + STAMPS_RESERVED
            clock.reserve(self._mark)
        return stamp
