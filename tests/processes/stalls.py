"""Does the machine keep up? What is promised in seconds is promised for one that runs, and has a processor to spare.

Every tenth of a second a task wakes up, and syncs a byte to the disk that the test uses. If that comes late, something
stood still: this process, all of them, or the disk. Then what is promised within some seconds has them anew. And where
more processes want a processor than there are, a second counts for the share that each of them gets of it.

    with machine.limit(2.5):        # as trio.fail_after, in seconds of the machine
        await ...
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import trio

TICK_SECONDS = 0.1
LATE_SECONDS = 0.15  # more than a busy machine takes to wake somebody up, less than what an election depends on
PATIENCE = 40  # times the seconds, and a minute: a limit is one in the end, whatever the machine does
LOAD = Path("/proc/loadavg")


class _Limit:
    def __init__(self, scope: trio.CancelScope, seconds: float) -> None:
        self.scope = scope
        self.seconds = seconds
        self.counted = 0.0


class Machine:
    """Watches while `run` does. file: to be synced; it is made.

    stalls: when each began and ended, by Trio's clock. seconds: that count, so far.
    """

    def __init__(self, file: Path) -> None:
        self.stalls: list[tuple[float, float]] = []
        self.seconds = 0.0
        self._file = file
        self._limits: list[_Limit] = []
        self._ticks: list[tuple[float, float, float]] = []
        self._ticked = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        with self._file.open("wb", buffering=0) as file:
            while True:
                began = trio.current_time()
                await trio.sleep(TICK_SECONDS)
                await trio.to_thread.run_sync(_sync, file.fileno())
                self.note(began, trio.current_time(), share())

    def note(self, began: float, ended: float, share: float = 1.0) -> None:
        """So long it took, which takes a tenth of a second on a machine that runs; and that was had of a processor."""
        is_late = ended - began > TICK_SECONDS + LATE_SECONDS
        if is_late:
            self.stalls.append((began, ended))
            share = 0.0
        self._ticks.append((began, ended, share))
        self.seconds += share * (ended - began)
        for limit in self._limits:
            limit.counted = 0.0 if is_late else limit.counted + share * (ended - began)
            if limit.counted >= limit.seconds:
                limit.scope.cancel()
        self._ticked.unpark_all()

    @contextmanager
    def limit(self, seconds: float) -> Generator[None]:
        """Raises trio.TooSlowError if so many seconds count, with no stall among them, before the context is left."""
        with trio.move_on_after(60 + PATIENCE * seconds) as scope:
            limit = _Limit(scope, seconds)
            self._limits.append(limit)
            try:
                yield
            finally:
                self._limits.remove(limit)
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"not within {seconds:g} s, {len(self.stalls)} stalls of the machine left aside")

    async def counted(self, began: float, ended: float) -> float:
        """How many seconds count from then to then, or from the last stall in between."""
        await self._ticked.park()  # a stall that is over is noted with the tick that it delayed
        await self._ticked.park()
        first = max([began, *(end for begin, end in self.stalls if begin < ended and end > began)])
        return sum(share * max(0.0, min(end, ended) - max(begin, first)) for begin, end, share in self._ticks)

    def stalls_since(self, began: float) -> int:
        """How often it has stood still."""
        return sum(end > began for _, end in self.stalls)


def share() -> float:
    """Of a processor, that each gets now of those who want one."""
    try:
        wanting = int(LOAD.read_text().split()[3].partition("/")[0])
    except OSError:  # it is not told here
        return 1.0
    return min(1.0, (os.cpu_count() or 1) / max(1, wanting))


def _sync(file: int) -> None:
    os.pwrite(file, b".", 0)
    os.fsync(file)
