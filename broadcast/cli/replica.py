"""A replica in a process of its own: `python -m broadcast.cli.replica SETTINGS`, as `ReplicaProcess` starts it.

It says on standard output what happens, and reports when it is told so on standard input (see `_talk`). The end of its
input ends it, so it never outlives whoever started it, however that ended and whatever the replica does: a thread sees
to it that what cannot end in good order ends nevertheless. (The system's own signal for the death of a parent comes
already when the thread ends that started the process.) What else is written to standard output goes to standard error.
"""

from __future__ import annotations

import os
import pkgutil
import select
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import cast

import trio

from actors import Actor
from broadcast import Group, open_group
from broadcast.cli._order import Order
from broadcast.cli._talk import (
    SETTINGS,
    STOP_SECONDS,
    WANTED,
    CannotRun,
    Listening,
    Reported,
    ReportWanted,
    Said,
    Settings,
    ViewBegan,
    encode_line,
)

Say = Callable[[Said], None]


class _Follower:
    """Sums up the order while the group delivers it."""

    def __init__(self, group: Group[Actor], node: str) -> None:
        self._group = group
        self._node = node
        self._order = Order()
        self._more = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        async for delivery in self._group.deliveries():
            self._order.add(delivery)
            self._more.unpark_all()

    async def report(self, wanted: ReportWanted, say: Say) -> None:
        with trio.move_on_after(wanted.within):
            while self._order.count < wanted.delivered:
                await self._more.park()
        say(Reported(self._order.report(self._node, self._group.state())))


async def _tell_views(group: Group[Actor], say: Say) -> None:
    async for view in group.membership.views():
        say(ViewBegan(view.epoch, view.leader))


async def _lines(descriptor: int) -> AsyncGenerator[bytes]:
    buffer = b""
    async with trio.lowlevel.FdStream(os.dup(descriptor)) as stream:
        async for chunk in stream:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                yield line


async def _heed_sigterm(scope: trio.CancelScope) -> None:
    """It asks to leave in order, as the end of standard input does."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def serve(settings: Settings, say: Say) -> None:
    """Be a replica until standard input ends, or SIGTERM comes."""
    actor = cast(type[Actor], pkgutil.resolve_name(settings.actor))
    members = settings.members
    async with (
        open_group(settings.group, actor, node=settings.node, members=members, data=settings.data) as group,
        trio.open_nursery() as nursery,
    ):
        follower = _Follower(group, settings.node)
        nursery.start_soon(follower.run)
        nursery.start_soon(_tell_views, group, say)
        nursery.start_soon(_heed_sigterm, nursery.cancel_scope)
        say(Listening())
        async with aclosing(_lines(sys.stdin.fileno())) as lines:
            async for line in lines:
                nursery.start_soon(follower.report, WANTED.decode(line), say)
        nursery.cancel_scope.cancel()


def _end_with_standard_input() -> None:
    """However busy Trio's thread is then."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)  # waits for no input, only for its end, which is always told

    def wait_and_end() -> None:
        poll.poll()
        time.sleep(STOP_SECONDS)
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


def _sayer() -> Say:
    """Takes standard output for itself: a stray `print` cannot spoil what is said there."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(said: Said) -> None:
        line = encode_line(said) + b"\n"
        with suppress(BrokenPipeError):  # nobody listens any more: standard input has ended, or will
            while line:
                line = line[os.write(out, line) :]

    return say


def main() -> None:
    """The process."""
    say = _sayer()
    _end_with_standard_input()
    try:
        trio.run(serve, SETTINGS.decode(sys.argv[1]), say)
    except Exception as error:
        reason = _reason(error)
        say(CannotRun(type(reason).__name__, str(reason)))
        raise


def _reason(error: BaseException) -> BaseException:
    """What it began with: nurseries make groups of what ends them."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error


if __name__ == "__main__":
    main()
