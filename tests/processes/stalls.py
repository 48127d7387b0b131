"""Does the machine keep up? What is promised in seconds is promised for one that runs: where it stands still, they are
counted anew.

Every tenth of a second a task wakes up, and syncs a byte to the disk that the test uses. If that comes late, something
stood still: this process, all of them, or the disk. What is promised within some seconds must then have come within as
many seconds of a machine that was undisturbed for so long, in a row:

    with machine.limit(2.5):        # as trio.fail_after
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
DISTURBED_SECONDS_MAX = 120.0  # a limit is one in the end, however often the machine stands still


class _Limit:
    def __init__(self, scope: trio.CancelScope, seconds: float) -> None:
        self.scope = scope
        self.seconds = seconds
        self.calm = 0.0


class Machine:
    """Watches while `run` does. stalls: when each began and ended, by Trio's clock. file: to be synced; it is made."""

    def __init__(self, file: Path) -> None:
        self.stalls: list[tuple[float, float]] = []
        self._file = file
        self._limits: list[_Limit] = []
        self._ticked = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        with self._file.open("wb", buffering=0) as file:
            while True:
                began = trio.current_time()
                await trio.sleep(TICK_SECONDS)
                await trio.to_thread.run_sync(_sync, file.fileno())
                self.note(began, trio.current_time())

    def note(self, began: float, ended: float) -> None:
        """So long it took, which takes a tenth of a second on a machine that runs."""
        is_late = ended - began > TICK_SECONDS + LATE_SECONDS
        if is_late:
            self.stalls.append((began, ended))
        for limit in self._limits:
            limit.calm = 0.0 if is_late else limit.calm + ended - began
            if limit.calm >= limit.seconds:
                limit.scope.cancel()
        self._ticked.unpark_all()

    @contextmanager
    def limit(self, seconds: float) -> Generator[None]:
        """Raises trio.TooSlowError once the machine was undisturbed for so long, and the context is not left."""
        with trio.move_on_after(seconds + DISTURBED_SECONDS_MAX) as scope:
            limit = _Limit(scope, seconds)
            self._limits.append(limit)
            try:
                yield
            finally:
                self._limits.remove(limit)
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"not within {seconds:g} s, {len(self.stalls)} stalls of the machine left aside")

    async def undisturbed(self, began: float, ended: float) -> float:
        """How many seconds passed from then to then, or from the last stall in between."""
        await self._ticked.park()  # a stall that is over is noted with the tick that it delayed
        await self._ticked.park()
        return max(0.0, ended - max([began, *(end for begin, end in self.stalls if begin < ended and end > began)]))

    def stalls_since(self, began: float) -> int:
        """How often it has stood still."""
        return sum(end > began for _, end in self.stalls)

    @property
    def calm_since(self) -> float:
        """The end of the last stall, by Trio's clock."""
        return self.stalls[-1][1] if self.stalls else 0.0


def _sync(file: int) -> None:
    os.pwrite(file, b".", 0)
    os.fsync(file)
