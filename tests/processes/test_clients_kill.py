"""kill -9 under clients that came by any member: no increment is lost, none is made twice, and there is one order.

RUNS=200 in the environment makes it 200 runs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from tally import Tally
from test_kill import CLIENTS, INCREMENTS, TASKS, Load, Replicas, assert_all_agree, started

from broadcast import connect
from broadcast.cli._process import newest_view, open_replicas

RUNS = int(os.environ.get("RUNS", "4"))


class ScatteredLoad(Load):
    """Clients that are told of one member each, whichever that is, or of all."""

    def __init__(self, members: Mapping[str, str], chance: random.Random) -> None:
        super().__init__(members)
        self._chance = chance

    async def _count(self) -> None:
        told = self._chance.sample(list(self._members), self._chance.choice((1, len(self._members))))
        members = {name: self._members[name] for name in told}
        async with connect("tally", Tally, members=members) as client, trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._increment, client, INCREMENTS // CLIENTS // TASKS)


class Kill:
    """One member is killed, the leader or a follower, and comes back at once."""

    def __init__(self, replicas: Replicas, chance: random.Random, *, leader: bool) -> None:
        self._replicas = replicas
        self._chance = chance
        self._leader = leader
        self._done = trio.Event()
        self.victim = ""
        self.epoch = 0

    def __call__(self) -> None:
        view = newest_view(self._replicas.values())
        followers = [name for name in self._replicas if name != view.leader]
        self.victim = view.leader if self._leader else self._chance.choice(followers)
        self.epoch = view.epoch
        self._replicas[self.victim].kill()
        self._done.set()

    async def bring_back(self) -> None:
        """Once it is dead."""
        await self._done.wait()
        assert await self._replicas[self.victim].wait_ended() == -9
        await self._replicas[self.victim].start()


@pytest.mark.parametrize("seed", range(RUNS))
async def test_whichever_member_a_client_came_by_and_whichever_is_killed(seed: int, tmp_path: Path) -> None:
    """The leader for an even seed, a follower for an odd one."""
    chance = random.Random(f"clients {seed}")
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        await started(replicas)
        load = ScatteredLoad(replicas["a"].settings.members, chance)
        kill = Kill(replicas, chance, leader=seed % 2 == 0)
        load.at(chance.randint(100, 900), kill)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill.bring_back)
            counted = await load.run()
        await assert_all_agree(replicas, load, counted)
        if seed % 2 == 0:
            assert newest_view(replicas.values()).epoch > kill.epoch
