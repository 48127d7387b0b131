"""What a replica has asked of its disk, beside a twin disk (rules 0, 1, 9): nothing counts as durable that is not."""

from __future__ import annotations

from effort import CI
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broadcast._protocol.log import Log
from broadcast._protocol.messages import HeartbeatReply
from broadcast._protocol.output import Persist, Send
from broadcast._protocol.position import Batch
from broadcast._protocol.writes import Writes
from membership._protocol.messages import VoteReply
from membership._protocol.view import Promise


class WritesAndDisk(RuleBasedStateMachine):
    """A log with its writes, and a disk that does what was asked of it in order, and late."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.writes = Writes(0, Promise())
        self.promise = Promise()
        self.asked: list[Persist] = []
        self.disk: list[Batch] = []
        self.disk_promise = Promise()
        self.bound: dict[int, Promise] = {}  # number of a message -> what it vouches for
        self.sent: list[int] = []

    # -- the protocol ----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        last = self.log.last
        stamp = self.log.last_stamp + 1
        batch = Batch(max(1, self.promise.epoch), last.epoch, last.index + 1, count, 0, stamp, bytes(count))
        self.log.append(batch)
        self.writes.append(batch)

    @precondition(lambda self: self.log.last.index)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        """A newer leader has another log."""
        firsts = [batch.first for batch in self.log.between(0, self.log.last.index)]
        first = data.draw(st.sampled_from(firsts))
        self.promise = Promise(self.promise.epoch + 1, None)
        self.log.truncate(first)
        self.writes.truncate(first)

    @rule(grant=st.booleans())
    def promise_more(self, grant: bool) -> None:
        if grant and self.promise.granted_to is None:
            self.promise = Promise(self.promise.epoch, "b")
        else:
            self.promise = Promise(self.promise.epoch + 1, "a" if grant else None)

    @rule(to=st.sampled_from("bc"), vote=st.booleans())
    def vouch(self, to: str, vote: bool) -> None:
        number = len(self.bound)
        self.bound[number] = self.promise
        epoch = self.promise.epoch
        message = VoteReply(epoch, number, False, True) if vote else HeartbeatReply(epoch, number)
        self._take(self.writes.bind(Send(to, message), self.promise))

    @rule()
    def flush(self) -> None:
        asked = self.writes.flush(self.promise, 0, 0)
        if asked is not None:
            self.asked.append(asked)

    # -- the disk --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.asked)
    @rule(count=st.integers(1, 3))
    def write(self, count: int) -> None:
        """It may join several, and says how far it has come."""
        done, self.asked = self.asked[:count], self.asked[count:]
        for persist in done:
            if persist.promise is not None:
                self.disk_promise = persist.promise
            if persist.truncate is not None:
                self.disk = [batch for batch in self.disk if batch.first < persist.truncate]
            self.disk.extend(persist.batches)
        self.writes.persisted(done[-1].number)
        self._take(self.writes.release(self.promise.epoch))

    def _take(self, sends: list[Send]) -> None:
        for send in sends:
            message = send.message
            number = message.campaign if isinstance(message, VoteReply) else message.round  # type: ignore[union-attr]
            vouched = self.bound[number]
            assert vouched.epoch == self.promise.epoch, "of an epoch that is over nothing leaves"
            assert self.disk_promise.epoch == vouched.epoch
            assert vouched.granted_to in (None, self.disk_promise.granted_to)
            assert number not in self.sent
            self.sent.append(number)

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def what_counts_as_durable_is_on_disk(self) -> None:
        durable = self.writes.durable
        mine = [batch for batch in self.log.between(0, durable) if batch.last <= durable]
        there = [batch for batch in self.disk if batch.last <= durable]
        assert durable <= self.log.last.index
        assert mine == there[: len(mine)]
        assert not mine or mine[-1].last == durable

    @invariant()
    def the_promise_that_counts_is_on_disk(self) -> None:
        assert self.writes.promise == self.disk_promise

    @invariant()
    def the_disk_holds_a_log(self) -> None:
        log = Log()
        for batch in self.disk:
            log.append(batch)

    @invariant()
    def when_all_is_written_all_counts(self) -> None:
        if not self.asked and self.writes.unsynced_size == 0 and not self.writes.busy and not self.writes._truncate:
            assert [*self.log.between(0, self.log.last.index)] == self.disk
            assert self.writes.durable == self.log.last.index


WritesAndDisk.TestCase.settings = CI
TestWrites = WritesAndDisk.TestCase
