"""`troupe status`: what the members of a group say of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence

import click
import msgspec
import trio

from actors import LinkBroken, Network, RemoteProtocolError, Tls, TlsError
from actors._client_link import open_client_link
from actors._node import NO_SUCH, secured
from actors._protocol.address import parse_address
from actors._protocol.codec import encode_struct
from broadcast._protocol.visits import TO_CLIENT, Status, StatusAsked

ANSWER_SECONDS = 3.0  # within which a member answers
UNKNOWN = "?"
FILE = click.Path(exists=True, dir_okay=False)
COLUMNS = ("member", "address", "role", "epoch", "leader", "commit", "applied", "last", "first", "snapshot", "sessions")


class Silent(msgspec.Struct, frozen=True):
    """A member that did not say."""

    node: str
    address: str
    trouble: str


@click.command
@click.argument("group")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each member, a line each.")
@click.option("--certificate", type=FILE, help="Of a client or a node, for members that ask for one.")
@click.option("--key", type=FILE, help="The key of that certificate.")
@click.option("--authority", type=FILE, help="The certificate of the cluster's authority.")
def command(
    group: str,
    addresses: tuple[str, ...],
    as_json: bool,
    certificate: str | None,
    key: str | None,
    authority: str | None,
) -> None:
    """What each member of GROUP says of it.

    ADDRESS is host:port of a member; one that answers is enough to find the others. The exit status is 0 if a leader is
    known to a majority of the voters that agree on it, 1 if not, 2 if no member answered.
    """
    for address in addresses:
        try:
            parse_address(address)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    given = (certificate, key, authority)
    if any(given) and not all(given):
        raise click.UsageError("--certificate, --key and --authority are given together, or not at all")
    tls = Tls(certificate=certificate, key=key, authority=authority) if certificate and key and authority else None
    try:
        found = trio.run(ask_all, group, addresses, tls)
    except* TlsError as unusable:
        raise click.ClickException(str(unusable.exceptions[0])) from None
    except* KeyboardInterrupt:
        sys.exit(130)
    if as_json:
        for each in found:
            click.echo(msgspec.json.encode(msgspec.structs.asdict(each)).decode())
    else:
        click.echo(table(group, found))
    sys.exit(verdict(found))


def verdict(found: Sequence[Status | Silent]) -> int:
    """The exit status: 0 in order, 1 without an agreed leader, 2 without any answer."""
    answers = [each for each in found if isinstance(each, Status)]
    if not answers:
        return 2
    newest = max(each.epoch for each in answers)
    telling = [each for each in answers if each.epoch == newest and each.leader is not None]
    return 0 if any(_agreed(each, telling) for each in telling) else 1


def _agreed(one: Status, telling: Sequence[Status]) -> bool:
    """Do a majority of its voters tell of the leader that it tells of?"""
    agreeing = {each.node for each in telling if each.leader == one.leader}
    return 2 * len(agreeing & set(one.voters)) > len(one.voters)


def table(group: str, found: Sequence[Status | Silent]) -> str:
    """The members' words side by side, and what is amiss below."""
    rows = [COLUMNS, *(_row(each) for each in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    troubles = [f"{_who(each)}: {_trouble(each)}" for each in found if _trouble(each)]
    return "\n".join([f"group {group}", "", *lines, *([""] if troubles else []), *troubles])


def _row(said: Status | Silent) -> tuple[str, ...]:
    if isinstance(said, Silent):
        return (said.node, said.address, "silent", *["-"] * (len(COLUMNS) - 3))
    numbers = (said.commit, said.applied, said.last, said.first, said.snapshot, said.sessions)
    address = said.members.get(said.node) or UNKNOWN
    return (said.node, address, said.role, str(said.epoch), said.leader or "-", *map(str, numbers))


def _who(said: Status | Silent) -> str:
    return said.address if isinstance(said, Silent) and said.node == UNKNOWN else said.node


def _trouble(said: Status | Silent) -> str | None:
    if isinstance(said, Silent):
        return said.trouble
    if said.waiting is None and said.newest > said.version:
        return f"runs version {said.newest} of the class; {said.version} is in force until all voters run a later one"
    return said.waiting


async def ask_all(group: str, addresses: Sequence[str], tls: Tls | None = None) -> list[Status | Silent]:
    """Ask those named, and then whom they name. Raises TlsError."""
    network = await secured(None, tls)
    known = dict.fromkeys(addresses, UNKNOWN)
    found: dict[str, Status | Silent] = {}
    while unasked := [address for address in known if address not in found]:
        async with trio.open_nursery() as nursery:
            for address in unasked:
                nursery.start_soon(_ask, group, address, network, found)
        for said in found.values():
            if isinstance(said, Status):
                known.update((address, name) for name, address in said.members.items() if address)
    return sorted(_rows(found.values(), known), key=lambda each: each.node)


def _rows(found: Collection[Status | Silent], known: Mapping[str, str]) -> list[Status | Silent]:
    """One of each member, at however many addresses it was asked. known: address -> name, as others have told it."""
    answers = {each.node: each for each in found if isinstance(each, Status)}
    silent = [Silent(known[each.address], each.address, each.trouble) for each in found if isinstance(each, Silent)]
    return [*answers.values(), *(each for each in silent if each.node not in answers)]


async def _ask(group: str, address: str, network: Network, found: dict[str, Status | Silent]) -> None:
    said: Status | str = f"did not answer within {ANSWER_SECONDS:g} s"
    with trio.move_on_after(ANSWER_SECONDS):
        said = await _ask_one(group, address, network)
    found[address] = said if isinstance(said, Status) else Silent(UNKNOWN, address, said)


async def _ask_one(group: str, address: str, network: Network) -> Status | str:
    """What the member at this address says, or why it does not."""
    try:
        async with open_client_link(address, network=network) as link:
            link.send(group, "group", encode_struct(StatusAsked()))
            try:
                async for envelope in link:
                    if envelope.tag == NO_SUCH:
                        return f"the node {link.node} has no group {group!r}"
                    said = TO_CLIENT.decode(envelope.body)
                    if isinstance(said, Status):
                        return said
            except (LinkBroken, RemoteProtocolError) as error:
                return str(error)
    except OSError as error:
        number = error.errno or 0
        return os.strerror(number) if number > 0 else str(error)  # those of looking up a name are negative
    except ValueError as error:  # a member may name an address that is none
        return str(error)
    return "did not answer"
