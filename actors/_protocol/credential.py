"""Who the other side of a connection has proven to be, where a network proves it, and what that entitles to (rule 32).

A certificate names a node of the cluster, or a client, by a URI: `troupe://node/a`, `troupe://client/reports`. What a
hello says must agree with it. A node's certificate is good for what a client may do too; a client's for no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from actors._protocol.address import is_name
from actors._protocol.envelope import Hello
from actors._protocol.errors import RemoteProtocolError

SCHEME = "troupe:"
_URI = re.compile(r"\Atroupe://(node|client)/(.*)\Z")


class Credential(NamedTuple):
    """Whose certificate it is. role: "node" or "client"."""

    role: str
    name: str

    def __str__(self) -> str:
        return f"{self.role} {self.name!r}"

    @property
    def uri(self) -> str:
        """How a certificate says it."""
        return f"troupe://{self.role}/{self.name}"


def credential_in(uris: Iterable[str]) -> Credential:
    """Whom the URIs of a certificate name. Raises RemoteProtocolError unless just one of them is ours, and in order."""
    ours = [uri for uri in uris if uri.lower().startswith(SCHEME)]
    match = _URI.match(ours[0]) if len(ours) == 1 else None
    if match is None or not is_name(match[2]):
        raise RemoteProtocolError(
            "its certificate names no node and no client" if not ours else f"its certificate names {', '.join(ours)!r}"
        )
    return Credential(match[1], match[2])


def objection_to(credential: Credential | None, hello: Hello) -> str | None:
    """Why a link must be refused to who says this, and has proven that; None if it need not be, as where the network
    proves nothing."""
    if credential is None:
        return None
    if credential.name == hello.node and (credential.role == "node" or hello.role == "client"):
        return None
    said = "client" if hello.role == "client" else "node"
    return f"it says to be {said} {hello.node!r}, and its certificate is that of {credential}"


def check_answerer(credential: Credential | None, name: str) -> None:
    """Raise RemoteProtocolError unless it is the node of this name that answers, or nothing is proven."""
    if credential not in (None, Credential("node", name)):
        raise RemoteProtocolError(f"node {name!r} was expected to answer, and the certificate is that of {credential}")
