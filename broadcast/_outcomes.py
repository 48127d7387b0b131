"""From an encoded outcome to what the asker gets: a value, or an error that says whose fault it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from actors._interface import Method
from actors._protocol.codec import DecodeError, decode
from actors._protocol.errors import ActorCrashed, InvalidMessage, Refused, Rejected
from broadcast._protocol.sessions import Outcome

_APPLIED = bytes((0x82, Outcome.APPLIED))


def unpack_outcome(method: Method, data: bytes) -> object:
    """The answer of `method`, or raises what its command came to: `Refused`, `ActorCrashed`, `InvalidMessage`."""
    if data.startswith(_APPLIED):
        return method.unpack_answer(data[2:])
    raise _error(method, cast(list[object], decode(data)))


def _error(method: Method, parts: list[object]) -> Exception:
    match parts:
        case [Outcome.REFUSED, str(name), arguments]:
            return _refusal(name, cast(list[object], arguments) if isinstance(arguments, list) else [arguments])
        case [Outcome.CRASHED, str(name)]:
            return ActorCrashed(
                f"{method.label} raised {name}: a bug in its class; whatever the command had changed was undone"
            )
        case [Outcome.INVALID]:
            return InvalidMessage(
                f"{method.label}: the replicas do not accept this message; is their class another version than ours?"
            )
        case [Outcome.VOID]:
            return Rejected(f"{method.label}: given up before it was sent")
        case _:
            return DecodeError(f"{method.label}: an outcome of an unknown kind: {parts!r}")


def _refusal(name: str, arguments: list[object]) -> Refused:
    """The refusal that the command raised: its own class if it is known here."""
    for kind in _kinds(Refused):
        if kind.__qualname__ == name:
            try:
                return kind(*arguments)
            except Exception:
                break  # another version of the class takes other arguments
    return Refused(*arguments) if name == Refused.__qualname__ else Refused(name, *arguments)


def _kinds(kind: type[Refused]) -> Iterator[type[Refused]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _kinds(derived)
