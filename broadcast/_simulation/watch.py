"""All invariants together, told of every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broadcast._protocol.entries import Commands, decode_entries
from broadcast._protocol.messages import Message
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._simulation.disk import Disk
from broadcast._simulation.invariants import (
    Acknowledgements,
    Candidates,
    Leaders,
    LogMatching,
    LogTime,
    Order,
    Pointers,
    Process,
    Promises,
    Stamps,
    Standings,
    Views,
    WipedDisks,
)
from broadcast._simulation.play import Expectation
from broadcast._simulation.world import World


class Watch:
    """Looks on. Each method is called when what it names happens, and raises `Violation`."""

    def __init__(self, world: World, disks: Mapping[str, Disk], expected: Expectation) -> None:
        self.calls = expected
        self._marks = world.marks
        self._leaders = Leaders()
        self._promises = Promises(disks)
        self._standings = Standings()
        self._candidates = Candidates(disks)
        self._acknowledgements = Acknowledgements(disks)
        self._wiped = WipedDisks(disks)
        self._matching = LogMatching(self._leaders)
        self._order = Order(disks)
        self._pointers = Pointers()
        self._stamps = Stamps()
        self._time = LogTime(world.schedule)
        self._views = Views()
        self._numbers: dict[int, tuple[int, int]] = {}  # session -> (its highest number in the order, epoch of that)

    def started(self, process: Process) -> None:
        self._promises.started(process)
        self._time.started(process)
        self._order.started(process)
        self._pointers.started(process)

    def stepped(self, process: Process) -> None:
        self._pointers.stepped(process)
        if self._leaders.stepped(process):
            self._marks["elections"] += 1
            self._order.elected(process)

    def heard(self, process: Process, sender: str, message: Message) -> None:
        """A message was taken in."""
        self._time.heard(process, sender, message)

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            self._marks["truncations"] += 1
        self._wiped.persisting(process, persist)
        self._standings.persisting(process, persist)
        self._acknowledgements.persisting(process, persist)
        self._order.persisting(process, persist)
        self._matching.persisting(process, persist)
        self._time.persisting(process, persist)

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        self._stamps.sending(process, stamp)
        self._wiped.sending(process, message)
        self._promises.sending(process, to, message)
        self._candidates.sending(process, message)
        self._acknowledgements.sending(process, message)

    def delivering(self, process: Process, batches: Sequence[Batch]) -> None:
        for batch in self._order.delivering(process, batches):
            self._stamps.delivered(batch)
            self._count_repeats(batch)

    def applied(self, process: Process, batch: Batch) -> None:
        self._views.applied(process)
        self.calls.applied(process, batch)

    def noticed(self, process: Process, text: str) -> None:
        self._wiped.noticed(process, text)

    def ended(self, processes: Mapping[str, Process]) -> None:
        self.calls.ended(processes)

    def _count_repeats(self, batch: Batch) -> None:
        """What the sessions have to see through: numbers that stand in the log again, or too early."""
        for entry in decode_entries(batch.entries):
            if isinstance(entry, Commands):
                highest, epoch = self._numbers.get(entry.session, (0, 0))
                if entry.number <= highest:
                    self._marks["repeated commands"] += 1
                    self._marks["repeated over a failover"] += epoch != batch.epoch
                elif entry.number > highest + 1:
                    self._marks["gaps"] += 1
                    continue
                last = max(highest, entry.number + entry.count - 1)
                self._numbers[entry.session] = last, batch.epoch
