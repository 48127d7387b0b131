"""The far side: a node with a counter and a store, and a bare Trio echo, in a process of their own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import actors_typed
import trio
from actors_frames import Sizes
from bench_actors import Counter, Store
from talking import Message, answer

from actors import open_node

BUFFER = 65_536


async def echo(stream: trio.SocketStream, asked: int, answered: int) -> None:
    """For each `asked` bytes, so many back."""
    back, size = bytes(answered), 0
    while data := await stream.receive_some(BUFFER):
        size += len(data)
        if size >= asked:
            size -= asked
            await stream.send_all(back)


class Far:
    def __init__(self, nursery: trio.Nursery, sizes: Sizes) -> None:
        self._nursery = nursery
        self._sizes = sizes

    async def size(self) -> Message:
        """Bytes of the frame that was sent last."""
        return {"size": self._sizes.end()}

    async def listen(self, asked: int, answered: int) -> Message:
        """Echo so many bytes for so many, on a port of 127.0.0.1."""

        return await self._listen(partial(echo, asked=asked, answered=answered))

    async def listen_typed(self) -> Message:
        """Answer typed messages, on a port of 127.0.0.1."""
        return await self._listen(actors_typed.serve)

    async def _listen(self, talk: Callable[[trio.SocketStream], Awaitable[None]]) -> Message:
        async def serve(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                await talk(stream)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._nursery.start_soon(trio.serve_listeners, serve, [listener])
        return {"port": listener.socket.getsockname()[1]}

    async def status(self) -> Message:
        return {"cpu": time.process_time()}


async def main(near: str) -> None:
    sizes = Sizes()
    async with open_node("far") as node, trio.open_nursery() as nursery:
        await node.spawn("counter", Counter)
        await node.spawn("store", Store)
        far = Far(nursery, sizes)

        async def meet(address: str) -> Message:
            node.set_peers({near: address})
            return {}

        table = {
            "meet": meet,
            "size": far.size,
            "listen": far.listen,
            "listen_typed": far.listen_typed,
            "status": far.status,
        }
        await answer({"address": str(node.address)}, table)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, "near")
