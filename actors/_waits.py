"""Who waits for whom: the wait-for graph of one node's actors, in which no cycle is let come about.

An actor handles one message at a time. If its handler asks an actor that waits, directly or by others, for this one,
none of them would ever go on. Each ask of a handler is an edge; one that would close a cycle is refused. Of actors on
other nodes only that is known which a message brings with it: the chain of those that wait for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager


class Waits:
    """The edges, by the addresses of actors."""

    def __init__(self, node: str) -> None:
        self._here = f"{node}/"
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
                while before[way[-1]]:
                    way.append(before[way[-1]])
                return [chain[-1], *reversed(way), *chain[chain.index(at) + 1 :]]
            for further in self._edges.get(at, ()):
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
            if not edges:
                self._edges.pop(waiter, None)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._edges)
