"""Values to CBOR (RFC 8949) and back: plain values only; nothing on the wire builds more (rule 30, P31).

Plain: None, bool, int within 64 bits signed, float, str, bytes, list, and dict with str or bytes as keys.
Integer keys are refused with all others: they can be chosen so that they collide, and a map of them costs
quadratic time. What a type really means is said one layer up, by `msgspec` types;
here only the shape is checked:

* size before anything is opened, number of values, depth;
* every semantic tag, known or unknown, is refused, shared references first: a few bytes of them stand for
  billions of items; so are undefined, simple values, indefinite lengths, duplicate keys, and bytes behind
  the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from types import NoneType
from typing import Generic, NoReturn, TypeVar, cast

import cbor2
import msgspec

from actors._protocol.errors import RemoteProtocolError, invariant
from actors._protocol.heads import ARRAY, head

SIZE_MAX = 2**24
"""Bytes of one encoded value, unless said otherwise."""
COUNT_MAX = 2**15
"""Values in one encoded value, itself and keys included, unless said otherwise. One byte can stand for an
empty list, which takes 56 and 0.4 microseconds: a limit on size alone would be none on memory and time."""
DEPTH_MAX = 16
"""Containers within containers."""
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

_LEAVES = frozenset({NoneType, bool, float, str, bytes})
_STRINGS = (2, 3)  # major types with a length of bytes behind the head
_WIDTHS = (0,) * 24 + (1, 2, 4, 8) + (0,) * 4  # of a head's argument, by its low five bits
_BYTES_AS_THEY_ARE = (bytes,)  # else msgspec writes them as base64, and takes base64 for them

T = TypeVar("T")


class DecodeError(RemoteProtocolError):
    """Bytes that are no plain value, or not one of the type that is wanted here."""


def _refuse_tag(value: object, immutable: bool, /) -> NoReturn:
    raise ValueError("semantic tags are refused")


class _EveryTag(dict[int, Callable[[object, bool], NoReturn]]):
    """Semantic decoders: whatever tag is looked up, the answer is to refuse it."""

    def __missing__(self, tag: int) -> Callable[[object, bool], NoReturn]:
        return _refuse_tag


_Decoder = partial(
    cbor2.CBORDecoder,
    semantic_decoders=_EveryTag(),
    max_depth=DEPTH_MAX,
    allow_indefinite=False,
    allow_duplicate_keys=False,
    strict_hashable_types=True,
)


_spare: list[tuple[BytesIO, cbor2.CBORDecoder]] = []
"""Decoders that wait for their next value, each with the stream that it reads: to make these costs more than to decode
a small value. Threads may parse side by side, and each takes one of its own; one that has raised is not put back."""


def encode(value: object) -> bytes:
    """The bytes of a plain value; a tuple is written as a list. Never gives what `decode` would refuse.

    Raises TypeError for what is not plain, ValueError for what is beyond the limits.
    """
    _check_plain(value, 0)
    try:
        data = cbor2.dumps(value)
    except UnicodeEncodeError as error:
        raise ValueError(f"a str with surrogates cannot be sent: {error}") from error
    check_count(data)
    return data


encode_again = cbor2.dumps
"""The bytes of what `decode` has given, under whatever limits; or of a scalar that is known to be one, and no str."""


def check_count(data: bytes) -> None:
    """Raises ValueError if there are more values in what was encoded than `decode` takes."""
    # Each value takes a byte at least: only what is large can hold too many.
    if len(data) > COUNT_MAX and not _holds_at_most(COUNT_MAX, data):
        raise ValueError(f"more than {COUNT_MAX} values in one")


def decode(data: bytes, size_max: int = SIZE_MAX, count_max: int = COUNT_MAX) -> object:
    """The plain value that `data` is, all of it. Raises DecodeError for anything else."""
    value = parse(data, size_max, count_max)
    check_plain(value)
    return value


def is_plain(value: object, depth: int = 0) -> bool:
    """Is what `parse` gave plain? depth: containers that it lies in."""
    try:
        _check_plain(value, depth)
    except (TypeError, ValueError):
        return False
    return True


def check_plain(value: object) -> None:
    """Raises DecodeError if what `parse` gave is not plain: leaves are not looked at by it."""
    try:
        _check_plain(value, 0)
    except (TypeError, ValueError) as error:
        raise DecodeError(str(error)) from error


def encode_struct(struct: msgspec.Struct) -> bytes:
    """The bytes of one of our own `array_like` structs, as `decode_struct` reads them."""
    return cbor2.dumps(msgspec.to_builtins(struct, builtin_types=_BYTES_AS_THEY_ARE))


def decode_struct(data: bytes, type: type[T], size_max: int = SIZE_MAX, count_max: int = COUNT_MAX) -> T:  # noqa: A002
    """The value of `type` that `data` is. Raises DecodeError, with the path, where it does not fit exactly.

    `type` should name a definite type for each part (nothing left as `object`), and the bounds of numbers. It is a
    class: where it is one of several, `OneOf` is ten times as fast as a union.
    """
    return convert(parse(data, size_max, count_max), type)


def convert(plain: object, type: type[T]) -> T:  # noqa: A002
    """A decoded value as `type`, nothing coerced. Raises DecodeError, with the path, if it does not fit."""
    try:
        return msgspec.convert(plain, type, builtin_types=_BYTES_AS_THEY_ARE)
    except msgspec.ValidationError as error:
        raise DecodeError(str(error)) from error


class OneOf(Generic[T]):
    """One of several tagged `array_like` structs: `OneOf[Message](Asked, Told)`. Made once, used for every message."""

    def __init__(self, *types: type[T]) -> None:
        self._types = {_tag_of(kind): kind for kind in types}
        invariant(len(self._types) == len(types), "kinds of messages have tags of their own", tags=list(self._types))

    def decode(self, data: bytes, size_max: int = SIZE_MAX, count_max: int = COUNT_MAX) -> T:
        """The struct that `data` is. Raises DecodeError, with the path, where it does not fit exactly."""
        return self.convert(parse(data, size_max, count_max))

    def convert(self, plain: object) -> T:
        """The struct that a decoded value is. Raises DecodeError, with the path, where it does not fit exactly."""
        items = cast("list[object]", plain) if type(plain) is list else []
        tag = items[0] if items else None
        kind = self._types.get(tag) if type(tag) is str else None
        if kind is None:
            raise DecodeError(f"a message of unknown kind: {tag[:40] if type(tag) is str else type(tag).__name__!r}")
        return convert(items, kind)


def _tag_of(type: type[object]) -> str:  # noqa: A002
    tag = type.__struct_config__.tag if issubclass(type, msgspec.Struct) else None
    invariant(isinstance(tag, str), "a kind of message is a struct with a tag", type=type)
    return cast(str, tag)


def join_array(items: Sequence[bytes]) -> bytes:
    """The array of values that are encoded already, without opening them."""
    return b"".join((head(ARRAY, len(items)), *items))


def parse(data: bytes, size_max: int = SIZE_MAX, count_max: int = COUNT_MAX) -> object:
    """One whole CBOR value, its structure checked; its leaves are for `convert` to check. Raises DecodeError."""
    if len(data) > size_max:
        raise DecodeError(f"{len(data)} bytes for one value, and {size_max} are allowed")
    # Each value takes a byte at least, so that ordinary messages need no counting.
    if len(data) > count_max and not _holds_at_most(count_max, data):
        raise DecodeError(f"more than {count_max} values in one")
    try:
        spare = _spare.pop()
    except IndexError:
        stream = BytesIO()
        spare = stream, _Decoder(stream)
    stream, decoder = spare
    BytesIO.__init__(stream, data)  # it shares what it is made of, and copies what is written to it
    try:
        value: object = decoder.decode()
    except cbor2.CBORError as error:
        raise DecodeError(f"{error}: {error.__cause__}" if error.__cause__ else str(error)) from error
    if stream.tell() != len(data):
        raise DecodeError(f"{len(data) - stream.tell()} bytes behind the value")
    BytesIO.__init__(stream, b"")  # or it would keep the data
    _spare.append(spare)
    return value


def _check_plain(value: object, depth: int) -> None:
    """Raises TypeError or ValueError unless `value`, and all that it holds, is plain."""
    kind = type(value)
    if kind in _LEAVES:
        return
    if type(value) is int:
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise ValueError(f"{value} is beyond 64 bits")
    elif depth == DEPTH_MAX:
        raise ValueError(f"more than {DEPTH_MAX} containers within containers")
    elif kind is list or kind is tuple:
        for item in cast("Sequence[object]", value):
            # Most are small leaves: a call for each would cost more than all the rest of an encoding.
            if type(item) not in _LEAVES and (type(item) is not int or not INTEGER_MIN <= item <= INTEGER_MAX):
                _check_plain(item, depth + 1)
    elif kind is dict:
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str and type(key) is not bytes:
                raise TypeError(f"a map's key must be str or bytes, not {type(key).__name__}")
            _check_plain(item, depth + 1)
    else:
        raise TypeError(f"a {kind.__name__} is no plain value, and cannot be sent")


def _holds_at_most(count_max: int, data: bytes) -> bool:
    """Are there at most `count_max` values in `data`? Ill-formed heads are left for the decoder to find."""
    at, end = 0, len(data)
    for _ in range(count_max):
        if at >= end:
            return True
        major, width = data[at] >> 5, _WIDTHS[data[at] & 31]
        at += 1 + width
        if major in _STRINGS:
            at += int.from_bytes(data[at - width : at], "big") if width else data[at - 1] & 31
    return at >= end
