"""Tells every invariant of what it wants to hear, and counts what a history came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from broadcast._delivery import Delivery
from broadcast._intentions import Telling
from broadcast._protocol.entries import Commands, Entry, decode_entries, span
from broadcast._protocol.leader import Leadership
from broadcast._protocol.messages import Append, Message
from broadcast._protocol.output import Input, Persist
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.calls import Calls, Numbered
from broadcast._simulation.disk import Disk
from broadcast._simulation.invariants import INVARIANTS, Invariant, Judge, Process, Scene
from broadcast._simulation.register import Register
from broadcast._simulation.world import World

EVENTS = tuple(name for name in vars(Invariant) if not name.startswith("_"))


class Watch:
    """Looks on. Each method is called when what it names happens, and raises `Violation`."""

    def __init__(self, world: World, disks: Mapping[str, Disk], judge: Judge) -> None:
        self._hears: dict[str, list[Callable[..., None]]] = {event: [] for event in EVENTS}
        self.calls = Calls(self._hears, judge.seen)
        self._marks = world.marks
        self._judge = judge
        judge.scene = scene = Scene(world.schedule, disks, self.calls)
        for invariant in (*(kind(scene) for kind in INVARIANTS), judge):
            for event, hears in self._hears.items():
                if getattr(type(invariant), event) is not getattr(Invariant, event):
                    hears.append(getattr(invariant, event))
        self._leaderships: dict[str, Leadership | None] = {}
        self.register = Register()
        self._delivered = 0  # by any
        self._applied = 0  # by any
        self._numbered: dict[int, Numbered] = {}  # by index
        self._highest: dict[int, tuple[int, int]] = {}  # session -> (its highest number in the order, epoch of that)

    def also(self, event: str, hear: Callable[..., None]) -> None:
        """Somebody else wants to hear of this."""
        self._hears[event].append(hear)

    # -- replicas --------------------------------------------------------------------------------------------------

    def started(self, process: Process) -> None:
        for hear in self._hears["started"]:
            hear(process)

    def given(self, process: Process, given: Input) -> None:
        for hear in self._hears["given"]:
            hear(process, given)

    def stepped(self, process: Process) -> None:
        for hear in self._hears["stepped"]:
            hear(process)
        leadership = process.replica.leadership
        if leadership is not self._leaderships.get(process.name):
            self._leaderships[process.name] = leadership
            if leadership is not None:
                self._elected(process)

    def _elected(self, process: Process) -> None:
        for hear in self._hears["elected"]:
            hear(process)
        self._marks["elections"] += 1
        self._marks["leaders that found effects waiting"] += len(process.machine.effects) > 0

    def heard(self, process: Process, sender: str, message: Message) -> None:
        """A message was taken in."""
        for hear in self._hears["heard"]:
            hear(process, sender, message)
        if type(message) is Append and message.batches and message.epoch == process.replica.epoch:
            log, last = process.replica.log, message.batches[-1].last
            self._marks["batches that found no room"] += log.last.index < last and log.holds(message.previous)

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            self._marks["truncations"] += 1
        for hear in self._hears["persisting"]:
            hear(process, persist)

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        for hear in self._hears["sending"]:
            hear(process, to, stamp, message)

    def noticed(self, process: Process, text: str) -> None:
        for hear in self._hears["noticed"]:
            hear(process, text)

    def taken(self, process: Process, snapshot: Snapshot) -> None:
        for hear in self._hears["taken"]:
            hear(process, snapshot)

    def installing(self, process: Process, snapshot: Snapshot) -> None:
        for hear in self._hears["installing"]:
            hear(process, snapshot)

    def installed(self, process: Process, snapshot: Snapshot) -> None:
        for hear in self._hears["installed"]:
            hear(process, snapshot)

    # -- the order -------------------------------------------------------------------------------------------------

    def delivering(self, process: Process, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for hear in self._hears["delivering"]:
                hear(process, batch)
            if batch.first > self._delivered:
                self._delivered = batch.last
                self._deliver_first(process, batch)

    def _deliver_first(self, process: Process, batch: Batch) -> None:
        entries = decode_entries(batch.entries)
        for hear in self._hears["delivered"]:
            hear(process, batch, entries)
        self.register.delivered(batch, entries)
        self._number(batch, entries)

    def applied(self, process: Process, batch: Batch) -> None:
        if batch.first > self._applied:
            self._applied = batch.last
            self._marks["effects held up"] += bool(process.machine.effects.held_up)
            for delivery in process.machine.deliveries(batch):
                numbered = self._numbered.get(delivery.position.index)
                if numbered is None:
                    self._fell_due(process, delivery)
                else:
                    self.calls.took_effect(delivery, numbered, self._judge.identify(delivery))
        for hear in self._hears["applied"]:
            hear(process, batch)

    def _fell_due(self, process: Process, delivery: Delivery) -> None:
        self._marks["effects"] += 1
        self._marks["effects that came with a version"] += process.machine.interface.methods[delivery.tag].since > 1
        for hear in self._hears["fell_due"]:
            hear(process, delivery)

    def telling(self, process: Process, telling: Telling) -> None:
        self._marks["actors told"] += 1
        for hear in self._hears["telling"]:
            hear(process, telling)

    def ended(self, processes: Mapping[str, Process]) -> None:
        for hear in self._hears["ended"]:
            hear(processes)

    def _number(self, batch: Batch, entries: Sequence[Entry]) -> None:
        """Which command stands where; and what the sessions have to see through: numbers again, or too early."""
        index = batch.first
        for entry in entries:
            if isinstance(entry, Commands):
                early = self._is_early(entry, batch.epoch)
                for at in range(entry.count):
                    self._numbered[index + at] = Numbered(entry.session, entry.number + at, early)
            index += span(entry)

    def _is_early(self, entry: Commands, epoch: int) -> bool:
        highest, before = self._highest.get(entry.session, (0, 0))
        if entry.number > highest + 1:
            self._marks["gaps"] += 1
            return True
        if entry.number <= highest:
            self._marks["repeated commands"] += 1
            self._marks["repeated over a failover"] += before != epoch
        self._highest[entry.session] = max(highest, entry.number + entry.count - 1), epoch
        return False
