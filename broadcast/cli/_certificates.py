"""A cluster's certificates: its authority, and what that signs for nodes and clients. Needs `cryptography`.

Whom a certificate names stands in its one URI (see `actors._protocol.credential`). A node's is good for both ends of a
connection, a client's for the dialing one only. No file is ever written over, but for the list of what is revoked.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actors._durable import make_directory, sync
from actors._protocol.address import check_name
from actors._protocol.credential import Credential
from broadcast.cli.certs import AUTHORITY_DAYS, LEAF_DAYS

T = TypeVar("T")

CLOCKS_APART = timedelta(hours=1)
"""What the clock of another machine may be behind: a certificate is good from so long before it was made."""


class CannotCertify(ValueError):
    """Nothing was written, or nothing is left of it; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Files:
    """What was written. ends: until when the certificate is good."""

    certificate: Path
    key: Path
    ends: datetime


def make_authority(directory: Path, days: int = AUTHORITY_DAYS, now: datetime | None = None) -> Files:
    """A new authority, in a directory that only its owner can look into. Raises CannotCertify."""
    _open_directory(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: two clusters' authorities are not to be taken for each other.
    name = _name(f"troupe authority {secrets.token_hex(8)}")
    begin = now or datetime.now(UTC)
    certificate = (
        _builder(name, name, key.public_key(), key.public_key(), begin, begin + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _write(directory, "authority", key, certificate)


def make_leaf(
    directory: Path,
    credential: Credential,
    addresses: Sequence[str] = (),
    days: int = LEAF_DAYS,
    out: Path | None = None,
    now: datetime | None = None,
) -> Files:
    """A certificate for a node or a client, signed by the authority in `directory`, written there or into `out`.

    addresses: names or numeric addresses of its host, for the use of others than ours. Raises CannotCertify.
    """
    try:
        check_name(credential.name)
    except ValueError as error:
        raise CannotCertify(str(error)) from None
    authority, signer = _read_authority(directory)
    other = "client" if credential.role == "node" else "node"
    if (directory / f"{other}-{credential.name}.pem").exists():
        raise CannotCertify(
            f"{credential.name!r} is the name of a {other} already: the two would be one sender to an actor"
        )
    out = directory if out is None else out
    _open_directory(out)
    key = ec.generate_private_key(ec.SECP256R1())
    begin = now or datetime.now(UTC)
    end = min(begin + timedelta(days=days), authority.not_valid_after_utc)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if credential.role == "node":
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    names = [x509.UniformResourceIdentifier(credential.uri), *map(_alternative, addresses)]
    certificate = (
        _builder(_name(credential.name[:64]), authority.subject, key.public_key(), signer.public_key(), begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _write(out, f"{credential.role}-{credential.name}", key, certificate)


def revoke(directory: Path, certificates: Sequence[Path]) -> Path:
    """Put these certificates of the authority in `directory` on its list, `revoked.pem` there; returns the list's path.

    What is on the list stays on it, and it holds for as long as the authority does. Raises CannotCertify.
    """
    authority, signer = _read_authority(directory)
    path, now = directory / "revoked.pem", datetime.now(UTC)
    entries = {entry.serial_number: entry for entry in _read_list(path, authority)}
    number = 1 + len(entries)
    for each in certificates:
        serial = _serial_of(each, authority)
        entries.setdefault(
            serial, x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - CLOCKS_APART).build()
        )
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - CLOCKS_APART)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries.values():
        builder = builder.add_revoked_certificate(entry)
    beside = path.with_name("revoked.pem.new")
    try:
        beside.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        sync(beside)
        beside.replace(path)
        sync(directory)
    except OSError as error:
        raise CannotCertify(f"{directory} cannot be written to: {error.strerror}") from None
    return path


def _read_list(path: Path, authority: x509.Certificate) -> list[x509.RevokedCertificate]:
    try:
        found = x509.load_pem_x509_crl(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise CannotCertify(f"the list {path} cannot be read: {error}") from None
    key = authority.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not found.is_signature_valid(key):
        raise CannotCertify(f"the list {path} is another authority's")
    return list(found)


def _serial_of(path: Path, authority: x509.Certificate) -> int:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise CannotCertify(f"the certificate {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CannotCertify(f"the certificate {path} cannot be read: {error}") from None
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise CannotCertify(f"another authority signed {path}: that one has to revoke it") from None
    if certificate == authority:
        raise CannotCertify(f"{path} is the authority itself: make another one (`troupe certs init`)")
    return certificate.serial_number


# -- certificates ----------------------------------------------------------------------------------------------------


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - CLOCKS_APART)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        return x509.DNSName(address.encode("idna").decode())
    except ValueError:  # of the encoding too
        raise CannotCertify(f"{address!r} is no name of a host, and no address (without a port)") from None


# -- files -----------------------------------------------------------------------------------------------------------


def _read_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    paths = directory / "authority.pem", directory / "authority.key"
    missing = [path.name for path in paths if not path.is_file()]
    if len(missing) == len(paths):
        raise CannotCertify(f"{directory} holds no {missing[0]}: make an authority first, by `troupe certs init`")
    if missing:
        raise CannotCertify(
            f"{directory} holds no {missing[0]}, which belongs to what is there: put that back, or else make another "
            "authority in another directory, and its certificates anew"
        )
    certificate = _opened(paths[0], x509.load_pem_x509_certificate)
    key = _opened(paths[1], lambda data: serialization.load_pem_private_key(data, None))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CannotCertify(f"authority.pem and authority.key in {directory} do not belong together")
    return certificate, key


def _opened(path: Path, load: Callable[[bytes], T]) -> T:
    """What is in a file of the authority's, in PEM. Raises CannotCertify."""
    try:
        return load(path.read_bytes())
    except TypeError:
        raise CannotCertify(f"{path} has a passphrase, and cannot be used with one: take it off") from None
    except ValueError:  # the library's text is about its own inside
        raise CannotCertify(
            f"{path} cannot be read: it is not what `troupe certs init` has written there, in PEM; put that back"
        ) from None
    except OSError as error:
        raise CannotCertify(f"{path} cannot be read: {error.strerror}") from None


def _open_directory(directory: Path) -> None:
    """Make it, or see that it is for its owner only."""
    try:
        make_directory(directory)
        mode = directory.stat().st_mode & 0o777
    except OSError as error:
        raise CannotCertify(f"{directory} cannot be used: {error.strerror}") from None
    if mode & 0o077:
        raise CannotCertify(f"{directory} is open to other users, and keys go into it: chmod 700 {directory}")


def _write(directory: Path, stem: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Files:
    files = Files(directory / f"{stem}.pem", directory / f"{stem}.key", certificate.not_valid_after_utc)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    written: list[Path] = []
    try:
        for path, mode, data in (
            (files.key, 0o600, secret),
            (files.certificate, 0o644, certificate.public_bytes(serialization.Encoding.PEM)),
        ):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
                written.append(path)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync(directory)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        if isinstance(error, FileExistsError):
            raise CannotCertify(
                f"{error.filename} is there already, and nothing is written over: move it away, or have the new ones "
                "written elsewhere"
            ) from None
        raise CannotCertify(f"{directory} cannot be written to: {error.strerror}") from None
    return files
