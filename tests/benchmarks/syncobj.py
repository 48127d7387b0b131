"""PySyncObj beside ours: three members, the calls made at the leader, its log in memory as it ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

import trio
from agreement import SETTLE_PAUSE, SETTLE_SECONDS_MAX, Measured, agreed, all_count, spent
from amounts import Amounts
from children import Child, ChildFailed, fresh, open_child, start_together

from broadcast.cli._process import loopback_addresses

NAMES = ("a", "b", "c")
SECONDS_MAX = 180.0
WINDOW = 10_000


def installed() -> bool:
    return find_spec("pysyncobj") is not None


async def measure_syncobj(directory: Path, amounts: Amounts, configuration: str) -> Measured:
    """One round. configuration: "default" or "tuned"."""
    fresh(directory)
    with loopback_addresses(NAMES) as addresses:
        async with AsyncExitStack() as stack:
            members = await _started(stack, addresses, configuration, directory)
            leader = await _leader(members)
            return await _measured(members, leader, amounts, configuration)


async def _started(
    stack: AsyncExitStack, addresses: Mapping[str, str], configuration: str, directory: Path
) -> list[Child]:
    """Side by side: each is ready only once the others are there."""
    children = [
        open_child(
            f"syncobj-{name}",
            "syncobj_member.py",
            directory,
            own=own,
            others=[address for address in addresses.values() if address != own],
            configuration=configuration,
        )
        for name, own in addresses.items()
    ]
    return await start_together(stack, children)


async def _leader(members: Sequence[Child]) -> Child:
    with trio.move_on_after(SETTLE_SECONDS_MAX):
        while True:
            for member in members:
                if (await member.ask("status", SETTLE_SECONDS_MAX))["leads"]:
                    return member
            await trio.sleep(SETTLE_PAUSE)
    raise ChildFailed(f"PySyncObj chose no leader within {SETTLE_SECONDS_MAX:g} s")


async def _measured(members: Sequence[Child], leader: Child, amounts: Amounts, configuration: str) -> Measured:
    count = amounts.slow_asks if configuration == "default" else amounts.asks
    figures = {f"ask {name}": value for name, value in (await leader.ask("asks", SECONDS_MAX, count=count)).items()}
    total = count
    best = 0.0
    for by in ("thread", "answers"):  # the better of two ways to drive it
        before = await agreed(members, all_count(total))
        piped = await leader.ask("pipelined", SECONDS_MAX, count=amounts.pipelined, window=WINDOW, by=by)
        total += amounts.pipelined
        after = await agreed(members, all_count(total))
        if piped["rate"] > best:
            best = piped["rate"]
            cpu = 1e6 * spent(before, after, "cpu") / amounts.pipelined
            figures |= {"window 10,000 rate": best, "window 10,000 cpu": cpu}
    told = await agreed(members, all_count(total))
    return Measured(figures, total, [each["value"] for each in told])
