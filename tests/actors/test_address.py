"""Names and addresses are checked where users write them."""

from __future__ import annotations

from typing import Any

import pytest

from actors._protocol.address import Address, check_name, parse_address


@pytest.mark.parametrize("name", ["a", "node-1", "A.b_c-9", "x" * 128])
def test_a_good_name_is_itself(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a/b", "a b", "ä", "a\n", "\n", "a:b"])
def test_a_bad_name_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name: use 1 to 128 letters"):
        check_name(name)


@pytest.mark.parametrize("name", [5, None, b"a", ["a"]])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(TypeError, match=r"^the name of a node, a client or a group is a str, not "):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7101", "127.0.0.1", 7101),
        ("[::1]:0", "::1", 0),
        ("db-1.example:65535", "db-1.example", 65535),
        ("my_app:1", "my_app", 1),
        ("bücher.example.:1", "bücher.example.", 1),
        ("x" * 63 + ":1", "x" * 63, 1),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert address == Address(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost", "the port is missing"),
        ("", "the port is missing"),
        (":80", "the host is missing"),
        ("[]:80", "the host is missing"),
        ("::1:80", "needs brackets"),
        ("h:65536", "port must be 0 to 65535"),
        ("h:-1", "port must be 0 to 65535"),
        ("h:", "port must be 0 to 65535"),
        ("h:٣", "port must be 0 to 65535"),
        ("tcp://h:1", "needs brackets|is no host"),
        ("user@h:1", "is no host"),
        ("a b:1", "is no host"),
        ("db..example:1", "is no host"),
        (".:1", "is no host"),
        ("x" * 64 + ".example:1", "is no host"),
        ("x." * 150 + "example:1", "is no host"),
        ("10.0.0.1\0:1", "is no host"),
        ("a\x7f:1", "is no host"),
        ("\ufffd:1", "is no host"),
    ],
)
def test_a_bad_address_is_refused_with_what_is_expected(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)
    assert "127.0.0.1:7101" in str(caught.value)
