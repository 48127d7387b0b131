"""What the figures about heartbeats and failovers are made of is read as it was written."""

from __future__ import annotations

from pathlib import Path

from pulsing import PULSE, Kind, Pulses

from broadcast.cli._process import open_replicas

SECOND = 1_000_000


def pulses_of(kind: Kind, *pairs: tuple[float, int]) -> bytes:
    return b"".join(PULSE.pack(kind.value, round(at * SECOND), value) for at, value in pairs)


def tell(pulses: Pulses, name: str, told: bytes) -> None:
    Path(pulses.environment(name)["PULSES"]).write_bytes(told)


async def test_the_longest_gap_counts_from_the_beginning_and_to_the_end(tmp_path: Path) -> None:
    async with open_replicas("tally", {"a": "tally:Tally", "b": "tally:Tally"}, tmp_path) as replicas:
        pulses = Pulses(replicas, tmp_path)
        assert pulses.longest_gap("a", 0, 2 * SECOND) == 2.0  # it has heard nothing
        told = pulses_of(Kind.HEARTBEAT, (1.0, 1), (1.1, 1), (1.4, 1), (1.5, 2))
        tell(pulses, "a", told + told[:3])  # the last is cut off by a kill
        assert pulses.longest_gap("a", SECOND, round(1.6 * SECOND)) == 0.3
        assert pulses.longest_gap("a", 0, round(1.6 * SECOND)) == 1.0
        assert pulses.longest_gap("a", SECOND, 2 * SECOND) == 0.5
        assert pulses.longest_gap("a", SECOND, round(1.2 * SECOND)) == 0.1


async def test_the_first_delivery_of_a_newer_epoch_is_the_earliest_of_anyone(tmp_path: Path) -> None:
    async with open_replicas("tally", {"a": "tally:Tally", "b": "tally:Tally"}, tmp_path) as replicas:
        pulses = Pulses(replicas, tmp_path)
        assert pulses.delivered_at("ab", after_epoch=0) is None
        for name, told in {"a": [(1.0, 1), (3.0, 3)], "b": [(1.1, 1), (2.9, 3), (4.0, 4)]}.items():
            tell(pulses, name, pulses_of(Kind.DELIVERY, *told))
        assert pulses.delivered_at("ab", after_epoch=1) == round(2.9 * SECOND)
        assert pulses.delivered_at("a", after_epoch=1) == 3 * SECOND
        assert pulses.delivered_at("ab", after_epoch=4) is None


async def test_stalls_are_those_of_all_since_then(tmp_path: Path) -> None:
    async with open_replicas("tally", {"a": "tally:Tally", "b": "tally:Tally"}, tmp_path) as replicas:
        pulses = Pulses(replicas, tmp_path)
        for name, told in {"a": [(1.0, 90_000), (2.0, 60_000)], "b": [(3.0, 250_000)]}.items():
            beats = pulses_of(Kind.HEARTBEAT, (2.0, 1))
            tell(pulses, name, beats + pulses_of(Kind.LATE, *told))
        assert pulses.late(0) == [0.09, 0.06, 0.25]
        assert pulses.late(2 * SECOND) == [0.06, 0.25]
        assert pulses.late(4 * SECOND) == []
