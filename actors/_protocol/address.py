"""Names of nodes, and where they listen. A node is its name; an address is only where to try."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

import msgspec

NAME_PATTERN = r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z"

NodeId = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
"""The name of a node."""

_NAME = re.compile(NAME_PATTERN)
_PORT = re.compile(r"\A[0-9]{1,5}\Z")
_HOST_LENGTH_MAX = 253


def is_name(text: str) -> bool:
    """Can it be the name of a node, a client or a group? It is part of paths and messages."""
    return _NAME.match(text) is not None


def check_name(name: str) -> str:
    """The name itself. Raises ValueError if it is none, TypeError if it is no text: not everybody checks types."""
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the name of a node, a client or a group is a str, not {name!r}")
    if not is_name(name):
        raise ValueError(
            f"{name!r} cannot be a name: use 1 to 128 letters and digits of ASCII, underscores, and behind the first "
            "of them also dots and hyphens"
        )
    return name


ACTOR_NAME_LENGTH_MAX = 256
ACTOR_DEPTH_MAX = 32
"""Actors within actors."""


def check_actor_name(name: str) -> str:
    """The name itself. Raises ValueError if it is none for an actor. A child's is behind its parent's, and a slash."""
    if len(name) > ACTOR_NAME_LENGTH_MAX or name.count("/") >= ACTOR_DEPTH_MAX:
        raise ValueError(
            f"{name[:40]!r}... cannot be the name of an actor: {ACTOR_NAME_LENGTH_MAX} characters are allowed, and "
            f"{ACTOR_DEPTH_MAX} actors within actors"
        )
    for part in name.split("/"):
        check_name(part)
    return name


def check_actor_address(address: str) -> tuple[str, str]:
    """Node and name of an actor, of `node/name`. Raises ValueError if it is no such address."""
    node, slash, name = address.partition("/")
    if not slash:
        raise ValueError(f"{address!r} is no address of an actor: write node/name")
    return check_name(node), check_actor_name(name)


class Address(NamedTuple):
    """Where a node listens. `host`: a name or numeric address, without brackets. `port` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, or `[IPv6]:port`. Raises ValueError with the text and what is expected."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise _wrong(text, "the port is missing")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _wrong(text, "an IPv6 address needs brackets")
    if not _is_host(host):
        raise _wrong(text, "the host is missing" if not host else f"{host!r} is no host")
    if not _PORT.match(port) or int(port) > 65_535:
        raise _wrong(text, f"the port must be 0 to 65535, not {port!r}")
    return Address(host, int(port))


def _is_host(text: str) -> bool:
    """Can a resolver be asked for it? Whether it is known there shows only then."""
    if not 0 < len(text) <= _HOST_LENGTH_MAX or not text.isprintable() or set(text) & set("[]/@ "):
        return False
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


def _wrong(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} is no address: {why}; write host:port, as in 127.0.0.1:7101 or [::1]:7101")
