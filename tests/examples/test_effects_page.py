"""What the page about effects shows runs as it says, and the tests that it names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "effects.md").read_text()


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    (auction,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "auction.py").write_text(auction)
    ran = subprocess.run(
        [sys.executable, "auction.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == printed, ran.stderr
    assert ran.returncode == 0


def test_every_promise_names_a_test_that_exists() -> None:
    promises = re.findall(r"^\d+\. (.*)$", PAGE, re.MULTILINE)
    assert len(promises) == 11
    for promise in promises:
        ((path, test),) = re.findall(r"`([\w/]+\.py)::(\w+)`", promise)
        file = ROOT / (path if "/" in path else f"tests/broadcast/{path}")
        assert re.search(rf"^((async )?def )?{test}\b", file.read_text(), re.MULTILINE), (path, test)
