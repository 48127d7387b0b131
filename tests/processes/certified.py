"""A replica in a process of its own, under TLS: `python -m certified SETTINGS`, with CERTIFICATES, the directory of
node.pem, node.key and authority.pem, in the environment."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from actors import Actor, Tls
from broadcast import Group, open_group
from broadcast.cli import replica


def _open_group(name: str, actor: type[Actor], **settings: Any) -> AbstractAsyncContextManager[Group[Actor]]:
    files = Path(os.environ["CERTIFICATES"])
    tls = Tls(certificate=files / "node.pem", key=files / "node.key", authority=files / "authority.pem")
    return open_group(name, actor, **settings, tls=tls)


if __name__ == "__main__":
    replica.open_group = _open_group  # type: ignore[assignment]
    replica.main()
