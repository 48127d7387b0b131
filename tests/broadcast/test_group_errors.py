"""Every error that `broadcast` and `membership` show, and those of `actors` that groups raise: see `TABLE`."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog.testing
import trio
from msgspec.structs import replace
from provoked import Fate, Patch, Row, Seen, came_to, check, missing, name, only, raised_by
from test_divergence import Crooked, Tally, Village
from test_group_idempotent import lose_the_first_answers
from test_members import town

import broadcast
import membership
from actors import (
    Actor,
    ActorCrashed,
    InvalidMessage,
    InvariantViolation,
    OutcomeUnknown,
    Overloaded,
    Refused,
    TooLarge,
    command,
    query,
)
from actors.testing import MemoryNetwork
from broadcast import (
    AnswerNotKept,
    CannotApply,
    CannotCapture,
    CannotRestore,
    Compacted,
    DiskDamaged,
    DiskFailed,
    DiskRefused,
    Diverged,
    Group,
    GroupClosed,
    GroupRef,
    Outdated,
    SessionExpired,
    _replica,
    connect,
    local_group,
    open_group,
)
from broadcast._protocol import own
from broadcast._protocol.output import Now, Persisted
from membership import ChangeRefused, ChangeUnknown, Limits, MemberRemoved

SECONDS_MAX = 30  # of a test
LIMITS = Limits(election_timeout=50_000, snapshot_entries=10, command_size_max=100, effects_max=1)
FAST = Limits(election_timeout=50_000)


class Purse(Actor):
    def __init__(self) -> None:
        self.coins = 0

    @command
    def put(self, coins: int) -> int:
        self.coins += coins
        return self.coins

    @command(idempotent=True)
    def fill(self, coins: int) -> int:
        """What was in it before."""
        before, self.coins = self.coins, coins
        return before

    @command
    def note(self, text: str) -> None:
        self.coins += len(text)

    @command
    def take(self, coins: int) -> int:
        if coins > self.coins:
            raise Refused(f"there are {self.coins}")
        self.coins -= coins
        return self.coins

    @command
    def drop(self) -> None:
        self.coins = -1
        raise ZeroDivisionError

    @command
    def later(self, count: int) -> None:
        self.coins += count
        for _ in range(count):
            self.context.after(1000, Purse.put, 1)

    @command
    def hoard(self) -> None:
        """More than this machine has."""
        raise MemoryError

    @query
    def content(self) -> int:
        return self.coins


class LaterPurse(Purse):
    version = 2


class Forgetful(Purse):
    """Finds nothing of its state in a snapshot of a Purse."""

    def restore(self, state: Any) -> None:
        self.coins = state["gold"]


class Locked(Purse):
    def __init__(self) -> None:
        super().__init__()
        self.lock = os.open  # what no snapshot can hold


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - nobody tells of what a replica is like
        await trio.sleep(0.001)


@asynccontextmanager
async def purse(
    data: Path | None = None, *, actor: type[Purse] = Purse, limits: Limits = LIMITS, network: Any = None
) -> AsyncGenerator[Group[Any]]:
    """A group of one, in which there are ten coins if it is new."""
    network = network or MemoryNetwork(random=Random(1)).host("m")
    async with open_group(
        "purse", actor, node="m", members={"m": "m:1"}, data=data, limits=limits, network=network
    ) as group:
        if await group.ask(Purse.content) == 0:
            await group.ask(Purse.put, 10)
        yield group


async def _asked(asks: Callable[[Group[Any]], Awaitable[object]]) -> Seen:
    async with purse() as group:
        error = await raised_by(asks(group))
        return Seen(error, await group.ask(Purse.content) != 10)


async def _ends(group: Any, asks: Callable[[Group[Any]], Awaitable[object]]) -> BaseException:
    """What ends a replica of which this is asked."""
    try:
        async with group as it:
            await asks(it)
            await trio.sleep_forever()
    except BaseException as error:
        return only(error)
    raise AssertionError("nothing ended it")


async def rest(group: Group[Any]) -> None:
    """Ask for nothing."""


# -- commands ---------------------------------------------------------------------------------------------------------


async def asked_with_what_does_not_fit(_: Path, __: Patch) -> Seen:
    return await _asked(lambda group: group.ask(Purse.put, "one"))  # type: ignore[arg-type]  # the mistake under test


async def asked_with_too_much(_: Path, __: Patch) -> Seen:
    return await _asked(lambda group: group.ask(Purse.note, "x" * 200))


async def left_too_much_for_later(_: Path, __: Patch) -> Seen:
    return await _asked(lambda group: group.ask(Purse.later, 2))


async def asked_what_is_refused(_: Path, __: Patch) -> Seen:
    return await _asked(lambda group: group.ask(Purse.take, 11))


async def asked_what_crashes(_: Path, __: Patch) -> Seen:
    return await _asked(lambda group: group.ask(Purse.drop))


async def told_a_query(_: Path, __: Patch) -> Seen:
    return await _asked(lambda group: group.tell(Purse.content))


@dataclass
class Apart:
    """A group of one, and a client whose ways to it and back can be cut."""

    network: MemoryNetwork
    group: Group[Any]
    client: GroupRef[Purse]
    raised: list[BaseException]

    async def ask(self) -> None:
        try:
            await self.client.ask(Purse.put, 1)
        except Exception as error:
            self.raised.append(error)

    async def lose(self, reaches: bool, nursery: trio.Nursery) -> None:
        """The client asks, and hears no answer: because of it, or because the question does not arrive."""
        self.network.cut("m", "me")
        if not reaches:
            self.network.cut("me", "m")
        applied, submitter = self.group.status().applied, self.client._handle._submitter  # pyright: ignore[reportPrivateUsage]
        nursery.start_soon(self.ask)
        await until(lambda: submitter.outstanding > 0)
        if reaches:
            await until(lambda: self.group.status().applied > applied)
            self.network.cut("me", "m")


async def expired_before_it_was_applied(_: Path, patch: Patch) -> Seen:
    return await _expired(patch, reaches=False)


async def expired_after_it_was_applied(_: Path, patch: Patch) -> Seen:
    return await _expired(patch, reaches=True)


async def _expired(patch: Patch, *, reaches: bool) -> Seen:
    network = MemoryNetwork(random=Random(1))
    members, me = {"m": "m:1"}, network.host("me")
    ahead, moment = 0, _replica.now

    def later() -> Now:
        shown = moment()
        return replace(shown, wall=shown.wall + ahead)

    patch.setattr(_replica, "now", later)
    patch.setattr(own, "CLOCK_BOUND", 2 * FAST.session_term)  # log time follows a clock that goes faster, here
    async with purse(limits=FAST, network=network.host("m")) as group, trio.open_nursery() as nursery:
        async with connect("purse", Purse, members=members, network=me) as client:
            apart = Apart(network, group, client, [])
            await client.ask(Purse.put, 0)
            await apart.lose(reaches, nursery)
            while group.status().sessions > 1:
                ahead += FAST.session_term // 10  # as far as the group's clock shows
                await group.ask(Purse.put, 0)
            network.lose("me", "m")
            network.heal("me", "m")
            network.heal("m", "me")
            await until(lambda: bool(apart.raised))
        return Seen(apart.raised[0], await group.ask(Purse.content) != 10)


async def asked_again_for_what_was_not_kept(_: Path, patch: Patch) -> Seen:
    async with purse() as group:
        await group.ask(Purse.put, 0)
        lose_the_first_answers(patch)
        error = await raised_by(group.ask(Purse.fill, 5))
        return Seen(error, await group.ask(Purse.content) == 5)


async def closed_before_it_was_applied(_: Path, __: Patch) -> Seen:
    return await _closed(reaches=False)


async def closed_after_it_was_applied(_: Path, __: Patch) -> Seen:
    return await _closed(reaches=True)


async def _closed(*, reaches: bool) -> Seen:
    network = MemoryNetwork(random=Random(1))
    async with purse(network=network.host("m")) as group, trio.open_nursery() as nursery:
        async with connect("purse", Purse, members={"m": "m:1"}, network=network.host("me")) as client:
            apart = Apart(network, group, client, [])
            await client.ask(Purse.put, 0)
            await apart.lose(reaches, nursery)
        network.lose("me", "m")
        await until(lambda: bool(apart.raised))
        return Seen(apart.raised[0], await group.ask(Purse.content) != 10)


async def asked_of_a_closed_handle(_: Path, __: Patch) -> Seen:
    async with purse() as group:
        pass
    return Seen(await raised_by(group.ask(Purse.put, 1)), applied=False)


# -- looking back -----------------------------------------------------------------------------------------------------


async def looked_back_too_far(data: Path, patch: Patch) -> Seen:
    patch.setattr(own, "KEPT_SIZE_MAX", 0)
    patch.setattr(own, "HELD_SIZE_MAX", 0)
    async with purse(data) as group:
        while group.status().snapshot < 40:  # one in every ten, where the one before was taken by then
            await group.ask(Purse.put, 1)
        async with aclosing(group.deliveries(1)) as deliveries:
            return Seen(await raised_by(anext(deliveries)))


async def looked_on_after_the_end(_: Path, __: Patch) -> Seen:
    async with purse() as group:
        applied = group.status().applied
    async with aclosing(group.deliveries(applied + 1)) as deliveries:
        return Seen(await raised_by(anext(deliveries)), applied=False)


# -- starts, and what ends a replica ----------------------------------------------------------------------------------


async def kept_what_no_snapshot_holds(_: Path, __: Patch) -> Seen:
    return Seen(await _ends(local_group(Locked, replicas=1), rest))


async def began_with_another_class(data: Path, _: Patch) -> Seen:
    async with purse(data):
        pass
    return Seen(await _ends(purse(data, actor=Forgetful), rest))


async def began_with_an_older_class(data: Path, _: Patch) -> Seen:
    async with purse(data, actor=LaterPurse):
        pass
    return Seen(await _ends(purse(data), rest))


async def met_what_it_cannot_apply(_: Path, __: Patch) -> Seen:
    return Seen(await _ends(purse(), lambda group: group.ask(Purse.hoard)))


async def has_another_state_than_the_others(data: Path, _: Patch) -> Seen:
    village = Village(data)
    async with trio.open_nursery() as nursery:
        for each, kind in (("a", Tally), ("b", Tally), ("c", Crooked)):
            await nursery.start(village.live, each, kind)
        for amount in (1, 7, *[1] * 20):
            await village.groups["a"].ask(Tally.add, amount)
        await village.end("c")
        nursery.cancel_scope.cancel()
    return Seen(only(village.errors["c"]))


async def began_on_a_damaged_disk(data: Path, _: Patch) -> Seen:
    async with purse(data):
        pass
    (path,) = (data / "snapshots").iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return Seen(await _ends(purse(data), rest))


async def began_on_a_copied_disk(data: Path, _: Patch) -> Seen:
    async with purse(data):
        pass
    copy = data.with_name("copy")
    shutil.copytree(data, copy)
    return Seen(await _ends(purse(copy), rest))


async def could_not_sync(data: Path, patch: Patch) -> Seen:
    """The disk fails under a replica that serves, as it takes a snapshot."""

    async def fail_and_ask(group: Group[Any]) -> None:
        def failing(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "fsync", failing)
        for _ in range(LIMITS.snapshot_entries):
            await group.ask(Purse.put, 1)

    error = await _ends(purse(data), fail_and_ask)
    return Seen(error)


async def was_told_what_cannot_be(_: Path, __: Patch) -> Seen:
    """A bug of ours, played: the disk has written what nobody asked it to."""

    async def play(group: Group[Any]) -> None:
        group._host.give(Persisted(1_000_000))  # pyright: ignore[reportPrivateUsage]

    return Seen(await _ends(purse(), play))


# -- members ----------------------------------------------------------------------------------------------------------


async def added_who_is_there(_: Path, __: Patch) -> Seen:
    async with town() as it:
        leader = it[it.leader]
        view = leader.membership.view
        error = await raised_by(leader.membership.add("b", "b:1"))
        return Seen(error, leader.membership.view != view)


async def refused_after_a_try_that_was_not_answered(_: Path, __: Patch) -> Seen:
    async with town() as it, trio.open_nursery() as nursery:
        leader, follower, raised = it.leader, it.follower, list[BaseException]()

        async def remove() -> None:
            raised.append(await raised_by(it[follower].membership.promote("x")))

        it.network.cut(leader, follower)
        nursery.start_soon(remove)
        await until(lambda: it[follower].membership.why is not None)  # by the second try: no leader is known then
        it.network.heal(leader, follower)
        await until(lambda: bool(raised))
        return Seen(raised[0], applied=False)


async def was_removed(_: Path, __: Patch) -> Seen:
    async with town() as it:
        removed = it.follower
        await it[it.leader].membership.remove(removed)
        await it.gone(removed)
        return Seen(it.ended[removed])


UNTIL_CLOSED = "this handle of the group purse was closed .*may have been applied.* look, before asking for it again"
FORGOTTEN = "the group purse forgot this session .*may have been applied: look before asking for it again"
TABLE = (
    Row(
        InvalidMessage, Fate.NOT_APPLIED, r"Purse\.put: coins: Expected `int`, got `str`", asked_with_what_does_not_fit
    ),
    Row(InvalidMessage, Fate.NOT_APPLIED, r"Purse\.content is a query, .*: ask it", told_a_query),
    Row(
        TooLarge,
        Fate.NOT_APPLIED,
        r"the message Purse\.note takes \d+ bytes, and 100 are allowed: give it in parts",
        asked_with_too_much,
    ),
    Row(
        Overloaded,
        Fate.NOT_APPLIED,
        r"Purse\.later was not applied: .* Wait until some were, leave less behind, or have .*effects_max",
        left_too_much_for_later,
    ),
    Row(Refused, Fate.NOT_APPLIED, "^there are 10$", asked_what_is_refused),
    Row(
        ActorCrashed,
        Fate.UNDONE,
        r"Purse\.drop raised ZeroDivisionError: a bug in its class; whatever the command had changed was undone",
        asked_what_crashes,
    ),
    Row(
        AnswerNotKept,
        Fate.APPLIED,
        r"Purse\.fill was applied, once, .* Read the state",
        asked_again_for_what_was_not_kept,
    ),
    Row(SessionExpired, Fate.UNKNOWN, FORGOTTEN, expired_before_it_was_applied),
    Row(SessionExpired, Fate.UNKNOWN, FORGOTTEN, expired_after_it_was_applied),
    Row(GroupClosed, Fate.UNKNOWN, UNTIL_CLOSED, closed_before_it_was_applied),
    Row(GroupClosed, Fate.UNKNOWN, UNTIL_CLOSED, closed_after_it_was_applied),
    Row(
        GroupClosed,
        Fate.UNKNOWN,
        "this handle of the group purse is closed; nothing was sent: open another",
        asked_of_a_closed_handle,
    ),
    Row(GroupClosed, Fate.UNKNOWN, "the group purse is closed here: join it again", looked_on_after_the_end),
    Row(
        Compacted,
        Fate.NO_MESSAGE,
        r"the order is held from index \d+ on; start there, or from a snapshot",
        looked_back_too_far,
    ),
    Row(
        CannotCapture,
        Fate.NO_MESSAGE,
        r"Locked: self\.lock is a .* which cannot be put in a snapshot; .*snapshot\(\) and restore\(\)",
        kept_what_no_snapshot_holds,
    ),
    Row(
        CannotRestore,
        Fate.NO_MESSAGE,
        r"group purse: .* its snapshot at index \d+: Forgetful\.restore\(\) raised KeyError.* Start it with the class",
        began_with_another_class,
    ),
    Row(
        Outdated,
        Fate.NO_MESSAGE,
        r"group purse: .* version 2 of Purse is in force .* runs version 1\. Start it with version 2 or a later one",
        began_with_an_older_class,
    ),
    Row(
        CannotApply,
        Fate.NO_MESSAGE,
        r"group purse: .* stopped before index \d+, the command Purse\.hoard: it raised MemoryError.* started again",
        met_what_it_cannot_apply,
    ),
    Row(
        Diverged,
        Fate.NO_MESSAGE,
        "group tally: at index 10 .* between index 0 and 10 is not deterministic .* Remove this member, and add",
        has_another_state_than_the_others,
    ),
    Row(
        DiskDamaged,
        Fate.NO_MESSAGE,
        r"group 'purse' at index \d+ fails its checksum: .*Move the data directory away.* added again",
        began_on_a_damaged_disk,
    ),
    Row(DiskRefused, Fate.NO_MESSAGE, "is a copy", began_on_a_copied_disk),
    Row(
        DiskFailed,
        Fate.NO_MESSAGE,
        r"/m/snapshots/\S+: Input/output error; look after the disk, and start the node again",
        could_not_sync,
    ),
    Row(InvariantViolation, Fate.NO_MESSAGE, "broken invariant: .*; please report this", was_told_what_cannot_be),
    Row(ChangeRefused, Fate.NOT_APPLIED, "b: a member already; .*move it, or remove it first", added_who_is_there),
    Row(
        ChangeUnknown,
        Fate.UNKNOWN,
        r"x: no member; the members are a, b, c\. But it was tried before that, and may .*: look at the views",
        refused_after_a_try_that_was_not_answered,
    ),
    Row(
        MemberRemoved,
        Fate.NO_MESSAGE,
        r"\w is a member of the group 'count' no more: .* it has to be added, with an empty data directory",
        was_removed,
    ),
)


@pytest.mark.parametrize("row", TABLE, ids=name)
async def test_an_error_is_what_the_table_says(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with structlog.testing.capture_logs(), trio.fail_after(SECONDS_MAX):
        check(row, await row.provoke(tmp_path / "m", monkeypatch))


def test_every_error_that_is_shown_has_a_row() -> None:
    assert missing(broadcast, TABLE, ()) == []
    assert missing(membership, TABLE, ()) == []


@pytest.mark.parametrize("kind", [SessionExpired, GroupClosed], ids=lambda kind: kind.__name__)
async def test_what_is_said_to_be_unknown_comes_both_ways(
    kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with structlog.testing.capture_logs(), trio.fail_after(SECONDS_MAX):
        assert await came_to(kind, TABLE, tmp_path, monkeypatch) == {True, False}


def test_what_a_group_leaves_open_is_an_outcome_unknown() -> None:
    assert {row.kind for row in TABLE if row.fate is Fate.UNKNOWN} == {GroupClosed, SessionExpired, ChangeUnknown}
    assert all(issubclass(row.kind, OutcomeUnknown) for row in TABLE if row.fate is Fate.UNKNOWN)
