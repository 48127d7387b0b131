"""How planted bugs are looked for: a plant that does not fit the code is told from a bug that is not found."""

from __future__ import annotations

from typing import Any

import pytest
from planting import Mutant, is_found

from broadcast._machine import Machine


def for_another_machine(patch: pytest.MonkeyPatch) -> None:
    def apply(self: Any, batch: Any) -> Any:
        return self.what_was_there_once(batch)

    patch.setattr(Machine, "apply", apply)


def test_a_plant_that_does_not_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for_another_machine(monkeypatch)
    with pytest.raises(AttributeError, match="what_was_there_once"):
        is_found(Mutant(for_another_machine, "all states are equal"), 0)
