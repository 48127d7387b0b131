"""What users write is typed end to end: both checkers refuse each mistake, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "typing"
Line = tuple[str, int]

MARKED = {
    (path.name, number)
    for path in sorted(FOLDER.glob("*.py"))
    for number, line in enumerate(path.read_text().splitlines(), start=1)
    if line.endswith("# error")
}


def run(*command: str) -> str:
    """What a checker prints about the files it finds wrong."""
    ended = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


def by_mypy(folder: Path) -> dict[Line, str]:
    (folder / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {ROOT}\nexplicit_package_bases = true\n")
    printed = run(
        *(sys.executable, "-m", "mypy", "--config-file", str(folder / "mypy.ini")),
        *("--cache-dir", str(folder / "cache"), "--show-absolute-path", "--hide-error-context", "--no-pretty", "."),
    )
    found = re.findall(r"^(.*?):(\d+): error: (.*)$", printed, re.MULTILINE)
    return {(Path(path).name, int(number)): text for path, number, text in found}


def by_basedpyright(folder: Path) -> dict[Line, str]:
    project = folder / "pyrightconfig.json"
    project.write_text(
        json.dumps({"include": [str(FOLDER)], "extraPaths": [str(ROOT), str(FOLDER)], "typeCheckingMode": "strict"})
    )
    printed = run(
        *(sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(project)),
        *("--pythonpath", sys.executable),
    )
    found = json.loads(printed)["generalDiagnostics"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1): each["message"] for each in found}


@pytest.mark.parametrize("check", [by_mypy, by_basedpyright])
def test_each_marked_line_is_refused_and_no_other(check, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    found: dict[Line, str] = check(tmp_path)
    unexpected = {line: text for line, text in found.items() if line not in MARKED}
    assert not unexpected
    assert set(found) == MARKED
