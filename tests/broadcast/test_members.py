"""A group that changes its members while it is used: replicas in this process, over a network in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import pytest
import structlog
import structlog.testing
import trio
import trio.testing
from counts import Count
from provoked import only

from actors.testing import MemoryNetwork
from broadcast import Consistency, Group, GroupClosed, connect, join, open_group
from membership import (
    Change,
    ChangeRefused,
    ChangeUnknown,
    Flexible,
    Limits,
    Majority,
    MemberRemoved,
    Membership,
    Newcomer,
    View,
    Weighted,
)

SECONDS_MAX = 30  # of a test
LIMITS = Limits(election_timeout=150_000)


class Town:
    """Processes of one group, each in a task of its own. ended: what ended those that did not end by themselves.

    places: where those are, or are told to be, that are not at port 1. disks: None for members in memory.
    """

    def __init__(self, nursery: trio.Nursery, disks: Path | None = None) -> None:
        self.places: dict[str, str] = {}
        self.groups: dict[str, Group[Count]] = {}
        self.ended: dict[str, BaseException] = {}
        self.network = MemoryNetwork(random=Random(5), latency=0.001)
        self._disks = disks
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}
        self._gone = trio.lowlevel.ParkingLot()

    async def start(
        self, names: Iterable[str], among: str, role: Literal["voter", "observer"] = "voter", **given: Any
    ) -> None:
        """`among`: whose addresses they are told."""
        for name in names:
            await self._nursery.start(self._live, name, among, role, given)

    async def _live(
        self,
        name: str,
        among: str,
        role: Literal["voter", "observer"],
        given: dict[str, Any],
        task_status: trio.TaskStatus[None],
    ) -> None:
        members = {each: self.places.get(each, f"{each}:1") for each in {*among, name}}
        data = self._disks and self._disks / name
        settings = {"limits": LIMITS, "data": data, "network": self.network.host(name), **given}
        try:
            with trio.CancelScope() as self._scopes[name]:
                async with open_group("count", Count, node=name, members=members, role=role, **settings) as group:
                    self.groups[name] = group
                    task_status.started()
                    await trio.sleep_forever()
        except* MemberRemoved as errors:
            self.ended[name] = only(errors)
        del self.groups[name]
        self._gone.unpark_all()

    async def stop(self, name: str) -> None:
        """Cancel it, from outside of everything that is its own."""
        self._scopes[name].cancel()
        await self.gone(name)

    async def gone(self, name: str) -> None:
        while name in self.groups:
            await self._gone.park()

    def __getitem__(self, name: str) -> Group[Count]:
        return self.groups[name]

    @property
    def leader(self) -> str:
        return next(name for name, group in self.groups.items() if group.status().role == "leader")

    @property
    def follower(self) -> str:
        leader = self.leader
        return next(name for name in self.groups if name != leader)

    async def until(self, name: str, wanted: Callable[[View], bool]) -> View:
        """The first view at that member which is as wanted."""
        async with aclosing(self[name].membership.views()) as views:
            async for view in views:
                if wanted(view):
                    return view
        raise AssertionError


@asynccontextmanager
async def town(names: str = "abc", disks: Path | None = None, **given: Any) -> AsyncGenerator[Town]:
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            it = Town(nursery, disks)
            await it.start(names, names, **given)
            assert await it[names[0]].ask(Count.add, 1) == 1
            yield it
            nursery.cancel_scope.cancel()


async def views_of(group: Group[Count], count: int) -> list[View]:
    seen: list[View] = []
    async with aclosing(group.membership.views()) as views:
        async for view in views:
            seen.append(view)
            if len(seen) == count:
                return seen
    return seen


async def test_a_member_is_added_and_gets_all_that_was_before_it() -> None:
    """First it watches, then both electorates decide, then it votes. Everybody sees that, also who comes late."""
    async with town() as it:
        await it.start("d", "abc")
        view = await it[it.follower].membership.add("d", "d:1")
        assert (view.voters, view.observers, view.quorum) == (tuple("abcd"), (), Majority())
        assert await it["d"].ask(Count.add, 1) == 2
        number = view.number
        seen = [await views_of(group, number) for group in it.groups.values()]
        assert all(each == seen[0] for each in seen)
        before, watching, joint, after = seen[0][-4:]
        assert (before.voters, watching.voters, watching.observers) == (tuple("abc"), tuple("abc"), ("d",))
        assert (joint.voters, type(joint.quorum).__name__, after) == (tuple("abcd"), "Joint", view)


async def test_a_follower_that_is_removed_learns_it_and_ends() -> None:
    async with town() as it:
        leader, removed = it.leader, it.follower
        view = await it[leader].membership.remove(removed)
        assert removed not in (*view.voters, *view.reachable)
        await it.gone(removed)
        assert isinstance(it.ended[removed], MemberRemoved)
        assert str(it.ended[removed]) == (
            f"{removed} is a member of the group 'count' no more: it was removed. Its data is of no further use; to "
            "take part again it has to be added, with an empty data directory"
        )
        assert await it[leader].ask(Count.add, 1) == 2


async def test_a_member_s_node_is_linked_to_for_as_long_as_it_is_one() -> None:
    """Nobody was told where d is but by the group."""
    async with town() as it:
        await it.start("d", "abc")
        await it["a"].membership.add("d", "d:1")
        hosts = {name: it[name]._host for name in "abc"}  # pyright: ignore[reportPrivateUsage]
        assert all(host.node.has_peer("d") for host in hosts.values())
        view = await it["a"].membership.remove("d")
        await it.gone("d")
        assert isinstance(it.ended["d"], MemberRemoved)
        for name, host in hosts.items():
            await it[name].membership.wait_view(after=view.number - 1)
            assert sorted(host.node.peers) == sorted(set("abc") - {name})


async def test_who_was_removed_while_it_was_gone_learns_it_when_it_comes_back(tmp_path: Path) -> None:
    """Nobody dials it any more, and it is answered all the same."""
    async with town() as it:
        await it.start("d", "abc", data=tmp_path / "d")
        await it["a"].membership.add("d", "d:1")
        await it.until("d", lambda view: "d" in view.voters)
        await it.stop("d")
        await it["a"].membership.remove("d")
        for name in "abc":  # it comes back when all have heard of its removal
            await it.until(name, lambda view: "d" not in view.voters)
        await it.start("d", "abc", data=tmp_path / "d")
        await it.gone("d")
        assert isinstance(it.ended["d"], MemberRemoved)


async def test_a_group_whose_members_are_not_given_is_of_those_who_were_named() -> None:
    """And not of whom the node has learnt of from another group."""
    async with town() as it:
        await it.start("d", "abc")
        await it["a"].membership.add("d", "d:1")
        node = it["a"]._host.node  # pyright: ignore[reportPrivateUsage]
        assert node.has_peer("d")
        async with join(node, "other", Count, limits=LIMITS) as other:
            assert other._host.plan.members == tuple("abc")  # pyright: ignore[reportPrivateUsage]


async def test_a_leader_that_is_removed_hands_over_and_ends() -> None:
    async with town() as it:
        leader, other = it.leader, it.follower
        view = await it[other].membership.remove(leader)
        assert leader not in view.voters
        await it.gone(leader)
        assert isinstance(it.ended[leader], MemberRemoved)
        assert await it[other].ask(Count.add, 1) == 2
        assert it.leader != leader


async def test_what_waits_at_a_member_that_is_removed_is_told_that_nothing_is_known() -> None:
    async with town() as it:
        name = it.follower
        removed = it[name]
        await it[it.leader].membership.remove(name)
        await it.gone(name)
        with pytest.raises(GroupClosed):
            await removed.ask(Count.add, 0)


async def test_all_members_are_replaced_while_the_group_is_used() -> None:
    """By a client that was given one address: that of the member which leads, and is replaced last."""
    async with town() as it:
        named = it.leader
        answers: list[int] = []
        done = trio.Event()

        async def use() -> None:
            where, network = {named: f"{named}:1"}, it.network.host("client")
            async with connect("count", Count, members=where, network=network) as count:
                while not done.is_set():
                    answers.append(await count.ask(Count.add, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            while not answers:
                await trio.lowlevel.checkpoint()
            for old, new in zip(sorted("abc", key=lambda name: name == named), "def", strict=True):
                await it.start(new, "abcdef")
                here = next(name for name in it.groups if name not in (old, new))
                assert new in (await it[here].membership.replace(old, new, f"{new}:1")).voters
                await it.gone(old)
            done.set()
        assert sorted(it.groups) == list("def")
        assert await it["f"].ask(Count.value) == len(answers) + 1
        assert answers == list(range(2, len(answers) + 2))


async def test_an_observer_is_added_by_itself_and_has_no_vote() -> None:
    """It delivers, answers queries at every level, and passes commands on."""
    async with town() as it:
        await it.start("o", "a", role="observer")
        view = await it.until("a", lambda view: "o" in view.observers)
        assert view.voters == tuple("abc")
        watching = it["o"]
        assert await watching.ask(Count.add, 4) == 5
        assert await watching.ask(Count.value) == 5
        assert await watching.reading(Consistency.LOCAL).ask(Count.value) == 5
        assert (await it["a"].membership.promote("o")).voters == tuple("abco")


async def test_a_member_that_was_wiped_comes_back_under_its_name_once_it_was_removed() -> None:
    async with town() as it:
        other = it.follower
        here = next(name for name in it.groups if name not in (other, it.leader))
        await it.stop(other)
        await it.start(other, "abc")  # in memory: another disk
        await it[here].membership.remove(other)
        view = await it[here].membership.add(other, f"{other}:1")
        assert view.voters == tuple("abc")
        assert await it[other].ask(Count.add, 1) == 2


async def test_a_member_that_moves_is_found_by_all() -> None:
    async with town() as it:
        moved = it.follower
        await it[moved].membership.move(moved, "elsewhere:9")
        await it.stop(moved)
        assert {it[name].status().members[moved] for name in it.groups} <= {f"{moved}:1", "elsewhere:9"}


async def test_an_observer_that_begins_elsewhere_without_a_move_says_what_to_do(tmp_path: Path) -> None:
    """It hears nothing: the others look for it where it was."""
    async with town(disks=tmp_path) as it:
        await it.start("o", "a", role="observer")
        await it["o"].ask(Count.add, 4)
        await it.stop("o")
        it.places["o"] = "o:2"
        await it.start("o", "a", role="observer")
        assert "until another member moves it there (membership.move)" in str(it["o"].status().waiting)
        await it["a"].membership.move("o", "o:2")
        await it["o"].ask(Count.add, 4)
        assert it["o"].status().waiting is None


async def test_a_client_follows_members_of_which_each_has_moved(tmp_path: Path) -> None:
    """None of the addresses that it was told, or heard first, is of any use in the end."""
    async with town(disks=tmp_path) as it:
        client = connect("count", Count, members={"a": "a:1"}, network=it.network.host("client"))
        async with client as count:
            assert await count.ask(Count.add, 1) == 2
            for total, name in enumerate("abc", 3):
                it.places[name] = f"{name}:2"
                await it[name].membership.move(name, it.places[name])
                await it.stop(name)
                await it.start(name, "abc")
                assert await count.ask(Count.add, 1) == total
            assert {it[name].status().members[name] for name in "abc"} == {"a:2", "b:2", "c:2"}


async def test_the_quorum_system_changes_by_way_of_both() -> None:
    async with town() as it:
        view = await it["a"].membership.change(Change(quorum=Flexible(elect=3, commit=1)))
        assert view.quorum == Flexible(elect=3, commit=1)
        assert await it["b"].ask(Count.add, 1) == 2


async def test_a_group_grows_and_shrinks_with_a_quorum_system_that_fits() -> None:
    """And a newcomer may know few of the members of a group that decides by what would not fit these few."""
    flexible = Flexible(elect=3, commit=1)
    async with town(quorum=flexible) as it:
        with pytest.raises(ChangeRefused, match="give another system by quorum="):
            await it["a"].membership.remove("b")
        await it.start("d", "a", quorum=Flexible(elect=4, commit=1))
        view = await it["a"].membership.add("d", "d:1", quorum=Flexible(elect=4, commit=1))
        assert (view.voters, view.quorum) == (tuple("abcd"), Flexible(elect=4, commit=1))
        assert await it["d"].ask(Count.add, 1) == 2
        await it.start("e", "d", quorum=Flexible(elect=4, commit=1))
        view = await it["a"].membership.replace("d", "e", "e:1", quorum=Majority())
        assert (view.voters, view.quorum) == (tuple("abce"), Majority())
        view = await it["a"].membership.remove("e", quorum=flexible)
        assert (view.voters, view.quorum) == (tuple("abc"), flexible)


async def test_who_has_no_leader_says_by_what_one_is_elected() -> None:
    """It may take all of them."""
    async with town(quorum=Flexible(elect=3, commit=1)) as it:
        await it.stop(it.follower)
        await it.stop(it.leader)
        (last,) = it.groups.values()
        while (waiting := last.status().waiting) is None:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)
        told = "an election quorum of a, b, c, by Flexible(elect=3, commit=1), must reach each other"
        assert waiting == f"no leader is known: {told}"


async def test_a_newcomer_that_dies_before_it_has_caught_up_is_called_off_together_with_its_quorum_system() -> None:
    """Whoever waits for it is told, and the group can go on changing its members."""
    now, with_d = (Weighted(dict.fromkeys(names, 1)) for names in ("abc", "abcd"))
    async with town(quorum=now) as it, trio.open_nursery() as nursery:
        at = it[it.follower].membership

        async def add() -> None:
            with pytest.raises(ChangeUnknown, match="d was removed before this was reached, which calls it off"):
                await at.add("d", "d:1", quorum=with_d)

        await it.start("d", "abcd", quorum=with_d)
        it.network.cut("d", it.leader)
        nursery.start_soon(add)
        await it.until("a", lambda view: view.observers == ("d",))
        await it.stop("d")
        view = await at.remove("d")
        assert (view.voters, view.observers, view.quorum) == (("a", "b", "c"), (), now)
        await it.start("e", "abc")
        view = await at.add("e", "e:1", quorum=Weighted(dict.fromkeys("abce", 1)))
        assert view.voters == tuple("abce")


async def test_several_changes_are_made_at_once() -> None:
    async with town() as it:
        await it.start("de", "abc")
        wanted = Change(
            add=(Newcomer("d", "d:1"), Newcomer("e", "e:1")), remove=("a",), quorum=Weighted(dict.fromkeys("bcde", 1))
        )
        view = await it["b"].membership.change(wanted)
        assert (view.voters, view.quorum) == (tuple("bcde"), Weighted(dict.fromkeys("bcde", 1)))


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Change(remove=("x",)), "x: no member of this group"),
        (Change(promote=("x",)), "x: no member; the members are a, b, c"),
        (Change(move={"x": "x:1"}), "x: no member; the members are a, b, c"),
        (Change(remove=("b",), promote=("b",)), "b: named twice in one change"),
        (Change(remove=tuple("abc")), "this would leave no voter"),
        (Change(quorum=Flexible(elect=1, commit=3)), "a, b, c could not decide by Flexible"),
        (Change(quorum=Weighted({"a": 1})), "it does not name b, c"),
    ],
)
async def test_what_a_group_cannot_do_is_refused_with_the_reason(wanted: Change, why: str) -> None:
    async with town() as it:
        with pytest.raises(ChangeRefused, match=why.replace("(", r"\(")):
            await it[it.follower].membership.change(wanted)
        assert await it["a"].ask(Count.add, 1) == 2


@pytest.mark.parametrize(
    ("wanted", "error", "why"),
    [
        ("b", TypeError, "a change is a membership.Change, not 'b'"),
        (Change(remove=("",)), TypeError, "no change of members"),
        (Change(quorum="all"), TypeError, "quorum= is a Majority"),  # type: ignore[arg-type]
        (Change(move={"a": "127.0.0.1:0"}), ValueError, "nobody can be found at port 0"),
        (Change(move=dict.fromkeys(map(str, range(101)), "h:1")), TypeError, "Expected `object` of length <= 100"),
    ],
)
async def test_what_is_no_change_is_told_at_once(wanted: Any, error: type[Exception], why: str) -> None:
    async with town("a") as it:
        with pytest.raises(error, match=why):
            await it["a"].membership.change(wanted)


NO_NAMES: Final[tuple[Any, ...]] = ("", " ", "a b", "../b", "b/c", "b\n", "x" * 129, 5, b"b", ["b"], True)
NO_ADDRESSES: Final[tuple[Any, ...]] = (
    "",
    "here",
    "127.0.0.1",
    "127.0.0.1:0",
    "h:99999",
    ":5",
    5,
    None,
    b"h:1",
    ["h:1"],
)
AT = "127.0.0.1:5"


def nonsense(membership: Membership) -> Iterator[Callable[[], Awaitable[object]]]:
    """Each of what may be asked for, with what nobody can mean."""
    own: Any = membership  # as it is for who checks no types
    for name in NO_NAMES:
        yield partial(own.hand_over, name)
        yield partial(own.remove, name)
        yield partial(own.promote, name)
        yield partial(own.move, name, AT)
        yield partial(own.add, name, AT)
        yield partial(own.replace, name, "z", AT)
        yield partial(own.replace, "b", name, AT)
    for address in NO_ADDRESSES:
        yield partial(own.move, "b", address)
        yield partial(own.add, "z", address)
        yield partial(own.replace, "b", "z", address)
    for force in (1, "yes", None):
        yield partial(own.remove, "b", force=force)
        yield partial(own.promote, "b", force=force)
        yield partial(own.add, "z", AT, force=force)
        yield partial(own.add, "z", AT, observer=force)
        yield partial(own.replace, "b", "z", AT, force=force)
    for quorum in (5, "majority", Majority):
        yield partial(own.remove, "b", quorum=quorum)
        yield partial(own.add, "z", AT, quorum=quorum)
        yield partial(own.replace, "b", "z", AT, quorum=quorum)
    loose: Any = Change
    for change in (
        None,
        5,
        loose(remove="b"),
        loose(remove=5),
        loose(add=("z",)),
        loose(move={"b": 5}),
        loose(promote=[1]),
    ):
        yield partial(own.change, change)


async def test_nonsense_is_told_before_anything_is_sent_at_whichever_member() -> None:
    """A leader closes the link to a member that sends such a thing, and is right to."""
    async with town() as it:
        with structlog.testing.capture_logs() as logs:
            for name in (it.leader, it.follower):
                for asking in nonsense(it[name].membership):
                    with pytest.raises((TypeError, ValueError)):
                        await asking()
            view = await it["a"].membership.hand_over(it.follower)  # links are up
        assert (view.number, view.epoch) == (2, 2)
        assert not [each for each in logs if "link" in each["event"]]


async def test_a_change_that_would_lose_the_quorum_is_refused_unless_it_is_forced() -> None:
    async with town() as it:
        gone = it.follower
        await it.stop(gone)
        leader = it.leader
        await it.until(leader, lambda view: gone not in view.reachable)
        other = next(name for name in it.groups if name != leader)
        with pytest.raises(ChangeRefused, match=rf"{gone} cannot be reached, and the rest could not decide"):
            await it[leader].membership.remove(other)
        view = await it[leader].membership.remove(gone)
        assert gone not in view.voters


async def test_one_that_has_not_said_hello_is_waited_for_and_that_is_told() -> None:
    async with town() as it:
        membership = it["a"].membership
        async with trio.open_nursery() as nursery:
            nursery.start_soon(membership.add, "d", "d:1")
            while membership.why is None:  # noqa: ASYNC110 - it does not tell
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert membership.why.startswith("d has not said hello")


async def test_who_is_reachable_is_agreed() -> None:
    async with town() as it:
        gone = it.follower
        await it.stop(gone)
        for name in list(it.groups):
            view = await it.until(name, lambda view: gone not in view.reachable)
            assert gone in view.voters
        views = [await views_of(group, view.number) for group in it.groups.values()]
        assert views[0] == views[1]


async def test_the_lead_is_handed_over() -> None:
    async with town() as it:
        leader, heir = it.leader, it.follower
        view = await it[heir].membership.hand_over(heir)
        assert (view.leader, it.leader) == (heir, heir)
        await it.until(leader, lambda view: view.leader == heir)
        assert (await it[leader].membership.hand_over()).leader != heir
        with pytest.raises(ChangeRefused, match="x has no vote, and cannot lead: the voters are a, b, c"):
            await it["a"].membership.hand_over("x")


async def test_who_should_rather_lead_does_in_the_end() -> None:
    async with town() as it:
        await it.start("d", "abc", priority=1)
        await it["a"].membership.add("d", "d:1")
        await it.until("a", lambda view: view.leader == "d")
        assert await it["a"].ask(Count.add, 1) == 2


async def test_more_members_than_a_group_may_have_are_told_at_once() -> None:
    members = {f"n{number}": "a:1" for number in range(1_001)}
    with pytest.raises(ValueError, match=r"^1001 members: a group has at most 1000$"):
        async with open_group("count", Count, node="n1", members=members, data=None):
            pass


@pytest.mark.parametrize("priority", [101, -101, "high", 1.5])
async def test_a_priority_that_is_none_is_told_at_once(priority: Any) -> None:
    with pytest.raises(ValueError, match=r"priority= is a number from -100 to 100, not"):
        async with open_group("count", Count, node="a", members={"a": "a:1"}, data=None, priority=priority):
            pass


async def test_who_waits_for_a_hand_over_is_woken_when_the_replica_stops() -> None:
    patient = Limits(election_timeout=5_000_000)
    async with town(limits=patient) as it:
        leader = it.leader
        host = it[leader]._host  # pyright: ignore[reportPrivateUsage]
        for name in set("abc") - {leader}:
            it.network.cut(leader, name)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.hand_over)
            await trio.testing.wait_all_tasks_blocked(0.01)
            host._fail(MemberRemoved("gone"))  # pyright: ignore[reportPrivateUsage]
        assert trio.current_time() - begun < patient.election_timeout / 2_000_000


async def test_a_leader_that_is_closed_hands_over_first_even_if_it_is_cancelled() -> None:
    """Nobody has to find out that it is gone."""
    patient = Limits(election_timeout=2_000_000)
    async with town(limits=patient) as it:
        leader, other = it.leader, it.follower
        epoch = it[other].status().epoch
        begun = trio.current_time()
        await it.stop(leader)
        assert it[other].status().epoch == epoch + 1
        assert await it[other].ask(Count.add, 1) == 2
        assert trio.current_time() - begun < patient.election_timeout / 1_000_000
