"""What the machine itself allows: a message and back, a synced write, and the two together without any protocol."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from agreement import Measured, agreed, all_count, spent
from amounts import Amounts
from children import Child, fresh, open_child

SECONDS_MAX = 180.0


async def measure_floors(directory: Path, amounts: Amounts) -> Measured:
    """One round."""
    fresh(directory)
    async with (
        _member("b", directory) as b,
        _member("c", directory) as c,
        _member("a", directory, b.ready["members"], c.ready["members"]) as a,
        open_child("floor-client", "floor_client.py", directory) as client,
    ):
        echoed = await client.ask("echoed", SECONDS_MAX, port=a.ready["echo"], count=amounts.echoes)
        appended = await client.ask("appended", SECONDS_MAX, path=str(directory / "alone"), count=amounts.appends)
        figures = {f"echo {figure}": value for figure, value in echoed.items()}
        figures |= {f"append {figure}": value for figure, value in appended.items()}
        return await _piped(client, (a, b, c), amounts, figures)


def _member(name: str, directory: Path, *followers: int) -> AbstractAsyncContextManager[Child]:
    """The leader, if it is told of followers."""
    return open_child(
        f"floor-{name}", "floor_member.py", directory, data=str(directory / name), followers=list(followers)
    )


async def _piped(client: Child, members: Sequence[Child], amounts: Amounts, figures: dict[str, float]) -> Measured:
    """The same cases as ours, after the figures that are there already."""
    total = 0
    for name, count, size, under_way, written in (
        ("ask", amounts.asks, 1, 1, True),
        ("tasks", amounts.task_asks, 1, amounts.tasks, True),
        ("window 1,000", amounts.pipelined, 100, 10, True),
        ("window 10,000", amounts.pipelined, 1_000, 10, True),
        ("read", amounts.asks, 1, 1, False),
        ("read tasks", amounts.task_asks, 1, amounts.tasks, False),
    ):
        before = await agreed(members, all_count(total))
        piped = await client.ask(
            "piped",
            SECONDS_MAX,
            port=members[0].ready["members"],
            frames=-(-count // size),
            size=size,
            under_way=under_way,
            written=written,
            total=total,
        )
        total = piped["total"]
        after = await agreed(members, all_count(total))
        figures |= {f"{name} {figure}": value for figure, value in piped["figures"].items()}
        figures[f"{name} server cpu"] = 1e6 * spent(before, after, "cpu") / piped["count"]
        figures[f"{name} cpu"] = figures[f"{name} server cpu"] + figures[f"{name} client cpu"]
        if written:
            figures[f"{name} per transaction"] = (
                len(members) * piped["count"] / max(1, spent(before, after, "transactions"))
            )
    told = await agreed(members, all_count(total))
    return Measured(figures, total, [each["value"] for each in told])
