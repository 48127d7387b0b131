"""Real processes under whatever strikes: every client's history is linearizable, and all replicas have one order (T51).

MINUTES in the environment says for how long; `make jepsen MINUTES=30` sets it and shows the figures. SEED chooses what
strikes when; the timing of processes is nobody's to repeat.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import trio
from nemesis import Nemesis
from store import Store
from wires import open_wires

from actors import OutcomeUnknown, Refused
from broadcast import GroupRef, connect
from broadcast._simulation.linearizability import Operation, check
from broadcast.cli._order import differences
from broadcast.cli._process import ReplicaProcess, open_replicas, start_all

MINUTES = float(os.environ.get("MINUTES", "0.75"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
CLIENTS = 5
TASKS = 2  # of a client, each with one operation under way
KEYS = 4  # in use at a time
OPERATIONS_MAX = 60  # on one key: the search for an order is exponential in what is unknown
PATIENCE_SECONDS = 5.0  # with one operation; then its outcome is unknown
PAUSE_SECONDS = 0.02  # of a task, at most, between two operations: what is checked is what happens, not how much
QUIET_SECONDS_MAX = 15.0  # without an answer to anybody, while a quorum can be expected to answer
LEVEL_SECONDS_MAX = 60.0  # within which everything is well again once nothing strikes any more


class Load:
    """Clients that use the store, and what they saw."""

    def __init__(self, members: Mapping[str, str], chance: random.Random, nemesis: Nemesis) -> None:
        self.history: list[Operation] = []
        self.longest_quiet = 0.0
        self.keys = [f"key {number}" for number in range(KEYS)]
        self._members = members
        self._chance = chance
        self._nemesis = nemesis
        self._used = Counter[str]()
        self._values = 0
        self._answered_at = trio.current_time()

    async def run(self, until: float) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(self._client, f"client {number}", until)
            nursery.start_soon(self._watch_quiet, until)

    async def _client(self, name: str, until: float) -> None:
        known = self._chance.sample(list(self._members.items()), self._chance.randint(1, len(self._members)))
        async with connect("store", Store, members=dict(known)) as client, trio.open_nursery() as nursery:
            for task in range(TASKS):
                nursery.start_soon(self._use, client, f"{name}.{task}", until)

    async def _use(self, client: GroupRef[Store], caller: str, until: float) -> None:
        while trio.current_time() < until:
            await self._operate(client, caller)
            await trio.sleep(self._chance.uniform(0, PAUSE_SECONDS))

    async def _operate(self, client: GroupRef[Store], caller: str) -> None:
        key, chance = self._key(), self._chance
        self._values += 1
        value, choice = self._values, chance.random()
        if choice < 0.4:
            await self._call(caller, "write", (key, value), lambda: client.ask(Store.write, key, value))
        elif choice < 0.6:
            old = max(0, value - chance.randrange(1, 3 * KEYS * CLIENTS))
            await self._call(caller, "swap", (key, old, value), lambda: client.ask(Store.swap, key, old, value))
        else:
            await self.read(client, caller, key)

    async def read(self, client: GroupRef[Store], caller: str, key: str) -> None:
        await self._call(caller, "read", (key,), lambda: client.ask(Store.read, key))

    async def _call(
        self, caller: str, method: str, arguments: tuple[object, ...], ask: Callable[[], Awaitable[object]]
    ) -> None:
        begun = trio.current_time()
        outcome: object = None
        known = False
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                outcome = await ask()
            except Refused as refusal:
                outcome = refusal
            except OutcomeUnknown:
                self.history.append(Operation(caller, method, arguments, begun, None))
                return
            known = True
        ended = trio.current_time()
        if known:
            self._answered_at = ended
        if known or method != "read":
            self.history.append(Operation(caller, method, arguments, begun, ended if known else None, outcome))

    def _key(self) -> str:
        at = self._chance.randrange(KEYS)
        key = self.keys[-KEYS + at]
        self._used[key] += 1
        if self._used[key] == OPERATIONS_MAX:
            self.keys[-KEYS + at] = self.keys[-KEYS]
            self.keys[-KEYS] = key
            self.keys.append(f"key {len(self.keys)}")
        return key

    async def _watch_quiet(self, until: float) -> None:
        while trio.current_time() < until:
            if not self._nemesis.quorum:
                self._answered_at = trio.current_time()
            self.longest_quiet = max(self.longest_quiet, trio.current_time() - self._answered_at)
            await trio.sleep(0.02)


async def test_whatever_strikes_histories_are_linearizable_and_orders_are_one(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tell(f"seed {SEED}, {MINUTES:g} minutes")
    async with open_replicas("store", dict.fromkeys("abc", "store:Store"), tmp_path) as replicas:
        members = replicas["a"].settings.members
        async with open_wires(members) as (wires, told):
            for name, replica in replicas.items():
                replica.settings = msgspec.structs.replace(replica.settings, members=told[name])
            with trio.fail_after(LEVEL_SECONDS_MAX):
                await start_all(replicas.values())
            nemesis = Nemesis(replicas, wires, random.Random(SEED + 1))
            load = Load(members, chance, nemesis)
            end = trio.current_time() + 60 * MINUTES
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run, end)
                nursery.start_soon(nemesis.run, end)
                nursery.start_soon(show_progress, load, nemesis, end)
            with trio.fail_after(LEVEL_SECONDS_MAX):
                async with connect("store", Store, members=members) as client:
                    for key in load.keys:
                        await load.read(client, "in the end", key)
                await assert_one_order(replicas)
    unknown = sum(operation.ended is None for operation in load.history)
    tell(
        f"{len(load.history)} operations on {len(load.keys)} keys, {unknown} of unknown outcome; "
        f"{nemesis.strikes.total()} faults: {dict(nemesis.strikes)}; "
        f"longest time without an answer while a quorum was connected: {load.longest_quiet:.2f} s"
    )
    verdict = check(load.history, Store, lambda operation: operation.arguments[0])
    assert verdict.linearizable, f"seed {SEED}: {verdict}"
    assert load.longest_quiet < QUIET_SECONDS_MAX
    assert len(load.history) > 300 * MINUTES


async def assert_one_order(replicas: Mapping[str, ReplicaProcess]) -> None:
    """All have delivered as much as who has delivered most, and the same."""
    reports = [await replica.report(delivered=0, within=0) for replica in replicas.values()]
    most = max(report.count for report in reports)
    reports = [await replica.report(delivered=most, within=LEVEL_SECONDS_MAX) for replica in replicas.values()]
    assert differences(reports) == []
    assert [report.count for report in reports] == [most] * len(reports)


async def show_progress(load: Load, nemesis: Nemesis, end: float) -> None:
    while (left := end - trio.current_time()) > 0:
        tell(f"{left:5.0f} s left, {len(load.history)} operations, {nemesis.strikes.total()} faults")
        await trio.sleep(min(left, 10))


def tell(text: str) -> None:
    """What `pytest -s` shows, and what a failure shows too."""
    print(text, file=sys.stderr, flush=True)
