"""Who waits for a link to a peer, in one line: what they send leaves in the order in which they came (rule 2 of what is
promised).

Trio runs tasks that are woken together in either order, and who comes in the meantime may run before them. So nobody
is woken to send: who waits leaves what is to be done, and whoever brings the link does it for all of them in one go,
before anybody else can send.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from actors._message import Asker

T = TypeVar("T")


class Line:
    """One line. Who is cancelled has left it: nothing is done for them, and the next move up."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[Asker, Callable[[], object]] = {}  # who came first is first

    def __len__(self) -> int:
        """How many wait."""
        return len(self._places)

    async def wait(self, act: Callable[[], T]) -> T:
        """What `act` gives, or raises, once it is this one's turn; cancelled before that, it is not called."""
        asker = Asker(None)
        self._places[asker] = act
        try:
            return cast(T, await asker.wait())
        finally:
            self._places.pop(asker, None)

    def serve(self) -> None:
        """Everybody has their turn now, one after the other."""
        places, self._places = self._places, {}
        for asker, act in places.items():
            if not asker.is_over:
                try:
                    done = act()
                except Exception as error:
                    asker.failed(None, error)
                else:
                    asker.settle(done)
