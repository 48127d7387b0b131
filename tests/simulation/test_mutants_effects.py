"""Planted bugs of effects: sent too early, too late, too often, or of a command that was not applied (rules 12, 21)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from planting import HARSH, WRONG_CLOCKS, Mutant, planted

from broadcast._calls import open_calls, runs_of
from broadcast._intentions import Telling
from broadcast._machine import Machine
from broadcast._protocol.effects import Alarm, Effect, Effects, FreeAt
from broadcast._protocol.entries import Commands
from broadcast._protocol.leader import Leadership
from broadcast._protocol.output import Now, Output
from broadcast._protocol.position import INTEGER_MAX
from broadcast._protocol.replica import Replica
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.almanac import CLERK
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.steps import Steps

Plant = pytest.MonkeyPatch

PLANNED = replace(HARSH, effects=True, snapshot_entries=200)
SNAPPED = replace(PLANNED, snapshot_entries=20, crashes=8)
CLOCKS = replace(WRONG_CLOCKS, effects=True)
QUICK = replace(
    PLANNED,
    latency=MILLISECOND,
    disk_latency=MILLISECOND,
    election_timeout=300 * MILLISECOND,
    duration=1000 * MILLISECOND,
)


def told_before_it_is_committed(plant: Plant) -> None:
    """A shell that tells what its leader has just sequenced."""
    honest: Any = Steps._perform  # pyright: ignore[reportPrivateUsage]
    note = CLERK.interface.methods["note"]

    def perform(self: Any, output: Output) -> None:
        for batch in [batch for persist in output.persist for batch in persist.batches]:
            for entry, first in runs_of(batch) if self._life.replica.speaks_for(batch.epoch) else ():
                calls = open_calls(entry) if isinstance(entry, Commands) else ()
                for index, call in enumerate(calls, first):
                    parts = cast("list[Any]", call or [""])
                    if parts[0] == "plan":
                        packed = note.pack((parts[1], parts[2]), {})
                        self._watch.telling(self._process, Telling(batch.epoch, index, CLERK, note, packed))
        honest(self, output)

    plant.setattr(Steps, "_perform", perform)


def told_by_every_replica(plant: Plant) -> None:
    plant.setattr(Replica, "speaks_for", lambda self, epoch: True)


def told_by_a_later_leader(plant: Plant) -> None:
    plant.setattr(Replica, "speaks_for", lambda self, epoch: self.leadership is not None)


def told_by_an_undo(plant: Plant) -> None:
    """What is run again tells again."""
    honest: Any = Machine._run  # pyright: ignore[reportPrivateUsage]

    def again(self: Any, actor: Any, call: object, index: int) -> Any:
        came = honest(self, actor, call, index)
        if self._context.intentions is not None and self._context._room is None:
            self._do(self._context.intentions, index)
        return came

    plant.setattr(Machine, "_run", again)


def run_again_in_the_next_epoch(plant: Plant) -> None:
    """A leader that says anew what the one before it has said, and a table that has it still."""
    take: Any = Effects.take
    begin_view: Any = Machine._begin_view  # pyright: ignore[reportPrivateUsage]

    def taken(self: Any, time: int, free_at: FreeAt) -> Effect | None:
        effect: Effect | None = take(self, time, free_at)
        self.last = effect[2] if effect else getattr(self, "last", None)
        return effect

    def begun(self: Any, epoch: int, index: int) -> None:
        begin_view(self, epoch, index)
        if getattr(self.effects, "last", None) is not None:
            self.effects.add(self.time, self.effects.last)

    plant.setattr(Effects, "take", taken)
    plant.setattr(Machine, "_begin_view", begun)


def left_out_of_the_snapshot(plant: Plant) -> None:
    plant.setattr("broadcast._capture.Effects", lambda waiting, *others: Effects((), *others))


def number_left_out_of_the_snapshot(plant: Plant) -> None:
    plant.setattr("broadcast._capture.Effects", lambda waiting, number, *others: Effects(waiting, 0, *others))


def due_by_the_local_clock(plant: Plant) -> None:
    def sequence_due(self: Any, now: Now) -> None:
        if self.alarm.wind(now.monotonic, now.wall) and not self._own.writes.busy:
            self._seal([self.alarm.say(self._own.log.last.index + 1)], now)

    take = Effects.take
    plant.setattr(Leadership, "_sequence_due", sequence_due)
    plant.setattr(Effects, "take", lambda self, time, free_at: take(self, INTEGER_MAX, free_at))


def kept_of_a_refused_command(plant: Plant) -> None:
    honest: Any = Machine._apply_call  # pyright: ignore[reportPrivateUsage]

    def apply_call(self: Any, call: object, entry: Any, first: int, index: int) -> Any:
        came = honest(self, call, entry, first, index)
        if came[0] is Outcome.REFUSED and self._context.intentions is not None:
            self._do(self._context.intentions, index)
        return came

    plant.setattr(Machine, "_apply_call", apply_call)


def kept_of_a_crashed_command(plant: Plant) -> None:
    honest: Any = Machine._crashed  # pyright: ignore[reportPrivateUsage]

    def crashed(self: Any, error: BaseException, call: object, entry: Any, first: int, index: int) -> Any:
        intentions = self._context.intentions
        came = honest(self, error, call, entry, first, index)
        if intentions is not None:
            self._do(intentions, index)
        return came

    plant.setattr(Machine, "_crashed", crashed)


def nobody_wakes_the_leader(plant: Plant) -> None:
    """What is due waits for whatever comes next: a heartbeat."""
    honest = Alarm.wind

    def wind(self: Alarm, now: int, time: int) -> bool:
        is_due = honest(self, now, time)
        self.rings_at = None if self.rings_at is None else INTEGER_MAX
        return is_due

    plant.setattr(Alarm, "wind", wind)


def said_before_it_is_due(plant: Plant) -> None:
    """The leader says that all is due that waits: it finds nothing, and says it again and again."""
    plant.setattr(Alarm, "wind", lambda self, now, time: False)


def told_twice(plant: Plant) -> None:
    honest: Any = Machine.apply

    def apply(self: Any, batch: Any) -> Any:
        reports = honest(self, batch)
        self.tells = [*self.tells, *self.tells]
        return reports

    plant.setattr(Machine, "apply", apply)


def told_in_another_s_name(plant: Plant) -> None:
    honest: Any = Machine.apply
    note = CLERK.interface.methods["note"]

    def apply(self: Any, batch: Any) -> Any:
        reports = honest(self, batch)
        packed = note.pack(("nobody", 1), {})
        self.tells = [Telling(each.epoch, each.index, CLERK, note, packed) for each in self.tells]
        return reports

    plant.setattr(Machine, "apply", apply)


ONCE = "what is due was left by a command that was applied, and runs once"
MUTANTS = (
    Mutant(told_before_it_is_committed, "what is told was committed", PLANNED),
    Mutant(told_by_every_replica, "only the leader of its own epoch tells", PLANNED),
    Mutant(told_by_a_later_leader, "only the leader of its own epoch tells", PLANNED),
    Mutant(told_by_an_undo, ONCE, PLANNED),
    Mutant(told_twice, "it is told at most once", PLANNED),
    Mutant(told_in_another_s_name, "what is told was applied", PLANNED),
    Mutant(run_again_in_the_next_epoch, ONCE, PLANNED),
    Mutant(left_out_of_the_snapshot, "each that was due once, in the log's order", SNAPPED, first=28),
    Mutant(number_left_out_of_the_snapshot, "what was left waits, or was due once", SNAPPED),
    Mutant(due_by_the_local_clock, "nothing runs before it is due", CLOCKS),
    Mutant(kept_of_a_refused_command, ONCE, PLANNED, first=8),
    Mutant(kept_of_a_crashed_command, ONCE, PLANNED),
    Mutant(nobody_wakes_the_leader, "what is due runs in an idle group too", QUICK),
    Mutant(said_before_it_is_due, "with a quorum repaired the group comes to an end", PLANNED),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)
