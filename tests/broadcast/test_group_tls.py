"""A whole group under TLS: members, a client and `troupe status` prove who they are, others get nothing (rule 32)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import structlog.testing
import trio
import trio.testing

from actors import Actor, Tls, TlsError, command
from actors._protocol.credential import Credential
from broadcast import Status, connect, open_group
from broadcast.cli._certificates import make_authority, make_leaf
from broadcast.cli._process import loopback_addresses
from broadcast.cli.status import ask_all
from membership import Limits

LIMITS = Limits(election_timeout=200_000)


class Guests(Actor):
    def __init__(self) -> None:
        self.names: list[str] = []

    @command
    def enter(self) -> list[str]:
        self.names.append(self.context.sender or "")
        return self.names


def tls(directory: Path, role: str, name: str, days: int = 100) -> Tls:
    files = make_leaf(directory, Credential(role, name), days=days)
    return Tls(certificate=files.certificate, key=files.key, authority=directory / "authority.pem")


async def test_a_group_works_under_tls_and_knows_its_clients_by_their_certificates(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    make_authority(certs)
    make_authority(tmp_path / "elsewhere")
    with loopback_addresses("abc") as members, trio.fail_after(60):
        async with AsyncExitStack() as stack:
            for name in members:
                opened = open_group(
                    "guests", Guests, node=name, members=members, data=None, limits=LIMITS, tls=tls(certs, "node", name)
                )
                group = await stack.enter_async_context(opened)
            assert await group.ask(Guests.enter) == ["c"]
            reports = tls(certs, "client", "reports")
            async with connect("guests", Guests, members=members, tls=reports) as client:
                assert await client.ask(Guests.enter) == ["c", "reports"]
            told = await ask_all("guests", [members["a"]], reports)
            assert [each.node for each in told if isinstance(each, Status)] == ["a", "b", "c"]
            foreign = tls(tmp_path / "elsewhere", "client", "reports")
            for uninvited in (None, foreign):
                assert not any(isinstance(each, Status) for each in await ask_all("guests", [members["a"]], uninvited))
            with pytest.raises(ValueError, match="leave the name out"):
                async with connect("guests", Guests, members=members, tls=reports, name="sales"):
                    pass


async def test_a_client_is_warned_too_before_its_certificate_ends(tmp_path: Path) -> None:
    make_authority(tmp_path / "certs")
    with structlog.testing.capture_logs() as lines:
        ending = tls(tmp_path / "certs", "client", "reports", days=10)
        async with connect("guests", Guests, members={"a": "127.0.0.1:1"}, tls=ending):
            await trio.testing.wait_all_tasks_blocked()
    assert [(line["event"], line["client"]) for line in lines] == [("certificates end soon", "reports")]


async def test_a_replica_shows_its_own_certificate_or_does_not_start(tmp_path: Path) -> None:
    make_authority(tmp_path / "certs")
    wrong = tls(tmp_path / "certs", "node", "b")
    data = tmp_path / "data"
    with pytest.raises(TlsError, match="that of node 'b', and this is node 'a'"):
        async with open_group("guests", Guests, node="a", members={"a": "127.0.0.1:0"}, data=data, tls=wrong):
            pass
    assert names_in(tmp_path) == ["certs"]


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]
