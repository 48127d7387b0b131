"""What a replica's process and whoever started it say to each other: JSON, one message a line."""

from __future__ import annotations

import msgspec

from broadcast.cli._order import Report

STOP_SECONDS = 5.0  # after the end of its input, within which a replica's process has ended, one way or the other


class Settings(msgspec.Struct, frozen=True):
    """What a replica's process is told when it starts.

    actor: "module:Class". members: name -> address. data: the replica's own directory.
    """

    group: str
    actor: str
    node: str
    members: dict[str, str]
    data: str


class Listening(msgspec.Struct, frozen=True, tag=True):
    """The replica is open; it waits for no quorum."""


class ViewBegan(msgspec.Struct, frozen=True, tag=True, order=True):
    """A view began at this replica: `leader` leads in `epoch`."""

    epoch: int
    leader: str


class Reported(msgspec.Struct, frozen=True, tag=True):
    """The answer to `ReportWanted`."""

    report: Report


class CannotRun(msgspec.Struct, frozen=True, tag=True):
    """The replica ends, for this reason."""

    error: str
    text: str


class ReportWanted(msgspec.Struct, frozen=True):
    """Report once this many commands were delivered, or after so many seconds what there is by then."""

    delivered: int
    within: float


Said = Listening | ViewBegan | Reported | CannotRun

encode_line = msgspec.json.Encoder().encode
SAID: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)
WANTED = msgspec.json.Decoder(ReportWanted)
SETTINGS = msgspec.json.Decoder(Settings)
