"""The steps of one life: its core takes an input, and what comes of that is performed in its order.

It may die in the midst of that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from broadcast._protocol.messages import encode_message
from broadcast._protocol.output import (
    Answered,
    Diverged,
    Formed,
    Input,
    LeaderKnown,
    Linked,
    Noticed,
    Output,
    Persisted,
    ReadReady,
    Reconfigured,
    Removed,
    Settled,
    Tick,
    Unfit,
    Wanted,
)
from broadcast._simulation.archive import Guard
from broadcast._simulation.disk import Disk
from broadcast._simulation.invariants import Process, broken
from broadcast._simulation.invariants.in_force import along
from broadcast._simulation.life import Expelled, Life
from broadcast._simulation.network import Network
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World
from membership._protocol.messages import CampaignNow, Verdict, Wish


class Sender(Process, Protocol):
    """A process that sends."""

    def stamp(self) -> int:
        """A stamp to send under; the mark above it is durable first."""
        ...


class Steps:
    """Of one life of a process. crash: ends it."""

    def __init__(
        self,
        process: Sender,
        life: Life,
        world: World,
        watch: Watch,
        disk: Disk,
        network: Network,
        guard: Guard,
        crash: Callable[[], None],
    ) -> None:
        self._process = process
        self._life = life
        self._world = world
        self._watch = watch
        self._disk = disk
        self._network = network
        self._guard = guard
        self._crash = crash
        self._configurations = 0  # how many its log has set, when that was looked at last
        self._wishes: dict[int, Callable[[Verdict], None]] = {}

    def begin(self) -> None:
        """What its core wants at once."""
        self._perform(self._life.replica.take_output())
        self._set_timer()

    def take(self, given: Input, data: bytes | None = None) -> None:
        """One step. data: what `given` came as, if it came over the network."""
        life, now = self._life, self._world.now
        self._world.note(self._process.name, "step", given, data)
        self._watch.given(self._process, given)
        life.replica.step(given, life.at(now))
        self._watch.stepped(self._process)
        self._perform(life.replica.take_output())
        self._set_timer()

    def want(self, wish: Wish, told: Callable[[Verdict], None]) -> None:
        """An operator wants this."""
        number = self._life.clock.tick()
        self._wishes[number] = told
        self.take(Wanted(number, wish))

    # -- time --------------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        life = self._life
        due = max(life.when(life.replica.deadline), self._world.now)
        if life.tick_at is None or due < life.tick_at:
            life.tick_at = due
            self._world.schedule.at(due, self._guard(partial(self._wake, due)))

    def _wake(self, due: int) -> None:
        life = self._life
        if life.tick_at != due:
            return  # an earlier one was set since, and has done this one's work
        life.tick_at = None
        if life.replica.deadline <= life.at(self._world.now).monotonic:
            self.take(Tick())
        else:
            self._set_timer()

    # -- output, in its order --------------------------------------------------------------------------------------

    def _perform(self, output: Output) -> None:
        life = self._life
        for persist in output.persist:
            life.count_down()
            self._world.note(self._process.name, "persist", persist)
            self._watch.persisting(self._process, persist)
            self._disk.submit(persist, self._persisted, self._disk_failed)
        for send in output.send:
            life.count_down()
            replica = life.replica
            stamp = self._process.stamp()
            data = encode_message(replica.cluster, replica.storage, send.message)
            self._watch.sending(self._process, send.to, stamp, send.message)
            self._world.marks["leaders that handed over"] += type(send.message) is CampaignNow
            self._network.send(self._process.name, send.to, stamp, data)
        for transfer in output.transfer:
            life.count_down()
            life.archive.perform(transfer)
        if output.install is not None:
            life.count_down()
            life.applying.install(output.install)
        if output.deliver:
            life.count_down()
            self._watch.delivering(self._process, output.deliver)
            life.applying.deliver(output.deliver)
        for settled in output.settle:
            life.count_down()
            self._world.note(self._process.name, "settle", settled)
            self._settle(settled)

    def _persisted(self, number: int) -> None:
        self._guard(partial(self._tidy, number))()

    def _tidy(self, number: int) -> None:
        self.take(Persisted(number))
        if self._disk.snapshot is not None:
            self._disk.snapshots.retain(self._disk.snapshot, self._life.replica.snapshots_in_use)

    def _disk_failed(self) -> None:
        """As the real shell: nothing more is said to anyone, and the process ends (rule 25)."""
        self._world.marks["replicas stopped by their disk"] += 1
        self._guard(self._crash)()

    def _settle(self, settled: Settled) -> None:
        life = self._life
        match settled:
            case Formed(formation):
                self._watch.register.formed(formation.configuration)
                life.reception.form(life.applying.form(formation))
            case LeaderKnown(leader=leader):
                life.reception.led(leader)
            case ReadReady(token):
                life.reception.read_ready(token)
            case Reconfigured():
                self._note_configurations()
            case Linked():
                life.reception.linked()  # the members themselves are linked anyway
            case Answered(number, verdict):
                told = self._wishes.pop(number, None)
                if told is not None:
                    told(verdict)
            case Removed():
                self._world.marks["members that learnt of their removal"] += 1
                raise Expelled
            case Diverged(divergence):
                broken("no replica differs from a majority", name=self._process.name, divergence=divergence)
            case Unfit(difference):
                broken("no replica is started with another class", name=self._process.name, difference=difference)
            case Noticed(text):
                self._watch.noticed(self._process, text)

    def _note_configurations(self) -> None:
        """Another is in force."""
        life, marks = self._life, self._world.marks
        count = len(along(life.replica))
        marks["configurations set"] += max(0, count - self._configurations)
        marks["configurations taken back"] += count < self._configurations
        self._configurations = count
