"""What the page of promises says is numbered, and shown by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "semantics.md").read_text()
RULES = dict(re.findall(r"^(\d+)\. (.*)$", PAGE, re.MULTILINE))


def test_rules_are_numbered_one_after_another() -> None:
    assert [int(number) for number in RULES] == list(range(1, len(RULES) + 1))
    assert len(RULES) == len(re.findall(r"^\d+\. ", PAGE, re.MULTILINE))


@pytest.mark.parametrize("number", RULES)
def test_every_rule_names_tests_that_exist(number: str) -> None:
    rule, _, shown = RULES[number].rpartition(" (")
    assert rule, "the names of tests stand at the end, in brackets"
    named = re.findall(r"`([^`]*)`", shown)
    assert shown == ", ".join(f"`{name}`" for name in named) + ")"
    for name in named:
        path, test = name.split("::")
        assert re.search(rf"^((async )?def )?{test}\b", (ROOT / "tests" / path).read_text(), re.MULTILINE), name
