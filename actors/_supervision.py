"""What becomes of an actor that crashed, and of its siblings: decided by the team it was spawned in.

Without a policy a crash goes up as every exception of a task does: it cancels the parent's nursery and leaves it in an
exception group, from parent to parent, and at last out of `open_node`. A policy stands in its way as long as it says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Literal, Protocol, TypeAlias, get_args

import trio

from actors._log import Log
from actors._protocol.restart import Restarts, Strategy, affected

OnCrash: TypeAlias = Literal["restart", "stop", "escalate"]

log = Log("troupe.actors")


@dataclass(frozen=True, slots=True)
class Supervision:
    """What to do about crashes in a team of siblings: `node.supervised(Supervision("one-for-all"))`.

    strategy: who is started again with the one that crashed. "one-for-one": nobody. "one-for-all": all. "rest-for-one":
        those that were spawned after it. They leave in the opposite order of their spawning, and come back in it.
    on_crash: "restart"; "stop": it has ended, which is logged, and its watchers are told; "escalate": as without a
        policy. A broken invariant, and whatever else is no `Exception`, always escalates.
    restarts_max, period: so many restarts in any so many seconds, of all the team; one more, and the crash escalates.
    backoff_min, backoff_max: seconds before a restart; twice as long for each that is within `period` already.
    """

    strategy: Strategy = "one-for-one"
    on_crash: OnCrash = "restart"
    restarts_max: int = 3
    period: float = 60.0
    backoff_min: float = 0.1
    backoff_max: float = 10.0

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy is one of {', '.join(get_args(Strategy))}, not {self.strategy!r}")
        if self.on_crash not in get_args(OnCrash):
            raise ValueError(f"on_crash is one of {', '.join(get_args(OnCrash))}, not {self.on_crash!r}")
        if type(self.restarts_max) is not int or self.restarts_max < 0:
            raise ValueError(f"restarts_max is a whole number from 0 on, not {self.restarts_max!r}")
        if not self.period > 0:
            raise ValueError(f"period is a number of seconds above 0, not {self.period!r}")
        if not 0 <= self.backoff_min <= self.backoff_max < inf:
            raise ValueError(
                f"backoff_min and backoff_max are seconds from 0 on, and the first is no more than the second, not "
                f"{self.backoff_min!r} and {self.backoff_max!r}"
            )


class Verdict(Enum):
    """What a crash leads to. RESTART: the team will have the member suspended, and resumed."""

    RESTART = "restart"
    STOP = "stop"
    ESCALATE = "escalate"


class Member(Protocol):
    """What a team needs of its members."""

    @property
    def address(self) -> str: ...
    @property
    def is_suspended(self) -> bool:
        """Is it between two lives, and waits for `resume`?"""
        ...

    async def suspend(self) -> None:
        """End its present life; returns when that is over, or the member has ended."""
        ...

    async def resume(self) -> None:
        """Begin another life; returns when it has begun, or has crashed, or the member has ended."""
        ...


class Team:
    """Siblings under one policy. home: gives the nursery that they live in; None once that takes no more tasks."""

    def __init__(self, home: Callable[[], trio.Nursery | None], policy: Supervision | None) -> None:
        self.members: dict[Member, None] = {}
        self.restarted = 0
        self.moving: Member | None = None  # is being suspended, or resumed; all that are suspended wait for it
        self._home = home
        self._policy = policy
        self._crashed: deque[tuple[Member, float]] = deque()
        self._recovering = False
        if policy is not None:
            self._restarts = Restarts(policy.restarts_max, policy.period, policy.backoff_min, policy.backoff_max)

    def judge(self, member: Member, error: Exception, *, ending: bool) -> Verdict:
        """A member has crashed, and its life is over. ending: it was about to end for good."""
        policy, home = self._policy, self._home()
        if policy is None or policy.on_crash == "escalate" or home is None:
            return Verdict.ESCALATE
        if policy.on_crash == "stop" or ending:
            log.error("actor crashed, and is not started again", actor=member.address, exc_info=error)
            return Verdict.STOP
        pause = self._restarts.crashed(trio.current_time())
        if pause is None:
            what = f"more than {policy.restarts_max} crashes in {policy.period:g} s: escalated"
            log.error(what, actor=member.address)
            return Verdict.ESCALATE
        log.warning("actor crashed, and is started again", actor=member.address, in_seconds=pause, exc_info=error)
        self._crashed.append((member, pause))
        if not self._recovering:
            self._recovering = True
            home.start_soon(self._recover)
        return Verdict.RESTART

    async def _recover(self) -> None:
        """One restart after the other: a crash during one is seen to when that one is over."""
        try:
            while self._crashed:
                member, pause = self._crashed.popleft()
                if member.is_suspended:  # else a restart has seen to it already
                    await self._restart(member, pause)
        finally:
            self._recovering = False

    async def _restart(self, crashed: Member, pause: float) -> None:
        policy = self._policy
        strategy = "one-for-one" if policy is None else policy.strategy
        again = affected(strategy, list(self.members), crashed)
        try:
            for self.moving in reversed(again):
                await self.moving.suspend()
            self.moving = None
            await trio.sleep(pause)
            for self.moving in again:
                await self.moving.resume()
        finally:
            self.moving = None
        self.restarted += len(again)
