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

from broadcast._protocol.entries import SessionAsked
from broadcast._protocol.output import Submitted
from broadcast._simulation.history import Stage
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._simulation.outcomes import Diaries
from membership._protocol import election
from membership._protocol.election import Election, Role

FLOOR = 100 * MILLISECOND
QUIET = Options(
    clients=0,
    loss=0,
    duplication=0,
    reordering=0,
    disk_latency=2 * MILLISECOND,
    stall=0,
    strike_interval=0,
    election_timeout=FLOOR,
)
NAMES = "abc"
LINKS = [(one, other) for one in NAMES for other in NAMES if one != other]
PATTERNS = [tuple(link for at, link in enumerate(LINKS) if number >> at & 1) for number in range(2 ** len(LINKS))]
SEED = 1
SPLIT_MAX = 3  # epochs that one election may cost: votes are split when all stand at the same moment

Pattern = tuple[tuple[str, str], ...]


class Trio:
    """A group of three, healthy."""

    def __init__(self) -> None:
        self._stage = Stage(SEED, QUIET, Diaries())
        self.idle(SECOND)

    def idle(self, span: int) -> None:
        self._stage.world.schedule.run(self._stage.world.now + span)

    def ask(self, times: int) -> None:
        """Want something in the log at every member, again and again."""
        for _ in range(times):
            for node in self._stage.nodes.values():
                node.give(Submitted((SessionAsked(self._stage.world.chance.randbytes(16), "asker"),)))
            self.idle(FLOOR)

    def cut(self, links: Pattern) -> None:
        self._stage.network.cut(links)

    def heal(self, links: Pattern) -> None:
        self._stage.network.heal(links)

    @property
    def epoch(self) -> int:
        return max(node.replica.epoch for node in self._stage.nodes.values())

    @property
    def elections(self) -> int:
        """How many have led so far."""
        return self._stage.world.marks["elections"]

    @property
    def commits(self) -> list[int]:
        return [node.replica.commit for node in self._stage.nodes.values()]

    @property
    def leader(self) -> str | None:
        """Who leads, if all agree about that."""
        leaders = [node.replica.leader for node in self._stage.nodes.values()]
        return leaders[0] if len(dict.fromkeys(leaders)) == 1 else None


def reaches_a_quorum(name: str, cut: Pattern) -> bool:
    """Does it reach another one both ways?"""
    return any((name, other) not in cut and (other, name) not in cut for other in NAMES if other != name)


def hold(trio: Trio, cut: Pattern) -> None:
    """Cut these for long, then heal them. Raises `AssertionError` if the group does not do as it should."""
    epoch, elections, leader = trio.epoch, trio.elections, trio.leader
    assert leader is not None
    trio.cut(cut)
    trio.idle(10 * FLOOR)  # a leader that lost its quorum steps down, and another is elected
    settled, committed = trio.epoch, max(trio.commits)
    if reaches_a_quorum(leader, cut):
        assert settled == epoch
    assert trio.elections <= elections + 1
    elections = trio.elections
    trio.ask(10)
    assert trio.epoch == settled, "nobody is deposed again"
    assert (max(trio.commits) >= committed + 10) == any(reaches_a_quorum(name, cut) for name in NAMES)
    assert (max(trio.commits) > committed) == any(reaches_a_quorum(name, cut) for name in NAMES)
    trio.heal(cut)
    trio.idle(5 * FLOOR)
    assert trio.elections <= elections + 1
    assert trio.epoch <= settled + SPLIT_MAX
    assert trio.leader is not None
    trio.ask(1)
    assert min(trio.commits) == max(trio.commits) > committed


def hold_all(patterns: Sequence[Pattern]) -> None:
    trio = Trio()
    for cut in patterns:
        hold(trio, cut)


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
    with pytest.raises(AssertionError):
        hold_all(PATTERNS)
