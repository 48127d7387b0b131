"""Work in a forked child: it has all that was in memory at that moment, and shares it until either of them changes it.

So a large state is encoded as it was at one index, while the actor goes on. What the child may do is little: none of
this process's threads are in it, and a lock that one of them held stays held. It runs pure Python, writes to files that
it opens itself, and ends by `os._exit`: nothing of Trio, no `atexit`, no signal handler, no flushing of buffers.

It gives up at once what it has inherited of open files: else a connection that this process closes would not end for
the other side before the child does, and neither would the lock of the data directory, nor the port, of a process that
was killed. For the same reason it ends when that does (`while_wanted`).

The program around us may have asked the system to keep nothing of children that ended (SIGCHLD ignored), or wait for
any of them itself. Then how one ended is not known, and what it answered counts as ever. So a child is never meant by
its number once it may have ended: that may be another's by then.
"""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NoReturn

import trio

ANSWER_SIZE_MAX = 2048  # bytes; so much goes through a pipe at once
FIRST_FILE = 3  # the ones before are the standard streams


class ChildFailed(Exception):
    """A child ended without an answer: killed, say, for want of memory."""


class Child:
    """A child that is at work. Made in the thread that Trio runs in; `wait` or `kill` it."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        """Fork; the child runs `work`, whose answer is what it returns.

        OSError: no process or file can be had.
        """
        self._is_over = False
        self._answer, answer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.pid = _fork(work, answer)
        except BaseException:
            os.close(self._answer)
            raise
        finally:
            os.close(answer)
        self._ended: int | None = None
        try:
            self._ended = os.pidfd_open(self.pid)
        except ProcessLookupError:
            pass  # it is over, and gone
        except BaseException:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._answer)
            raise

    async def wait(self) -> bytes:
        """Its answer, once it has ended. Raises `ChildFailed`. Cancelled, it is killed."""
        try:
            await self._end()
        except BaseException:
            await self.kill()
            raise
        try:
            answer = os.read(self._answer, ANSWER_SIZE_MAX)
        finally:
            status = self._reap()
        if not answer:
            told = "" if status is None else f" with status {status}"
            raise ChildFailed(f"the process that was to do it ended{told}, and gave no answer")
        return answer

    async def kill(self) -> None:
        """It is not needed any more. Waits, shielded, until it has ended: one that the disk holds up ends with that.

        Does nothing with one that has been waited for.
        """
        if self._is_over:
            return
        if self._ended is not None:
            with suppress(ProcessLookupError):  # it has just ended
                signal.pidfd_send_signal(self._ended, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await self._end()
        self._reap()

    async def _end(self) -> None:
        """Until it is over."""
        if self._ended is None:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._ended)

    def _reap(self) -> int | None:
        """Its exit status; None if that is not known, for want of a child: see at the head of this file."""
        self._is_over = True
        os.close(self._answer)
        if self._ended is None:
            return None
        try:
            ended = os.waitid(os.P_PIDFD, self._ended, os.WEXITED)
        except ChildProcessError:
            return None
        finally:
            os.close(self._ended)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def end_unless_wanted(parent: int) -> None:
    """For a child: end on the spot, if the process that began it is not there any more."""
    if os.getppid() != parent:
        os._exit(1)


def while_wanted(pieces: Iterable[bytes], parent: int) -> Iterator[bytes]:
    """For a child: these, as long as the process that began it is there; then it ends on the spot."""
    for piece in pieces:
        end_unless_wanted(parent)
        yield piece


def _fork(work: Callable[[], bytes], answer: int) -> int:
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())  # the handlers are for the parent
    try:
        with warnings.catch_warnings():
            # Python 3.12 and later warn of threads: see at the head of this file why this child does without them.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _run(work, answer)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _run(work: Callable[[], bytes], answer: int) -> NoReturn:
    """The child's life."""
    status = 1
    try:
        gc.disable()  # a collection would touch, and so copy, every page
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        os.closerange(FIRST_FILE, answer)
        os.closerange(answer + 1, os.sysconf("SC_OPEN_MAX"))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.write(answer, work())
        status = 0
    finally:
        os._exit(status)
