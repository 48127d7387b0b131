"""A process dies between any two things that it does: it starts again on what it wrote; nothing is lost (T13, T29)."""

from __future__ import annotations

import pytest
from quiet_group import FLOOR, QuietGroup

THINGS = 30  # that a leader does for two entries


@pytest.mark.parametrize("leader", [True, False])
def test_it_may_die_at_any_of_the_things_it_does(leader: bool) -> None:
    """Every invariant is checked meanwhile."""
    group = QuietGroup()
    died = 0
    for count in range(THINGS):
        name = next(name for name in group.nodes if (name == group.leader) is leader)
        node = group.nodes[name]
        node.ambush(count)
        group.ask(2, pause=FLOOR // 10)
        group.idle(4 * FLOOR)
        died += not node.alive
        committed = max(group.commits)
        if node.alive:
            node.spare()
        else:
            node.start(group.network)
        group.idle(2 * FLOOR)
        group.ask(1)
        assert group.leader is not None
        assert min(group.commits) == max(group.commits) > committed
    assert died == THINGS
