"""What all simulated devices share: command registers under a lease, faults, and the difference between truth and readings."""

from __future__ import annotations

import math
from random import Random

from ems.errors import DeviceSilent
from simulators.errors import Refused

FAULTS = (
    "silent",  # does not answer
    "frozen",  # answers with the readings of the moment the fault began
    "slow",  # obeys, but answers after any sensible deadline
    "reject",  # refuses every command
    "ignores",  # acknowledges and shows a command, and does not act on it
    "wrong_sign",  # power readings have the opposite sign
    "trip",  # power is zero
    "local",  # a person has taken the device: commands are refused
    "pump_lost",  # the water of a chilled-water plant stands still; other devices take no notice
    "leak",  # a chilled-water plant shows water where none should be; other devices take no notice
    "input_lost",  # a UPS loses its input and carries its load from the battery; other devices take no notice
    "no_lease",  # holds its commands for ever, whatever its lease says
    "reboot",  # silent, and comes back with its commands at their power-on values
)
OTHER_NAMES = {"refuse": "reject", "lying": "wrong_sign"}  # as scenarios call them
READING_NOISE = 0.001  # readings lie within this fraction of the truth, uniformly


class Device:
    """Registers, lease and faults. Times are site time in epoch seconds; powers in kW, positive into the asset.

    `power_kw` is the true mean of the last step, `power_now_kw` the true power at its end; `read()` tells only what the device says.
    A lease begins with the first accepted command, is kept by heartbeats, and lapses by itself.
    """

    COMMANDS: tuple[str, ...] = ()
    __slots__ = (
        "_frozen",
        "_lease_s",
        "_lease_until_s",
        "_registers",
        "_rng",
        "faults",
        "heartbeats",
        "id",
        "power_kw",
        "power_now_kw",
        "writes",
    )

    def __init__(self, asset_id: str, lease_s: float | None, rng: Random) -> None:
        self.id = asset_id
        self.power_kw = 0.0
        self.power_now_kw = 0.0
        self.writes = 0  # register writes that reached the device, heartbeats and refused ones included
        self.heartbeats = 0
        self.faults: dict[str, float] = {}  # kind -> epoch second at which it ends
        self._rng = rng
        self._lease_s = lease_s if lease_s is not None else math.inf
        self._lease_until_s = math.inf
        self._registers: dict[str, float] = {}
        self._frozen: dict[str, float] | None = None

    def read(self) -> dict[str, float]:
        """What the device says: all readings of its kind, our units and signs. Raises DeviceSilent when it does not answer in time."""
        if self.faults:
            self._answer_or_raise()
        return self.shown()

    def shown(self) -> dict[str, float]:
        """As read, however late the answer would come."""
        if not self.faults:
            return self._readings()
        values = dict(self._frozen) if self._frozen is not None else self._readings()
        if "wrong_sign" in self.faults:
            _turn_round(values)
        return values

    def commands(self) -> dict[str, float]:
        """The command registers as read back, in kW."""
        if self.faults:
            self._answer_or_raise()
        return dict(self._registers)

    @property
    def registers(self) -> dict[str, float]:
        """The command registers as they stand, however late the answer would come."""
        return self._registers

    def write(self, command: str, value: float, at_s: float, keeps_lease: bool = True, lease_s: float = 0.0) -> None:
        """Takes one command in kW; it acts from the next step on. With `keeps_lease` it is a heartbeat too, `lease_s` as in `keep_alive`.

        Raises Refused, or DeviceSilent when there is no timely answer.
        """
        self.take(command, value, at_s)
        if lease_s > 0.0:
            self._lease_s = lease_s
        if keeps_lease and self._lease_until_s != math.inf:
            self._lease_until_s = at_s + self._lease_s
        if "slow" in self.faults:
            raise DeviceSilent(f"{self.id} answers too late")

    def take(self, command: str, value: float, at_s: float) -> None:
        """As write without a heartbeat, however late the answer would come. Raises Refused, or DeviceSilent when it does not arrive."""
        self._arrive_or_raise()
        self._refuse_or_pass(command, value)
        if at_s >= self._lease_until_s and "no_lease" not in self.faults:
            self.lapse()
        self._registers[command] = value
        if self._lease_until_s == math.inf:
            self._lease_until_s = at_s + self._lease_s
        if "ignores" not in self.faults:
            self._obey(command, value)

    def keep_alive(self, at_s: float, lease_s: float = 0.0) -> None:
        """A heartbeat: extends a running lease (by `lease_s` from now on when that is above 0); it never revives one that lapsed.

        Raises DeviceSilent.
        """
        self._arrive_or_raise()
        self.heartbeats += 1
        if lease_s > 0.0:
            self._lease_s = lease_s
        if self._lease_until_s != math.inf and "local" not in self.faults:
            self._lease_until_s = at_s + self._lease_s

    def lease_remaining_s(self, at_s: float) -> float:
        """Seconds until the commands lapse; 0 when no lease runs."""
        left_s = max(0.0, self._lease_until_s - at_s) if self._lease_until_s != math.inf else 0.0
        return max(1.0, left_s) if "no_lease" in self.faults else left_s

    def inject(self, kind: str, until_s: float) -> None:
        """Begins a fault that ends at an epoch second. Raises ValueError for a kind not in FAULTS."""
        kind = OTHER_NAMES.get(kind, kind)
        if kind not in FAULTS:
            raise ValueError(f"fault {kind!r} of {self.id}: expected one of {', '.join((*FAULTS, *OTHER_NAMES))}")
        if kind == "frozen":
            self._frozen = self._readings()
        if kind in ("reboot", "trip"):
            self.lapse()
        self.faults[kind] = until_s

    def lapse(self) -> None:
        """Lets every command fall to what the device does without a master."""
        self._lease_until_s = math.inf
        self._to_defaults()

    @property
    def is_local(self) -> bool:
        """True while a person has the device."""
        return "local" in self.faults

    def _begin_step(self, at_s: float) -> None:
        if at_s >= self._lease_until_s and "no_lease" not in self.faults:
            self.lapse()
        if self.faults:
            self._end_faults(at_s)

    def _end_faults(self, at_s: float) -> None:
        for kind in [kind for kind, until_s in self.faults.items() if at_s >= until_s]:
            del self.faults[kind]
        if "frozen" not in self.faults:
            self._frozen = None

    def _arrive_or_raise(self) -> None:
        if "silent" in self.faults or "reboot" in self.faults:
            raise DeviceSilent(f"{self.id} does not answer")
        self.writes += 1

    def _answer_or_raise(self) -> None:
        for kind in ("silent", "reboot", "slow"):
            if kind in self.faults:
                raise DeviceSilent(f"{self.id} does not answer in time ({kind})")

    def _refuse_or_pass(self, command: str, value: float) -> None:
        if command not in self.COMMANDS:
            raise Refused(f"{self.id} has no command {command!r}; it has {', '.join(self.COMMANDS) or 'none'}")
        for kind in ("local", "reject", "trip"):
            if kind in self.faults:
                raise Refused(f"{self.id} refuses {command}: {kind}")
        if not math.isfinite(value):
            raise Refused(f"{self.id} {command}: {value} is not a number")
        self._check(command, value)

    def _noisy(self, value: float) -> float:
        return value * (1.0 + READING_NOISE * (2.0 * self._rng.random() - 1.0))

    def _readings(self) -> dict[str, float]:
        raise NotImplementedError

    def _check(self, command: str, value: float) -> None:
        """Raises Refused when the value lies outside what the device takes."""

    def _obey(self, command: str, value: float) -> None:
        """Makes an accepted command act."""

    def _to_defaults(self) -> None:
        """Puts registers and targets where they stand without a master."""


def _turn_round(values: dict[str, float]) -> None:
    for point in ("power_kw", "battery_kw"):
        if point in values:
            values[point] = -values[point]


def within(device_id: str, command: str, value: float, low: float, high: float) -> None:
    """Raises Refused unless low <= value <= high, with room for the rounding of a register."""
    slack = 1e-3 * max(abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        raise Refused(f"{device_id} {command}: {value:g} kW is outside {low:g} to {high:g} kW")
