"""What the tests share that have clients count on three replicas: the load, who is killed, and what must hold after."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import trio
from tally import Tally

from broadcast import GroupRef, connect
from broadcast.cli._order import Report, differences, state_digest
from broadcast.cli._process import ReplicaProcess, newest_view, start_all

INCREMENTS = 1_000
CLIENTS = 2
TASKS = 10  # of a client, each with one increment under way
PATIENCE_SECONDS = 60  # of a client, for one answer
FORMING_SECONDS_MAX = 60
Replicas = Mapping[str, ReplicaProcess]


class Load:
    """Clients that count to `INCREMENTS` together; `answers` are what they were told."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.answers: list[int] = []
        self.members = members
        self._due: dict[int, Callable[[], None]] = {}

    def at(self, count: int, do: Callable[[], None]) -> None:
        """Call this with the count-th acknowledgement."""
        self._due[count] = do

    async def run(self) -> int:
        """Count; then what a linearizable query says the count is. Raises whatever an `ask` raises."""
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(self._count, self.known())
        async with connect("tally", Tally, members=self.members) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                return await client.ask(Tally.value)

    def known(self) -> Mapping[str, str]:
        """The addresses that the next client is told."""
        return self.members

    async def _count(self, known: Mapping[str, str]) -> None:
        async with connect("tally", Tally, members=known) as client, trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._increment, client, INCREMENTS // CLIENTS // TASKS)

    async def _increment(self, client: GroupRef[Tally], times: int) -> None:
        for _ in range(times):
            with trio.fail_after(PATIENCE_SECONDS):
                self.answers.append(await client.ask(Tally.add, 1))
            self._due.pop(len(self.answers), lambda: None)()


class Kill:
    """One member is killed, the leader or a follower, and comes back at once."""

    def __init__(self, replicas: Replicas, chance: random.Random, *, leader: bool) -> None:
        self._replicas = replicas
        self._chance = chance
        self._leader = leader
        self._done = trio.Event()
        self._victim = ""
        self._epoch = 0

    def __call__(self) -> None:
        view = newest_view(self._replicas.values())
        followers = [name for name in self._replicas if name != view.leader]
        self._victim = view.leader if self._leader else self._chance.choice(followers)
        self._epoch = view.epoch
        self._replicas[self._victim].kill()
        self._done.set()

    async def bring_back(self) -> None:
        """Once it is dead."""
        await self._done.wait()
        assert await self._replicas[self._victim].wait_ended() == -9
        await self._replicas[self._victim].start()

    def assert_replaced(self) -> None:
        """If it led, there was an election."""
        if self._leader:
            assert newest_view(self._replicas.values()).epoch > self._epoch


async def started(replicas: Replicas) -> Mapping[str, str]:
    """Start them all; returns their addresses once they have a view."""
    with trio.fail_after(FORMING_SECONDS_MAX):
        await start_all(replicas.values())
    return replicas["a"].settings.members


async def assert_counted_once_while_killing(replicas: Replicas, load: Load, kill: Kill, *, at: int) -> None:
    """Count, kill with this acknowledgement and bring back: nothing is lost, none is made twice, one order."""
    load.at(at, kill)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill.bring_back)
        counted = await load.run()
    assert counted == INCREMENTS
    await assert_all_agree(replicas, load.answers, INCREMENTS)
    kill.assert_replaced()


async def assert_all_agree(replicas: Replicas, answers: Sequence[int], count: int) -> None:
    """Every increment once, and one order of them, on every replica."""
    assert sorted(answers) == list(range(1, count + 1))
    reports = await reported(replicas, count)
    assert [report.count for report in reports] == [count] * len(replicas)
    assert differences(reports) == []
    tally = Tally()
    tally.total = count
    assert reports[0].state == state_digest(tally)


async def reported(replicas: Replicas, count: int) -> list[Report]:
    """What each has delivered, once it is so many increments."""
    return [await each.report(delivered=count, within=PATIENCE_SECONDS) for each in replicas.values()]
