"""Quorum systems by example: who suffices, what is refused and in which words, and what a peer may send (rule 6)."""

from __future__ import annotations

import pickle
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest

from actors import Actor, open_node, query
from actors._protocol.codec import encode, encode_struct
from actors._protocol.errors import RemoteProtocolError
from broadcast import join, open_group
from broadcast._protocol.messages import decode_message, encode_message
from membership import Configuration, Flexible, Grid, Joint, Limits, Majority, Member, QuorumSystem, Weighted
from membership._protocol.messages import FormedNotice, Forming
from membership._protocol.quorum import TEXT_SIZE_MAX, Electorate
from membership._protocol.view import Formation

CLUSTER = b"c" * 16
DISK = b"a" * 16


class Count(Actor):
    @query
    def value(self) -> int:
        return 0


def members(names: str) -> tuple[Member, ...]:
    return tuple(Member(name, name.encode() * 16) for name in names)


def configuration(names: str, quorum: QuorumSystem | Joint) -> Configuration:
    return Configuration(members(names), quorum=quorum)


def smallest(whole: Configuration, suffices: Any) -> str:
    """The sets that suffice, and no longer do without any one of them."""
    names = whole.voter_names
    sets = [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]
    least = [some for some in sets if suffices(some) and not any(suffices(some - {name}) for name in some)]
    return " ".join(sorted("".join(sorted(some)) for some in least))


GRID = Grid((("a", "b", "c"), ("d", "e", "f")))
UNEVEN = Grid((("a", "b", "c"), ("d", "e")))
JOINT = Joint(Electorate(("a", "b", "c"), Majority()), Electorate(("c", "d"), Flexible(elect=2, commit=1)))


@pytest.mark.parametrize(
    ("names", "system", "elect", "commit"),
    [
        ("a", Majority(), "a", "a"),
        ("abc", Majority(), "ab ac bc", "ab ac bc"),
        ("abcd", Majority(), "abc abd acd bcd", "abc abd acd bcd"),
        ("abcde", Flexible(elect=4, commit=2), "abcd abce abde acde bcde", "ab ac ad ae bc bd be cd ce de"),
        ("abcd", Flexible(elect=3, commit=2), "abc abd acd bcd", "ab ac ad bc bd cd"),
        ("abc", Flexible(elect=2, commit=3), "ab ac bc", "abc"),
        ("abc", Weighted({"a": 2, "b": 1, "c": 1}), "ab ac", "ab ac"),
        ("abcd", Weighted({"a": 1, "b": 1, "c": 1, "d": 0}), "ab ac bc", "ab ac bc"),
        ("abc", Weighted({"a": 3, "b": 1, "c": 1}), "a", "a"),
        ("abcdef", GRID, "abcd abce abcf adef bdef cdef", "abc def"),
        ("abcde", UNEVEN, "abcd abce ade bde", "abc de"),
        ("abc", Grid((("a",), ("b",), ("c",))), "abc", "a b c"),
        ("abc", Grid((("a", "b", "c"),)), "abc", "abc"),
        ("abcd", JOINT, "acd bcd", "abd ac bc"),
    ],
    ids=str,
)
def test_who_suffices(names: str, system: QuorumSystem | Joint, elect: str, commit: str) -> None:
    whole = configuration(names, system)
    assert smallest(whole, whole.elects) == elect
    assert smallest(whole, whole.commits) == commit


# -- what is refused ---------------------------------------------------------------------------------------------------


def half(names: str, quorum: QuorumSystem) -> Electorate:
    return Electorate(tuple(names), quorum)


FLAWS = [
    (
        "abcd",
        Flexible(elect=2, commit=3),
        "Flexible(elect=2, commit=3): (a, b) could elect one leader while (c, d) elect another: "
        "with 4 voters and commit=3, give elect= at least 3",
    ),
    (
        "abcde",
        Flexible(elect=3, commit=2),
        "Flexible(elect=3, commit=2): (a, b, c) could elect a leader that does not know what (d, e) have committed: "
        "with 5 voters and commit=2, give elect= at least 4",
    ),
    (
        "ab",
        Flexible(elect=3, commit=1),
        "Flexible(elect=3, commit=1): there are only 2 voters: give elect= and commit= at most 2",
    ),
    (
        "ab",
        Flexible(elect=2, commit=3),
        "Flexible(elect=2, commit=3): there are only 2 voters: give elect= and commit= at most 2",
    ),
    ("abc", Weighted({"a": 1}), "it does not name b, c: give a weight to each voter, 0 to one that decides nothing"),
    ("a", Weighted({"a": 1, "x": 1}), "it names x, among the voters a there is no such name: give a weight to each"),
    ("ab", Weighted({"a": 0, "b": 0}), "no voter has any weight: give some of them 1"),
    ("abc", Grid((("a", "b"),)), "it does not name c: give each voter one place"),
    ("ab", Grid((("a", "b"), ("x",))), "it names x, among the voters a, b there is no such name: give each voter one"),
    ("ab", Grid((("a", "b"), ("b",))), "it names a voter twice: give each voter one place"),
    ("abz", JOINT, "it does not name z"),
    ("ab", Joint(half("aa", Majority()), half("ab", Majority())), "(a, a) are no voters: there is at least one, and"),
    ("ab", Joint(half("ab", Majority()), half("", Majority())), "() are no voters: there is at least one, and none"),
    ("ab", Joint(half("ab", Flexible(elect=1, commit=1)), half("b", Majority())), "(a) could elect one leader while"),
    ("ab", Joint(half("a", Majority()), half("ab", Flexible(elect=1, commit=2))), "(a) could elect one leader while"),
]


@pytest.mark.parametrize(("names", "system", "told"), FLAWS)
def test_a_configuration_whose_quorums_could_miss_each_other_is_not_made(
    names: str, system: QuorumSystem | Joint, told: str
) -> None:
    with pytest.raises(ValueError, match=r"^(Flexible|Weighted|Grid|Joint)\(.*\): ") as refused:
        configuration(names, system)
    assert told in str(refused.value)


NOT_MADE = [
    (lambda: Flexible(elect=0, commit=1), "Flexible: elect=0: Expected `int` >= 1"),
    (lambda: Flexible(elect=3, commit=0), "Flexible: commit=0: Expected `int` >= 1"),
    (lambda: Flexible(elect=cast(int, 1.5), commit=1), "Flexible: elect=1.5: Expected `int`"),
    (lambda: Flexible(elect=True, commit=1), "Flexible: elect=True: Expected `int`"),
    (lambda: Weighted({"a": -1}), "Weighted: weights={'a': -1}: Expected `int` >= 0"),
    (lambda: Weighted({"a": 1_000_001}), "Weighted: weights={'a': 1000001}: Expected `int` <= 1000000"),
    (lambda: Weighted(cast(Any, ["a"])), "Weighted: weights=['a']: Expected `object`, got `array`"),
    (lambda: Grid(()), "Grid: rows=(): Expected `array` of length >= 1"),
    (lambda: Grid((("a",), ())), "Grid: rows=(('a',), ()): Expected `array` of length >= 1"),
    (lambda: Grid(cast(Any, ("ab", "cd"))), "Grid: rows=('ab', 'cd'): Expected `array`, got `str`"),
    (lambda: Grid(cast(Any, ({"a", "b"}, ("c",)))), "a set has no order: give a tuple"),
    (
        lambda: Grid(cast(Any, frozenset([("a", "b")]))),
        "Grid: rows=frozenset({('a', 'b')}): a set has no order: give a",
    ),
    (lambda: Flexible(elect=1_001, commit=1), "Flexible: elect=1001: Expected `int` <= 1000"),
    (lambda: Weighted({"\ud800": 1}), "Weighted: weights={'\\ud800': 1}: Expected `str` matching"),
    (lambda: Weighted(dict.fromkeys(map(str, range(1_001)), 1)), "Expected `object` of length <= 1000"),
    (lambda: Grid((("a", "b/c"),)), "Grid: rows=(('a', 'b/c'),): Expected `str` matching"),
    (lambda: Grid(tuple((f"{n}", f"{n}a") for n in range(501))), "rows= names 1002, and a group has at most 1000"),
    (lambda: Joint(cast(Any, Majority()), half("a", Majority())), "Joint: old=Majority(): Expected"),
]


@pytest.mark.parametrize(("make", "told"), NOT_MADE)
def test_a_system_that_means_nothing_is_not_made(make: Any, told: str) -> None:
    with pytest.raises(TypeError) as refused:
        make()
    assert told in str(refused.value)


def test_a_system_stays_what_it_was_when_it_was_made() -> None:
    weights = {"a": 1, "b": 1, "c": 1}
    system = Weighted(weights)
    weights["a"] = 9
    assert system == Weighted({"c": 1, "b": 1, "a": 1}), "in whatever order"
    assert Grid(cast(Any, [["a"], ["b"]])) == Grid((("a",), ("b",)))
    assert system != Weighted({"a": 1, "b": 1, "c": 2})
    assert Flexible(elect=3, commit=2) != Flexible(elect=2, commit=3)


WEIGHTS = {"a": 2, "b": 1, "c": 0}


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.__setitem__("a", 9),
        lambda weights: weights.__delitem__("a"),
        lambda weights: weights.__ior__({"a": 9}),
        lambda weights: weights.update(a=9),
        lambda weights: weights.setdefault("d", 9),
        lambda weights: weights.pop("a"),
        lambda weights: weights.popitem(),
        lambda weights: weights.clear(),
    ],
)
def test_weights_do_not_change(change: Any) -> None:
    system = Weighted(WEIGHTS)
    with pytest.raises(TypeError, match="a quorum system does not change: make another one"):
        change(system.weights)
    assert system == Weighted(WEIGHTS)


def test_a_system_is_a_value_however_it_was_written() -> None:
    """Equal, one key of a dict, and the same bytes: members say it to each other, and form only with the same."""
    for one, other in (
        (Weighted(WEIGHTS), Weighted(dict(reversed(WEIGHTS.items())))),
        (GRID, Grid(cast(Any, [["a", "b", "c"], ["d", "e", "f"]]))),
        (JOINT, Joint(half("abc", Majority()), half("cd", Flexible(elect=2, commit=1)))),
        (Joint(half("abc", Weighted(WEIGHTS)), half("a", Majority())),) * 2,
    ):
        assert one == other
        assert {one: "found"}[other] == "found"
        assert repr(one) == repr(other)
        assert encode_struct(one) == encode_struct(other)
        for copied in (pickle.loads(pickle.dumps(one)), deepcopy(one)):
            assert (copied, hash(copied)) == (one, hash(one))
    assert Weighted(WEIGHTS).weights == {"a": 2, "b": 1, "c": 0}


def test_a_system_that_a_peer_wrote_in_another_order_is_the_same() -> None:
    hello = Forming(tuple("abc"), Weighted(WEIGHTS), Limits())
    sent = encode_message(b"", DISK, hello)
    turned = sent.replace(b"aa\x02ab\x01ac\x00", b"ac\x00ab\x01aa\x02")
    assert turned != sent
    came = decode_message(turned)
    assert encode_message(came.cluster, came.storage, came.message) == sent


def test_what_it_says_of_itself_has_an_end() -> None:
    """A peer's may be long, and comes to the eyes of an operator."""
    long = Weighted({f"{number:0100}": 1 for number in range(1000)})
    assert len(str(long)) < 2 * TEXT_SIZE_MAX
    flaw = long.flaw([f"v{number:0100}" for number in range(1000)])
    assert flaw is not None
    assert len(flaw) < 3 * TEXT_SIZE_MAX
    with pytest.raises(TypeError) as refused:
        Weighted({f"{number}": -1 for number in range(1000)})
    assert len(str(refused.value)) < 2 * TEXT_SIZE_MAX


# -- who opens a group -------------------------------------------------------------------------------------------------

REFUSED: list[tuple[object, type[Exception], str]] = [
    (Flexible(elect=1, commit=1), ValueError, r"Flexible\(.*\(a\) could elect one leader while \(b\) elect another"),
    (Grid((("a", "c"),)), ValueError, r"Grid\(.*: it does not name b"),
    (Joint(half("a", Majority()), half("ab", Majority())), TypeError, r"a Majority, .* or Grid of the members, not Jo"),
    ("majority", TypeError, r"quorum= is a Majority, Flexible, Weighted or Grid of the members, not 'majority'"),
    (Majority, TypeError, r"not <class .*Majority'>"),
]


@pytest.mark.parametrize(("quorum", "error", "told"), REFUSED)
async def test_a_group_is_not_opened_with_it(quorum: Any, error: type[Exception], told: str, tmp_path: Path) -> None:
    addresses = {"a": "127.0.0.1:1", "b": "127.0.0.1:2"}
    data = tmp_path / "a"
    with pytest.raises(error, match=told):
        async with open_group("count", Count, node="a", members=addresses, data=data, quorum=quorum):
            pass
    assert not data.exists(), "it is known before anything is done"
    async with open_node("a", listen="127.0.0.1:0", peers={"b": "127.0.0.1:2"}, data=None) as node:
        with pytest.raises(error, match=told):
            async with join(node, "count", Count, quorum=quorum):
                pass


async def test_a_group_decides_by_what_it_was_opened_with() -> None:
    async with (
        open_node("a", listen="127.0.0.1:0", data=None) as node,
        join(node, "one", Count, quorum=Weighted({"a": 7})) as group,
    ):
        assert await group.ask(Count.value) == 0


# -- what a peer may send ----------------------------------------------------------------------------------------------


SYSTEMS = [Majority(), Flexible(elect=4, commit=2), Weighted({"a": 2, "b": 1, "c": 1, "d": 0, "e": 0}), UNEVEN]


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_it_travels_in_the_hello_and_in_the_record(system: QuorumSystem) -> None:
    voters = members("abcde")
    half_new = Electorate(("e",), Majority())
    for quorum in (system, Joint(Electorate(tuple("abcde"), system), half_new)):
        configuration = Configuration(voters, quorum=quorum)
        record = FormedNotice(Formation("bank", CLUSTER, configuration), configuration)
        assert decode_message(encode_message(CLUSTER, DISK, record)).message == record
    hello = Forming(tuple("abcde"), system, Limits())
    assert decode_message(encode_message(b"", DISK, hello)).message == hello


FOREIGN: list[tuple[list[object], str]] = [
    (["flexible", 2, 1], "(a, b) could elect one leader while (c, d) elect another"),
    (["flexible", 3, 1], "(a, b, c) could elect a leader that does not know what (d) have committed"),
    (["flexible", 5, 1], "there are only 4 voters"),
    (["flexible", 0, 4], "Expected `int` >= 1"),
    (["flexible", 1_000, 1_000], "there are only 4 voters"),
    (["flexible", 2**62, 2**62], "Expected `int` <= 1000"),
    (["flexible", 4], "Expected `array` of"),
    (["flexible", 4, 4, 4], "Expected `array` of at most length"),
    (["majority", 1], "Expected `array` of at most length"),
    (["weighted", {"a": 1}], "it does not name b, c, d"),
    (["weighted", {"a": -1, "b": 1, "c": 1, "d": 1}], "Expected `int` >= 0"),
    (["weighted", {"a": 2**62, "b": 1, "c": 1, "d": 1}], "Expected `int` <= 1000000"),
    (["weighted", dict.fromkeys("abcd", 0)], "no voter has any weight"),
    (["grid", []], "Expected `array` of length >= 1"),
    (["grid", [["a", "b"], []]], "Expected `array` of length >= 1"),
    (["grid", [["a", "b"], ["c", "c"]]], "it does not name d"),
    (["joint", [list("abcd"), ["flexible", 2, 1]], [["d"], ["majority"]]], "could elect one leader"),
    (["joint", [["a"], ["majority"]], [["b"], ["majority"]]], "it does not name c, d"),
    (["joint", [["a"], ["joint", [], []]], [["b"], ["majority"]]], "Invalid value 'joint'"),
    (["lottery"], "Invalid value 'lottery'"),
]


@pytest.mark.parametrize(("quorum", "told"), FOREIGN)
def test_a_record_that_cannot_be_right_is_a_peer_s_fault(quorum: list[object], told: str) -> None:
    """The link closes; the node lives (rule 30)."""
    voters = [[name, name.encode() * 16] for name in "abcd"]
    limits = [500_000, 600_000_000, 100_000, 65_536, 1_048_576]

    def sent(quorum: list[object]) -> bytes:
        configuration = [voters, [], quorum, limits]
        return encode([CLUSTER, DISK, ["formed", ["bank", CLUSTER, configuration], configuration]])

    with pytest.raises(RemoteProtocolError) as refused:
        decode_message(sent(quorum))
    assert told in str(refused.value)
    assert isinstance(decode_message(sent(["flexible", 4, 1])).message, FormedNotice), "but for that it could be"


def test_a_joint_is_no_system_to_form_with() -> None:
    joint = ["joint", [["a"], ["majority"]], [["a"], ["majority"]]]
    hello = encode([b"", DISK, ["forming", ["a"], joint, [500_000, 600_000_000, 100_000, 65_536, 1_048_576]]])
    with pytest.raises(RemoteProtocolError, match="Invalid value 'joint'"):
        decode_message(hello)
