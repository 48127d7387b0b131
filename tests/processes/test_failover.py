"""How soon a group gets on when its leader is gone: killed, or cut off and nobody is told.

TRIALS=50 in the environment makes it 50 kills and 20 cuts; `make kill-trials TRIALS=50` does that, and shows each.
Measured inside the replicas: from the kill or the cut to the first command of a newer epoch that one of the survivors
has applied. A client at a survivor asks for one in that very moment.

A trial in which a loop of a replica stood still for longer than it takes to be judged by is told, and made again: what
is promised in seconds is promised for a machine that runs.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
import trio
from pulsing import Pulses, now
from rig import until
from tally import Tally
from tallying import PATIENCE_SECONDS, Replicas, reported, started
from wanted import count_wanted
from wires import around, open_wires, parted

from broadcast import connect
from broadcast.cli._order import differences
from broadcast.cli._process import newest_view, open_replicas

pytestmark = pytest.mark.alone  # seconds are judged

KILLS = count_wanted("TRIALS", 5)
CUTS = max(1, KILLS * 2 // 5)
ATTEMPTS = 3  # at as many trials as are wanted, on a machine that stands still
STALL_SECONDS = 0.1
KILLED_SECONDS_MAX = 1.0
KILLED_MEDIAN_SECONDS_MAX = 0.1 if "TRIALS" in os.environ else 0.3  # of a few, and beside the other tests
CUT_SECONDS_MAX = 3.0
TRIAL_SECONDS_MAX = 120


class Trials:
    """Of one fault. seconds: what was measured on a machine that ran."""

    def __init__(self, count: int, fault: str) -> None:
        self.seconds: list[float] = []
        self.fault = fault
        self._count = count
        self._stalled = 0

    async def run(self, trial: Callable[[int], Awaitable[tuple[float, float]]]) -> None:
        """`trial` is given its number; returns the seconds that it took, and that a loop stood still meanwhile."""
        while len(self.seconds) < self._count:
            number = len(self.seconds) + 1
            with trio.fail_after(TRIAL_SECONDS_MAX):
                seconds, stalled = await trial(number)
            told = f"{self.fault} {number} of {self._count}: the next command was applied after {seconds * 1000:.0f} ms"
            if stalled <= STALL_SECONDS:
                self.seconds.append(seconds)
                tell(told)
                continue
            tell(f"{told}, and a replica stood still for {stalled * 1000:.0f} ms of it: again")
            self._stalled += 1
            if self._stalled >= ATTEMPTS * self._count:
                pytest.skip(f"the machine stood still in {self._stalled} trials")

    def __str__(self) -> str:
        least, median, most = (round(1000 * each) for each in (min(self.seconds), self.median, max(self.seconds)))
        return (
            f"{self.fault}: min {least} ms, median {median} ms, max {most} ms; {self._count} trials, and "
            f"{self._stalled} in which the machine stood still"
        )

    @property
    def made(self) -> int:
        """Those on a machine that stood still, too."""
        return len(self.seconds) + self._stalled

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


async def failover(
    replicas: Replicas, pulses: Pulses, chance: random.Random, strike: Callable[[str], None]
) -> tuple[float, float]:
    """Strike the leader, and ask a survivor for something. The seconds that it took, and that a loop stood still."""
    before = newest_view(replicas.values())
    survivors = [name for name in replicas if name != before.leader]
    at = chance.choice(survivors)
    members = replicas[at].settings.members
    async with connect("tally", Tally, members={at: members[at]}) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            await client.ask(Tally.add, 1)
            began = now()
            strike(before.leader)
            await client.ask(Tally.add, 1)
            await until(lambda: pulses.delivered_at(survivors, before.epoch) is not None)
    applied = pulses.delivered_at(survivors, before.epoch) or began
    return (applied - began) / 1_000_000, max(pulses.late(began), default=0.0)


async def test_a_killed_leader_is_replaced_at_once(tmp_path: Path) -> None:
    """Its links are closed and nobody listens there: that is no silence."""
    chance, trials = random.Random(KILLS), Trials(KILLS, "kill -9 of the leader")
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        pulses = Pulses(replicas, tmp_path)
        await started(replicas)

        async def trial(number: int) -> tuple[float, float]:
            leader = replicas[newest_view(replicas.values()).leader]
            measured = await failover(replicas, pulses, chance, lambda name: replicas[name].kill())
            await leader.wait_ended()
            await leader.start()
            await leader.wait_view(after_epoch=newest_view(replicas.values()).epoch - 1)
            return measured

        await trials.run(trial)
        tell(str(trials))
        assert max(trials.seconds) <= KILLED_SECONDS_MAX, str(trials)
        assert trials.median <= KILLED_MEDIAN_SECONDS_MAX, str(trials)
        assert differences(await reported(replicas, 2 * trials.made)) == []


async def test_a_leader_that_is_cut_off_is_replaced_in_time(tmp_path: Path) -> None:
    """Nothing comes from it, and nothing gets there: no reset, no refusal.

    The client is at the leader by such a link, too. That it is dead is known to it after a second and a half of
    silence; the group has another leader before.
    """
    chance, trials = random.Random(CUTS), Trials(CUTS, "cut off the leader")
    async with AsyncExitStack() as stack:
        replicas = await stack.enter_async_context(
            open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path)
        )
        addresses = replicas["a"].settings.members
        wires, told = await stack.enter_async_context(open_wires(addresses))
        for name, replica in replicas.items():
            replica.settings = msgspec.structs.replace(replica.settings, members=told[name])
        pulses = Pulses(replicas, tmp_path)
        await started(replicas)

        async def trial(number: int) -> tuple[float, float]:
            async with AsyncExitStack() as cut:
                leader = newest_view(replicas.values()).leader
                measured = await failover(
                    replicas, pulses, chance, lambda name: cut.enter_context(parted(around(wires, name)))
                )
                after = newest_view(replicas.values())
            assert after.leader != leader
            with trio.fail_after(PATIENCE_SECONDS):
                await replicas[leader].wait_view(after_epoch=after.epoch - 1)
            return measured

        await trials.run(trial)
        tell(str(trials))
        assert max(trials.seconds) <= CUT_SECONDS_MAX, str(trials)
        assert differences(await reported(replicas, 2 * trials.made)) == []


def tell(text: str) -> None:
    """What `pytest -s` shows."""
    print(text, file=sys.stderr, flush=True)
