"""What may be asked of a group, and what is refused in which words (rules 14, 15)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from membership import Change, ChangeUnknown, Configuration, Flexible, Majority, Member, Membership, Newcomer, View
from membership._errors import ChangeRefused
from membership._protocol import change as changing
from membership._protocol.change import ChangeImpossible, ChangeTooEarly, begun, joint
from membership._protocol.messages import ChangeWish, HandOver, Verdict, Wish

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
