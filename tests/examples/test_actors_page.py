"""What the page about actors shows runs as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "actors.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    library, main = snippets("python")
    (printed,) = snippets("text")
    (tmp_path / "library.py").write_text(library)
    (tmp_path / "main.py").write_text(main)
    ran = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == printed, ran.stderr
    assert ran.returncode == 0
    assert "actor crashed, and is started again actor=b/library/desk" in ran.stderr
