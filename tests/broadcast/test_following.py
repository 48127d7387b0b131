"""Clients that follow the total order: the same everywhere, gap-free over whatever they are linked to, and bounded."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import count as counter
from pathlib import Path
from typing import Any

import pytest
import trio
from counts import Count
from shelf_scene import Shelf, keep_nothing, put, taken, three, until
from structlog.testing import capture_logs
from test_clients import impostor, welcoming
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Origin, Overloaded, command, open_node
from actors._interface import Interface
from broadcast import (
    Compacted,
    Consistency,
    Deliveries,
    Delivery,
    Group,
    GroupClosed,
    GroupRef,
    LocalGroup,
    connect,
    join,
    local_group,
)
from broadcast import _feed as feeding
from broadcast import _held as holding
from broadcast._protocol.following import SLOTS_MAX, Follow, Ordered, Piece, Unheld
from broadcast._protocol.position import INTEGER_MAX
from broadcast._protocol.visits import FromClient, Leading, ToClient
from membership import Limits

SECONDS_MAX = 30
LIMITS = Limits(election_timeout=50_000)


@pytest.fixture
async def count() -> AsyncGenerator[LocalGroup[Count]]:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Count, limits=LIMITS) as group:
            await group.ask(Count.add, 0)
            yield group


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked for again: each word has to do."""
    monkeypatch.setattr(feeding, "SILENCE_SECONDS_MIN", 1_000)
    monkeypatch.setattr(feeding, "SILENCE_SECONDS_MAX", 1_000)


async def first(number: int, source: AsyncIterator[Delivery]) -> list[Delivery]:
    return [await anext(source) for _ in range(number)]


def waiting(group: LocalGroup[Any]) -> int:
    """How many pieces clients wait for, at all replicas."""
    return sum(len(_feeder(replica)._turns) for replica in group.replicas)


def _feeder(replica: Group[Any]) -> Any:
    watchers = replica._host.watchers  # pyright: ignore[reportPrivateUsage]
    return next(each.feeder for each in watchers if hasattr(each, "feeder"))  # type: ignore[attr-defined]


def members(group: LocalGroup[Any]) -> dict[str, str]:
    return dict(group.replicas[0].status().members)


# -- what is delivered ------------------------------------------------------------------------------------------------


async def test_a_client_is_delivered_what_a_replica_is_from_any_index(count: LocalGroup[Count]) -> None:
    for number in range(10):
        await count.ask(Count.add, number)
        await count.reading(Consistency.LOG).ask(Count.value)  # has an index, and is no delivery
    order = await first(11, count.replicas[0].deliveries())
    for name, address in members(count).items():
        async with connect("local", Count, members={name: address}) as client:
            assert await first(11, client.deliveries()) == order
            for at in (0, 4, 10):
                assert await first(11 - at, client.deliveries(order[at].position.index)) == order[at:]
            after_the_fifth = client.deliveries(order[4].position.index + 1)
            assert await first(6, after_the_fifth) == order[5:]
    assert await first(11, count.deliveries()) == order


async def test_it_waits_for_what_is_to_come(count: LocalGroup[Count]) -> None:
    heard: list[object] = []
    enough = trio.Event()

    async def listen(client: GroupRef[Count]) -> None:
        async for delivery in client.deliveries(count.replicas[0].status().applied + 1):
            heard.append(delivery.arguments)
            if len(heard) == 20:
                enough.set()

    async with connect("local", Count, members=members(count)) as client, trio.open_nursery() as nursery:
        nursery.start_soon(listen, client)
        for number in range(20):
            await client.ask(Count.add, number)
        await enough.wait()
        nursery.cancel_scope.cancel()
    assert heard == [(number,) for number in range(20)]


async def test_pieces_of_whatever_size_make_one_order(
    count: LocalGroup[Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends within a run, one without any command, one that nothing was looked for in."""
    monkeypatch.setattr("broadcast._protocol.following.PIECE_SIZE_MAX", 250)  # three of them
    monkeypatch.setattr(holding, "LOOKED_AT_MAX", 2)
    async with count.pipeline(window=1_000) as pipe:
        for number in range(50):
            await pipe.send(Count.add, number)
        for _ in range(50):
            await anext(pipe)
    for _ in range(5):
        await count.reading(Consistency.LOG).ask(Count.value)
    await count.ask(Count.add, 50)
    async with connect("local", Count, members=members(count)) as client:
        told = await first(52, client.deliveries(1))
    assert [each.arguments for each in told[1:]] == [(number,) for number in range(51)]
    assert told == await first(52, count.deliveries())


async def test_what_was_delivered_was_seen(count: LocalGroup[Count]) -> None:
    """A SESSION read afterwards is of no older state, whichever replica answers it."""
    async with connect("local", Count, members=members(count)) as client:
        delivery = await anext(client.deliveries(count.replicas[0].status().applied))
        handle: Any = client._handle  # pyright: ignore[reportPrivateUsage]
        assert handle._queries.seen >= delivery.position.index


class Versatile(Actor):
    """What `Count` is, and more."""

    @command
    def add(self, amount: int) -> int:
        return amount

    @command
    def subtract(self, amount: int) -> int:
        return -amount


async def test_what_the_client_s_class_does_not_have_is_told_and_not_left_out() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Versatile, replicas=1) as group:
            await group.ask(Versatile.add, 1)
            await group.ask(Versatile.subtract, 2)
            await group.ask(Versatile.add, 3)
            async with connect("local", Count, members=members(group)) as client:
                deliveries = client.deliveries()
                assert (await anext(deliveries)).arguments == (1,)
                for _ in range(2):
                    with pytest.raises(TypeError, match=r"no command of this program's Count .*'subtract'"):
                        await anext(deliveries)


# -- over links and replicas ------------------------------------------------------------------------------------------


async def test_it_goes_on_at_another_replica_without_a_gap(tmp_path: Path) -> None:
    """One after the other goes, in the midst of a piece or between two, and comes back."""
    async with three(tmp_path) as rig, connect("shelf", Shelf, members=rig.addresses) as client:
        deliveries, told = client.deliveries(1), list[Delivery]()
        for name in ("a", "b", "c"):
            await put(rig.groups[name], 3)
            told += await first(2, deliveries)
            other = "b" if name == "a" else "a"
            await rig.stop(name)
            await put(rig.groups[other], 2)
            told += await first(3, deliveries)
            await rig.start(name)
        assert [each.position for each in told] == sorted({each.position for each in told})
        assert [each.arguments for each in told] == [(f"{n}",) for n in (0, 1, 2, 0, 1)] * 3


async def test_an_index_that_is_to_come_is_waited_for(count: LocalGroup[Count]) -> None:
    """Nothing is delivered that was not applied where it is delivered from."""
    name = next(each.status().node for each in count.replicas if each.status().role != "leader")
    async with connect("local", Count, members={name: members(count)[name]}) as client:
        await client.ask(Count.add, 0)
        told = list[Delivery]()

        async def listen(deliveries: Deliveries) -> None:
            told.append(await anext(deliveries))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, client.deliveries(max(each.status().applied for each in count.replicas) + 3))
            for number in range(1, 4):
                assert told == []
                await client.ask(Count.add, number)
    assert [each.arguments for each in told] == [(3,)]


async def test_what_is_not_held_any_more_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)
    async with three(tmp_path) as rig, connect("shelf", Shelf, members=rig.addresses) as client:
        await put(rig.groups["a"], 1)
        slow = client.deliveries(1)
        seen: list[Delivery] = []

        async def see_all() -> None:
            while True:  # what was asked for before may have come, and may be on its way
                seen.append(await anext(slow))

        seen.append(await anext(slow))
        await put(rig.groups["a"], 60)
        for group in rig.groups.values():
            await taken(group, 40)
        with pytest.raises(Compacted) as compacted:
            await see_all()
        assert len(seen) < 61
        with pytest.raises(Compacted):
            await anext(slow)
        assert compacted.value.first_index > seen[-1].position.index + 1
        later = client.deliveries(compacted.value.first_index)
        assert (await anext(later)).position.index >= compacted.value.first_index
        assert (await anext(client.deliveries())).position.index >= compacted.value.first_index


async def test_the_order_of_a_group_formed_anew_is_another_one() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with impostor(lambda said: ()) as (_, address):
            pass  # a port that is free
        async with connect("local", Count, members={"m": address}) as client:
            deliveries = client.deliveries()
            async with open_node("m", listen=address) as node, join(node, "local", Count, limits=LIMITS) as group:
                await group.ask(Count.add, 1)
                assert (await anext(deliveries)).arguments == (1,)
            async with open_node("m", listen=address) as node, join(node, "local", Count, limits=LIMITS) as group:
                for number in range(10):
                    await group.ask(Count.add, number)
                with pytest.raises(Compacted) as compacted:
                    await anext(deliveries)
                assert compacted.value.first_index == 1
                assert [each.arguments for each in await first(10, client.deliveries(1))] == [(n,) for n in range(10)]


@pytest.mark.parametrize(
    "nonsense",
    [
        Piece(0, 1, (), 1),
        Unheld(0, 1, 1),
        Piece(0, 1, (Ordered(1, 1, 1, "x", 1, "me", b"\xff"),), 2),
    ],
)
async def test_a_replica_that_talks_nonsense_is_left_for_another(count: LocalGroup[Count], nonsense: ToClient) -> None:
    entered = welcoming(count, Leading("x", None))

    def answers(said: FromClient) -> tuple[ToClient, ...]:
        return (nonsense,) if isinstance(said, Follow) else entered(said)

    with capture_logs() as logs:
        async with (
            impostor(answers) as (played, address),
            connect("local", Count, members={"x": address}) as client,
        ):
            assert (await anext(client.deliveries(1))).arguments == (0,)
            assert played.visits >= 1
    assert "link closed for a fault" in [each["event"] for each in logs]


async def test_what_a_full_link_swallows_is_asked_for_again(
    count: LocalGroup[Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "SILENCE_SECONDS_MIN", 0.02)
    sent, dropped = Origin.send, counter()

    def narrow(self: Origin, to: str, tag: str, body: bytes, **others: Any) -> bool:
        return not (b"piece" in body[:10] and next(dropped) < 2) and sent(self, to, tag, body, **others)

    monkeypatch.setattr(Origin, "send", narrow)
    async with connect("local", Count, members=members(count)) as client:
        assert (await anext(client.deliveries())).arguments == (0,)
    assert next(dropped) >= 3


# -- bounds, and what is left behind ----------------------------------------------------------------------------------


async def test_as_many_as_there_are_slots_may_wait_at_once(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members(count)) as client:
        told, applied = list[int](), count.replicas[0].status().applied

        async def listen() -> None:
            told.append((await anext(client.deliveries(applied + 1))).position.index)

        await client.ask(Count.value)
        async with trio.open_nursery() as nursery:
            for _ in range(SLOTS_MAX):
                nursery.start_soon(listen)
            await until(lambda: waiting(count) == SLOTS_MAX)
            with pytest.raises(Overloaded):
                await anext(client.deliveries(applied + 1))
            await client.ask(Count.add, 1)
        assert len(told) == SLOTS_MAX
        assert len(set(told)) == 1
        await until(lambda: waiting(count) == 0)
        assert (await anext(client.deliveries(applied + 1))).arguments == (1,)


async def test_who_is_cancelled_leaves_nothing_behind_and_goes_on(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members(count)) as client:
        deliveries = client.deliveries(count.replicas[0].status().applied + 1)
        for _ in range(2 * SLOTS_MAX):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, deliveries)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        await until(lambda: waiting(count) == 0)
        await client.ask(Count.add, 7)
        assert (await anext(deliveries)).arguments == (7,)


@pytest.mark.filterwarnings("error")
async def test_who_breaks_off_leaves_nothing_behind(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members(count)) as client:
        for group in (client, count):
            async for delivery in group.deliveries():
                assert delivery.arguments == (0,)
                break
        gc.collect()
        await wait_all_tasks_blocked()
        assert waiting(count) == 0


async def test_a_client_that_is_gone_is_not_waited_for(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members(count)) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, client.deliveries(10**9))
            await until(lambda: waiting(count) == 1)
            feed: Any = client._handle.order  # pyright: ignore[reportPrivateUsage]
            feed.__self__._say = None  # it does not say so
            nursery.cancel_scope.cancel()
        assert waiting(count) == 1
    await until(lambda: waiting(count) == 0)


async def test_two_tasks_do_not_take_from_one(count: LocalGroup[Count]) -> None:
    async with connect("local", Count, members=members(count)) as client:
        for group in (client, count):
            deliveries = group.deliveries(10**9)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, deliveries)
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await anext(deliveries)
                nursery.cancel_scope.cancel()


async def test_who_closes_them_gets_no_more(count: LocalGroup[Count]) -> None:
    await count.ask(Count.add, 1)
    async with connect("local", Count, members=members(count)) as client:
        for group in (client, count):
            deliveries = group.deliveries()
            await anext(deliveries)
            await deliveries.aclose()
            assert [delivery async for delivery in deliveries] == []


async def test_they_end_with_the_handle(count: LocalGroup[Count]) -> None:
    ends: list[str] = []

    async def listen(deliveries: Deliveries) -> None:
        with pytest.raises(GroupClosed, match="handle of the group local is closed: open another one, and go on from"):
            await anext(deliveries)
        ends.append("listened")

    async with trio.open_nursery() as nursery, connect("local", Count, members=members(count)) as client:
        nursery.start_soon(listen, client.deliveries(10**9))
        await until(lambda: waiting(count) == 1)
    assert ends == ["listened"]
    await listen(client.deliveries(1))
    with pytest.raises(GroupClosed):
        await client.ask(Count.value)


async def test_they_wait_for_a_first_link(count: LocalGroup[Count]) -> None:
    async with impostor(lambda said: ()) as (_, address):
        pass  # nobody is there
    async with connect("local", Count, members={"x": address}) as client:
        with trio.move_on_after(0.05) as scope:
            await anext(client.deliveries())
        assert scope.cancelled_caught


async def test_nothing_is_said_on_a_way_that_is_lost() -> None:
    feed, said = feeding.Feed("local", Interface.of(Count)), list[object]()
    feed.take_way(said.append, b"c" * 16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, feed.deliveries(7))
        await wait_all_tasks_blocked()
        feed.lose_way()
        nursery.start_soon(anext, feed.deliveries(8))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert said == [Follow(0, 7)]


async def test_who_does_not_take_them_is_kept_nothing_for_and_misses_nothing(count: LocalGroup[Count]) -> None:
    """While a flood is under way: what waits for a slow one is at most a piece, and the rest is the log."""
    flood = 5_000
    async with connect("local", Count, members=members(count)) as client:
        slow, took = client.deliveries(1), list[Delivery]()
        took.append(await anext(slow))
        async with count.pipeline() as pipe:
            for number in range(flood):
                await pipe.send(Count.add, number)
                if number % 1_000 == 0:
                    took.append(await anext(slow))
                    assert len(slow._taken) <= 1_000  # pyright: ignore[reportPrivateUsage]
                    assert waiting(count) == 0
            for _ in range(flood):
                await anext(pipe)
        took += await first(1 + flood - len(took), slow)
    assert [each.arguments for each in took[1:]] == [(number,) for number in range(flood)]


async def test_everybody_has_a_turn_between_two_pieces(
    count: LocalGroup[Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far behind who follows is."""
    monkeypatch.setattr("broadcast._protocol.following.PIECE_SIZE_MAX", 0)  # one
    async with count.pipeline() as pipe:
        for number in range(100):
            await pipe.send(Count.add, number)
        for _ in range(100):
            await anext(pipe)
    turn, told_in = 0, list[int]()
    piece = holding.piece

    def noted(*args: Any) -> Any:
        told_in.append(turn)
        return piece(*args)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await trio.lowlevel.checkpoint()
            turn += 1

    monkeypatch.setattr("broadcast._feeder.piece", noted)
    async with (
        connect("local", Count, members=members(count)) as client,
        trio.open_nursery() as nursery,
    ):
        await client.ask(Count.value)
        async with trio.open_nursery() as listeners:
            for _ in range(SLOTS_MAX):  # their asks come together
                listeners.start_soon(anext, client.deliveries(1))
            await trio.lowlevel.checkpoint()
            nursery.start_soon(count_turns)
        nursery.cancel_scope.cancel()
    assert len(told_in) == SLOTS_MAX
    assert len(set(told_in)) >= SLOTS_MAX // 2  # two turns in a row may be counted as one


@pytest.mark.parametrize("index", ["1", 1.5, True])
async def test_what_is_no_index_is_refused_at_once(count: LocalGroup[Count], index: Any) -> None:
    with pytest.raises(TypeError, match=r"^deliveries begin at an index, which is an int, and not at "):
        count.deliveries(index)
    with pytest.raises(TypeError, match=r"^deliveries begin at an index, which is an int, and not at "):
        count.replicas[0].deliveries(index)


@pytest.mark.parametrize("index", [INTEGER_MAX + 1, 2**64])
async def test_an_index_that_no_member_accepts_is_not_asked_for(count: LocalGroup[Count], index: int) -> None:
    """It would take the link of all that its client does: the member ends it for a fault, and a new one alike."""
    async with connect("local", Count, members=members(count)) as client:
        for group in (client, count.replicas[0]):
            with pytest.raises(ValueError, match=rf"^deliveries begin at an index up to {INTEGER_MAX}, and not at "):
                group.deliveries(index)
        last = client.deliveries(INTEGER_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, last)
            assert await client.ask(Count.add, 1) == 1
            nursery.cancel_scope.cancel()
