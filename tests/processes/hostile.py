"""Whoever means no good, in a process of its own: `python -m hostile KIND HOST PORT`, until it is killed.

It has eight connections at a time, and each does its worst as fast as it can, from one address; the kinds that hold
connections have as many as they get. On standard output: how many tries it has made, again and again.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

import cbor2
import trio

from actors._protocol.codec import encode, encode_struct
from actors._protocol.envelope import Hello, pack, pack_envelope
from actors._protocol.frames import frame
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.following import SLOTS_MAX, Follow
from broadcast._protocol.queries import Query
from broadcast._protocol.visits import Enter, Read, StatusAsked

GROUP = "tally"
TASKS = 8
TOLD_SECONDS = 0.2

Where = tuple[str, int]
_tries = count()
_done = 0


def _hello(name: str = "mallory") -> bytes:
    return pack(Hello(1, 1, name, 1, "client", 0))


def _said(body: bytes) -> bytes:
    return pack_envelope(GROUP, "", 1, 0, "group", body)


async def _send(where: Where, *parts: bytes, half: bool = False) -> None:
    """Dial, send, and read until the other side closes. half: say before that nothing more comes."""
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            for part in parts:
                await stream.send_all(part)
            if half:
                await stream.send_eof()
            while await stream.receive_some(65_536):
                pass


def _once(*parts: bytes, half: bool = False) -> Callable[[Where], Awaitable[None]]:
    async def attack(where: Where) -> None:
        await _send(where, *parts, half=half)

    return attack


def _bodies(*bodies: bytes) -> Callable[[Where], Awaitable[None]]:
    """A client's messages, each on a link of its own."""

    async def attack(where: Where) -> None:
        await _send(where, _hello(), _said(encode_struct(Enter())), _said(bodies[next(_tries) % len(bodies)]))

    return attack


async def _slow(where: Where) -> None:
    """A byte in a second, of a hello and of what comes behind it."""
    frame_ = _hello() if next(_tries) % 2 else _said(bytes(10_000))
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            if next(_tries) % 2:
                await stream.send_all(_hello())
            for at in range(len(frame_)):
                await stream.send_all(frame_[at : at + 1])
                await trio.sleep(1)


ENDLESS = (2**23).to_bytes(4, "big") + bytes(2**23)  # made once: to make it for each took more than to send it


async def _endless(where: Where) -> None:
    """A frame of the largest size that never comes to its end, but goes on a little each second."""
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            await stream.send_all(_hello())
            await stream.send_all(ENDLESS)
            while True:
                await stream.send_all(b"\0")
                await trio.sleep(1)


async def _deaf(where: Where) -> None:
    """Asks as much as it can, and reads nothing."""
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            await stream.send_all(_hello() + _said(encode_struct(Enter())))
            while True:
                await stream.send_all(_said(encode_struct(StatusAsked())) * 100)


def _following() -> bytes:
    """All that a client may wait for, from the first index of all."""
    return b"".join(_said(encode_struct(Follow(slot, 1))) for slot in range(SLOTS_MAX))


async def _deaf_followers(where: Where) -> None:
    """Follows as much as it can, and reads nothing."""
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            await stream.send_all(_hello() + _said(encode_struct(Enter())))
            await stream.receive_some()
            while True:
                await stream.send_all(_following() * 10)


async def _greedy_followers(where: Where) -> None:
    """Follows as much as it can, from the beginning, again and again."""
    global _done
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            await stream.send_all(_hello() + _said(encode_struct(Enter())))
            while await stream.receive_some():
                await stream.send_all(_following())
                _done += 1


async def _unknown(where: Where) -> None:
    """Calls what is not there, and what is private, and reads the answers."""
    numbers, calls = count(1), ("_private", "__init__", "__class__", "lifespan", "no such", "add")
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            await stream.send_all(_hello() + _said(encode_struct(Enter())))
            await stream.receive_some()
            while True:
                global _done
                queries = tuple(Query(next(numbers), encode([call]), Consistency.SESSION) for call in calls)
                await stream.send_all(_said(encode_struct(Read(queries))))
                await stream.receive_some()
                _done += 1


async def _silent(where: Where) -> None:
    """Connects, and says nothing. What counts is that it was connected."""
    global _done
    is_connected = False
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(*where) as stream:
            is_connected = True
            _done += 1
            await stream.receive_some()
    if not is_connected:
        await trio.sleep(TOLD_SECONDS)  # it may open no more files


NESTED = b"\x81" * 60_000
BODIES = {
    "deep nesting": (NESTED, b"\x82" + encode("offer") + NESTED),
    "huge counts": (
        b"\x9b" + b"\x7f" + b"\xff" * 7,
        b"\x9a\x00\x0f\xff\xf0" + b"\x80" * 2**20,
        b"\x5b\x7f" + b"\xff" * 7,
    ),
    "duplicate keys": (b"\x82" + encode("read") + b"\xa2" + encode("a") * 4, b"\xa2" + encode("a") * 4),
    "unknown tags": (b"\xd9\xd9\xf7\x80", b"\xd8\x1c\x82" * 1_000 + b"\xd8\x1d\x00" * 1_000, b"\xc2\x49" + b"\1" * 9),
    "NaN": (cbor2.dumps(["give up", float("nan")]), cbor2.dumps(["give up", float("inf")])),
    "wrong types": (
        encode(["give up", "1"]),
        encode(["give up", -1]),
        encode(["read", 1]),
        encode(["offer", [["run"]]]),
    ),
    "more than may be followed": tuple(encode(["follow", slot, 1]) for slot in (SLOTS_MAX, 2**20, -1)),
    "unknown kinds": (encode(["no such kind"]), encode([1]), encode({}), encode(None), b""),
}

MANY = 10_000
KINDS: dict[str, tuple[Callable[[Where], Awaitable[None]], int]] = {
    "oversized": (_once(_hello(), (2**32 - 1).to_bytes(4, "big") + bytes(100)), TASKS),
    "truncated": (_once(_hello(), _said(bytes(1_000))[:-1], half=True), TASKS),
    "garbage": (_once(bytes(range(256)) * 16), TASKS),
    "a browser": (_once(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), TASKS),
    "a wrong checksum": (_once(_hello(), frame(b"\0\1\x80")[:-1] + b"\1"), TASKS),
    "empty frames": (_once(_hello(), bytes(8)), TASKS),
    "half-closed": (_once(_hello(), half=True), TASKS),
    "slow": (_slow, 400),
    "endless": (_endless, 400),
    "deaf": (_deaf, TASKS),
    "unknown methods": (_unknown, TASKS),
    "deaf followers": (_deaf_followers, TASKS),
    "greedy followers": (_greedy_followers, TASKS),
    "silent": (_silent, MANY),
    **{name: (_bodies(*bodies), TASKS) for name, bodies in BODIES.items()},
}
"""What is done, and by how many at a time."""


async def _again(attack: Callable[[Where], Awaitable[None]], where: Where) -> None:
    global _done
    while True:
        await attack(where)
        if attack is not _silent:
            _done += 1


async def main(kind: str, host: str, port: str) -> None:
    attack, tasks = KINDS[kind]
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(_again, attack, (host, int(port)))
        while True:
            await trio.sleep(TOLD_SECONDS)
            print(_done, flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
