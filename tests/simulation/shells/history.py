"""One history of the shells: first safety, whatever strikes; then, with all repaired, everything comes to an end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import pytest
import trio
from trio.testing import MockClock

from broadcast import connect
from broadcast._simulation.diary import Diary
from broadcast._simulation.invariants import Violation, broken, check
from shells.disk import GROUP, MARKS_AHEAD, RecordingDisk, directory_class
from shells.order import inject, seeded
from shells.process import Process, gist
from shells.threads import Queue
from shells.work import Notes, Worker
from shells.world import MEMBERS, NAMES, Options, World

REPAIRED_FOR_MAX = 20.0  # after the last fault, everything must be done within this
LOOK_INTERVAL = 0.020
STEPS_MAX = 400_000  # of all tasks in a history: more is a loop in which no time passes


@dataclass(frozen=True, slots=True)
class History:
    """What came of a seed: see `broadcast._simulation.history.History`."""

    seed: int
    options: Options
    digest: str
    marks: Counter[str]
    ended_at: float
    steps: int
    trace: list[str]


Plant = Callable[[pytest.MonkeyPatch], None]
Scenario = Callable[[World, trio.Nursery], Awaitable[None]]
"""What happens in a world; the nursery is cancelled after it."""


def run(
    seed: int, *, options: Options | None = None, plant: Plant | None = None, scenario: Scenario | None = None
) -> History:
    """Play the history of this seed. Raises `Violation`, with the last events.

    plant: takes a rule out of the product for this run. scenario: instead of faults and workers.
    """
    stage = Stage(seed, options, scenario or play)
    with pytest.MonkeyPatch.context() as patch, seeded(seed):
        if plant is not None:
            plant(patch)
        try:
            trio.run(stage.play, patch, clock=MockClock(autojump_threshold=0))
        except BaseException as error:
            cause = gist(error)
            if isinstance(cause, KeyboardInterrupt):
                raise
            failure = stage.world.judge.failure if stage.world is not None else None
            cause = failure or cause
            text = f"seed {seed}: {cause if isinstance(cause, Violation) else repr(cause)}"
            violation = Violation(f"{text}\n  see it again: python tests/simulation/shells --seed {seed} --trace")
            violation.trace = stage.world.lines() if stage.world is not None else []
            raise violation from error
    world = stage.world
    assert world is not None
    return History(seed, world.options, world.digest(), world.marks, stage.ended_at, world.steps.count, world.lines())


class Stage:
    """Everything that takes part."""

    def __init__(self, seed: int, options: Options | None, scenario: Scenario) -> None:
        self.scenario = scenario
        self.chance = Random(seed)
        drawn = Options.drawn(self.chance)
        self.options = options or drawn
        self.world: World | None = None
        self.ended_at = 0.0

    async def play(self, patch: pytest.MonkeyPatch) -> None:
        async with trio.open_nursery() as threads:
            world = self.world = World(self.chance, self.options, threads)
            install(world, patch)
            trio.lowlevel.add_instrument(world.steps)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_look, world)
                    await self.scenario(world, nursery)
                    self.ended_at = trio.current_time()
                    nursery.cancel_scope.cancel()
                world.judge.look()
                check(world.threads.running == 0, "no thread is left", running=world.threads.running)
            finally:
                world.threads.abandon()


def start(world: World, notes: Notes, nursery: trio.Nursery) -> dict[str, Process]:
    """The members, under way."""
    processes = {name: Process(world, notes, name) for name in NAMES}
    for process in processes.values():
        nursery.start_soon(process.run)
    return processes


async def play(world: World, nursery: trio.Nursery) -> None:
    """Faults and workers, and then peace."""
    options, notes = world.options, Notes(world)
    processes = start(world, notes, nursery)
    clients = [f"client-{number}" for number in range(options.clients)]
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as working:
            for name in clients:
                working.start_soon(_client, world, notes, name)
            faults = Faults(world, processes, clients)
            with trio.move_on_after(options.duration):
                await faults.run()
            world.calm = True
            world.note("calm", "")
            await faults.end()
            scope.deadline = trio.current_time() + REPAIRED_FOR_MAX
    if scope.cancelled_caught:
        broken("with everything repaired every client comes to an end", open=_open(notes, processes))
    await level(world, notes, processes)


async def level(world: World, notes: Notes, processes: dict[str, Process]) -> None:
    """All replicas come to the same end."""
    with trio.move_on_after(REPAIRED_FOR_MAX):
        while world.working or not _is_level(processes):  # noqa: ASYNC110 - of many processes, none of which tells
            await trio.sleep(LOOK_INTERVAL)
        await trio.sleep(LOOK_INTERVAL)  # for those who follow
        states = [_notes_of(process) for process in processes.values()]
        check(all(state == states[0] for state in states), "all states are equal", states=states)
        notes.ended(states[0])
        for process in processes.values():
            check(process.delivered == states[0], "deliveries are all of them", name=process.name)
        return
    broken("with everything repaired all replicas are level", open=_open(notes, processes))


async def _look(world: World) -> None:
    while True:
        world.judge.look()
        check(world.steps.count < STEPS_MAX, "time goes on")
        await trio.sleep(LOOK_INTERVAL)


async def _client(world: World, notes: Notes, name: str) -> None:
    host = world.network.host(name)
    async with (
        connect(GROUP, Diary, members=MEMBERS, name=name, network=host) as group,
        trio.open_nursery() as nursery,
    ):
        for number in range(world.options.workers):
            nursery.start_soon(Worker(world, notes, group, f"{name}.{number}").run)
    check(not host.streams, "a closed client has no connection", name=name)


def install(world: World, patch: pytest.MonkeyPatch) -> None:
    """Have the product run in this world."""
    inject(patch, world.chance)
    network, options = world.network, world.options
    network.latency, network.buffer_size = options.latency, options.buffer_size
    network.tearing, network.refusals = options.tearing, options.refusals
    for store in world.stores.values():
        store.latency = options.disk_latency
    patch.setattr("broadcast._writer.threading", world.threads.threading)
    patch.setattr("broadcast._writer.SimpleQueue", Queue)
    patch.setattr(trio.to_thread, "run_sync", world.threads.run_sync)
    patch.setattr(
        "broadcast._disks.SqliteDisk",
        lambda path: RecordingDisk(world.stores[path.name], world.lives[path.name], world),
    )
    patch.setattr("actors._node.DataDirectory", directory_class(world))
    patch.setattr("actors._gate.COUNTER_BLOCK", MARKS_AHEAD)
    world.judge.install(patch)


class Faults:
    """What strikes, and its end."""

    def __init__(self, world: World, processes: dict[str, Process], clients: list[str]) -> None:
        self._world = world
        self._processes = processes
        self._hosts = [*NAMES, *clients]
        self._cuts: list[tuple[str, str]] = []

    async def run(self) -> None:
        options, chance = self._world.options, self._world.chance
        kinds = {
            self._lose: options.losses,
            self._cut: options.cuts,
            self._kill: options.kills,
            self._stop: options.stops,
            self._rejoin: options.rejoins,
            self._stall: options.stalls,
            self._fill: options.full_disks,
            self._fail: options.failed_disks,
        }
        if not options.strike_interval or not any(kinds.values()):
            await trio.sleep_forever()
        while True:
            await trio.sleep(chance.uniform(0, 2 * options.strike_interval))
            self._heal_some()
            strike = chance.choices(list(kinds), list(kinds.values()))[0]
            name = chance.choice(NAMES)
            self._world.note(strike.__name__, name)
            self._world.marks[strike.__name__.strip("_")] += 1
            strike(name)

    async def end(self) -> None:
        """Repair everything."""
        network = self._world.network
        network.tearing, network.refusals = 0.0, 0.0
        for link in self._cuts:
            network.heal(*link)
        self._cuts.clear()
        for store in self._world.stores.values():
            store.full = store.failing = False
            store.stalled_until = 0.0

    def _heal_some(self) -> None:
        chance = self._world.chance
        for link in [link for link in self._cuts if chance.random() < 0.4]:
            self._cuts.remove(link)
            self._world.network.heal(*link)
        for store in self._world.stores.values():
            store.full = store.full and chance.random() < 0.5

    def _lose(self, name: str) -> None:
        other = self._world.chance.choice([host for host in self._hosts if host != name])
        self._world.network.lose(name, other)

    def _cut(self, name: str) -> None:
        other = self._world.chance.choice([host for host in self._hosts if host != name])
        ways = self._world.chance.choice(([(name, other)], [(other, name)], [(name, other), (other, name)]))
        for link in ways:
            self._cuts.append(link)
            self._world.network.cut(*link)

    def _kill(self, name: str) -> None:
        self._processes[name].kill()

    def _stop(self, name: str) -> None:
        self._processes[name].stop()

    def _rejoin(self, name: str) -> None:
        self._processes[name].rejoin()

    def _stall(self, name: str) -> None:
        self._world.stores[name].stalled_until = trio.current_time() + self._world.chance.uniform(0, 1.5)

    def _fill(self, name: str) -> None:
        self._world.stores[name].full = True

    def _fail(self, name: str) -> None:
        self._world.stores[name].failing = True


def _is_level(processes: dict[str, Process]) -> bool:
    ends: set[tuple[int, int, str | None]] = set()
    for process in processes.values():
        if process.group is None or process.group.status().leader is None:
            return False
        status = process.group.status()
        ends.add((status.applied, status.last, status.leader))
    (applied, last, _), *others = ends
    return not others and applied == last > 0


def _notes_of(process: Process) -> list[tuple[str, int]]:
    group = process.group
    assert group is not None
    assert group._host.machine is not None
    return list(group._host.machine.actor.notes)


def _open(notes: Notes, processes: dict[str, Process]) -> list[str]:
    shown = [f"{owner} {number}" for (owner, number), fate in notes.fates.items() if fate.value == "open"]
    shown += [f"{name}: {process.group.status() if process.group else 'down'}" for name, process in processes.items()]
    return shown
