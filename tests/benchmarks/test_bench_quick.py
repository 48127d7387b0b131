"""The benchmark runs, measures all it says it does, and counts right. How fast anything is does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine import IN_MEMORY, file_system
from table import DEFAULT, FLOOR, OURS, ROWS, TUNED

HERE = Path(__file__).parent
SECONDS_MAX = 240  # far more than it takes, even on a busy machine
TRIAL_COMMANDS = 6  # with each loss of the leader: those before it, and the one that waits for the next


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The table, and the values, of one quick run."""
    values = tmp_path_factory.mktemp("bench") / "values.json"
    done = bench("--quick", "--json", str(values))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(values.read_text())


def test_every_row_is_there(ran: tuple[str, dict[str, Any]]) -> None:
    table, values = ran
    lines = table.splitlines()
    for row in ROWS:
        (line,) = [line for line in lines if line.startswith(f"{row.label}  ")]
        assert any(cell not in ("-", row.unit) for cell in line.removeprefix(row.label).split())
        assert row.figure in values["figures"][OURS] or row.figure in values["figures"][FLOOR]


def test_every_command_was_counted_once_by_everybody(ran: tuple[str, dict[str, Any]]) -> None:
    _, values = ran
    amounts = values["amounts"]
    cases = [amounts["asks"], amounts["task_asks"], amounts["pipelined"], amounts["pipelined"]]
    syncobj = {DEFAULT: amounts["slow_asks"], TUNED: amounts["asks"]}
    expected = [
        (FLOOR, sum(count + warming(count, size) for count, size in zip(cases, (1, 1, 100, 1_000), strict=True))),
        (OURS, 1 + sum(count + warming(count) for count in cases)),
        *((system, asks + 2 * amounts["pipelined"]) for system, asks in syncobj.items()),
        (OURS, 1 + 2 * TRIAL_COMMANDS * amounts["trials"]),
    ]
    counted = [(each["system"], each["answered"]) for each in values["counted"]]
    gave_none = {system for system in syncobj if system not in values["figures"]}
    assert not gave_none or values["notes"]  # not installed, or it failed: that is said, and no failure of ours
    assert counted == [each for each in expected if each[0] not in gave_none]
    for each in values["counted"]:
        assert each["values"] == [each["answered"]] * 3


def warming(count: int, size: int = 1) -> int:
    """Commands before those that are measured, in whole frames."""
    return -(-count // size // 10) * size if size > 1 else count // 10


def test_memory_is_no_disk() -> None:
    memory = Path("/dev/shm")
    assert file_system(memory).kind in IN_MEMORY, "this needs a file system in memory"
    done = bench("--quick", "--data", str(memory / "troupe-bench"))
    assert done.returncode == 1
    assert "tmpfs" in done.stderr
    assert "--data" in done.stderr
    assert done.stdout == ""
    assert not (memory / "troupe-bench").exists()
