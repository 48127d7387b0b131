"""Reading at each level, as users do: what it gives, what it misses, and what it costs (rule 20)."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import counts
import pytest
import trio

from actors import ActorCrashed, Refused, open_node, query
from actors._protocol.codec import encode
from actors.testing import MemoryNetwork
from broadcast import Consistency, Group, GroupRef, connect, join, local_group
from broadcast import _replica as replica_module
from broadcast._protocol.output import Now, Output, Persist
from broadcast._protocol.queries import Query
from broadcast._reader import Reader
from membership import Limits

NAMES = "abc"
MEMBERS = {name: f"{name}:1" for name in NAMES}
SECONDS_MAX = 20  # of a test
LEASES = Limits(leases=True)
every_level = pytest.mark.parametrize("level", list(Consistency), ids=lambda level: level.value)
L = Consistency


class Empty(Refused):
    """There is nothing."""


class Count(counts.Count):
    @query
    def index(self) -> int:
        return self.context.position.index

    @query
    def some(self) -> int:
        if not self.total:
            raise Empty
        return self.total

    @query
    def fail(self) -> int:
        self.total += 1_000
        raise ArithmeticError


class Stage:
    """Three replicas on a network in memory."""

    def __init__(self, network: MemoryNetwork, groups: dict[str, Group[Count]]) -> None:
        self.network = network
        self.groups = groups

    async def applied(self, name: str, index: int) -> None:
        host = self.groups[name]._host  # pyright: ignore[reportPrivateUsage]
        while host.applied < index:
            await host.progressed.park()

    async def leader(self) -> str:
        """Who leads, as all of them know."""
        views = [await group.membership.wait_view() for group in self.groups.values()]
        return views[0].leader

    async def others(self) -> tuple[str, str]:
        leader = await self.leader()
        one, other = (name for name in NAMES if name != leader)
        return one, other

    def cut(self, name: str) -> None:
        """From the other members. Clients still reach it."""
        for other in NAMES.replace(name, ""):
            self.network.cut(name, other)
            self.network.cut(other, name)

    def heal(self, name: str) -> None:
        for other in NAMES.replace(name, ""):
            self.network.heal(name, other)
            self.network.heal(other, name)


@asynccontextmanager
async def staged(limits: Limits = LEASES) -> AsyncGenerator[Stage]:
    network = MemoryNetwork()
    with trio.fail_after(SECONDS_MAX):
        async with AsyncExitStack() as stack:
            groups: dict[str, Group[Count]] = {}
            for name in NAMES:
                opened = open_node(name, listen=MEMBERS[name], peers=MEMBERS, data=None, network=network.host(name))
                node = await stack.enter_async_context(opened)
                groups[name] = await stack.enter_async_context(
                    join(node, "count", Count, members=MEMBERS, limits=limits)
                )
            yield Stage(network, groups)


@asynccontextmanager
async def client_of(stage: Stage, *names: str) -> AsyncGenerator[GroupRef[Count]]:
    members = {name: MEMBERS[name] for name in names or NAMES}
    async with connect("count", Count, members=members, network=stage.network.host("client")) as client:
        yield client


class Counted:
    """What a replica's core has owed since, by kind."""

    def __init__(self, group: Group[Any], patch: pytest.MonkeyPatch) -> None:
        self.sent = Tally[str]()
        self.persisted: list[Persist] = []
        host = group._host  # pyright: ignore[reportPrivateUsage]
        perform: Callable[[Output], None] = host._perform  # pyright: ignore[reportPrivateUsage]

        def counted(output: Output) -> None:
            self.sent.update(type(send.message).__name__ for send in output.send)
            self.persisted += output.persist
            perform(output)

        patch.setattr(host, "_perform", counted)


# -- what each gives -------------------------------------------------------------------------------------------------


@every_level
async def test_each_level_answers_at_a_leader_at_a_follower_and_at_a_client(level: Consistency) -> None:
    async with staged() as stage, client_of(stage) as client:
        await client.ask(Count.add, 5)
        index = await client.reading(L.LOG).ask(Count.index)
        for name, group in stage.groups.items():
            await stage.applied(name, index)
            assert await group.reading(level).ask(Count.value) == 5
            assert await group.reading(level).ask(Count.some) == 5
        assert await client.reading(level).ask(Count.value) == 5


@every_level
async def test_refusals_and_crashes_of_queries_are_told_at_each_level(level: Consistency) -> None:
    async with staged() as stage:
        with pytest.raises(Empty):
            await stage.groups["b"].reading(level).ask(Count.some)
        with pytest.raises(ActorCrashed, match=r"Count\.fail raised ArithmeticError"):
            await stage.groups["b"].reading(level).ask(Count.fail)


@every_level
async def test_a_level_waits_for_the_earlier_commands_of_its_handle_unless_it_is_local(level: Consistency) -> None:
    async with staged() as stage, client_of(stage) as client:
        await client.ask(Count.add, 1)
        await client.tell(Count.add, 10)
        assert await client.reading(level).ask(Count.value) in ((1, 11) if level is L.LOCAL else (11,))


# -- in the log ------------------------------------------------------------------------------------------------------


async def test_a_query_in_the_log_has_a_place_of_its_own_and_is_no_delivery() -> None:
    async with staged() as stage:
        group = stage.groups["a"]
        places = [await group.reading(L.LOG).ask(Count.index) for _ in range(3)]
        assert places == [places[0], places[0] + 1, places[0] + 2]
        await group.ask(Count.add, 7)
        async with aclosing(group.deliveries()) as deliveries:
            delivery = await anext(deliveries)
        assert (delivery.tag, delivery.arguments) == ("add", (7,))


async def test_a_query_in_the_log_that_crashes_is_undone_like_a_command_and_replays_are_the_same() -> None:
    async with staged() as stage:
        group = stage.groups["a"]
        await group.ask(Count.add, 7)
        with pytest.raises(ActorCrashed):
            await group.reading(L.LOG).ask(Count.fail)
        assert await group.reading(L.LOG).ask(Count.value) == 7
        with pytest.raises(ActorCrashed):
            await group.reading(L.LOG).ask(Count.fail)
        index = await group.reading(L.LOG).ask(Count.index)
        for name, each in stage.groups.items():
            await stage.applied(name, index)
            assert each.state() == group.state()


# -- within a session ------------------------------------------------------------------------------------------------


async def test_a_session_s_read_needs_no_quorum_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        one, other = await stage.others()
        group = stage.groups[one]
        assert await group.ask(Count.add, 7) == 7
        for name in (one, other):
            stage.cut(name)
        counted = Counted(group, monkeypatch)
        for _ in range(10):
            assert await group.reading(L.SESSION).ask(Count.value) == 7
        assert not {"ReadIndex", "Append", "Submit"}.intersection(counted.sent)
        for name in (one, other):
            stage.heal(name)


async def test_a_session_reads_what_it_wrote_and_read_wherever_its_client_is_linked_to() -> None:
    """It has seen more than a member knows of: that one answers once it is level."""
    async with staged() as stage, client_of(stage) as client, client_of(stage) as other:
        await client.ask(Count.add, 1)
        behind, _ = await stage.others()
        host = stage.groups[behind]._host  # pyright: ignore[reportPrivateUsage]
        answers: list[int] = []
        reader = Reader(host, "client", lambda found: answers.extend(each.number for each in found))
        stage.cut(behind)
        await client.ask(Count.add, 1)
        wrote = seen_by(client)
        await other.ask(Count.add, 1)
        await client.ask(Count.value)
        read = seen_by(client)
        assert host.applied < wrote < read
        for number, seen in ((1, 0), (2, wrote), (3, read)):
            reader.read([Query(number, encode(["value"]), L.SESSION, seen)])
        assert answers == [1]
        stage.heal(behind)
        await stage.applied(behind, read)
        assert answers == [1, 2, 3]


def seen_by(client: GroupRef[Count]) -> int:
    return client._handle._queries.seen  # pyright: ignore[reportPrivateUsage]


# -- by a lease ------------------------------------------------------------------------------------------------------


async def with_lease(stage: Stage) -> Group[Count]:
    """The leader, once it holds a lease."""
    group = stage.groups[await stage.leader()]
    await group.ask(Count.add, 7)
    host = group._host  # pyright: ignore[reportPrivateUsage]
    while not host.holds_lease():
        await group.ask(Count.value)
    return group


async def test_a_read_by_lease_costs_no_message_where_the_leader_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        group = await with_lease(stage)
        counted = Counted(group, monkeypatch)
        asked = 0
        while asked < 20:
            before = counted.sent.copy()
            assert await group.reading(L.LEASE).ask(Count.value) == 7
            asked += counted.sent == before  # else a heartbeat was due
        assert counted.persisted == []


async def test_a_lease_that_ends_while_a_query_runs_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine slept, as far as its clocks show: the query is run again once a round has confirmed who leads."""
    async with staged() as stage:
        group = await with_lease(stage)
        host = group._host  # pyright: ignore[reportPrivateUsage]
        asleep, run, ran = 0, host.query, 0
        moment = replica_module.now

        def now() -> Now:
            shown = moment()
            return Now(shown.monotonic, shown.wall, (shown.boottime or 0) + asleep)

        def sleeps(call: bytes, sender: str) -> bytes:
            nonlocal asleep, ran
            ran += 1
            if ran == 1:
                asleep += LEASES.election_timeout
            return run(call, sender)

        monkeypatch.setattr(replica_module, "now", now)
        monkeypatch.setattr(host, "query", sleeps)
        assert await group.reading(L.LEASE).ask(Count.value) == 7
        assert ran == 2


async def test_leases_are_refused_where_the_group_has_none() -> None:
    told = r"this group was formed without leases\. Form it with limits=Limits\(leases=True\)"
    async with staged(Limits()) as stage, client_of(stage) as client:
        early = client.reading(L.LEASE)  # what group it is is not known yet
        with pytest.raises(ValueError, match=told):
            await early.ask(Count.value)
        for ref in (client, *stage.groups.values()):
            await ref.ask(Count.value)
            with pytest.raises(ValueError, match=told):
                ref.reading(L.LEASE)


async def test_leases_stand_in_the_way_of_no_hand_over() -> None:
    async with staged() as stage, client_of(stage) as client:
        await client.ask(Count.add, 1)
        leader = await stage.leader()
        await stage.groups[leader].membership.hand_over()
        assert await client.reading(L.LEASE).ask(Count.value) == 1
        assert await stage.groups[leader].reading(L.LEASE).ask(Count.value) == 1


# -- linearizable ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["leader", "follower"])
async def test_a_hundred_concurrent_reads_share_a_confirmation_and_write_nothing(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_group(Count) as count, trio.open_nursery() as nursery:
        with trio.fail_after(SECONDS_MAX):
            await count.ask(Count.add, 7)
            leader = (await count.replicas[0].membership.wait_view()).leader
            leads = next(each for each in count.replicas if each.status().node == leader)
            group = leads if at == "leader" else next(each for each in count.replicas if each is not leads)
            await group.ask(Count.value)
            here, there = Counted(group, monkeypatch), Counted(leads, monkeypatch)
            rounds = leads._host.replica.leadership.rounds  # type: ignore[union-attr]  # pyright: ignore
            begin, shared = rounds.begin, list[int]()

            def begins(commit: int | None) -> int:
                if rounds._waiting:  # else a heartbeat was due  # pyright: ignore[reportPrivateUsage]
                    shared.append(len(rounds._waiting))  # pyright: ignore[reportPrivateUsage]
                return begin(commit)

            monkeypatch.setattr(rounds, "begin", begins)
            answers: list[int] = []

            async def read() -> None:
                answers.append(await group.ask(Count.value))

            async with trio.open_nursery() as readers:
                for _ in range(100):
                    readers.start_soon(read)
            assert answers == [7] * 100
            assert 1 <= len(shared) <= 2, "one for who came first, one for all others"
            assert here.sent["ReadIndex"] <= 2
            assert here.persisted == there.persisted == []
        nursery.cancel_scope.cancel()
