"""The order, run again: an instance of the class applies it one command at a time, and each step is told.

Two runs of a class that is deterministic tell the same, whatever process they are in.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

import msgspec

from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.codec import decode, encode, join_array
from actors._protocol.errors import InvalidMessage
from broadcast._calls import open_calls, runs_of
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, Due, Entry, decode_entries, encode_entries, span
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.difference import IN_TIME, differences
from broadcast._simulation.disk import GROUP
from membership._protocol.view import Configuration

NOTHING: Mapping[int, bytes] = {}
OURS = ("actors", "broadcast", "broadcast._simulation")


class Deed(msgspec.Struct, frozen=True, array_like=True):
    """Something a command did. instead: what to do instead. faulty: it may not do so, whatever comes of it."""

    what: str
    instead: str
    faulty: bool


class Step(msgspec.Struct, frozen=True, array_like=True):
    """The entry at `index` was applied; index 0: the instance was made.

    state: then, encoded. outcomes: what its askers were told. answers: of the queries, then.
    failure: what is wrong with the class, whatever another run tells; it ends the run. deeds: what was done.
    """

    index: int
    state: bytes = b""
    outcomes: tuple[bytes, ...] = ()
    answers: tuple[bytes, ...] = ()
    failure: str = ""
    deeds: tuple[Deed, ...] = ()

    def told(self) -> tuple[object, ...]:
        """What two runs must have in common."""
        return self.state, self.outcomes, self.answers, self.failure


class Log(msgspec.Struct, frozen=True, array_like=True):
    """What is to be run. queries: what to ask after each command."""

    configuration: Configuration
    batches: tuple[Batch, ...]
    queries: tuple[bytes, ...]


def no_deeds() -> tuple[Deed, ...]:
    return ()


def finely(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same log, an entry a batch: so that the state after each command can be looked at."""
    previous_epoch = 0
    for batch in batches:
        index = batch.first
        for entry in decode_entries(batch.entries):
            for single in _singles(entry):
                stamp = batch.stamp + index - batch.first
                entries = encode_entries([single])
                yield Batch(batch.epoch, previous_epoch, index, 1, batch.time, stamp, entries)
                index, previous_epoch = index + 1, batch.epoch


def _singles(entry: Entry) -> Iterator[Entry]:
    if not isinstance(entry, Commands | Due) or span(entry) == 1:
        yield entry
        return
    if isinstance(entry, Due):
        yield from [Due(1)] * entry.count
        return
    for at, call in enumerate(open_calls(entry)):
        calls = join_array([encode(call)])
        yield msgspec.structs.replace(entry, number=entry.number + at, count=1, calls=calls)


def steps(
    actor: type[Actor], log: Log, *, copied: bool = False, deeds: Callable[[], tuple[Deed, ...]] = no_deeds
) -> Iterator[Step]:
    """Each step of a new instance, which lives as long as the iterator.

    copied: its state is taken down and set up anew after each command, as a snapshot would. deeds: those since the last
    time.
    """
    held = list(finely(log.batches))
    machine: Machine[Any] | None = None
    before, index = b"", 0
    try:
        interface = Interface.of(actor)
        configuration, version = log.configuration, interface.version
        machine = Machine(
            actor, interface, configuration, lambda after, last: held[after:last], group=GROUP, version=version
        )
        before = _state(machine)
        yield Step(0, before, deeds=deeds())
        for batch in held:
            index = batch.first
            step = _step(machine, batch, before, log.queries, deeds)
            yield step
            if step.failure:
                return
            before = step.state
            if copied:
                state = vars(cast(object, machine.actor))
                state.update({name: _apart(value) for name, value in state.items()})
    except _Faulty as faulty:
        yield Step(index, failure=str(faulty), deeds=deeds())
    except Exception as error:
        yield Step(index, failure=f"{type(error).__qualname__}: {error}", deeds=deeds())


class _Faulty(Exception):
    """Something is wrong with the class. Says what."""


def _state(machine: Machine[Any]) -> bytes:
    try:
        return machine.state()
    except (InvalidMessage, ValueError) as error:
        name, _, why = str(error).removeprefix(type(machine.actor).__name__).removeprefix("['").partition("']")
        where = f"self.{name}{why}" if why else name
        raise _Faulty(f"its state cannot be written down, as a snapshot does: {where}") from error


def _step(
    machine: Machine[Any],
    batch: Batch,
    before: bytes,
    queries: Sequence[bytes],
    deeds: Callable[[], tuple[Deed, ...]],
) -> Step:
    reports = machine.apply(batch)
    told = tuple(outcome for report in reports if isinstance(report, Answers) for outcome in report.outcomes)
    is_refused = machine.came_to(batch.first) is Outcome.REFUSED
    done, state = deeds(), _state(machine)
    failure = ""
    if state != before and is_refused:
        changes = "; ".join(differences("self", before, state, which=IN_TIME))
        failure = f"it changes the state and is refused then; raise Refused before anything is changed: {changes}"
    answers = tuple(machine.query(query, "reader") for query in queries)
    if answers and not failure:
        failure = _changed_by_a_query(machine, queries, state)
    return Step(batch.first, state, told, answers, failure, (*done, *deeds()))


def _changed_by_a_query(machine: Machine[Any], queries: Sequence[bytes], state: bytes) -> str:
    """Which of them does, if the state is not as it was before they were asked."""
    now = _state(machine)
    if now == state:
        return ""
    changes = "; ".join(differences("self", state, now, which=IN_TIME))
    found = queries[0]
    for query in queries:
        before = _state(machine)
        machine.query(query, "reader")
        if _state(machine) != before:
            found = query
            break
    return f"the query {shown_call(found)} changes the state; make it a command: {changes}"


def kind_of(outcome: bytes) -> Outcome:
    return Outcome(cast("list[int]", decode(outcome))[0])


def _apart(value: object) -> Any:
    """A copy in which what was reached on two ways is there twice. What has no plain form stays as it is."""
    if isinstance(value, dict):
        whole = copy.copy(cast("dict[object, object]", value))
        for key, item in whole.items():
            dict[object, object].__setitem__(whole, key, _apart(item))  # a Counter's update, say, would add
        return whole
    if type(value) in (list, tuple, set, frozenset):
        items = cast("list[object]", value)
        return type(items)(map(_apart, items))
    if is_dataclass(value) and not isinstance(value, type):
        made: Any = object.__new__(cast(Any, type(value)))
        for field in fields(value):
            object.__setattr__(made, field.name, _apart(getattr(value, field.name)))
        return made
    return value


# -- for people --------------------------------------------------------------------------------------------------------


def shown_call(call: bytes | list[object]) -> str:
    """`tag(arguments)`, in their plain form, which is the same in every process."""
    tag, *arguments = cast("list[object]", decode(call)) if isinstance(call, bytes) else call
    return f"{tag}({', '.join(map(repr, arguments))})"


def command_at(batches: Iterable[Batch], index: int, due: Mapping[int, bytes] = NOTHING) -> str:
    """Which command stands there. due: what was due, by index."""
    for batch in batches:
        for run, first in runs_of(batch) if batch.first <= index <= batch.last else ():
            if first <= index < first + run.count:
                if isinstance(run, Due):
                    return shown_call(due[index]) if index in due else "what is due, if anything"
                call = open_calls(run)[index - first]
                return shown_call(cast("list[object]", call)) if isinstance(call, list) else "given up"
    return "none"


def raised(error: BaseException) -> str:
    """What was raised, with those frames of its traceback that are not ours."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_globals.get("__package__") in OURS:
        at = at.tb_next
    return "".join(traceback.format_exception(type(error), error, at)).rstrip()
