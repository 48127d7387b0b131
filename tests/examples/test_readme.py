"""What the README and its like tell to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/actors.md",
    "docs/effects.md",
    "docs/index.md",
    "docs/membership.md",
    "docs/operations.md",
    "docs/reading.md",
    "docs/security.md",
    "docs/semantics.md",
    "docs/testing.md",
    "docs/tracing.md",
    "docs/verification.md",
]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_the_make_targets_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"(?:^|`|\.\d+ )make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets()
    if page == "README.md":
        assert named == {"demo", "test"}


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_are_linked_or_run_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = [*re.findall(r"\]\((?!https?:)([^)]+)\)", text), *re.findall(r"python (examples/\S+)", text)]
    missing = [name for name in named if not ((ROOT / page).parent / name.partition("#")[0]).exists()]
    assert named or page not in ("README.md", "docs/index.md")
    assert not missing
