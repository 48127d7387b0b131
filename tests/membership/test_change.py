"""What may be asked of a group, and what is refused in which words (rules 14, 15)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from membership import (
    Change,
    ChangeUnknown,
    Configuration,
    Flexible,
    Grid,
    Majority,
    Member,
    Membership,
    Newcomer,
    QuorumSystem,
    View,
    Weighted,
)
from membership._errors import ChangeRefused
from membership._protocol import change as changing
from membership._protocol.change import (
    ChangeImpossible,
    ChangeTooEarly,
    begun,
    concluded,
    destination,
    is_reached,
    joint,
)
from membership._protocol.messages import ChangeWish, HandOver, Verdict, Wish
from membership._protocol.view import Goal

ABC = Configuration(tuple(Member(name, name.encode() * 16, f"{name}:1") for name in "abc"))
DISKS = {name: name.encode() * 16 for name in "defg"}
D, E = Newcomer("d", "d:1"), Newcomer("e", "e:1")


def taking_in_d() -> Configuration:
    """d is to vote, and has not caught up."""
    return begun(Change(add=(D,)), ABC, DISKS)


@pytest.mark.parametrize(
    ("wanted", "now", "error", "why"),
    [
        (Change(add=(Newcomer("b", "b:1"),), remove=("c",)), ABC, ChangeImpossible, "b: a member already; promote it,"),
        (Change(remove=("x",)), ABC, ChangeImpossible, "x: no member; the members are a, b, c"),
        (
            Change(remove=("b",), add=(Newcomer("b", "b:1"),)),
            ABC,
            ChangeImpossible,
            "has lost its disk is removed first",
        ),
        (Change(remove=tuple("abc")), ABC, ChangeImpossible, "this would leave no voter: at least one must stay"),
        (Change(remove=("b",), quorum=Flexible(elect=3, commit=1)), ABC, ChangeImpossible, "give another system by"),
        (Change(add=(E,)), taking_in_d(), ChangeTooEarly, "d must catch up before the next change of voters can begin"),
        (Change(remove=("b",)), joint(taking_in_d()), ChangeTooEarly, "another change is being concluded: wait until"),
    ],
)
def test_what_a_group_cannot_do_is_told(
    wanted: Change, now: Configuration, error: type[ChangeImpossible], why: str
) -> None:
    with pytest.raises(ChangeImpossible, match=why) as refused:
        begun(wanted, now, DISKS)
    assert type(refused.value) is error


def test_a_group_has_only_so_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "MEMBERS_MAX", 4)
    assert len(begun(Change(add=(D,)), ABC, DISKS).members) == 4
    with pytest.raises(ChangeImpossible, match="a group has at most 4 members"):
        begun(Change(add=(D, E)), ABC, DISKS)


# -- newcomers that do not come ----------------------------------------------------------------------------------------


def weighted(names: str) -> Weighted:
    return Weighted(dict.fromkeys(names, 1))


def grid(names: str) -> Grid:
    return Grid((tuple(names),))


def deciding_by(quorum: QuorumSystem) -> Configuration:
    return Configuration(ABC.voters, quorum=quorum)


BY_WEIGHT, BY_GRID = deciding_by(weighted("abc")), deciding_by(grid("abc"))
WITH_D = Change(add=(D,), quorum=weighted("abcd"))
WITH_D_AND_E = Change(add=(D, E), quorum=weighted("abcde"))
D_FOR_C = Change(add=(D,), remove=("c",), quorum=weighted("abd"))


def after(*changes: Change, now: Configuration = BY_WEIGHT) -> Configuration:
    for change in changes:
        now = begun(change, now, DISKS)
    return now


WATCHED = after(Change(add=(Newcomer("d", "d:1", observer=True),)))


def without(*names: str, quorum: QuorumSystem | None = None, add: tuple[Newcomer, ...] = ()) -> Change:
    return Change(add=add, remove=names, quorum=quorum)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        (BY_WEIGHT, WITH_D),
        (BY_WEIGHT, D_FOR_C),
        (BY_GRID, Change(add=(D,), quorum=grid("abcd"))),
        (ABC, Change(add=(D,), quorum=Flexible(elect=3, commit=2))),
        (deciding_by(Flexible(elect=3, commit=1)), Change(add=(D,), quorum=Flexible(elect=3, commit=2))),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_if_no_newcomer_comes_the_group_stays_as_it_is(now: Configuration, wanted: Change, force: bool) -> None:
    assert after(wanted, Change(remove=("d",), force=force), now=now) == now


@pytest.mark.parametrize("quorum", [Majority(), Flexible(elect=2, commit=2), grid("abc")])
def test_who_calls_a_change_off_may_give_any_quorum_system_that_fits_who_stays(quorum: QuorumSystem) -> None:
    wanted = without("d", quorum=quorum)
    assert after(WITH_D, wanted).goal == Goal(tuple("abc"), quorum)
    assert is_reached(wanted, destination(after(WITH_D, wanted)))
    assert after(WITH_D, without("d", quorum=weighted("abc"))).goal is None, "that of now"
    with pytest.raises(ChangeImpossible, match=r"a, b, c could not decide by Weighted.* it names d.* give another"):
        after(WITH_D, without("d", quorum=weighted("abcd")))


@pytest.mark.parametrize(
    ("wanted", "is_forced"),
    [
        (Change(remove=("a",)), False),
        (Change(remove=("a",), force=True), True),
        (Change(remove=("e",)), False),
        (Change(quorum=Flexible(elect=4, commit=2), remove=("e",)), False),
        (Change(remove=("d",), add=(Newcomer("f", "f:1"),)), None),
        (Change(add=(Newcomer("f", "f:1", observer=True),)), True),
        (Change(move={"a": "a:2"}), True),
    ],
)
def test_what_leads_elsewhere_is_not_forced_by_the_change_before_it(wanted: Change, is_forced: bool | None) -> None:
    """None: it is too early for it."""
    forcing = after(Change(add=(D, E), force=True), now=ABC)
    if is_forced is None:
        with pytest.raises(ChangeTooEarly):
            after(wanted, now=forcing)
        return
    goal = after(wanted, now=forcing).goal
    assert goal is not None
    assert goal.force is is_forced
    calm = after(wanted, now=after(Change(add=(D, E)), now=ABC)).goal
    assert calm is not None
    assert calm == Goal(goal.voters, goal.quorum, wanted.force)


def test_if_some_newcomers_do_not_come_the_change_goes_on_with_the_others() -> None:
    wanted = Change(add=(D, E), quorum=Flexible(elect=4, commit=2))
    assert after(wanted, without("d"), now=ABC).goal == Goal(tuple("abce"), Flexible(elect=4, commit=2))
    assert after(wanted, without("d"), without("e"), now=ABC) == ABC
    assert after(wanted, without("d", "e"), now=ABC) == ABC


def test_if_some_newcomers_do_not_come_the_others_may_decide_by_another_quorum_system() -> None:
    with pytest.raises(ChangeImpossible, match=r"a, b, c, e could not decide by .* it names d.* by quorum="):
        after(WITH_D_AND_E, without("d"))
    assert after(WITH_D_AND_E, without("d", quorum=weighted("abce"))).goal == Goal(tuple("abce"), weighted("abce"))


def test_while_others_of_it_are_to_come_no_more_are_added_and_nothing_but_a_removal_changes_the_quorum_system() -> None:
    taking_in = after(WITH_D_AND_E)
    with pytest.raises(ChangeTooEarly, match=r"^e must catch up before .* wait, or remove who does not come"):
        after(without("d", quorum=weighted("abcef"), add=(Newcomer("f", "f:1"),)), now=taking_in)
    for wanted in (Change(quorum=weighted("abc")), without("c", quorum=weighted("abde"))):
        with pytest.raises(ChangeTooEarly, match=r"^d, e must catch up"):
            after(wanted, now=taking_in)


def test_who_was_to_leave_stays_if_one_of_those_does_not_come() -> None:
    """Whose place it was to take, nobody knows."""
    wanted = Change(add=(D, E), remove=("b", "c"), quorum=weighted("ade"))
    assert after(wanted, without("d", quorum=weighted("abce"))).goal == Goal(tuple("abce"), weighted("abce"))
    assert after(wanted, without("d", "b", "c", quorum=weighted("ae"))).goal == Goal(tuple("ae"), weighted("ae"))
    assert after(D_FOR_C, without("d", "c", quorum=weighted("ab"))).goal == Goal(tuple("ab"), weighted("ab"))


def test_another_may_come_in_the_place_of_one_that_does_not() -> None:
    """It starts from who votes now, and by what."""
    for_d = after(WITH_D, without("d", quorum=weighted("abce"), add=(E,)))
    assert (for_d.goal, for_d.observer_names) == (Goal(tuple("abce"), weighted("abce")), ("e",))
    assert after(Change(add=(D,)), without("d", add=(E,)), now=ABC).goal == Goal(tuple("abce"), Majority())
    for_c = after(D_FOR_C, without("c", "d", quorum=weighted("abe"), add=(E,)))
    assert for_c.goal == Goal(tuple("abe"), weighted("abe"))


def test_an_observer_that_was_to_vote_is_removed_and_another_stays_what_it_is() -> None:
    watching = after(Change(add=(Newcomer("d", "d:1", observer=True), Newcomer("e", "e:1", observer=True))))
    promoting = after(Change(promote=("d",), quorum=weighted("abcd")), now=watching)
    off = after(without("d"), now=promoting)
    assert (off.goal, off.observer_names, off.quorum) == (None, ("e",), weighted("abc"))
    assert after(without("e"), now=promoting).goal == promoting.goal, "it was not of that change"
    instead = after(Change(remove=("d",), promote=("e",), quorum=weighted("abce")), now=promoting)
    assert instead.goal == Goal(tuple("abce"), weighted("abce"))


def test_what_is_being_concluded_is_not_called_off() -> None:
    """d has caught up; both electorates decide."""
    with pytest.raises(ChangeTooEarly, match="another change is being concluded: wait until it has ended"):
        after(without("d", quorum=weighted("abc")), now=joint(after(WITH_D)))
    assert after(without("d", quorum=weighted("abc")), now=concluded(joint(after(WITH_D)))).goal == Goal(
        tuple("abc"), weighted("abc")
    )


def test_a_quorum_system_that_another_is_about_to_follow_is_not_where_a_change_leads() -> None:
    """d was removed by somebody else, and e is still to come, by another system."""
    again = without("d", quorum=Majority())
    now = after(Change(add=(D, E), quorum=Flexible(elect=4, commit=2)), without("d"), now=ABC)
    assert not is_reached(again, now)
    assert not is_reached(again, destination(now))
    assert is_reached(without("d"), now)
    assert is_reached(again, ABC)


class Voice:
    """Answers wishes with these words, one after the other, and keeps them."""

    def __init__(self, *answers: tuple[Verdict, str] | None) -> None:
        self.wishes: list[Wish] = []
        self._answers = list(answers)

    async def wish(self, wish: Wish) -> tuple[Verdict, str] | None:
        self.wishes.append(wish)
        await trio.lowlevel.checkpoint()
        return self._answers.pop(0)


VIEW = View(1, 1, "a", 1, tuple("abc"), (), Majority(), tuple("abc"))


def membership(voice: Voice) -> Membership:
    it = Membership(voice)
    it.begin(VIEW, ABC)
    return it


REFUSED = (Verdict.REFUSED, "x: no member; the members are a, b, c")


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([REFUSED], ChangeRefused),
        ([(Verdict.WAITS, "d has not said hello"), REFUSED], ChangeRefused),
        ([(Verdict.TAKEN, ""), REFUSED], ChangeUnknown),
        ([None, REFUSED], ChangeUnknown),
    ],
)
async def test_a_refusal_after_a_try_that_may_come_to_something_is_not_definite(
    answers: Sequence[tuple[Verdict, str] | None], error: type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(error, match="x: no member; the members are a, b, c") as told:
        await membership(Voice(*answers)).remove("x")
    assert type(told.value) is error


async def test_who_is_a_member_already_is_not_added() -> None:
    with pytest.raises(ChangeRefused, match="b: a member already; move it, or remove it first"):
        await membership(Voice((Verdict.REACHED, ""))).add("b", "b:1")


@pytest.mark.parametrize("observer", [False, True])
async def test_add_remove_and_replace_carry_a_quorum_system(observer: bool) -> None:
    quorum = Flexible(elect=3, commit=2)
    voice = Voice(REFUSED, REFUSED, REFUSED)
    it = membership(voice)
    for wanted in (
        it.add("d", "d:1", observer=observer, quorum=quorum),
        it.remove("c", quorum=quorum, force=True),
        it.replace("c", "d", "d:1", quorum=quorum),
    ):
        with pytest.raises(ChangeRefused):
            await wanted
    assert voice.wishes == [
        ChangeWish(Change(add=(Newcomer("d", "d:1", observer),), quorum=quorum)),
        ChangeWish(Change(remove=("c",), quorum=quorum, force=True)),
        ChangeWish(Change(add=(D,), remove=("c",), quorum=quorum)),
    ]


async def test_a_quorum_system_that_is_none_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="quorum= is a Majority"):
        await membership(Voice()).remove("c", quorum="all")  # type: ignore[arg-type]


async def test_a_leader_that_will_not_hand_over_says_why() -> None:
    voice = Voice((Verdict.TAKEN, ""), (Verdict.REFUSED, "b was to lead just now"))
    it = membership(voice)
    with pytest.raises(ChangeRefused, match="b was to lead just now"), trio.fail_after(5):
        await it.hand_over("b")
    assert voice.wishes == [HandOver("b"), HandOver("b")]


# -- who waits for what is called off ----------------------------------------------------------------------------------


class Desk:
    """Takes every wish, until somebody says otherwise; `heard` tells that one has come."""

    def __init__(self) -> None:
        self.answer = (Verdict.TAKEN, "")
        self.heard = trio.Event()

    async def wish(self, wish: Wish) -> tuple[Verdict, str] | None:
        answer = self.answer
        await trio.lowlevel.checkpoint()
        self.heard.set()
        return answer


def see(it: Membership, configuration: Configuration) -> None:
    number = it.view.number + 1 if it.view else 1
    names = configuration.voter_names, configuration.observer_names
    it.begin(View(number, 1, "a", number, *names, configuration.quorum, configuration.names), configuration)


@pytest.mark.parametrize(
    ("now", "wanted", "called_off", "told"),
    [
        (
            BY_WEIGHT,
            WITH_D,
            without("d"),
            "d was removed before this was reached, which calls it off: it is not tried again",
        ),
        (BY_WEIGHT, D_FOR_C, without("d"), "To add d after all, start it with another, empty data directory"),
        (
            BY_WEIGHT,
            WITH_D_AND_E,
            without("d", quorum=weighted("abce")),
            "What else it asked for may have come about, or still may",
        ),
        (BY_WEIGHT, WITH_D_AND_E, without("d", "e"), "d, e was removed"),
        (WATCHED, Change(promote=("d",), quorum=weighted("abcd")), without("d"), "d was removed"),
    ],
)
@pytest.mark.parametrize("knows", [False, True])
async def test_who_waits_for_a_change_that_is_called_off_is_told(
    now: Configuration,
    wanted: Change,
    called_off: Change,
    told: str,
    knows: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whether it sees it begin, or comes when it is under way. Nobody says hello as d any more, so it would wait on."""
    desk = Desk()
    it = Membership(desk)
    see(it, now)
    if knows:
        see(it, after(wanted, now=now))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused_as_unknown, it, wanted, told)
            await desk.heard.wait()
            await trio.testing.wait_all_tasks_blocked()
            if not knows:
                see(it, after(wanted, now=now))
            desk.answer = Verdict.WAITS, "d has not said hello"
            see(it, after(wanted, called_off, now=now))


async def refused_as_unknown(it: Membership, wanted: Change, told: str) -> None:
    with pytest.raises(ChangeUnknown, match=told):
        await it.change(wanted)


async def test_a_removal_that_is_undone_with_the_change_that_held_it_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """c was to leave once d has come; d does not, and c is there to be removed all the same."""
    desk = Desk()
    it = Membership(desk)
    see(it, after(Change(add=(D,)), without("c"), now=ABC))
    removed: list[View] = []

    async def remove() -> None:
        removed.append(await it.remove("c"))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            await desk.heard.wait()
            see(it, ABC)
            await trio.testing.wait_all_tasks_blocked()
            assert not removed
            see(it, concluded(joint(after(without("c"), now=ABC))))
    assert [view.voters for view in removed] == [("a", "b")]
