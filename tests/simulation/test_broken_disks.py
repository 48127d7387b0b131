"""One disk is slow, full, fails in a sync, or is damaged: the group goes on, and loses nothing (T21, T32, T33)."""

from __future__ import annotations

from typing import Any

import pytest
from quiet_group import FLOOR, QuietGroup

from broadcast._protocol.writes import Writes
from broadcast._simulation.disk import Disk
from broadcast._simulation.history import run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND, SECOND, Options

MOVED = 5 * FLOOR  # within this another leads
SLOW = 30 * FLOOR


def struck(group: QuietGroup, *, leader: bool) -> tuple[Node, Disk]:
    """The leader or another one, whose disk is to be struck."""
    name = next(name for name in group.nodes if (name == group.leader) is leader)
    return group.nodes[name], group.disks[name]


def settle(group: QuietGroup) -> None:
    """All works again: everybody is where the others are."""
    group.idle(10 * FLOOR)
    group.ask(1)
    assert group.leader is not None
    assert min(group.commits) == max(group.commits)


def commit_time(group: QuietGroup) -> int:
    """How long it takes the leader to commit something."""
    began, before = group.now, max(group.commits)
    group.ask(1, pause=0)
    while max(group.commits) == before:
        assert group.now < began + 10 * FLOOR
        group.idle(MILLISECOND)
    return group.now - began


# -- slow --------------------------------------------------------------------------------------------------------------


def lead_on_a_slow_disk() -> None:
    """Raises `AssertionError` if the group does not do as it should."""
    group = QuietGroup()
    node, disk = struck(group, leader=True)
    elections, slow_since = group.elections, group.now
    disk.slow = True
    while group.led_by in ([node.name], []):
        assert group.now < slow_since + MOVED, "who cannot write does not lead on"
        group.ask(1, pause=FLOOR // 4)
    committed = max(group.commits)
    while group.now < slow_since + SLOW:
        group.ask(1)
        assert group.led_by != [node.name], "nor does it come back"
    assert group.elections <= elections + 2
    assert max(group.commits) > committed + 20
    disk.repair()
    group.idle(SLOW)
    settle(group)


def test_leadership_moves_from_a_slow_disk_and_does_not_return() -> None:
    lead_on_a_slow_disk()


def test_without_the_rule_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 25: who cannot write for an election timeout steps down, and does not stand."""
    monkeypatch.setattr(Writes, "answers", lambda self, now, patience: True)
    with pytest.raises((AssertionError, Violation)):
        lead_on_a_slow_disk()


def test_a_slow_follower_costs_nothing() -> None:
    group = QuietGroup()
    usual = max(commit_time(group) for _ in range(20))
    epoch = group.epoch
    _, disk = struck(group, leader=False)
    disk.slow = True
    for _ in range(20):
        assert commit_time(group) <= 2 * usual
    assert group.epoch == epoch
    disk.repair()
    group.idle(SLOW)
    settle(group)


# -- full --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leader", [True, False])
def test_a_full_disk_heals_without_a_restart(leader: bool) -> None:
    group = QuietGroup()
    node, disk = struck(group, leader=leader)
    life = node.life
    disk.full = True
    group.ask(20)
    durable, committed = node.replica.durable, max(group.commits)
    group.ask(10)
    assert node.replica.durable == durable
    assert max(group.commits) > committed
    assert node.name not in group.led_by
    disk.repair()
    settle(group)
    assert node.life == life
    assert node.replica.durable > committed


# -- a sync fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leader", [True, False])
def test_a_failed_sync_stops_the_replica_until_it_is_started(leader: bool) -> None:
    group = QuietGroup()
    node, disk = struck(group, leader=leader)
    disk.fail_next()
    group.ask(1)
    assert not node.alive
    group.idle(MOVED)
    assert group.leader not in (None, node.name)
    committed = max(group.commits)
    group.ask(5)
    assert max(group.commits) >= committed + 5
    node.start(group.network)
    settle(group)


FAILING = Options(
    clients=3,
    duration=3 * SECOND,
    idle=40 * MILLISECOND,
    disk_latency=20 * MILLISECOND,
    strike_interval=150 * MILLISECOND,
    election_timeout=100 * MILLISECOND,
    failed_syncs=6,
)


def tried_again(self: Any) -> None:
    """The second sync succeeds, and says nothing of what the first one lost."""
    last, self._writing = self._writing[-1], []
    if self._asked:
        self._begin()
    last.done(last.persist.number)


def play_failing() -> None:
    for seed in range(100):
        run(seed, options=FAILING)


def test_a_failed_sync_that_is_tried_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "_fail", tried_again)
    with pytest.raises(Violation):
        play_failing()


# -- damaged -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leader", [True, False])
def test_damage_is_found_when_the_process_starts_and_the_group_goes_on(leader: bool) -> None:
    group = QuietGroup()
    node, disk = struck(group, leader=leader)
    group.ask(5)
    disk.damage()
    group.ask(5)
    assert node.alive, "a process that runs does not notice"
    node.crash()
    node.start(group.network)
    assert not node.alive, "it must neither vote nor answer"
    group.idle(MOVED)
    committed = max(group.commits)
    group.ask(5)
    assert max(group.commits) >= committed + 5
    settle(group)


def test_an_old_copy_is_not_used() -> None:
    group = QuietGroup()
    node, disk = struck(group, leader=False)
    disk.back_up()
    group.ask(5)
    node.crash()
    disk.restore_copy()
    node.start(group.network)
    assert not node.alive
    disk.bring_back()
    node.start(group.network)
    settle(group)
