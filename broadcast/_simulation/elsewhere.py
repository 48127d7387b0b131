"""An order, run again in two other processes at once, which differ in all that a command must not look at.

The one is as plain as can be, the other is in another place (see `foreign`); and their hashes have other seeds, which
follow from the history's: so that what is found does not depend on the process that looks.

`python -m broadcast._simulation.elsewhere` is such a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from threading import Timer
from typing import IO

import msgspec

from actors._actor import Actor
from broadcast._simulation import foreign, loading
from broadcast._simulation.loading import CannotLoadError, Where
from broadcast._simulation.shadow import Log, Step, no_deeds, steps

SECONDS_MAX = 120.0
NOT_LOADED = 3  # exit code
HASH_SEEDS = 2**32
LENGTH_SIZE = 8


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What such a process is to do."""

    where: Where
    log: Log
    is_foreign: bool


def pairs(actor: type[Actor], log: Log, seed: int) -> Generator[tuple[Step, Step], None, None]:
    """Each step there and in the other place. Raises `CannotLoadError` if the class cannot be had there."""
    where = loading.where(actor)
    with ExitStack() as stack:
        runs = [stack.enter_context(_Run(Order(where, log, at > 0), 2 * seed + at)) for at in range(2)]
        yield from zip(*runs, strict=False)


class _Run:
    """The steps that another process tells, one after the other."""

    def __init__(self, order: Order, hash_seed: int) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with all else
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(  # noqa: S603 - what runs there runs here
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={
                **os.environ,
                loading.SHADOW: "1",
                "PYTHONHASHSEED": str(hash_seed % HASH_SEEDS),
                "PYTHONPATH": path,
            },
        )
        self._timer = Timer(SECONDS_MAX, self._process.kill)
        self._timer.daemon = True
        self._order = order

    def __enter__(self) -> Iterator[Step]:
        self._timer.start()
        try:
            _stream(self._process.stdin).write(msgspec.msgpack.encode(self._order))
            _stream(self._process.stdin).close()
        except BrokenPipeError:
            pass  # it tells why
        return self._steps()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        _stream(self._process.stdout).close()
        self._complaints.close()

    def _steps(self) -> Iterator[Step]:
        told = _stream(self._process.stdout)
        while len(length := told.read(LENGTH_SIZE)) == LENGTH_SIZE:
            yield msgspec.msgpack.decode(told.read(int.from_bytes(length, "big")), type=Step)
        code = self._process.wait()
        if code:
            self._complaints.seek(0)
            complaint = self._complaints.read().decode(errors="replace").strip()
            if code != NOT_LOADED:  # a traceback, or nothing: it was killed
                last = (complaint.splitlines() or [f"{SECONDS_MAX:.0f} s are its limit"])[-1]
                complaint = f"that process ended with {code}: {last}"
            raise CannotLoadError(complaint)


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("it was asked for")
    return stream


def main() -> None:
    """The other process."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the actor prints is no step
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    watcher = foreign.install() if order.is_foreign else None
    try:
        actor = loading.load(order.where)
    except BaseException as error:
        sys.stderr.write(f"loading {order.where.file or order.where.module} raised {type(error).__name__}: {error}")
        sys.exit(NOT_LOADED)
    if watcher is not None:
        foreign.enter(watcher)
    with os.fdopen(out, "wb") as told:
        for step in steps(actor, order.log, deeds=watcher.take if watcher else no_deeds):
            encoded = msgspec.msgpack.encode(step)
            told.write(len(encoded).to_bytes(LENGTH_SIZE, "big") + encoded)


if __name__ == "__main__":
    main()
