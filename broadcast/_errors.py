"""What can go wrong with a replicated group, beyond what `actors` names."""

from __future__ import annotations

from actors._protocol.errors import OutcomeUnknown


class GroupClosed(OutcomeUnknown):
    """This handle was closed while an answer was awaited."""


class SessionExpired(OutcomeUnknown):
    """The group forgot this session while a command was under way: it was away for longer than the session's term."""


class Compacted(Exception):
    """That part of the order is no longer held here. Start from a snapshot, or from `first_index`."""

    def __init__(self, first_index: int) -> None:
        super().__init__(f"the order is held from index {first_index} on; start there, or from a snapshot")
        self.first_index = first_index
