"""Who waits for whom: the wait-for graph of one node's actors, in which no cycle is let come about.

An actor handles one message at a time. If its handler asks an actor that waits, directly or by others, for this one,
none of them would ever go on. Each ask of a handler is an edge; one that would close a cycle is refused. Of actors on
other nodes only that is known which a message brings with it: the chain of those that wait for it.

Whoever waits for the end of an actor waits for more than that actor: it ends after its children. So its end is another
thing to wait for, and what that waits for is asked when it matters (`Further`), as it changes with each child.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain as chain_of
from typing import TypeAlias

Further: TypeAlias = Callable[[str], Iterable[str]]
"""What an actor of this node, or an end of one, waits for besides what its handler has asked."""


def end_of(address: str) -> str:
    """What whoever waits for the end of an actor waits for; no actor has such an address."""
    return f"{address}/"


class Waits:
    """The edges, by the addresses of actors, and by `end_of` them."""

    def __init__(self, node: str, further: Further) -> None:
        self._here = f"{node}/"
        self._further = further
        self._edges: dict[str, Counter[str]] = {}

    def cycle(self, chain: Sequence[str], target: str) -> list[str] | None:
        """The cycle that comes about if the last of `chain`, each of which waits for the next, waits for `target`; None
        if none does. Of the actors of this node what is known here counts; of others, what the chain says."""
        waiting = {address for address in chain if not address.startswith(self._here)} | {chain[-1]}
        if target == chain[-1]:
            return [target, target]
        before: dict[str, str] = {target: ""}
        front = [target]
        while front:
            at = front.pop()
            if at in waiting:
                way = [at]
                while (at := before[at]) != "":
                    if at.removesuffix("/") != way[-1]:
                        way.append(at.removesuffix("/"))
                return [chain[-1], *reversed(way), *chain[chain.index(way[0]) + 1 :]]
            for further in chain_of(self._edges.get(at, ()), self._further(at) if at.startswith(self._here) else ()):
                if further not in before:
                    before[further] = at
                    front.append(further)
        return None

    @contextmanager
    def waiting(self, waiter: str, target: str) -> Generator[None]:
        """For as long as the context lasts, one waits for the other."""
        edges = self._edges.setdefault(waiter, Counter())
        edges[target] += 1
        try:
            yield
        finally:
            edges[target] -= 1
            if not edges[target]:
                del edges[target]
            if not edges and self._edges.get(waiter) is edges:
                del self._edges[waiter]

    def let_go(self, waiter: str) -> None:
        """Whatever tasks of its still wait: it does not wait for them any more."""
        self._edges.pop(waiter, None)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._edges)
