"""Planted bugs of the shells: each takes one rule out of them. The second simulation has to find every one (T25)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import trio
from shells.history import run
from shells.world import Options

from actors._exchange import Exchange
from actors._gate import Gate
from actors._outbox import Outbox
from broadcast import _handle
from broadcast._applying import Applier
from broadcast._handle import Handle
from broadcast._protocol.output import Persist
from broadcast._protocol.submitter import Submitter
from broadcast._simulation.invariants import Violation
from broadcast._takers import Takers
from broadcast._writer import Reports, Writer, _Thread

SEEDS = 40  # within which each is found; most are in the first few
BUSY = Options(duration=2.5, idle=0.06, clients=2, workers=2, disk_latency=0.02, strike_interval=0.25)
CALM = replace(BUSY, duration=1.0, clients=1, workers=1, strike_interval=0)
NARROW = replace(BUSY, duration=1.0, buffer_size=150, tearing=0.5, strike_interval=0)
LOSSY = replace(
    BUSY,
    clients=1,
    workers=1,
    duration=1.5,
    losses=1,
    cuts=0,
    kills=0,
    stops=0,
    rejoins=0,
    stalls=0,
    full_disks=0,
    failed_disks=0,
)
REJOINING = replace(LOSSY, losses=0, rejoins=1, disk_latency=0.1)


@dataclass(frozen=True)
class Mutant:
    """What to plant, under which options it is looked for, and what is then found broken."""

    plant: Callable[[pytest.MonkeyPatch], None]
    claim: str
    options: Options = BUSY


def report_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    write = _Thread._write

    def hurry(self: Any) -> None:
        if self._joined and not self._stopped:
            numbers = {write.group: write.persist.number for write in self._joined}
            self._writer.tell(partial(self._writer.completed, numbers))
        write(self)

    patch.setattr(_Thread, "_write", hurry)


def report_what_only_waits(patch: pytest.MonkeyPatch) -> None:
    """The number of what was submitted last counts, and not of what was written."""
    newest: dict[tuple[int, str], int] = {}
    submit, completed = Writer.submit, Writer.completed

    def note(self: Writer, group: str, persist: Persist) -> None:
        newest[id(self), group] = persist.number
        submit(self, group, persist)

    def count(self: Writer, numbers: dict[str, int]) -> None:
        completed(self, {group: newest[id(self), group] for group in numbers})

    patch.setattr(Writer, "submit", note)
    patch.setattr(Writer, "completed", count)


def open_past_the_queue(patch: pytest.MonkeyPatch) -> None:
    """Who opens a group again does not wait for what an earlier life has submitted, and hears of that."""

    async def hasty(self: Any, group: str, reports: Reports) -> Any:
        self._reports[group] = reports
        return await trio.to_thread.run_sync(self._thread.disk.open_group, group)

    patch.setattr(Writer, "open_group", hasty)


def sleep_over_an_earlier_deadline(patch: pytest.MonkeyPatch) -> None:
    """A step that brings the next tick forward wakes nobody."""

    class Never:
        def set(self) -> None:
            pass

        async def wait(self) -> None:
            await trio.sleep_forever()

    patch.setattr("broadcast._replica.trio", _With(trio, Event=Never))


class _With:
    """A module, with some of its names meaning something else."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def let_the_writer_sleep(patch: pytest.MonkeyPatch) -> None:
    """What is queued wakes no writer."""
    deaf = _With(trio.lowlevel, reschedule=lambda task: None)
    patch.setattr("actors._outbox.trio", _With(trio, lowlevel=deaf))


def do_not_say_that_more_was_applied(patch: pytest.MonkeyPatch) -> None:
    begin = Applier.__init__

    def silent(self: Any, *given: Any) -> None:
        begin(self, *given)
        self.progressed = _With(self.progressed, unpark_all=lambda: None)

    patch.setattr(Applier, "__init__", silent)


def drop_the_rest_of_a_frame(patch: pytest.MonkeyPatch) -> None:
    put = Outbox.put

    def forget(self: Any, data: bytes, *, control: bool = False, **more: Any) -> bool:
        waiting = len(self._control)
        direct = self._direct
        taken = put(self, data, control=control, **more)
        if direct is not None and len(self._control) > waiting and self._control[-1] != data:
            self._control.pop()
        return taken

    patch.setattr(Outbox, "put", forget)


def let_another_frame_between(patch: pytest.MonkeyPatch) -> None:
    """The rest of what left in part waits behind what is urgent."""
    put = Outbox.put

    def queue_up(self: Any, data: bytes, *, control: bool = False, **more: Any) -> bool:
        direct = self._direct
        taken = put(self, data, control=control, **more)
        if direct is not None and self._control and data.endswith(self._control[-1]) and self._control[-1] != data:
            rest = self._control.pop()
            self._bulk.append(rest)
            self._bulk_size += len(rest)
        return taken

    patch.setattr(Outbox, "put", queue_up)


def write_past_the_gate(patch: pytest.MonkeyPatch) -> None:
    may_pass = Outbox._may_pass

    def ungated(self: Any, data: bytes, control: bool) -> bool:
        gate, self._gate = self._gate, None
        try:
            return may_pass(self, data, control)
        finally:
            self._gate = gate

    patch.setattr(Outbox, "_may_pass", ungated)


def open_the_gate_before_the_mark_is_kept(patch: pytest.MonkeyPatch) -> None:
    async def hasty(self: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._clock.reserve(self._clock.counter + 40)

    patch.setattr(Gate, "open", hasty)


def forget_the_number_of_what_is_withdrawn(patch: pytest.MonkeyPatch) -> None:
    """A call that is cancelled before it was sent leaves no void behind."""
    withdraw = Submitter.withdraw

    def lose(self: Any, ticket: int) -> bool:
        at = ticket - (self._tickets - len(self._unsent)) - 1
        if not withdraw(self, ticket):
            return False
        self._unsent_size -= len(self._unsent[at])
        del self._unsent[at]
        return True

    patch.setattr(Submitter, "withdraw", lose)


def answer_the_next_in_line(patch: pytest.MonkeyPatch) -> None:
    """Who gives up takes its ticket with it: the answer goes to who comes behind."""
    hand_out = Takers.hand_out

    def shift(self: Any, results: Sequence[bytes | BaseException]) -> None:
        for result in results:
            taker = self._rows[0].taker if self._rows else None
            if isinstance(taker, _handle._Waiter) and taker._task is None and taker._result is None:
                self._rows.popleft()
            if self._rows:
                hand_out(self, [result])

    patch.setattr(Takers, "hand_out", shift)


def send_on_the_link_that_was_replaced(patch: pytest.MonkeyPatch) -> None:
    """The first link to a peer is taken for its link for ever."""

    class Keeping(dict[str, Any]):
        def __setitem__(self, name: str, connection: Any) -> None:
            if name not in self:
                super().__setitem__(name, connection)

        def __delitem__(self, name: str) -> None:
            pass

    init = Exchange.__init__

    def begin(self: Any, *given: Any) -> None:
        init(self, *given)
        self.dialed = Keeping()

    patch.setattr(Exchange, "__init__", begin)


def keep_a_lost_connection(patch: pytest.MonkeyPatch) -> None:
    """A stream that was dialed is not closed with its link."""

    async def keep(stream: trio.abc.Stream) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr("actors._peer.trio", _With(trio, aclose_forcefully=keep))


def leave_the_thread_behind(patch: pytest.MonkeyPatch) -> None:
    """A writer that ends does not wait for its thread (P26)."""

    async def end(self: Any) -> None:
        self._ended = True
        self._thread.ending.set()
        await trio.lowlevel.checkpoint()

    patch.setattr(Writer, "end", end)


def do_not_say_that_there_is_room(patch: pytest.MonkeyPatch) -> None:
    """Who asked before there was a way is not woken by the first."""
    begin = Handle.__init__

    def silent(self: Any, **given: Any) -> None:
        begin(self, **given)
        self._room = _With(self._room, unpark_all=lambda: None)

    patch.setattr(Handle, "__init__", silent)


MUTANTS: Mapping[str, Mutant] = {
    "a report before the write": Mutant(report_before_it_is_written, "a completion is true"),
    "a report of what only waits": Mutant(report_what_only_waits, "a completion is true"),
    "a completion of an earlier life": Mutant(open_past_the_queue, "a batch continues the log", REJOINING),
    "a replica sleeps over its deadline": Mutant(sleep_over_an_earlier_deadline, "a tick is given when it is due"),
    "a writer is not woken": Mutant(let_the_writer_sleep, "comes to an end", CALM),
    "progress is not told": Mutant(do_not_say_that_more_was_applied, "deliveries are all of them", CALM),
    "the rest of a frame is dropped": Mutant(drop_the_rest_of_a_frame, "streams carry whole frames", NARROW),
    "a frame inside another": Mutant(let_another_frame_between, "streams carry whole frames", NARROW),
    "a write past the gate": Mutant(write_past_the_gate, "no stamp leaves before its mark is durable"),
    "a gate that opens early": Mutant(
        open_the_gate_before_the_mark_is_kept, "no stamp leaves before its mark is durable"
    ),
    "a number that is lost": Mutant(forget_the_number_of_what_is_withdrawn, "comes to an end"),
    "an answer to another": Mutant(answer_the_next_in_line, "given up before it was sent"),
    "a link that was replaced": Mutant(send_on_the_link_that_was_replaced, "comes to an end", LOSSY),
    "a stream that is not closed": Mutant(keep_a_lost_connection, "a closed node has no connection"),
    "a thread that is left behind": Mutant(
        leave_the_thread_behind, ""
    ),  # it has the disk, or meets a descriptor that is closed
    "room is not told": Mutant(do_not_say_that_there_is_room, "comes to an end", CALM),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    found: list[str] = []
    for seed in range(SEEDS):
        try:
            run(seed, options=mutant.options, plant=mutant.plant)
        except Violation as violation:
            if mutant.claim in str(violation):
                return
            found.append(str(violation))
    pytest.fail(f"not found by its claim in {SEEDS} histories, but {found}")
