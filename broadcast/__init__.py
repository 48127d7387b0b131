"""Total-order broadcast: one class, replicated; every replica delivers the same commands in the same order."""

from broadcast._client import connect
from broadcast._delivery import Deliveries, Delivery
from broadcast._errors import (
    AnswerNotKept,
    CannotApply,
    CannotCapture,
    CannotRestore,
    Compacted,
    Diverged,
    GroupClosed,
    Outdated,
    SessionExpired,
    WrongClass,
)
from broadcast._group import Group, GroupRef, LocalGroup, join, local_group, open_group
from broadcast._pipeline import Pipeline
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.position import Position
from broadcast._protocol.visits import Status
from broadcast._storage import DiskDamaged, DiskFailed, DiskRefused

__all__ = [
    "AnswerNotKept",
    "CannotApply",
    "CannotCapture",
    "CannotRestore",
    "Compacted",
    "Consistency",
    "Deliveries",
    "Delivery",
    "DiskDamaged",
    "DiskFailed",
    "DiskRefused",
    "Diverged",
    "Group",
    "GroupClosed",
    "GroupRef",
    "LocalGroup",
    "Outdated",
    "Pipeline",
    "Position",
    "SessionExpired",
    "Status",
    "WrongClass",
    "connect",
    "join",
    "local_group",
    "open_group",
]
