"""A replica in a process of its own that tells what it needs over a long life: memory, and time."""

from __future__ import annotations

import itertools
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import trio
from bench_store import Store
from spread import timings
from talking import Message, answer, settings

import broadcast._replica
from broadcast import Consistency, Group, GroupRef, open_group
from broadcast._group import _LocalWay
from broadcast._handle import Handle
from broadcast._protocol.messages import Append, GroupMessage, Heartbeat

LOOK_SECONDS = 0.01  # between two looks


class Watch:
    """How long at most since `anew`: the loop came late to a task, and no heartbeat came. In seconds."""

    def __init__(self) -> None:
        self.late = self.gap = 0.0
        self.computed = 0.0
        """Of the lateness at its most: how much of that this thread computed for."""
        self.batches = 0
        """That have come from leaders, since the beginning."""
        self._heard: float | None = None

    def anew(self) -> None:
        self.late = self.gap = self.computed = 0.0
        self._heard = None

    async def run(self) -> None:
        while True:
            due, computed = trio.current_time() + LOOK_SECONDS, time.thread_time()
            await trio.sleep_until(due)
            late = trio.current_time() - due
            if late > self.late:
                self.late, self.computed = late, time.thread_time() - computed

    def decoding(self, decode: Callable[[bytes], GroupMessage]) -> Callable[[bytes], GroupMessage]:
        def decode_and_note(data: bytes) -> GroupMessage:
            said = decode(data)
            if isinstance(said.message, Append):
                self.batches += len(said.message.batches)
            elif isinstance(said.message, Heartbeat):
                now = time.monotonic()
                self.gap = max(self.gap, 0.0 if self._heard is None else now - self._heard)
                self._heard = now
            return said

        return decode_and_note


class Lasting:
    """Says how this replica is."""

    def __init__(self, group: Group[Store], began: float, watch: Watch, nursery: trio.Nursery) -> None:
        self._group = group
        self._nursery = nursery
        self._sessions: list[GroupRef[Store]] = []
        self._began = began
        self._opened = time.monotonic()
        self._watch = watch
        self._caught_up: float | None = None
        self._computed: float | None = None

    async def wait_caught_up(self) -> None:
        """Until all that the log held at the start is applied."""
        last = self._group.status().last
        while self._group.status().applied < last or not last:  # noqa: ASYNC110 - it looks, and changes nothing
            await trio.sleep(LOOK_SECONDS)
        self._caught_up, self._computed = time.monotonic(), time.process_time()

    async def status(self) -> Message:
        status = self._group.status()
        count = 0
        if status.applied:
            count = await self._group.reading(Consistency.LOCAL).ask(Store.value)
        return {
            "leader": status.leader,
            "epoch": status.epoch,
            "applied": status.applied,
            "last": status.last,
            "snapshot": status.snapshot,
            "first": status.first,
            "sessions": status.sessions,
            "value": count,
            "memory": memory("VmRSS"),
            "peak": memory("VmHWM"),
            "cpu": computed(),
            "batches": self._watch.batches,
            "late": self._watch.late,
            "computed": self._watch.computed,
            "gap": self._watch.gap,
            "start cpu": self._computed,
            "to open": self._opened - self._began,
            "since start": None if self._caught_up is None else self._caught_up - process_started(),
            "since open": None if self._caught_up is None else self._caught_up - self._began,
        }

    async def asks(self, sessions: int, count: int, tasks: int) -> Message:
        """So many commands under so many sessions of this process, each in its turn."""
        while len(self._sessions) < sessions:
            some = [self._session() for _ in range(min(1_000, sessions - len(self._sessions)))]
            async with trio.open_nursery() as nursery:
                for each in some:
                    nursery.start_soon(each.ask, Store.add, 1)
            self._sessions += some
        turns = itertools.cycle(self._sessions[:sessions])
        took: list[float] = []

        async def ask(times: int) -> None:
            for _ in range(times):
                begun = time.perf_counter()
                await next(turns).ask(Store.add, 1)
                took.append(time.perf_counter() - begun)

        begun, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(ask, count // tasks)
        seconds = time.perf_counter() - begun
        return {"rate": len(took) / seconds, "cpu": 1e6 * (time.process_time() - cpu) / len(took)} | timings(took)

    def _session(self) -> GroupRef[Store]:
        host = self._group._host
        group, node, order = host.plan.group, host.node, self._group.handle.order
        handle = Handle(group=group, owner=node.name, nonce=os.urandom(16), clock=node.clock, order=order)
        _LocalWay(handle, host).formed()
        self._nursery.start_soon(handle.run)
        return GroupRef(Store, handle, self._group.name)

    async def anew(self) -> Message:
        """What was most is counted anew."""
        self._watch.anew()
        Path("/proc/self/clear_refs").write_text("5")  # noqa: ASYNC240 - no disk
        return {}


def memory(what: str) -> int:
    """Bytes of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


def computed() -> float:
    """Seconds of a processor that this process and its children have taken."""
    taken = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in taken)


def process_started() -> float:
    """When this process was made, by the monotonic clock, to a hundredth of a second."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK") - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())


async def main(name: str, members: dict[str, str], data: str) -> None:
    watch = Watch()
    broadcast._replica.decode_message = watch.decoding(broadcast._replica.decode_message)
    began = time.monotonic()
    async with (
        open_group("bench", Store, node=name, members=members, data=data) as group,
        trio.open_nursery() as nursery,
    ):
        lasting = Lasting(group, began, watch, nursery)
        nursery.start_soon(watch.run)
        nursery.start_soon(lasting.wait_caught_up)
        await answer({}, {"status": lasting.status, "anew": lasting.anew, "asks": lasting.asks})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    told = settings()
    trio.run(main, told["name"], told["members"], told["data"])
