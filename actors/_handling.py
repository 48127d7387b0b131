"""What an actor does with one message, and what becomes of who has asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._message import Message
from actors._protocol.errors import ActorCrashed, OutcomeUnknown, Refused

if TYPE_CHECKING:
    from actors._cell import Cell


def handle(cell: Cell, message: Message) -> None:
    """Handle a message of a plain `def`. Raises what ends this life."""
    cell.message = message
    context = cell.context
    context.begin_message(message)
    try:
        answer = message.method.function(cell.actor, *message.arguments)
        if (question := message.question) is not None:
            question.answered(message.method, answer)
    except BaseException as error:
        if _failed(cell, message, error):
            raise
    finally:
        cell.message = None
        context.end()


async def handle_async(cell: Cell, message: Message) -> None:
    """Handle a message of an `async def`. Raises what ends this life."""
    cell.message = message
    cell.context.begin_message(message)
    try:
        coroutine: Any = message.method.function(cell.actor, *message.arguments)
        answer = await coroutine
        if message.question is not None:
            message.question.answered(message.method, answer)
    except BaseException as error:
        if _failed(cell, message, error):
            raise
    finally:
        cell.message = None
        cell.context.end()


def _failed(cell: Cell, message: Message, error: BaseException) -> bool:
    """Tell the asker what its message came to. Is the actor's life over with it?"""
    cell.context.effects.clear()
    question, method = message.question, message.method
    if isinstance(error, Refused):
        if question is not None:
            question.failed(method, error)
        return False
    if question is not None:
        if isinstance(error, Exception):
            crash = ActorCrashed(
                f"{method.label} of {cell.address} raised {type(error).__qualname__}: a bug in its class"
            )
            crash.__cause__ = error
            question.failed(method, crash)
        else:
            question.failed(
                method,
                OutcomeUnknown(
                    f"{cell.address} was ended while it handled {method.label}; how far it came, nobody knows"
                ),
            )
    return True
