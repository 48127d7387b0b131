"""Voters that differ, and of which no majority is equal, sequence nothing, however often they start (rule 28)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from quiet_group import FLOOR, NAMES, QUIET, QuietGroup

from broadcast._protocol.digests import Digests
from broadcast._protocol.participant import Participant
from broadcast._protocol.snapshots import NOTHING, Compared
from broadcast._simulation import watch
from broadcast._simulation.invariants import INVARIANTS, Violation, check
from broadcast._simulation.invariants.equal_states import EqualStates
from broadcast._simulation.invariants.snapshots import Snapshots
from broadcast._simulation.invariants.wiped_disk import WipedDisk

SEEDS = 12
ROUNDS = 12  # more than the places that are remembered
EVERY = 10  # entries between two snapshots
SNAPPED = replace(QUIET, snapshot_entries=EVERY)
Plant = Callable[[pytest.MonkeyPatch], None]


def divided(seed: int) -> QuietGroup:
    """A group of three with three states, which has noticed."""
    group = QuietGroup(seed, SNAPPED)
    for name, node in group.nodes.items():
        node.machine.actor.flipped = name
    group.ask(2 * EVERY)
    check(all(node.replica.divided for node in group.alive), "who differs is found")
    return group


def play(seed: int) -> None:
    """Processes die and come back, with others or alone, in any order; all the time somebody wants something."""
    group = divided(seed)
    chance = group.chance
    sequenced = what_stands(group)
    for _ in range(ROUNDS):
        for name in chance.sample(NAMES, chance.randrange(1, 4)):
            if group.nodes[name].alive:
                group.nodes[name].crash()
        group.ask(chance.randrange(3))
        for name in chance.sample(NAMES, 3):
            if not group.nodes[name].alive:
                group.nodes[name].start(group.network)
                group.idle(chance.choice((0, FLOOR)))
        group.ask(5)
        check(what_stands(group) <= sequenced, "while no majority agrees nothing is sequenced")


def play_all() -> None:
    for seed in range(SEEDS):
        play(seed)


def what_stands(group: QuietGroup) -> int:
    """How many sessions were opened: nothing else is asked for here."""
    return max(len(node.machine.sessions) for node in group.alive)


@pytest.fixture(autouse=True)
def _states_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that is claimed elsewhere this does not hold here: that they are equal, and nobody has to be told."""
    others = tuple(each for each in INVARIANTS if each not in (Snapshots, EqualStates, WipedDisk))
    monkeypatch.setattr(watch, "INVARIANTS", others)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_group_that_is_divided_stays_so_over_restarts(seed: int) -> None:
    play(seed)


def forgotten_at_a_restart(plant: pytest.MonkeyPatch) -> None:
    honest = Digests.__init__

    def init(self: Digests, name: str, compared: Compared) -> None:
        honest(self, name, NOTHING)

    plant.setattr(Digests, "__init__", init)


def only_the_places_are_kept(plant: pytest.MonkeyPatch) -> None:
    """And nobody is told of them but when they are new."""
    honest = Digests.__init__

    def init(self: Digests, name: str, compared: Compared) -> None:
        honest(self, name, Compared(compared.places))

    plant.setattr(Digests, "__init__", init)
    plant.setattr(Participant, "_compare_with", lambda self, name: None)


@pytest.mark.parametrize("plant", [forgotten_at_a_restart, only_the_places_are_kept])
def test_what_forgets_it_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match="nothing is sequenced"):
        play_all()
