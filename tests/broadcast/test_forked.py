"""Work in a forked child: its answer, its end, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from broadcast._forked import Child, ChildFailed, while_wanted

LONG = 60.0  # seconds; whatever fails, no child is left for longer


def sleep() -> bytes:
    time.sleep(LONG)
    return b"late"


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


async def test_it_sees_what_was_and_not_what_comes() -> None:
    state = [1, 2, 3]
    before = files()
    child = Child(lambda: bytes(state))
    state.append(4)
    assert await child.wait() == bytes([1, 2, 3])
    assert not is_there(child.pid)
    assert files() == before


async def test_one_that_ends_without_an_answer_has_failed() -> None:
    with pytest.raises(ChildFailed, match="status 1"):
        await Child(lambda: bytes(int("no number"))).wait()
    child = Child(sleep)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildFailed, match="status -9"):
        await child.wait()


async def test_a_wait_that_is_cancelled_ends_it() -> None:
    before = files()
    child = Child(sleep)
    with trio.move_on_after(0):
        await child.wait()
    assert not is_there(child.pid)
    assert files() == before


def test_it_runs_neither_handlers_nor_what_is_to_run_at_the_end() -> None:
    script = """
import atexit, os, signal, sys, trio
from broadcast._forked import Child
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"handled"))
atexit.register(lambda: os.write(1, b"exit of %d " % os.getpid()))
sys.stdout.write("buffered ")
def work():
    os.kill(os.getpid(), signal.SIGUSR1)
    return b"alive"
async def main():
    try:
        await Child(work).wait()
    except Exception as error:
        sys.stdout.write(str(error) + " ")
trio.run(main)
sys.stdout.write(f"{os.getpid()} ")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said = done.stdout.split()
    assert said[0] == "buffered"
    assert f"status -{signal.SIGUSR1:d}" in done.stdout
    assert done.stdout.count("buffered") == 1
    assert done.stdout.count("exit of") == 1
    assert "handled" not in done.stdout
    assert done.stderr == ""


def test_what_somebody_else_asks_for_of_all_children_is_no_harm() -> None:
    """That nothing is kept of those that have ended: how one ended is unknown then, and what it said is not."""
    script = """
import os, signal, time, trio
from broadcast._forked import Child, ChildFailed
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
opened, late = os.pidfd_open, False
def open_late(pid):
    if late:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # it is gone
    return opened(pid)
os.pidfd_open = open_late
def die():
    os.kill(os.getpid(), signal.SIGKILL)
async def main():
    global late
    for late in (False, True):
        assert await Child(lambda: b"done").wait() == b"done"
        try:
            await Child(die).wait()
        except ChildFailed as error:
            print(error)
        child = Child(lambda: b"done" if late else time.sleep(60) or b"late")
        await child.kill()
        await child.kill()
trio.run(main)
print(len(os.listdir("/proc/self/fd")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert done.stderr == ""
    *said, files_open = done.stdout.splitlines()
    assert said == ["the process that was to do it ended, and gave no answer"] * 2
    assert int(files_open) == 4


async def test_a_connection_that_is_closed_meanwhile_ends_for_the_other_side() -> None:
    here, there = socket.socketpair()
    child = Child(sleep)
    try:
        here.close()
        there.settimeout(30)
        assert there.recv(1) == b""
    finally:
        there.close()
        await child.kill()


async def test_threads_that_hold_locks_do_not_hold_it_up() -> None:
    lock, go_on = threading.Lock(), threading.Event()

    def hold() -> None:
        with lock:
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    with trio.fail_after(30):
        assert await Child(lambda: b"done").wait() == b"done"
    go_on.set()
    thread.join()


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """Within a piece of its work, and everything that it holds open is free again."""
    script = """
import os, sys, time, trio
from broadcast._forked import Child, while_wanted
parent = os.getpid()
def pieces():
    for _ in range(3000):
        time.sleep(0.01)
        yield b""
def work():
    for _ in while_wanted(pieces(), parent):
        pass
    return b"?"
async def main():
    child = Child(work)
    print(child.pid, flush=True)
    await child.wait()
trio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        int(parent.stdout.readline())
        parent.kill()
        killed = time.monotonic()
        assert parent.stdout.read() == ""  # which ends when the child does: it has this open too
        assert time.monotonic() - killed < 20  # a child that went on would take 30 s
    assert list(while_wanted([b"a", b"b"], os.getppid())) == [b"a", b"b"]
