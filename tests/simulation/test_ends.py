"""How faults end: just enough members work again for what the group decides by, and for what it is about to; and what
they have still under way ends first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from quiet_group import QUIET

from broadcast._protocol.regrouping import Regrouping
from broadcast._simulation.history import Stage
from broadcast._simulation.invariants import Violation
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND, SECOND
from broadcast._simulation.outcomes import Diaries
from membership._protocol.change import Change
from membership._protocol.messages import ChangeWish
from membership._protocol.quorum import Grid
from membership._protocol.view import Configuration

SEEDS = 6
ALL = Grid((("a", "b", "c"),))
"""All three, to elect and to commit."""
WISH = ChangeWish(Change(quorum=ALL))
ENDING = replace(QUIET, duration=SECOND, all_repaired=False, regroupings=1)
"""One of three is left as it is, or worse."""

QUICK = replace(QUIET, duration=SECOND, election_timeout=300 * MILLISECOND)


def led_by(nodes: dict[str, Node]) -> Node:
    return next(node for node in nodes.values() if node.replica.leadership is not None)


def wait_at_a_leader_that_is_stopped(nodes: dict[str, Node]) -> None:
    """It is taken when that one goes on."""
    leader = led_by(nodes)
    leader.pause()
    leader.want(WISH, lambda verdict: None)


def come_over_the_network(nodes: dict[str, Node]) -> None:
    """It is passed on to who leads."""
    follower = next(node for node in nodes.values() if node.replica.leadership is None)
    follower.want(WISH, lambda verdict: None)


Come = Callable[[dict[str, Node]], None]
comes = pytest.mark.parametrize("come", [wait_at_a_leader_that_is_stopped, come_over_the_network])


def play(seed: int, come: Come) -> bool:
    """Faults end just when something is wished for that takes all three. Has it come about?"""
    stage = Stage(seed, ENDING, Diaries())
    stage.world.schedule.at(SECOND, lambda: come(stage.nodes))
    stage.play()
    committed = stage.watch.register.committed
    return committed is not None and committed.quorum == ALL


def play_all(come: Come) -> list[bool]:
    return [play(seed, come) for seed in range(SEEDS)]


@comes
def test_who_is_needed_by_what_was_wished_for_just_before_works_again(come: Come) -> None:
    """Without it the others would wait for ever, and rightly."""
    assert any(play_all(come))


@comes
def test_a_change_that_comes_to_nothing_is_found_all_the_same(come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    honest: Callable[[Any, int], Configuration | None] = Regrouping.go_on

    def go_on(self: Any, now: int) -> Configuration | None:
        return None if self._configurations.latest.is_joint else honest(self, now)

    monkeypatch.setattr(Regrouping, "go_on", go_on)
    with pytest.raises(Violation, match="with a quorum repaired the group comes to an end"):
        play_all(come)


def slow_snapshot(stage: Stage) -> None:
    """The disk of who leads is slow just when it is to note that there is another snapshot: of no index."""
    leader: Any = led_by(stage.nodes)
    stage.disks[leader.name].slow = True
    leader._living.archive.take(leader.machine)


def test_a_write_that_a_fault_has_struck_is_waited_for() -> None:
    """Those behind it would take longer than what nothing strikes, and rightly."""
    for seed in range(SEEDS):
        stage = Stage(seed, QUICK, Diaries())
        stage.world.schedule.at(SECOND - 20 * MILLISECOND, partial(slow_snapshot, stage))
        stage.play()
        assert stage.marks["slow writes"] == 1
