"""Links under mutual TLS: who is at the other end is proven by its certificate before a word of it is looked at.

A `TlsNetwork` is a network around another. It speaks TLS 1.3 and nothing older; both sides show a certificate that the
cluster's authority has signed. Who that names is what `prove` gives; host names do not matter: a node is its name, and
an address is only where to try.

The files are loaded again when they have changed, for the next connection; those that are open stay. Files that cannot
be used change nothing.
"""

from __future__ import annotations

import os
import ssl
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

import trio

from actors._log import Log
from actors._network import Listener, Network
from actors._protocol.address import Address
from actors._protocol.credential import Credential, credential_in
from actors._protocol.errors import RemoteProtocolError

WARNED_DAYS = 30
"""Before a certificate ends, that the log begins to say so."""
WATCH_SECONDS = 86_400.0
"""Between two looks at the files, and at how long they are good, besides those at each connection."""

_log = Log("troupe.actors")


class TlsError(Exception):
    """The files of a `Tls` cannot be used; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files, in PEM, by which a node or a client proves who it is, and knows others. `troupe certs` makes them.

    certificate: its own, with those of intermediate authorities behind it, if any. key: of the certificate, without a
    passphrase, in a file that others cannot read. authority: certificates of the authorities whose word counts.
    revoked: lists of certificates that count no more, one of each authority; None if all count until they end.
    """

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]
    authority: str | os.PathLike[str]
    revoked: str | os.PathLike[str] | None = None


class _Loaded:
    """The files as they were at one time. Raises TlsError.

    accepting, dialing: for the two ends of a connection. credential: whom the certificate names.
    end: in seconds since 1970, of the certificate or of the authority that signed it, and which of them that is.
    """

    def __init__(self, tls: Tls) -> None:
        _check_key(Path(tls.key))
        self.accepting = _context(ssl.PROTOCOL_TLS_SERVER, tls)
        self.dialing = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
        unwary = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
        unwary.verify_mode = ssl.CERT_NONE  # what a client shows must not be taken for a server's
        try:
            own = _meet_itself(self.accepting, unwary)
            self.credential = _credential_of(own)
            if self.credential.role == "node":
                _meet_itself(self.accepting, self.dialing)
        except ssl.SSLError as error:
            raise TlsError(
                f"the certificate {tls.certificate} would be refused by every node that goes by {tls.authority} "
                f"({_why(error)}): renew it with `troupe certs`, or name the authority that signed it"
            ) from None
        except RemoteProtocolError as error:
            raise TlsError(
                f"the certificate {tls.certificate} cannot be used ({error}): it needs one URI as an alternative "
                "name, troupe://node/NAME or troupe://client/NAME, as `troupe certs` gives it"
            ) from None
        # Of several authorities those of others may have ended, as while one takes the place of another.
        signers = [each for each in self.dialing.get_ca_certs() if each["subject"] == own["issuer"]]
        ends = [(_end_of(each), f"the authority {tls.authority}") for each in signers]
        self.end = min([(_end_of(own), f"the certificate {tls.certificate}"), *ends])


_Signature: TypeAlias = "tuple[tuple[int, int, int, int] | None, ...]"


class Credentials:
    """What proves who this node or client is, kept up with its files. Reads them when made: do it in a thread.

    expected: who it must be. Raises TlsError.
    """

    def __init__(self, tls: Tls, expected: Credential | None = None) -> None:
        self._tls = tls
        self._expected = expected
        self._signature = _signature(tls)
        self._loaded = self._load()
        self._expected = self._loaded.credential  # for as long as it lives

    @property
    def credential(self) -> Credential:
        """Who it is."""
        return self._loaded.credential

    def current(self) -> _Loaded:
        """The files as they are now, if they can be used; else as they last could."""
        signature = _signature(self._tls)
        if signature != self._signature:
            self._signature = signature
            try:
                self._loaded = self._load()
            except TlsError as error:
                _log.warning("new certificates cannot be used: the old ones stay", **self._who(), reason=str(error))
            else:
                _log.info("certificates loaded anew", **self._who())
        return self._loaded

    async def watch(self) -> NoReturn:
        """Say in the log, once in a day, what ends soon."""
        while True:
            self.warn()
            await trio.sleep(WATCH_SECONDS)

    def warn(self) -> None:
        """Say in the log what ends soon, if anything does."""
        end, what = self.current().end
        days = (end - time.time()) / 86_400
        if days <= WARNED_DAYS:
            until = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC")
            text = "certificates have ended: no new link comes about" if days <= 0 else "certificates end soon"
            _log.warning(text, **self._who(), reason=f"{what} is good until {until}; replace the file, in place")

    def _load(self) -> _Loaded:
        loaded = _Loaded(self._tls)
        if self._expected not in (None, loaded.credential):
            raise TlsError(
                f"the certificate {self._tls.certificate} is that of {loaded.credential}, and this is "
                f"{self._expected}: give each its own"
            )
        return loaded

    def _who(self) -> dict[str, str]:
        return {self._loaded.credential.role: self._loaded.credential.name}


class TlsNetwork:
    """A network whose streams are under TLS. Whoever takes one from it must have it `prove` first."""

    def __init__(self, credentials: Credentials, inner: Network) -> None:
        self.credentials = credentials
        self._inner = inner

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        """As the network inside does; anywhere, as nobody gets in who has no certificate."""
        return [_TlsListener(each, self.credentials) for each in await self._inner.listen(address, insecure=True)]

    async def dial(self, address: Address) -> TlsStream:
        return TlsStream(await self._inner.dial(address), self.credentials.current().dialing)


def certified_name(network: Network) -> str | None:
    """The name in the certificate that is shown on this network, if one is."""
    return network.credentials.credential.name if isinstance(network, TlsNetwork) else None


class _TlsListener(Listener):
    def __init__(self, inner: Listener, credentials: Credentials) -> None:
        self._inner = inner
        self._credentials = credentials

    @property
    def address(self) -> Address:
        return self._inner.address

    async def accept(self) -> TlsStream:
        return TlsStream(await self._inner.accept(), self._credentials.current().accepting, accepted=True)

    async def aclose(self) -> None:
        await self._inner.aclose()


class TlsStream(trio.abc.Stream):
    """A `trio.SSLStream` that tells who broke it: what TLS refuses is a RemoteProtocolError, a lost connection none.

    Its end may come without a word, as frames have lengths of their own.
    """

    def __init__(self, inner: trio.abc.Stream, context: ssl.SSLContext, *, accepted: bool = False) -> None:
        self.remote_host: str | None = getattr(inner, "remote_host", None)
        # For as long as it has not been used:
        self.close_nowait: Callable[[], None] | None = getattr(inner, "close_nowait", None)
        self.fileno: Callable[[], int] | None = getattr(inner, "fileno", None)
        self._inner = inner
        self._context = context
        self._answered = accepted
        self._tls: trio.SSLStream[trio.abc.Stream] | None = None

    @property
    def _stream(self) -> trio.SSLStream[trio.abc.Stream]:
        """Made when it is used first: many are taken, and closed before anything was heard of them."""
        if self._tls is None:
            self._tls = trio.SSLStream(self._inner, self._context, server_side=self._answered, https_compatible=True)
        return self._tls

    async def prove(self) -> Credential:
        """Shake hands; who is at the other end. Raises RemoteProtocolError, trio.BrokenResourceError."""
        try:
            await self._stream.do_handshake()
        except trio.BrokenResourceError as error:
            _raise_refused(error)
            raise
        return _credential_of(self._stream.getpeercert())

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As SSLStream does; RemoteProtocolError for what TLS refuses."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            _raise_refused(error)
            raise
        if not data and not self._answered:  # its word on our certificate would have come with its first
            raise RemoteProtocolError("it closed the connection when it saw our certificate; its log may say why")
        self._answered = True
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        stream = self._stream
        try:
            await stream.aclose()
        finally:
            # By this a `trio.SSLStream` refers to itself, and once it is closed does nothing else with it. What OpenSSL
            # keeps for it would be free only when garbage is collected, which thousands of strangers do not wait for.
            vars(stream).pop("_handshook", None)


# -- files -----------------------------------------------------------------------------------------------------------


def _signature(tls: Tls) -> _Signature:
    """Changes when a file does."""
    return tuple(_status(getattr(tls, field.name)) for field in fields(tls))


def _status(path: str | os.PathLike[str] | None) -> tuple[int, int, int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns  # which a chmod changes too


def _check_key(key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise TlsError(f"the key {key} cannot be read ({error.strerror})") from None
    if mode & 0o007:
        raise TlsError(f"the key {key} is open to every user of this machine (its mode is {mode:04o}): chmod 600 {key}")


def _context(protocol: int, tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # each connection is judged by the certificates of its time
    for path in (tls.certificate, tls.authority, tls.revoked):
        if path is not None and not os.access(path, os.R_OK):
            raise TlsError(f"the file {path} cannot be read: is it there, and may this user read it?")
    try:
        context.load_cert_chain(tls.certificate, tls.key, _refuse_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsError(
            f"the certificate {tls.certificate} and the key {tls.key} cannot be used together ({_why(error)}): they "
            "must be in PEM, and belong together"
        ) from None
    try:
        context.load_verify_locations(tls.authority)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"the authority {tls.authority} cannot be used ({_why(error)}): it must be in PEM") from None
    if tls.revoked is not None:
        _load_revoked(context, tls.revoked)
    return context


def _load_revoked(context: ssl.SSLContext, path: str | os.PathLike[str]) -> None:
    """From now on no certificate counts that is in a list, nor one of an authority that has no list there."""
    before = context.cert_store_stats()["crl"]
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"the list {path} cannot be used ({_why(error)}): it must be in PEM") from None
    if context.cert_store_stats()["crl"] == before:
        raise TlsError(f"the file {path} holds no list of revoked certificates: `troupe certs revoke` makes one")
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _refuse_passphrase() -> NoReturn:
    raise ValueError("the key has a passphrase, and nobody is here to type it")


# -- certificates ----------------------------------------------------------------------------------------------------

_Certificate: TypeAlias = "Mapping[str, Any]"
"""As the ssl module shows it."""


def _meet_itself(accepting: ssl.SSLContext, dialing: ssl.SSLContext) -> _Certificate:
    """A handshake in memory: what others will see of a certificate, and whether they will have it. Raises SSLError."""
    to_acceptor, to_dialer = ssl.MemoryBIO(), ssl.MemoryBIO()
    acceptor = accepting.wrap_bio(to_acceptor, to_dialer, server_side=True)
    dialer = dialing.wrap_bio(to_dialer, to_acceptor)
    for side in (dialer, acceptor) * 3:  # TLS 1.3 needs two turns, and one more if it begins anew
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return acceptor.getpeercert() or {}


def _credential_of(certificate: _Certificate | None) -> Credential:
    """Raises RemoteProtocolError unless it names somebody of ours."""
    names = cast("Iterable[tuple[str, str]]", (certificate or {}).get("subjectAltName", ()))
    return credential_in(value for kind, value in names if kind == "URI")


def _end_of(certificate: _Certificate) -> float:
    return ssl.cert_time_to_seconds(certificate["notAfter"])


# -- what went wrong -------------------------------------------------------------------------------------------------


def _raise_refused(error: trio.BrokenResourceError) -> None:
    """RemoteProtocolError, if that is what broke the stream: a connection that was only lost is nobody's fault."""
    cause = error.__cause__
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError | ssl.SSLSyscallError):
        return
    if "UNEXPECTED_EOF" not in (cause.strerror or ""):
        raise RemoteProtocolError(_told(cause)) from None


def _told(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {_why(error)}"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it shows no certificate"
    if "ALERT" in reason:
        return f"it refuses us: {_words(reason)}"
    if reason in _NO_TLS:
        return f"what it speaks is no TLS 1.3 ({_words(reason)})"
    return f"what it sent is not what it ought to be ({_words(reason)})"


_NO_TLS = {
    "HTTPS_PROXY_REQUEST",
    "HTTP_REQUEST",
    "NO_SHARED_CIPHER",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}


_FOREIGN = (19, 20)  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ("another authority signed it: " if error.verify_code in _FOREIGN else "") + error.verify_message
    if isinstance(error, ssl.SSLError):
        return _words(error.reason or str(error))
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
