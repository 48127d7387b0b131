"""What all parts of a history share: virtual time, the one source of chance, the trace, the marks."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from broadcast._protocol.output import Received
from broadcast._simulation.options import Options

TRACE_LENGTH = 400  # events kept for a reader
SHOWN_LENGTH = 220  # characters of one event


class Schedule:
    """Virtual time in microseconds, and what is due when. What is due at once happens in the order of asking."""

    def __init__(self) -> None:
        self.now = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Have this done at `time`, or now if that is past."""
        self._count += 1
        heapq.heappush(self._due, (max(time, self.now), self._count, action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def run(self, until: int) -> None:
        """Do all that is due up to `until`, which is now afterwards."""
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = until


class Trace:
    """What happened: a digest of everything, and the last events for a reader."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[int, str, str, object]] = deque(maxlen=TRACE_LENGTH)

    def note(self, now: int, where: str, what: str, shown: object, data: bytes | None) -> None:
        """`shown` is for the reader; `data` stands for it in the digest where that is at hand anyway."""
        self._digest.update(f"{now} {where} {what} ".encode())
        self._digest.update(repr(shown).encode() if data is None else data)
        self._last.append((now, where, what, shown))

    def digest(self) -> str:
        return self._digest.hexdigest()

    def lines(self) -> list[str]:
        """The last events, one a line: time in milliseconds, where, what."""
        return [_line(*event) for event in self._last]


def _line(now: int, where: str, what: str, shown: object) -> str:
    text = f"{shown.sender}> {shown.message}" if isinstance(shown, Received) else str(shown)
    if len(text) > SHOWN_LENGTH:
        text = text[:SHOWN_LENGTH] + "..."
    return f"{now / 1000:10.3f}  {where:<4} {what:<10} {text}"


@dataclass(slots=True)
class World:
    """The stage of one history. `marks` counts what it met, so that a test can tell whether faults did their work."""

    chance: random.Random
    options: Options
    schedule: Schedule = field(default_factory=Schedule)
    trace: Trace = field(default_factory=Trace)
    marks: Counter[str] = field(default_factory=Counter[str])
    calm: bool = False
    """No fault strikes any more."""

    @property
    def now(self) -> int:
        return self.schedule.now

    def strikes(self, rate: float) -> bool:
        """Does something of this rate happen now? Never in calm."""
        return rate > 0 and not self.calm and self.chance.random() < rate

    def note(self, where: str, what: str, shown: object = "", data: bytes | None = None) -> None:
        self.trace.note(self.schedule.now, where, what, shown, data)
