"""Planted bugs of following the order from outside (rule 9). Each is found by what it is a bug of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from planting import Mutant, planted
from test_mutants_snapshots import SNAPPED

from broadcast._protocol import following as rules
from broadcast._protocol.following import Harvest, Ordered, Piece, Slots, Turns, Unheld
from broadcast._simulation import following
from broadcast._simulation.history import run

Plant = pytest.MonkeyPatch

ONE_ORDER = "who follows is delivered a gap-free piece of the one order"


def what_does_not_fit_is_passed_over(plant: Plant) -> None:
    """A piece that is full ends where its batch does."""

    def takes(self: Harvest, command: Ordered) -> bool:
        if not self.commands:
            self.commands.append(command)
        return True

    plant.setattr(Harvest, "takes", takes)


def what_the_log_does_not_hold_is_not_said_so(plant: Plant) -> None:
    plant.setattr(following, "first_held", lambda machine, log: machine.first_index)


def what_nobody_remembers_is_not_said_so(plant: Plant) -> None:
    plant.setattr(following, "first_held", lambda machine, log: log.start.index + 1)


def answered_before_there_is_anything(plant: Plant) -> None:
    def next_(self: Any, first: int, applied: int) -> Any:
        for who in list(self._due):
            return rules.Asked(who, *self._due.pop(who).popitem())
        return None

    plant.setattr(Turns, "next", next_)


def any_answer_is_taken(plant: Plant) -> None:
    """Also one to what was asked in the slot before."""

    def is_answered_by(self: Slots, answer: Piece | Unheld) -> bool:
        return answer.slot in self._asked  # pyright: ignore[reportPrivateUsage]

    plant.setattr(Slots, "is_answered_by", is_answered_by)


def told_of_another_asker(plant: Plant) -> None:
    """By a replica on whose word alone it depends."""
    honest = following.piece

    def piece(machine: Any, log: Any, index: int) -> tuple[tuple[Ordered, ...], int]:
        commands, then = honest(machine, log, index)
        return tuple(replace_sender(each, f"{machine.applied}") for each in commands), then

    plant.setattr(following, "piece", piece)


def replace_sender(command: Ordered, sender: str) -> Ordered:
    epoch, index, stamp, leader, time = command.epoch, command.index, command.stamp, command.leader, command.time
    return Ordered(epoch, index, stamp, leader, time, sender, command.call)


MUTANTS: Sequence[Mutant] = (
    Mutant(what_does_not_fit_is_passed_over, ONE_ORDER),
    Mutant(what_the_log_does_not_hold_is_not_said_so, ONE_ORDER, SNAPPED),
    Mutant(what_nobody_remembers_is_not_said_so, "what is asked for is still remembered", SNAPPED),
    Mutant(answered_before_there_is_anything, "a piece of the order from"),
    Mutant(any_answer_is_taken, ONE_ORDER, first=8),
    Mutant(told_of_another_asker, ONE_ORDER),
)


test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)


def test_who_follows_meets_what_it_has_to_bear() -> None:
    marks = sum((run(seed, options=SNAPPED).marks for seed in range(3)), Counter[str]())
    wanted = (
        "commands followed",
        "followers that went elsewhere",
        "followers that were too slow",
        "pieces that nobody waited for",
    )
    assert [mark for mark in wanted if not marks[mark]] == []
