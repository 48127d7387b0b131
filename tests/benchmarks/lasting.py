"""A group over a long life: three replicas that tell what they need, and a client, each a process."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio
from agreement import NotTheSame, agreed
from children import Child, Message, fresh, open_child, start_together

from broadcast.cli._process import loopback_addresses

NAMES = ("a", "b", "c")
SECONDS_MAX = 1_800.0  # for one thing that somebody is asked for
MIB = 2**20
START_SECONDS_MAX = 2.0  # that a replica takes, or computes for, until it has applied all that it had


class Group:
    """Made by `open_lasting`. replicas: those that were started, by name."""

    def __init__(self, stack: AsyncExitStack, members: Mapping[str, str], directory: Path) -> None:
        self.replicas: dict[str, Child] = {}
        self.members = members
        self._stack = stack
        self._directory = directory
        self._client: Child | None = None

    async def start(self, *names: str) -> None:
        """Start replicas, for the first time or again."""
        self.replicas.update(
            zip(names, await start_together(self._stack, [self._child(name) for name in names]), strict=True)
        )

    def _child(self, name: str) -> AbstractAsyncContextManager[Child]:
        told = {"name": name, "members": self.members, "data": str(self.data(name))}
        return open_child(f"replica-{name}", "lasting_replica.py", self._directory, **told)

    async def start_client(self) -> None:
        child = open_child("client", "lasting_client.py", self._directory, members=self.members)
        self._client = await self._stack.enter_async_context(child)

    @property
    def client(self) -> Child:
        assert self._client is not None
        return self._client

    async def ask(self, do: str, **what: object) -> Message:
        """Have the client do something."""
        return await self.client.ask(do, SECONDS_MAX, **what)

    def data(self, name: str) -> Path:
        return self._directory / name

    async def status(self, name: str) -> Message:
        return await self.replicas[name].ask("status", SECONDS_MAX)

    async def leader(self) -> str:
        """Who leads, by whoever answers first."""
        for name in self.replicas:
            leader = (await self.status(name))["leader"]
            if leader is not None:
                return str(leader)
        raise NotTheSame("nobody knows of a leader")

    async def settled(self) -> dict[str, Message]:
        """What all that run say, once they have applied the same and all of it, and say what the client expects."""
        value = await self.ask("value")
        if value["value"] != value["expected"]:
            raise NotTheSame(f"{value['expected']} commands were answered, and the counter says {value['value']}")
        members = list(self.replicas.values())
        told = await agreed(members, lambda told: _alike(told, value["value"]))
        return dict(zip(self.replicas, told, strict=True))

    async def kill(self, name: str) -> None:
        """SIGKILL; it is gone when this returns."""
        child = self.replicas.pop(name)
        child.send_signal(signal.SIGKILL)
        await child.end()

    async def restarted(self, name: str, within: float) -> Message:
        """What it says once it was killed, started, and has applied all that it had. Raises trio.TooSlowError."""
        await self.kill(name)
        await self.start(name)
        with trio.fail_after(within):
            while (told := await self.status(name))["since start"] is None:  # noqa: ASYNC110 - as below
                await trio.sleep(0.02)
        return told

    async def anew(self) -> None:
        """All count anew what was most."""
        for child in self.replicas.values():
            await child.ask("anew", SECONDS_MAX)

    async def caught_up(self, name: str, to: int, within: float) -> Message:
        """What it says once it has applied that much. Raises trio.TooSlowError."""
        with trio.fail_after(within):
            while (told := await self.status(name))["applied"] < to:  # noqa: ASYNC110 - what processes do wakes nobody here
                await trio.sleep(0.02)
        return told


def told_of_start(name: str, told: Message) -> str:
    """For people."""
    return (
        f"{name} started anew: had opened after {told['to open']:.2f} s, and had applied all "
        f"{told['since open']:.2f} s from when it began to open, {told['since start']:.2f} s from when the process "
        f"began; it computed for {told['start cpu']:.2f} s"
    )


def _alike(told: list[Message], value: int) -> bool:
    states = {(each["leader"], each["epoch"], each["applied"], each["last"], each["value"]) for each in told}
    leader, _, applied, last, total = states.pop()
    return not states and leader is not None and applied == last and total == value


def size_of(directory: Path) -> int:
    """Bytes that the files there take."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def mib(size: float) -> str:
    return f"{size / MIB:.0f} MiB"


@asynccontextmanager
async def open_lasting(directory: Path) -> AsyncGenerator[Group]:
    """A fresh group with its data in a directory, none of its replicas started yet."""
    fresh(directory)
    with loopback_addresses(NAMES) as members:
        async with AsyncExitStack() as stack:
            yield Group(stack, members, directory)
