"""A refusal on its way to the asker: taken down to plain values where it was raised, and made again where it arrives.

Only what is agreed travels: its class by its name, and arguments; no text that may differ between nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from actors._interface import Method
from actors._plain import encode_plain, to_plain
from actors._protocol.codec import convert
from actors._protocol.errors import Refused, Rejected, made_with


def tellings(method: Method, refusal: Refused) -> Iterator[list[object]]:
    """How a refusal can be told, each as plain values that can be encoded: what tells most first.

    With its arguments, and with what it was made with where that is something else; the last is without either.
    """
    name, arguments = _class_name(method, type(refusal)), list(refusal.args)
    given, keywords = made_with(refusal)
    same = not keywords and [*map(id, given)] == [*map(id, arguments)]
    for parts in ([arguments],) if same else ([arguments, list(given), dict(keywords)], [arguments]):
        try:
            plain = [name, *(to_plain(part, name) for part in parts)]
            encode_plain(plain)
        except (Rejected, ValueError):
            continue
        yield plain
    nothing: list[object] = []
    yield [name, nothing]


def open_refusal(method: Method, told: list[object]) -> Refused:
    """The refusal that a method raised: of its own class, if that is known here, and with the same arguments.

    Its constructor is called as it was; where that does not come to these arguments, it is not called. Raises
    DecodeError if nobody tells a refusal so.
    """
    return _made(method, convert(told, _Told))


class _Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """name: of the class, see `_class_name`. given, keywords: what it was made with; None: the same arguments."""

    name: str
    arguments: list[object]
    given: list[object] | None = None
    keywords: dict[str, object] = {}


def _class_name(method: Method, kind: type[Refused]) -> str:
    """`module:Class`, where the module of the actor's class, which may be `__main__` for some only, has no name."""
    if kind is Refused:
        return kind.__qualname__
    module = "" if kind.__module__ in (method.module, "__main__") else kind.__module__
    return f"{module}:{kind.__qualname__}"


def _made(method: Method, told: _Told) -> Refused:
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
