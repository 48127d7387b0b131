"""Outcomes as they are stored and travel: what a command came to, packed where it ran and unpacked for its asker.

Packed is only what is agreed: a class by its name, a refusal's arguments, and no text that may differ between nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeGuard, cast

import outcome

from actors._interface import Method
from actors._plain import encode_plain
from actors._protocol.codec import DecodeError, decode
from actors._protocol.errors import (
    ActorCrashed,
    InvalidMessage,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Rejected,
    TooLarge,
)
from actors._refusals import open_refusal, tellings
from broadcast._crashes import name_of
from broadcast._errors import AnswerNotKept
from broadcast._protocol.sessions import Outcome

ANSWER_SIZE_MAX = 8 * 1024 * 1024  # bytes of one answer: agreed, so that every replica draws the line at the same place

VOID: Final = encode_plain([Outcome.VOID.value])
INVALID: Final = encode_plain([Outcome.INVALID.value])
NOT_KEPT: Final = encode_plain([Outcome.APPLIED.value])
"""It was applied, and what it answered was told once and not kept (rule 22)."""
ANSWERED: Final = bytes((0x82, Outcome.APPLIED))
"""How an answer begins: the CBOR array [APPLIED, answer], the answer's bytes to follow."""


def pack_answer(method: Method, answer: object) -> bytes:
    """Of a method that went through. Raises `TooLarge` if its answer is, `TypeError` if it is another: its bug."""
    packed = method.pack_answer(answer)
    if len(packed) > ANSWER_SIZE_MAX:
        raise TooLarge(f"the answer of {method.label}", len(packed), ANSWER_SIZE_MAX)
    return ANSWERED + packed


def pack_refusal(method: Method, refusal: Refused) -> bytes:
    """With its arguments, and with what it was made with where that is something else, if they can travel.

    Raises `TooLarge` if not even the name of its class can.
    """
    size = 0
    for parts in tellings(method, refusal):
        packed = encode_plain([Outcome.REFUSED.value, *parts])
        size = len(packed)
        if size <= ANSWER_SIZE_MAX:
            return packed
    raise TooLarge(f"the refusal of {method.label}", size, ANSWER_SIZE_MAX)


def pack_crash(error: BaseException) -> bytes:
    return encode_plain([Outcome.CRASHED.value, name_of(error)])


_UNDOS, _UNDOS_OF_ALL = "undos", "undos of all"
_WHOSE = {_UNDOS: "this session", _UNDOS_OF_ALL: "all sessions together"}


def pack_overload(size: int) -> bytes:
    """`size`: bytes of the answers that stand in its way."""
    return encode_plain([Outcome.OVERLOADED.value, size])


def pack_no_room(count: int, size: int) -> bytes:
    """For a command's effects: so many wait already, of so many bytes."""
    return encode_plain([Outcome.OVERLOADED.value, count, size])


def pack_wait(wait: int, *, of_all: bool = False) -> bytes:
    """For a command that was not run, since too many of its kind had to be undone: for so many microseconds.

    of_all: they were not this session's alone.
    """
    return encode_plain([Outcome.OVERLOADED.value, _UNDOS_OF_ALL if of_all else _UNDOS, wait])


def unpack_outcome(method: Method, data: bytes) -> object:
    """The answer of `method`, or raises what came of it: `Refused`, `ActorCrashed`, `InvalidMessage`, `Overloaded`.

    `AnswerNotKept` where it was applied, and was to answer something that is not there any more.
    """
    if data.startswith(ANSWERED):
        return method.unpack_answer(data[2:])
    if data == NOT_KEPT:
        if method.answers_nothing:
            return None
        raise AnswerNotKept(method.label)
    raise _error(method, cast("list[object]", decode(data)))


def open_outcome(method: Method, data: bytes) -> object:
    """See `unpack_outcome`. Raises `OutcomeUnknown` for an answer that this program's class does not give."""
    try:
        return unpack_outcome(method, data)
    except DecodeError as error:
        raise OutcomeUnknown(
            f"{method.label} was run, and its answer is not what this program's class declares ({error}): is the class "
            "of the replicas another version?"
        ) from error


def open_outcomes(
    method: Method, results: Sequence[bytes | BaseException]
) -> list[outcome.Value[object] | outcome.Error]:
    """`open_outcome` of each, for who unwraps it; an error stays what it is. Scalars are opened all in one go."""
    if _are_answers(results):
        answers = method.unpack_scalars([data[len(ANSWERED) :] for data in results])
        if answers is not None:
            return [*map(outcome.Value, answers)]
    return [_opened(method, each) for each in results]


def _are_answers(results: Sequence[bytes | BaseException]) -> TypeGuard[Sequence[bytes]]:
    for each in results:  # noqa: SIM110 - all(...) takes twice as long
        if not isinstance(each, bytes) or not each.startswith(ANSWERED):
            return False
    return True


def _opened(method: Method, result: bytes | BaseException) -> outcome.Value[object] | outcome.Error:
    if isinstance(result, BaseException):
        return outcome.Error(result)
    try:
        return outcome.Value(open_outcome(method, result))
    except Exception as error:  # what came of it
        return outcome.Error(error)


def _error(method: Method, parts: list[object]) -> Exception:
    match parts:
        case [Outcome.REFUSED, *told]:
            return open_refusal(method, told)
        case [Outcome.CRASHED, str(name)]:
            return _crash(method, name)
        case [Outcome.INVALID]:
            return InvalidMessage(
                f"{method.label}: the replicas do not accept this message; is their class another version than ours, "
                "or the version that this came with not in force yet?"
            )
        case [Outcome.VOID]:
            return Rejected(f"{method.label}: given up before it was sent")
        case [Outcome.OVERLOADED, int(size)]:
            return Overloaded(
                f"{method.label} was not applied: the answers of this session that were not acknowledged take "
                f"{size} bytes; wait for answers before asking for more, or ask for less at a time"
            )
        case [Outcome.OVERLOADED, str(undos), int(wait)] if undos in _WHOSE:
            return Overloaded(
                f"{method.label} was not run, and nothing of it applied: of {_WHOSE[undos]}, too many commands crashed "
                "or left too much behind, this method's among them, and each had to be undone on every replica. It is "
                f"run again in {wait / 1_000_000:.3g} seconds at the earliest; mend what crashes (Limits.undos_max and "
                "undo_interval bound it)"
            )
        case [Outcome.OVERLOADED, int(count), int(size)]:
            return Overloaded(
                f"{method.label} was not applied: it would leave too much behind (context.after, context.tell), where "
                f"{count} messages of {size} bytes wait to be due already. Wait until some were, leave less behind, or "
                "have the group formed with larger limits (effects_max, effects_size)"
            )
        case _:
            return DecodeError(f"{method.label}: an outcome of an unknown kind: {parts!r}")


def _crash(method: Method, name: str) -> ActorCrashed:
    text = f"{method.label} raised {name}: a bug in its class"
    if name == TooLarge.__name__:
        text += f" (an answer may take {ANSWER_SIZE_MAX} bytes; give a larger one in parts)"
    if method.kind == "command":
        text += "; whatever the command had changed was undone"
    return ActorCrashed(text)
