"""An actor is a class, and its messages are those of its methods that are marked as a command or as a query.

Without any framework it stays an ordinary class: `Counter().add(2)` calls the method.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from actors._context import Context
from actors._mailbox import Mailbox

Kind: TypeAlias = Literal["command", "query"]

TAG_LENGTH_MAX: Final = 128
"""Characters in a tag."""
VERSION_MAX: Final = 1_000_000
"""Of a class."""

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", bound="Actor")
A_co = TypeVar("A_co", bound="Actor", covariant=True)
A_contra = TypeVar("A_contra", bound="Actor", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class Marked(Generic[A_contra, P, T_co]):
    """A method that a message may reach: what `Counter.add` is, and `ref.ask(Counter.add, 1)` wants.

    Contravariant in the actor: a message of a base class is also one of every class derived from it.
    """

    def __init__(
        self,
        function: Callable[Concatenate[A_contra, P], T_co],
        kind: Kind,
        tag: str | None,
        idempotent: bool | int,
        since: int = 1,
    ) -> None:
        _check_function(function, kind)
        functools.update_wrapper(cast(Any, self), function)  # for help() and signatures, which call nothing
        self.function: Callable[Concatenate[A_contra, P], T_co] = function
        self.kind: Kind = kind
        self.tag = function.__name__ if tag is None else tag
        self.tag_written = tag is not None
        self.idempotent = idempotent
        self.since = since
        if not is_version(since):
            raise TypeError(f"{function.__qualname__}: since={since!r} is no version of a class: they are 1, 2, 3...")
        if not isinstance(idempotent, bool) and not is_version(idempotent):
            raise TypeError(
                f"{function.__qualname__}: idempotent={idempotent!r} is no version of a class from which on it is; say "
                "True, or 2, 3..."
            )
        if not _is_tag(self.tag):
            raise TypeError(
                f"{function.__qualname__}: {self.tag!r} is no tag: 1 to {TAG_LENGTH_MAX} printable characters"
            )

    def __repr__(self) -> str:
        return f"<{self.kind} {self.function.__qualname__}>"


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and tag.isprintable() and 1 <= len(tag) <= TAG_LENGTH_MAX and tag != "<lambda>"


AnyMarked: TypeAlias = "Marked[Any, ..., object]"


class Marking(Generic[A_co, P, T_co]):
    """What `@command` leaves in the class: gives the `Marked` on the class, and the bound method on an instance.

    Apart from it because its variance differs: an override, of a derived class, has to do where its base's does.
    """

    def __init__(self, marked: Marked[Any, P, T_co]) -> None:
        self.marked = marked
        functools.update_wrapper(cast(Any, self), marked.function)  # for help() and abstract classes

    @overload
    def __get__(self, actor: None, owner: type[object]) -> Marked[A_co, P, T_co]: ...
    @overload
    def __get__(self, actor: object, owner: type[object] | None = None) -> Callable[P, T_co]: ...
    def __get__(self, actor: object, owner: type[object] | None = None) -> Marked[A_co, P, T_co] | Callable[P, T_co]:
        if actor is None:
            return self.marked
        bound: Callable[P, T_co] = types.MethodType(self.marked.function, actor)
        return bound


def marked_by(attribute: object) -> AnyMarked | None:
    """What a class's attribute marks; None if it is something else."""
    return cast("Marking[Any, ..., object]", attribute).marked if isinstance(attribute, Marking) else None


def _check_function(function: object, kind: Kind) -> None:
    """Refuse with a `TypeError` what cannot be reached by a message."""
    if (marked := marked_by(function)) is not None:
        raise TypeError(f"{marked!r} is marked twice")
    if not isinstance(function, types.FunctionType):
        raise TypeError(
            f"@{kind} marks a plain method (def or async def), not a {type(function).__name__}: {function!r}"
        )
    name = function.__qualname__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name}: a {kind} gives one answer, so it cannot yield; return a list")
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name}: a {kind} names each of its parameters; replace {parameter} by a list or a dict")
    if not parameters or parameters[0].kind is parameters[0].KEYWORD_ONLY:
        raise TypeError(f"{name}: a {kind} is a method, so its first parameter is self")


class CommandDecorator(Protocol):
    """What `command(...)` and `query(...)` give when they are called with options."""

    def __call__(self, function: Callable[Concatenate[A, P], T], /) -> Marking[A, P, T]: ...


@overload
def command(function: Callable[Concatenate[A, P], T], /) -> Marking[A, P, T]: ...
@overload
def command(*, tag: str | None = None, idempotent: bool | int = False, since: int = 1) -> CommandDecorator: ...
def command(
    function: Callable[Concatenate[A, P], T] | None = None,
    /,
    *,
    tag: str | None = None,
    idempotent: bool | int = False,
    since: int = 1,
) -> Marking[A, P, T] | CommandDecorator:
    """Mark a method that may change the actor's state.

    tag: its name on the wire and in the log, for ever; the method's name unless written out.
    idempotent: applying it twice is as good as once, so that its answer need not be kept for who asks again. A
    replicated command is applied once all the same, as a late second time would undo what came between. Who has to send
    it again, because the answer was lost on its way, gets None if the method says `-> None`, else
    `broadcast.AnswerNotKept`; refusals and crashes are kept. All replicas have to agree on it: a method that is to
    become idempotent says from which version of the class on it is (`idempotent=2`).
    since: the version of the class that it came with. Of a replicated actor it is not accepted before that version is
    in force, so that no replica meets it whose class does not have it yet.
    """
    if function is None:
        return _decorator("command", tag, idempotent, since)
    return Marking(Marked(function, "command", tag, idempotent))


@overload
def query(function: Callable[Concatenate[A, P], T], /) -> Marking[A, P, T]: ...
@overload
def query(*, tag: str | None = None, since: int = 1) -> CommandDecorator: ...
def query(
    function: Callable[Concatenate[A, P], T] | None = None, /, *, tag: str | None = None, since: int = 1
) -> Marking[A, P, T] | CommandDecorator:
    """Mark a method that only reads the actor's state. `tag` and `since` as for `command`."""
    if function is None:
        return _decorator("query", tag, idempotent=True, since=since)
    return Marking(Marked(function, "query", tag, idempotent=True))


def _decorator(kind: Kind, tag: str | None, idempotent: bool | int, since: int = 1) -> CommandDecorator:
    def mark(function: Callable[Concatenate[A, P], T], /) -> Marking[A, P, T]:
        return Marking(Marked(function, kind, tag, idempotent, since))

    return mark


@dataclass(frozen=True, slots=True)
class Settings:
    """How a class of actors is run on a node. keeps_state: its restart goes on with the same instance."""

    mailbox: Mailbox
    keeps_state: bool


class Actor:
    """Base of all actors. Its state is `vars(actor)`, its messages are its marked methods.

    `class Greeter(Actor, mailbox=Mailbox(10, "refuse"), keeps_state=True)` says how it is run on a node, and so are
    the classes derived from it. mailbox: how many messages may wait, and what then. keeps_state: a restart after a
    crash goes on with the same instance, instead of a fresh one that is made as the first was.

    `version = 2` in a class says which version of it this is. What replicas of an actor go by is the version that is in
    force, which `context.version` tells: a later one is put in force once all of them run it.
    """

    __slots__ = ("_context",)  # kept out of vars(actor), which is the state

    _context: Context
    version: ClassVar[int] = 1
    _settings: ClassVar[Settings] = Settings(Mailbox(), keeps_state=False)

    def __init_subclass__(
        cls, *, mailbox: Mailbox | None = None, keeps_state: bool | None = None, **options: object
    ) -> None:
        super().__init_subclass__(**options)
        if mailbox is not None:
            cls._settings = replace(cls._settings, mailbox=mailbox)
        if keeps_state is not None:
            cls._settings = replace(cls._settings, keeps_state=keeps_state)
        if "__slots__" in vars(cls):
            raise TypeError(f"{cls.__qualname__}: an actor's state is vars(actor), so it cannot have __slots__")
        _mark_overrides(cls)
        marked_methods(cls)

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Setup and teardown on a node, both around all messages; a restart leaves it, and enters it again.

            @asynccontextmanager
            async def lifespan(self) -> AsyncGenerator[None]:
                async with open_connection() as self.connection:
                    yield

        Within it `self.context` is there too. A replicated actor has none.
        """
        return nullcontext()

    def snapshot(self) -> Any:
        """What to keep of this instance in a snapshot: its attributes, unless overridden.

        May hold None, bool, int, float, str, bytes, bytearray, the containers of Python and of `collections`,
        dataclasses, NamedTuples, msgspec Structs, enums, dates and times, Decimals, Fractions, UUIDs and references.
        What can be changed is reached in one way only. Called on replicated actors alone, between messages: it changes
        nothing, and gives the same on every replica that has applied the same.
        """
        return vars(self)

    def restore(self, state: Any) -> None:
        """Become what gave this `snapshot()`. Called once, on an instance that was just made; `state` is its own."""
        vars(self).clear()
        vars(self).update(state)

    @property
    def context(self) -> Context:
        """What is known about the message being handled. `RuntimeError` when none is."""
        context: Context | None = getattr(self, "_context", None)
        if context is None or not context.active:
            raise RuntimeError(
                f"{type(self).__qualname__}.context exists only while a message is handled; "
                "a test that calls the method itself has none"
            )
        return context


def is_version(version: object) -> bool:
    """May a class say that this is its version?"""
    return type(version) is int and 1 <= version <= VERSION_MAX


def give_context(actor: Actor, context: Context) -> None:
    """Let `actor` see `context`: for whoever runs it, once. (Also right for a frozen dataclass.)"""
    object.__setattr__(actor, "_context", context)


def settings_of(actor: type[Actor]) -> Settings:
    """How a class is run on a node."""
    return actor._settings  # pyright: ignore[reportPrivateUsage]


def marked_methods(actor: type[Actor]) -> dict[str, tuple[str, AnyMarked]]:
    """(name, method) by tag, bases first. `TypeError` if two have one tag, or an override does not fit."""
    by_name: dict[str, AnyMarked] = {}
    tags: dict[str, str] = {}
    for name, value in _attributes(actor):
        inherited = by_name.get(name)
        marked = marked_by(value)
        if marked is None:
            if inherited is not None:
                raise TypeError(f"{actor.__qualname__}.{name} hides {inherited!r}; override it with a method")
            continue
        if inherited is not None:
            _check_override(marked, inherited, tags[name])
        elif hasattr(Actor, name):
            raise TypeError(f"{marked!r}: {name} has a meaning of its own in Actor; choose another name")
        by_name[name] = marked
        tags.setdefault(name, marked.tag)
    found: dict[str, tuple[str, AnyMarked]] = {}
    for name, marked in by_name.items():
        other = found.setdefault(tags[name], (name, marked))
        if other[0] != name:
            raise TypeError(
                f"{actor.__qualname__}: {other[0]} and {name} have one tag, {tags[name]!r}; write out another"
            )
    return found


def _attributes(actor: type[Actor]) -> Iterator[tuple[str, object]]:
    """Attributes of the class and of its bases, bases first."""
    for base in reversed(actor.__mro__):
        for name, value in vars(base).items():
            inner = getattr(value, "fget" if isinstance(value, property) else "__func__", None)
            if (marked := marked_by(inner)) is not None:
                kind = type(value).__name__
                raise TypeError(f"{marked!r}: a {kind} cannot be reached by a message; mark a plain method")
            yield name, value


def _check_override(marked: AnyMarked, inherited: AnyMarked, tag: str) -> None:
    if marked.kind != inherited.kind:
        raise TypeError(f"{marked!r} overrides {inherited!r}: keep it a {inherited.kind}")
    if marked.since < inherited.since:
        raise TypeError(
            f"{marked!r} overrides {inherited!r}, which came with version {inherited.since}: say since= too"
        )
    if marked.tag_written and marked.tag != tag:
        raise TypeError(f"{marked!r} overrides {inherited!r} and so keeps its tag {tag!r}; leave {marked.tag!r} out")


def _mark_overrides(actor: type[Actor]) -> None:
    """A plain method that overrides a marked one is marked like it."""
    for name, value in list(vars(actor).items()):
        if isinstance(value, types.FunctionType):
            inherited = next((marked_by(vars(base)[name]) for base in actor.__mro__[1:] if name in vars(base)), None)
            if inherited is not None:
                setattr(
                    actor, name, Marking(Marked(value, inherited.kind, None, inherited.idempotent, inherited.since))
                )
