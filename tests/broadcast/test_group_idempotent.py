"""An answer is lost on its way, and was not kept: what its asker hears, on each way to the group (rule 22)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import outcome
import pytest
import structlog
import trio

from actors import Actor, Refused, command, query
from broadcast import AnswerNotKept, GroupRef, LocalGroup, connect, local_group
from broadcast._protocol import patience
from broadcast._protocol.desk import Desk, Owner
from broadcast._protocol.reports import Answers, Report
from broadcast._protocol.submitter import UNACKNOWLEDGED_SIZE_MAX
from membership import Limits

SECONDS_MAX = 20  # of a test: on real time, since loopback is real


class Register(Actor):
    def __init__(self) -> None:
        self.value = 0
        self.writes = 0

    @command(idempotent=True)
    def write(self, value: int) -> None:
        if value < 0:
            raise Refused(value)
        self.value = value
        self.writes += 1

    @command(idempotent=True)
    def swap(self, value: int) -> int:
        """Says that nobody needs its answer."""
        before = self.value
        self.write(value)
        return before

    @command
    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    @command
    def show(self, size: int) -> bytes:
        return bytes(size)

    @query
    def seen(self) -> tuple[int, int]:
        return self.value, self.writes


def lose_the_first_answers(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """Those that an owner is to be told first are lost: it asks again. They are put into the list."""
    owner_of = Desk._owner_of  # pyright: ignore[reportPrivateUsage]
    lost: list[Report] = []

    def forgets(self: Desk, report: Report) -> Owner | None:
        owner = owner_of(self, report)
        if owner is not None and isinstance(report, Answers) and not lost:
            lost.append(report)
            return None
        return owner

    monkeypatch.setattr(Desk, "_owner_of", forgets)
    monkeypatch.setattr(patience, "SILENCE_MIN", 100_000)
    return lost


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    return lose_the_first_answers(monkeypatch)


@asynccontextmanager
async def held(way: str) -> AsyncGenerator[tuple[GroupRef[Register], LocalGroup[Register]]]:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Register, replicas=3) as group:
            if way == "replica":
                yield group, group
            else:
                async with connect("local", Register, members=group.replicas[0].status().members) as client:
                    yield client, group


every_way = pytest.mark.parametrize("way", ["replica", "client"])


@every_way
async def test_an_answer_that_is_lost_is_told_to_be_and_the_command_was_applied_once(
    way: str, lost: list[Report]
) -> None:
    async with held(way) as (handle, group):
        with pytest.raises(AnswerNotKept, match=r"^Register\.swap was applied, once, .* Read the state"):
            await handle.ask(Register.swap, 5)
        assert len(lost) == 1
        assert await handle.ask(Register.swap, 6) == 5
        assert await group.ask(Register.seen) == (6, 2)


@every_way
async def test_where_there_was_none_nothing_is_lost(way: str, lost: list[Report]) -> None:
    async with held(way) as (handle, group):
        await handle.ask(Register.write, 5)
        assert len(lost) == 1
        assert await group.ask(Register.seen) == (5, 1)


@every_way
async def test_a_refusal_and_the_answers_of_other_commands_are_kept(way: str, lost: list[Report]) -> None:
    async with held(way) as (handle, _):
        with pytest.raises(Refused) as refused:
            await handle.ask(Register.write, -5)
        assert (refused.value.args, len(lost)) == ((-5,), 1)
        lost.clear()
        assert await handle.ask(Register.add, 5) == 5
        assert len(lost) == 1


@every_way
async def test_a_pipeline_tells_it_in_its_place(way: str, lost: list[Report]) -> None:
    """And may tell it of the one behind, which came before the first was missed."""
    async with held(way) as (handle, _), handle.pipeline() as pipe:
        await pipe.send(Register.swap, 5)
        await pipe.send(Register.swap, 6)
        await pipe.send(Register.add, 1)
        pipe.end()
        first, *others = [answer async for answer in pipe]
    assert isinstance(first, outcome.Error)
    assert isinstance(first.error, AnswerNotKept)
    assert others[-1] == outcome.Value(7)


@every_way
async def test_what_was_told_has_succeeded_and_nothing_is_logged(way: str, lost: list[Report]) -> None:
    with structlog.testing.capture_logs() as logs:
        async with held(way) as (handle, group):
            await handle.tell(Register.swap, 5)
            assert await handle.ask(Register.seen) == (5, 1)
            await handle.tell(Register.write, -1)
            await handle.ask(Register.write, 6)
            assert await group.ask(Register.seen) == (6, 2)
    assert len(lost) == 1
    failed = [line for line in logs if line["event"] == "told command failed"]
    assert [line["command"] for line in failed] == ["Register.write"]


@pytest.mark.parametrize(("size", "limits"), [(UNACKNOWLEDGED_SIZE_MAX, Limits()), (10, Limits(session_term=400_000))])
async def test_an_idle_handle_has_its_answers_forgotten_soon_and_with_what_keeps_its_session(
    size: int, limits: Limits
) -> None:
    """Long ones at once, and short ones in a quarter of the session's term, which is ten minutes else."""
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Register, replicas=1, limits=limits) as group:
            await group.ask(Register.show, size)
            machine = group.replicas[0]._host.machine
            assert machine is not None
            while [(each.last, each.size) for _, each in machine.sessions] != [(1, 0)]:  # noqa: ASYNC110
                await trio.sleep(0.001)  # nobody tells of what a replica is like
