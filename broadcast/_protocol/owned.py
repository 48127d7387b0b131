"""Things that each have one owner, found by thing and by owner: to look for one owner's is no walk over all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
W = TypeVar("W", bound=Hashable)


class Owned(Generic[T, W]):
    """Who owns each thing. Of owners that have nothing, nothing is kept."""

    def __init__(self) -> None:
        self._owners: dict[T, W] = {}
        self._things: dict[W, dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def get(self, thing: T) -> W | None:
        """Its owner."""
        return self._owners.get(thing)

    def of(self, owner: W) -> Collection[T]:
        """What this one owns."""
        return self._things.get(owner, {}).keys()

    @property
    def owners(self) -> Iterable[W]:
        """All that own something, each once."""
        return self._things.keys()

    def give(self, thing: T, owner: W) -> None:
        """It belongs to this one from now on, whoever had it."""
        if self._owners.get(thing) is owner:
            return
        self.pop(thing)
        self._owners[thing] = owner
        self._things.setdefault(owner, {})[thing] = None

    def pop(self, thing: T) -> W | None:
        """It is nobody's; returns whose it was."""
        owner = self._owners.pop(thing, None)
        if owner is not None:
            things = self._things[owner]
            del things[thing]
            if not things:
                del self._things[owner]
        return owner

    def leave(self, owner: W) -> None:
        """What this one had is nobody's."""
        for thing in self._things.pop(owner, {}):
            del self._owners[thing]

    def retain(self, wanted: Callable[[T], bool]) -> None:
        """What is not wanted is nobody's."""
        for thing in [thing for thing in self._owners if not wanted(thing)]:
            self.pop(thing)
