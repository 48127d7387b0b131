"""Log lines of a program in the order of its messages: each gets a Lamport timestamp, and a place in the trace."""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from typing import Any

from actors._node import Node

TEXT_LENGTH_MAX = 200


class LamportStamper:
    """A processor for structlog that stamps each line, and notes it in the node's trace if there is one.

        structlog.configure(processors=[LamportStamper(node), ..., structlog.dev.ConsoleRenderer()])

    A line gets `node` and `lamport`, as in "17.a": an event of its own, later than all that the node had received, and
    earlier than all that it sends from then on. In the trace are its text, up to a length, and its level, and nothing
    else of it. Lines of other threads than that of the node pass as they are.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._thread = threading.get_ident()

    def __call__(self, logger: object, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        node = self._node
        if threading.get_ident() != self._thread:
            return event_dict
        stamp = node.clock.timestamp()
        event_dict.setdefault("node", node.name)
        event_dict["lamport"] = f"{stamp.counter}.{stamp.node}"
        if node.trace is not None:
            text = str(event_dict.get("event", ""))[:TEXT_LENGTH_MAX]
            written = text.encode(errors="replace").decode()  # a name of a file may be no text
            node.trace.note("log", stamp.counter, text=written, level=method)
        return event_dict
