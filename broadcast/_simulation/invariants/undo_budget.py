"""A session has so much undone at once, and so much in each while, and all together have twice that at once; nobody is
held up for anything else (rule 24). What the actor left for itself and is held up waits: it runs once, or crashes (21).

Counted anew from what the log came to: budgets of log time, which fill as log time gets on, and of which each undo
takes its share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from actors._protocol.codec import decode
from broadcast._calls import open_calls
from broadcast._protocol.entries import Commands, Due, Entry, decode_entries, span
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from membership._protocol.view import Limits

GROUP_S_OWN = 0  # in the place of a session: what the actor tells itself
OF_ALL = -1  # in the place of a session: all of them, and what the actor tells itself


@dataclass(slots=True)
class _Budget:
    """full, left: log time that undos may take at most, and may take yet. time: as of when. tags: of what was undone
    since it was last full."""

    full: int
    left: int
    time: int
    tags: set[str] = field(default_factory=set[str])

    def fill(self, time: int) -> None:
        self.left = min(self.full, self.left + time - self.time)
        self.time = time
        if self.left == self.full:
            self.tags.clear()

    def holds_up(self, tag: str, limits: Limits) -> bool:
        return tag in self.tags and self.left < limits.undo_interval

    def pay(self, tag: str, limits: Limits) -> None:
        self.left -= limits.undo_interval
        self.tags.add(tag)


class UndoBudget(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._applied = 0
        self._budgets: dict[int, _Budget] = {}
        self._held_up = defaultdict[tuple[int, int], bool](bool)  # session and number -> is it not to be run?
        self._set_aside: dict[int, str] = {}  # number of what was left and is held up -> its tag
        self._fell_due = 0  # of what was left, how much was due and not held up
        self._fell_due_by: dict[int, int] = {}  # index of a batch's end -> the same

    def applied(self, process: Process, batch: Batch) -> None:
        if batch.first > self._applied:
            self._applied = batch.last
            self._first_applied(process, batch)
        left, waiting = process.machine.effects.number, len(process.machine.effects)
        due = self._fell_due_by[batch.last]
        is_there = left == due + waiting
        check(is_there, "what was left waits, or was due once", name=process.name, left=left, due=due, waiting=waiting)

    def _first_applied(self, process: Process, batch: Batch) -> None:
        index = batch.first
        for entry in decode_entries(batch.entries):
            outcomes = [process.machine.came_to(at) for at in range(index, index + span(entry))]
            for at, outcome in enumerate(outcomes):
                if outcome in (Outcome.CRASHED, Outcome.OVERLOADED):
                    self._undone(process, batch, entry, at, index + at, outcome)
            if isinstance(entry, Due):
                self._look_at_due(process, batch, outcomes)
            index += span(entry)
        self._fell_due += len(process.machine.due_in(batch))
        self._fell_due_by[batch.last] = self._fell_due

    def _look_at_due(self, process: Process, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Only those are set aside that are held up; and while others are due there, none of the entry is void."""
        effects = process.machine.effects
        held_up = {number: tag for tag, (_, number, _) in effects.held_up}
        for number, tag in held_up.items():
            is_new = number not in self._set_aside
            fair = not is_new or self._is_held_up(process, batch, tag)
            check(fair, "what is due is run, unless it was undone too often", tag=tag, number=number, time=batch.time)
        self._set_aside = held_up
        if Outcome.VOID in outcomes:
            free = [tag for tag in held_up.values() if not self._is_held_up(process, batch, tag)]
            free += [str(number) for due, number, _ in effects.waiting if due <= batch.time]
            check(not free, "what is due is run in its turn", free=free, time=batch.time)

    def _budgets_of(self, session: int, batch: Batch, limits: Limits) -> tuple[_Budget, _Budget]:
        full = limits.undos_max * limits.undo_interval
        budgets = (
            self._budgets.setdefault(session, _Budget(full, full, batch.time)),
            self._budgets.setdefault(OF_ALL, _Budget(2 * full, 2 * full, batch.time)),
        )
        for budget in budgets:
            budget.fill(batch.time)
        return budgets

    def _is_held_up(self, process: Process, batch: Batch, tag: str) -> bool:
        """What is due, with this tag."""
        limits = process.machine.configuration.limits
        return any(budget.holds_up(tag, limits) for budget in self._budgets_of(GROUP_S_OWN, batch, limits))

    def _undone(self, process: Process, batch: Batch, entry: Entry, at: int, index: int, outcome: Outcome) -> None:
        limits = process.machine.configuration.limits
        if isinstance(entry, Due) and index not in process.machine.due_in(batch):
            return  # it was set aside
        session, number, tag = self._command(process, entry, at, index, batch)
        budgets = self._budgets_of(session, batch, limits)
        held_up = any(budget.holds_up(tag, limits) for budget in budgets)
        if outcome is Outcome.CRASHED:
            check(not held_up, "what had to be undone too often is not run", session=session, tag=tag, index=index)
            for budget in budgets:
                budget.pay(tag, limits)
        self._held_up[session, number] = held_up

    def _command(self, process: Process, entry: Entry, at: int, index: int, batch: Batch) -> tuple[int, int, str]:
        if isinstance(entry, Commands):
            return entry.session, entry.number + at, cast("list[str]", open_calls(entry)[at])[0]
        return GROUP_S_OWN, index, cast("list[str]", decode(process.machine.due_in(batch)[index]))[0]

    def answered(self, call: Call, answer: Answer) -> None:
        if is_held_up(answer.outcome):
            check(self._held_up[answer.session, answer.number], "only what was undone too often is not run", call=call)


def is_held_up(outcome: bytes) -> bool:
    """Does this say that a command was not run, since too much was undone?"""
    parts = cast("list[object]", decode(outcome))
    return parts[0] == Outcome.OVERLOADED and parts[1] in ("undos", "undos of all")
