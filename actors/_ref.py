"""References: the way to an actor, wherever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from actors._actor import Actor, Marked
from actors._interface import Interface, Method
from actors._plain import Reference
from actors._protocol.address import check_actor_address, check_name

A_co = TypeVar("A_co", bound=Actor, covariant=True)
P = ParamSpec("P")
T = TypeVar("T")

How: TypeAlias = Literal["stopped", "killed", "crashed", "missing", "lost"]


@dataclass(frozen=True)
class End:
    """That an actor is there no more. address: "node/name".

    how: "stopped", "killed" or "crashed"; "missing": there was none when it was asked for; "lost": the link to its node
        was lost, and it may live on there.
    """

    address: str
    how: How


class Ref(ABC, Reference, Generic[A_co]):
    """The way to an actor: local, remote or replicated.

    `await ref.ask(Counter.add, 1)` gives what `counter.add(1)` gives there, and is typed like it. The
    caller's cancel scope says how long to wait. An error says whether the message may have been applied.
    """

    def __init__(self, actor: type[A_co]) -> None:
        self.interface: Final = Interface.of(actor)
        """What messages it takes."""

    @overload
    async def ask(self, method: Marked[A_co, P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def ask(self, method: Marked[A_co, P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def ask(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> object:
        """Send a message, and wait for its answer.

        `InvalidMessage` if the arguments do not fit: before anything is sent.
        """
        return await self._ask(self.interface.method_for(method), args, kwargs)

    async def tell(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send a message, and wait until it is accepted; not until it is handled.

        `InvalidMessage` if the arguments do not fit: before anything is sent.
        """
        await self._tell(self.interface.method_for(method), args, kwargs)

    @abstractmethod
    async def _ask(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        """Perform `ask`."""

    @abstractmethod
    async def _tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Perform `tell`."""

    @classmethod
    def from_text(cls, text: str, parameters: tuple[Any, ...], here: Any) -> Reference:
        """What a message holds where its annotation is `Ref[Greeter]`, or `ActorRef[Greeter]`."""
        if cls is not Ref and cls is not ActorRef:
            raise TypeError(f"a {cls.__name__} cannot be received; annotate it as a Ref")
        actor = parameters[0] if parameters else Actor
        if "/" not in text:
            if cls is ActorRef:
                raise TypeError(f"Expected a reference to an actor of a node, got the group {text!r}")
            return GroupName(text, actor) if here is None else here.group(text, actor)
        return ActorRef(text, actor, here)


class Here(Protocol):
    """Where a reference is used: a node, which gets messages to actors of its own and of other nodes."""

    async def ask(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object: ...
    async def tell(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None: ...
    def tell_nowait(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None: ...
    async def stop(self, to: ActorRef[Any], *, kill: bool) -> None: ...
    async def watch(self, to: ActorRef[Any]) -> End: ...


class GroupName(Ref[A_co]):
    """The name of a replicated group, to be kept and sent on, where it is not known from which node to use it."""

    def __init__(self, name: str, actor: type[A_co]) -> None:
        """Raises ValueError if it is no name."""
        super().__init__(actor)
        self.name = check_name(name)

    def to_text(self) -> str:
        return self.name

    async def _ask(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        raise RuntimeError(f"the group {self.name} is a name only here: use it from a node that takes part in it")

    async def _tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        await self._ask(method, args, kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupName) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __copy__(self) -> GroupName[A_co]:
        return self

    def __deepcopy__(self, memo: object) -> GroupName[A_co]:
        return self


class ActorRef(Ref[A_co]):
    """The name of an actor on a node, to be used from a node. Made by `node.spawn` and `node.ref`.

    A value: equal to every other reference to the same name, hashable, and a message may have it among its arguments or
    as its answer, annotated as `Ref[Greeter]`. It names whoever has that name when a message arrives, also after a
    restart. What a replicated actor was sent can be kept and compared, but not used, until `node.ref(str(ref),
    Greeter)` says from where.

    node: of the actor. name: of the actor, there; a child's is behind its parent's: "greeter/helper".
    """

    def __init__(self, address: str, actor: type[A_co], here: Here | None = None) -> None:
        """Use `node.ref`. Raises ValueError if the address is none."""
        super().__init__(actor)
        self.node, self.name = check_actor_address(address)
        self._here = here

    @property
    def address(self) -> str:
        """`node/name`; what `str` gives."""
        return f"{self.node}/{self.name}"

    @overload
    async def ask(self, method: Marked[A_co, P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def ask(self, method: Marked[A_co, P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def ask(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> object:
        """See `Ref.ask`."""
        return await (self._here or self._at()).ask(self, self.interface.method_for(method), args, kwargs)

    async def tell(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """See `Ref.tell`."""
        await (self._here or self._at()).tell(self, self.interface.method_for(method), args, kwargs)

    def tell_nowait(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """`tell`, without waiting: `Overloaded` where that would have to wait for room, or for a link."""
        self._at().tell_nowait(self, self.interface.method_for(method), args, kwargs)

    async def stop(self) -> None:
        """Have it handle what waits for it, take nothing more, and end; its children after it. Waits until it has
        ended; cancelled, it ends all the same. Does nothing if it is not there. Raises AskCycle where the actor that
        calls this would so wait for itself."""
        await self._at().stop(self, kill=False)

    async def kill(self) -> None:
        """End it at once: what it is at is cancelled, what waits for it is lost, and so with its children. Waits until
        it has ended. Does nothing if it is not there. Raises AskCycle as `stop` does."""
        await self._at().stop(self, kill=True)

    async def watch(self) -> End:
        """Wait until it has ended, or its node is lost, and tell how. A restart is no end. Raises AskCycle as
        `stop` does."""
        return await self._at().watch(self)

    async def _ask(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        return await self._at().ask(self, method, args, kwargs)

    async def _tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        await self._at().tell(self, method, args, kwargs)

    def _at(self) -> Here:
        if self._here is None:
            raise RuntimeError(f"{self!r} is a name only: node.ref({str(self)!r}, ...) says from which node it is used")
        return self._here

    def to_text(self) -> str:
        return self.address

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"<ActorRef {self.address}: {self.interface.actor.__name__}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other.name == self.name and other.node == self.node

    def __hash__(self) -> int:
        return hash((self.node, self.name))

    def __copy__(self) -> ActorRef[A_co]:
        return self

    def __deepcopy__(self, memo: object) -> ActorRef[A_co]:
        return self
