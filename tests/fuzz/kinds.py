"""Valid frames of every kind of message, as trees: from the types of the messages, and of a group's everyday life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec
from msgspec import inspect
from test_every_message import EPOCH, MESSAGES, RELATIONS
from test_replica_steps import CLUSTER, batch, disk
from trees import Nested, opened

from actors._post import ADDRESS
from actors._protocol.codec import INTEGER_MAX, INTEGER_MIN
from actors._protocol.envelope import Hello, LinkMessage, Part, Ping, Pong, Ready, Refusal
from actors._protocol.parcels import Answered, Asked, Ended, Parcel, Stopped, Told, Watched, Withdrawn
from broadcast._protocol.entries import Commands, Entry
from broadcast._protocol.following import Follow, Unfollow
from broadcast._protocol.messages import Append, AppendReply, Committed, GroupMessage, Message
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.visits import Enter, FromClient, GiveUp, Offer, Read, StatusAsked, ToClient

GROUP, ACTOR, CLIENT, PEER = "local", "bag", "me", "p"
MEMBERS = "abc"

Make = Callable[[Random], Any]
"""Something new that fits, each time."""

NAMES = ("a", "b", "c", "d", CLIENT, PEER, ACTOR, GROUP)
TEXTS = (*NAMES, "", "x", "a b", "p/bag", "a/bag", "127.0.0.1:7101", "\u2603", "y" * 100)
CALLS: tuple[list[object], ...] = (
    *(["put", [1]], ["put", [2, 3]], ["count"], ["put", [1], 2], ["put", "x"]),
    *(["_private"], ["__init__"], ["lifespan"]),
)


def _mostly(name: str) -> Make:
    return lambda random: name if random.random() < 0.8 else random.choice(NAMES)


def _commands(random: Random) -> list[object]:
    """As many as it says, in one of the sessions that may be open, and with a number that may be the next."""
    calls = [_call(random) for _ in range(random.choice((1, 1, 2, 3)))]
    session, number = random.randrange(1, 40), random.choice((1, 1, 1, 2, 3, 5, 50))
    return ["run", session, number, len(calls), random.randrange(number), random.randrange(3), 1, Nested(calls)]


def _call(random: Random) -> list[object]:
    tag, *arguments = random.choice(CALLS)
    return [tag, *(list(each) if isinstance(each, list) else each for each in arguments)]


def _outcome(random: Random) -> list[object]:
    return [random.randrange(-1, 10), random.choice((1, "x", ["x"], None))]


def _entries(random: Random) -> Nested:
    return Nested([_ENTRY(random) for _ in range(random.choice((1, 1, 2, 3)))])


WITHIN: Mapping[tuple[str, str], Make] = {
    ("Batch", "entries"): _entries,
    ("SessionAsked", "owner"): _mostly(CLIENT),
    **{(kind, "actor"): _mostly(ACTOR) for kind in ("Asked", "Told", "Stopped", "Watched")},
    ("Query", "call"): lambda random: Nested(_call(random)),
    ("Ordered", "call"): lambda random: Nested(_call(random)),
    ("Asked", "call"): _call,
    ("Told", "call"): _call,
    ("Answered", "outcome"): _outcome,
    ("Part", "left"): lambda random: random.choice((0, 1, 2, 40, 2**16, 2**62)),
    ("Part", "body"): lambda random: random.randbytes(random.choice((0, 1, 1, 2, 40))),
}
"""What stands in bytes that are opened later, and what has to be of use for more to come of the rest."""


def maker(kind: Any) -> Make:
    """Makes the plain form of what `msgspec.convert(..., kind)` takes."""
    return _maker(inspect.type_info(kind))


def _maker(info: inspect.Type) -> Make:
    match info:
        case inspect.NoneType():
            return lambda random: None
        case inspect.BoolType():
            return lambda random: random.random() < 0.5
        case inspect.IntType():
            return _whole(INTEGER_MIN if info.ge is None else info.ge, INTEGER_MAX if info.le is None else info.le)
        case inspect.StrType(pattern=str(pattern)) if "|" in pattern:
            words = pattern.removeprefix(r"\A(").removesuffix(r")\Z").split("|")
            return lambda random: random.choice(words)
        case inspect.StrType(pattern=str()):
            return lambda random: random.choice(NAMES)
        case inspect.StrType():
            least, most = info.min_length or 0, info.max_length or 100
            fitting = [text for text in TEXTS if least <= len(text) <= most]
            return lambda random: random.choice(NAMES if random.random() < 0.7 and least < 2 else fitting)
        case inspect.BytesType(min_length=16):
            return lambda random: random.choice((disk("a"), disk("b"), disk("c"), CLUSTER, b"n" * 16))
        case inspect.BytesType():
            return lambda random: random.choice((CLUSTER, disk("b"), disk("c"), b"", b"\xf6", b"\x81\x00"))
        case inspect.ListType() | inspect.VarTupleType():
            return _many(_maker(info.item_type), info.min_length or 0)
        case inspect.TupleType():
            return _all([_maker(item) for item in info.item_types])
        case inspect.DictType():
            key, value = _maker(info.key_type), _maker(info.value_type)
            return lambda random: {key(random): value(random) for _ in range(random.randrange(3))}
        case inspect.EnumType():
            values = [member.value for member in info.cls]
            return lambda random: random.choice(values)
        case inspect.UnionType():
            return _one_of([_maker(each) for each in info.types])
        case inspect.StructType():
            return _struct(info)
        case _:
            raise TypeError(f"no values of {info}")


def _whole(least: int, most: int) -> Make:
    small = [number for number in range(EPOCH + 3) if least <= number <= most] or [least]
    bounds = least, most, min(most, least + 1), max(least, most - 1)

    def make(random: Random) -> int:
        where = random.random()
        return random.choice(small if where < 0.8 else bounds) if where < 0.9 else random.randint(least, most)

    return make


def _many(item: Make, least: int) -> Make:
    return lambda random: [item(random) for _ in range(max(least, random.choice((0, 1, 1, 2, 3))))]


def _all(items: list[Make]) -> Make:
    return lambda random: [item(random) for item in items]


def _one_of(makes: list[Make]) -> Make:
    return lambda random: random.choice(makes)(random)


def _struct(info: inspect.StructType) -> Make:
    if info.cls is Commands:
        return _commands
    name = info.cls.__name__
    fields = [WITHIN.get((name, field.name)) or _maker(field.type) for field in info.fields]
    tag = [] if info.tag is None else [info.tag]
    return lambda random: [*tag, *(field(random) for field in fields)]


_ENTRY = maker(Entry)

# -- everyday life ---------------------------------------------------------------------------------------------------

_EVERY: tuple[Callable[[int], Message], ...] = tuple(MESSAGES.values())


def _append(random: Random) -> Append:
    """Batches that may follow what is there: the logs of the replicas are short."""
    epoch, first = random.choice((EPOCH - 2, EPOCH, EPOCH, EPOCH, EPOCH + 2)), random.randrange(1, 6)
    before = random.choice((epoch, epoch, epoch - 1)) if first > 1 else 0
    previous, batches = Position(before, first - 1), list[Batch]()
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        batches.append(batch(epoch, first, random.choice((1, 1, 2, 3)), before))
        first, before = batches[-1].last + 1, epoch
    return Append(epoch, previous, tuple(batches), random.randrange(first + 1))


def _append_reply(random: Random) -> AppendReply:
    places = random.choice(((None, None), (None, None), (random.randrange(4), random.randrange(1, 4))))
    return AppendReply(EPOCH, random.randrange(4), *places)


def _everyday(random: Random) -> object:
    sender, chance = disk(random.choice("bc")), random.random()
    message: Message
    if chance < 0.4:
        sender, message = disk("b"), _append(random)
    elif chance < 0.6:
        message = _append_reply(random)
    elif chance < 0.7:
        sender, message = disk("b"), Committed(EPOCH, random.randrange(8))
    else:
        message = random.choice(_EVERY)(EPOCH + random.choice(tuple(RELATIONS.values())))
    return opened(msgspec.to_builtins(GroupMessage(CLUSTER, sender, message), builtin_types=(bytes,)))


class Kind(msgspec.Struct, frozen=True):
    """Messages that are meant for one place. to, tag: of their envelopes; None for those of a link itself."""

    to: str | None
    tag: str
    make: Make


def _group_message(random: Random) -> list[object]:
    return [CLUSTER, random.choice((disk("b"), disk("c"))), _MESSAGE(random)]


_MESSAGE = _one_of([maker(kind) for kind in MESSAGES])


def _kinds(*types: type[msgspec.Struct]) -> Make:
    return _one_of([maker(kind) for kind in types])


KINDS: Mapping[str, Kind] = {
    "link": Kind(None, "", _kinds(Hello, Ready, Refusal, Ping, Pong, Part)),
    "member": Kind("bank", "replica", _group_message),
    "member, everyday": Kind("bank", "replica", _everyday),
    "client": Kind(GROUP, "group", _kinds(Enter, StatusAsked, Read, GiveUp, Follow, Follow, Unfollow, *[Offer] * 6)),
    "to a client": Kind("to a client", "group", maker(ToClient)),
    "actors": Kind(ADDRESS, "actors", _kinds(Asked, Told, Withdrawn, Stopped, Watched, Answered, Ended, Asked, Told)),
}

COVERED = {"link": LinkMessage, "member": Message, "client": FromClient, "to a client": ToClient, "actors": Parcel}
"""The unions whose every kind has to be among what is made."""
