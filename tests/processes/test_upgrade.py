"""A class is upgraded, a process at a time, while clients use the group; and back, as long as there is a way."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import trio
from rig import tell, until
from tallying import PATIENCE_SECONDS, reported, started
from upgraded import Count, CountApart

from broadcast import connect
from broadcast.cli._order import differences
from broadcast.cli._process import ReplicaEnded, ReplicaProcess, open_replicas
from broadcast.cli.status import Status, ask_all

OLD, NEW = "upgraded:Count", "upgraded:CountApart"
CLIENTS = 3
BETWEEN = 50  # answers, at least, between two restarts


class Counting:
    """Clients that never pause, and know the old class alone."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.answers: list[int] = []
        self.ending = False
        self._members = members

    async def run(self) -> None:
        async with connect("count", Count, members=self._members) as client:
            while not self.ending:
                with trio.fail_after(PATIENCE_SECONDS):
                    self.answers.append(await client.ask(Count.add, 1))

    async def more(self) -> None:
        count = len(self.answers) + BETWEEN
        with trio.fail_after(PATIENCE_SECONDS):
            await until(lambda: len(self.answers) >= count)


async def become(replica: ReplicaProcess, actor: str, *, kill: bool = False) -> None:
    """Start it anew with this class. Raises ReplicaEnded."""
    if kill:
        replica.kill()
        await replica.wait_ended()
    else:
        await replica.stop()
    replica.settings = msgspec.structs.replace(replica.settings, actor=actor)
    await replica.start()
    await replica.wait_view()


async def versions(members: Mapping[str, str]) -> list[tuple[int, int]]:
    """What is in force at each, and what each runs."""
    said = await ask_all("count", list(members.values()))
    return [(each.version, each.newest) for each in said if isinstance(each, Status)]


async def all_have(members: Mapping[str, str], version: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while [in_force for in_force, _ in await versions(members)] != [version] * len(members):  # noqa: ASYNC110
            await trio.sleep(0.05)


async def test_there_and_back_and_there_under_load(tmp_path: Path) -> None:
    async with open_replicas("count", dict.fromkeys("abc", OLD), tmp_path) as replicas:
        members = await started(replicas)
        counting = Counting(members)
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(counting.run)
            await counting.more()
            for name, actor in (("a", NEW), ("b", NEW), ("b", OLD), ("a", OLD)):
                await become(replicas[name], actor, kill=name == "b")
                await counting.more()
                assert {in_force for in_force, _ in await versions(members)} == {1}
            before = len(counting.answers)
            for name in "cab":
                await become(replicas[name], NEW, kill=name == "a")
                await counting.more()
            await all_have(members, 2)
            await counting.more()
            with suppress(ReplicaEnded):
                await become(replicas["c"], OLD, kill=True)
            with trio.fail_after(PATIENCE_SECONDS):
                await replicas["c"].wait_ended()
            assert "Outdated: group count" in (replicas["c"].ended or "")
            assert "version 2 of Count is in force" in (replicas["c"].ended or "")
            await counting.more()  # the others go on
            await become(replicas["c"], NEW)
            await counting.more()
            counting.ending = True
        count = len(counting.answers)
        assert sorted(counting.answers) == list(range(1, count + 1))
        reports = await reported(replicas, count)
        assert [report.count for report in reports] == [count] * 3
        assert differences(reports) == []
        async with connect("count", CountApart, members=members) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                began, late = await client.ask(CountApart.apart)
        tell(f"An upgrade: {count} answers, {count - late} of them before index {began}")
        assert began > before
        assert BETWEEN <= late < count - before
