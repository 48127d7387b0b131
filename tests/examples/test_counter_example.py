"""The counter, run as its user runs it."""

from __future__ import annotations

import re
from pathlib import Path

import three_counters
import trio
from programs import open_programs

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "counter.py"
SECONDS_MAX = 90


def test_three_processes_count_to_three(tmp_path: Path) -> None:
    assert sorted(three_counters.run(EXAMPLE, tmp_path)) == [1, 2, 3]


def test_they_go_on_counting_where_they_were(tmp_path: Path) -> None:
    three_counters.run(EXAMPLE, tmp_path)
    assert sorted(three_counters.run(EXAMPLE, tmp_path)) == [4, 5, 6]


async def test_ctrl_c_ends_each_without_a_word(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            members = [await programs.start(name) for name in "abc"]
            for member in members:
                await member.wait_lines(1)
            for member in members:
                member.interrupt()
                assert await member.wait_ended() == 0
    assert [member.errors for member in members] == ["", "", ""]


def test_the_counter_of_the_readme_is_the_example() -> None:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert EXAMPLE.read_text() in blocks
