"""A policy whose words or numbers cannot be is refused when it is made."""

from __future__ import annotations

import pytest

from actors import Supervision


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "all"},
        {"on_crash": "ignore"},
        {"restarts_max": -1},
        {"restarts_max": 1.5},
        {"restarts_max": True},
        {"period": 0},
        {"period": float("nan")},
        {"backoff_min": 2, "backoff_max": 1},
        {"backoff_min": -1},
        {"backoff_min": float("nan")},
        {"backoff_max": float("inf")},
    ],
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is |^backoff_min and backoff_max are "):
        Supervision(**wrong)  # type: ignore[arg-type]  # the mistake under test
