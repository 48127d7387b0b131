"""A leader that is stopped, not killed: its links stay open and say nothing, and it comes back believing that it leads.

TRIALS=20 in the environment makes it 20 trials; `make stop-trials` does that, and shows each.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from rig import tell
from stalls import Machine
from tally import Tally
from tallying import PATIENCE_SECONDS, Replicas, assert_all_agree, started
from wanted import count_wanted

from broadcast import GroupRef, connect
from broadcast.cli._process import ReplicaProcess, newest_view, open_replicas

pytestmark = pytest.mark.alone  # seconds are judged

TRIALS = count_wanted("TRIALS", 3)
TRIAL_SECONDS_MAX = 120  # it takes two or three
ANSWER_SECONDS_MAX = 3.0  # from the stop to the answer to the next command, by a machine that stands still no more


@contextmanager
def stopped(replica: ReplicaProcess) -> Generator[None]:
    """SIGSTOP now, SIGCONT at the end of the context."""
    pid = replica.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Counting:
    """Clients that count together. answers: what they were told."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.answers: list[int] = []
        self.ending = False
        self._members = members

    async def add(self, client: GroupRef[Tally]) -> None:
        self.answers.append(await client.ask(Tally.add, 1))

    async def keep_adding(self) -> None:
        """Have a command under way at any moment, by a client of its own, until `ending`."""
        async with connect("tally", Tally, members=self._members) as client:
            while not self.ending:
                with trio.fail_after(PATIENCE_SECONDS):
                    await self.add(client)


async def trial(replicas: Replicas, counting: Counting, known: Mapping[str, str], machine: Machine) -> float:
    """Stop the leader; returns how many seconds passed until a client's next command was answered.

    known: the addresses that the client is given.
    """
    async with connect("tally", Tally, members=known) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            await counting.add(client)
        before = newest_view(replicas.values())
        leader = replicas[before.leader]
        other = next(replica for replica in replicas.values() if replica is not leader)
        with stopped(leader):
            began = trio.current_time()
            with trio.fail_after(PATIENCE_SECONDS):
                await counting.add(client)
                seconds = await machine.counted(began, trio.current_time())
                after = await other.wait_view(after_epoch=before.epoch)
                while after.leader == before.leader:  # it was elected once more, just before, and is not now
                    after = await other.wait_view(after_epoch=after.epoch)
    with trio.fail_after(PATIENCE_SECONDS):
        await leader.wait_view(after_epoch=after.epoch - 1)  # it has stepped down, and follows
    return seconds


async def test_the_next_command_is_answered_in_time_and_the_stopped_one_falls_in_line(
    tmp_path: Path, machine: Machine
) -> None:
    chance = random.Random(TRIALS)
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        members = await started(replicas)
        counting = Counting(members)
        seconds: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counting.keep_adding)
            for number in range(TRIALS):
                followers = [name for name in replicas if name != newest_view(replicas.values()).leader]
                first = chance.choice(followers)
                known = {first: members[first]} if number % 2 else members
                with trio.fail_after(TRIAL_SECONDS_MAX):
                    seconds.append(await trial(replicas, counting, known, machine))
                tell(f"trial {number + 1} of {TRIALS}: the next command was answered after {seconds[-1]:.2f} s")
            counting.ending = True
        told = (
            f"median {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s, {TRIALS} trials, "
            f"{len(machine.stalls)} stalls of the machine left aside"
        )
        tell(f"A leader is stopped; the next command is answered after: {told}")
        assert max(seconds) <= ANSWER_SECONDS_MAX, told
        await assert_all_agree(replicas, counting.answers, len(counting.answers))


async def test_a_client_that_was_told_of_a_follower_only(tmp_path: Path) -> None:
    """It need not know who leads, nor where."""
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        members = await started(replicas)
        followers = [name for name in replicas if name != newest_view(replicas.values()).leader]
        for number, name in enumerate(followers, 1):
            async with connect("tally", Tally, members={name: members[name]}) as client:
                with trio.fail_after(PATIENCE_SECONDS):
                    assert await client.ask(Tally.add, 1) == number
                    assert await client.ask(Tally.value) == number
