"""Spoiled frames do no harm (T42, T45): a short campaign, always of the same frames; `make fuzz` runs longer ones.

And the campaign itself: it finds what is planted, and covers what there is.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from typing import Any

import pytest
from campaign import CHUNK, REACHED_LEAST, Frames, Tally, run
from kinds import COVERED, KINDS
from msgspec import inspect
from trees import STRANGE, Nested, encoded, opened, spoil

import broadcast._door as door
from actors._protocol import codec
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import HEAD_SIZE, FrameReader
from broadcast._machine import Machine

SEED = 1


def test_spoiled_frames_do_no_harm() -> None:
    tally = run(SEED, 0)
    assert [f"frame {found.number}, {found.frame}: {found.error}" for found in tally.findings] == []
    assert tally.frames == CHUNK
    assert tally.reached >= REACHED_LEAST * CHUNK
    assert min(tally.refused, tally.accepted) >= CHUNK / 20, "neither all nor nothing is refused"
    assert min(tally.kinds[kind] for kind in KINDS) >= CHUNK / 10
    assert tally.slowest[0] < 0.5
    assert tally.grown < 200 * 1024


def test_what_is_planted_is_found_and_each_finding_is_the_end_of_a_world(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(door, "check_run", crash)
    tally = run(SEED, 0, 1_000)
    assert len(tally.findings) > 1
    assert all(found.kind == "client" and "planted" in found.error for found in tally.findings)
    number, frames = tally.findings[0].number, Frames(Random(f"{SEED} 0"))
    for _ in range(number - 1):
        frames.next()
    assert frames.next()[1].hex() == tally.findings[0].frame, "from one seed come the same frames"


def test_what_stops_a_replica_later_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a call comes in that does not fit, and is applied: nobody who has sent it is there to be told."""
    applied, apply = 0, Machine._apply_calls  # pyright: ignore[reportPrivateUsage]

    def crash(self: Machine[Any], *given: Any) -> Any:
        nonlocal applied
        applied += 1
        if applied % 2 == 0:  # the first of each world is its own
            raise ZeroDivisionError("planted")
        return apply(self, *given)

    monkeypatch.setattr(Machine, "_apply_calls", crash)
    tally = run(SEED, 0, 1_500)
    assert tally.findings
    assert all("planted" in found.error for found in tally.findings)


def test_of_a_campaign_that_tries_little_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    spec = spec_from_file_location("fuzz_main", Path(__file__).parent / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    main = module_from_spec(spec)
    spec.loader.exec_module(main)
    good = Tally(frames=100, reached=20)
    assert main.shortfalls(good) == []
    assert main.shortfalls(Tally(frames=100, reached=19)) == ["only 19 of 100 frames were held against types"]
    assert len(main.shortfalls(Tally(frames=1, reached=1, slowest=(1.0, "link", ""), grown=2**20))) == 2


@pytest.mark.parametrize("name", COVERED)
def test_every_kind_of_message_is_made_and_fits(name: str) -> None:
    info = inspect.type_info(COVERED[name])
    assert isinstance(info, inspect.UnionType)
    tags = {each.tag for each in info.types if isinstance(each, inspect.StructType)}
    random, made = Random(1), set[object]()
    for _ in range(2_000):
        message = KINDS[name].make(random)
        made.add(message[2][0] if name == "member" else message[0])
    assert made == tags - {"envelope"}


def test_a_tree_that_is_not_spoiled_is_what_it_was() -> None:
    plain = [1, "a", [b"\x82\x01\x81\x02", {"k": b"\x80"}], b"\xff", b"\x01"]
    tree = opened(plain)
    assert isinstance(tree, list)
    assert isinstance(tree[2][0], Nested)
    assert codec.decode(encoded(tree)) == plain


def test_spoiling_changes_something_and_gives_bytes() -> None:
    random, changed = Random(1), 0
    for strange in STRANGE:
        encoded([strange()])
    for _ in range(1_000):
        tree = [1, ["a", {"k": None}], Nested([["put", [1]]])]
        before = encoded(tree)
        spoil(tree, random)
        changed += encoded(tree) != before
    assert changed > 700


def test_frames_are_whole_but_for_those_that_are_spoiled_as_frames() -> None:
    frames, whole = Frames(Random(1)), 0
    for _ in range(1_000):
        _, data = frames.next()
        reader = FrameReader()
        reader.receive_data(data)
        with suppress(RemoteProtocolError):
            whole += reader.next_frame() == data[HEAD_SIZE:]
    assert whole > 850
