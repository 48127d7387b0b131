"""What a client may say, and what comes of saying something else: the link ends, and nothing more happens.

The clients here are bare links that say what they like.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors import Actor, LinkBroken, Origin, command, query
from actors._client_link import ClientLink, open_client_link
from actors._connection import Connection
from actors._protocol.codec import encode, encode_struct, join_array
from broadcast import Consistency, GroupRef, LocalGroup, connect, local_group
from broadcast._door import VALUES_MAX, Door
from broadcast._protocol import patience
from broadcast._protocol.desk import SESSIONS_MAX
from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, SessionKept, Submittable
from broadcast._protocol.following import SLOTS_MAX, Follow, Piece, Unfollow
from broadcast._protocol.portions import COUNT_MAX, SIZE_MAX, portions
from broadcast._protocol.queries import UNDER_WAY_MAX, UNDER_WAY_SIZE_MAX, Query
from broadcast._protocol.reports import Answers, Opened
from broadcast._protocol.visits import (
    FROM_CLIENT,
    TO_CLIENT,
    Enter,
    FromClient,
    GiveUp,
    Leading,
    Members,
    Offer,
    Read,
    ReadAnswers,
    Status,
    StatusAsked,
    ToClient,
    Told,
    Welcome,
)
from membership import Limits

LINEARIZABLE = Consistency.LINEARIZABLE
LIMITS = Limits(answers_max=20, command_size_max=4_096)


class Bag(Actor):
    def __init__(self) -> None:
        self.items: list[int] = []

    @command
    def put(self, items: list[int]) -> int:
        self.items += items
        return len(self.items)

    @query
    def count(self) -> int:
        return len(self.items)


@pytest.fixture
async def bag() -> AsyncGenerator[LocalGroup[Bag]]:
    with trio.fail_after(20):
        async with local_group(Bag, replicas=1, limits=LIMITS) as group:
            await group.ask(Bag.put, [1])
            yield group


class Bare:
    """A client that says what it likes."""

    def __init__(self, link: ClientLink) -> None:
        self.link = link

    def say(self, *messages: FromClient) -> None:
        for message in messages:
            self.link.send("local", "group", encode_struct(message))

    async def hear(self) -> ToClient:
        return TO_CLIENT.decode((await anext(self.link)).body)

    async def session(self) -> int:
        """One of its own."""
        self.say(Offer((SessionAsked(b"n" * 16, self.link.name),)))
        while True:
            match await self.hear():
                case Told(report=Opened(session=int() as session)):
                    return session
                case _:
                    pass

    async def is_turned_away(self) -> bool:
        """Does the other side end the link?"""
        try:
            while True:
                await self.hear()
        except LinkBroken:
            return True


@asynccontextmanager
async def bare(group: LocalGroup[Bag], *, enters: bool = True) -> AsyncGenerator[Bare]:
    async with open_client_link(group.replicas[0].status().members["a"], "bare") as link:
        one = Bare(link)
        if enters:
            one.say(Enter())
            assert [type(await one.hear()) for _ in range(3)] == [Welcome, Members, Leading]
        yield one


def run(session: int, calls: Sequence[bytes], *, number: int = 1) -> Commands:
    return Commands(session, number, len(calls), 0, 0, 0, join_array(calls))


def put(*items: int) -> bytes:
    return encode(["put", list(items)])


async def test_who_enters_learns_which_group_this_is(bag: LocalGroup[Bag]) -> None:
    async with bare(bag, enters=False) as one:
        one.say(Enter())
        welcome = await one.hear()
        assert isinstance(welcome, Welcome)
        assert welcome.limits == LIMITS
        assert len(welcome.cluster) == 16
        members = bag.replicas[0].status().members
        assert await one.hear() == Members(members)
        assert await one.hear() == Leading("a", members["a"])


async def test_members_that_find_no_room_are_told_before_anything_else(
    bag: LocalGroup[Bag], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's link may outlast all members that it came with: it must know the others when it breaks."""
    sent, dropped = Origin.send, 0

    def narrow(self: Origin, to: str, tag: str, body: bytes, **others: Any) -> bool:
        nonlocal dropped
        dropped += b"members" in body[:16]
        return not (b"members" in body[:16] and dropped == 1) and sent(self, to, tag, body, **others)

    monkeypatch.setattr(Origin, "send", narrow)
    async with bare(bag, enters=False) as one:
        one.say(Enter(), StatusAsked())
        assert [type(await one.hear()) for _ in range(4)] == [Welcome, Leading, Members, Status]


@pytest.mark.parametrize("message", [Offer(()), Read(()), GiveUp(1), Follow(0, 1), Unfollow(0)])
async def test_nothing_is_taken_before_the_welcome(bag: LocalGroup[Bag], message: FromClient) -> None:
    async with bare(bag, enters=False) as one:
        one.say(message)
        assert await one.is_turned_away()


async def test_nobody_speaks_for_another_client_s_session(bag: LocalGroup[Bag]) -> None:
    async with connect("local", Bag, members=bag.replicas[0].status().members, name="owner") as owner:
        assert await owner.ask(Bag.put, [2]) == 2
        session = max(number for number in range(100) if _open(bag, number))
        claims: list[Submittable] = [
            SessionEnded(session),
            SessionKept(session, 0),
            run(session, [put(7)], number=2),
            SessionAsked(b"n" * 16, "owner"),
        ]
        for claim in claims:
            async with bare(bag) as thief:
                thief.say(Offer((claim,)))
                assert await thief.is_turned_away()
        assert await owner.ask(Bag.put, [3]) == 3


def _open(bag: LocalGroup[Bag], session: int) -> bool:
    machine = bag.replicas[0]._host.machine  # pyright: ignore[reportPrivateUsage]
    return machine is not None and machine.sessions.get(session) is not None


async def test_more_than_the_group_allows_ends_the_link(bag: LocalGroup[Bag]) -> None:
    half = bytes(SIZE_MAX // 2)
    for offer in (
        [run(1, [put()] * 21)],  # more than answers_max
        [Commands(1, 1, 1, 0, 0, 0, bytes(SIZE_MAX))],  # a larger run than the limits give
        [Commands(1, 1, 1, 0, 0, 0, half)] * 2,  # more than one message should hold
        [Commands(1, 1, 1, 0, 0, 2**40, join_array([put()]))],  # a stamp beyond its message's
        [Commands(1, 1, 65_536, 0, 0, 0, b"")],  # more calls than it has bytes
        [Commands(1, 2**40, 5, 2**40 - 1, 0, 0, b"\x80")],
        [Commands(1, 2**40, 2_000, 2**40 - 1, 0, 0, bytes(4_000))],  # more than any run of ours
        [SessionAsked(bytes([number] * 16), "bare") for number in range(SESSIONS_MAX + 2)],
    ):
        async with bare(bag) as one:
            one.say(Offer(tuple(offer)))
            assert await one.is_turned_away()
    async with bare(bag) as one:
        one.say(Read((Query(1, bytes(LIMITS.command_size_max + 1), LINEARIZABLE),)))
        assert await one.is_turned_away()
    async with bare(bag) as one:
        one.say(Read((Query(1, encode(["count"]), Consistency.LOG),)))
        assert await one.is_turned_away()
    async with bare(bag) as one:
        one.say(*(Follow(slot, 10**9) for slot in range(1_000)))
        assert await one.is_turned_away()
    assert await bag.ask(Bag.count) == 1


async def test_more_values_than_any_client_says_at_once_are_not_looked_at(
    bag: LocalGroup[Bag], monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = Offer((Commands(1, 1, 1, 0, 0, 0, join_array([put()])),) * COUNT_MAX)
    assert FROM_CLIENT.decode(encode_struct(largest), count_max=VALUES_MAX) == largest
    reasons = list[str]()
    close = Connection.close

    def noted(self: Connection, reason: str, *, fault: bool = False) -> None:
        reasons.append(reason)
        close(self, reason, fault=fault)

    monkeypatch.setattr(Connection, "close", noted)
    async with bare(bag) as one:
        one.link.send("local", "group", encode([0] * VALUES_MAX))
        assert await one.is_turned_away()
    assert f"more than {VALUES_MAX} values in one" in reasons


async def test_whatever_a_client_follows_no_more_is_kept_of_it_than_it_has_slots(bag: LocalGroup[Bag]) -> None:
    (feeder,) = (each.feeder for each in bag.replicas[0]._host.watchers if isinstance(each, Door))  # pyright: ignore[reportPrivateUsage]
    waiting = feeder._turns  # pyright: ignore[reportPrivateUsage]
    async with bare(bag) as one:
        one.say(*(Follow(number % SLOTS_MAX, 10**9 + number) for number in range(5_000)), StatusAsked())
        assert isinstance(await one.hear(), Status)
        assert len(waiting) == SLOTS_MAX
        one.say(Unfollow(0), Unfollow(0), StatusAsked())
        assert isinstance(await one.hear(), Status)
        assert len(waiting) == SLOTS_MAX - 1
        one.say(Follow(1, 1))
        piece = await one.hear()
        assert isinstance(piece, Piece)
        assert [(each.sender, each.call) for each in piece.commands] == [("a", put(1))]
    while waiting:
        await trio.lowlevel.checkpoint()


async def test_queries_given_up_leave_nothing_behind(bag: LocalGroup[Bag]) -> None:
    """Whether they were a client's or a local handle's; nothing is run for who has left."""
    host = bag.replicas[0]._host  # pyright: ignore[reportPrivateUsage]
    ran: list[bytes] = []
    run = host.query

    def counted(call: bytes, sender: str) -> bytes:
        ran.append(call)
        return run(call, sender)

    waiting: list[Callable[[], None]] = []
    given_up: list[int] = []

    def forget(token: int) -> None:
        given_up.append(token)

    def later(fresh: Callable[[], None], consistency: Consistency, index: int) -> int:
        waiting.append(fresh)
        return len(waiting)

    host.freshen, host.give_up, host.query = later, forget, counted  # type: ignore[method-assign]
    async with bare(bag) as one:
        for number in range(1, 51):
            one.say(Read((Query(number, encode(["count"]), LINEARIZABLE),)), GiveUp(number))
        one.say(StatusAsked())
        assert isinstance(await one.hear(), Status)
    for _ in range(50):
        with trio.CancelScope() as scope, trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bag.ask, Bag.count)
                while len(waiting) == len(given_up):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    assert given_up == list(range(1, 101))
    for fresh in waiting:
        fresh()
    assert ran == []
    del host.freshen, host.give_up, host.query


async def test_what_finds_no_room_on_its_way_back_is_found_out_again(
    bag: LocalGroup[Bag], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads slowly is no fault of its own: what its lane does not take is asked for again."""
    monkeypatch.setattr(patience, "SILENCE_MIN", 50_000)
    sent, taken = Origin.send, 0

    def narrow(self: Origin, to: str, tag: str, body: bytes, **others: Any) -> bool:
        nonlocal taken
        taken += b"answers" in body[:16] or b"told" in body[:16]
        return taken % 2 == 0 and sent(self, to, tag, body, **others)

    async def count(client: GroupRef[Bag]) -> None:
        assert await client.ask(Bag.count) == 1

    async with connect("local", Bag, members=bag.replicas[0].status().members) as client:
        await count(client)
        monkeypatch.setattr(Origin, "send", narrow)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(count, client)
        assert await client.ask(Bag.put, [1]) == 2


LARGE = LIMITS.command_size_max


@pytest.mark.parametrize(("size", "count_max"), [(0, UNDER_WAY_MAX), (LARGE, UNDER_WAY_SIZE_MAX // (LARGE + 16))])
async def test_no_more_queries_are_under_way_than_may_be(
    bag: LocalGroup[Bag], size: int, count_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = bag.replicas[0]._host  # pyright: ignore[reportPrivateUsage]

    def never(fresh: Callable[[], None], consistency: Consistency, index: int) -> int:
        return 0

    monkeypatch.setattr(host, "freshen", never)
    queries = [Query(number, bytes(size), LINEARIZABLE) for number in range(count_max)]
    async with bare(bag) as one:
        one.say(*map(Read, portions(queries, lambda query: query.size)))
        one.say(StatusAsked())
        assert isinstance(await one.hear(), Status)
        one.say(Read((Query(count_max, bytes(size), LINEARIZABLE),)))
        assert await one.is_turned_away()


@pytest.mark.parametrize("what", ["a command", "a query", "what fits"])
async def test_who_asks_for_what_no_class_understands_is_suspect(
    what: str, bag: LocalGroup[Bag], monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects = list[str]()
    monkeypatch.setattr(Origin, "suspect", lambda self: suspects.append(self.name))
    async with bare(bag) as one:
        session = await one.session()
        call = encode(["nope"])
        match what:
            case "a command":
                one.say(Offer((run(session, [put(1), call]),)))
            case "a query":
                one.say(Read((Query(1, call, LINEARIZABLE),)))
            case _:
                one.say(Offer((run(session, [put(1)]),)), Read((Query(1, encode(["count"]), LINEARIZABLE),)))
                await one.hear()
        await one.hear()
    assert suspects == ([] if what == "what fits" else ["bare"])


async def test_a_call_that_does_not_fit_keeps_its_number_and_harms_nobody(bag: LocalGroup[Bag]) -> None:
    nonsense = [encode(["nope"]), encode(["put", "text"]), b"\x01", encode(["put", [1], 2])]
    async with bare(bag) as one:
        session = await one.session()
        one.say(Offer((run(session, [put(1), *nonsense, put(2)]),)))
        told = await one.hear()
        assert isinstance(told, Told)
        assert isinstance(told.report, Answers)
        assert [outcome[1] for outcome in told.report.outcomes] == [0, 3, 3, 3, 3, 0]
    assert await bag.ask(Bag.count) == 3


async def test_a_call_of_more_values_than_any_asker_sends_harms_nobody() -> None:
    """It is opened at the door as part of a run with one that does not fit, and written anew."""
    limits = Limits(command_size_max=2**20)
    large = b"\x82\x63put\x99\xff\xff" + b"\x01" * 0xFFFF
    async with local_group(Bag, replicas=1, limits=limits) as group:
        await group.ask(Bag.put, [1])
        async with bare(group) as one:
            session = await one.session()
            one.say(Offer((run(session, [large, encode(["nope"]), put(7)]),)))
            told = await one.hear()
            assert isinstance(told, Told)
            assert isinstance(told.report, Answers)
            assert [outcome[1] for outcome in told.report.outcomes] == [3, 3, 0]
        assert await group.ask(Bag.count) == 2


async def test_what_is_no_run_at_all_is_answered_for_each_of_its_numbers(bag: LocalGroup[Bag]) -> None:
    async with bare(bag) as one:
        session = await one.session()
        one.say(Offer((Commands(session, 1, 3, 0, 0, 0, b"\xff\xff\xff\xff"),)))
        told = await one.hear()
        assert isinstance(told, Told)
        assert isinstance(told.report, Answers)
        assert [outcome[1] for outcome in told.report.outcomes] == [3, 3, 3]


async def test_a_query_that_is_asked_again_is_run_once(bag: LocalGroup[Bag]) -> None:
    async with bare(bag) as one:
        query = Query(1, encode(["count"]), LINEARIZABLE)
        one.say(Read((query, query)), Read((Query(2, encode(["count"]), LINEARIZABLE),)))
        numbers: list[int] = []
        while 2 not in numbers:
            told = await one.hear()
            assert isinstance(told, ReadAnswers)
            numbers += [answer.number for answer in told.answers]
        assert numbers == [1, 2]
