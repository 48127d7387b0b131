"""Rule 28: an actor's state as bytes, exactly; what cannot be written so is refused by the name of the attribute."""

from __future__ import annotations

import enum
import math
import random
import struct
import sys
import threading
import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from actors import Actor
from actors._ref import ActorRef, GroupName
from broadcast._codes import CHUNK, DEPTH_MAX, PART
from broadcast._errors import CannotCapture, CannotRestore
from broadcast._restoring import Decoder, restore_state
from broadcast._state import Encoder, check_capturable, encode_state
from broadcast._tokens import Frames


@dataclass
class Account:
    owner: str
    balance: int = 0
    friend: Any = None

    def __post_init__(self) -> None:
        RUN.append("Account")


RUN: list[str] = []  # what was run of these classes


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    number: int = field(default=0, compare=False)


@dataclass(slots=True)
class Half:
    there: int
    missing: int = field(init=False)


@dataclass
class Wrapped(list[int]):
    name: str = ""


class Place(NamedTuple):
    x: int
    y: Any


class Point(msgspec.Struct):
    x: int
    y: Any = None


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    x: int


class Checked(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        RUN.append("Checked")


class Colour(enum.Enum):
    RED = [1, 2]  # noqa: RUF012 - a value that is a list
    BLUE = object()


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Level(enum.IntEnum):
    LOW = 1


class Odd(tzinfo):
    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, at: datetime | None) -> None: ...


class Bank(Actor):
    def __init__(self) -> None:
        self.accounts: dict[Any, Any] = {}


def encoded(value: object) -> bytes:
    return b"".join(Encoder(__name__).pieces(value))


def again(value: object) -> Any:
    return Decoder(Frames([encoded(value)]), __name__).value()


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, and in the same order; NaN is NaN."""
    return encoded(one) == encoded(other) and type(one) is type(other)


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**1000, -(2**1000), 10**5000,
    0.0, 1e-320, math.inf, -math.inf, "", "ü", "\ud800", "x" * (PART + 1), "\ud800" * (PART + 1), b"", b"\xff",
    b"y" * (3 * PART), bytearray(b"z"), bytearray(b"z" * (PART + 1)), [], [1, "a"], (), (1, (2, ())), {},
    {"b": 1, "a": 2},
    {1: "a", 1.5: "b", None: "c", (1, 2): "d", b"x": "e", frozenset({1}): "f", Key("k"): "g", Colour.RED: "h"},
    set(), {1, 2**70, -1}, {"b", "a"}, {(1, 2), (1,)}, frozenset({frozenset({1}), frozenset()}), {"\ud800"},
    deque([1, 2, 3]), deque([1, 2], maxlen=2), deque(maxlen=0), Counter("hello"), OrderedDict(b=1, a=2),
    defaultdict(list, a=[1]), defaultdict(None, a=1), defaultdict(int, {1: 2}),
    Account("me", 5, Account("you")), Key("k", 7), Place(1, [Place(2, 3)]), Point(1, Point(2)), Fixed(x=2),
    [Account(str(at), at) for at in range(3000)], [Key(str(at)) for at in range(20)],
    [Place(at, 2**70) for at in range(9)],
    [Point(at, "\ud800") for at in range(10)], [Fixed(x=at) for at in range(CHUNK + 1)],
    {at: Place(at, "") for at in range(5000)},
    [Account("a", at, [at]) for at in range(30)], [*[Point(1)] * 1, *[Place(1, 2)] * 9],
    Colour.RED, Colour.BLUE, Level.LOW, Access.READ, Access.READ | Access.RUN, Access(0), [Level.LOW] * 9,
    date.min, datetime.max, datetime(2026, 1, 1, fold=1), datetime(2026, 1, 1, tzinfo=UTC), time(1, 2, 3, 4), time.max,
    datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    time(1, tzinfo=timezone(timedelta(hours=-1))),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=-1, microseconds=7), "mine")),
    timedelta.min, timedelta.max, UTC,
    timezone(timedelta(hours=2)), ZoneInfo("Asia/Tokyo"), Decimal("-0.00"), Decimal("sNaN12"), Decimal("1E+500"),
    Fraction(1, 3), Fraction(-(10**5000), 7), UUID(int=5), ActorRef("b/counter", Bank), GroupName("bank", Bank),
    {"x" * PART: list(range(3 * CHUNK)), "deep": [[[[{"a": ({},)}]]]]}, {at: [at] for at in range(3 * CHUNK)},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_comes_back_is_what_there_was(value: Any) -> None:
    RUN.clear()
    came = again(value)
    assert same(came, value)
    assert type(value) is Decimal or came == value, "there is a NaN that cannot be compared"
    assert RUN == [], "nothing of the user's is run"


def test_numbers_come_back_bit_by_bit() -> None:
    numbers = [-0.0, math.nan, -math.nan]
    assert [struct.pack("d", number) for number in again(numbers)] == [struct.pack("d", number) for number in numbers]
    assert [type(each) for each in again([True, 1, 1.0, Level.LOW])] == [bool, int, float, Level]


def test_an_order_is_kept_and_a_length() -> None:
    keys = random.Random(1).sample(range(10**6), 5000)
    assert [*again(dict.fromkeys(keys))] == keys
    assert again(deque([1], maxlen=3)).maxlen == 3
    assert again(defaultdict(list)).default_factory is list
    assert again(datetime(2026, 1, 1, fold=1)).fold == 1
    zone = again(datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))).tzinfo
    assert zone is ZoneInfo("Europe/Berlin")


def test_all_that_an_object_keeps_comes_back_and_no_more() -> None:
    account = Account("me")
    vars(account)["cache"] = {1: 2}
    del account.balance
    assert vars(again(account)) == {"owner": "me", "friend": None, "cache": {1: 2}}
    half = again(Half(1))
    assert (half.there, hasattr(half, "missing")) == (1, False)
    mixed = [Account("me") for _ in range(9)]
    vars(mixed[4])["cache"] = 1
    assert [vars(each) for each in again(mixed)] == [vars(each) for each in mixed]


def test_sets_are_equal_bytes_whatever_their_history() -> None:
    for kind in (int, Fraction):
        one, other = {kind(0), kind(8)}, {kind(8), kind(0)}
        assert [*one] != [*other], "they iterate as they were filled"
        assert encoded(one) == encoded(other)
        assert encoded(frozenset(one)) == encoded(frozenset(other))


def test_the_module_of_the_actor_may_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one replica runs `python counter.py`, and another imports it."""
    main = types.ModuleType("main_of_theirs")
    main.Account = type("Account", (), {"__module__": "main_of_theirs", "__annotations__": {"owner": str}})  # type: ignore[attr-defined]
    main.Account = dataclass(main.Account)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "main_of_theirs", main)
    data = encoded(Account("me"))
    assert b"test_state" not in data
    came = Decoder(Frames([data]), "main_of_theirs").value()
    assert type(came) is main.Account
    assert came.owner == "me"
    assert b"test_state:Account" in b"".join(Encoder("elsewhere").pieces(Account("me")))


# -- refusals ----------------------------------------------------------------------------------------------------------

SHARED: list[int] = []
ANOTHER = Account("shared")
CYCLE: list[Any] = []
CYCLE.append({"back": CYCLE})
OVERRIDE = "or override snapshot() and restore()"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Local:
    """Neither a dataclass nor anything else that is known."""


def local_dataclass() -> object:
    @dataclass
    class Inner:
        x: int

    return Inner(1)


REFUSED: list[tuple[Any, str]] = [
    (Local(), "self.it is a Local, which cannot be put in a snapshot; keep it out of the attributes, " + OVERRIDE),
    (threading.Lock(), "self.it is a lock, which cannot"),
    ({"x": [1, (2, Local())]}, "self.it['x'][1][1] is a Local"),
    ({Local: 1}, f"self.it (the key {Local!r}) is a type"),
    (Account("me", friend=Account("you", friend=print)), "self.it.friend.friend is a builtin_function_or_method"),
    ([Place(1, Local())], "self.it[0].y is a Local"),
    (Point(1, random.Random(1)), "self.it.y is a Random, which cannot"),
    ([Key(Local())] * 20, "self.it[0].name is a Local"),  # type: ignore[arg-type]
    ({"a": SHARED, "b": [SHARED]}, "self.it['b'][0] is reached twice, and would be two things when it is restored: "),
    ([ANOTHER] * 2, "self.it[0] is reached twice"),
    ([Account("b"), [*[Account("a") for _ in range(20)], ANOTHER, ANOTHER]], "self.it[1][20] is reached twice"),
    ([ANOTHER, [*[Account("a") for _ in range(20)], ANOTHER]], "self.it[1][20] is reached twice"),
    (CYCLE, "self.it[0]['back'] is reached twice"),
    ((SHARED, deque([SHARED])), "self.it[1][0] is reached twice"),
    ({(1, Key(Local()))}, "self.it cannot be put in a snapshot: an item of it[1].name is a Local"),  # type: ignore[arg-type]
    (nested(DEPTH_MAX + 1), f"[0] lies in more than {DEPTH_MAX} containers"),
    (defaultdict(lambda: 1), "self.it is a defaultdict of another default than int, float,"),
    (time(1, tzinfo=Odd()), "self.it has a tzinfo that cannot be put in a snapshot; use UTC or a zoneinfo"),
    (type("Text", (str,), {})("x"), "self.it is a Text, which cannot"),
    (Wrapped("x"), "self.it is a Wrapped, which cannot"),  # type: ignore[arg-type]
    (Checked(1), "self.it is a Checked, a Struct with a __post_init__; make it a dataclass"),
    (local_dataclass(), "self.it cannot be put in a snapshot: there is no class test_state.local_dataclass.<locals>."),
    ((each for each in ()), "self.it is a generator"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "told"), REFUSED, ids=[told[:40] for _, told in REFUSED])
def test_what_cannot_be_written_exactly_is_refused_by_its_name(value: Any, told: str) -> None:
    bank: Any = Bank()
    bank.it = value
    with pytest.raises(CannotCapture) as refused:
        check_capturable(bank)
    assert str(refused.value).startswith("Bank: self.it")
    assert told in str(refused.value)


def test_what_cannot_be_changed_may_be_reached_twice() -> None:
    key, pair = Key("k"), (1, 2)
    assert again([key, key, pair, pair, "text", "text"]) == [key, key, pair, pair, "text", "text"]


def test_the_depth_that_is_allowed_comes_back() -> None:
    value = nested(DEPTH_MAX)
    assert again(value) == value
    items: Any = 1
    for _ in range(DEPTH_MAX - 1):
        items = frozenset({(items,)}) if type(items) is int else frozenset({items})
    assert again(items) == items


# -- of an actor -------------------------------------------------------------------------------------------------------


class Cached(Actor):
    """Keeps what is no state, and so says itself what is."""

    def __init__(self) -> None:
        self.numbers = [1, 2]
        self.lock = threading.Lock()

    def snapshot(self) -> list[int]:
        return list(self.numbers)

    def restore(self, state: list[int]) -> None:
        self.numbers = state


def test_attributes_are_the_state_in_their_order() -> None:
    bank: Any = Bank()
    bank.b, bank.a = Account("me"), {3: 4}
    other: Any = Bank()
    other.extra = 1
    restore_state(other, encode_state(bank))
    assert list(vars(other).items()) == list(vars(bank).items())


def test_an_actor_may_say_itself_what_its_state_is() -> None:
    cached, other = Cached(), Cached()
    cached.numbers.append(3)
    check_capturable(cached)
    restore_state(other, encode_state(cached))
    assert other.numbers == [1, 2, 3]
    cached.numbers.append(Local())  # type: ignore[arg-type]
    with pytest.raises(CannotCapture, match=r"Cached: snapshot\(\)\[3\] is a Local"):
        check_capturable(cached)


def test_what_its_own_methods_raise_is_told() -> None:
    class Failing(Cached):
        def restore(self, state: list[int]) -> None:
            raise KeyError("x")

    with pytest.raises(CannotRestore, match=r"Failing.restore\(\) raised KeyError: 'x'"):
        restore_state(Failing(), encode_state(Failing()))
    cached: Any = Cached()
    del cached.numbers
    with pytest.raises(CannotCapture, match=r"Cached\.snapshot\(\) raised AttributeError"):
        check_capturable(cached)


def damaged(home: str = __name__, *, value: object = None, cut: int = 0) -> Exception:
    data = encoded(value)
    with pytest.raises(CannotRestore) as error:
        Decoder(Frames([data[: len(data) - cut]]), home).value()
    return error.value


def test_what_cannot_be_restored_is_told() -> None:
    assert "it ends early" in str(damaged(value=[1, 2], cut=1))
    assert "there is no class nowhere.Account" in str(damaged("nowhere", value=Account("me")))
    wrong = types.ModuleType("wrong_module")
    wrong.Account = Local  # type: ignore[attr-defined]
    sys.modules["wrong_module"] = wrong
    try:
        assert "Account was a dataclass, and is none here" in str(damaged("wrong_module", value=Account("me")))
    finally:
        del sys.modules["wrong_module"]
    with pytest.raises(CannotRestore, match="it is written in the format"):
        restore_state(Bank(), [encoded(7)])


def test_pieces_are_small_and_may_be_cut_anywhere() -> None:
    value = {str(at): [at, "x" * 50] for at in range(20_000)} | {"large": b"y" * 2_000_000}
    pieces = [*Encoder(__name__).pieces(value)]
    assert max(map(len, pieces)) < 2**20
    data, chance = b"".join(pieces), random.Random(1)
    cuts = sorted(chance.sample(range(len(data)), 500))
    cut = [data[at:to] for at, to in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert Decoder(Frames(cut), __name__).value() == value
