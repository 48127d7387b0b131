"""kill -9: whoever is killed, no increment is lost, none is made twice, and all replicas deliver one order."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import trio
from tally import Tally
from tallying import (
    INCREMENTS,
    PATIENCE_SECONDS,
    Kill,
    Load,
    assert_all_agree,
    assert_counted_once_while_killing,
    reported,
    started,
)

from broadcast import connect
from broadcast.cli._order import differences
from broadcast.cli._process import ReplicaEnded, open_replicas


@pytest.mark.parametrize("seed", range(20))
async def test_one_is_killed_and_comes_back(seed: int, tmp_path: Path) -> None:
    """The leader for an even seed, a follower for an odd one."""
    chance = random.Random(seed)
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        load = Load(await started(replicas))
        kill = Kill(replicas, chance, leader=seed % 2 == 0)
        await assert_counted_once_while_killing(replicas, load, kill, at=chance.randint(100, 900))


async def test_all_are_killed_at_once_and_come_back(tmp_path: Path) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        load = Load(await started(replicas))
        killed = trio.Event()

        def kill() -> None:
            for replica in replicas.values():
                replica.kill()
            killed.set()

        load.at(300, kill)
        async with trio.open_nursery() as nursery:

            async def bring_back() -> None:
                await killed.wait()
                for replica in replicas.values():
                    await replica.wait_ended()
                    nursery.start_soon(replica.start)

            nursery.start_soon(bring_back)
            counted = await load.run()
        assert counted == INCREMENTS
        await assert_all_agree(replicas, load.answers, INCREMENTS)


async def test_without_a_majority_nothing_is_answered_and_with_it_all_is(tmp_path: Path) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        members = await started(replicas)
        async with connect("tally", Tally, members=members) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await client.ask(Tally.add, 1) == 1
            for name in ("b", "c"):
                replicas[name].kill()
                await replicas[name].wait_ended()
            with trio.move_on_after(1) as waiting:
                await client.ask(Tally.value)
            assert waiting.cancelled_caught
            await replicas["b"].start()
            with trio.fail_after(PATIENCE_SECONDS):
                assert await client.ask(Tally.add, 1) == 2


async def test_a_replica_that_counts_otherwise_is_found_out(tmp_path: Path) -> None:
    """The comparison that the other tests rely on is one."""
    actors = {"a": "tally:Tally", "b": "tally:Hasty", "c": "tally:Tally"}
    async with open_replicas("tally", actors, tmp_path) as replicas:
        load = Load(await started(replicas))
        await load.run()
        told = differences(await reported(replicas, INCREMENTS))
        assert len(told) == 1
        assert told[0].startswith("Not the same (final state): a, c: ")


async def test_a_replica_that_ends_says_why(tmp_path: Path) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:NoSuch"), tmp_path) as replicas:
        with pytest.raises(ReplicaEnded, match=r"the replica a has ended: AttributeError: .*NoSuch"):
            await replicas["a"].start()
        with pytest.raises(ReplicaEnded, match="the replica a has ended"):
            await replicas["a"].report(delivered=0, within=1)


async def test_what_an_actor_prints_goes_to_the_log(tmp_path: Path) -> None:
    """Standard output is for what the process has to say. The log may have other lines between these."""
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Chatty"), tmp_path) as replicas:
        load = Load(await started(replicas))
        await load.run()
        assert [report.count for report in await reported(replicas, INCREMENTS)] == [INCREMENTS] * 3
        assert replicas["a"].log.read_text().splitlines().count("adding 1") == INCREMENTS


async def test_the_end_of_its_input_is_the_end_of_a_replica(tmp_path: Path) -> None:
    """And not a Ctrl-C at the terminal, which is for whoever started it."""
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        await replicas["a"].start()
        assert os.getpgid(replicas["a"].pid or 0) != os.getpgid(0)
        await replicas["a"].stop()
        assert await replicas["a"].wait_ended() == 0
        assert replicas["a"].log.read_text() == ""
