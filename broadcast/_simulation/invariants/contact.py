"""Whom a leader has heard, and when: counted anew, from the answers that came."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard, get_args

from broadcast._protocol.leader import Leadership
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    PartReply,
    SnapshotPart,
)
from broadcast._simulation.invariants.base import Process

Word: TypeAlias = Append | Heartbeat | Committed | SnapshotPart
"""What only a leader says."""
Answer: TypeAlias = AppendReply | HeartbeatReply | PartReply

_WORDS = frozenset(get_args(Word))
_ANSWERS = frozenset(get_args(Answer))


def leads_on(message: Message) -> TypeGuard[Word]:
    """Does its sender say that it leads?"""
    return type(message) in _WORDS


def _answers(message: Message) -> TypeGuard[Answer]:
    return type(message) in _ANSWERS


class Contact:
    """Of every leader with its voters, on its own clock."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[Leadership | None, int]] = {}  # leader -> what it leads, and since when
        self._heard: dict[str, dict[str, int]] = {}  # leader -> member -> when

    def elected(self, process: Process) -> None:
        """From now on it leads; the voters have just been heard."""
        self._began[process.name] = process.replica.leadership, process.clock
        self._heard[process.name] = {}

    def heard(self, process: Process, sender: str, message: Message) -> None:
        """A message was taken in."""
        leadership = process.replica.leadership
        if leadership is not None and _answers(message) and message.epoch == leadership.epoch:
            self._heard.setdefault(process.name, {})[sender] = process.clock

    def within(self, process: Process, span: int) -> bool:
        """Has this leader heard a commit quorum, itself included, in the last `span` microseconds, or just begun?"""
        configuration, since = process.replica.configuration, process.clock - span
        leadership, began = self._began.get(process.name, (None, 0))
        if configuration is None or leadership is not process.replica.leadership or began >= since:
            return True
        heard = {name for name, at in self._heard[process.name].items() if at >= since}
        return configuration.commits(frozenset(heard | {process.name}))
