"""Each replica is stopped as it is meant to be, and started again, one after the other, while the group is used.

ROUNDS=10 in the environment restarts all of them ten times; `make rolling-restart` does that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from rig import tell, until
from stalls import Machine
from tally import Tally
from tallying import PATIENCE_SECONDS, assert_all_agree, started
from wanted import count_wanted

from broadcast import connect
from broadcast.cli._process import newest_view, open_replicas

pytestmark = pytest.mark.alone  # the longest gap is judged

ROUNDS = count_wanted("ROUNDS", 1)
GAP_SECONDS_MAX = 0.3  # without an answer to anybody
CLIENTS = 3


class Asking:
    """Clients that never pause. gap: the longest time that the machine ran and nobody got an answer."""

    def __init__(self, members: Mapping[str, str], machine: Machine) -> None:
        self.answers: list[int] = []
        self.gaps: list[tuple[float, float]] = []
        self.ending = False
        self._members = members
        self._machine = machine
        self._last = trio.current_time()

    async def run(self) -> None:
        async with connect("tally", Tally, members=self._members) as client:
            while not self.ending:
                with trio.fail_after(PATIENCE_SECONDS):
                    self.answers.append(await client.ask(Tally.add, 1))
                now = trio.current_time()
                if now - self._last > GAP_SECONDS_MAX / 20:
                    self.gaps.append((self._last, now))
                self._last = now

    async def longest(self) -> float:
        """In seconds of the machine."""
        return max([0.0, *[await self._machine.counted(*gap) for gap in self.gaps]])


async def test_nobody_waits_long_and_nothing_is_lost_or_doubled(tmp_path: Path, machine: Machine) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        asking = Asking(await started(replicas), machine)
        elections = -newest_view(replicas.values()).epoch
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(asking.run)
            for _ in range(ROUNDS):
                for replica in replicas.values():
                    await replica.stop()
                    await replica.start()
                    await replica.wait_view()
                    count = len(asking.answers) + 100
                    await until(lambda: len(asking.answers) >= count)  # noqa: B023 - called here and now
            asking.ending = True
        elections += newest_view(replicas.values()).epoch
        longest = await asking.longest()
        told = (
            f"{ROUNDS * 3} restarts, {len(asking.answers)} answers, {elections} elections, longest gap {longest:.3f} s"
        )
        tell(f"A rolling restart: {told}")
        assert longest <= GAP_SECONDS_MAX, told
        await assert_all_agree(replicas, asking.answers, len(asking.answers))


async def test_sigterm_is_a_wish_to_leave_in_order(tmp_path: Path, machine: Machine) -> None:
    """A leader that gets it is followed at once, and its process ends as it should."""
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        members = await started(replicas)
        leader = replicas[newest_view(replicas.values()).leader]
        async with connect("tally", Tally, members=members) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await client.ask(Tally.add, 1) == 1
            assert leader.pid is not None
            began = trio.current_time()
            os.kill(leader.pid, signal.SIGTERM)
            with trio.fail_after(PATIENCE_SECONDS):
                assert await leader.wait_ended() == 0
                assert await client.ask(Tally.add, 1) == 2
            assert await machine.counted(began, trio.current_time()) <= 3 * GAP_SECONDS_MAX
