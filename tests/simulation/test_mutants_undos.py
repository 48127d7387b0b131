"""Planted bugs of what a session may have undone (rule 24)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from planting import HARSH, Mutant, planted
from test_mutants_snapshots import SNAPPED

from broadcast._machine import Machine
from broadcast._protocol.crashes import Undos
from broadcast._protocol.effects import Effects
from broadcast._protocol.sessions import Session, Sessions
from broadcast._simulation.history import run
from broadcast._simulation.options import MILLISECOND

Plant = pytest.MonkeyPatch

HELD_UP = replace(HARSH, undos_max=1, idle=20 * MILLISECOND)
PLANNED = replace(HELD_UP, effects=True, undos_max=2)
KEPT = replace(SNAPPED, undos_max=1, idle=20 * MILLISECOND)
PLANNED_AND_KEPT = replace(KEPT, effects=True)


def crashes_cost_nothing(plant: Plant) -> None:
    plant.setattr(Undos, "free_at", lambda self, tag, limits, times=1: 0)


def many_have_as_much_as_they_are(plant: Plant) -> None:
    """There is no budget of all."""
    honest: Callable[[Undos, str, Any], int] = Undos.free_at

    def free_at(self: Undos, tag: str, limits: Any, times: int = 1) -> int:
        return honest(self, tag, limits) if times == 1 else 0

    plant.setattr(Undos, "free_at", free_at)


def all_have_no_more_than_one(plant: Plant) -> None:
    """So that one session keeps others from being run."""
    honest: Callable[[Undos, str, Any], int] = Undos.free_at

    def free_at(self: Undos, tag: str, limits: Any, times: int = 1) -> int:
        return honest(self, tag, limits)

    plant.setattr(Undos, "free_at", free_at)


def that_of_all_left_out_of_a_snapshot(plant: Plant) -> None:
    honest = Machine.restored

    def restored(cls: type[Machine[Any]], *given: Any, **more: Any) -> Machine[Any]:
        machine = honest(*given, **more)
        machine._undos = Undos()  # pyright: ignore[reportPrivateUsage]
        return machine

    plant.setattr(Machine, "restored", classmethod(restored))


def all_pay_for_one(plant: Plant) -> None:
    """There is one budget, and not one for each session."""
    shared: dict[int, Undos] = {}

    def pay(self: Any, call: list[str]) -> None:
        undos = shared.setdefault(id(self), Undos())
        for each in (undos, self._undos):
            each.undone(call[0], self.time, self.configuration.limits)
        for _, session in self.sessions:
            session.undos = undos

    plant.setattr(Machine, "_pay", pay)


def what_is_due_pays_twice(plant: Plant) -> None:
    honest: Callable[[Any, object], None] = Machine._pay

    def pay(self: Any, call: object) -> None:
        honest(self, call)
        if isinstance(self._payer, Effects):
            honest(self, call)

    plant.setattr(Machine, "_pay", pay)


def held_up_and_lost(plant: Plant) -> None:
    plant.setattr(Effects, "hold", lambda self, tag, effect: None)


def held_up_and_run_twice(plant: Plant) -> None:
    """Once it is free, and where it stood as well."""
    honest: Callable[[Effects, str, Any], None] = Effects.hold

    def hold(self: Effects, tag: str, effect: Any) -> None:
        honest(self, tag, effect)
        honest(self, tag, effect)

    plant.setattr(Effects, "hold", hold)


def held_up_for_ever(plant: Plant) -> None:
    plant.setattr(Effects, "_take_free", lambda self, time, free_at: None)


def held_up_and_left_out_of_a_snapshot(plant: Plant) -> None:
    plant.setattr("broadcast._capture.Effects", lambda waiting, number, undos, held_up: Effects(waiting, number, undos))


def healthy_methods_are_held_up(plant: Plant) -> None:
    """Whatever a session sends."""

    def free_at(self: Undos, tag: str, limits: Any, times: int = 1) -> int:
        return max(0, self.paid_at - (times * limits.undos_max - 1) * limits.undo_interval)

    plant.setattr(Undos, "free_at", free_at)


def left_out_of_a_snapshot(plant: Plant) -> None:
    honest = Sessions.restore

    def restore(self: Sessions, sessions: list[tuple[int, Session]]) -> None:
        honest(self, sessions)
        for _, session in self:
            session.undos = None

    plant.setattr(Sessions, "restore", restore)


def counted_by_each_replica_s_own_time(plant: Plant) -> None:
    """By how much it has applied since it started, and not by the log."""
    honest: Callable[[Any, object], bytes | None] = Machine._held_up

    def held_up(self: Any, call: object) -> bytes | None:
        time = self.time
        self.time += self._markers.count % 2 * 10**7
        try:
            return honest(self, call)
        finally:
            self.time = time

    plant.setattr(Machine, "_held_up", held_up)


MUTANTS: Sequence[Mutant] = (
    Mutant(crashes_cost_nothing, "what had to be undone too often is not run", HELD_UP),
    Mutant(many_have_as_much_as_they_are, "what had to be undone too often is not run", HELD_UP, first=28),
    Mutant(all_have_no_more_than_one, "only what was undone too often is not run", HELD_UP, first=3),
    Mutant(that_of_all_left_out_of_a_snapshot, "equal", KEPT, first=3),
    Mutant(all_pay_for_one, "only what was undone too often is not run", HELD_UP, first=3),
    Mutant(what_is_due_pays_twice, "what is due is run, unless it was undone too often", PLANNED),
    Mutant(held_up_and_lost, "what was left waits, or was due once", PLANNED),
    Mutant(held_up_and_run_twice, "what was left waits, or was due once", PLANNED),
    Mutant(held_up_and_left_out_of_a_snapshot, "what was left waits, or was due once", PLANNED_AND_KEPT),
    Mutant(held_up_for_ever, "what is due is run in its turn", PLANNED),
    Mutant(healthy_methods_are_held_up, "only what was undone too often is not run", HELD_UP),
    Mutant(left_out_of_a_snapshot, "equal", KEPT, first=3),
    Mutant(counted_by_each_replica_s_own_time, "what had to be undone too often is not run", HELD_UP),
)


test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)


def test_crashes_that_are_held_up_are_met() -> None:
    assert sum(run(seed, options=HELD_UP).marks["crashes held up"] for seed in range(3)) > 0


def test_effects_that_are_held_up_are_met() -> None:
    assert sum(run(seed, options=PLANNED).marks["effects held up"] for seed in range(3)) > 0
