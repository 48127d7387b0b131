"""Replicas as processes of their own, held from outside: to start, kill, start again, and have report."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from broadcast.cli._order import Report
from broadcast.cli._talk import (
    SAID,
    STOP_SECONDS,
    CannotRun,
    Listening,
    Reported,
    ReportWanted,
    Settings,
    ViewBegan,
    encode_line,
)

START_SECONDS = 30.0  # within which a started process listens
LOG_LINES = 12  # of its log, that are told when a process ended by itself
REPLICA = sys.executable, "-m", "broadcast.cli.replica"


class ReplicaEnded(Exception):
    """A replica's process ended, or could not start; the text says which, and why."""


@contextmanager
def loopback_addresses(names: Iterable[str]) -> Generator[dict[str, str]]:
    """Name -> a free loopback address, kept from others for as long as the context lasts.

    The ports stay bound here, and are not listened on: a replica, which binds its port too, can listen there, also
    after a restart, and in between the system gives the port to nobody else.
    """
    held: dict[str, socket.socket] = {}
    try:
        for name in names:
            held[name] = socket.socket()
            held[name].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held[name].bind(("127.0.0.1", 0))
        yield {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in held.items()}
    finally:
        for each in held.values():
            each.close()


class _Life:
    """One life of a replica's process: what it said so far, and how it ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.listening = False
        self.view: ViewBegan | None = None
        self.report: Report | None = None
        self.complaint: str | None = None
        self.ended: str | None = None
        self.changed = trio.lowlevel.ParkingLot()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the process says. Raises ReplicaEnded if it ends instead."""
        while not condition():
            if self.ended is not None:
                raise ReplicaEnded(f"the replica {self.name} has ended: {self.ended}")
            await self.changed.park()

    async def wait_ended(self) -> None:
        """Wait until it is known how it ended."""
        while self.ended is None:
            await self.changed.park()

    async def listen(self, stream: trio.abc.ReceiveStream) -> None:
        """Take what the process says, until it says nothing more."""
        buffer = b""
        while chunk := await stream.receive_some():
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self._hear(line)
            self.changed.unpark_all()

    def end(self, why: str) -> None:
        """The process is ending, or has; the first reason counts."""
        self.ended = self.ended or self.complaint or why
        self.changed.unpark_all()

    def _hear(self, line: bytes) -> None:
        match SAID.decode(line):
            case Listening():
                self.listening = True
            case ViewBegan() as view:
                self.view = view
            case Reported(report=report):
                self.report = report
            case CannotRun(error=error, text=text):
                self.complaint = f"{error}: {text}"


class ReplicaProcess:
    """One replica, over all the lives of its process. Made by `open_replicas`.

    settings: of the replica. log: the file that its standard error is appended to.
    environment: variables that its process gets besides those of this one. command: what it runs; settings come last.
    """

    def __init__(self, nursery: trio.Nursery, settings: Settings, log: Path) -> None:
        self.settings = settings
        self.log = log
        self.environment: Mapping[str, str] = {}
        self.command: Sequence[str] = REPLICA
        self._nursery = nursery
        self._process: trio.Process | None = None
        self._life = _Life(settings.node)
        self._life.end("it was not started")

    @property
    def name(self) -> str:
        """The replica's name."""
        return self.settings.node

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None or self._life.ended is not None else self._process.pid

    @property
    def view(self) -> ViewBegan | None:
        """The newest view that began at it in its present life, or its last."""
        return self._life.view

    @property
    def ended(self) -> str | None:
        """Why it does not run, in words; None while it does."""
        return self._life.ended

    async def start(self) -> None:
        """Start the process, for the first time or again, and wait until the replica listens.

        Raises ReplicaEnded if it does not come to that.
        """
        if self.pid is not None:
            raise RuntimeError(f"the replica {self.name} runs already")
        life = self._life = _Life(self.name)
        self._process = await self._nursery.start(self._live, life)
        with trio.move_on_after(START_SECONDS) as waiting:
            await life.wait(lambda: life.listening)
        if waiting.cancelled_caught:
            raise ReplicaEnded(f"the replica {self.name} does not listen after {START_SECONDS:g} s{self._log_tail()}")

    def kill(self) -> None:
        """SIGKILL, at once; `wait_ended` waits until the process is gone."""
        if self._process is not None and self._life.ended is None:
            self._process.kill()
            self._life.end("it was killed")

    async def wait_ended(self) -> int:
        """Wait until the process has ended; its exit status, or the signal's number, negative."""
        if self._process is None:
            raise RuntimeError(f"the replica {self.name} was never started")
        status = await self._process.wait()
        await self._life.wait_ended()
        return status

    async def stop(self) -> None:
        """End the process as it is meant to end: by the end of its input. SIGKILL if that takes too long."""
        if self._process is not None and self._life.ended is None:
            self._life.end("it was stopped")
            await _end(self._process)

    async def wait_view(self, *, after_epoch: int = 0) -> ViewBegan:
        """The newest view here, once its epoch is greater than that. Raises ReplicaEnded."""
        life = self._life
        await life.wait(lambda: life.view is not None and life.view.epoch > after_epoch)
        return life.view or ViewBegan(0, "")

    async def report(self, *, delivered: int, within: float) -> Report:
        """What this replica delivered: once it is so many commands, or what there is after `within` seconds.

        One at a time. Raises ReplicaEnded.
        """
        life, process = self._life, self._process
        life.report = None
        if process is not None and process.stdin is not None and life.ended is None:
            try:
                await process.stdin.send_all(encode_line(ReportWanted(delivered, within)) + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                life.end("it takes no more input")
        await life.wait(lambda: life.report is not None)
        return life.report or Report(self.name, 0, "", None, "")

    async def _live(self, life: _Life, task_status: trio.TaskStatus[trio.Process]) -> None:
        """One life of the process, from its start to its end."""
        command = [*self.command, encode_line(self.settings).decode()]
        with self.log.open("ab") as log:
            run = partial(
                trio.run_process,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self.environment},
                check=False,
                process_group=0,  # Ctrl-C at the terminal is for whoever started this, who then ends it
                deliver_cancel=_end,
            )
            async with trio.open_nursery() as nursery:
                process: trio.Process = await nursery.start(run)
                task_status.started(process)
                try:
                    if process.stdout is not None:
                        await life.listen(process.stdout)
                    status = await process.wait()
                    life.end(f"status {status}{self._log_tail()}")
                finally:
                    life.end("it was stopped")

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "; its log ends with:\n" + "\n".join(lines) if lines else "; its log is empty"


async def _end(process: trio.Process) -> None:
    if process.stdin is not None:
        await process.stdin.aclose()
    with trio.move_on_after(STOP_SECONDS) as waiting:
        await process.wait()
    if waiting.cancelled_caught:
        process.kill()


@asynccontextmanager
async def open_replicas(
    group: str, actors: Mapping[str, str], directory: Path
) -> AsyncGenerator[dict[str, ReplicaProcess]]:
    """Replicas of one group by name, none of them started yet; their processes end with the context.

    actors: which class, "module:Class", each replica runs. directory: for their data, and a log each.
    """
    with loopback_addresses(actors) as members:
        async with trio.open_nursery() as nursery:
            replicas: dict[str, ReplicaProcess] = {}
            for name, actor in actors.items():
                settings = Settings(group, actor, name, members, str(directory / name))
                replicas[name] = ReplicaProcess(nursery, settings, directory / f"{name}.log")
            yield replicas
            nursery.cancel_scope.cancel()


async def start_all(replicas: Iterable[ReplicaProcess]) -> None:
    """Start them side by side, and wait until a view has begun at each."""
    async with trio.open_nursery() as nursery:
        for replica in replicas:
            nursery.start_soon(_start, replica)


async def _start(replica: ReplicaProcess) -> None:
    await replica.start()
    await replica.wait_view()


def newest_view(replicas: Iterable[ReplicaProcess]) -> ViewBegan:
    """The view of the highest epoch that any of them has told of."""
    return max((replica.view for replica in replicas if replica.view is not None), default=ViewBegan(0, ""))
