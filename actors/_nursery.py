"""Nurseries behind context managers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Any, cast

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


def is_cancellation(error: BaseException, passing: BaseException | None = None) -> bool:
    """Is it a cancellation, or what passes through, and nothing else?"""
    while isinstance(error, BaseExceptionGroup) and error is not passing:
        group = cast("BaseExceptionGroup[BaseException]", error)
        if not all(is_cancellation(each, passing) for each in group.exceptions[1:]):
            return False
        error = group.exceptions[0]
    return isinstance(error, trio.Cancelled) or error is passing


class Lasting:
    """Tasks of a nursery that go on until `end`, whatever cancels the nursery.

    For a context manager whose body relies on them to its very end, also while it is cancelled and says goodbye. It
    calls `end` when the body has ended.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: set[trio.CancelScope] = set()
        self._ended = False

    def start_soon(self, task: Callable[..., Awaitable[object]], *args: Any) -> None:
        """As that of a nursery."""
        self._nursery.start_soon(self._run, task, args, name=task)

    async def start(self, task: Callable[..., Awaitable[object]], *args: Any) -> Any:
        """As that of a nursery: until it has started, it is cancelled with whoever waits for that."""
        return await self._nursery.start(self._run_started, task, args, name=task)

    async def _run(self, task: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        with self._scope() as scope:
            scope.shield = True
            await task(*args)

    async def _run_started(
        self, task: Callable[..., Awaitable[object]], args: tuple[Any, ...], *, task_status: trio.TaskStatus[Any]
    ) -> None:
        with self._scope() as scope:
            await task(*args, task_status=_Started(scope, task_status))

    @contextmanager
    def _scope(self) -> Generator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self._ended:
                    scope.cancel()
                yield scope
            finally:
                self._scopes.discard(scope)

    def end(self) -> None:
        """They are cancelled."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()


class _Started(trio.TaskStatus[Any]):
    """Shields a task once it has started, unless whoever waited for that was cancelled: then it has to end."""

    def __init__(self, scope: trio.CancelScope, status: trio.TaskStatus[Any]) -> None:
        self._scope = scope
        self._status = status

    def started(self, value: Any = None) -> None:
        self._status.started(value)
        if trio.current_effective_deadline() > -inf:
            self._scope.shield = True
