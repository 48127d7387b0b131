"""What Trio itself allows, in a process of its own: the same messages with nothing of ours around them.

tell: over a memory channel without waiting where there is room; a look at the cancellation each time, and other tasks'
    turn every 64th time and where it is full, as `tell` has it. The handler is called with one argument.
ask: a checkpoint, and a call: the least for an ask that has to be a checkpoint.
async ask: two tasks that wake each other.
channels: the same over two memory channels, as one writes it with Trio alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio
from talking import Message, answer

TURNS = 64
CAPACITY = 10_000


class Counter:
    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    async def add_async(self, amount: int) -> int:
        self.total += amount
        return self.total


async def tells(count: int) -> Message:
    counter = Counter()
    sender, receiver = trio.open_memory_channel[int](CAPACITY)

    async def handle() -> None:
        handled = 0
        while handled < count:
            try:
                amount = receiver.receive_nowait()
            except trio.WouldBlock:
                amount = await receiver.receive()
            counter.add(amount)
            handled += 1
            if not handled % TURNS:
                await trio.lowlevel.checkpoint()

    async def tell() -> None:
        for number in range(count):
            if number % TURNS:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await trio.lowlevel.checkpoint()
            try:
                sender.send_nowait(1)
            except trio.WouldBlock:
                await sender.send(1)

    return await _rated(count, counter, tell, handle)


async def asks(count: int) -> Message:
    counter = Counter()

    async def ask() -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()
            counter.add(1)

    return await _rated(count, counter, ask)


async def async_asks(count: int) -> Message:
    counter, waiting = Counter(), list[trio.lowlevel.Task]()

    async def handle() -> None:
        while True:
            waiting.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(_abort)
            await counter.add_async(1)
            trio.lowlevel.reschedule(waiting.pop())

    async def ask() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle)
            while not waiting:
                await trio.lowlevel.checkpoint()
            for _ in range(count):
                handler = waiting.pop()
                waiting.append(trio.lowlevel.current_task())
                trio.lowlevel.reschedule(handler)
                await trio.lowlevel.wait_task_rescheduled(_abort)
            nursery.cancel_scope.cancel()

    return await _rated(count, counter, ask)


async def channels(count: int) -> Message:
    counter = Counter()
    asked, asks = trio.open_memory_channel[int](0)
    answered, answers = trio.open_memory_channel[int](0)

    async def handle() -> None:
        async for amount in asks:
            await answered.send(await counter.add_async(amount))

    async def ask() -> None:
        async with asked:
            for _ in range(count):
                await asked.send(1)
                await answers.receive()

    return await _rated(count, counter, ask, handle)


async def _rated(count: int, counter: Counter, *tasks: Callable[[], Awaitable[None]]) -> Message:
    begun, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    if counter.total != count:
        raise RuntimeError(f"{counter.total} were counted of {count}")
    return {"rate": count / seconds, "cpu": 1e6 * cpu / count}


def _abort(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


async def main() -> None:
    await answer({}, {"tell": tells, "ask": asks, "async ask": async_asks, "channels": channels})


if __name__ == "__main__":
    trio.run(main)
