"""The counter, run as its user runs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import three_counters
import trio
from programs import Program, listened_on, open_programs

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "counter.py"
SECONDS_MAX = 240


def test_three_processes_count_to_three(tmp_path: Path) -> None:
    assert sorted(three_counters.run(EXAMPLE, tmp_path)) == [1, 2, 3]


def test_they_go_on_counting_where_they_were(tmp_path: Path) -> None:
    three_counters.run(EXAMPLE, tmp_path)
    assert sorted(three_counters.run(EXAMPLE, tmp_path)) == [4, 5, 6]


@pytest.mark.parametrize("end", [Program.interrupt, Program.terminate])
async def test_what_ends_a_program_ends_each_in_order_and_without_a_word(
    tmp_path: Path, end: Callable[[Program], None]
) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            members = [await programs.start(name) for name in "abc"]
            for member in members:
                await member.wait_lines(1)
            for member in members:
                end(member)
                assert await member.wait_ended() == 0
    assert [member.errors for member in members] == ["", "", ""]


@pytest.mark.parametrize("arguments", [(), ("d",), ("a", "b")])
async def test_who_cannot_be_a_replica_is_told_how_to_be_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            program = await programs.start(*arguments)
            assert await program.wait_ended() == 2
    assert program.errors.startswith("usage: counter.py [-h] {a,b,c}\n")


async def test_what_another_has_is_told_in_a_sentence(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            with listened_on(programs.addresses[0]):
                portless = await programs.start("a")
                assert await portless.wait_ended() == 1
            (tmp_path / "data" / "b").mkdir()
            (tmp_path / "data" / "b" / "letter.txt").touch()
            homeless = await programs.start("b")
            assert await homeless.wait_ended() == 1
    assert "another process listens there" in portless.errors
    assert "letter.txt" in homeless.errors
    assert [portless.errors.count("\n"), homeless.errors.count("\n")] == [1, 1]


def test_the_counter_of_the_readme_is_the_example() -> None:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert EXAMPLE.read_text() in blocks
