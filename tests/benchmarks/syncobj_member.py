"""A member of a group of PySyncObj's, in a process of its own.

Calls are made in the leader's process: it has no clients. Its log is in memory, as it ships: nothing is written, and
nothing synced.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated  # type: ignore[import-not-found,import-untyped,unused-ignore]
from spread import timings
from talking import Message, say, settings

READY_SECONDS_MAX = 25.0
CALL_SECONDS_MAX = 20.0
CASE_SECONDS_MAX = 90.0
CONFIGURATIONS: dict[str, dict[str, object]] = {
    "default": {},
    # The best of what was tried: a tick often, large batches and buffers, and the log never compacted meanwhile.
    "tuned": {
        "autoTickPeriod": 0.001,
        "appendEntriesPeriod": 0.005,
        "appendEntriesBatchSizeBytes": 2**20,
        "sendBufferSize": 2**20,
        "recvBufferSize": 2**20,
        "logCompactionMinEntries": 10**9,
        "logCompactionMinTime": 10**6,
    },
}


class Counter(SyncObj):  # type: ignore[misc,unused-ignore]  # PySyncObj has no types
    def __init__(self, own: str, others: list[str], configuration: str) -> None:
        super().__init__(own, others, SyncObjConf(**CONFIGURATIONS[configuration]))
        self.total = 0

    @replicated  # type: ignore[untyped-decorator,unused-ignore]
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


class Lost(Exception):
    """A call failed, or its answer did not come."""


class Window:
    """Calls under way, and what came of them."""

    def __init__(self, counter: Any, count: int) -> None:
        self._counter = counter
        self._count = count
        self._offered = 0
        self._failures = 0
        self._answered = 0
        self._done = threading.Event()

    def offered_by_a_thread(self, window: int) -> float:
        """The caller offers a call whenever there is room. Calls a second."""
        room = threading.Semaphore(window)

        def answered(_: object, error: object) -> None:
            self._settle(error)
            room.release()

        begun = time.perf_counter()
        for _ in range(self._count):
            if not room.acquire(timeout=CALL_SECONDS_MAX):
                raise Lost(f"no answer within {CALL_SECONDS_MAX:g} s, after {self._answered} of {self._count}")
            self._counter.add(1, callback=answered)
        return self._rate(begun)

    def offered_by_answers(self, window: int) -> float:
        """Each answer offers the next call, in PySyncObj's own thread. Calls a second."""

        def answered(_: object, error: object) -> None:
            self._settle(error)
            self._offer(answered, 1)

        begun = time.perf_counter()
        self._offer(answered, window)
        return self._rate(begun)

    def _offer(self, answered: Callable[[object, object], None], count: int) -> None:
        for _ in range(min(count, self._count - self._offered)):
            self._offered += 1
            self._counter.add(1, callback=answered)

    def _settle(self, error: object) -> None:
        self._answered += 1
        self._failures += bool(error)
        if self._answered == self._count:
            self._done.set()

    def _rate(self, begun: float) -> float:
        if not self._done.wait(CASE_SECONDS_MAX) or self._failures:
            raise Lost(f"{self._answered} of {self._count} calls were answered, {self._failures} with a failure")
        return self._count / (time.perf_counter() - begun)


class Member:
    def __init__(self, own: str, others: list[str], configuration: str) -> None:
        self._counter = Counter(own, others, configuration)

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS_MAX
        while not self._counter.isReady():
            if time.monotonic() > until:
                raise Lost(f"not ready within {READY_SECONDS_MAX:g} s")
            time.sleep(0.02)

    def status(self) -> Message:
        return {"leads": bool(self._counter._isLeader()), "value": self._counter.total, "cpu": time.process_time()}

    def asks(self, count: int) -> Message:
        seconds: list[float] = []
        expected = self._counter.total
        for _ in range(count):
            begun = time.perf_counter()
            told = self._counter.add(1, sync=True, timeout=CALL_SECONDS_MAX)
            seconds.append(time.perf_counter() - begun)
            expected += 1
            if told != expected:
                raise Lost(f"call {expected} was answered {told}")
        return timings(seconds) | {"rate": count / sum(seconds)}

    def pipelined(self, count: int, window: int, by: str) -> Message:
        offered = Window(self._counter, count)
        ways = {"thread": offered.offered_by_a_thread, "answers": offered.offered_by_answers}
        return {"rate": ways[by](window)}


def main() -> None:
    logging.basicConfig(stream=sys.stderr)
    told = settings()
    member = Member(told["own"], told["others"], told["configuration"])
    member.wait_ready()
    say({})
    table: dict[str, Callable[..., Message]] = {
        "status": member.status,
        "asks": member.asks,
        "pipelined": member.pipelined,
    }
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            say(table[asked.pop("do")](**asked))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
            break
    sys.stderr.flush()
    os._exit(0)  # its thread would hold the process


if __name__ == "__main__":
    main()
