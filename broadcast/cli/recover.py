"""`troupe recover`: a group that has lost its majority for good begins anew, with what one member is left with."""

from __future__ import annotations

from pathlib import Path

import click

from actors import DataDirectoryError
from broadcast._recovery import CannotRecover, recover
from broadcast._storage import DiskDamaged, DiskFailed, DiskFull, DiskRefused


@click.command
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--node", required=True, help="The name of the node whose directory this is.")
@click.option("--group", required=True, help="The group to begin anew.")
@click.option("--accept-data-loss", is_flag=True, help="Needed: what only the lost members had is gone.")
def command(data: Path, node: str, group: str, accept_data_loss: bool) -> None:
    """Begin a group anew, with the node in DATA as its only voter.

    For a group of which so many members are lost for good that the rest can decide nothing any more. Stop the members
    that are left, and choose the one whose log goes furthest (`last` in `troupe status`). It keeps its log; commands
    that were answered, and that it never got, are lost. Then start it, and add the others, each with an empty data
    directory. A member of the old group that comes back takes no part in the new one.

    All that is in DATA is looked at first, as `troupe log verify` does. Where that finds anything wrong, or that this
    member had another state than a majority, nothing is changed: take another member that is left.
    """
    if not accept_data_loss:
        raise click.UsageError(
            "commands that only the lost members have are gone by this, also such as were answered; say that you "
            "accept that, by --accept-data-loss"
        )
    try:
        done = recover(data, node, group)
    except (CannotRecover, DataDirectoryError, DiskDamaged, DiskRefused, DiskFailed, DiskFull, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{done.node} is the only voter of {done.group!r} now, which is cluster {done.cluster.hex()[:8]}; before, it "
        f"was {done.old_cluster.hex()[:8]}, with {', '.join(done.before)}.\n"
        f"Its log was kept up to index {done.last}; up to {done.committed} it was known to be committed. What others "
        f"had acknowledged beyond {done.last} is lost; what is between may never have been answered, and counts now.\n"
        "Start the node; then add the others, each with an empty data directory (membership.add). Sessions of clients "
        "begin anew: what they had under way is of unknown outcome."
    )
