"""Tasks that outlast the cancellation of the body that relies on them."""

from __future__ import annotations

import trio

from actors._nursery import Lasting, open_background


async def test_they_go_on_until_a_cancelled_body_has_ended(autojump_clock: trio.testing.MockClock) -> None:
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(trio.current_time())
            await trio.sleep(1)

    with trio.move_on_after(2.5):
        async with open_background() as nursery:
            tasks = Lasting(nursery)
            tasks.start_soon(beat)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2)
                tasks.end()
    assert len(beats) == 5


async def test_who_is_cancelled_while_it_waits_for_a_start_waits_no_longer() -> None:
    async def never(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    async def late(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        task_status.started()
        await trio.sleep_forever()

    for task in (never, late):
        with trio.fail_after(5), trio.CancelScope() as scope:
            async with open_background() as nursery:
                tasks = Lasting(nursery)
                scope.cancel()
                try:
                    await tasks.start(task)
                finally:
                    tasks.end()
        assert scope.cancelled_caught


async def test_what_begins_after_the_end_is_cancelled_at_once(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[float] = []

    async def stay() -> None:
        with trio.move_on_after(5):  # one that is not cancelled has nobody else who ends it
            try:
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time() - began)

    began = trio.current_time()
    async with open_background() as nursery:
        tasks = Lasting(nursery)
        tasks.end()
        tasks.start_soon(stay)
    assert ended == [0]
