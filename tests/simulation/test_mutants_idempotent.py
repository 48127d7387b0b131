"""Planted bugs of idempotent commands, whose answers are not kept (rule 22)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from planting import EXPIRING, HARSH, Mutant, planted
from test_mutants_snapshots import SNAPPED

from broadcast._calls import is_call, open_calls
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, SessionKept
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Session
from broadcast._protocol.submitter import Submitter
from broadcast._simulation.history import run
from broadcast._simulation.registers import Swaps

Plant = pytest.MonkeyPatch
Applying = Generator[None, None, list[bytes]]


def applied_again_as_if_numbers_did_not_matter(plant: Plant) -> None:
    """What is said to be idempotent is applied whenever it comes, be it late."""
    honest: Callable[..., Iterator[None]] = Machine._apply_commands

    def apply(self: Any, entry: Commands, batch: Batch, index: int, reports: list[Any]) -> Iterator[None]:
        session = self.sessions.get(entry.session)
        last = 0 if session is None else session.last
        if last >= entry.number:
            self._enter(entry, batch, session)
            for at, call in enumerate(open_calls(entry)[: last + 1 - entry.number]):
                if is_call(call) and self._is_idempotent(call):
                    self._apply_call(call, entry, index, index + at)
            self._applied_calls(index + entry.count - 1)
        yield from honest(self, entry, batch, index, reports)

    plant.setattr(Machine, "_apply_commands", apply)


def not_told_to_anybody(plant: Plant) -> None:
    """Not even to who asks for the first time."""
    honest: Callable[..., Applying] = Machine._apply_calls

    def apply(self: Any, entry: Commands, session: Session, batch: Batch, index: int, skip: int) -> Applying:
        told = yield from honest(self, entry, session, batch, index, skip)
        return session.answers[-len(told) :]

    plant.setattr(Machine, "_apply_calls", apply)


def kept_by_every_other_replica(plant: Plant) -> None:
    """Which table a replica has follows from which replica it is."""
    honest: Callable[[Any, object], bool] = Machine._is_idempotent
    numbers: dict[int, int] = {}
    counted = count()

    def is_idempotent(self: Any, call: object) -> bool:
        return honest(self, call) and numbers.setdefault(id(self), next(counted)) % 2 == 0

    plant.setattr(Machine, "_is_idempotent", is_idempotent)


def no_answer_is_kept(plant: Plant) -> None:
    """Whatever the class says."""
    plant.setattr(Machine, "_is_idempotent", lambda self, call: True)


def not_acknowledged_by_what_keeps_a_session(plant: Plant) -> None:
    """But by commands only."""
    honest: Callable[..., Any] = Machine._apply_entry

    def apply_entry(self: Any, entry: object, *more: Any) -> Any:
        return honest(self, SessionKept(entry.session, 0) if isinstance(entry, SessionKept) else entry, *more)

    plant.setattr(Machine, "_apply_entry", apply_entry)


def acknowledged_before_it_has_come(plant: Plant) -> None:
    """All that was asked for, by what keeps a session."""
    honest: Callable[..., SessionKept] = Submitter._keep

    def keep(self: Any, session: int) -> SessionKept:
        kept = honest(self, session)
        return SessionKept(session, self._runs[-1].last) if self._runs else kept

    plant.setattr(Submitter, "_keep", keep)


MUTANTS: Sequence[Mutant] = (
    Mutant(applied_again_as_if_numbers_did_not_matter, "each note once, in the log's order", first=3),
    Mutant(applied_again_as_if_numbers_did_not_matter, "the clients' history is linearizable", play=Swaps),
    Mutant(not_acknowledged_by_what_keeps_a_session, "what is acknowledged is forgotten, and no more", EXPIRING),
    Mutant(acknowledged_before_it_has_come, "no answer is forgotten that its owner has not had", EXPIRING),
    Mutant(not_told_to_anybody, "an answer is missing only for who asks again"),
    Mutant(kept_by_every_other_replica, "snapshots of one state are equal", SNAPPED),
    Mutant(no_answer_is_kept, "each call has its outcome"),
    Mutant(no_answer_is_kept, "a register always answers", first=2, play=Swaps),
)


test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)


def test_answers_that_were_not_kept_are_met() -> None:
    for play in (None, Swaps()):
        assert sum(run(seed, options=HARSH, play=play).marks["answers not kept"] for seed in range(3)) > 0
