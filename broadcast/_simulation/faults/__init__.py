"""What strikes, each with its weight, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from broadcast._simulation.faults import end, links, members, processes, storage
from broadcast._simulation.faults.field import Field

FAULTS: Mapping[str, Callable[[Field], None]] = {
    "crashes": processes.crash,
    "ambushes": processes.ambush,
    "power_cuts": processes.cut_power,
    "pauses": processes.pause,
    "clock_jumps": processes.set_clock,
    "cuts": links.cut,
    "slow_disks": storage.slow,
    "full_disks": storage.fill,
    "failed_syncs": storage.fail_sync,
    "damaged_disks": storage.damage,
    "wipes": storage.wipe,
    "old_copies": storage.restore_copy,
    "regroupings": members.regroup,
    "upgrades": processes.change_class,
}
"""By the option that says how often."""


class Faults:
    """Strikes until `end` is called."""

    def __init__(self, field: Field) -> None:
        self._field = field
        options = field.world.options
        self._choices = [fault for name, fault in FAULTS.items() for _ in range(getattr(options, name))]
        if options.strike_interval and self._choices:
            field.world.schedule.at(options.faults_from, self._strike)

    def end(self) -> list[str]:
        """Nothing strikes any more. Returns who works again: everybody, or a quorum."""
        self._field.world.calm = True
        names = end.repaired(self._field)
        end.repair(self._field, names)
        return names

    def need(self, there: Sequence[str]) -> list[str]:
        """Beside those who work again. Returns who else does from now on, as what was wished for needs them."""
        names = end.needed(self._field, there)
        end.bring_back(self._field, there, names)
        return names

    def _strike(self) -> None:
        world = self._field.world
        if not world.calm:
            world.chance.choice(self._choices)(self._field)
            world.schedule.after(world.chance.randrange(2 * world.options.strike_interval), self._strike)
