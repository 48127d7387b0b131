"""The processes that take part, as the one that started them holds them: one question at a time, one answer each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

HERE = Path(__file__).parent
START_SECONDS = 30.0  # within which a process says that it is ready
STOP_SECONDS = 5.0  # within which a process whose input has ended has ended
LOG_LINES = 12

Message = dict[str, Any]
"""A JSON object: each question and each answer has fields of its own."""


class ChildFailed(Exception):
    """A process ended, failed, or took too long; the text says which."""


class Child:
    """A process of ours. Made by `open_child`. ready: what it said of itself when it was."""

    def __init__(self, name: str, process: trio.Process, log: Path) -> None:
        self.name = name
        self.ready: Message = {}
        self._process = process
        self._log = log
        self._buffer = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Also to a process that has ended: then it does nothing."""
        self._process.send_signal(number)

    async def ask(self, do: str, within: float, **what: object) -> Message:
        """Have something done, and wait for the answer. within: seconds. Raises ChildFailed."""
        stdin = self._process.stdin
        if stdin is None:
            raise ChildFailed(f"{self.name} has no input")
        with suppress(trio.BrokenResourceError):  # it has ended: told by `hear`, with its log
            await stdin.send_all(json.dumps({"do": do, **what}).encode() + b"\n")
        return await self.hear(within, do)

    async def hear(self, within: float, doing: str) -> Message:
        """The next thing it says."""
        with trio.move_on_after(within):
            line = await self._line()
            if line is None:
                status = await self._process.wait()
                raise ChildFailed(f"{self.name} ended with status {status} at {doing!r}{self._log_tail()}")
            answer: Message = json.loads(line)
            if "error" in answer:
                raise ChildFailed(f"{self.name} failed at {doing!r}: {answer['error']}{self._log_tail()}")
            return answer
        raise ChildFailed(f"{self.name} did not answer {doing!r} within {within:g} s{self._log_tail()}")

    async def _line(self) -> bytes | None:
        stdout = self._process.stdout
        while b"\n" not in self._buffer:
            chunk = b"" if stdout is None else await stdout.receive_some()
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "; its log ends with:\n" + "\n".join(lines) if lines else "; its log is empty"

    async def end(self) -> None:
        """End the process by the end of its input; kill it if that takes too long."""
        process = self._process
        with trio.CancelScope(shield=True):
            if process.stdin is not None:
                await process.stdin.aclose()
            process.send_signal(signal.SIGCONT)
            with trio.move_on_after(STOP_SECONDS):
                await process.wait()
            process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


def fresh(directory: Path) -> Path:
    """Make it; nothing may be there yet."""
    directory.mkdir()
    return directory


async def start_together(stack: AsyncExitStack, children: Sequence[AbstractAsyncContextManager[Child]]) -> list[Child]:
    """Start these side by side, in the order given; they end with the stack."""
    started: dict[int, Child] = {}

    async def start(at: int, child: AbstractAsyncContextManager[Child]) -> None:
        started[at] = await stack.enter_async_context(child)

    async with trio.open_nursery() as nursery:
        for at, child in enumerate(children):
            nursery.start_soon(start, at, child)
    return [started[at] for at in range(len(children))]


def _as_for_users() -> dict[str, str]:
    """Our environment, but that Python keeps what it compiles: or each start would compile all that is ours anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@asynccontextmanager
async def open_child(name: str, script: str, directory: Path, /, **settings: object) -> AsyncGenerator[Child]:
    """Start a script of this directory, and wait until it is ready; it ends with the context.

    directory: for its log. settings: what it is told by its command line.
    """
    path = directory / f"{name}.log"
    command = [sys.executable, str(HERE / script), json.dumps(settings)]
    with path.open("ab") as log:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={
                name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
            },  # as for users
            process_group=0,  # Ctrl-C at the terminal is for whoever started this, who then ends it
        )
    child = Child(name, process, path)
    try:
        child.ready = await child.hear(START_SECONDS, "start")
        yield child
    finally:
        await child.end()
