"""`troupe log`: what a stopped node has on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from actors import DataDirectoryError
from broadcast._storage import DiskFailed, DiskFull, DiskRefused, Stored
from broadcast._verify import Found, GroupFound, verify


@click.group
def command() -> None:
    """Look at the data directory of a node that is stopped."""


@command.command("verify")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
def verify_command(data: Path) -> None:
    """Is all that is in DATA as it was written?

    Every checksum, every entry and every snapshot is looked at. Nothing is changed; the log is copied for the while.
    A node whose data is damaged does not start: the way back is an empty directory, and to be added again. Neither
    does one that was found to have another state than a majority; then that is said.

    The exit status is 0 if all is well, 1 if something is damaged or no replica goes on with it, and 2 if that cannot
    be said: a process has the directory, or it is none of a node.
    """
    try:
        found = verify(data)
    except (DataDirectoryError, DiskRefused, DiskFailed, DiskFull, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    for line in told(found):
        click.echo(line)
    sys.exit(1 if is_damaged(found) or has_diverged(found) else 0)


def is_damaged(found: Found) -> bool:
    return found.damage is not None or any(group.damage is not None for group in found.groups)


def has_diverged(found: Found) -> bool:
    return any(group.divergence is not None for group in found.groups)


def told(found: Found) -> list[str]:
    """In words, a line for each thing."""
    lines = [f"node {found.node}"]
    if found.damage is not None:
        lines.append(f"damaged: {found.damage}")
    elif not found.groups:
        lines.append("it has joined no group")
    for group in found.groups:
        lines.append(_line(group))
        if group.damage is not None:
            lines.append(f"  damaged: {group.damage}")
        if group.divergence is not None:
            lines.append(f"  diverged: {group.divergence}")
    if not (is_damaged(found) or has_diverged(found)):
        lines.append("all of it is as it was written")
    return lines


def _line(group: GroupFound) -> str:
    stored = group.stored
    if stored.formation is None:
        return f"group {group.name}: it has not formed"
    parts = [_log(stored), f"promise of epoch {stored.promise.epoch}"]
    if stored.snapshot is not None:
        parts.append(f"snapshot at index {stored.snapshot.index}, of {stored.snapshot.size} bytes")
    return f"group {group.name}: {', '.join(parts)}"


def _log(stored: Stored) -> str:
    if not stored.batches:
        return f"no entries beyond index {stored.start.index}"
    return f"entries {stored.start.index + 1} to {stored.end.index}, committed up to {stored.commit} at least"
