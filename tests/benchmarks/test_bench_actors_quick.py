"""The benchmark of plain actors runs, and measures all it says it does. How fast anything is does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from actors_bench import RIVALS, ROWS, TASKS
from table import FLOOR, OURS

HERE = Path(__file__).parent
SECONDS_MAX = 240  # far more than it takes, even on a busy machine


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The table, and the values, of one quick run."""
    values = tmp_path_factory.mktemp("bench-actors") / "values.json"
    command = [sys.executable, str(HERE / "actors_bench.py"), "--quick", "--json", str(values)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(values.read_text())


def test_every_row_is_there(ran: tuple[str, dict[str, Any]]) -> None:
    table, values = ran
    lines = table.splitlines()
    for row in ROWS:
        assert any(line.startswith(f"{row.label}  ") for line in lines)
        assert len(values["figures"][OURS][row.figure]) == 1


def test_floors_and_rivals_are_measured_in_the_same_run(ran: tuple[str, dict[str, Any]]) -> None:
    _, values = ran
    figures, notes = values["figures"], " ".join(values["notes"])
    assert figures[FLOOR].keys() >= {"tell rate", "ask rate", "async ask rate", "remote p50", "typed p50"}
    assert figures[TASKS].keys() >= {"async ask rate", "remote p50"}
    for system, (module, _, cases) in RIVALS.items():
        if find_spec(module) is None:
            assert f"{system} is not installed" in notes
        else:  # that it failed is said, and no failure of ours
            assert system in notes or figures[system].keys() >= {f"{case} rate" for case in cases}


def test_idle_actors_have_no_tasks(ran: tuple[str, dict[str, Any]]) -> None:
    _, values = ran
    assert values["figures"][OURS]["idle tasks"] == [0]
