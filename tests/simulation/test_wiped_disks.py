"""Disks wiped in the midst of everything else: who comes back without its data has no part in the group (rule 16)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from unittest import mock

import pytest

from broadcast._simulation.history import run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from membership._protocol.formation import Founding
from membership._protocol.view import Configuration

WIPING = Options(
    clients=3,
    duration=3 * SECOND,
    idle=60 * MILLISECOND,
    strike_interval=250 * MILLISECOND,
    election_timeout=100 * MILLISECOND,
    wipes=4,
)
SEEDS = 8


def play() -> Counter[str]:
    """What the histories met, all together."""
    histories = [run(seed, options=replace(WIPING, replicas=5 if seed == 0 else 3)) for seed in range(SEEDS)]
    return sum((history.marks for history in histories), Counter[str]())


def test_a_wiped_disk_is_refused_and_the_group_goes_on() -> None:
    marks = play()
    least = {"disks wiped": 5, "answers": 1_000, "elections": 10}
    assert {name: marks[name] for name in least if marks[name] < least[name]} == {}


def test_a_wiped_disk_that_believes_the_record_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Founding, "misfit", lambda self, sender, formation: None)
    with pytest.raises(Violation, match="a wiped disk"):
        play()


def test_a_wiped_disk_that_is_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Configuration, "storage_of", lambda self, name: mock.ANY)
    monkeypatch.setattr(Configuration, "disk_of", lambda self, name: mock.ANY)
    with pytest.raises(Violation, match="a wiped disk"):
        play()
