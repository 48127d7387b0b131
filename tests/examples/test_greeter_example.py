"""The greeter, run as its users run it: two nodes in two processes."""

from __future__ import annotations

import re
from pathlib import Path

import trio
from programs import listened_on, open_programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "greeter.py"
SECONDS_MAX = 60


async def test_guests_are_greeted_and_a_crash_forgets_what_the_greeter_kept(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            server = await programs.start("serve")
            await server.wait_lines(1)
            for _ in range(2):
                guests = await programs.start("greet", "Ada", " ", "Bob")
                assert await guests.wait_ended() == 0
            server.interrupt()
            assert await server.wait_ended() == 0
    assert guests.errors == ""
    assert guests.lines == [
        "Hello Ada! You are guest number 3, and the 2. that I remember.",
        "Sorry: Greeter.greet of b/greeter raised ValueError: a bug in its class",
        "Hello Bob! You are guest number 4, and the 1. that I remember.",
    ]
    assert len(re.findall("actor crashed, and is started again actor=b/greeter", server.errors)) == 2


async def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            with listened_on(programs.addresses[0]):
                refused = await programs.start("greet", "Ada")
                assert await refused.wait_ended() == 1
            usage = await programs.start("greet")
            assert await usage.wait_ended() == 1
    assert "another process listens there" in refused.errors
    assert refused.errors.count("\n") == 1
    assert "greeter.py greet NAME..." in usage.errors
