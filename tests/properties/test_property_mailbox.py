"""A mailbox beside a list that does what the documentation says."""

from __future__ import annotations

from typing import get_args

import trio
from effort import CI
from hypothesis import given
from hypothesis import strategies as st

from actors._mailbox import Mailbox, Queue, WhenFull

STEPS = st.lists(st.sampled_from(("put", "put", "control", "take", "shrink", "clear")), max_size=60)


class Twin:
    """Slow, and easy to believe."""

    def __init__(self, policy: Mailbox) -> None:
        self.policy = policy
        self.control: list[int] = []
        self.messages: list[int] = []
        self.dropped = 0

    def put(self, message: int) -> int | str | None:
        if len(self.messages) < self.policy.capacity:
            self.messages.append(message)
            return None
        if self.policy.when_full in ("wait", "refuse"):
            return "full"
        self.dropped += 1
        if self.policy.when_full == "drop-newest":
            return message
        self.messages.append(message)
        return self.messages.pop(0)

    def take(self) -> int | None:
        lane = self.control or self.messages
        return lane.pop(0) if lane else None

    def clear(self) -> list[int]:
        everything = self.control + self.messages
        self.control, self.messages = [], []
        return everything


def put(queue: Queue[int], message: int) -> int | str | None:
    try:
        return queue.put(message)
    except trio.WouldBlock:
        return "full"


@CI
@given(st.integers(1, 4), st.sampled_from(get_args(WhenFull)), STEPS)
def test_it_does_as_its_twin(capacity: int, when_full: WhenFull, steps: list[str]) -> None:
    policy = Mailbox(capacity, when_full)
    queue, twin = Queue[int](policy), Twin(policy)
    for number, step in enumerate(steps):
        match step:
            case "put":
                assert put(queue, number) == twin.put(number)
            case "control":
                queue.put_control(number)
                twin.control.append(number)
            case "take":
                assert queue.take() == twin.take()
            case "clear":
                assert list(queue.clear()) == twin.clear()
            case _:
                queue.shrink()
        assert len(queue) == len(twin.control) + len(twin.messages)
        assert queue.is_empty == (len(queue) == 0)
        assert queue.dropped == twin.dropped
        assert len(twin.messages) <= capacity
