"""Who has not heard a commit quorum for an election timeout leads no more, nor who cannot write (rules 3, 25; 6.2).

A leader looks every now and then: at the latest a quarter of the shortest timeout later, once it runs.
"""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._protocol.output import Input, Tick
from broadcast._simulation.invariants.base import Invariant, Process, Scene, hung_for
from broadcast._simulation.invariants.claim import check
from broadcast._simulation.invariants.contact import Contact
from membership._protocol.view import Configuration


class StepDown(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._contact = Contact()
        self._configured: dict[str, tuple[Configuration | None, int]] = {}  # what is in force, and since when
        self._ticks = False  # is the step under way a tick? By then a process that was stopped has seen what came

    def started(self, process: Process) -> None:
        self._configured.pop(process.name, None)

    def elected(self, process: Process) -> None:
        self._contact.elected(process)

    def heard(self, process: Process, sender: str, message: Message) -> None:
        self._contact.heard(process, sender, message)

    def _has_begun(self, process: Process, span: int) -> bool:
        """Has another configuration come into force within this time? Its voters count as heard just then."""
        configuration, now = process.replica.configuration, process.clock
        before, since = self._configured.get(process.name, (None, now))
        if before is not configuration:
            since = now
            self._configured[process.name] = configuration, since
        return now - since <= span

    def given(self, process: Process, given: Input) -> None:
        self._ticks = isinstance(given, Tick)

    def stepped(self, process: Process) -> None:
        replica = process.replica
        if not self._ticks or replica.leadership is None or replica.formation is None:
            return
        floor = replica.formation.configuration.limits.election_timeout
        late = floor // 4
        has_begun = self._has_begun(process, 2 * floor + late)
        in_touch = has_begun or self._contact.within(process, 2 * floor + late)
        check(in_touch, "who does not hear a commit quorum stops leading", name=process.name, epoch=replica.epoch)
        hung = hung_for(process, self.scene)
        check(hung < floor + late, "who cannot write stops leading", name=process.name, hung=hung)
