"""What the page about testing shows of a network in memory runs as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from actors.testing import MemoryNetwork

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
SECTION = PAGE.partition("## Nodes and groups on a network in memory")[2].partition("\n## ")[0]


def names_of_the_example(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "test_greeter"}
    exec(source, names)
    return names


def test_the_example_of_a_network_in_memory_runs() -> None:
    (suite,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    names_of_the_example(suite)["test_greetings"]()
    with pytest.raises(BaseExceptionGroup):  # the cut is what is told in it
        names_of_the_example(suite.replace("network.cut(", "print("))["test_greetings"]()


def test_every_way_in_the_table_is_there() -> None:
    table = re.findall(r"^\| (`.*?) \|", SECTION, re.MULTILINE)
    network = MemoryNetwork()
    told = re.findall(r"`network\.(\w+)\(|`(\w+)=`", " ".join(table))
    assert {method or setting for method, setting in told} == {
        *("cut", "heal", "lose"),
        *("latency", "tearing", "refusals", "buffer_size", "tap"),
    }
    assert all(hasattr(network, method or setting) for method, setting in told)
    assert "`host.crash()`" in " ".join(table)
    assert hasattr(network.host("a"), "crash")
