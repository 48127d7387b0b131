"""Examples as processes, held from outside: what is typed at them, what they print, and how they end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from broadcast.cli._process import loopback_addresses

ADDRESS = re.compile(r"127\.0\.0\.1:\d+")


@contextmanager
def at_free_addresses(example: Path, directory: Path) -> Generator[tuple[Path, list[str]]]:
    """A copy of the example in this directory, and its addresses there, in the order in which it names them.

    Nobody else gets the addresses for as long as the context lasts; the rest of the example is as it is.
    """
    source = example.read_text()
    named = list(dict.fromkeys(ADDRESS.findall(source)))
    with loopback_addresses(named) as free:
        copy = directory / example.name
        copy.write_text(ADDRESS.sub(lambda found: free[found[0]], source))
        yield copy, [free[address] for address in named]


@contextmanager
def listened_on(address: str) -> Generator[None]:
    """Another process, as it were, listens there."""
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        yield


class Program:
    """One process. lines: what it has printed so far."""

    def __init__(self, process: trio.Process, errors: Path) -> None:
        self.lines: list[str] = []
        self._process = process
        self._errors = errors
        self._printed = trio.lowlevel.ParkingLot()

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return self._errors.read_text()

    async def listen(self) -> None:
        """Take what it prints, until it prints nothing more."""
        buffer = b""
        assert self._process.stdout is not None
        async for chunk in self._process.stdout:
            *lines, buffer = (buffer + chunk).split(b"\n")
            self.lines.extend(line.decode() for line in lines)
            self._printed.unpark_all()

    async def type(self, *lines: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all("".join(f"{line}\n" for line in lines).encode())

    async def end_input(self) -> None:
        """As Ctrl-D does."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """As systemd and containers do: by SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    async def wait_lines(self, count: int) -> list[str]:
        """All lines, once they are so many."""
        while len(self.lines) < count:
            await self._printed.park()
        return self.lines

    async def wait_ended(self) -> int:
        """Its exit status, or the signal's number, negative."""
        return await self._process.wait()


class Programs:
    """An example, to be started with different arguments. Made by `open_programs`.

    example: the copy that is run. addresses: those in it, in the order in which it names them.
    """

    def __init__(self, nursery: trio.Nursery, example: Path, addresses: list[str]) -> None:
        self.example = example
        self.addresses = addresses
        self._nursery = nursery

    async def start(self, *arguments: str) -> Program:
        """A process of the example, in the example's directory."""
        program: Program = await self._nursery.start(self._live, arguments)
        return program

    async def _live(self, arguments: tuple[str, ...], task_status: trio.TaskStatus[Program]) -> None:
        errors = self.example.with_name(f"{'-'.join(arguments)[:50]}.errors")
        with errors.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [sys.executable, self.example.name, *arguments],
                cwd=self.example.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        try:
            program = Program(process, errors)
            task_status.started(program)
            await program.listen()
            await process.wait()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        await stream.aclose()


@asynccontextmanager
async def open_programs(example: Path, directory: Path) -> AsyncGenerator[Programs]:
    """A copy of this example in this directory, at free addresses.

    What is started from it ends with the context, if it has not by then.
    """
    with at_free_addresses(example, directory) as (copy, addresses):
        async with trio.open_nursery() as nursery:
            yield Programs(nursery, copy, addresses)
            nursery.cancel_scope.cancel()
