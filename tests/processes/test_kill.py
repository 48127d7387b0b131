"""kill -9: whoever is killed, no increment is lost, none is made twice, and all replicas deliver one order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trio
from tally import Tally

from broadcast import GroupRef, connect
from broadcast.cli._order import Report, differences, state_digest
from broadcast.cli._process import ReplicaEnded, ReplicaProcess, newest_view, open_replicas, start_all

INCREMENTS = 1_000
CLIENTS = 2
TASKS = 10  # of a client, each with one increment under way
PATIENCE_SECONDS = 30  # of a client, for one answer
FORMING_SECONDS_MAX = 60
Replicas = Mapping[str, ReplicaProcess]


class Load:
    """Clients that count to `INCREMENTS` together; `answers` are what they were told."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.answers: list[int] = []
        self._members = members
        self._due: dict[int, Callable[[], None]] = {}

    def at(self, count: int, do: Callable[[], None]) -> None:
        """Call this with the count-th acknowledgement."""
        self._due[count] = do

    async def run(self) -> int:
        """Count; then what a linearizable query says the count is. Raises whatever an `ask` raises."""
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(self._count)
        async with connect("tally", Tally, members=self._members) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                return await client.ask(Tally.value)

    async def _count(self) -> None:
        async with connect("tally", Tally, members=self._members) as client, trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._increment, client, INCREMENTS // CLIENTS // TASKS)

    async def _increment(self, client: GroupRef[Tally], times: int) -> None:
        for _ in range(times):
            with trio.fail_after(PATIENCE_SECONDS):
                self.answers.append(await client.ask(Tally.add, 1))
            self._due.pop(len(self.answers), lambda: None)()


async def started(replicas: Replicas) -> Load:
    with trio.fail_after(FORMING_SECONDS_MAX):
        await start_all(replicas.values())
    return Load(replicas["a"].settings.members)


async def assert_all_agree(replicas: Replicas, load: Load, counted: int) -> None:
    """Every increment once, and one order of them, on every replica."""
    assert counted == INCREMENTS
    assert sorted(load.answers) == list(range(1, INCREMENTS + 1))
    reports = await reported(replicas)
    assert [report.count for report in reports] == [INCREMENTS] * 3
    assert differences(reports) == []
    tally = Tally()
    tally.total = INCREMENTS
    assert reports[0].state == state_digest(tally)


async def reported(replicas: Replicas) -> list[Report]:
    return [await each.report(delivered=INCREMENTS, within=PATIENCE_SECONDS) for each in replicas.values()]


@pytest.mark.parametrize("seed", range(20))
async def test_one_is_killed_and_comes_back(seed: int, tmp_path: Path) -> None:
    """The leader for an even seed, a follower for an odd one."""
    chance = random.Random(seed)
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        load = await started(replicas)
        killed = trio.Event()
        victims: list[ReplicaProcess] = []
        epochs: list[int] = []

        def kill() -> None:
            view = newest_view(replicas.values())
            followers = [name for name in replicas if name != view.leader]
            victims.append(replicas[view.leader if seed % 2 == 0 else chance.choice(followers)])
            epochs.append(view.epoch)
            victims[0].kill()
            killed.set()

        async def bring_back() -> None:
            await killed.wait()
            assert await victims[0].wait_ended() == -9
            await victims[0].start()

        load.at(chance.randint(100, 900), kill)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bring_back)
            counted = await load.run()
        await assert_all_agree(replicas, load, counted)
        if seed % 2 == 0:
            assert newest_view(replicas.values()).epoch > epochs[0]


async def test_all_are_killed_at_once_and_come_back(tmp_path: Path) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        load = await started(replicas)
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
        await assert_all_agree(replicas, load, counted)


async def test_without_a_majority_nothing_is_answered_and_with_it_all_is(tmp_path: Path) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        load = await started(replicas)
        async with connect("tally", Tally, members=replicas["a"].settings.members) as client:
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
        assert not load.answers


async def test_a_replica_that_counts_otherwise_is_found_out(tmp_path: Path) -> None:
    """The comparison that the other tests rely on is one."""
    actors = {"a": "tally:Tally", "b": "tally:Hasty", "c": "tally:Tally"}
    async with open_replicas("tally", actors, tmp_path) as replicas:
        load = await started(replicas)
        await load.run()
        told = differences(await reported(replicas))
        assert len(told) == 1
        assert told[0].startswith("Not the same (final state): a, c: ")


async def test_a_replica_that_ends_says_why(tmp_path: Path) -> None:
    async with open_replicas("tally", dict.fromkeys("abc", "tally:NoSuch"), tmp_path) as replicas:
        with pytest.raises(ReplicaEnded, match=r"the replica a has ended: AttributeError: .*NoSuch"):
            await replicas["a"].start()
        with pytest.raises(ReplicaEnded, match="the replica a has ended"):
            await replicas["a"].report(delivered=0, within=1)


async def test_what_an_actor_prints_goes_to_the_log(tmp_path: Path) -> None:
    """Standard output is for what the process has to say."""
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Chatty"), tmp_path) as replicas:
        load = await started(replicas)
        await load.run()
        assert [report.count for report in await reported(replicas)] == [INCREMENTS] * 3
        assert replicas["a"].log.read_text().startswith("adding 1\n")


async def test_the_end_of_its_input_is_the_end_of_a_replica(tmp_path: Path) -> None:
    """And not a Ctrl-C at the terminal, which is for whoever started it."""
    async with open_replicas("tally", dict.fromkeys("abc", "tally:Tally"), tmp_path) as replicas:
        await replicas["a"].start()
        assert os.getpgid(replicas["a"].pid or 0) != os.getpgid(0)
        await replicas["a"].stop()
        assert await replicas["a"].wait_ended() == 0
        assert replicas["a"].log.read_text() == ""
