"""What subscribers of the total order get."""

from __future__ import annotations

from dataclasses import dataclass

from actors._protocol.clock import Timestamp
from broadcast._protocol.position import Position


@dataclass(frozen=True, slots=True)
class Delivery:
    """A command as it was applied: one place in the total order.

    position: (epoch, index). timestamp: its Lamport stamp. time: log time, microseconds since 1970.
    sender: who asked. tag: which command, `arguments`: with what.
    """

    position: Position
    timestamp: Timestamp
    time: int
    sender: str
    tag: str
    arguments: tuple[object, ...]
