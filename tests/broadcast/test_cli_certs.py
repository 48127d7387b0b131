"""`troupe certs`: files that fit, for their owner only, and never over others."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from actors import Tls
from actors._protocol.credential import Credential
from actors._tls import Credentials
from broadcast.cli import certs
from broadcast.cli.certs import command


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments], prog_name="troupe certs")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    assert run("init", tmp_path / "certs").exit_code == 0
    return tmp_path / "certs"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("role", "name"), [("node", "a"), ("client", "reports"), ("node", "n" * 128)])
def test_what_it_makes_is_what_a_node_or_client_needs(directory: Path, role: str, name: str) -> None:
    made = run(role, directory, name)
    assert made.exit_code == 0, made.output
    certificate, key = (directory / f"{role}-{name}.{kind}" for kind in ("pem", "key"))
    assert [line.split()[0] for line in made.output.splitlines()] == [str(certificate), str(key)]
    tls = Tls(certificate=certificate, key=key, authority=directory / "authority.pem")
    assert Credentials(tls).credential == Credential(role, name)


def test_no_client_has_the_name_of_a_node(directory: Path) -> None:
    run("node", directory, "a")
    assert "'a' is the name of a node already" in run("client", directory, "a").output
    run("client", directory, "b")
    assert "'b' is the name of a client already" in run("node", directory, "b").output
    assert not (directory / "client-a.key").exists()


def test_keys_are_for_their_owner_only(directory: Path) -> None:
    run("node", directory, "a")
    assert mode(directory) == 0o700
    assert sorted(directory.glob("*.key")) == [directory / "authority.key", directory / "node-a.key"]
    assert {mode(path) for path in directory.glob("*.key")} == {0o600}


def test_nothing_is_written_over(directory: Path, tmp_path: Path) -> None:
    run("node", directory, "a")
    before = {path: path.read_bytes() for path in directory.iterdir()}
    for again in (("init", directory), ("node", directory, "a")):
        refused = run(*again)
        assert refused.exit_code == 1
        assert "is there already, and nothing is written over" in refused.output
    (directory / "node-b.pem").write_text("somebody's")
    assert run("node", directory, "b").exit_code == 1
    assert not (directory / "node-b.key").exists()
    (directory / "node-b.pem").unlink()
    assert {path: path.read_bytes() for path in directory.iterdir()} == before
    assert run("node", directory, "a", "--out", tmp_path / "new").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["node-a.key", "node-a.pem"]


def test_they_are_good_for_as_long_as_is_said_and_no_longer_than_their_authority(tmp_path: Path) -> None:
    run("init", tmp_path / "certs", "--days", "100")
    for name, options, days in (("a", ["--days", "30"], 30), ("b", [], 100)):
        run("node", tmp_path / "certs", name, *options)
        found = x509.load_pem_x509_certificate((tmp_path / "certs" / f"node-{name}.pem").read_bytes())
        assert abs(found.not_valid_after_utc - datetime.now(UTC) - timedelta(days=days)) < timedelta(hours=1)


def test_addresses_are_in_a_nodes_certificate(directory: Path) -> None:
    made = run("node", directory, "a", "--address", "10.0.0.1", "--address", "b\u00fccher.example", "--address", "::1")
    assert made.exit_code == 0, made.output
    found = x509.load_pem_x509_certificate((directory / "node-a.pem").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == ["troupe://node/a", "10.0.0.1", "xn--bcher-kva.example", "::1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("node", "{}", "no/name"), "'no/name' cannot be a name"),
        (("node", "{}", "a", "--address", "x" * 70), "is no name of a host"),
        (("node", "{}/nothing", "a"), "holds no authority.pem: make an authority first"),
        (("client", "{}", "a", "--days", "0"), "0 is not in the range"),
        (("init", "/dev/null/x"), "cannot be used"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(directory: Path, arguments: tuple[str, ...], told: str) -> None:
    refused = run(*(each.format(directory) for each in arguments))
    assert refused.exit_code in (1, 2)
    assert told in refused.output
    assert "Traceback" not in refused.output


def test_a_directory_that_others_look_into_holds_no_keys(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    for arguments in (("init", tmp_path / "open"), ("node", directory, "a", "--out", tmp_path / "open")):
        assert f"chmod 700 {tmp_path / 'open'}" in run(*arguments).output
    assert list((tmp_path / "open").iterdir()) == []


def test_an_authority_that_is_damaged_signs_nothing(directory: Path) -> None:
    for name in ("authority.key", "authority.pem"):
        whole = (directory / name).read_bytes()
        (directory / name).write_text("garbage")
        told = run("node", directory, "a").output
        assert f"{directory / name} cannot be read: it is not what `troupe certs init` has written there" in told
        (directory / name).write_bytes(whole)
    assert not (directory / "node-a.key").exists()


def test_a_key_with_a_passphrase_signs_nothing(directory: Path) -> None:
    key = serialization.load_pem_private_key((directory / "authority.key").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (directory / "authority.key").write_bytes(locked)
    assert f"{directory / 'authority.key'} has a passphrase" in run("node", directory, "a").output


def test_half_an_authority_is_not_told_to_be_made(directory: Path) -> None:
    """`troupe certs init` would refuse, while the other half is there."""
    for name in ("authority.key", "authority.pem"):
        whole = (directory / name).read_bytes()
        (directory / name).unlink()
        told = run("node", directory, "a").output
        assert f"{directory} holds no {name}, which belongs to what is there: put that back" in told
        assert "certs init" not in told
        (directory / name).write_bytes(whole)


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certs, "find_spec", lambda name: None)
    for arguments in (("init", tmp_path / "x"), ("node", tmp_path / "x", "a"), ("client", tmp_path / "x", "a")):
        refused = run(*arguments)
        assert refused.exit_code == 1
        assert "pip install 'trio-troupe[certs]'" in refused.output
    assert run("node", "--help").exit_code == 0


def test_the_help_says_what_goes_where() -> None:
    told = run("--help").output
    for word in ("authority.pem", "authority.key", "node-a.pem", "tls=", "open_group"):
        assert word in told


# -- revoking --------------------------------------------------------------------------------------------------------


def serials(path: Path) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl(path.read_bytes())}


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_what_is_revoked_is_on_the_list_and_stays_there(directory: Path) -> None:
    for name in "ab":
        run("node", directory, name)
    a, b, revoked = directory / "node-a.pem", directory / "node-b.pem", directory / "revoked.pem"
    assert run("revoke", directory).output.split()[0] == str(revoked)
    assert serials(revoked) == set()
    assert run("revoke", directory, a).exit_code == 0
    assert run("revoke", directory, a, b).exit_code == 0
    assert serials(revoked) == {serial(a), serial(b)}
    authority = x509.load_pem_x509_certificate((directory / "authority.pem").read_bytes())
    assert x509.load_pem_x509_crl(revoked.read_bytes()).next_update_utc == authority.not_valid_after_utc
    assert not (directory / "revoked.pem.new").exists()


def test_what_cannot_be_revoked_is_told_and_changes_nothing(directory: Path, tmp_path: Path) -> None:
    assert run("init", tmp_path / "other").exit_code == 0
    run("node", tmp_path / "other", "a")
    run("node", directory, "a")
    run("revoke", directory, directory / "node-a.pem")
    before = (directory / "revoked.pem").read_bytes()
    for path, told in (
        (tmp_path / "other" / "node-a.pem", "another authority signed"),
        (directory / "authority.pem", "is the authority itself"),
        (directory / "node-a.key", "cannot be read"),
        (directory / "missing.pem", "No such file"),
    ):
        refused = run("revoke", directory, path)
        assert (refused.exit_code, told in refused.output) == (1, True), refused.output
    assert (directory / "revoked.pem").read_bytes() == before
    run("revoke", tmp_path / "other")
    (directory / "revoked.pem").write_bytes((tmp_path / "other" / "revoked.pem").read_bytes())
    assert "is another authority's" in run("revoke", directory).output
    (directory / "revoked.pem").write_text("nothing of use")
    assert "cannot be read" in run("revoke", directory).output
