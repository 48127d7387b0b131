"""A log of random commands, applied: a line for each batch. Run under several hash seeds, all lines must be the same.

python hashing.py seed
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator

from actors._actor import Actor, command
from actors._interface import Interface
from actors._protocol.codec import encode, join_array
from actors._protocol.errors import Refused
from broadcast._machine import Machine
from broadcast._protocol.entries import (
    VOID,
    Commands,
    Due,
    Entry,
    EpochStart,
    SessionAsked,
    SessionEnded,
    SessionKept,
    encode_entries,
    span,
)
from broadcast._protocol.log import Log
from broadcast._protocol.position import Batch
from membership._protocol.view import Configuration, Limits, Member

CONFIGURATION = Configuration(
    tuple(Member(name, name.encode() * 16) for name in "abc"), limits=Limits(session_term=500, sessions_max=5)
)
NAMES = [f"name{number}" for number in range(20)]
DEEP: object = []
for _ in range(14):
    DEEP = [DEEP]


class Shelf(Actor):
    """Maps and sets of strings, whose order in memory depends on the hash seed, and what goes wrong in many ways."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.tags: set[str] = set()
        self.lots: dict[str, set[str]] = {}

    @command
    def put(self, name: str, tags: list[str]) -> int:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.tags |= set(tags)
        self.lots[name] = self.tags & set(tags) | self.lots.get(name, set())
        return len(self.tags)

    @command
    def later(self, name: str, tags: list[str]) -> None:
        self.context.after(len(self.tags) / 10_000, Shelf.put, name, tags)
        self.context.tell(self.context.group(Shelf), Shelf.drop, name)

    @command
    def names(self) -> list[str]:
        return sorted(self.tags)

    @command
    def everything(self) -> dict[str, set[str]]:
        return self.lots

    @command
    def drop(self, name: str) -> None:
        if name not in self.counts:
            raise Refused("there is none", name)
        del self.counts[name]
        self.tags.discard(name)

    @command
    def spoil(self, name: str) -> None:
        self.counts.clear()
        self.tags.clear()
        raise KeyError(name)

    @command
    def dice(self) -> float:
        return self.context.random.random()

    @command
    def nest(self, depth: int) -> list[object]:
        """An answer that may be deeper than any may be: a crash then, everywhere."""
        nested: list[object] = []
        for _ in range(depth):
            nested = [nested]
        return nested


def call(chance: random.Random) -> bytes:
    name, tags = chance.choice(NAMES), chance.sample(NAMES, chance.randrange(6))
    return chance.choice(
        (
            lambda: encode(["put", name, tags]),
            lambda: encode(["put", name, tags]),
            lambda: encode(["names"]),
            lambda: encode(["everything"]),
            lambda: encode(["drop", name]),
            lambda: encode(["spoil", name]),
            lambda: encode(["dice"]),
            lambda: encode(["later", name, sorted(chance.sample(NAMES, 2))]),
            lambda: encode(["nest", chance.choice((3, 12, 40))]),
            lambda: encode(["put", DEEP]),
            lambda: VOID,
            lambda: chance.randbytes(3),
        )
    )()


def entry(chance: random.Random, numbers: dict[int, int]) -> Entry:
    kind = chance.random()
    session = chance.choice([*numbers, 1])
    if kind < 0.1:
        return SessionAsked(chance.randbytes(16), chance.choice(NAMES))
    if kind < 0.15:
        return chance.choice((SessionKept(session, chance.randrange(10)), SessionEnded(session)))
    if kind < 0.25:
        return Due(chance.randrange(1, 4))
    number = max(1, numbers.get(session, 0) + chance.choice((1, 1, 1, 1, 0, -2, 2)))
    count = 1 + chance.randrange(4)
    numbers[session] = max(numbers.get(session, 0), number + count - 1)
    calls = join_array([call(chance) for _ in range(count)])
    return Commands(session, number, count, max(0, number - 5), 0, 0, calls)


def lines(seed: int, count: int = 120) -> Iterator[str]:
    """After each batch: what was told, and a digest of the state."""
    chance = random.Random(seed)
    log = Log()
    machine = Machine(Shelf, Interface.of(Shelf), CONFIGURATION, log.between, group="shelf")
    numbers: dict[int, int] = {}
    epoch = time = 0
    for _ in range(count):
        time += chance.choice((0, 1, 20, 300))
        entries = [entry(chance, numbers) for _ in range(1 + chance.randrange(3))]
        if epoch == 0 or chance.random() < 0.05:
            epoch += 1
            entries.insert(0, EpochStart(chance.choice("abc")))
        last = log.last
        stamp = log.last_stamp + 1 + chance.randrange(9)
        batch = Batch(epoch, last.epoch, last.index + 1, sum(map(span, entries)), time, stamp, encode_entries(entries))
        log.append(batch)
        index = batch.first
        for each in entries:
            if isinstance(each, SessionAsked):
                numbers[index] = 0
            index += span(each)
        told = machine.apply(batch)
        shown = [told, machine.state(), list(machine.sessions), list(machine.deliveries(batch))]
        yield f"{batch.last} {hashlib.sha256(repr(shown).encode()).hexdigest()[:16]}"


if __name__ == "__main__":
    for seed in map(int, sys.argv[1:]):
        print(*lines(seed), sep="\n")
