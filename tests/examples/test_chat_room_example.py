"""The chat room, run as its users run it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

import pytest
import trio
from programs import Program, Programs, listened_on, open_programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat_room.py"
SECONDS_MAX = 240


def welcome(who: str) -> str:
    return f"You are {who}: type lines. Two of the three must be here, the first time all.\n"


class Rooms:
    """The members that were started, by name, and how to start one."""

    def __init__(self, programs: Programs) -> None:
        self.members: dict[str, Program] = {}
        self._programs = programs

    async def start(self, who: str) -> None:
        self.members[who] = await self._programs.start(who)

    async def conversation(self, count: int, names: Iterable[str] = "abc") -> list[str]:
        """So many numbered lines, once all of these show them; the same lines everywhere."""
        shown = [list(await self.members[who].wait_lines(count)) for who in names]
        assert shown == [shown[0]] * len(shown)
        numbers = [int(line.split()[0]) for line in shown[0]]
        assert numbers == sorted(set(numbers)), "each line has a place of its own"
        return [line.split(maxsplit=1)[1] for line in shown[0]]


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncGenerator[Programs]:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            yield programs


@pytest.fixture
async def rooms(programs: Programs) -> Rooms:
    rooms = Rooms(programs)
    for who in "abc":
        await rooms.start(who)
    return rooms


async def test_all_see_one_conversation_whoever_is_killed_and_comes_back(rooms: Rooms) -> None:
    for who in "abc":
        await rooms.members[who].type(f"hello from {who}")
    assert sorted(await rooms.conversation(3)) == [f"{who}: hello from {who}" for who in "abc"]

    for who in "abc":  # all at once
        await rooms.members[who].type(*(f"{who} says {number}" for number in range(10)))
    said = await rooms.conversation(33)
    for who in "abc":
        assert [line for line in said if line.startswith(f"{who}: {who} says")] == [
            f"{who}: {who} says {number}" for number in range(10)
        ], "what one member says keeps its order"

    rooms.members["b"].kill()
    assert await rooms.members["b"].wait_ended() == -9
    await rooms.members["a"].type("b is gone")
    assert (await rooms.conversation(34, "ac"))[-1] == "a: b is gone"
    await rooms.members["c"].type("we go on")
    before = await rooms.conversation(35, "ac")
    assert before[33:] == ["a: b is gone", "c: we go on"]

    await rooms.start("b")
    assert await rooms.conversation(35) == before, "who comes late sees the whole of it"
    await rooms.members["b"].type("what did I miss?")
    assert await rooms.conversation(36) == [*before, "b: what did I miss?"]
    assert [member.errors for member in rooms.members.values()] == [welcome(who) for who in "abc"]


async def test_a_member_ends_by_ctrl_c_or_by_the_end_of_its_input(rooms: Rooms) -> None:
    a, b, c = rooms.members.values()
    await a.type("hello")
    await rooms.conversation(1)
    await b.type("my last word")
    await b.end_input()
    assert await b.wait_ended() == 0
    await rooms.conversation(2, "ac")
    a.interrupt()
    assert await a.wait_ended() == 0
    await c.end_input()  # alone: there is no majority any more, and nothing to wait for
    assert await c.wait_ended() == 0
    assert [a.errors, b.errors, c.errors] == [welcome("a") + "bye\n", welcome("b"), welcome("c")]


async def test_a_line_that_waits_for_a_majority_can_be_interrupted(programs: Programs) -> None:
    alone = await programs.start("a")
    await alone.type("is anybody there?")
    while welcome("a") not in alone.errors:  # noqa: ASYNC110 - a file wakes nobody
        await trio.sleep(0.01)
    alone.interrupt()
    assert await alone.wait_ended() == 0
    assert alone.lines == []
    assert alone.errors == welcome("a") + "bye\n"


async def test_what_another_has_is_told_in_a_sentence(programs: Programs) -> None:
    with listened_on(programs.addresses[0]):
        program = await programs.start("a")
        assert await program.wait_ended() == 1
    assert "another process listens there" in program.errors
    assert program.errors.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("d",), ("a", "b")])
async def test_who_cannot_be_a_member_is_told_how_to_be_one(programs: Programs, arguments: tuple[str, ...]) -> None:
    program = await programs.start(*arguments)
    assert await program.wait_ended() == 1
    assert program.errors == "usage: chat_room.py a|b|c\n"
