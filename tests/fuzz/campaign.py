"""Spoiled frames, from a seed: what becomes of each, and what must not.

A frame is made valid, as a tree; then its tree is spoiled, or the bytes of its body, of its header, or of all of it. It
goes the way that every frame goes: from a link's reader to whom it is for. Only a `RemoteProtocolError` may come of it.
"""

from __future__ import annotations

import resource
import time
import traceback
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import structlog
import trio
from kinds import KINDS
from trees import encoded, spoil, spoiled
from world import NODE_FRAMES, World, open_world

from actors._protocol import codec
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import frame

CHUNK = 20_000
"""Frames of one world, and of one seed of their own."""
FINDINGS_MAX = 20
"""That are kept of a chunk."""
REACHED_LEAST = 0.20
"""Of all frames, those whose body decodes and is held against the types of its kind: else little is tried."""

_WHERE = (("tree", 0.5), ("body", 0.58), ("header", 0.64), ("head", 0.69), ("frame", 0.73), ("nowhere", 1.0))
"""Where frames are spoiled, and the sum of how often up to there. The rest leads further on."""


class Finding(msgspec.Struct, frozen=True):
    """A frame that did what none may do. frame: in hexadecimal."""

    chunk: int
    number: int
    kind: str
    frame: str
    error: str

    @property
    def place(self) -> str:
        """Where it went wrong, to tell findings from one another."""
        return self.error.strip().rpartition("  File ")[2]


@dataclass(slots=True)
class Tally:
    """What came of frames. reached: were held against types. refused: of those. accepted: those that nobody minds."""

    frames: int = 0
    reached: int = 0
    refused: int = 0
    accepted: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    slowest: tuple[float, str, str] = (0.0, "", "")
    """Seconds of processor time, the kind, and the beginning of the frame."""
    grown: int = 0
    """KiB that the process was larger in the end than after the first tenth."""
    findings: list[Finding] = field(default_factory=list[Finding])

    def add(self, other: Tally) -> None:
        self.frames += other.frames
        self.reached += other.reached
        self.refused += other.refused
        self.accepted += other.accepted
        self.kinds += other.kinds
        self.slowest = max(self.slowest, other.slowest)
        self.grown = max(self.grown, other.grown)
        self.findings += other.findings


class Frames:
    """Spoiled frames, one after the other."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._names = list(KINDS)

    def next(self) -> tuple[str, bytes]:
        """The kind that it was made of, and its bytes."""
        random = self._random
        name = random.choice(self._names)
        kind, chance = KINDS[name], random.random()
        where = next(where for where, until in _WHERE if chance < until)
        message: list[Any] = kind.make(random)
        for _ in range(random.choice((1, 1, 1, 2, 3)) if where == "tree" else 0):
            spoil(message, random)
        if kind.to is None:
            header, body = encoded(message), b""
        else:
            fields = ["envelope", random.randrange(1, 100), random.choice((0, 1, 2, 3)), kind.to, "", kind.tag]
            if where == "head":
                spoil(fields, random)
            header, body = encoded(fields), encoded(message)
        if where == "header":
            header = spoiled(header, random)
        elif where == "body":
            body = spoiled(body, random)
        data = frame(min(len(header), 65_535).to_bytes(2, "big"), header, body)
        return name, spoiled(data, random) if where == "frame" else data


class _Reached:
    """Counts how often something that was decoded is held against types."""

    def __init__(self) -> None:
        self.count = 0
        self.convert = codec.convert

    def __call__(self, plain: object, type: Any) -> Any:  # noqa: A002
        self.count += 1
        return self.convert(plain, type)


@contextmanager
def _counting() -> Generator[_Reached]:
    reached = _Reached()
    codec.convert = reached  # type: ignore[assignment]
    try:
        yield reached
    finally:
        codec.convert = reached.convert


def run(seed: int, chunk: int, count: int = CHUNK) -> Tally:
    """So many frames in a world of their own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # nothing is said of what is refused
    try:
        return trio.run(_run, seed, chunk, count)
    finally:
        structlog.reset_defaults()


async def _run(seed: int, chunk: int, count: int) -> Tally:
    random, tally = Random(f"{seed} {chunk}"), Tally()
    frames, before = Frames(random), 0
    while tally.frames < count and len(tally.findings) < FINDINGS_MAX:  # each finding is the end of a world
        first, tried = tally.frames, ("", b"")
        try:
            async with open_world(Random(f"{seed} {chunk} {first}")) as world:
                while tally.frames < count:
                    tried = frames.next()
                    _try(world, tally, *tried)
                    if tally.frames % NODE_FRAMES == 0:
                        await world.go_on()
                    if tally.frames == count // 10:
                        before = _size()
        except BaseException as error:
            if tally.frames == first or _is_interrupt(error):
                raise
            kind, data = tried
            tally.findings.append(Finding(chunk, tally.frames, kind, data.hex(), told(error)))
    tally.grown = _size() - before if before else 0
    return tally


def _is_interrupt(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt | trio.Cancelled)


def _try(world: World, tally: Tally, kind: str, data: bytes) -> None:
    tally.frames += 1
    tally.kinds[kind] += 1
    began = time.thread_time()
    with _counting() as reached:
        try:
            world.hear(kind, data)
            minded = False
        except RemoteProtocolError:
            minded = True
    took = time.thread_time() - began
    if took > tally.slowest[0]:
        tally.slowest = took, kind, data[:200].hex()
    if reached.count >= (1 if kind == "link" else 2):  # the header of an envelope is held against its types too
        tally.reached += 1
        tally.refused += minded
    tally.accepted += not minded


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _size() -> int:
    """KiB of memory that this process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
