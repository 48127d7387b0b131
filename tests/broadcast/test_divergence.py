"""A replica whose state is not what the others have is found where snapshots are compared, and stops (rule 28)."""

from __future__ import annotations

import traceback
from pathlib import Path
from random import Random

import trio
from counts import Count

from actors import command
from actors.testing import MemoryNetwork
from broadcast import Consistency, Diverged, Group, open_group
from membership import Limits

SECONDS_MAX = 30
LIMITS = Limits(snapshot_entries=10)
MEMBERS = {name: f"{name}:1" for name in "abc"}


class Tally(Count):
    """At the members where it was started as it should be."""


class Crooked(Tally):
    """Started by mistake at one of the members."""

    @command
    def add(self, amount: int) -> int:
        return super().add(amount) if amount != 7 else super().add(8)


class Village:
    """Members of a group, each in a task of its own. why: what ended one, by its name; errors: the same, raised."""

    def __init__(self, data: Path) -> None:
        self.groups: dict[str, Group[Tally]] = {}
        self.why: dict[str, str] = {}
        self.errors: dict[str, BaseExceptionGroup[Diverged]] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self.ended = trio.lowlevel.ParkingLot()
        self._data = data
        self._network = MemoryNetwork(random=Random(5), latency=0.001)

    async def live(
        self, name: str, kind: type[Tally], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        disk, network = self._data / name, self._network.host(name)
        try:
            with trio.CancelScope() as self.scopes[name]:
                async with open_group(
                    "tally", kind, node=name, members=MEMBERS, data=disk, limits=LIMITS, network=network
                ) as self.groups[name]:
                    task_status.started()
                    await trio.sleep_forever()
            self.ended.unpark_all()
            del self.scopes[name]
        except* Diverged as errors:
            self.errors[name] = errors
            self.why[name] = "".join(traceback.format_exception(errors))
            self.ended.unpark_all()

    async def stop(self, name: str) -> None:
        self.scopes[name].cancel()
        while name in self.scopes:
            await self.ended.park()

    async def wait_divided(self, name: str) -> str:
        """Why it waits, once it is that; looked at as often as something can have changed."""
        group = self.groups[name]
        while "states differ" not in (waiting := str(group.status().waiting)):
            with trio.move_on_after(0.01):
                await self.ended.park()
        return waiting

    async def end(self, name: str) -> str:
        while name not in self.why:
            await self.ended.park()
        return self.why.pop(name)


async def test_who_differs_from_a_majority_stops_and_every_start_on_its_data_ends_so(tmp_path: Path) -> None:
    village = Village(tmp_path)
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            for name, kind in (("a", Tally), ("b", Tally), ("c", Crooked)):
                await nursery.start(village.live, name, kind)
            for amount in (1, 7, *[1] * 20):
                await village.groups["a"].ask(Tally.add, amount)
            why = await village.end("c")
            assert "at index 10 a majority of the voters has another state than this replica" in why
            assert "A command between index 0 and 10 is not deterministic" in why
            assert await village.groups["b"].ask(Tally.value) == 28
            nursery.start_soon(village.live, "c", Tally)
            assert "Remove this member, and add it again with an empty data directory" in await village.end("c")
            assert await village.groups["a"].reading(Consistency.LOCAL).ask(Tally.value) == 28
            nursery.cancel_scope.cancel()


async def test_who_are_divided_stay_so_when_they_are_started_again_until_a_third_can_say_who_is_right(
    tmp_path: Path,
) -> None:
    village = Village(tmp_path)
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            for name, kind in (("a", Tally), ("b", Crooked), ("c", Tally)):
                await nursery.start(village.live, name, kind)
            await village.groups["a"].ask(Tally.add, 1)
            await village.stop("c")
            with trio.move_on_after(2):
                for amount in (7, *[1] * 20):
                    await village.groups["a"].ask(Tally.add, amount)
            for name in "ab":
                await village.wait_divided(name)
                await village.stop(name)
            for name, kind in (("a", Tally), ("b", Crooked)):
                await nursery.start(village.live, name, kind)
                assert "at index 10" in await village.wait_divided(name)
            with trio.move_on_after(2) as asked:
                await village.groups["a"].ask(Tally.add, 1)
            assert asked.cancelled_caught
            await nursery.start(village.live, "c", Tally)
            assert "a majority of the voters has another state" in await village.end("b")
            await village.groups["a"].ask(Tally.add, 1)
            assert village.groups["a"].status().waiting is None
            nursery.cancel_scope.cancel()
