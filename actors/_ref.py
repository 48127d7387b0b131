"""A reference: the way to an actor, wherever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from typing import Generic, ParamSpec, TypeVar, overload

from actors._actor import Actor, Marked
from actors._interface import Interface, Method

A_co = TypeVar("A_co", bound=Actor, covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class Ref(ABC, Generic[A_co]):
    """The way to an actor: local, remote or replicated.

    `await ref.ask(Counter.add, 1)` gives what `counter.add(1)` gives there, and is typed like it. The
    caller's cancel scope says how long to wait. An error says whether the message may have been applied.
    """

    def __init__(self, actor: type[A_co]) -> None:
        self._interface = Interface.of(actor)

    @overload
    async def ask(self, method: Marked[A_co, P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def ask(self, method: Marked[A_co, P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def ask(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> object:
        """Send a message, and wait for its answer.

        `InvalidMessage` if the arguments do not fit: before anything is sent.
        """
        return await self._ask(self._interface.method_for(method), args, kwargs)

    async def tell(self, method: Marked[A_co, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send a message, and wait until it is accepted; not until it is handled.

        `InvalidMessage` if the arguments do not fit: before anything is sent.
        """
        await self._tell(self._interface.method_for(method), args, kwargs)

    @abstractmethod
    async def _ask(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        """Perform `ask`."""

    @abstractmethod
    async def _tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Perform `tell`."""
