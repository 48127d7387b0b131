"""Changes of members while something strikes: an operator who asks again and again, and what must become of it (T39).

Who is removed and can hear of it ends, and says why; who was cut off or killed meanwhile may not hear of it, and is for
the operator to stop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from rig import PATIENCE_SECONDS_MAX, Member, Rig

from broadcast.cli._process import ReplicaEnded
from membership import ChangeRefused, ChangeUnknown

TRY_SECONDS = 5.0  # for which one member is asked: then another is
HEARD_SECONDS = 30.0  # within which who was removed, and runs among the others, has ended


class Changing:
    """Makes changes, each by whichever member does it, and carries it through. made: how many.
    stopped: how many had to be stopped, as they were removed and did not hear of it.
    """

    def __init__(self, rig: Rig, choose: Callable[[list[Member]], Member]) -> None:
        self.made = self.stopped = 0
        self.rig = rig
        self.leaving: str | None = None
        """Who may end, or may have, as it is being removed."""
        self._coming: str | None = None
        self._choose = choose

    async def add(self, strike: Callable[[], Awaitable[None]]) -> None:
        new = await self._newcomer()
        await self._while(strike, lambda: self._carry("add", new, self.rig.addresses[new]))

    async def replace(self, old: str, strike: Callable[[], Awaitable[None]]) -> None:
        new = await self._newcomer()
        self.leaving = old
        await self._while(strike, lambda: self._carry("replace", old, new, self.rig.addresses[new]))
        await self._see_off(old)

    async def remove(self, old: str, strike: Callable[[], Awaitable[None]]) -> None:
        self.leaving = old
        await self._while(strike, lambda: self._carry("remove", old))
        await self._see_off(old)

    async def wipe(self, name: str) -> None:
        """Its disk is gone, and it starts with an empty one: it counts again once it was removed and added (T38)."""
        await self.rig[name].kill()
        self.rig.dismiss(name)
        await self.rig.enlist(name)
        self._coming = name
        await self._carry("remove", name)
        self._coming = name
        await self._carry("add", name, self.rig.addresses[name])

    async def _newcomer(self) -> str:
        self._coming = next(iter(self.rig.spare))
        await self.rig.enlist(self._coming)
        return self._coming

    async def _while(self, strike: Callable[[], Awaitable[None]], change: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            await strike()

    async def _carry(self, method: str, *arguments: str) -> None:
        """Ask one after the other, until one has seen it, or says that an earlier try came to it."""
        why = "nobody was asked"
        with trio.move_on_after(PATIENCE_SECONDS_MAX):
            while True:
                neither = self.leaving, self._coming
                member = self._choose([each for name, each in self.rig.members.items() if name not in neither])
                try:
                    await member.change(method, *arguments, within=TRY_SECONDS)
                    break
                except (ChangeRefused, ChangeUnknown, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
                    why = f"{type(error).__name__}: {error}"
                with suppress(OSError, trio.BrokenResourceError, trio.TooSlowError):
                    if _is_so(method, arguments, await member.voters(TRY_SECONDS)):
                        break
                await trio.sleep(0.05)
            self.made += 1
            self._coming = None
            return
        raise AssertionError(f"{method} {arguments} comes to nothing: {why}")

    async def _see_off(self, name: str) -> None:
        """It ends by itself, or is stopped if it cannot know that it should."""
        member = self.rig[name]
        with trio.move_on_after(HEARD_SECONDS) as waiting:
            await member.process.wait_ended()
        if waiting.cancelled_caught:
            self.stopped += 1
            await member.kill()
        self.rig.dismiss(name)
        self.leaving = None

    async def revive(self, member: Member) -> None:
        """Start one that was killed. One that is being removed may end at once, when it hears of that."""
        try:
            await member.start()
        except ReplicaEnded:
            if member.name != self.leaving:
                raise


def _is_so(method: str, arguments: tuple[str, ...], voters: list[str]) -> bool:
    """Are these the voters of after?"""
    match method, arguments:
        case "add", (new, _):
            return new in voters
        case "remove", (old,):
            return old not in voters
        case _, (old, new, _):
            return new in voters and old not in voters
    return False
