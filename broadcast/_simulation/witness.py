"""What the askers of any actor may rely on: the log, run once more by one instance, says what each should have got.

Every replica's state is compared with that instance's at each index, every outcome with the one it gave, and every
linearizable read with what it would have answered somewhere between the read's beginning and its end.
"""

from __future__ import annotations

import contextlib
import copy
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from actors._interface import Interface
from actors._protocol.errors import InvalidMessage
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, Run, decode_entries, span
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers
from broadcast._protocol.sessions import Outcome
from broadcast._simulation import elsewhere, shadow
from broadcast._simulation.actor_fault import RULE, ActorFault, CommandCrashed, NotDeterministic
from broadcast._simulation.calls import Answer, Call, Fate, Read, kind
from broadcast._simulation.difference import differences
from broadcast._simulation.disk import GROUP
from broadcast._simulation.invariants import Judge, Process, broken, check, is_without_answer
from broadcast._simulation.loading import CannotLoadError
from broadcast._simulation.shadow import Deed, Log, Step
from membership._protocol.view import Configuration, Member, View

FAR = 2**63  # beyond any index
NOBODY = Configuration((Member("nobody", bytes(16)),))  # in force before the log says who is in; no query sees it
RUNS_AFTER_FAILURE = 3  # what is done by chance may not differ in each
COPIED = (
    "two instances, of which one has its state copied after each command as a snapshot does (so that what is reached "
    "on two ways is two things then: keep it in one place, and a key to it in the other),"
)


class Recorder(Machine[Any]):
    """A machine that keeps what methods raise, and at which index."""

    _raised: list[tuple[int, BaseException]] | None = None

    def take_raised(self) -> list[tuple[int, BaseException]]:
        """What was raised since the last time."""
        raised, self._raised = self._raised or [], None
        return raised

    def _crashed(self, error: BaseException, call: object, entry: Run, first: int, index: int) -> tuple[Outcome, bytes]:
        self._raised = [*(self._raised or ()), (index, error)]
        return super()._crashed(error, call, entry, first, index)

    def _look(self, call: bytes, sender: str) -> bytes:
        try:
            return super()._look(call, sender)
        except Exception as error:
            self._raised = [(self.applied, error)]
            raise


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
    """One more instance, which applies what any replica is the first to apply.

    seed: of the history. may_crash: tags of methods that may raise what they like. queries: what clients ask, which
    grows while they do.
    """

    def __init__(
        self, interface: Interface, *, seed: int, may_crash: Collection[str], queries: Collection[bytes]
    ) -> None:
        super().__init__()
        self.untried = ""
        """Why the order could not be run in other processes."""
        self._interface = interface
        self._seed = seed
        self._may_crash = may_crash
        self._queries = queries
        self._machine: Recorder | None = None
        self._configuration: Configuration | None = None
        self._batches: list[Batch] = []  # delivered to any
        self._given: dict[tuple[int, int], tuple[int, bytes]] = {}  # (session, number) -> index and outcome
        self._due: dict[int, bytes] = {}  # by index: what was due there
        self._states: dict[int, bytes] = {}
        self._seen: list[_Seen] = []

    # -- askers ----------------------------------------------------------------------------------------------------

    def answered(self, call: Call, answer: Answer) -> None:
        if call.fate is Fate.WITHDRAWN:
            return
        index, given = self._given.get((answer.session, answer.number), (0, b""))
        if answer.again and is_without_answer(answer.outcome) and self._is_idempotent(call):
            given = given if kind(given) is not Outcome.APPLIED else answer.outcome
        check(answer.outcome == given, "an outcome is what the order gives", call=call, answer=answer, given=given)
        floor = self.scene.calls.floor.at(call.after)
        check(index > floor, "a command comes after what was known when it was asked", index=index, floor=floor)

    def _is_idempotent(self, call: Call) -> bool:
        return call.query is None and bool(self._interface.methods[call.tag].idempotent)

    def seen(self, read: Read) -> int:
        floor = self.scene.calls.floor_of(read)
        if floor == 0 and self._query_first(read.call) == read.outcome:
            return 0
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
        self._look_for_crashes(machine, lambda index: shadow.shown_call(call), "query")
        return outcome

    def _query_first(self, call: bytes) -> bytes:
        """What the query gives before anything was applied: a session that has seen nothing may see that."""
        machine = Recorder(self._interface.actor, self._interface, NOBODY, self._between)
        outcome = machine.query(call, "reader")
        self._look_for_crashes(machine, lambda index: shadow.shown_call(call), "query")
        return outcome

    # -- the log, applied ------------------------------------------------------------------------------------------

    def delivering(self, process: Process, batch: Batch) -> None:
        formation = process.replica.formation
        if formation is not None and (not self._batches or batch.first > self._batches[-1].last):
            self._configuration = formation.configuration
            self._batches.append(batch)

    def applied(self, process: Process, batch: Batch) -> None:
        if batch.last not in self._states:
            self._apply_first(process, batch)
        equal = _state_of(process.machine) == self._states[batch.last]
        commands = [shadow.command_at([batch], index, self._due) for index in range(batch.first, batch.last + 1)]
        check(equal, "replicas have equal states at equal indices", name=process.name, index=batch.last, after=commands)

    def _apply_first(self, process: Process, batch: Batch) -> None:
        machine = self._machine
        if machine is None:
            actor, configuration = self._interface.actor, process.machine.configuration
            machine = self._machine = Recorder(actor, self._interface, configuration, self._between, group=GROUP)
        places = dict(_places(batch))
        for report in machine.apply(batch):
            if isinstance(report, Answers):
                for at, outcome in enumerate(report.outcomes, report.number):
                    if (report.session, at) in places:
                        self._given.setdefault((report.session, at), (places[report.session, at], outcome))
        self._due.update(machine.due_in(batch))
        self._look_for_crashes(machine, lambda index: shadow.command_at([batch], index, self._due), "command")
        self._states[batch.last] = _state_of(machine)
        self._seen.append(copy.deepcopy(_Seen.of(machine)))

    def _between(self, after: int, last: int) -> list[Batch]:
        return [batch for batch in self._batches if batch.last > after and batch.first <= last]

    def _look_for_crashes(self, machine: Recorder, call_at: Callable[[int], str], kind: str) -> None:
        for index, error in machine.take_raised():
            call = call_at(index)
            tag = call.partition("(")[0]
            if tag not in self._may_crash:
                raise CommandCrashed(
                    f"the {kind} {call} of {self._name} crashed at index {index}. A method raises Refused to say no; "
                    f"all else is a bug in it. If it is meant: simulate(..., may_crash=[{self._name}.{tag}])\n"
                    f"{textwrap.indent(shadow.raised(error), '  | ')}",
                    index,
                    call,
                )

    # -- whose fault it is -----------------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        known = error.index if isinstance(error, ActorFault) else FAR
        try:
            for _ in range(RUNS_AFTER_FAILURE):
                self._compare_here()
            self._compare_elsewhere()
        except ActorFault as fault:
            if fault.index < known:
                raise

    def ended(self, processes: Mapping[str, Process]) -> None:
        self._compare_here()
        self._compare_elsewhere()

    @property
    def _name(self) -> str:
        return self._interface.actor.__name__

    def _log(self) -> Log | None:
        """The whole order, to be run again."""
        if self._configuration is None:
            return None
        return Log(self._configuration, tuple(self._batches), tuple(self._queries))

    def _compare_here(self) -> None:
        """By three instances, side by side: no id() is used twice."""
        log = self._log()
        if log is None:
            return
        actor = self._interface.actor
        runs = shadow.steps(actor, log), shadow.steps(actor, log), shadow.steps(actor, log, copied=True)
        for one, other, copied in zip(*runs, strict=False):
            if one.told() != other.told():
                deeds = self._deeds_at(one.index, log)
                self._differs(one, other, "two instances in one process", deeds)
            self._look_for_faults(one)
            if one.told() != copied.told():
                self._differs(one, copied, COPIED, ())

    def _compare_elsewhere(self) -> None:
        log = self._log()
        if log is None:
            return
        try:
            with contextlib.closing(elsewhere.pairs(self._interface.actor, log, self._seed)) as pairs:
                for one, other in pairs:
                    if one.told() != other.told():
                        self._differs(one, other, "two instances in two processes", other.deeds)
                    self._look_for_faults(other)
        except CannotLoadError as error:
            self.untried = str(error)

    def _deeds_at(self, index: int, log: Log) -> tuple[Deed, ...]:
        """What is done there, as far as another process can tell."""
        try:
            with contextlib.closing(elsewhere.pairs(self._interface.actor, log, self._seed)) as pairs:
                return next((other.deeds for _, other in pairs if other.index == index), ())
        except CannotLoadError:
            return ()

    def _look_for_faults(self, step: Step) -> None:
        command = self._command_at(step.index)
        if step.failure:
            text = f"{self._name} cannot be replicated: {self._where(step.index)}: {step.failure}"
            raise ActorFault(text, step.index, command)
        faulty = [deed for deed in step.deeds if deed.faulty]
        if faulty:
            text = f"{self._name} is not deterministic: {self._where(step.index)} {_told(faulty)}\n  {RULE}"
            raise NotDeterministic(text, step.index, command)

    def _differs(self, one: Step, other: Step, who: str, deeds: Sequence[Deed]) -> NoReturn:
        """Tell which command, what differs, and what to do instead."""
        command, where = self._command_at(one.index), self._where(one.index)
        differ = differences("self", one.state, other.state) if one.state and other.state else []
        for mine, others in zip(one.outcomes, other.outcomes, strict=False):
            differ += differences("its outcome", mine, others)
        if not differ and one.failure == other.failure:
            for query, mine, others in zip(tuple(self._queries), one.answers, other.answers, strict=False):
                if mine != others and not differ:
                    command = shadow.shown_call(query)
                    where = f"the query {command}, {where}"
                    differ = differences("its answer", mine, others)
        if one.failure != other.failure:
            differ.append(f"the one fails ({one.failure or other.failure}), the other does not")
        told = "; ".join(differ)
        why = f"\n  what it does: {_told(deeds)}" if deeds else ""
        raise NotDeterministic(
            f"{self._name} is not deterministic: given the same messages, {who} differ, first {where}:\n  {told}{why}"
            f"\n  {RULE}",
            one.index,
            command,
        )

    def _command_at(self, index: int) -> str:
        return shadow.command_at(self._batches, index, self._due) if index else "__init__()"

    def _where(self, index: int) -> str:
        return f"after index {index}, the command {self._command_at(index)}" if index else "when it is made"


def _told(deeds: Sequence[Deed]) -> str:
    return "; ".join(f"{deed.what} ({deed.instead})" for deed in deeds)


def _state_of(machine: Machine[Any]) -> bytes:
    try:
        return machine.state()
    except (InvalidMessage, ValueError) as error:
        return broken("a state can be written down", why=str(error))


def _places(batch: Batch) -> list[tuple[tuple[int, int], int]]:
    """Where each command of a batch stands: (session, number) -> index."""
    places: list[tuple[tuple[int, int], int]] = []
    index = batch.first
    for entry in decode_entries(batch.entries):
        if isinstance(entry, Commands):
            places += [((entry.session, entry.number + at), index + at) for at in range(entry.count)]
        index += span(entry)
    return places
