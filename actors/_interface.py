"""What messages a class of actors takes, and how their arguments and answers travel.

A message is the CBOR array `[tag, *arguments]`, an answer one CBOR value. Both are checked against the
annotations at either end: where they are packed, so that a mistake is told to whoever makes it, and where
they are unpacked, because a peer may send anything. Most methods take and give only scalars: for those a look at
the types is the whole check.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType, NoneType
from typing import Any, Final, cast

import msgspec
from msgspec.inspect import multi_type_info
from msgspec.json import schema_components

from actors._actor import VERSION_MAX, Actor, AnyMarked, Kind, is_version, marked_by, marked_methods
from actors._annotations import annotation_of
from actors._exact import SCALARS, exact, never, opening
from actors._plain import encode_plain, from_plain, to_plain
from actors._protocol.codec import (
    INTEGER_MAX,
    INTEGER_MIN,
    DecodeError,
    check_plain,
    decode,
    encode_again,
    join_array,
    parse,
)
from actors._protocol.errors import InvalidMessage
from actors._protocol.heads import ARRAY, NEGATIVE, UNSIGNED, head


@dataclass(frozen=True, slots=True)
class _Parameter:
    """label: for people. default: encoded, so that no two messages share it; None if there is none."""

    label: str
    annotation: Any
    default: bytes | None


class Method:
    """A marked method of a class of actors.

    tag, name: on the wire, and in the class. label: for people, `Class.name`. module: the class's.
    kind: "command" or "query". is_async: an `async def`. idempotent, since: see `command`; every query is idempotent.
    answers_nothing: it says `-> None`.
    are_exact: are these arguments as annotated already, of scalars alone, so that nothing else need be looked at?
    opened: of a call, `[tag, *arguments]`, the arguments if they are so; else None.
    function: to be called as `function(actor, *arguments)`, with arguments as `unpack` gives them.
    annotations, defaults: of the parameters, in their order; defaults encoded, None where there is none.
    """

    def __init__(self, actor: type[Actor], name: str, tag: str, marked: AnyMarked) -> None:
        written: Callable[..., object] = marked.function
        signature = inspect.signature(written)
        parameters = list(signature.parameters.values())[1:]
        self.tag: Final = tag
        self.name: Final = name
        self.label: Final = f"{actor.__name__}.{name}"
        self.module: Final = actor.__module__
        self.kind: Final[Kind] = marked.kind
        self.is_async: Final = inspect.iscoroutinefunction(written)
        self.idempotent: Final = marked.idempotent
        self.since: Final = marked.since
        self.function: Final = _by_position(written, parameters)
        self._signature = signature.replace(parameters=parameters)
        self._parameters = [_parameter(self.label, written, parameter) for parameter in parameters]
        annotations = [parameter.annotation for parameter in self._parameters]
        self.annotations: Final = tuple(annotations)
        self.defaults: Final = tuple(parameter.default for parameter in self._parameters)
        self._begun = head(ARRAY, 1 + len(annotations)) + encode_plain(tag)  # how a message with them all begins
        self._fields = _fields(self.label, annotations)
        self.are_exact: Final = exact(annotations)
        self.opened: Final = opening(self.are_exact)
        by_keyword = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
        self._are_given = never if by_keyword else self.are_exact  # as are_exact, of what is given by position
        self._takes_text = str in annotations
        self._answer_label = f"{self.label}: its answer"
        self._answer = annotation_of(written, "return", self._answer_label)
        self._answer_exact = self._answer if self._answer in SCALARS else None
        self.answers_nothing: Final = self._answer is NoneType

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label}>"

    def pack(self, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> bytes:
        """The message that calls it so, with defaults filled in. `InvalidMessage` if the arguments do not fit."""
        try:
            if kwargs or not self._are_given(args):
                return encode_plain([self.tag, *self._checked(args, kwargs)])
            if len(args) == 1:  # the most frequent number, and this runs for each message
                return self._begun + encode_plain(args[0])
            return self._begun + b"".join(map(encode_plain, args))
        except ValueError as error:
            raise InvalidMessage(f"{self.label}: {error}") from error

    def carry(self, args: tuple[Any, ...], kwargs: Mapping[str, object], here: object) -> tuple[object, ...]:
        """The typed arguments as the actor next door gets them: what `unpack` gives of what `pack` gives.
        `InvalidMessage` if the arguments do not fit, or `pack` could not send them."""
        try:
            if not kwargs and self._are_given(args):
                if self._takes_text:
                    for argument in args:
                        _check_text(argument)
                return args
            plain = self._plain(args, kwargs)
            typed = msgspec.structs.astuple(self._typed(plain, here))
            encode_plain([self.tag, *plain])  # to see whether it can be done: the bounds are those of a message
        except ValueError as error:
            raise InvalidMessage(f"{self.label}: {error}") from error
        return typed

    def unpack(self, arguments: list[object], here: object = None) -> tuple[object, ...]:
        """The typed arguments of a message that `decode` opened, without its tag. here: see `from_plain`.

        Those that the sender's version of the class did not have yet get their defaults. `InvalidMessage` if
        they do not fit.
        """
        if self.are_exact(arguments):
            return tuple(arguments)
        new = self._parameters[len(arguments) :]
        defaults = [decode(parameter.default) for parameter in new if parameter.default is not None]
        if len(defaults) == len(new):
            arguments = arguments + defaults
        return msgspec.structs.astuple(self._typed(arguments, here))

    def pack_answer(self, answer: Any) -> bytes:
        """The answer as it travels. `TypeError` if it is not what the method declares: a bug in its class."""
        try:
            exact = self._answer_exact
            if type(answer) is exact:
                if exact is not int:
                    return encode_plain(answer) if exact is str else encode_again(answer)
                if 0 <= answer <= INTEGER_MAX:
                    return head(UNSIGNED, answer)
                if INTEGER_MIN <= answer < 0:
                    return head(NEGATIVE, ~answer)
            plain = to_plain(answer, self._answer_label)
            from_plain(plain, self._answer, self._answer_label)
            return encode_plain(plain)
        except InvalidMessage as error:
            raise TypeError(str(error)) from error
        except ValueError as error:
            raise TypeError(f"{self._answer_label}: {error}") from error

    def answers_like(self, other: Method) -> bool:
        """Do both declare the same answer?"""
        return bool(self._answer == other._answer)

    def carry_answer(self, answer: Any, here: object) -> object:
        """The answer as the asker next door gets it. `TypeError` if it is not what the method declares."""
        exact = self._answer_exact
        try:
            if type(answer) is exact and (exact is not int or INTEGER_MIN <= answer <= INTEGER_MAX):
                if exact is str:
                    _check_text(answer)
                return answer
            plain = to_plain(answer, self._answer_label)
            typed: object = from_plain(plain, self._answer, self._answer_label, here)
            encode_plain(plain)  # as in `carry`
        except InvalidMessage as error:
            raise TypeError(str(error)) from error
        except ValueError as error:
            raise TypeError(f"{self._answer_label}: {error}") from error
        return typed

    def unpack_answer(self, data: bytes, here: object = None) -> object:
        """The typed answer. `DecodeError` if `data` is none of this method's. here: see `from_plain`."""
        answer: Any = parse(data)
        exact = self._answer_exact
        if type(answer) is exact and (exact is not int or INTEGER_MIN <= answer <= INTEGER_MAX):
            return answer
        check_plain(answer)
        return self.open_answer(answer, here)

    def unpack_scalars(self, data: Sequence[bytes]) -> list[object] | None:
        """`unpack_answer` of each, in one go. None, where that cannot be: each is to be unpacked by itself."""
        exact = self._answer_exact
        if exact is None:
            return None
        try:
            answers = cast("list[Any]", parse(join_array(data)))
        except DecodeError:
            return None
        if {*map(type, answers)} != {exact}:
            return None
        if exact is int and not INTEGER_MIN <= min(answers) <= max(answers) <= INTEGER_MAX:
            return None
        return answers

    def open_answer(self, answer: object, here: object = None) -> object:
        """As `unpack_answer`, of an answer that was decoded."""
        if type(answer) is self._answer_exact:
            return answer
        try:
            return from_plain(answer, self._answer, self._answer_label, here)
        except InvalidMessage as error:
            raise DecodeError(str(error)) from error

    def _checked(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Sequence[object]:
        """The arguments in their order and plain form, defaults filled in, known to fit."""
        plain = self._plain(args, kwargs)
        self._typed(plain)
        return plain

    def _plain(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[object]:
        """The arguments in their order and plain form, defaults filled in."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidMessage(f"{self.label}: {error}") from None
        bound.apply_defaults()
        values = zip(bound.arguments.values(), self._parameters, strict=True)
        return [to_plain(value, parameter.label) for value, parameter in values]

    def _typed(self, plain: list[object], here: object = None) -> msgspec.Struct:
        """All arguments as what the annotations say."""
        if len(plain) != len(self._parameters):
            raise InvalidMessage(f"{self.label} takes {len(self._parameters)} arguments, and got {len(plain)}")
        try:
            return from_plain(plain, self._fields, here=here)
        except InvalidMessage:
            for value, parameter in zip(plain, self._parameters, strict=True):
                from_plain(value, parameter.annotation, parameter.label)  # raises for the one to blame
            raise


_made: Final[dict[type[Actor], Interface]] = {}


class Interface:
    """The messages that a class of actors takes.

    methods: by tag, those of base classes first. newest: the version that the last of them came with.
    """

    def __init__(self, actor: type[Actor]) -> None:
        """Use `Interface.of`. `TypeError` names a method and what is wrong with it."""
        self.actor: Final = actor
        self.methods: Final[Mapping[str, Method]] = MappingProxyType(
            {tag: Method(actor, name, tag, method) for tag, (name, method) in marked_methods(actor).items()}
        )
        self.newest: Final = max((method.since for method in self.methods.values()), default=1)
        by_name = {method.name: method for method in self.methods.values()}
        self._by_marked: Mapping[object, Method] = {
            marked: by_name[name]
            for base in actor.__mro__
            for name, value in vars(base).items()
            if (marked := marked_by(value)) is not None
        }

    @property
    def version(self) -> int:
        """Of the class."""
        return self.actor.version

    @cached_property
    def takes(self) -> Mapping[str, int]:
        """The messages, each as `command tag`: with which version it came."""
        return MappingProxyType({f"{each.kind} {each.tag}": each.since for each in self.methods.values()})

    @cached_property
    def digest(self) -> bytes:
        """16 bytes. Classes that have the same take the same messages, with the same arguments, in every version.

        Classes that take the same need not have the same: where they lie counts too.
        """
        methods = [self.methods[tag] for tag in sorted(self.methods)]
        told = [(each.tag, each.kind, each.since, each.idempotent, each.defaults) for each in methods]
        annotations = [annotation for each in methods for annotation in each.annotations]
        types, found = multi_type_info(annotations), schema_components(annotations, schema_hook=_named)
        return hashlib.sha256(repr((self.version, told, types, found)).encode()).digest()[:16]

    @staticmethod
    def of(actor: type[Actor]) -> Interface:
        """The interface of a class, made once. `TypeError` names a method and what is wrong with it."""
        if actor not in _made:
            if Actor not in getattr(actor, "__mro__", ()):
                raise TypeError(f"{actor!r} is not a class derived from Actor")
            _made[actor] = Interface(actor)
        return _made[actor]

    def method_for(self, marked: object) -> Method:
        """The method that `Class.method` means here, overrides included. `InvalidMessage` if none."""
        try:
            return self._by_marked[marked]
        except (KeyError, TypeError):  # TypeError: it cannot even be looked up
            raise InvalidMessage(
                f"{self.actor.__name__} has no message {marked!r}; its messages are those of its methods that "
                "are marked with @command or @query, given as Class.method"
            ) from None

    def replicable(self) -> None:
        """`TypeError` if replicas could not run this class alike."""
        if not is_version(self.version):
            raise TypeError(
                f"{self.actor.__name__}.version is {self.version!r}: the version of a class is one of 1, 2, 3... up to "
                f"{VERSION_MAX}"
            )
        methods = self.methods.values()
        later = [f"{each.name} (since={each.since})" for each in methods if each.since > self.version]
        later += [f"{each.name} (idempotent={each.idempotent})" for each in methods if each.idempotent > self.version]
        if later:
            raise TypeError(
                f"{self.actor.__name__}.version is {self.version}, and these messages come with a later one: "
                f"{', '.join(later)}; raise it"
            )
        waiting = [method.name for method in self.methods.values() if method.is_async]
        if waiting:
            raise TypeError(
                f"{self.actor.__name__} cannot be replicated: async def {', '.join(waiting)}. A replicated "
                "command or query is a plain def, because what it does must follow from its messages alone; do "
                "the waiting first, outside, and send what came of it"
            )
        if self.actor.lifespan is not Actor.lifespan:
            raise TypeError(
                f"{self.actor.__name__} cannot be replicated: it has a lifespan, and a replica is made from the log, "
                "in which there is none; do that in the program that opens the group"
            )


def _check_text(value: object) -> None:
    """`ValueError` if it is a text that `encode_plain` refuses: half a surrogate pair is no text elsewhere."""
    if type(value) is str and not value.isascii():
        encode_plain(value)


def _named(kind: type) -> dict[str, Any]:
    """In place of the schema of what has none."""
    return {"title": f"{kind.__module__}.{kind.__qualname__}"}


def _parameter(method: str, function: Callable[..., object], parameter: inspect.Parameter) -> _Parameter:
    label = f"{method}: {parameter.name}"
    annotation = annotation_of(function, parameter.name, label)
    if parameter.default is parameter.empty:
        return _Parameter(label, annotation, None)
    try:
        default = to_plain(parameter.default, label)
        from_plain(default, annotation, label)
        return _Parameter(label, annotation, encode_plain(default))
    except InvalidMessage as error:
        raise TypeError(f"{error} (this is its default)") from None
    except ValueError as error:
        raise TypeError(f"{label}: {error} (this is its default)") from None


def _fields(method: str, annotations: Sequence[object]) -> type[msgspec.Struct]:
    """A struct of the arguments: the quickest way to have msgspec look at all of them in one go."""
    fields = [(f"_{number}", annotation) for number, annotation in enumerate(annotations)]
    return msgspec.defstruct(f"{method} arguments", fields, array_like=True, forbid_unknown_fields=True)


def _by_position(function: Callable[..., object], parameters: Sequence[inspect.Parameter]) -> Callable[..., object]:
    """The function, taking by position also what it takes by keyword only."""
    keywords = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if not keywords:
        return function
    first = 1 + len(parameters) - len(keywords)  # 1: self

    def by_position(*arguments: object) -> object:
        return function(*arguments[:first], **dict(zip(keywords, arguments[first:], strict=True)))

    return by_position
