"""Outcomes as they are stored and travel: what a command came to, packed where it ran and unpacked for its asker.

Packed is only what is agreed: a class by its name, a refusal's arguments, and no text that may differ between nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

import msgspec

from actors._interface import Method
from actors._plain import encode_plain, to_plain
from actors._protocol.codec import DecodeError, convert, decode
from actors._protocol.errors import ActorCrashed, InvalidMessage, Overloaded, Refused, Rejected, TooLarge, made_with
from broadcast._protocol.sessions import Outcome

ANSWER_SIZE_MAX = 8 * 1024 * 1024  # bytes of one answer: agreed, so that every replica draws the line at the same place

VOID: Final = encode_plain([Outcome.VOID.value])
INVALID: Final = encode_plain([Outcome.INVALID.value])
_APPLIED = bytes((0x82, Outcome.APPLIED))  # the CBOR array [APPLIED, answer], the answer's bytes to follow


def pack_answer(method: Method, answer: object) -> bytes:
    """Of a method that went through. Raises `TooLarge` if its answer is, `TypeError` if it is another: its bug."""
    packed = method.pack_answer(answer)
    if len(packed) > ANSWER_SIZE_MAX:
        raise TooLarge(f"the answer of {method.label}", len(packed), ANSWER_SIZE_MAX)
    return _APPLIED + packed


def pack_refusal(method: Method, refusal: Refused) -> bytes:
    """With its arguments, and with what it was made with where that is something else, if they can travel."""
    name, arguments = _class_name(method, type(refusal)), list(refusal.args)
    given, keywords = made_with(refusal)
    same = not keywords and [*map(id, given)] == [*map(id, arguments)]
    for parts in ([arguments],) if same else ([arguments, list(given), dict(keywords)], [arguments]):
        try:
            packed = encode_plain([Outcome.REFUSED.value, name, *(to_plain(part, name) for part in parts)])
            if len(packed) <= ANSWER_SIZE_MAX:
                return packed
        except (Rejected, ValueError):
            pass
    nothing: list[object] = []
    return encode_plain([Outcome.REFUSED.value, name, nothing])


def _class_name(method: Method, kind: type[Refused]) -> str:
    """`module:Class`, where the module of the actor's class, which may be `__main__` for some only, has no name."""
    if kind is Refused:
        return kind.__qualname__
    module = "" if kind.__module__ in (method.module, "__main__") else kind.__module__
    return f"{module}:{kind.__qualname__}"


def pack_crash(error: BaseException) -> bytes:
    return encode_plain([Outcome.CRASHED.value, type(error).__qualname__])


def pack_overload(size: int) -> bytes:
    """`size`: bytes of the answers that stand in its way."""
    return encode_plain([Outcome.OVERLOADED.value, size])


def unpack_outcome(method: Method, data: bytes) -> object:
    """The answer of `method`, or raises what came of it: `Refused`, `ActorCrashed`, `InvalidMessage`, `Overloaded`."""
    if data.startswith(_APPLIED):
        return method.unpack_answer(data[2:])
    raise _error(method, cast("list[object]", decode(data)))


def _error(method: Method, parts: list[object]) -> Exception:
    match parts:
        case [Outcome.REFUSED, *told]:
            return _refusal(method, convert(told, _Refusal))
        case [Outcome.CRASHED, str(name)]:
            return _crash(method, name)
        case [Outcome.INVALID]:
            return InvalidMessage(
                f"{method.label}: the replicas do not accept this message; is their class another version than ours?"
            )
        case [Outcome.VOID]:
            return Rejected(f"{method.label}: given up before it was sent")
        case [Outcome.OVERLOADED, int(size)]:
            return Overloaded(
                f"{method.label} was not applied: the answers of this session that were not acknowledged take "
                f"{size} bytes; wait for answers before asking for more, or ask for less at a time"
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


class _Refusal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """name: of the class, see `_class_name`. given, keywords: what it was made with; None: the same arguments."""

    name: str
    arguments: list[object]
    given: list[object] | None = None
    keywords: dict[str, object] = {}


def _refusal(method: Method, told: _Refusal) -> Refused:
    """The refusal that the command raised: of its own class, if that is known here, and with the same arguments.

    Its constructor is called as it was; where that does not come to these arguments, it is not called.
    """
    module, _, name = told.name.rpartition(":")
    kind = Refused if told.name == Refused.__qualname__ else _find(module or method.module, name)
    if kind is None:
        return Refused(name, *told.arguments)
    arguments = encode_plain(told.arguments)
    try:
        made = kind(*(told.arguments if told.given is None else told.given), **told.keywords)
        if encode_plain(to_plain(list(made.args))) == arguments:
            return made
    except Exception:  # noqa: S110 - of another version of the class, or where plain forms of its values do not do
        pass
    return Refused.__new__(kind, *told.arguments)


def _find(module: str, name: str) -> type[Refused] | None:
    """The class of that name: the module's, or else the only one that there is."""
    named = [kind for kind in dict.fromkeys(_kinds(Refused)) if kind.__qualname__ == name]
    there = [kind for kind in named if kind.__module__ == module]
    if there:
        return there[-1]  # a module that was loaded again has made another
    return named[0] if len(named) == 1 else None


def _kinds(kind: type[Refused]) -> Iterator[type[Refused]]:
    for derived in kind.__subclasses__():
        yield derived
        yield from _kinds(derived)
