"""Clients that use a store at real processes, and readers at each of these; all they saw is kept, to be checked."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context

import trio
from noting import named
from rig import PATIENCE_SECONDS_MAX, Member, Rig
from stalls import Machine
from store import Store

from actors import OutcomeUnknown, Refused
from broadcast import Consistency, GroupRef, connect
from broadcast._simulation.campaign import end_with_parent
from broadcast._simulation.linearizability import Operation, Verdict, check

CLIENTS = 5
TASKS = 2  # of a client, each with one operation under way
KEYS = 4  # in use at a time
OPERATIONS_MAX = 60  # on one key: the search for an order is exponential in what is unknown
PATIENCE_SECONDS = 5.0  # with one operation; then its outcome is unknown
BOTH = Consistency.LINEARIZABLE, Consistency.LOCAL
CHECKERS = 2  # processes, for a history of more operations than this:
CHECKED_HERE_MAX = 20_000


class Load:
    """history: what was asked, when, and what came of it. longest_quiet: the longest time without any answer, in
    seconds, while a quorum could be expected to answer; quiet_during: what struck then. longest_quiet_counted: the
    same in seconds of the machine.

    pause: seconds between two operations of a task, at most: what is checked is what happens, not how much.
    """

    def __init__(self, rig: Rig, chance: random.Random, pause: float = 0.02) -> None:
        self.history: list[Operation] = []
        self.longest_quiet = self.longest_quiet_counted = 0.0
        self.quiet_during = "nothing"
        self.keys = [f"key {number}" for number in range(KEYS)]
        self.until = float("inf")
        """When it ends: no operation begins after that."""
        self._rig = rig
        self._chance = chance
        self._pause = pause
        self._used = Counter[str]()
        self._values = 0
        self._offered: dict[bytes, tuple[str, tuple[object, ...]]] = {}
        self._done: set[bytes] = set()
        self._answers = self._client_answers = 0
        self._answered = trio.lowlevel.ParkingLot()

    @property
    def answered(self) -> int:
        """How many operations have an answer."""
        return sum(operation.ended is not None for operation in self.history)

    async def run(self) -> None:
        """Until `until`, which may be set while it runs."""
        names = list(self._rig.members)
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(self._client, f"client {number}", names[number % len(names)])
            for _ in names:
                nursery.start_soon(self._reader)

    async def watch(self, expected: Callable[[], bool], during: Callable[[], str], machine: Machine) -> None:
        """Measure how long nobody gets an answer while one is expected, and the machine runs."""
        answers = stalls = 0
        last, last_counted = trio.current_time(), machine.seconds
        while trio.current_time() < self.until:
            if not expected() or self._answers > answers:
                last, last_counted = trio.current_time(), machine.seconds
            if len(machine.stalls) > stalls:
                last_counted = machine.seconds
            answers, stalls = self._answers, len(machine.stalls)
            if trio.current_time() - last > self.longest_quiet:
                self.longest_quiet, self.quiet_during = trio.current_time() - last, during()
            self.longest_quiet_counted = max(self.longest_quiet_counted, machine.seconds - last_counted)
            await trio.sleep(0.02)

    async def answers(self, count: int, within: float = PATIENCE_SECONDS_MAX) -> None:
        """Wait for so many more answers to clients: the group gets on. Raises trio.TooSlowError."""
        wanted = self._client_answers + count
        with trio.fail_after(within):
            while self._client_answers < wanted:
                await self._answered.park()

    # -- clients ---------------------------------------------------------------------------------------------------

    async def _client(self, name: str, first: str) -> None:
        """Told of one member, and perhaps of others."""
        addresses = {each: self._rig.addresses[each] for each in self._rig.members}
        others = self._chance.sample(list(addresses), self._chance.randrange(len(addresses)))
        known = {each: addresses[each] for each in (first, *others)}
        async with (
            connect("group", Store, members=known, network=self._rig.network) as client,
            trio.open_nursery() as nursery,
        ):
            for task in range(TASKS):
                nursery.start_soon(self._use, client, f"{name}.{task}")

    async def _use(self, client: GroupRef[Store], caller: str) -> None:
        while trio.current_time() < self.until:
            await self._operate(client, caller)
            await trio.sleep(self._chance.uniform(0, self._pause))

    async def _operate(self, client: GroupRef[Store], caller: str) -> None:
        key, chance = self._key(), self._chance
        self._values += 1
        value, choice = self._values, chance.random()
        if choice < 0.4:
            await self.write(client, caller, key, value)
        elif choice < 0.6:
            old = max(0, value - chance.randrange(1, 3 * KEYS * CLIENTS))
            await self._call(caller, "swap", (key, old, value), lambda: client.ask(Store.swap, key, old, value))
        else:
            await self._call(caller, "read", (key,), lambda: client.ask(Store.read, key))

    async def write(self, client: GroupRef[Store], caller: str, key: str, value: int) -> None:
        """Put a write into the history; no two with the same value."""
        await self._call(caller, "write", (key, value), lambda: client.ask(Store.write, key, value))

    async def _reader(self) -> None:
        """Reads at some replica itself, also while it does not lead, or does not know that it does not any more."""
        while trio.current_time() < self.until:
            member = self._chance.choice(list(self._rig.members.values()))
            await self.read_at(member, self._chance.choice(self.keys[-KEYS:]))
            await trio.sleep(self._chance.uniform(0, self._pause))

    async def read_at(self, member: Member, key: str, level: Consistency = Consistency.LINEARIZABLE) -> None:
        """Put a read by this replica itself into the history."""

        async def ask() -> object:
            try:
                return await member.read(level.value, "read", key)
            except (OSError, trio.BrokenResourceError) as error:  # it is not there
                await trio.sleep(0.05)
                raise OutcomeUnknown from error

        await self._call(f"at {member.name}", "read", (key,), ask)

    async def _call(
        self, caller: str, method: str, arguments: tuple[object, ...], ask: Callable[[], Awaitable[object]]
    ) -> None:
        """A read whose outcome is not known says nothing, and is left out."""
        is_read = method == "read"
        command = named(method, arguments)
        if not is_read:
            self._offered[command] = method, arguments
        begun = trio.current_time()
        outcome: object = None
        ended: float | None = None
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                outcome = await ask()
                ended = trio.current_time()
            except Refused as refusal:
                outcome, ended = refusal, trio.current_time()
            except OutcomeUnknown:
                pass
        if ended is not None:
            self._answers += 1
            self._client_answers += caller.startswith("client")
            self._answered.unpark_all()
            if not is_read and not isinstance(outcome, Refused):
                self._done.add(command)
        if ended is not None or not is_read:
            self.history.append(Operation(caller, method, arguments, begun, ended, outcome))

    def _key(self) -> str:
        """One of those in use. One that was used often enough gives its place to the next."""
        at = self._chance.randrange(KEYS)
        key = self.keys[-KEYS + at]
        self._used[key] += 1
        if self._used[key] == OPERATIONS_MAX:
            self.keys[-KEYS + at] = self.keys[-KEYS]
            self.keys[-KEYS] = key
            self.keys.append(f"key {len(self.keys)}")
        return key

    # -- in the end ------------------------------------------------------------------------------------------------

    async def wrongs(self) -> list[str]:
        """What all members hold, at either level, is what was delivered; and that is what was offered and answered."""
        deliveries = self._rig.deliveries
        store = Store()
        for note in deliveries.order():
            if note.command in self._offered:
                method, arguments = self._offered[note.command]
                getattr(store, method)(*arguments)
        wrongs = deliveries.misfits(self._offered.keys(), self._done)
        for member in self._rig.members.values():
            for level in BOTH:
                begun, held = trio.current_time(), None
                with trio.move_on_after(PATIENCE_SECONDS_MAX):
                    held = await member.read(level.value, "everything")
                ended = trio.current_time()
                if held is None:
                    wrongs.append(f"{member.name} does not say what it holds, at the level {level.value}.")
                    continue
                if held != store.values:
                    wrongs.append(f"{member.name} does not hold what was delivered, at the level {level.value}.")
                caller = f"{level.value} at {member.name} in the end"
                self.history += [Operation(caller, "read", (key,), begun, ended, held.get(key, 0)) for key in self.keys]
        return wrongs


@asynccontextmanager
async def under_load(rig: Rig, chance: random.Random, pause: float = 0.05) -> AsyncGenerator[Load]:
    """The group is used meanwhile. In the end all members are started, and whatever is not as it must be is raised."""
    load = Load(rig, chance, pause)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await load.answers(10)
        yield load
        load.until = trio.current_time()
    await rig.start()
    wrongs = [*await rig.wrongs(), *await load.wrongs()]
    assert wrongs == [], wrongs
    verdict = verdict_of(load.history)
    assert verdict.linearizable, str(verdict)


def verdict_of(history: Sequence[Operation]) -> Verdict:
    """Each key on its own; of a long history on both cores."""
    if len(history) <= CHECKED_HERE_MAX:
        return check(history, Store, key_of)
    parts: dict[Hashable, list[Operation]] = {}
    for operation in history:
        parts.setdefault(key_of(operation), []).append(operation)
    with ProcessPoolExecutor(CHECKERS, get_context("spawn"), end_with_parent) as pool:
        verdicts = list(pool.map(check_part, parts.values(), chunksize=16))
    bad = next((verdict for verdict in verdicts if not verdict.linearizable), None)
    return bad or Verdict(True, tuple(operation for verdict in verdicts for operation in verdict.order))


def check_part(part: Sequence[Operation]) -> Verdict:
    return check(part, Store)


def key_of(operation: Operation) -> Hashable:
    """What operations of different ones have nothing to do with each other by."""
    return operation.arguments[0]
