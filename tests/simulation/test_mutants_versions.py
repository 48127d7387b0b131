"""Planted bugs of upgrades: where a replica goes by its own class, and not by the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct
from planting import Mutant, planted
from test_mutants_snapshots import SNAPPED

from actors._interface import Interface
from actors._protocol.errors import InvalidMessage
from broadcast._calls import open_call
from broadcast._machine import Machine
from broadcast._moment import Moment
from broadcast._outcomes import INVALID
from broadcast._past import Past
from broadcast._protocol.entries import Submittable
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Outcome
from broadcast._protocol.versions import Versions
from broadcast._simulation import applying, reception
from broadcast._simulation.history import run
from broadcast._simulation.options import SECOND
from broadcast._simulation.upgrades import Upgrades
from membership._protocol.configurations import Agreed, Configurations
from membership._protocol.view import Configuration

Plant = pytest.MonkeyPatch

UPGRADING = replace(SNAPPED, upgrades=8)
GROWING = replace(UPGRADING, effects=True)
OFTEN: dict[str, Any] = {"upgrades": 20, "cuts": 1, "crashes": 1, "duration": 6 * SECOND}
REGROUPED = replace(UPGRADING, spares=4, regroupings=24)


def version_of_the_local_class(plant: Plant) -> None:
    honest = Machine._moment

    def moment(self: Any, owner: str, batch: Batch) -> Moment:
        return replace_struct(honest(self, owner, batch), version=self.interface.version)

    plant.setattr(Machine, "_moment", moment)


def newest_version_in_replays(plant: Plant) -> None:
    def version(self: Any, index: int) -> int:
        return int(self._versions[-1][1])

    plant.setattr(Past, "version", version)


def bare(agreed: Agreed) -> Agreed:
    """As it was before there were versions."""
    return Agreed(agreed.configuration, agreed.reachable, agreed.set_at, agreed.set_in, agreed.former)


def left_out_of_snapshots(plant: Plant) -> None:
    honest = Machine.restored

    def restored(*args: Any, **kwargs: Any) -> Any:
        machine = honest(*args, **kwargs)
        machine.agreed = bare(machine.agreed)
        return machine

    plant.setattr(Machine, "restored", restored)


def history_left_out_of_snapshots(plant: Plant) -> None:
    honest = Machine.restored

    def restored(*args: Any, **kwargs: Any) -> Any:
        machine: Any = honest(*args, **kwargs)
        machine._past._versions = [(0, 1)]
        return machine

    plant.setattr(Machine, "restored", restored)


def left_out_of_what_the_core_keeps(plant: Plant) -> None:
    honest = Configurations.install

    def install(self: Any, agreed: Agreed, index: int, *, keep: bool) -> None:
        honest(self, bare(agreed), index, keep=keep)

    plant.setattr(Configurations, "install", install)


def invalid_is_what_the_class_does_not_take(plant: Plant) -> None:
    """As it was before: and what is not in force is let in."""
    honest = Machine._run

    def run(self: Any, actor: Any, call: object, index: int) -> tuple[Outcome, bytes]:
        try:
            open_call(self.interface, call, "command")
        except InvalidMessage:
            return Outcome.INVALID, INVALID
        return honest(self, actor, call, index)

    plant.setattr(Machine, "_run", run)
    not_sifted(plant)
    at_once(plant)


def not_sifted(plant: Plant) -> None:
    def sifted(entry: Submittable, machine: Machine[Any]) -> Submittable:
        return entry

    plant.setattr(reception, "sifted", sifted)


def at_once(plant: Plant) -> None:
    """A command is run before the version that it came with is in force."""
    for kind in Upgrades.later:
        plant.setattr(Interface.of(kind).methods["underline"], "since", 1)


def put_in_force_by_a_single_one(plant: Plant) -> None:
    def raised(self: Any, configuration: Configuration, in_force: int) -> int | None:
        known = max(self.of(name) for name in configuration.voter_names)
        return known if known > in_force else None

    plant.setattr(Versions, "raised", raised)


def put_in_force_by_those_who_have_told(plant: Plant) -> None:
    """Those that have told, that is."""

    def raised(self: Any, configuration: Configuration, in_force: int) -> int | None:
        known = min(self.of(name) for name in configuration.voter_names if name in self._known)
        return known if known > in_force else None

    plant.setattr(Versions, "raised", raised)


def applied_by_a_class_that_is_too_old(plant: Plant) -> None:
    def unchecked(*args: object) -> None:
        pass

    plant.setattr("broadcast._machine.check_version", unchecked)
    plant.setattr(applying, "check_version", unchecked)


def due_by_the_version_of_the_local_class(plant: Plant) -> None:
    honest: Any = Machine._moment  # pyright: ignore[reportPrivateUsage]

    def moment(self: Any, owner: str, batch: Batch) -> Moment:
        found: Moment = honest(self, owner, batch)
        return replace_struct(found, version=self.interface.version) if owner == self.group else found

    plant.setattr(Machine, "_moment", moment)


MUTANTS = (
    Mutant(version_of_the_local_class, "states are equal where snapshots are taken", UPGRADING),
    Mutant(newest_version_in_replays, "states are equal where snapshots are taken", UPGRADING, first=30),
    Mutant(left_out_of_snapshots, "the version in force is the log's", UPGRADING),
    Mutant(history_left_out_of_snapshots, "states are equal where snapshots are taken", UPGRADING, first=4),
    Mutant(left_out_of_what_the_core_keeps, "the version in force grows", UPGRADING),
    Mutant(invalid_is_what_the_class_does_not_take, "states are equal where snapshots are taken", UPGRADING),
    Mutant(not_sifted, "the replica has stopped before index", UPGRADING),
    Mutant(put_in_force_by_a_single_one, "a version is put in force once all voters have run it", UPGRADING),
    Mutant(
        put_in_force_by_those_who_have_told, "a version is put in force once all voters have run it", REGROUPED, first=5
    ),
    Mutant(due_by_the_version_of_the_local_class, "states are equal where snapshots are taken", GROWING),
    Mutant(applied_by_a_class_that_is_too_old, "nothing is applied by a class that is too old", UPGRADING),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS, histories=3)


def test_histories_upgrade_and_go_back_and_stop_what_is_too_old() -> None:
    marks = [run(seed, options=replace(UPGRADING, **OFTEN)).marks for seed in range(6)]
    assert sum(each["versions put in force"] for each in marks) >= 6
    assert any(each["replicas stopped by their class"] for each in marks)


def test_histories_have_effects_and_upgrades_together() -> None:
    """What was left before a version is due after it, and what came with one falls due."""
    marks = [run(seed, options=replace(GROWING, **OFTEN)).marks for seed in range(6)]
    assert all(each["effects"] for each in marks)
    assert sum(each["versions put in force"] for each in marks) >= 6
    assert sum(each["effects that came with a version"] for each in marks) >= 6
