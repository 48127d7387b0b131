"""kill -9 under clients that came by any member: no increment is lost, none is made twice, and there is one order.

RUNS=200 in the environment makes it 200 runs; `make kill-soak` does that, and shows how far it has come.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from tallying import Kill, Load, assert_counted_once_while_killing, started
from wanted import count_wanted

from broadcast.cli._process import open_replicas

RUNS = count_wanted("RUNS", 10)
RUN_SECONDS_MAX = 120  # it takes two or three


class ScatteredLoad(Load):
    """Clients that are told of one member each, whichever that is, or of all."""

    def __init__(self, members: Mapping[str, str], chance: random.Random) -> None:
        super().__init__(members)
        self._chance = chance

    def known(self) -> Mapping[str, str]:
        told = self._chance.sample(list(self.members), self._chance.choice((1, len(self.members))))
        return {name: self.members[name] for name in told}


@pytest.mark.parametrize("seed", range(RUNS))
async def test_whichever_member_a_client_came_by_and_whichever_is_killed(seed: int, tmp_path: Path) -> None:
    """The leader for an even seed, a follower for an odd one."""
    chance = random.Random(f"clients {seed}")
    with trio.fail_after(RUN_SECONDS_MAX):
        async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
            load = ScatteredLoad(await started(replicas), chance)
            kill = Kill(replicas, chance, leader=seed % 2 == 0)
            await assert_counted_once_while_killing(replicas, load, kill, at=chance.randint(100, 900))
