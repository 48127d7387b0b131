"""`troupe certs`: the certificates by which nodes and clients of a cluster know each other."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from actors._protocol.credential import Credential

if TYPE_CHECKING:
    from broadcast.cli._certificates import Files

AUTHORITY_DAYS, LEAF_DAYS = 3_650, 397
"""How long a certificate is good, unless it is said."""
_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the two files there instead, as when certificates are renewed.",
)
_DAYS = click.option(
    "--days", type=click.IntRange(1, 36_500), default=LEAF_DAYS, show_default=True, help="How long it is good."
)


@click.group
def command() -> None:
    """Make the certificates that let nodes and clients in, and keep everybody else out.

    \b
    troupe certs init certs                the cluster's authority, once
    troupe certs node certs a              for each node, by its name
    troupe certs client certs reports      for each client program
    troupe certs revoke certs certs/node-a.pem    when a key was stolen

    Each machine needs three files: its own .pem and .key, and authority.pem. authority.key stays where it was made: who
    has it can make a certificate for anybody. A program names the files:

    \b
    Tls(certificate="node-a.pem", key="node-a.key", authority="authority.pem")

    as tls= of open_group, open_node or connect. Nothing is ever written over, but for the list of what is revoked.
    """


@command.command
@_DIRECTORY
@click.option(
    "--days", type=click.IntRange(1, 36_500), default=AUTHORITY_DAYS, show_default=True, help="How long it is good."
)
def init(directory: Path, days: int) -> None:
    """Make an authority in DIRECTORY: authority.pem, to be given to all, and authority.key, to be given to nobody.

    The directory is made if it is not there, and must be open to its owner only.
    """
    make = _maker()
    _tell(lambda: make.make_authority(directory, days))


@command.command
@_DIRECTORY
@click.argument("name")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST",
    help="A name or address of its host, for tools that look for one; nodes go by NAME alone. May be given again.",
)
@_DAYS
@_OUT
def node(directory: Path, name: str, addresses: tuple[str, ...], days: int, out: Path | None) -> None:
    """Make node-NAME.pem and node-NAME.key for the node NAME, signed by the authority in DIRECTORY."""
    credential = Credential("node", name)
    make = _maker()
    _tell(lambda: make.make_leaf(directory, credential, addresses, days, out))


@command.command
@_DIRECTORY
@click.argument("name")
@_DAYS
@_OUT
def client(directory: Path, name: str, days: int, out: Path | None) -> None:
    """Make client-NAME.pem and client-NAME.key for the client NAME, signed by the authority in DIRECTORY.

    NAME is what the cluster knows it by: the sender of its commands. Programs that are one to the cluster may share it.
    """
    credential = Credential("client", name)
    make = _maker()
    _tell(lambda: make.make_leaf(directory, credential, (), days, out))


@command.command
@_DIRECTORY
@click.argument("certificates", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
def revoke(directory: Path, certificates: tuple[Path, ...]) -> None:
    """Put CERTIFICATES on the list of those that count no more, the file revoked.pem in DIRECTORY.

    Give the list to all machines, and name it: Tls(..., revoked="revoked.pem"). It may be empty, so that there is one.
    """
    make = _maker()
    try:
        path = make.revoke(directory, certificates)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{path}  to be given to all machines")


def _maker() -> ModuleType:
    """What makes certificates; imported only here, as what it needs may not be there."""
    if find_spec("cryptography") is None:
        raise click.ClickException("this needs the library cryptography: pip install 'trio-troupe[certs]'")
    return import_module("broadcast.cli._certificates")


def _tell(made: Callable[[], Files]) -> None:
    try:
        files = made()
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{files.certificate}  good until {files.ends:%Y-%m-%d}")
    click.echo(f"{files.key}  to be kept secret")
