"""Runs are opened within agreed bounds, which every run that a submitter makes keeps."""

from __future__ import annotations

from typing import cast

import pytest
from machine_scene import begun, outcomes

from actors import Actor, command
from actors._protocol import codec
from actors._protocol.codec import COUNT_MAX, encode, join_array
from broadcast._calls import open_calls
from broadcast._protocol.entries import Commands
from broadcast._protocol.submitter import RUN_SIZE_MAX
from broadcast._sifting import sifted
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


class Loose(Actor):
    """Takes whatever is plain."""

    def __init__(self) -> None:
        self.taken: list[object] = []

    @command
    def take(self, value: object) -> int:
        self.taken.append(value)
        return len(self.taken)

    @command
    def add(self, number: int) -> int:
        return number


BEYOND = b"\x1b" + b"\xff" * 8  # an integer of 64 bits and no sign
TOO_DEEP = b"\x81" * 14 + b"\x80"


@pytest.mark.parametrize("value", [b"\xf7", b"\xf0", BEYOND, b"\x81\xf7", b"\xa1\x61k" + BEYOND, TOO_DEEP])
def test_what_is_not_plain_is_a_call_that_no_class_understands_and_others_of_its_run_are_applied(value: bytes) -> None:
    """Undefined, a simple value, too large: as an argument, and within one; and too deep."""
    scene = begun(Loose)
    head = b"\x82" + encode("take")
    entry = run(encode(["take", 1]), head + value, b"\x82" + encode("add") + value, encode(["take", 2]))
    assert outcomes(scene.apply(entry)) == [[0, 1], [3], [3], [0, 2]]
    assert scene.machine.actor.taken == [1, 2]
    kept = sifted(entry, scene.machine)
    assert isinstance(kept, Commands)
    assert open_calls(kept) == [["take", 1], False, False, ["take", 2]]
