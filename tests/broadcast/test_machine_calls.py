"""Runs are opened within agreed bounds, which every run that a submitter makes keeps."""

from __future__ import annotations

from typing import cast

import pytest

from actors._protocol import codec
from actors._protocol.codec import COUNT_MAX, encode, join_array
from broadcast._calls import open_calls
from broadcast._protocol.entries import Commands
from broadcast._protocol.submitter import RUN_SIZE_MAX
from membership._protocol.view import Limits

SIZE_MAX = 2**23  # the largest command_size_max that a configuration can have


def run(*calls: bytes) -> Commands:
    return Commands(2, 1, len(calls), 0, 0, 0, join_array(calls))


def test_the_longest_run_of_many_calls_is_opened() -> None:
    """Every byte of it a value."""
    call = encode([[]] * 23)
    calls = [call] * (RUN_SIZE_MAX // len(call))
    singles = RUN_SIZE_MAX - len(calls) * len(call)
    assert open_calls(run(*calls, *[b"\x80"] * singles)) == [*[[[]] * 23] * len(calls), *[[]] * singles]


def test_the_largest_call_alone_is_opened() -> None:
    (text,) = cast("list[list[str]]", open_calls(run(encode(["x" * (SIZE_MAX - 6)]))))
    assert len(text[0]) == SIZE_MAX - 6
    assert open_calls(run(encode([[]] * (COUNT_MAX - 1)))) == [[[]] * (COUNT_MAX - 1)]


@pytest.mark.parametrize("size", [2**18 + 1, 2**22])
def test_more_values_than_any_run_has_are_refused_unopened(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(stream: object) -> object:
        raise AssertionError("it is opened")

    monkeypatch.setattr(codec, "_Decoder", never)
    bomb = b"\x9a" + size.to_bytes(4, "big") + b"\x80" * size
    assert open_calls(Commands(2, 1, 65_536, 0, 0, 0, bomb)) == [False] * 65_536


def test_more_bytes_than_any_run_has_are_refused() -> None:
    text = b"\x7a" + (SIZE_MAX + 1024).to_bytes(4, "big") + b"x" * (SIZE_MAX + 1024)
    assert open_calls(run(text)) == [False]


def test_a_configuration_allows_no_larger_call() -> None:
    with pytest.raises(codec.DecodeError):
        codec.convert([500_000, 600_000_000, 1, 1, SIZE_MAX + 1], Limits)
