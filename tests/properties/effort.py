"""How much is tried: new examples at each run, and what fails is printed so that it can be tried again."""

from __future__ import annotations

from hypothesis import settings

CI = settings(
    max_examples=100,
    stateful_step_count=40,
    derandomize=False,
)
FEW = settings(CI, max_examples=40)
