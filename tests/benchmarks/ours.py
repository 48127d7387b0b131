"""Our group: three replicas and a client, each in a process of its own, measured and checked."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from agreement import Measured, NotTheSame, agreed, spent
from amounts import Amounts
from children import Child, ChildFailed, Message, fresh, open_child, start_together

from broadcast.cli._process import loopback_addresses

NAMES = ("a", "b", "c")
CASE_SECONDS_MAX = 180.0  # for one case, whatever the machine does meanwhile
TRIAL_WARM = 5  # commands before each failover


class Ours:
    """The processes of a group. Made by `open_ours`."""

    def __init__(self, stack: AsyncExitStack, members: Mapping[str, str], directory: Path) -> None:
        self._stack = stack
        self._members = members
        self._directory = directory
        self._replicas: dict[str, Child] = {}
        self._client: Child | None = None

    async def start(self, *names: str) -> None:
        """Start replicas, for the first time or again."""
        started = await start_together(self._stack, [self._replica(name) for name in names])
        self._replicas.update(zip(names, started, strict=True))

    def _replica(self, name: str) -> AbstractAsyncContextManager[Child]:
        data = str(self._directory / name)
        where = self._directory
        return open_child(f"replica-{name}", "ours_replica.py", where, name=name, members=self._members, data=data)

    async def start_client(self) -> None:
        child = open_child("client", "ours_client.py", self._directory, members=self._members)
        self._client = await self._stack.enter_async_context(child)
        await self.ask("add")  # answered once there is a leader

    async def ask(self, do: str, **what: object) -> Message:
        """Have the client do something."""
        if self._client is None:
            raise ChildFailed("the client was not started")
        return await self._client.ask(do, CASE_SECONDS_MAX, **what)

    async def settled(self) -> list[Message]:
        """What the replicas say once they agree, and a linearizable query with them. Raises NotTheSame."""
        value = await self.ask("value")
        if value["value"] != value["expected"]:
            raise NotTheSame(f"{value['expected']} commands were answered, and the counter says {value['value']}")
        return await agreed(list(self._replicas.values()), lambda told: _alike(told, value["value"]))

    async def measure(self, do: str, count: int, **what: object) -> dict[str, float]:
        """One case: its rate, its times where it has any, and what it cost per command or query."""
        before = await self.settled()
        warm = count // 10
        figures: dict[str, float] = await self.ask(do, count=count, warm=warm, **what)
        after = await self.settled()
        figures["server cpu"] = 1e6 * spent(before, after, "cpu") / (warm + count)
        figures["cpu"] = figures["server cpu"] + figures["client cpu"]
        figures["elections"] = after[0]["epoch"] - before[0]["epoch"]
        if do != "reads":
            figures["per transaction"] = len(NAMES) * (warm + count) / max(1, spent(before, after, "transactions"))
        return figures

    async def measured(self, figures: dict[str, float]) -> Measured:
        """These figures, and what was counted so far."""
        told = await self.settled()
        value = await self.ask("value")
        return Measured(figures, value["expected"], [each["value"] for each in told])

    async def lose_leader(self, number: signal.Signals) -> float:
        """One trial: milliseconds from the signal to the leader until the next answer. All are back afterwards."""
        leader = (await self.settled())[0]["leader"]
        lost = self._replicas[leader]
        try:
            told = await self.ask("failover", pid=lost.pid, number=number.value, warm=TRIAL_WARM)
        finally:
            if number == signal.SIGSTOP:
                lost.send_signal(signal.SIGCONT)
        if number == signal.SIGKILL:
            await self.start(leader)
        await self.settled()
        return float(told["milliseconds"])


def _alike(told: list[Message], value: int) -> bool:
    states = {(each["leader"], each["epoch"], each["applied"], each["last"], each["value"]) for each in told}
    leader, _, applied, last, total = states.pop()
    return not states and leader is not None and applied == last and total == value


@asynccontextmanager
async def open_ours(directory: Path) -> AsyncGenerator[Ours]:
    """A fresh group with its data in a directory, and its client."""
    fresh(directory)
    with loopback_addresses(NAMES) as members:
        async with AsyncExitStack() as stack:
            ours = Ours(stack, members, directory)
            await ours.start(*NAMES)
            await ours.start_client()
            yield ours


async def measure_ours(directory: Path, amounts: Amounts) -> Measured:
    """One round: every case once."""
    figures: dict[str, float] = {}
    async with open_ours(directory) as ours:
        for name, do, count, what in (
            ("ask", "asks", amounts.asks, {"tasks": 1}),
            ("tasks", "asks", amounts.task_asks, {"tasks": amounts.tasks}),
            ("window 1,000", "pipelined", amounts.pipelined, {"window": 1_000}),
            ("window 10,000", "pipelined", amounts.pipelined, {"window": 10_000}),
            ("read", "reads", amounts.asks, {"tasks": 1}),
            ("read tasks", "reads", amounts.task_asks, {"tasks": amounts.tasks}),
        ):
            measured = await ours.measure(do, count, **what)
            figures |= {f"{name} {figure}": value for figure, value in measured.items()}
        return await ours.measured(figures)


async def measure_failover(directory: Path, trials: int) -> tuple[Measured, list[dict[str, float]]]:
    """How long the group is without a leader, in milliseconds: one value of each kind for each trial."""
    async with open_ours(directory) as ours:
        times = [
            {
                "killed": await ours.lose_leader(signal.SIGKILL),
                "stopped": await ours.lose_leader(signal.SIGSTOP),
            }
            for _ in range(trials)
        ]
        return await ours.measured({}), times
