"""Every set of cut links of three members, held for long: who can lead does, and is left in peace (T18; rules 2, 3).

Each direction of each link is cut or not: 64 patterns, all from a healthy group. Where some member reaches a quorum
both ways, there is a leader soon, commits go on, and no election comes after that; a leader that keeps its quorum is
not deposed at all. Where none does, nothing is committed and no epoch is raised again and again. Once healed, the group
levels with one election at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from quiet_group import FLOOR, NAMES, QuietGroup

from broadcast._simulation.invariants import Violation
from membership._protocol import election
from membership._protocol.election import Election, Role

LINKS = [(one, other) for one in NAMES for other in NAMES if one != other]
PATTERNS = [tuple(link for at, link in enumerate(LINKS) if number >> at & 1) for number in range(2 ** len(LINKS))]
SPLIT_MAX = 3  # epochs that one election may cost: votes are split when all stand at the same moment

Pattern = tuple[tuple[str, str], ...]


def reaches_a_quorum(name: str, cut: Pattern) -> bool:
    """Does it reach another one both ways?"""
    return any((name, other) not in cut and (other, name) not in cut for other in NAMES if other != name)


def hold(group: QuietGroup, cut: Pattern) -> None:
    """Cut these for long, then heal them. Raises `AssertionError` if the group does not do as it should."""
    epoch, elections, leader = group.epoch, group.elections, group.leader
    assert leader is not None
    group.network.cut(cut)
    group.idle(10 * FLOOR)  # a leader that lost its quorum steps down, and another is elected
    settled, committed = group.epoch, max(group.commits)
    if reaches_a_quorum(leader, cut):
        assert settled == epoch
    assert group.elections <= elections + 1
    elections = group.elections
    group.ask(10)
    assert group.epoch == settled, "nobody is deposed again"
    assert (max(group.commits) >= committed + 10) == any(reaches_a_quorum(name, cut) for name in NAMES)
    assert (max(group.commits) > committed) == any(reaches_a_quorum(name, cut) for name in NAMES)
    group.network.heal(cut)
    group.idle(5 * FLOOR)
    assert group.elections <= elections + 1
    assert group.epoch <= settled + SPLIT_MAX
    assert group.leader is not None
    group.ask(1)
    assert min(group.commits) == max(group.commits) > committed


def hold_all(patterns: Sequence[Pattern]) -> None:
    group = QuietGroup()
    for cut in patterns:
        hold(group, cut)


@pytest.mark.parametrize("first", range(0, len(PATTERNS), 16))
def test_a_partition_neither_stops_nor_deposes_who_can_lead(first: int) -> None:
    hold_all(PATTERNS[first : first + 16])


# -- without the rules it is not so --------------------------------------------------------------------------------


def no_stickiness(patch: pytest.MonkeyPatch) -> None:
    """Rule 2: who hears its leader grants nobody."""
    patch.setattr(Election, "_sticks", lambda self, now: False)


def no_asking_first(patch: pytest.MonkeyPatch) -> None:
    """Rule 2: nobody raises an epoch unless a quorum would grant."""
    canvass: Callable[[Any, int, Any], None] = Election._canvass
    campaign: Callable[[Any, int], None] = election._VICTORY[Role.CANVASSER]

    def at_once(self: Any, now: int, standing: Any) -> None:
        canvass(self, now, standing)
        self.sends.clear()
        campaign(self, now)

    patch.setattr(Election, "_canvass", at_once)


def no_stepping_down(patch: pytest.MonkeyPatch) -> None:
    """Rule 3: a leader that no commit quorum answers steps down."""
    patch.setattr(Election, "in_touch", lambda self, now: True)


@pytest.mark.parametrize("plant", [no_stickiness, no_asking_first, no_stepping_down])
def test_it_takes_the_rules(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, Violation)):
        hold_all(PATTERNS)
