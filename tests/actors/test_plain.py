"""Values to their plain form and back."""

from __future__ import annotations

import collections
import dataclasses
import enum
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._plain import DEPTH_MAX, encode_plain, from_plain, to_plain
from actors._protocol.codec import COUNT_MAX, decode, encode
from actors._protocol.errors import InvalidMessage

INTS = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text()  # never holds surrogates unless asked to


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0
    tags: frozenset[str] = frozenset()


class Tagged(msgspec.Struct, frozen=True, tag="tagged"):
    name: str = msgspec.field(name="n")
    points: dict[str, Point] = {}
    note: str | msgspec.UnsetType = msgspec.UNSET


class Pair(msgspec.Struct, frozen=True, array_like=True, tag=True):
    first: Colour
    second: set[int]


class Named(NamedTuple):
    who: str
    when: datetime


class Node(msgspec.Struct):
    children: list[Node]


POINTS = st.builds(Point, INTS, st.floats(allow_nan=False), st.frozensets(TEXT))
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# fold is of no meaning without a time zone that has it, and is no part of equality
MOMENTS = st.datetimes(timezones=st.none() | OFFSETS).map(lambda moment: moment.replace(fold=0))
TIMES = st.times(timezones=st.none() | OFFSETS).map(lambda moment: moment.replace(fold=0))

ROUND_TRIPS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (type(None), st.none()),
    (bool, st.booleans()),
    (int, INTS),
    (float, st.floats(allow_nan=False)),
    (str, TEXT),
    (bytes, st.binary()),
    (datetime, MOMENTS),
    (date, st.dates()),
    (time, TIMES),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (list[int], st.lists(INTS)),
    (list[list[bytes]], st.lists(st.lists(st.binary()))),
    (tuple[int, str], st.tuples(INTS, TEXT)),
    (tuple[float, ...], st.lists(st.floats(allow_nan=False)).map(tuple)),
    (set[int], st.sets(INTS)),
    (frozenset[Colour], st.frozensets(st.sampled_from(Colour))),
    (set[tuple[int, str]], st.sets(st.tuples(INTS, TEXT))),
    (set[Point], st.sets(POINTS, max_size=3)),
    (dict[str, list[int]], st.dictionaries(TEXT, st.lists(INTS))),
    (dict[bytes, bool], st.dictionaries(st.binary(), st.booleans())),
    (dict[int, str], st.dictionaries(INTS, TEXT)),
    (dict[float, int], st.dictionaries(st.floats(allow_nan=False), INTS)),
    (dict[UUID, date], st.dictionaries(st.uuids(), st.dates())),
    (dict[Colour, int], st.dictionaries(st.sampled_from(Colour), INTS)),
    (dict[Level, int], st.dictionaries(st.sampled_from(Level), INTS)),
    (dict[date, int], st.dictionaries(st.dates(), INTS)),
    (dict[datetime, int], st.dictionaries(MOMENTS, INTS)),
    (dict[timedelta, int], st.dictionaries(st.timedeltas(), INTS)),
    (dict[Decimal, int], st.dictionaries(st.decimals(allow_nan=False), INTS)),
    (Point, POINTS),
    (Tagged, st.builds(Tagged, TEXT, st.dictionaries(TEXT, POINTS, max_size=3), TEXT | st.just(msgspec.UNSET))),
    (Pair, st.builds(Pair, st.sampled_from(Colour), st.sets(INTS))),
    (Named, st.builds(Named, TEXT, MOMENTS)),
    (int | None, st.none() | INTS),
    (Point | None, st.none() | POINTS),
    (list[int | str], st.lists(INTS | TEXT)),
]


@pytest.mark.parametrize(("annotation", "values"), ROUND_TRIPS, ids=[str(annotation) for annotation, _ in ROUND_TRIPS])
@given(data=st.data())
def test_what_is_sent_arrives(annotation: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    value = data.draw(values)
    sent = encode_plain(to_plain(value))
    arrived = from_plain(decode(sent), annotation)
    assert arrived == value
    assert type(arrived) is type(value)
    assert repr(arrived) == repr(value) or isinstance(value, (set, frozenset, Point, Tagged, Pair, Named, datetime))


@given(data=st.data())
def test_the_plain_form_is_plain(data: st.DataObject) -> None:
    plain = to_plain(data.draw(st.one_of([values for _, values in ROUND_TRIPS])))
    assert encode(plain) == encode_plain(plain)
    assert to_plain(plain) == plain


def test_the_plain_form_of_each_kind() -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
    for value, plain in [
        ((1, "a", (2,)), [1, "a", [2]]),
        (Point(1, 2.0, frozenset("a")), {"x": 1, "y": 2.0, "tags": ["a"]}),
        (Tagged("t"), {"type": "tagged", "n": "t", "points": {}}),
        (Pair(Colour.RED, {1}), ["Pair", "red", [1]]),
        (Named("x", moment), ["x", "2024-05-06T07:08:09.000010Z"]),
        ({1: Level.HIGH, b"a": None, "b": Decimal("1.50")}, {"1": 2, b"a": None, "b": "1.50"}),
        (collections.OrderedDict(a=[True]), {"a": [True]}),
        (collections.defaultdict(int, a=1), {"a": 1}),
    ]:
        assert to_plain(value) == plain


def test_subclasses_of_scalars_travel_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    class Whole(int): ...

    class Real(float): ...

    class Raw(bytes): ...

    for value, kind in ((Text("a"), str), (Whole(1), int), (Real(1.5), float), (Raw(b"a"), bytes)):
        plain = to_plain([value, [value]])
        assert plain == [value, [value]]
        assert isinstance(plain, list)
        assert type(plain[0]) is kind  # type: ignore[unused-ignore]


class LyingInt(int):
    """Says of itself what is not so."""

    def __int__(self) -> int:
        return 2**80

    __index__ = __int__

    def __ge__(self, other: int) -> bool:
        return True

    __le__ = __ge__


class LyingFloat(float):
    def __float__(self) -> float:
        return LyingFloat(7)


class LyingBytes(bytes):
    def __bytes__(self) -> bytes:
        return LyingBytes(b"another")


class LyingList(list[object]):
    """Gives other items the second time."""

    gone_over = 0

    def __iter__(self) -> Iterator[object]:
        self.gone_over += 1
        return iter([1.0, "a"] if self.gone_over == 1 else [2**80, object()])


class LyingDict(dict[object, object]):
    def items(self) -> Any:
        return [(2**62, 1.0), ("a", "b")]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (LyingInt(1), 1),
        (LyingFloat(1.5), 1.5),
        (LyingBytes(b"a"), b"a"),
        (LyingList([0]), [1.0, "a"]),
        (LyingDict({"a": 0}), {str(2**62): 1.0, "a": "b"}),
        ({LyingBytes(b"a"): 1, LyingInt(2): 2}, {b"a": 1, "2": 2}),
    ],
)
def test_what_was_looked_at_is_what_is_sent(value: object, plain: object) -> None:
    """Whatever a class says of itself: what `to_plain` gives can be encoded, and decoded again."""
    found = to_plain([value])
    assert found == [plain]
    assert isinstance(found, list)
    assert type(found[0]) is type(plain)  # type: ignore[unused-ignore]
    assert decode(encode(found)) == decode(encode_plain(found)) == [plain]


def test_an_int_that_says_that_it_is_small_is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"value: 71 bits, and an int may have 63 and a sign"):
        to_plain(LyingInt(2**70))


def test_the_plain_form_shares_no_container_with_the_value() -> None:
    value: dict[str, Any] = {"a": [1], "b": {"c": ["x"]}}
    plain: Any = to_plain(value)
    value["a"].append(2)
    value["b"]["c"].append("y")
    assert plain == {"a": [1], "b": {"c": ["x"]}}


@given(st.dictionaries(TEXT, INTS))
def test_the_order_of_a_dict_is_kept(value: dict[str, int]) -> None:
    arrived = from_plain(decode(encode_plain(to_plain(value))), dict[str, int])
    assert list(arrived.items()) == list(value.items())


@given(st.lists(INTS | TEXT | st.binary() | st.booleans() | st.none()))
def test_a_set_is_sorted_by_its_encoded_items(items: list[object]) -> None:
    different = set(items)
    assert to_plain(different) == to_plain(frozenset(different)) == sorted(different, key=encode)


def test_a_set_is_the_same_in_all_processes() -> None:
    program = (
        "from actors._plain import encode_plain, to_plain\n"
        "print(encode_plain(to_plain([{'one', 'two', 'three', 'four'}, {frozenset('abc'), frozenset('xyz')}])).hex())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1


# -- what is refused ----------------------------------------------------------------------------------------------


def nested(depth: int, wrap: Callable[[object], object]) -> object:
    value: object = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: list[Callable[[object], object]] = [
    lambda value: [value],
    lambda value: (value, value),
    lambda value: {"a": value},
    lambda value: frozenset((value,)),
    lambda value: [0, value],
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_depth_is_bounded(wrap: Callable[[object], object]) -> None:
    encode_plain(to_plain(nested(DEPTH_MAX, wrap)))
    with pytest.raises(InvalidMessage, match=r"more than 12 containers inside one another"):
        to_plain(nested(DEPTH_MAX + 1, wrap))


def test_the_bound_on_depth_counts_empty_containers_too() -> None:
    to_plain(nested(DEPTH_MAX - 1, lambda value: [value] if value != 1 else [[]]))
    empties: list[object] = [[], {}, set(), ()]
    for empty in empties:
        with pytest.raises(InvalidMessage, match=r"more than 12"):
            to_plain([[[[[[[[[[[[empty]]]]]]]]]]]])


def test_cycles_are_refused() -> None:
    items: list[object] = []
    items.append(items)
    keys: dict[str, object] = {}
    keys["self"] = keys
    node = Node([])
    node.children.append(node)
    for cycle in (items, keys, node):
        with pytest.raises(InvalidMessage, match=r"more than 12 containers inside one another"):
            to_plain(cycle)


@pytest.mark.parametrize("whole", [2**63, -(2**63) - 1, 2**64, 10**40])
def test_ints_beyond_64_bits_are_refused(whole: int) -> None:
    with pytest.raises(InvalidMessage, match=r"value: \d+ bits, and an int may have 63 and a sign"):
        to_plain(whole)
    with pytest.raises(InvalidMessage, match=r"value\[1\]\[0\]: \d+ bits"):
        to_plain([0, (whole,)])
    with pytest.raises(InvalidMessage, match=r"value\['2'\]: \d+ bits"):
        to_plain({2: whole})
    with pytest.raises(InvalidMessage, match=r"\d+ bits"):
        to_plain({whole: 2})


@pytest.mark.parametrize(
    "unknown", [object(), 1j, int, len, bytearray(b"a"), memoryview(b"a"), range(3), iter([]), ValueError("x")]
)
def test_an_unknown_type_is_refused_by_its_name_and_path(unknown: object) -> None:
    name = type(unknown).__qualname__
    with pytest.raises(InvalidMessage, match=rf"^amount: a {name} cannot be sent"):
        to_plain(unknown, "amount")
    with pytest.raises(InvalidMessage, match=rf"^value\[1\]\['a'\]\[0\]: a {name} cannot be sent"):
        to_plain([0, {"a": (unknown,)}])
    with pytest.raises(InvalidMessage, match=rf"^value\['points'\]\['p'\]\['x'\]: a {name} cannot be sent"):
        to_plain(Tagged("t", {"p": Point(unknown)}))  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("key", [True, None, (1, 2), frozenset("a"), Point(1)])
def test_a_key_that_is_no_text_is_refused(key: object) -> None:
    with pytest.raises(InvalidMessage, match=rf"a {type(key).__qualname__} cannot be a key"):
        to_plain({key: 1})


def test_keys_that_become_one_are_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"two of its keys have the same text"):
        to_plain({1: "a", "1": "b"})


def test_an_enum_that_is_no_text_or_int_travels_if_its_value_does() -> None:
    class Odd(enum.Enum):
        PAIR = (1, 2)
        THING = object()

    assert to_plain(Odd.PAIR) == [1, 2]
    with pytest.raises(InvalidMessage, match=r"value\[<Odd.PAIR: .*: a .*Odd that is a container cannot be a key"):
        to_plain({Odd.PAIR: 1})
    with pytest.raises(InvalidMessage, match=r"value: "):
        to_plain(Odd.THING)


def test_an_offset_with_seconds_keeps_the_instant() -> None:
    odd = timezone(timedelta(minutes=19, seconds=32))
    moment = datetime(1937, 1, 1, 12, tzinfo=odd)
    assert from_plain(to_plain(moment), datetime) == moment
    with pytest.raises(InvalidMessage, match=r"its offset from UTC has seconds"):
        to_plain(time(12, tzinfo=odd))
    with pytest.raises(InvalidMessage, match=r"value\[0\]: its offset from UTC has seconds, and in UTC it is beyond"):
        to_plain([datetime.min.replace(tzinfo=odd)])


def test_half_a_surrogate_pair_is_refused_when_encoded() -> None:
    with pytest.raises(ValueError, match="half a surrogate pair"):
        encode_plain(to_plain("\ud800"))
    with pytest.raises(InvalidMessage, match="half a surrogate pair"):
        to_plain({"\ud800"})


def test_more_values_than_can_be_decoded_are_refused_when_encoded() -> None:
    decode(encode_plain([0] * (COUNT_MAX - 1)))
    with pytest.raises(ValueError, match=f"more than {COUNT_MAX} values"):
        encode_plain([0] * COUNT_MAX)


# -- nothing is guessed -------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Positive:
    amount: int

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise ValueError("must be positive - at `once")
        if self.amount == 13:
            raise KeyError("unlucky")


@pytest.mark.parametrize(
    ("plain", "annotation", "text"),
    [
        ("1", int, "value: Expected `int`, got `str`"),
        (1, str, "value: Expected `str`, got `int`"),
        (True, int, "value: Expected `int`, got `bool`"),
        (1, bool, "value: Expected `bool`, got `int`"),
        (1.0, int, "value: Expected `int`, got `float`"),
        ("YQ==", bytes, "value: Expected `bytes`, got `str`"),
        (b"a", str, "value: Expected `str`, got `bytes`"),
        (None, int, "value: Expected `int`, got `null`"),
        ([1, "a"], list[int], "value[1]: Expected `int`, got `str`"),
        ({"x": 1, "y": "a"}, Point, "value.y: Expected `float`, got `str`"),
        ({"a": 1}, dict[int, int], "value: Expected `int`, got `str` as a key"),
        ([{"a": 1}], list[dict[int, int]], "value[0]: Expected `int`, got `str` as a key"),
        ("green", Colour, "value: Invalid enum value 'green'"),
        (5, Annotated[int, msgspec.Meta(ge=6)], "value: Expected `int` >= 6"),
        ([{"amount": 0}], list[Positive], "value[0]: must be positive - at `once"),
        ([{"amount": 13}], list[Positive], "value: KeyError: 'unlucky'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(plain: object, annotation: Any, text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        from_plain(plain, annotation)
    assert str(caught.value) == text


def test_an_int_is_a_float() -> None:
    assert repr(from_plain(1, float)) == "1.0"


def test_exhaustion_is_not_taken_for_a_mistake() -> None:

    @dataclasses.dataclass
    class Heavy:
        error: int

        def __post_init__(self) -> None:
            raise (MemoryError, RecursionError)[self.error]

    for number, error in enumerate((MemoryError, RecursionError)):
        with pytest.raises(error):
            from_plain({"error": number}, Heavy)
