"""How a client finds its way: past members that cannot help, whatever they say of themselves.

Members that do not do what they should are played by nodes whose receiver says what the test wants.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from counts import Count

from actors import Envelope, Origin, open_node
from actors._protocol.codec import encode_struct
from broadcast import Group, GroupRef, LocalGroup, SessionExpired, connect, join, local_group, open_group
from broadcast._protocol import patience
from broadcast._protocol.visits import FROM_CLIENT, Enter, FromClient, Leading, Members, ToClient, Welcome
from membership import Limits

SECONDS_MAX = 20
LIMITS = Limits(election_timeout=50_000)


Answers = Callable[[FromClient], tuple[ToClient, ...]]


class Impostor:
    """Says to clients what it is told to say. visits: how many entered."""

    def __init__(self, answers: Answers) -> None:
        self.visits = 0
        self._answers = answers

    def received(self, origin: Origin, envelope: Envelope) -> None:
        said = FROM_CLIENT.decode(envelope.body)
        self.visits += isinstance(said, Enter)
        for message in self._answers(said):
            origin.send("local", "group", encode_struct(message))

    def connected(self, peer: str) -> None: ...
    def suspected(self, peer: str) -> None: ...
    def disconnected(self, origin: Origin) -> None: ...


@asynccontextmanager
async def impostor(answers: Answers, name: str = "x") -> AsyncGenerator[tuple[Impostor, str]]:
    """With the address where it is found."""
    async with open_node(name, listen="127.0.0.1:0") as node:
        played = Impostor(answers)
        node.attach("local", played)
        yield played, str(node.address)


def welcoming(group: LocalGroup[Count] | None, *then: ToClient) -> Answers:
    """Takes clients in as a member of this group would, says this, and never another word."""
    members = group.replicas[0].status().members if group else {}
    replica = group.replicas[0]._host.replica if group else None  # pyright: ignore[reportPrivateUsage]
    cluster = replica.cluster if replica else b"x" * 16
    return lambda said: (Welcome(cluster, LIMITS), Members(members), *then) if isinstance(said, Enter) else ()


@pytest.fixture
async def count() -> AsyncGenerator[LocalGroup[Count]]:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Count, limits=LIMITS) as group:
            await group.ask(Count.add, 1)
            yield group


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not answered is asked again soon."""
    monkeypatch.setattr(patience, "SILENCE_MIN", 50_000)


async def test_a_member_that_knows_no_leader_is_left_for_another(count: LocalGroup[Count]) -> None:
    async with (
        impostor(welcoming(count, Leading(None, None))) as (played, address),
        connect("local", Count, members={"x": address}) as client,
    ):
        assert await client.ask(Count.add, 1) == 2
        assert played.visits == 1


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("asks", [Count.value, Count.add])
async def test_a_member_by_which_nothing_gets_through_is_left_for_another(count: LocalGroup[Count], asks: Any) -> None:
    """It takes itself for the leader, and does not know that it is cut off."""
    async with (
        impostor(welcoming(count, Leading("x", None))) as (played, address),
        connect("local", Count, members={"x": address}) as client,
    ):
        assert await client.ask(asks, *([1] if asks is Count.add else [])) == (2 if asks is Count.add else 1)
        assert played.visits == 1


@pytest.mark.usefixtures("hasty")
async def test_what_was_asked_before_there_was_a_way_is_not_left_with_a_member_that_swallows_it(
    count: LocalGroup[Count],
) -> None:
    """Nothing else will wake the client then."""
    async with (
        impostor(welcoming(count, Leading("x", None))) as (_, address),
        connect("local", Count, members={"x": address}) as client,
    ):
        async with trio.open_nursery() as nursery:
            for asks, expected in ((Count.value, 1), (Count.value, 1)):
                nursery.start_soon(_ask, client, asks, expected)
        assert await client.ask(Count.add, 1) == 2


async def _ask(client: GroupRef[Count], asks: Any, expected: int) -> None:
    assert await client.ask(asks) == expected


async def test_a_node_whose_clock_is_out_of_bounds_is_left_for_another(count: LocalGroup[Count]) -> None:
    async with impostor(lambda said: ()) as (_, address), open_node("z", listen="127.0.0.1:0") as far:
        far.attach("local", Impostor(lambda said: ()))
        far.clock.advance(2**51)
        members = {"z": str(far.address), "x": address, **count.replicas[0].status().members}
        for _ in range(3):  # whom it visits first is chance
            async with connect("local", Count, members=members) as client:
                assert await client.ask(Count.value) == 1


@pytest.mark.parametrize("members", ["127.0.0.1:7101", ["a"], {"a": 7101}, {1: "127.0.0.1:7101"}, None])
async def test_members_of_another_type_are_told_at_once(members: Any) -> None:
    for opening in (
        connect("local", Count, members=members),
        open_group("local", Count, node="a", members=members, data=None),
    ):
        with pytest.raises(TypeError, match="members="):
            async with opening:
                pass


@pytest.mark.parametrize("address", ["nowhere", "", "::1", "127.0.0.1:99999"])
async def test_a_member_that_names_an_address_that_is_none_is_left_for_another(
    count: LocalGroup[Count], address: str
) -> None:
    async with (
        impostor(welcoming(count, Leading("y", address))) as (_, where),
        connect("local", Count, members={"x": where}) as client,
    ):
        assert await client.ask(Count.value) == 1


async def test_an_address_that_the_user_gave_is_not_replaced_by_one_that_is_told(count: LocalGroup[Count]) -> None:
    leader = count.replicas[0].status().leader
    assert leader is not None
    address = count.replicas[0].status().members[leader]
    async with (
        impostor(welcoming(None, Leading(leader, "127.0.0.1:1"))) as (_, where),
        connect("local", Count, members={"x": where, leader: address}) as client,
    ):
        assert await client.ask(Count.value) == 1


@pytest.mark.usefixtures("hasty")
async def test_a_member_that_names_thousands_is_left_for_one_that_the_user_named(count: LocalGroup[Count]) -> None:
    """What is remembered is bounded, and whom the user named is not forgotten for it."""
    named = count.replicas[0].status().members
    many = [Members({f"m{number}": f"127.0.0.1:{number}" for number in range(1, 5_001)})]
    async with (
        impostor(welcoming(None, *many)) as (_, where),
        connect("local", Count, members={"x": where, **named}) as client,
    ):
        assert await client.ask(Count.value) == 1


async def test_members_that_send_a_client_to_each_other_are_visited_less_and_less_often() -> None:
    """And the log says that something is wrong."""
    told = trio.Event()

    def notice(_logger: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if level == "warning" and "no member of the group can be used" in line["event"]:
            told.set()
        raise structlog.DropEvent

    structlog.configure(processors=[notice])
    try:
        with trio.fail_after(SECONDS_MAX):
            async with (
                open_node("x", listen="127.0.0.1:0") as x,
                open_node("y", listen="127.0.0.1:0") as y,
            ):
                sends = {
                    node: Impostor(welcoming(None, Leading(other.name, str(other.address))))
                    for node, other in ((x, y), (y, x))
                }
                for node, played in sends.items():
                    node.attach("local", played)
                async with connect("local", Count, members={"x": str(x.address)}):
                    await told.wait()
                    assert sum(played.visits for played in sends.values()) <= 20
    finally:
        structlog.reset_defaults()


async def test_a_group_formed_anew_at_the_same_address_is_another_group() -> None:
    """What was under way in the old one is unknown; numbers of the old session are nobody's in the new one."""
    unknown = trio.Event()

    async def ask_the_old_one(client: GroupRef[Count]) -> None:
        with pytest.raises(SessionExpired):
            await client.ask(Count.add, 100)
        unknown.set()

    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            async with impostor(lambda said: ()) as (_, address):
                pass  # a port that is free
            async with connect("local", Count, members={"m": address}) as client:
                async with open_node("m", listen=address) as node, join(node, "local", Count, limits=LIMITS) as group:
                    assert [await client.ask(Count.add, 1) for _ in range(3)] == [1, 2, 3]
                    _say_no_more(group)
                    nursery.start_soon(ask_the_old_one, client)
                    while group.status().last == group.status().applied:
                        await trio.lowlevel.checkpoint()
                async with open_node("m", listen=address) as node, join(node, "local", Count, limits=LIMITS):
                    await unknown.wait()
                    assert await client.ask(Count.add, 1) == 1


def _say_no_more(group: Group[Count]) -> None:
    """From now on nothing that it asks of its disk is done: it commits nothing."""
    group._host._writer.submit = lambda group, persist: None  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]


def _speak_again(group: Group[Count]) -> None:
    del group._host._writer.submit  # pyright: ignore[reportPrivateUsage]


async def test_a_replica_that_leaves_its_node_tells_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their links are to the node, which stays: nothing else would tell them that what they wait for is gone."""
    monkeypatch.setattr(patience, "SILENCE_MIN", patience.FAR)
    monkeypatch.setattr(patience, "SILENCE_MAX", patience.FAR)
    answers: list[int] = []

    async def ask(client: GroupRef[Count]) -> None:
        answers.append(await client.ask(Count.add, 1))

    with trio.fail_after(SECONDS_MAX):
        async with (
            open_node("m", listen="127.0.0.1:0") as node,
            connect("local", Count, members={"m": str(node.address)}) as client,
            trio.open_nursery() as nursery,
        ):
            async with join(node, "local", Count, limits=LIMITS) as group:
                assert await client.ask(Count.add, 1) == 1
                _say_no_more(group)
                nursery.start_soon(ask, client)
                while group.status().last == group.status().applied:
                    await trio.lowlevel.checkpoint()
            _speak_again(group)
            async with join(node, "local", Count, limits=LIMITS):  # on the same disk
                while not answers:
                    await trio.lowlevel.checkpoint()
    assert answers == [2]
