"""Nurseries behind context managers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery]:
    """A nursery for the tasks behind a context manager, cancelled when its body ends.

    That it is there is nobody's business: an error of the body passes as it is, not as a group of one. What the tasks
    raise comes as a group, as from any nursery.
    """
    failed: BaseException | None = None
    passing: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                failed = error
                raise
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1 or group.exceptions[0] is not failed:
            raise
        passing = failed
    if passing is not None:
        raise passing
