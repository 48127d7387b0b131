"""A replica in a process of its own that tells how regularly it hears its leader: `python -m pulsing SETTINGS`.

Beside what `noting` does if NOTES is in the environment, and `broadcast.cli.replica` if not. PULSES in the environment
names the file that gets a pulse, with the time by the clock that all processes of a machine share, for

    each heartbeat that was received, with its epoch;
    the first command that is delivered in an epoch, with that;
    each time that Trio's loop came to a task too late, with the microseconds, less those in which it computed: so long
        the machine or this process stood still.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import trio

import broadcast._replica
from broadcast import Delivery
from broadcast._protocol.messages import GroupMessage, Heartbeat
from broadcast.cli import replica
from broadcast.cli._order import Order
from broadcast.cli._process import ReplicaProcess
from broadcast.cli._talk import Said, Settings

COMMAND = sys.executable, "-m", "pulsing"
PULSE = struct.Struct(">cQQ")
LOOK_SECONDS = 0.02  # between two looks at the loop
LATE = 50_000  # microseconds; from there on it is told


class Kind(Enum):
    HEARTBEAT = b"h"
    DELIVERY = b"d"
    LATE = b"l"


class Pulse(NamedTuple):
    """at: when, in microseconds. value: an epoch, or the microseconds that the loop stood still."""

    kind: Kind
    at: int
    value: int


def now() -> int:
    return time.monotonic_ns() // 1_000


# -- for the test ------------------------------------------------------------------------------------------------------


class Pulses:
    """What these processes tell, over all their lives. They must not have been started yet."""

    def __init__(self, processes: Mapping[str, ReplicaProcess], directory: Path) -> None:
        self._files = {name: directory / f"{name}.pulses" for name in processes}
        for name, process in processes.items():
            process.command = COMMAND
            process.environment = self.environment(name)

    def environment(self, name: str) -> dict[str, str]:
        """What the process of this one needs."""
        return {"PULSES": str(self._files[name])}

    def of(self, name: str, kind: Kind, since: int = 0) -> list[Pulse]:
        """Of this one, from that time on, in order."""
        told = self._files[name].read_bytes() if self._files[name].exists() else b""
        whole = told[: len(told) - len(told) % PULSE.size]
        pulses = (Pulse(Kind(code), at, value) for code, at, value in PULSE.iter_unpack(whole))
        return [pulse for pulse in pulses if pulse.kind is kind and pulse.at >= since]

    def longest_gap(self, name: str, since: int, until: int) -> float:
        """Between two heartbeats that this one received meanwhile, in seconds; the ends count as if there were one."""
        heard = [pulse.at for pulse in self.of(name, Kind.HEARTBEAT, since) if pulse.at <= until]
        times = [since, *heard, until]
        return max(later - earlier for earlier, later in pairwise(times)) / 1_000_000

    def delivered_at(self, names: Iterable[str], after_epoch: int) -> int | None:
        """When one of these was the first to deliver a command of a newer epoch; None if none has yet."""
        delivered = (pulse for name in names for pulse in self.of(name, Kind.DELIVERY))
        return min((pulse.at for pulse in delivered if pulse.value > after_epoch), default=None)

    def late(self, since: int) -> list[float]:
        """How long their loops stood still, each time that they did, in seconds."""
        return [pulse.value / 1_000_000 for name in self._files for pulse in self.of(name, Kind.LATE, since)]


# -- the process -------------------------------------------------------------------------------------------------------


class _Pulse:
    def __init__(self) -> None:
        self._file = os.open(os.environ["PULSES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._delivered = 0

    def decoding(self, decode: Callable[[bytes], GroupMessage]) -> Callable[[bytes], GroupMessage]:
        def decode_and_tell(data: bytes) -> GroupMessage:
            said = decode(data)
            if isinstance(said.message, Heartbeat):
                self._tell(Kind.HEARTBEAT, said.message.epoch)
            return said

        return decode_and_tell

    def adding(self, add: Callable[[Order, Delivery], None]) -> Callable[[Order, Delivery], None]:
        def add_and_tell(order: Order, delivery: Delivery) -> None:
            if delivery.position.epoch > self._delivered:
                self._delivered = delivery.position.epoch
                self._tell(Kind.DELIVERY, delivery.position.epoch)
            add(order, delivery)

        return add_and_tell

    async def watch_loop(self) -> None:
        while True:
            due, computed = trio.current_time() + LOOK_SECONDS, time.thread_time()
            await trio.sleep_until(due)
            computed -= time.thread_time()
            late = round((trio.current_time() - due + computed) * 1_000_000)
            if late >= LATE:
                self._tell(Kind.LATE, late)

    def _tell(self, kind: Kind, value: int) -> None:
        os.write(self._file, PULSE.pack(kind.value, now(), value))


def main() -> None:
    """The process."""
    import noting

    pulse, serve = _Pulse(), replica.serve

    async def serve_watched(settings: Settings, say: Callable[[Said], None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pulse.watch_loop)
            await serve(settings, say)
            nursery.cancel_scope.cancel()

    broadcast._replica.decode_message = pulse.decoding(broadcast._replica.decode_message)
    Order.add = pulse.adding(Order.add)  # type: ignore[method-assign]
    replica.serve = serve_watched
    (noting if "NOTES" in os.environ else replica).main()


if __name__ == "__main__":
    main()
