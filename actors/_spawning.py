"""Where actors are spawned: at the top of a node, or under a parent; alone, or in a team under a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from actors._actor import Actor
from actors._ref import ActorRef

P = ParamSpec("P")
A = TypeVar("A", bound=Actor)


class Spawner(Protocol):
    """A place to spawn actors in. All that are spawned by one are one team."""

    async def spawn(self, name: str, actor: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> ActorRef[A]:
        """Start an actor: a class, and what it is made with. Returns once its `lifespan` is entered.

        Raises what the class or its `lifespan` raises, and ValueError if the name is none or is taken.
        """
        ...
