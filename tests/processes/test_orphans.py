"""Replicas whose parent is killed end too, whatever they were doing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from broadcast.cli._talk import STOP_SECONDS

SECONDS_MAX = 60  # for the parent, to get where it is to die

PARENT = f"""
import sys
from pathlib import Path
import trio, trio.testing
from broadcast import connect
from broadcast.cli._process import open_replicas, start_all
from tally import Tally

async def ask(members):
    async with connect("tally", Tally, members=members) as tally:
        await tally.ask(Tally.add, 1)

async def get_there(when, replicas, nursery):
    if when == "starting":
        for each in replicas:
            nursery.start_soon(each.start)
        while any(each.pid is None for each in replicas):
            await trio.lowlevel.checkpoint()
    else:
        await start_all(replicas)
    print(*[each.pid for each in replicas], flush=True)
    if when == "reporting":
        for each in replicas:
            nursery.start_soon(lambda: each.report(delivered=1, within=10**6))
        await trio.testing.wait_all_tasks_blocked(0.1)
    if when == "applying":
        nursery.start_soon(ask, replicas[0].settings.members)
        while not any("stuck" in each.log.read_text() for each in replicas):
            await trio.lowlevel.checkpoint()
    print("there", flush=True)

async def main(when, actor, directory):
    actors = dict.fromkeys("abc", actor)
    async with open_replicas("tally", actors, Path(directory)) as replicas, trio.open_nursery() as nursery:
        with trio.fail_after({SECONDS_MAX}):
            await get_there(when, list(replicas.values()), nursery)
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


@contextmanager
def parent(*arguments: str) -> Generator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process with three replicas, and descriptors of these; all of it is ended in the end."""
    with subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE) as process:
        children: list[int] = []
        try:
            assert process.stdout is not None
            children += map(os.pidfd_open, map(int, process.stdout.readline().split()))
            assert process.stdout.readline() == b"there\n"
            yield process, children
        finally:
            process.kill()
            for child in children:
                if not has_ended(child, 0):
                    signal.pidfd_send_signal(child, signal.SIGKILL)
                os.close(child)


def has_ended(child: int, seconds: float) -> bool:
    readable, _, _ = select.select([child], [], [], max(seconds, 0))
    return bool(readable)


@pytest.mark.parametrize(
    ("when", "actor", "seconds_max"),
    [
        ("starting", "tally:Tally", 2 * STOP_SECONDS),  # it may have to get to where it looks first
        ("serving", "tally:Tally", 0.9 * STOP_SECONDS),
        ("reporting", "tally:Tally", 0.9 * STOP_SECONDS),
        ("applying", "tally:Stuck", 2 * STOP_SECONDS),  # it cannot end in good order
    ],
)
def test_replicas_end_when_their_parent_dies(when: str, actor: str, seconds_max: float, tmp_path: Path) -> None:
    with parent(when, actor, str(tmp_path)) as (process, children):
        assert len(children) == 3
        assert not any(has_ended(child, 0) for child in children)
        process.kill()
        assert process.wait(SECONDS_MAX) == -signal.SIGKILL
        deadline = monotonic() + seconds_max
        assert [has_ended(child, deadline - monotonic()) for child in children] == [True] * 3
