"""What the askers of any actor may rely on: the log, run once more by one instance, says what each should have got.

Every replica's state is compared with that instance's at each index, every outcome with the one it gave, and every
linearizable read with what it would have answered somewhere between the read's beginning and its end.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from actors._actor import Actor
from actors._interface import Interface
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, decode_entries, span
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers
from broadcast._simulation import shadow
from broadcast._simulation.calls import Answer, Call, Fate, Read
from broadcast._simulation.invariants import Judge, Process, Violation, broken, check
from membership._protocol.view import Configuration, View


class NotDeterministic(Violation):
    """Two instances of the actor were given the same messages, and came to different states.

    index: of the first command after which they differ. command: which, with its arguments.
    """

    def __init__(self, text: str, index: int, command: str) -> None:
        super().__init__(text)
        self.index = index
        self.command = command

    @classmethod
    def after(cls, index: int, command: str, how: str) -> NotDeterministic:
        return cls(
            f"the actor is not deterministic: after the same messages two instances differ, {how}, first after index "
            f"{index}, the command {command}. A replicated command may look at nothing but its arguments, the actor's "
            "state and self.context: no clock, no randomness of its own, no id() or hash(), no order of a set",
            index,
            command,
        )

    def told(self, text: str) -> NotDeterministic:
        return NotDeterministic(text, self.index, self.command)


@dataclass(slots=True)
class _Seen:
    """What a query can see of a machine. A deep copy of it leaves out the context, which the machine gives."""

    applied: int
    stamp: int
    time: int
    views: list[View]
    state: dict[str, object]

    @classmethod
    def of(cls, machine: Machine[Any]) -> _Seen:
        return cls(machine.applied, machine.stamp, machine.time, list(machine.views), dict(_state(machine)))

    def show(self, machine: Machine[Any]) -> None:
        """Have the machine's queries see this."""
        machine.applied, machine.stamp, machine.time, machine.views = self.applied, self.stamp, self.time, self.views
        _state(machine).clear()
        _state(machine).update(self.state)


def _state(machine: Machine[Any]) -> dict[str, object]:
    return vars(cast(object, machine.actor))


class Witness(Judge):
    """One more instance, which applies what any replica is the first to apply."""

    def __init__(self, actor: type[Actor], interface: Interface) -> None:
        super().__init__()
        self._actor = actor
        self._interface = interface
        self._machine: Machine[Any] | None = None
        self._batches: list[Batch] = []
        self._given: dict[tuple[int, int], tuple[int, bytes]] = {}  # (session, number) -> index and outcome
        self._states: dict[int, bytes] = {}
        self._seen: list[_Seen] = []

    # -- askers ----------------------------------------------------------------------------------------------------

    def answered(self, call: Call, answer: Answer) -> None:
        if call.fate is Fate.WITHDRAWN:
            return
        index, given = self._given.get((answer.session, answer.number), (0, b""))
        check(answer.outcome == given, "an outcome is what the order gives", call=call, answer=answer, given=given)
        floor = self.scene.calls.floor.at(call.after)
        check(index > floor, "a command comes after what was known when it was asked", index=index, floor=floor)

    def seen(self, read: Read) -> int:
        floor = self.scene.calls.floor.at(read.after)
        for seen in self._seen:
            if seen.applied >= floor and self._query(seen, read.call) == read.outcome:
                return seen.applied
        return broken("a read sees a state of its time", floor=floor, got=read.outcome)

    def _query(self, seen: _Seen, call: bytes) -> bytes:
        """What the query gives in that state."""
        machine = self._machine
        if machine is None:
            return b""
        now = _Seen.of(machine)
        copy.deepcopy(seen).show(machine)
        outcome = machine.query(call, "reader")
        now.show(machine)
        return outcome

    # -- the log, applied ------------------------------------------------------------------------------------------

    def applied(self, process: Process, batch: Batch) -> None:
        if batch.last not in self._states:
            self._apply_first(process, batch)
        if process.machine.state() != self._states[batch.last]:
            self.compare(process.machine.configuration, "in one process")
            check(False, "replicas have equal states at equal indices", name=process.name, index=batch.last)

    def _apply_first(self, process: Process, batch: Batch) -> None:
        machine = self._machine
        if machine is None:
            configuration = process.machine.configuration
            machine = self._machine = Machine(self._actor, self._interface, configuration, self._between)
        self._batches.append(batch)
        places = dict(_places(batch))
        for report in machine.apply(batch):
            if isinstance(report, Answers):
                for at, outcome in enumerate(report.outcomes, report.number):
                    if (report.session, at) in places:
                        self._given.setdefault((report.session, at), (places[report.session, at], outcome))
        self._states[batch.last] = machine.state()
        self._seen.append(copy.deepcopy(_Seen.of(machine)))

    def _between(self, after: int, last: int) -> list[Batch]:
        return [batch for batch in self._batches if batch.last > after and batch.first <= last]

    def compare(self, configuration: Configuration, how: str, *, elsewhere: bool = False) -> None:
        """Run the whole order again, by two instances. Raises `NotDeterministic` if they come to differ."""
        ours = shadow.steps(self._actor, configuration, self._batches)
        others: Iterable[shadow.Step] | None = (
            shadow.elsewhere(self._actor, configuration, self._batches)
            if elsewhere
            else shadow.steps(self._actor, configuration, self._batches)
        )
        for one, other in zip(ours, others or (), strict=False):  # side by side: no id() is used twice
            if one != other:
                raise NotDeterministic.after(one.index, self._command_at(one.index), how)

    def _command_at(self, index: int) -> str:
        machine = self._machine
        batch = next(batch for batch in self._batches if batch.first <= index <= batch.last)
        for delivery in machine.deliveries(batch) if machine else ():
            if delivery.position.index == index:
                return f"{delivery.tag}({', '.join(map(repr, delivery.arguments))})"
        return "that was not applied"

    # -- the end ---------------------------------------------------------------------------------------------------

    def ended(self, processes: Mapping[str, Process]) -> None:
        for process in processes.values():
            self.compare(process.machine.configuration, "in one process")
            self.compare(process.machine.configuration, "in two processes", elsewhere=True)
            return


def _places(batch: Batch) -> list[tuple[tuple[int, int], int]]:
    """Where each command of a batch stands: (session, number) -> index."""
    places: list[tuple[tuple[int, int], int]] = []
    index = batch.first
    for entry in decode_entries(batch.entries):
        if isinstance(entry, Commands):
            places += [((entry.session, entry.number + at), index + at) for at in range(entry.count)]
        index += span(entry)
    return places
