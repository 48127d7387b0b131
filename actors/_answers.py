"""What an ask came to, on its way between nodes: an answer, or an error of the same class and text."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, cast

from actors._interface import Method
from actors._plain import encode_plain
from actors._protocol.codec import DecodeError, convert, decode
from actors._protocol.errors import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    InvalidMessage,
    NoSuchActor,
    OutcomeUnknown,
    Overloaded,
    Refused,
    TooLarge,
)
from actors._refusals import open_refusal, tellings

REFUSAL_SIZE_MAX: Final = 2**23
"""Bytes of a refusal's arguments: what takes more is told without them."""
TEXT_LENGTH_MAX: Final = 1_000
"""Characters of an error's text."""


class Code(IntEnum):
    """The first value of an encoded outcome."""

    ANSWER = 0
    REFUSED = 1
    INVALID = 2
    MISSING = 3
    STOPPED = 4
    OVERLOADED = 5
    CRASHED = 6
    UNKNOWN = 7
    CYCLE = 8


_TEXTS: Final[Mapping[Code, type[Exception]]] = {
    Code.INVALID: InvalidMessage,
    Code.MISSING: NoSuchActor,
    Code.STOPPED: ActorStopped,
    Code.OVERLOADED: Overloaded,
    Code.CRASHED: ActorCrashed,
    Code.UNKNOWN: OutcomeUnknown,
}
_ANSWER: Final = bytes((0x82, Code.ANSWER))  # the CBOR array [ANSWER, answer], the answer's bytes to follow


def pack_answer(method: Method, answer: object) -> bytes:
    """Of a method that went through. `TypeError` if it is not what the method declares: a bug in its class."""
    return _ANSWER + method.pack_answer(answer)


def pack_error(method: Method | None, error: Exception) -> bytes:
    """What is raised at the asker."""
    if isinstance(error, AskCycle):
        return encode_plain([Code.CYCLE.value, list(error.chain)])
    if isinstance(error, Refused) and method is not None:
        for parts in tellings(method, error):
            try:
                packed = encode_plain([Code.REFUSED.value, *parts])
            except ValueError:  # one value too many by the first
                continue
            if len(packed) <= REFUSAL_SIZE_MAX:
                return packed
    code = next((code for code, kind in _TEXTS.items() if isinstance(error, kind)), Code.UNKNOWN)
    text = str(error)[:TEXT_LENGTH_MAX].encode(errors="replace").decode()
    return encode_plain([code.value, text])


def carry_refusal(method: Method, refusal: Refused, wanted: Method) -> Exception:
    """What an asker next door gets, who asked for `wanted`: as it comes from another node, and nothing in it is the
    actor's own."""
    return _error(wanted, cast("list[object]", decode(pack_error(method, refusal))))


def unpack(method: Method, outcome: list[object], here: object) -> object:
    """The answer of `method`, or raises what came of it. `DecodeError` if it is neither. here: see `from_plain`."""
    if len(outcome) == 2 and outcome[0] == Code.ANSWER and type(outcome[0]) is int:
        return method.open_answer(outcome[1], here)
    raise _error(method, outcome)


def _error(method: Method, plain: list[object]) -> Exception:
    match plain:
        case [Code.REFUSED, *told]:
            return open_refusal(method, told)
        case [Code.CYCLE, list()]:
            return AskCycle(convert(plain[1], list[str]))
        case [int(code), str(text)] if code in _TEXTS:
            return _TEXTS[Code(code)](text)
        case _:
            return DecodeError(f"{method.label}: an outcome of an unknown kind")


def unreadable(method: Method, address: str, error: DecodeError) -> OutcomeUnknown:
    """It was handled, and its answer is none of the asker's class."""
    return OutcomeUnknown(
        f"{method.label} of {address} was handled, but its answer is not what the asker's class declares ({error}): is "
        "the class there another one, or another version?"
    )


def too_large(method: Method | None, error: TooLarge) -> OutcomeUnknown:
    """It was handled, and the answer finds no way back."""
    label = "it" if method is None else method.label
    return OutcomeUnknown(f"{label} was handled, but {error}")
