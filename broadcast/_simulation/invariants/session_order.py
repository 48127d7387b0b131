"""A session's commands take effect in the order of their numbers, and none while an earlier one is to come (rule 18).

Whoever owned one session after the other: all of its commands in the order it asked for them.
"""

from __future__ import annotations

from broadcast._simulation.calls import Ran
from broadcast._simulation.invariants.base import Invariant, Scene
from broadcast._simulation.invariants.claim import check


class SessionOrder(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._tickets: dict[str, int] = {}

    def ran(self, ran: Ran) -> None:
        check(not ran.numbered.early, "no command is applied over a gap", numbered=ran.numbered)
        if ran.identity is not None:
            owner, ticket = ran.identity
            last = self._tickets.get(owner, 0)
            check(ticket > last, "an owner's commands keep their order", owner=owner, ticket=ticket, last=last)
            self._tickets[owner] = ticket
