"""A group as its users hold it: three replicas in this process, over real loopback, and every way to speak to them."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import outcome
import pytest
import structlog
import trio
from counts import Count
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorCrashed, InvalidMessage, OutcomeUnknown, Refused, command, open_node, query
from broadcast import (
    CannotCapture,
    Compacted,
    Consistency,
    Delivery,
    Group,
    GroupClosed,
    GroupRef,
    LocalGroup,
    connect,
    join,
    local_group,
    open_group,
)
from membership import Limits, Majority, Weighted

SECONDS_MAX = 20  # of a test: on real time, since loopback is real
A = TypeVar("A", bound=Actor)
T = TypeVar("T")


class Locked(Actor):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Full(Refused):
    """`Full(there_is_room_for, wanted)`."""


class Shelf(Actor):
    """Holds up to ten items."""

    def __init__(self) -> None:
        self.items: list[str] = []

    @command
    def put(self, item: str) -> int:
        """Returns how many there are now."""
        if len(self.items) >= 10:
            raise Full(10, item)
        self.items.append(item)
        return len(self.items)

    @command
    def take(self, item: str) -> None:
        self.items.remove(item)

    @command
    def drop(self, item: str) -> None:
        """Has a bug, after it has changed something."""
        self.items.append(item)
        raise ZeroDivisionError("a text that may differ between replicas")

    @query
    def content(self) -> list[str]:
        return self.items


@asynccontextmanager
async def held(group: LocalGroup[Count], way: str) -> AsyncGenerator[GroupRef[Count]]:
    """A handle of the group: of the replica that leads, of one that follows, or of a client."""
    leader = await leading(group)
    match way:
        case "leader":
            yield leader
        case "follower":
            yield next(replica for replica in group.replicas if replica is not leader)
        case _:
            async with connect("local", Count, members=members_of(group)) as client:
                yield client


async def leading(group: LocalGroup[Count]) -> Group[Count]:
    view = await group.replicas[0].membership.wait_view()
    return next(replica for replica in group.replicas if replica.status().node == view.leader)


def members_of(group: LocalGroup[Count]) -> dict[str, str]:
    return group.replicas[0].status().members


async def first(count: int, source: AsyncIterator[T]) -> list[T]:
    """So many from the source's beginning; the source is closed then, as Trio wants it."""
    async with aclosing(cast("AsyncGenerator[T]", source)) as items:
        return [await anext(items) for _ in range(count)]


@asynccontextmanager
async def opened(actor: type[A], *, replicas: int = 3, name: str = "local") -> AsyncGenerator[LocalGroup[A]]:
    """A group, and an end to the test if it hangs."""
    with trio.fail_after(SECONDS_MAX):
        async with local_group(actor, replicas=replicas, name=name) as group:
            yield group


@pytest.fixture
async def shelf() -> AsyncGenerator[LocalGroup[Shelf]]:
    async with opened(Shelf) as group:
        yield group


@pytest.fixture
async def count() -> AsyncGenerator[LocalGroup[Count]]:
    async with opened(Count) as group:
        yield group


every_way = pytest.mark.parametrize("way", ["leader", "follower", "client"])


# -- ask and tell ----------------------------------------------------------------------------------------------------


@every_way
async def test_commands_of_one_handle_keep_their_order_however_they_are_sent(
    count: LocalGroup[Count], way: str
) -> None:
    async with held(count, way) as handle:
        assert await handle.ask(Count.add, 1) == 1
        await handle.tell(Count.add, 10)
        assert await handle.ask(Count.add, 100) == 111
        await handle.tell(Count.add, 1000)
        assert await handle.ask(Count.value) == 1111, "a query comes after what its handle told"


async def test_commands_of_many_tasks_are_each_applied_once(count: LocalGroup[Count]) -> None:
    answers: list[int] = []

    async def add(handle: GroupRef[Count]) -> None:
        answers.extend([await handle.ask(Count.add, 1) for _ in range(20)])

    async with trio.open_nursery() as nursery:
        for handle in (count, *count.replicas):
            nursery.start_soon(add, handle)
    assert sorted(answers) == list(range(1, 81))


@every_way
async def test_a_cancelled_ask_leaves_the_session_sound(count: LocalGroup[Count], way: str) -> None:
    """Its command was applied once or not at all, those behind it are not held up, and no answer goes to another."""
    chance = random.Random(way)
    answers: list[int] = []
    cancelled = 0

    async def add(patience: float) -> None:
        nonlocal cancelled
        with trio.move_on_after(patience) as scope:
            answers.append(await handle.ask(Count.add, 1))
        cancelled += scope.cancelled_caught

    async with held(count, way) as handle:
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(add, chance.choice((0, 0.010 * chance.random(), SECONDS_MAX)))
        reached = await handle.ask(Count.value)
        assert [await handle.ask(Count.add, 1) for _ in range(3)] == [reached + 1, reached + 2, reached + 3]
    assert answers
    assert cancelled
    assert len(answers) + cancelled == 200
    assert len(set(answers)) == len(answers)
    assert len(answers) <= reached <= 200
    assert max(answers) <= reached


async def test_a_command_that_was_cancelled_before_it_left_is_never_applied(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members_of(count)) as client:
        with trio.move_on_after(0) as scope:
            await client.ask(Count.add, 100)  # there is no link yet
        assert scope.cancelled_caught
        assert await client.ask(Count.add, 1) == 1


async def test_a_cancelled_query_harms_no_other(count: LocalGroup[Count]) -> None:
    async def look(patience: float) -> None:
        with trio.move_on_after(patience):
            assert await count.ask(Count.value) == 5

    await count.ask(Count.add, 5)
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(look, 0.0005 * number)
    assert await count.ask(Count.value) == 5


# -- what goes wrong in a command ------------------------------------------------------------------------------------


async def test_a_refusal_is_raised_at_its_asker_as_what_it_is(shelf: LocalGroup[Shelf]) -> None:
    for number in range(10):
        assert await shelf.ask(Shelf.put, f"item {number}") == number + 1
    with pytest.raises(Full) as refused:
        await shelf.ask(Shelf.put, "one more")
    assert refused.value.args == (10, "one more")
    assert "one more" not in await shelf.ask(Shelf.content)


async def test_what_a_crashed_command_had_changed_is_undone_on_every_replica(shelf: LocalGroup[Shelf]) -> None:
    await shelf.ask(Shelf.put, "vase")
    before = [replica.state() for replica in await level(shelf, shelf.replicas[0])]
    for _ in range(2):
        with pytest.raises(ActorCrashed, match=r"Shelf\.drop raised ZeroDivisionError: a bug in its class") as crash:
            await shelf.ask(Shelf.drop, "vase")
        assert "may differ" not in str(crash.value)
    assert [replica.state() for replica in await level(shelf, shelf.replicas[0])] == before
    assert await shelf.ask(Shelf.put, "book") == 2
    assert await shelf.ask(Shelf.content) == ["vase", "book"]


async def level(group: LocalGroup[Shelf], ahead: Group[Shelf]) -> tuple[Group[Shelf], ...]:
    """The replicas, once each has applied what this one has."""
    index = ahead.status().applied
    for replica in group.replicas:
        while replica.status().applied < index:
            await trio.lowlevel.checkpoint()
    return group.replicas


@pytest.mark.parametrize("argument", [1, None, b"bytes", ["list"]])
async def test_an_argument_that_does_not_fit_is_told_before_anything_is_sent(
    shelf: LocalGroup[Shelf], argument: Any
) -> None:
    async with shelf.pipeline() as pipe:
        for send in (shelf.ask, shelf.tell, pipe.send):
            with pytest.raises(InvalidMessage, match=r"Shelf\.put: item"):
                await send(Shelf.put, argument)
    with pytest.raises(InvalidMessage, match="Shelf has no message"):
        await shelf.ask(Count.add, 1)  # type: ignore[call-overload]
    assert await shelf.ask(Shelf.put, "vase") == 1
    assert shelf.replicas[0].status().sessions == 1
    assert [said.arguments for said in await first(1, shelf.replicas[0].deliveries())] == [("vase",)]


# -- pipelines -------------------------------------------------------------------------------------------------------


@every_way
async def test_a_pipeline_answers_in_order(count: LocalGroup[Count], way: str) -> None:
    async with held(count, way) as handle, handle.pipeline(window=7) as pipe, trio.open_nursery() as nursery:

        async def send() -> None:
            for _ in range(100):
                await pipe.send(Count.add, 1)
            pipe.end()

        nursery.start_soon(send)
        assert [answer.unwrap() async for answer in pipe] == list(range(1, 101))


async def test_an_error_in_a_pipeline_is_told_in_its_place(shelf: LocalGroup[Shelf]) -> None:
    async with shelf.pipeline() as pipe:
        for number in range(11):
            await pipe.send(Shelf.put, f"item {number}")
        await pipe.send(Shelf.drop, "vase")
        pipe.end()
        answers = [answer async for answer in pipe]
    assert answers[:10] == [outcome.Value(number) for number in range(1, 11)]
    refused, crashed = answers[10:]
    assert isinstance(refused, outcome.Error)
    assert isinstance(refused.error, Full)
    assert isinstance(crashed, outcome.Error)
    assert isinstance(crashed.error, ActorCrashed)


async def test_leaving_a_pipeline_waits_for_every_outcome(count: LocalGroup[Count]) -> None:
    async with count.pipeline() as pipe:
        for _ in range(50):
            await pipe.send(Count.add, 1)
    assert await count.reading(Consistency.LOCAL).ask(Count.value) == 50
    assert [answer.unwrap() async for answer in pipe] == list(range(1, 51))
    with pytest.raises(trio.ClosedResourceError, match="this pipeline has ended"):
        await pipe.send(Count.add, 1)


async def test_a_window_full_of_answers_that_nobody_reads_is_a_mistake(count: LocalGroup[Count]) -> None:
    async with count.pipeline(window=3) as pipe:
        for _ in range(3):
            await pipe.send(Count.add, 1)
        with pytest.raises(RuntimeError, match="the window of 3 is full of answers that nobody reads"):
            await pipe.send(Count.add, 1)
        assert (await anext(aiter(pipe))).unwrap() == 1
        await pipe.send(Count.add, 1)
    assert await count.ask(Count.value) == 4


async def test_cancelled_turns_of_a_pipeline_lose_nothing_and_hang_nobody(count: LocalGroup[Count]) -> None:
    async with count.pipeline(window=2) as pipe:
        await pipe.send(Count.add, 1)
        await count.ask(Count.value)
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(pipe)
        await pipe.send(Count.add, 1)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(pipe.send, Count.add, 1)
                nursery.start_soon(pipe.send, Count.add, 1)
                assert [(await anext(pipe)).unwrap(), (await anext(pipe)).unwrap()] == [1, 2]
                scope.cancel()
                await pipe.send(Count.add, 1)
        pipe.end()
        assert [answer.unwrap() async for answer in pipe] == [3, 4]


async def test_who_waits_for_answers_that_a_cancelled_send_will_not_bring_comes_to_an_end(
    count: LocalGroup[Count],
) -> None:
    async def read() -> None:
        assert [answer.unwrap() async for answer in pipe] == []

    async with (
        connect("local", Count, members={"a": "127.0.0.1:1"}) as client,
        client.pipeline() as pipe,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(read)
        with trio.move_on_after(0.01):
            await pipe.send(Count.add, 1)  # nobody is there to take it
        pipe.end()


async def test_a_pipeline_lets_others_run(count: LocalGroup[Count]) -> None:
    turns = 0

    async def run() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery, count.pipeline(window=2_000) as pipe:
        nursery.start_soon(run)
        for _ in range(2_000):
            await pipe.send(Count.add, 1)
        sending, turns = turns, 0
        await count.ask(Count.value)
        turns = 0
        for _ in range(2_000):
            await anext(pipe)
        nursery.cancel_scope.cancel()
    assert sending >= 20
    assert turns >= 20


async def test_a_pipeline_takes_no_queries_and_no_window_of_nothing(count: LocalGroup[Count]) -> None:
    async with count.pipeline() as pipe:
        with pytest.raises(TypeError, match=r"Count\.value is a query, and a pipeline carries commands: use ask"):
            await pipe.send(Count.value)
    with pytest.raises(ValueError, match="window is at least 1, not 0"):
        count.pipeline(window=0)


# -- reading ---------------------------------------------------------------------------------------------------------


@every_way
async def test_a_read_misses_nothing_that_anybody_was_answered(count: LocalGroup[Count], way: str) -> None:
    async with held(count, way) as handle:
        for number in range(1, 31):
            assert await count.replicas[number % 3].ask(Count.add, 1) == number
            assert await handle.ask(Count.value) == number


async def test_a_local_read_is_of_the_replica_as_it_is(count: LocalGroup[Count]) -> None:
    """It waits for nobody: not even for what its own handle has under way."""
    await count.ask(Count.add, 1)
    leader = await leading(count)
    local, linearizable = leader.reading(Consistency.LOCAL), leader.reading(Consistency.LINEARIZABLE)
    await local.tell(Count.add, 1)
    assert await local.ask(Count.value) == 1
    assert await linearizable.ask(Count.value) == 2
    assert await local.ask(Count.value) == 2
    assert await local.ask(Count.add, 1) == 3, "commands are what they are"


async def test_a_local_read_needs_no_quorum(count: LocalGroup[Count]) -> None:
    async with opened(Count, replicas=1, name="alone") as alone:
        await alone.ask(Count.add, 7)
        assert await alone.reading(Consistency.LOCAL).ask(Count.value) == 7
    async with connect("local", Count, members=members_of(count)) as client:
        await client.ask(Count.add, 1)
        assert await client.reading(Consistency.LOCAL).ask(Count.value) in (0, 1)


# -- the order itself ------------------------------------------------------------------------------------------------


async def test_every_replica_delivers_the_same_from_any_index(shelf: LocalGroup[Shelf]) -> None:
    """Only what was applied, each at its place."""
    for number in range(10):
        await shelf.replicas[number % 3].ask(Shelf.put, f"item {number}")
        with pytest.raises(ActorCrashed):
            await shelf.ask(Shelf.drop, "vase")
    with pytest.raises(Full):
        await shelf.ask(Shelf.put, "one more")
    await shelf.ask(Shelf.take, "item 3")
    orders = [await first(11, replica.deliveries()) for replica in shelf.replicas]
    order = orders[0]
    assert orders == [order] * 3
    assert [(said.tag, said.arguments) for said in order] == [
        *(("put", (f"item {number}",)) for number in range(10)),
        ("take", ("item 3",)),
    ]
    assert [said.sender for said in order[:3]] == ["a", "b", "c"]
    assert order == sorted(order, key=lambda said: said.position)
    assert [said.timestamp.counter for said in order] == sorted({said.timestamp.counter for said in order})
    assert [said.time for said in order] == sorted(said.time for said in order)
    for at in (0, 4, 10):
        later = [await first(11 - at, replica.deliveries(order[at].position.index)) for replica in shelf.replicas]
        assert later == [order[at:]] * 3
    after_the_fifth = shelf.replicas[0].deliveries(order[4].position.index + 1)
    assert await first(6, after_the_fifth) == order[5:]


async def test_who_listens_gets_what_is_to_come(count: LocalGroup[Count]) -> None:
    heard: dict[str, list[Delivery]] = {}

    async def listen(replica: Group[Count]) -> None:
        heard[replica.status().node] = await first(20, replica.deliveries())

    async with trio.open_nursery() as nursery:
        for replica in count.replicas:
            nursery.start_soon(listen, replica)
        for number in range(20):
            await count.ask(Count.add, number)
    assert [said.arguments for said in heard["a"]] == [(number,) for number in range(20)]
    assert heard["a"] == heard["b"] == heard["c"]


async def test_views_are_the_same_everywhere(count: LocalGroup[Count]) -> None:
    await count.ask(Count.add, 1)
    views = [await first(1, replica.membership.views()) for replica in count.replicas]
    assert views[0] == views[1] == views[2]
    assert (views[0][0].number, views[0][0].voters) == (1, ("a", "b", "c"))
    assert views[0][0].leader in ("a", "b", "c")
    for replica in count.replicas:
        assert replica.membership.view == views[0][0]
        assert await replica.membership.wait_view() == views[0][0]


async def test_status_says_what_each_replica_knows(count: LocalGroup[Count]) -> None:
    await count.ask(Count.add, 1)
    leader = (await leading(count)).status()
    assert (leader.role, leader.leader, leader.group) == ("leader", leader.node, "local")
    assert leader.applied == leader.commit <= leader.last
    assert leader.sessions == 1
    for replica in count.replicas:
        said = replica.status()
        assert (said.epoch, said.leader, said.waiting) == (leader.epoch, leader.node, None)
        assert said.voters == ("a", "b", "c")
        assert said.members == leader.members
        assert (said.role == "leader") == (said.node == leader.node)


async def test_who_has_left_says_so_and_does_not_lead() -> None:
    async with local_group(Count, replicas=1) as group:
        await group.ask(Count.add, 1)
        replica = group.replicas[0]
    assert (replica.status().role, replica.status().leader) == ("closed", None)


# -- opening and closing ---------------------------------------------------------------------------------------------


@every_way
async def test_after_closing_a_handle_takes_nothing(way: str) -> None:
    async with opened(Count) as group, held(group, way) as handle:
        assert await handle.ask(Count.add, 1) == 1
        if way == "client":
            async with connect("local", Count, members=members_of(group)) as handle:
                await handle.ask(Count.value)
    with pytest.raises(GroupClosed, match="is closed"):
        await handle.ask(Count.add, 1)
    with pytest.raises(GroupClosed, match="is closed"):
        await handle.tell(Count.add, 1)
    with pytest.raises(GroupClosed, match="is closed"):
        await handle.ask(Count.value)


@pytest.mark.parametrize("under_way", [True, False])
async def test_who_waits_while_a_handle_closes_is_told(count: LocalGroup[Count], under_way: bool) -> None:
    """Whether its command was on its way, or there never was a way."""
    members = members_of(count) if under_way else {"a": "127.0.0.1:1"}
    told: list[str] = []

    async def ask(handle: GroupRef[Count]) -> None:
        with pytest.raises(GroupClosed) as closed:
            await handle.ask(Count.add, 1)
        told.append(str(closed.value))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as leaving:
            async with connect("local", Count, members=members) as handle:
                if under_way:
                    await handle.ask(Count.value)
                nursery.start_soon(ask, handle)
                while nursery.child_tasks and not _sleeps(nursery):
                    await trio.lowlevel.checkpoint()
                leaving.cancel()
    text = (
        "local was closed while an answer was awaited: what was" if under_way else "local is closed; nothing was sent"
    )
    assert [each.partition(" asked")[0].partition(": open")[0] for each in told] == [f"this handle of the group {text}"]


def _sleeps(nursery: trio.Nursery) -> bool:
    """Has its one task come to where it waits?"""
    (task,) = nursery.child_tasks
    return task.coro.cr_await is not None


@every_way
async def test_what_is_asked_or_told_in_a_cancelled_scope_is_not_sent(count: LocalGroup[Count], way: str) -> None:
    async with held(count, way) as handle:
        assert await handle.ask(Count.add, 1) == 1
        for send in (handle.ask, handle.tell):
            with trio.CancelScope() as scope:
                scope.cancel()
                await send(Count.add, 10)
            assert scope.cancelled_caught
        async with handle.pipeline() as pipe:
            with trio.CancelScope() as scope:
                scope.cancel()
                await pipe.send(Count.add, 10)
        assert await handle.ask(Count.add, 1) == 2


async def test_a_group_that_lets_little_be_left_open_serves_many_askers() -> None:
    answers: list[int] = []

    async def add(handle: GroupRef[Count]) -> None:
        answers.append(await handle.ask(Count.add, 1))

    with trio.fail_after(SECONDS_MAX):
        async with (
            local_group(Count, limits=Limits(answers_max=10)) as group,
            connect("local", Count, members=members_of(group)) as client,
            trio.open_nursery() as nursery,
        ):
            for _ in range(50):
                nursery.start_soon(add, group)
                nursery.start_soon(add, client)
    assert sorted(answers) == list(range(1, 101))


async def test_views_end_with_the_group() -> None:
    async with opened(Count, replicas=1) as group:
        await group.ask(Count.add, 1)
        views = group.replicas[0].membership.views()
        assert (await anext(views)).number == 1
    with pytest.raises(GroupClosed, match="the group local is closed"):
        await anext(views)
    with pytest.raises(GroupClosed, match="the group local is closed"):
        await group.replicas[0].membership.wait_view(after=1)


async def test_a_node_takes_part_in_a_group_once(count: LocalGroup[Count]) -> None:
    async with open_node("a", listen="127.0.0.1:0") as node, join(node, "one", Count) as group:
        assert await group.ask(Count.add, 1) == 1
        with pytest.raises(ValueError, match="'one' is taken on node a"):
            async with join(node, "one", Count):
                pass
        assert await group.ask(Count.add, 1) == 2


@pytest.mark.parametrize("name", ["", "a/b", "..\n", "x" * 129])
async def test_a_name_that_is_none_is_told_at_once(count: LocalGroup[Count], name: str) -> None:
    members = members_of(count)
    for opening in (
        connect(name, Count, members=members),
        connect("local", Count, members=members, name=name),
        connect("local", Count, members={name: members["a"]}),
        open_group(name, Count, node="a", members=members, data=None),
        local_group(Count, name=name),
    ):
        with pytest.raises(ValueError, match="cannot be a name"):
            async with opening:
                pass


async def test_a_client_that_leaves_waits_for_what_it_told(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members_of(count)) as client:
        for _ in range(100):
            await client.tell(Count.add, 1)
    assert await count.ask(Count.value) == 100


async def test_a_group_that_closes_waits_for_what_it_was_told() -> None:
    """The disk takes its time here, until it is clear that somebody waits for it."""
    released = False
    written: list[tuple[str, Any]] = []

    async def release() -> None:
        nonlocal released
        await wait_all_tasks_blocked()
        released = True
        for group, persist in written:
            submit(group, persist)

    async with trio.open_nursery() as nursery:
        async with opened(Count, replicas=1) as group:
            assert await group.ask(Count.add, 1) == 1
            writer = group.replicas[0]._host._writer  # pyright: ignore[reportPrivateUsage]
            submit = writer.submit
            writer.submit = lambda group, persist: written.append((group, persist))  # type: ignore[method-assign]
            await group.tell(Count.add, 1)
            nursery.start_soon(release)
        assert released
    assert len(await first(2, group.replicas[0].deliveries())) == 2


async def test_deliveries_begin_with_what_is_held_and_leave_nothing_out(count: LocalGroup[Count]) -> None:
    """Rule 9: who falls behind what is forgotten, or what a snapshot jumped over, is told, and where to go on."""
    replica = count.replicas[0]
    for number in range(1, 6):
        await count.ask(Count.add, number)
    indices = [said.position.index for said in await first(5, replica.deliveries(1))]
    slow = replica.deliveries(1)
    assert (await anext(slow)).position.index == indices[0]
    machine: Any = replica._host.machine  # pyright: ignore[reportPrivateUsage]
    machine._past.forget(indices[2] - 1)
    assert [said.position.index for said in await first(3, replica.deliveries())] == indices[2:]
    assert [said.position.index for said in await first(2, replica.deliveries(indices[3]))] == indices[3:]
    with pytest.raises(Compacted, match=f"the order is held from index {indices[2]} on") as told:
        await anext(slow)
    assert told.value.first_index == indices[2]
    with pytest.raises(Compacted):
        await first(1, replica.deliveries(indices[2] - 1))
    waiting = replica.deliveries(indices[4] + 1)
    machine._past.forget(10**6)
    await count.ask(Count.add, 6)
    with pytest.raises(Compacted):
        await anext(waiting)


async def test_an_actor_whose_state_cannot_go_into_snapshots_is_refused_when_the_group_opens() -> None:
    with pytest.raises(CannotCapture, match=r"Locked: self\.lock is a lock, which cannot be put in a snapshot; keep"):
        async with local_group(Locked, replicas=1):
            pass
    with pytest.raises(TypeError, match=r"override snapshot\(\) and restore\(\)"):
        async with open_group("locked", Locked, node="a", members={"a": "127.0.0.1:0"}, data=None):
            pass


async def test_deliveries_end_with_the_group(count: LocalGroup[Count]) -> None:
    async with opened(Count, replicas=1, name="short") as short:
        await short.ask(Count.add, 1)
    order = short.replicas[0].deliveries()
    assert (await anext(order)).arguments == (1,)
    with pytest.raises(GroupClosed, match="the group short is closed"):
        await anext(order)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(command_size_max=2**30), "command_size_max=1073741824: .*<= 8388608"),
        (Limits(election_timeout=0.3), "election_timeout=0.3: Expected `int`, got `float`"),  # type: ignore[arg-type]
        (Limits(answers_max=0), "answers_max=0: .*>= 1"),
        (Limits(sessions_max=2**40), "sessions_max="),
        (Limits(session_term=600), r"session_term=600: .*\(times are in microseconds\)"),
    ],
)
async def test_limits_that_cannot_be_are_told_before_anything_is_written(
    limits: Limits, says: str, tmp_path: Path
) -> None:
    for opening in (
        open_group("one", Count, node="a", members={"a": "127.0.0.1:0"}, data=tmp_path / "a", limits=limits),
        local_group(Count, replicas=1, limits=limits),
    ):
        with pytest.raises(TypeError, match=says):
            async with opening:
                pass
    assert not (tmp_path / "a").exists()


async def test_a_restart_with_another_quorum_than_the_group_s_is_told_once_in_the_log(tmp_path: Path) -> None:
    warnings: list[MutableMapping[str, Any]] = []

    def keep_warnings(_: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if level == "warning":
            warnings.append(line)
        raise structlog.DropEvent

    structlog.configure(processors=[keep_warnings])
    try:
        for quorum in (Majority(), Majority(), Weighted({"a": 3})):
            assert not warnings
            members = {"a": "127.0.0.1:0"}
            async with open_group("one", Count, node="a", members=members, data=tmp_path / "a", quorum=quorum) as one:
                with trio.fail_after(SECONDS_MAX):
                    assert await one.ask(Count.value) == 0
                    await one.ask(Count.add, 0)
    finally:
        structlog.reset_defaults()
    (warning,) = warnings
    assert "(quorum: Majority() in the group, Weighted(weights={'a': 3}) here)" in warning["event"]
    assert (warning["group"], warning["node"]) == ("one", "a")


class Texts(Count):
    @command
    def add(self, amount: int) -> str:  # type: ignore[override]
        raise NotImplementedError


async def test_an_answer_that_this_program_s_class_does_not_give_is_no_fault_of_the_protocol() -> None:
    async with opened(Count, replicas=1) as group:
        members = group.replicas[0].status().members
        async with connect("local", Texts, members=members) as client:
            with pytest.raises(OutcomeUnknown, match=r"Texts\.add was run, and its answer is not what"):
                await client.ask(Texts.add, 1)
        assert await group.ask(Count.value) == 1


async def test_what_is_told_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcast._protocol.submitter.OUTSTANDING_SIZE_MAX", 1_000)
    told = 0

    async def tell(group: GroupRef[Shelf]) -> None:
        nonlocal told
        while True:
            await group.tell(Shelf.put, "x" * 100)
            told += 1

    async with opened(Shelf, replicas=1) as group, trio.open_nursery() as nursery:
        await group.ask(Shelf.content)
        host = group.replicas[0]._host  # pyright: ignore[reportPrivateUsage]
        submit = host.submit
        host.submit = lambda owner, entries: None  # type: ignore[method-assign]  # nothing gets anywhere
        nursery.start_soon(tell, group)
        await wait_all_tasks_blocked()
        assert 5 <= told <= 10
        nursery.cancel_scope.cancel()
        host.submit = submit  # type: ignore[method-assign]


@pytest.mark.parametrize("level", ["local", None, 1])
async def test_a_level_that_is_none_is_told(count: LocalGroup[Count], level: Any) -> None:
    with pytest.raises(TypeError, match="a level is one of"):
        count.reading(level)
    with pytest.raises(TypeError, match="a number of commands"):
        count.pipeline(window=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("replicas", [0, -1, 27])
async def test_a_group_of_nobody_or_of_too_many_is_refused(replicas: int) -> None:
    with pytest.raises(ValueError, match=f"replicas is between 1 and 26, not {replicas}"):
        async with opened(Count, replicas=replicas):
            pass


@pytest.mark.parametrize("replicas", [1, 2, 5])
async def test_a_group_of_another_size(replicas: int) -> None:
    async with opened(Count, replicas=replicas) as group:
        assert await group.ask(Count.add, 1) == 1
        assert len(group.replicas) == replicas


class Patient(Count):
    @command
    async def wait(self) -> None: ...


async def test_a_class_whose_commands_wait_is_not_replicated(count: LocalGroup[Count]) -> None:
    says = "Patient cannot be replicated: async def wait"
    with pytest.raises(TypeError, match=says):
        async with opened(Patient):
            pass
    with pytest.raises(TypeError, match=says):
        async with connect("local", Patient, members=members_of(count)):
            pass


async def test_a_group_that_no_member_has_is_told_in_the_log_and_waited_for(count: LocalGroup[Count]) -> None:
    told = trio.Event()
    warnings: list[MutableMapping[str, Any]] = []

    def keep_warnings(_logger: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if level == "warning":
            warnings.append(line)
            told.set()
        raise structlog.DropEvent

    async def ask(client: GroupRef[Count]) -> None:
        with pytest.raises(GroupClosed):
            await client.ask(Count.value)

    structlog.configure(processors=[keep_warnings])
    try:
        async with (
            trio.open_nursery() as nursery,
            connect("another", Count, members={"a": members_of(count)["a"]}) as client,
        ):
            nursery.start_soon(ask, client)
            await told.wait()
    finally:
        structlog.reset_defaults()
    assert [(line["event"], line["group"]) for line in warnings] == [
        ("no member of the group can be used; still trying", "another")
    ]
    assert "the node a has no group 'another'" in warnings[0]["members"]
