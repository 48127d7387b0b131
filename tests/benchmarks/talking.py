"""The near side of `children.py`: a process that says when it is ready, and then does what it is asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import trio

Message = dict[str, Any]
Doing = Callable[..., Awaitable[Message]]
"""Does what it is asked, with the question's other fields as keywords."""


def settings() -> Message:
    """What this process was started with."""
    told: Message = json.loads(sys.argv[1])
    return told


def say(message: Message) -> None:
    """To whoever started this process."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def answer(ready: Message, table: Mapping[str, Doing]) -> None:
    """Say that this process is ready; then do what its input asks, one thing after another, until that ends."""
    say(ready)
    async with aclosing(_lines()) as lines:
        async for line in lines:
            asked: Message = json.loads(line)
            try:
                done = await table[asked.pop("do")](**asked)
            except Exception as error:
                say({"error": f"{type(error).__name__}: {error}"})
                raise
            say(done)


async def _lines() -> AsyncGenerator[bytes]:
    buffer = b""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for chunk in stream:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                yield line
