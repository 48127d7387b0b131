"""The key-value store, run as its users run it, and what `troupe status` says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio
from programs import Program, Programs, listened_on, open_programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "key_value.py"
TROUPE = [sys.executable, "-c", "from broadcast.cli import main; main(prog_name='troupe')"]
SECONDS_MAX = 480


class Store:
    """Three members, by name, and how to use what they hold."""

    def __init__(self, programs: Programs) -> None:
        self.addresses = dict(zip("abc", programs.addresses, strict=True))
        self.members: dict[str, Program] = {}
        self._programs = programs

    async def serve(self, *names: str) -> None:
        for name in names:
            self.members[name] = await self._programs.start("serve", name)

    async def kill(self, *names: str) -> None:
        for name in names:
            self.members[name].kill()
            assert await self.members[name].wait_ended() == -9

    async def run(self, *words: str) -> tuple[int, str]:
        """Exit status, and what is told by one run from the command line: the result, or what is wrong."""
        program = await self._programs.start(*words)
        status = await program.wait_ended()
        return status, program.errors if status else "\n".join(program.lines)

    async def does(self, *words: str) -> str:
        """What a run that must succeed prints."""
        status, told = await self.run(*words)
        assert status == 0, told
        return told

    async def put(self, key: str, value: str) -> int:
        """Returns the new version."""
        word, version = (await self.does("put", key, value)).split()
        assert word == "version"
        return int(version)

    async def leader(self) -> str:
        """Whom all that answer know as their leader; there may be none for a moment."""
        while True:
            _, members = await status("kv", *self.addresses.values(), "--json")
            told = {said.get("leader") for said in members if "leader" in said}
            if len(told) == 1 and None not in told:
                return str(told.pop())


async def status(*words: str) -> tuple[int, list[Any]]:
    """`troupe status` with these: its exit status, and the lines it prints, opened if they are JSON."""
    ended = await trio.run_process(
        [*TROUPE, "status", *words], capture_stdout=True, stderr=subprocess.STDOUT, check=False
    )
    lines = ended.stdout.decode().splitlines()
    assert "Traceback" not in ended.stdout.decode()
    return ended.returncode, [json.loads(line) for line in lines] if "--json" in words else lines


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncGenerator[Programs]:
    with trio.fail_after(SECONDS_MAX):
        async with open_programs(EXAMPLE, tmp_path) as programs:
            yield programs


@pytest.fixture
async def store(programs: Programs) -> Store:
    store = Store(programs)
    await store.serve("a", "b", "c")
    return store


async def test_what_is_put_is_there_whoever_is_killed(store: Store) -> None:
    assert await store.does("get", "color") == "(nothing)"
    first = await store.put("color", "red")
    assert await store.does("get", "color") == f"red  (version {first})"

    leader = await store.leader()
    await store.kill(leader)
    assert await store.does("get", "color") == f"red  (version {first})"
    second = await store.put("color", "green")
    assert second > first
    await store.serve(leader)
    await store.kill(next(name for name in "abc" if name != leader))
    assert await store.does("get", "color") == f"green  (version {second})"


async def test_a_value_is_set_only_if_nobody_else_has_set_it(store: Store) -> None:
    made = await store.does("cas", "color", "0", "red")
    version = int(made.removeprefix("version "))
    refused = (1, f"not set: color has version {version} now\n")
    for expected in (0, version - 1, version + 1):
        assert await store.run("cas", "color", str(expected), "blue") == refused
    assert await store.does("get", "color") == f"red  (version {version})"
    changed = await store.does("cas", "color", str(version), "blue")
    assert await store.does("get", "color") == f"blue  ({changed})"


async def test_a_member_ends_by_ctrl_c_and_words_that_mean_nothing_are_told(store: Store) -> None:
    for words in ([], ["serve", "d"], ["get"], ["put", "color"], ["cas", "color", "first", "red"]):
        exited, told = await store.run(*words)
        assert exited == 1
        assert "key_value.py cas KEY VERSION VALUE" in told
    await store.put("color", "red")
    for member in store.members.values():
        member.interrupt()
        assert await member.wait_ended() == 130
        assert (member.lines, member.errors) == ([], "")


async def test_what_the_store_cannot_take_is_told_in_a_sentence(store: Store) -> None:
    for words, says in (
        (("cas", "color", "9" * 20, "red"), "KeyValue.compare_and_set: version: 67 bits"),
        (("cas", "color", "9" * 5_000, "red"), "5000 digits"),
        (("put", "color", "\udcff"), "KeyValue.put: text with half a surrogate pair cannot be sent"),
        (("get", "\udcff"), "KeyValue.get: text with half a surrogate pair cannot be sent"),
    ):
        exited, told = await store.run(*words)
        assert (exited, told.count("\n")) == (1, 1), told
        assert says in told
    assert await store.does("get", "color") == "(nothing)"


async def test_what_another_has_is_told_in_a_sentence(programs: Programs) -> None:
    with listened_on(programs.addresses[0]):
        member = await programs.start("serve", "a")
        assert await member.wait_ended() == 1
    assert "another process listens there" in member.errors
    assert member.errors.count("\n") == 1


async def test_a_command_that_gets_no_answer_says_so(programs: Programs) -> None:
    """Nobody serves. It waits as long as it said, in a copy that is less patient."""
    programs.example.write_text(programs.example.read_text().replace("fail_after(30)", "fail_after(0.2)"))
    put = await programs.start("put", "color", "red")
    assert await put.wait_ended() == 1
    assert "Traceback" not in put.errors
    assert put.errors.splitlines()[-1].startswith("no answer in 30 s: two of the three replicas must run")


# -- troupe status ---------------------------------------------------------------------------------------------------


async def test_status_of_the_store(store: Store) -> None:
    """Asked of one member, it finds the others."""
    await store.put("color", "red")
    asked = store.addresses["b"]

    leader = ""
    while leader != await store.leader():  # or another one was elected meanwhile
        leader = await store.leader()
        exited, lines = await status("kv", asked)
        exited_too, members = await status("kv", asked, "--json")
    assert (exited, exited_too) == (0, 0)
    assert lines[:2] == ["group kv", ""]
    rows = [line.split() for line in lines[2:]]
    assert rows[0][:5] == ["member", "address", "role", "epoch", "leader"]
    assert [row[:2] for row in rows[1:]] == [[name, store.addresses[name]] for name in "abc"]
    assert sorted(row[2] for row in rows[1:]) == ["follower", "follower", "leader"]
    assert next(row[0] for row in rows[1:] if row[2] == "leader") == leader
    assert {row[4] for row in rows[1:]} == {leader}

    assert [said["node"] for said in members] == ["a", "b", "c"]
    assert {said["leader"] for said in members} == {leader}
    assert all(said["members"] == store.addresses for said in members)
    assert all(said["applied"] <= said["commit"] <= said["last"] for said in members)

    exited, lines = await status("bank", asked)
    assert exited == 2
    assert lines[-1].endswith("the node b has no group 'bank'")
    exited, lines = await status("kv", "nowhere")
    assert exited == 2
    assert "'nowhere'" in lines[-1]


async def test_status_of_a_store_that_misses_members(store: Store) -> None:
    await store.put("color", "red")
    gone = await store.leader()
    await store.kill(gone)
    await store.put("color", "green")  # the others have agreed on a leader by now
    asked = next(name for name in "abc" if name != gone)
    exited = 1
    while exited:  # these two may have to elect once more
        exited, lines = await status("kv", store.addresses[asked])
    assert next(line.split() for line in lines if line.startswith(gone)) == [
        *(gone, store.addresses[gone], "silent"),
        *["-"] * 8,
    ]
    assert lines[-1] == f"{gone}: Connection refused"

    other = next(name for name in "abc" if name not in (gone, asked))
    await store.kill(other)
    alone = f"{asked}: no leader is known: an election quorum of a, b, c must reach each other"
    while alone not in lines:  # until the one that is left has noticed
        exited, lines = await status("kv", *store.addresses.values())
    assert exited == 1

    await store.kill(asked)
    exited, members = await status("--json", "kv", *store.addresses.values())
    assert exited == 2
    assert sorted(said["address"] for said in members) == sorted(store.addresses.values())
