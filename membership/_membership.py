"""What users hold of membership: the views of a group, the same sequence on every member."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from membership._protocol.view import View


class Membership:
    """The views that have begun here so far, and the way to wait for the next."""

    def __init__(self) -> None:
        self._views: list[View] = []
        self._began = trio.lowlevel.ParkingLot()
        self._ended: Exception | None = None

    @property
    def view(self) -> View | None:
        """The view of now; None until the first has begun here."""
        return self._views[-1] if self._views else None

    async def views(self, from_number: int = 1) -> AsyncGenerator[View]:
        """Every view from this number on, in order, without a gap; waits for those to come.

        Raises `broadcast.GroupClosed` after the last one if the group is closed here.
        """
        number = max(from_number, 1)
        while True:
            while len(self._views) < number:
                self._check_open()
                await self._began.park()
            yield self._views[number - 1]
            number += 1

    async def wait_view(self, *, after: int = 0) -> View:
        """The newest view, once its number is greater than `after`.

        Raises `broadcast.GroupClosed` if the group is closed here before there is one.
        """
        while len(self._views) <= after:
            self._check_open()
            await self._began.park()
        await trio.lowlevel.checkpoint()
        return self._views[-1]

    def begin(self, view: View) -> None:
        """A view begins. For the replica that delivers it."""
        self._views.append(view)
        self._began.unpark_all()

    def end(self, error: Exception) -> None:
        """No view begins here any more: whoever waits for one gets this error. For the replica that closes."""
        self._ended = error
        self._began.unpark_all()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended.with_traceback(None)  # several may be told: each with its own traceback
