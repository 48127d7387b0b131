"""Power cuts of a whole group under load: what was acknowledged is there afterwards, once, and at one place everywhere.

All three processes are killed at the moment at which a client gets an answer, and each disk forgets what it had not
synced. A sync takes `SYNC_MS`: an answer that leaves before the sync is over leaves long before it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import powercut
import pytest
import trio
from register import Register

from broadcast import GroupRef, connect
from broadcast.cli._order import Report, calls_digest, differences, state_digest
from broadcast.cli._process import ReplicaProcess, open_replicas, start_all

CUTS = 20
ANSWERS_MAX = 150  # between two cuts
CLIENTS = 2  # that stay, over all cuts; one more comes for each, and leaves with it
TASKS = 3  # of a client
FILLER_SIZES = (0, 200, 3_000, 20_000)  # bytes, in turn: transactions of one page and of many
SYNC_MS = 5
PATIENCE_SECONDS = 30  # of a client, for one answer
FORMING_SECONDS_MAX = 60


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return powercut.build(tmp_path_factory.mktemp("powercut"))


class Plant:
    """Three replicas, and the power that they run on."""

    def __init__(self, library: Path, replicas: Mapping[str, ReplicaProcess]) -> None:
        self.replicas = list(replicas.values())
        self.members = self.replicas[0].settings.members
        self._library = library

    async def start(self, *, lie: bool = False) -> None:
        """Start all, and wait until each is in a view. lie: their syncs do nothing."""
        for replica in self.replicas:
            replica.environment = powercut.environment(
                self._library, *_directories(replica), lie=lie, sync_ms=SYNC_MS
            )
        with trio.fail_after(FORMING_SECONDS_MAX):
            await start_all(self.replicas)

    def kill(self) -> None:
        for replica in self.replicas:
            replica.kill()

    async def lose_power(self, seed: int | None) -> None:
        """What the killed had not synced is lost: all of it, or what the seed says."""
        chance = None if seed is None else random.Random(seed)
        for replica in self.replicas:
            assert await replica.wait_ended() == -9
            powercut.cut(*_directories(replica), None if chance is None else chance.randrange(2**32))


def _directories(replica: ReplicaProcess) -> tuple[Path, Path]:
    """Its data, and how to undo what is not synced."""
    data = Path(replica.settings.data)
    return data, data.with_suffix(".undo")


class Load:
    """Lines, each offered once; `places` are those that were acknowledged, and the answers."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.offered: list[str] = []
        self.places: dict[str, int] = {}
        self._members = members
        self._last = 0
        self._at_last: Callable[[], None] = lambda: None
        self._leaving = trio.CancelScope()

    async def run(self, clients: Sequence[GroupRef[Register]], answers: int, cut: Callable[[], None]) -> None:
        """Enter lines by these clients, and one that leaves, until there are so many more answers; then comes the cut.

        Returns when each of `clients` has an answer to all that it offered. Raises what an `ask` raises.
        """
        self._last, self._at_last = len(self.places) + answers, cut
        self._leaving = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._enter_and_leave)
            for client in clients:
                self._start_tasks(nursery, client)

    async def _enter_and_leave(self) -> None:
        with self._leaving:
            async with connect("register", Register, members=self._members) as client, trio.open_nursery() as nursery:
                self._start_tasks(nursery, client)

    def _start_tasks(self, nursery: trio.Nursery, client: GroupRef[Register]) -> None:
        for _ in range(TASKS):
            nursery.start_soon(self._enter, client)

    async def _enter(self, client: GroupRef[Register]) -> None:
        while len(self.places) < self._last:
            line = f"line {len(self.offered)}"
            self.offered.append(line)
            with trio.fail_after(PATIENCE_SECONDS):
                place = await client.ask(Register.enter, line, filler(line))
            self.places[line] = place
            if len(self.places) == self._last:
                self._at_last()
                self._leaving.cancel()


def filler(line: str) -> bytes:
    return line[-1:].encode() * FILLER_SIZES[int(line.split()[1]) % len(FILLER_SIZES)]


@asynccontextmanager
async def powered(library: Path, at: Path) -> AsyncGenerator[Plant]:
    async with open_replicas("register", dict.fromkeys("abc", "register:Register"), at) as replicas:
        yield Plant(library, replicas)


async def load_and_cut(
    plant: Plant, load: Load, clients: Sequence[GroupRef[Register]], answers: int, seed: int | None
) -> None:
    """One power cut under load, and the start after it."""
    cut = trio.Event()

    def kill() -> None:
        plant.kill()
        cut.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run, clients, answers, kill)
        await cut.wait()
        await plant.lose_power(seed)
        await plant.start()


async def wrongs(plant: Plant, load: Load) -> list[str]:
    """What is not as it was promised, a sentence each."""
    async with connect("register", Register, members=plant.members) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            lines = await client.ask(Register.lines)
    places = {line: place for place, line in enumerate(lines, 1)}
    reports = [await each.report(delivered=len(lines), within=PATIENCE_SECONDS) for each in plant.replicas]
    return [
        *(f"{line} was acknowledged, and is gone." for line in load.places if line not in places),
        *(
            f"{line} was to be at {place}, and is at {places[line]}."
            for line, place in load.places.items()
            if places.get(line, place) != place
        ),
        *(f"{line} is there {count} times." for line, count in Counter(lines).items() if count > 1),
        *(f"Nobody offered {line}." for line in places if line not in set(load.offered)),
        *differences([what_follows_from(lines), *reports]),
    ]


def what_follows_from(lines: Sequence[str]) -> Report:
    """What each replica must report, if these are the lines."""
    register = Register()
    for line in lines:
        register.enter(line, filler(line))
    calls = calls_digest(("enter", (line, filler(line))) for line in lines)
    return Report("the lines", len(lines), calls, None, state_digest(register))


async def test_20_power_cuts_of_all_replicas_lose_nothing_that_was_acknowledged(library: Path, tmp_path: Path) -> None:
    """Even cuts take all that was not synced, odd ones some of it, torn."""
    chance = random.Random(20)
    async with powered(library, tmp_path) as plant, AsyncExitStack() as stack:
        await plant.start()
        load = Load(plant.members)
        clients = [
            await stack.enter_async_context(connect("register", Register, members=plant.members))
            for _ in range(CLIENTS)
        ]
        for number in range(CUTS):
            answers = chance.randint(1, ANSWERS_MAX)
            import time; t0 = time.perf_counter()
            await load_and_cut(plant, load, clients, answers, seed=number if number % 2 else None)
            t1 = time.perf_counter()
            assert await wrongs(plant, load) == [], f"after cut {number}"
            print(number, answers, f"{t1-t0:.2f} {time.perf_counter()-t1:.2f}", len(load.offered), len(load.places))
