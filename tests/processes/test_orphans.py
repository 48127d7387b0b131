"""Replicas whose parent is killed end too, whatever they were doing.

This process takes the orphans in, and sees how they end: in good order, or by the thread that sees to it that they do.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from stalls import Machine

from broadcast.cli._talk import STOP_SECONDS

SECONDS_MAX = 120  # for the parent, to get where it is to die
PR_SET_CHILD_SUBREAPER = 36
IN_ORDER, FORCED = 0, 1  # exit statuses

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
def taking_orphans_in() -> Generator[None]:
    """Who is left without a parent becomes a child of this process, as long as the context lasts."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@asynccontextmanager
async def parent(*arguments: str) -> AsyncGenerator[tuple[trio.Process, list[int]]]:
    """A process with three replicas, and descriptors of these; all of it is ended in the end."""
    command = [sys.executable, "-c", PARENT, *arguments]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    children: list[int] = []
    try:
        told = b""
        while not told.endswith(b"there\n"):
            chunk = await process.stdout.receive_some()
            assert chunk, told
            told += chunk
        children += map(os.pidfd_open, map(int, told.split()[:-1]))
        yield process, children
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()
        for child in children:
            with suppress(ProcessLookupError, ChildProcessError):  # it was seen to end
                signal.pidfd_send_signal(child, signal.SIGKILL)
                status_of(child)
            os.close(child)


def has_ended(child: int) -> bool:
    readable, _, _ = select.select([child], [], [], 0)
    return bool(readable)


def status_of(child: int) -> int:
    """Wait for the end of an orphan; its exit status, or the signal's number."""
    ended = os.waitid(os.P_PIDFD, child, os.WEXITED)
    assert ended is not None
    return ended.si_status


@pytest.mark.parametrize(
    ("when", "actor", "how"),
    [
        ("starting", "tally:Tally", {IN_ORDER, FORCED}),  # it may have to get to where it looks first
        ("serving", "tally:Tally", {IN_ORDER}),
        ("reporting", "tally:Tally", {IN_ORDER}),
        ("applying", "tally:Stuck", {IN_ORDER, FORCED}),  # who has come to the command cannot end in good order
    ],
)
async def test_replicas_end_when_their_parent_dies(
    when: str, actor: str, how: set[int], tmp_path: Path, machine: Machine
) -> None:
    with taking_orphans_in():
        async with parent(when, actor, str(tmp_path)) as (process, children):
            assert len(children) == 3
            assert not any(has_ended(child) for child in children)
            process.kill()
            await process.wait()
            with machine.limit(2 * STOP_SECONDS):
                for child in children:
                    await trio.lowlevel.wait_readable(child)
            statuses = {status_of(child) for child in children}
            assert statuses <= how
            assert FORCED in statuses or when != "applying"
