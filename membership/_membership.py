"""What users hold of membership: the views of a group, the same sequence on every member, and how to change it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec
import trio

from actors._protocol.address import check_name, parse_address
from membership._errors import ChangeRefused, ChangeUnknown
from membership._protocol.change import Change, Newcomer, destination, is_reached
from membership._protocol.messages import ChangeWish, HandOver, Verdict, Wish
from membership._protocol.quorum import QuorumSystem
from membership._protocol.view import Configuration, View

_MAY_COME = "But it was tried before that, and may still come about, or have done so: look at the views"
RETRY_SECONDS = 0.1  # a wish that came to nothing so far is said again after this, or with the next view


class Steward(Protocol):
    """Who takes wishes to the leader."""

    async def wish(self, wish: Wish) -> tuple[Verdict, str] | None:
        """What the leader makes of it, and why; None if no answer has come in time."""
        ...


class _Waiting:
    """Somebody waits for a change. reached: the first view in which it is so; another may take it back at once.

    missing: of those that it was to bring, who was removed before it was reached. It is not tried again then: whoever
    did that does not want it, and who is missing could not come back as it is.
    """

    def __init__(self, change: Change) -> None:
        self.change = change
        self.reached: View | None = None
        self.missing: list[str] = []
        self._was_under_way = False

    def look(self, view: View, configuration: Configuration) -> None:
        """A view began."""
        if self.reached is None and is_reached(self.change, configuration):
            self.reached = view
        self.follow(configuration)

    def follow(self, configuration: Configuration) -> None:
        """This is agreed: does it lead there, or has somebody seen to it that it does not any more?"""
        self._was_under_way = self._was_under_way or is_reached(self.change, destination(configuration))
        if self._was_under_way and self.reached is None and not self.missing:
            brought = [*(newcomer.name for newcomer in self.change.add), *self.change.promote]
            self.missing = [name for name in brought if not configuration.includes(name)]


NUMBER_MAX = 2**62  # of a view, as of an index
VIEWS_MAX = 10_000
"""That are remembered: a group that runs for years may have seen many."""


class Membership:
    """The views that have begun here so far, the way to wait for the next, and to change who is in.

    A change may be asked for at any member. It returns once it is committed and has been delivered here; until then it
    is tried again, for as long as the caller's scope allows. Cancelled, it may still come about: the views tell.
    """

    def __init__(self, steward: Steward) -> None:
        self.why: str | None = None
        """What the last change that was asked for here still waits for."""
        self._steward = steward
        self._views: list[View] = []
        self._configuration: Configuration | None = None
        self._waiting: list[_Waiting] = []
        self._began = trio.lowlevel.ParkingLot()
        self._ended: Exception | None = None

    # -- views -----------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View | None:
        """The view of now; None until the first has begun here."""
        return self._views[-1] if self._views else None

    @property
    def _newest(self) -> int:
        """Number of the view of now; 0 until the first has begun here."""
        return self._views[-1].number if self._views else 0

    async def views(self, from_number: int = 1) -> AsyncGenerator[View]:
        """Every view from this number on, in order; waits for those to come.

        None is left out of those that began while this replica was level with the group, but for a reader that is
        further behind than the last 10,000. Of those before the snapshot that it began with, or got to catch up by, it
        has the last one only. Their numbers show the gap. Raises
        `broadcast.GroupClosed` after the last one if the group is closed here.
        """
        _check_number("from_number", from_number)
        number = max(from_number, 1)
        while True:
            while self._newest < number:
                self._check_open()
                await self._began.park()
            view = self._views[bisect_left(self._views, number, key=lambda view: view.number)]
            yield view
            number = view.number + 1

    async def wait_view(self, *, after: int = 0) -> View:
        """The newest view, once its number is greater than `after`.

        Raises `broadcast.GroupClosed` if the group is closed here before there is one; TypeError or ValueError at once
        for what can be no view's number.
        """
        _check_number("after", after)
        while self._newest <= after:
            self._check_open()
            await self._began.park()
        await trio.lowlevel.checkpoint()
        return self._views[-1]

    # -- changes ---------------------------------------------------------------------------------------------------

    async def add(
        self,
        name: str,
        address: str,
        *,
        observer: bool = False,
        quorum: QuorumSystem | None = None,
        force: bool = False,
    ) -> View:
        """Add a member, whose process has been started with an empty disk, and with an address of a member.

        It gets the whole log first, as an observer, and its vote once it has caught up: until then nobody waits for it.
        observer: it stays without a vote. quorum: what the voters of after are to decide by, if not as those of now.
        Raises `ChangeRefused` and its like, as `change` does.
        """
        return await self.change(Change(add=(Newcomer(name, address, observer),), quorum=quorum, force=force))

    async def remove(self, name: str, *, quorum: QuorumSystem | None = None, force: bool = False) -> View:
        """Remove a member; it learns of it and ends. It may be the leader, which hands over. quorum: as in `add`.

        One that has not caught up yet: its `add` or `replace` is called off, and the voters stay as they are, by the
        quorum system that they have. Of itself: raises `MemberRemoved` here, if that comes before the view without it.
        """
        return await self.change(Change(remove=(name,), quorum=quorum, force=force))

    async def replace(
        self, old: str, new: str, address: str, *, quorum: QuorumSystem | None = None, force: bool = False
    ) -> View:
        """Remove one member as soon as another has caught up, in one step: the number of votes stays the same.

        quorum: as in `add`.
        """
        change = Change(add=(Newcomer(new, address),), remove=(old,), quorum=quorum, force=force)
        return await self.change(change)

    async def promote(self, name: str, *, force: bool = False) -> View:
        """Give an observer a vote, once it has caught up."""
        return await self.change(Change(promote=(name,), force=force))

    async def move(self, name: str, address: str) -> View:
        """Tell all members that this one is found at another address from now on; its identity stays."""
        return await self.change(Change(move={name: address}))

    async def change(self, change: Change) -> View:
        """Several at once, or another quorum system; returns the view in which it is so.

        Raises TypeError or ValueError for what is no change, `ChangeRefused` if the group does not make it as things
        are, `ChangeUnknown` if it refuses after an earlier try whose answer was lost, or if somebody removes who is to
        come before that has caught up, `broadcast.GroupClosed`.
        """
        _check(change)
        waiting = _Waiting(change)
        self._waiting.append(waiting)
        try:
            view = await self._change(waiting)
            self.why = None
            return view
        finally:
            self._waiting.remove(waiting)

    async def _change(self, waiting: _Waiting) -> View:
        change, tries, unknown = waiting.change, 0, 0
        while True:
            if waiting.reached is not None and tries:
                await trio.lowlevel.checkpoint()
                return waiting.reached
            if waiting.missing:
                raise ChangeUnknown(_called_off(waiting.missing))
            self._check_open()
            number = self._newest
            answer = await self._steward.wish(ChangeWish(change))
            match answer:
                case (Verdict.REFUSED, why):
                    raise ChangeUnknown(f"{why}. {_MAY_COME}") if unknown else ChangeRefused(why)
                case (Verdict.REACHED, _) if not tries and (strange := self._strangers(change)):
                    raise ChangeRefused(f"{', '.join(strange)}: no member of this group")
                case (Verdict.REACHED, _) if not tries and change.add:
                    there = ", ".join(newcomer.name for newcomer in change.add)
                    raise ChangeRefused(f"{there}: a member already; move it, or remove it first")
                case (verdict, why):
                    self.why = why or None
                    unknown += verdict is Verdict.TAKEN
                    if verdict is Verdict.REACHED and self._configuration is not None:
                        waiting.look(self._views[-1], self._configuration)
                    elif verdict is Verdict.TAKEN and self._configuration is not None:
                        waiting.follow(self._configuration)
                case None:
                    unknown += 1
            tries += 1
            if self._newest == number:
                with trio.move_on_after(RETRY_SECONDS):
                    await self._began.park()

    async def hand_over(self, to: str | None = None) -> View:
        """Have another voter lead: this one, or whoever is best. Returns the first view in which it does.

        Raises TypeError or ValueError for what can be no member's name, `ChangeRefused` if it could not lead,
        `broadcast.GroupClosed`.
        """
        if to is not None:
            check_name(to)
        view = await self.wait_view()
        before = view.leader
        while view.leader != to if to is not None else view.leader == before:
            answer = await self._steward.wish(HandOver(to))
            match answer:
                case (Verdict.REFUSED, why):
                    raise ChangeRefused(why)
                case (_, why):
                    self.why = why or None
                case None:
                    pass
            with trio.move_on_after(RETRY_SECONDS):
                view = await self.wait_view(after=view.number)
        self.why = None
        return view

    def _strangers(self, change: Change) -> list[str]:
        """Whom this change removes although they never were members here."""
        known = {name for view in self._views for name in (*view.voters, *view.observers)}
        return sorted(set(change.remove) - known)

    # -- for the replica -------------------------------------------------------------------------------------------

    def begin(self, view: View, configuration: Configuration) -> None:
        """A view begins, or had begun before what is known here. For the replica that delivers it."""
        if view.number > self._newest:
            self._views.append(view)
            del self._views[:-VIEWS_MAX]
        self._configuration = configuration
        for waiting in self._waiting:
            waiting.look(view, configuration)
        self._began.unpark_all()

    def end(self, error: Exception) -> None:
        """No view begins here any more: whoever waits for one gets this error. For the replica that closes."""
        self._ended = self._ended or error
        self._began.unpark_all()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended.with_traceback(None)  # several may be told: each with its own traceback


def _called_off(missing: list[str]) -> str:
    names = ", ".join(missing)
    return (
        f"{names} was removed before this was reached, which calls it off: it is not tried again. What else it asked "
        f"for may have come about, or still may: look at the views. To add {names} after all, start it with another, "
        "empty data directory"
    )


def _check_number(name: str, number: int) -> None:
    """Raise TypeError or ValueError for what can be no view's number: it would be waited for without end."""
    if type(number) is not int:
        raise TypeError(f"{name}= is the number of a view, which is an int, and not {number!r}")
    if number > NUMBER_MAX:
        raise ValueError(f"{name}= is the number of a view, up to {NUMBER_MAX}, and not {number}")


def _check(change: Change) -> None:
    """Raise TypeError or ValueError for what no member should be asked: not everybody checks types."""
    if not isinstance(change, Change):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a change is a membership.Change, not {change!r}")
    quorum = change.quorum
    if quorum is not None and not isinstance(quorum, QuorumSystem):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"quorum= is a Majority, Flexible, Weighted or Grid of the voters of after, not {quorum!r}")
    try:
        msgspec.convert(msgspec.to_builtins(change), Change)
    except msgspec.ValidationError as error:
        raise TypeError(f"no change of members: {error}") from None
    for name in (*change.remove, *change.promote, *change.move, *(newcomer.name for newcomer in change.add)):
        check_name(name)
    for address in (*change.move.values(), *(newcomer.address for newcomer in change.add)):
        if parse_address(address).port == 0:
            raise ValueError(f"{address!r} is no address of a member: nobody can be found at port 0")
