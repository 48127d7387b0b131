"""Power cuts of a whole group under load: what was acknowledged is there afterwards, once, and at one place.

All three processes are killed at the moment at which a client gets an answer, and each disk forgets what it had not
synced. A sync takes `SYNC_MS`, so that an answer that does not wait for the sync comes long before it.

CUTS=100 in the environment makes it 100 cuts; `make power-cuts` does that.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import powercut
import trio
from register import Register
from wanted import count_wanted

from broadcast import GroupRef, connect
from broadcast.cli._order import Report, calls_digest, differences, state_digest
from broadcast.cli._process import ReplicaProcess, open_replicas, start_all

CUTS = count_wanted("CUTS", 10)
ANSWERS = (1, 20, 150)  # at most so many before a cut: the first after a start, or under way, or after many
CLIENTS = 2  # that stay, over all cuts; one more comes for each, and leaves with it
TASKS = 3  # of a client, that enter lines side by side
FILLER_SIZES = (0, 200, 3_000, 20_000)  # bytes, by turns: transactions of a few sectors, and of many
SYNC_MS = 5
PATIENCE_SECONDS = 90  # of a client, for one answer
START_SECONDS_MAX = 90


class Plant:
    """Three replicas, and the power that they run on. lying: syncs do nothing, in the lives that begin from now on."""

    def __init__(self, library: Path, replicas: Mapping[str, ReplicaProcess]) -> None:
        self.replicas = list(replicas.values())
        self.members = self.replicas[0].settings.members
        self.lying = False
        self._library = library

    async def start(self) -> None:
        """Start all, and wait until a view has begun at each."""
        for replica in self.replicas:
            directories = _directories(replica)
            replica.environment = powercut.environment(self._library, *directories, lie=self.lying, sync_ms=SYNC_MS)
        with trio.fail_after(START_SECONDS_MAX):
            await start_all(self.replicas)

    def kill(self) -> None:
        for replica in self.replicas:
            replica.kill()

    async def lose_power(self, seed: int | None) -> None:
        """What the killed had not synced is lost: all of it, or what the seed says."""
        for number, replica in enumerate(self.replicas):
            assert await replica.wait_ended() == -9
            powercut.cut(*_directories(replica), None if seed is None else seed * len(self.replicas) + number)


def _directories(replica: ReplicaProcess) -> tuple[Path, Path]:
    """Its data, and how to undo what is not synced."""
    data = Path(replica.settings.data)
    return data, data.with_suffix(".undo")


@asynccontextmanager
async def powered(library: Path, at: Path) -> AsyncGenerator[Plant]:
    async with open_replicas("register", dict.fromkeys("abc", "register:Register"), at) as replicas:
        plant = Plant(library, replicas)
        await plant.start()
        yield plant


class Load:
    """Lines that clients enter, each once. places: of those that were acknowledged, what the answer was."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.offered: list[str] = []
        self.places: dict[str, int] = {}
        self._members = members
        self._last = 0
        self._at_last: Callable[[], None] = lambda: None
        self._leaving = trio.CancelScope()

    async def run(self, clients: Sequence[GroupRef[Register]], answers: int, cut: Callable[[], None]) -> None:
        """Have lines entered by these clients and one that leaves. With so many more answers comes the cut.

        Returns once each of `clients` has had its answers, also to what was under way. Raises what an `ask` raises.
        """
        self._last, self._at_last, self._leaving = len(self.places) + answers, cut, trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._enter_and_leave)
            for client in clients:
                self._start_entering(nursery, client)

    async def _enter_and_leave(self) -> None:
        """What is under way at the cut has no known outcome."""
        with self._leaving:
            async with connect("register", Register, members=self._members) as client, trio.open_nursery() as nursery:
                self._start_entering(nursery, client)

    def _start_entering(self, nursery: trio.Nursery, client: GroupRef[Register]) -> None:
        for _ in range(TASKS):
            nursery.start_soon(self._enter, client)

    async def _enter(self, client: GroupRef[Register]) -> None:
        while len(self.places) < self._last:
            line = str(len(self.offered))
            self.offered.append(line)
            with trio.fail_after(PATIENCE_SECONDS):
                place = await client.ask(Register.enter, line, filler(line))
            self.places[line] = place
            if len(self.places) == self._last:
                self._at_last()
                self._leaving.cancel()


def filler(line: str) -> bytes:
    return b"." * FILLER_SIZES[int(line) % len(FILLER_SIZES)]


async def cut_under_load(
    plant: Plant, load: Load, clients: Sequence[GroupRef[Register]], answers: int, seed: int | None = None
) -> list[str]:
    """One power cut under load, and the start after it. What was acknowledged and is gone, a sentence each."""
    killed = trio.Event()

    def kill() -> None:
        plant.kill()
        killed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run, clients, answers, kill)
        await killed.wait()
        await plant.lose_power(seed)
        await plant.start()
        acknowledged = list(load.places)
        told = gone(acknowledged, await lines_of(plant))
        if told:
            nursery.cancel_scope.cancel()  # clients whose sessions lost something would wait in vain
    return told


async def lines_of(plant: Plant) -> list[str]:
    async with connect("register", Register, members=plant.members) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            return await client.ask(Register.lines)


def gone(acknowledged: Sequence[str], lines: Sequence[str]) -> list[str]:
    found = set(lines)
    return [f"Line {line} was acknowledged, and is gone." for line in acknowledged if line not in found]


async def wrongs(plant: Plant, load: Load) -> list[str]:
    """What is not as it was promised, a sentence each, while no client is at work."""
    lines = await lines_of(plant)
    reports = [await each.report(delivered=len(lines), within=PATIENCE_SECONDS) for each in plant.replicas]
    offered, found = set(load.offered), {line: place for place, line in enumerate(lines, 1)}
    return [
        *gone(list(load.places), lines),
        *(f"Line {line} is not at {place}." for line, place in load.places.items() if found.get(line, place) != place),
        *(f"Line {line} is there {count} times." for line, count in Counter(lines).items() if count > 1),
        *(f"Line {line} was never offered." for line in found if line not in offered),
        *differences([implied_by(lines), *reports]),
    ]


def implied_by(lines: Sequence[str]) -> Report:
    """What each replica has to report, if these are the lines."""
    register = Register()
    for line in lines:
        register.enter(line, filler(line))
    calls = calls_digest(("enter", (line, filler(line))) for line in lines)
    return Report("what was read", len(lines), calls, None, state_digest(register))


async def test_power_cuts_of_all_replicas_lose_nothing_that_was_acknowledged(library: Path, tmp_path: Path) -> None:
    """Every other cut tears what was not synced; the rest take all of it."""
    chance = random.Random(CUTS)
    async with powered(library, tmp_path) as plant, AsyncExitStack() as stack:
        load = Load(plant.members)
        clients = [
            await stack.enter_async_context(connect("register", Register, members=plant.members))
            for _ in range(CLIENTS)
        ]
        for number in range(CUTS):
            answers = chance.randint(1, chance.choice(ANSWERS))
            told = await cut_under_load(plant, load, clients, answers, seed=number if number % 2 else None)
            assert told == [], f"after cut {number}"
            assert await wrongs(plant, load) == [], f"after cut {number}"


async def test_without_syncs_a_power_cut_is_found_to_lose_what_was_acknowledged(library: Path, tmp_path: Path) -> None:
    """The same load and the same check find it at once.

    The first life syncs, so that the group is formed for good. In the second the syncs do nothing, as if they were
    not in the program, and all disks go back to where that life began.
    """
    async with powered(library, tmp_path) as plant:
        load = Load(plant.members)
        plant.lying = True
        assert await cut_under_load(plant, load, [], 20) == []
        kept = list(load.places)
        told = await cut_under_load(plant, load, [], 20)
        assert len(load.places) >= len(kept) + 20
        assert told == gone(list(load.places), kept)
