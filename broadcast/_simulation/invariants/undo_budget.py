"""A session has so much undone at once, and so much in each while, and all together have twice that at once; nobody is
held up for anything else (rule 24).

Counted anew from what the log came to: budgets of log time, which fill as log time gets on, and of which each undo
takes its share.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import cast

from actors._protocol.codec import decode
from broadcast._calls import open_calls
from broadcast._protocol.entries import Commands, Entry, decode_entries, span
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

    def applied(self, process: Process, batch: Batch) -> None:
        if batch.first <= self._applied:
            return
        self._applied = batch.last
        index = batch.first
        for entry in decode_entries(batch.entries):
            outcomes = [process.machine.came_to(at) for at in range(index, index + span(entry))]
            for at, outcome in enumerate(outcomes):
                if outcome in (Outcome.CRASHED, Outcome.OVERLOADED):
                    self._undone(process, batch, entry, at, index + at, outcome)
            index += span(entry)

    def _undone(self, process: Process, batch: Batch, entry: Entry, at: int, index: int, outcome: Outcome) -> None:
        limits = process.machine.configuration.limits
        session, number, tag = self._command(process, entry, at, index, batch)
        full = limits.undos_max * limits.undo_interval
        budgets = (
            self._budgets.setdefault(session, _Budget(full, full, batch.time)),
            self._budgets.setdefault(OF_ALL, _Budget(2 * full, 2 * full, batch.time)),
        )
        for budget in budgets:
            budget.fill(batch.time)
        held_up = any(budget.holds_up(tag, limits) for budget in budgets)
        if outcome is Outcome.CRASHED:
            check(not held_up, "what had to be undone too often is not run", session=session, tag=tag, index=index)
            for budget in budgets:
                budget.pay(tag, limits)
        elif session == GROUP_S_OWN:
            check(held_up, "what is due is run, unless it was undone too often", tag=tag, index=index)
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
