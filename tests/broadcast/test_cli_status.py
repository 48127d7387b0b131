"""What `troupe status` makes of what the members say."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import CliRunner

from actors import Actor, Envelope, Origin, command, open_node
from actors._protocol.codec import encode_struct
from broadcast import Status, local_group
from broadcast.cli.status import UNKNOWN, Silent, ask_all, table, verdict
from broadcast.cli.status import command as status

SECONDS_MAX = 20
MEMBERS = {"a": "127.0.0.1:1", "b": "127.0.0.1:2", "c": "127.0.0.1:3"}


def said(node: str, leader: str | None = "a", epoch: int = 4, **facts: object) -> Status:
    role = "leader" if node == leader else "follower"
    status = Status(
        node=node,
        group="bank",
        role=role,
        epoch=epoch,
        leader=leader,
        commit=20,
        applied=19,
        last=21,
        durable=21,
        snapshot=15,
        first=12,
        sessions=2,
        voters=("a", "b", "c"),
        members=MEMBERS,
        reachable=None,
        waiting=None,
    )
    return msgspec.structs.replace(status, **facts)


def silent(node: str) -> Silent:
    return Silent(node, MEMBERS[node], "nobody listens there")


A, B, C = said("a"), said("b"), said("c")


@pytest.mark.parametrize(
    ("found", "status"),
    [
        pytest.param([A, B, C], 0, id="all agree"),
        pytest.param([A, B, silent("c")], 0, id="a majority agrees, one is silent"),
        pytest.param([silent("a"), B, C], 0, id="a majority agrees on one that is silent"),
        pytest.param([A, B, said("c", leader=None, epoch=5)], 1, id="one has gone on to an epoch without a leader"),
        pytest.param([A, B, said("c", leader="b", epoch=3)], 0, id="one has not heard of the epoch yet"),
        pytest.param(
            [said("a", leader=None), said("b", "b"), said("c", "b")], 0, id="one has just come, and knows nobody"
        ),
        pytest.param([said("a", epoch=5), B, C], 1, id="it leads anew, and nobody has heard of that yet"),
        pytest.param([A, said("b", leader=None), said("c", leader=None)], 1, id="only the leader thinks so"),
        pytest.param([A, silent("b"), silent("c")], 1, id="a leader alone"),
        pytest.param([said("a", leader=None), said("b", leader=None), said("c", leader=None)], 1, id="nobody leads"),
        pytest.param([A, said("d"), said("e")], 1, id="who is no voter does not count"),
        pytest.param([said("a", voters=("a",))], 0, id="a group of one"),
        pytest.param([said(name, voters=("a", "b", "c", "d")) for name in "ab"], 1, id="half is no majority"),
        pytest.param([silent("a"), silent("b"), silent("c")], 2, id="nobody answers"),
        pytest.param([], 2, id="nobody was asked"),
    ],
)
def test_the_exit_status(found: list[Status | Silent], status: int) -> None:
    for order in permutations(found):
        assert verdict(order) == status, "whoever answers first"


def test_the_table() -> None:
    assert table("bank", [A, said("b", leader=None, waiting="no leader is known"), silent("c")]).splitlines() == [
        "group bank",
        "",
        "member  address      role      epoch  leader  commit  applied  last  first  snapshot  sessions",
        "a       127.0.0.1:1  leader    4      a       20      19       21    12     15        2",
        "b       127.0.0.1:2  follower  4      -       20      19       21    12     15        2",
        "c       127.0.0.1:3  silent    -      -       -       -        -     -      -         -",
        "",
        "b: no leader is known",
        "c: nobody listens there",
    ]


def test_the_table_while_nothing_is_amiss_ends_with_its_rows() -> None:
    assert len(table("bank", [A, B, C]).splitlines()) == 6


def test_a_member_whose_address_nobody_knows() -> None:
    assert table("bank", [said("a", members={})]).splitlines()[3].split()[:3] == ["a", "?", "leader"]


def test_who_is_silent_and_nameless_is_told_by_the_address() -> None:
    assert table("bank", [Silent("?", MEMBERS["a"], "Connection refused")]).splitlines()[-2:] == [
        "",
        "127.0.0.1:1: Connection refused",
    ]


# -- whom it asks ----------------------------------------------------------------------------------------------------


class Count(Actor):
    """Just any."""

    @command
    def add(self) -> None:
        """Nothing is counted."""


async def test_a_member_that_has_two_addresses_is_one_member() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Count) as group:
            await group.ask(Count.add)
            port = group.replicas[0].status().members["a"].rpartition(":")[2]
            told = await ask_all("local", [f"localhost:{port}", f"127.0.0.1:{port}"])
    assert [each.node for each in told] == ["a", "b", "c"]
    assert all(isinstance(each, Status) for each in told)


async def test_a_member_that_answers_is_not_told_of_as_silent_where_it_does_not() -> None:
    """It listens elsewhere than the members know."""
    status = said("x", members={"x": "127.0.0.1:1"})
    assert await told_by_a_member_that_says(status) == [status]


class Teller:
    """A node's group that answers everything with this."""

    def __init__(self, answer: Status) -> None:
        self._answer = answer

    def received(self, origin: Origin, envelope: Envelope) -> None:
        origin.send("bank", "group", encode_struct(self._answer))

    def connected(self, peer: str) -> None:
        """Nobody is awaited."""

    def suspected(self, peer: str) -> None:
        """Nobody is missed."""

    def disconnected(self, origin: Origin) -> None:
        """And nobody is told anything later."""


async def told_by_a_member_that_says(answer: Status) -> list[Status | Silent]:
    with trio.fail_after(SECONDS_MAX):
        async with open_node("x", listen="127.0.0.1:0") as node:
            node.attach("bank", Teller(answer))
            return await ask_all("bank", [str(node.address)])


@pytest.mark.parametrize("address", ["nonsense", f"{'x' * 64}:1"])
async def test_an_address_that_is_none_is_told_beside_the_others(address: str) -> None:
    told = await told_by_a_member_that_says(said("a", members={"b": address}))
    assert [(each.node, type(each)) for each in told] == [("a", Status), ("b", Silent)]
    assert isinstance(told[1], Silent)
    assert told[1].address == address
    assert told[1].trouble


async def test_a_silent_address_that_nobody_names_is_told_by_itself() -> None:
    assert [each.node for each in await ask_all("bank", ["127.0.0.1:1"])] == [UNKNOWN]


# -- under TLS -------------------------------------------------------------------------------------------------------


def test_the_three_files_are_given_together(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("certificate", "key", "authority")]
    for path in files:
        path.write_text("no PEM")
        path.chmod(0o600)
    options = [f"--{path.name}={path}" for path in files]
    told = CliRunner().invoke(status, ["bank", "127.0.0.1:1", *options[:2]])
    assert (told.exit_code, "are given together" in told.output) == (2, True)
    told = CliRunner().invoke(status, ["bank", "127.0.0.1:1", *options])
    assert told.exit_code == 1
    assert "cannot be used together" in told.output
    assert "Traceback" not in told.output
