"""The simulated plant as the controller's field: readings become an image, setpoints reach the devices one plant step later."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from ems.dispatch.setpoint import Setpoint
from ems.errors import DeviceSilent
from ems.reading import Reading
from ems.site.leases import lease_s
from ems.state.image import SiteImage
from simulators.errors import Refused
from simulators.plant import Plant

SAME_KW = 1e-6
TOLD_AGAIN_S = 20.0


class SimulatedField:
    """Keeps the last reading of every device, as an adapter does: a silent device leaves old stamps behind, never zeros."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.refused = 0
        self.silent = 0
        self._readings: dict[str, dict[str, Reading]] = {}
        self._commands: dict[str, dict[str, Reading]] = {}
        self._waiting: dict[tuple[str, str], float] = {}
        self._released: list[str] = []
        self._refresh = False
        self._astray: Collection[str] = ()
        self._told_at_s: dict[tuple[str, str], float] = {}

    def image(self, now: datetime) -> SiteImage:
        """What the devices say at `now`; a device that does not answer is named in `problems`."""
        problems = {}
        for name, device in self.plant.devices.items():
            try:
                said, registers = device.read(), device.commands()
            except DeviceSilent as silence:
                problems[name] = str(silence)
                self.silent += 1
                continue
            self._readings[name] = {point: Reading(value, now) for point, value in said.items()}
            self._commands[name] = {command: Reading(value, now) for command, value in registers.items()}
        return SiteImage(now, dict(self._readings), dict(self._commands), problems)

    def apply(self, setpoints: Sequence[Setpoint], refresh_leases: bool, astray: Collection[str] = ()) -> None:
        """Takes the setpoints of a cycle; `flush` writes them, those of assets that are `astray` again after a while."""
        self._waiting = {(s.asset, s.command): s.power_kw for s in setpoints}
        self._refresh, self._astray = refresh_leases, astray

    def release(self, assets: Sequence[str]) -> None:
        """Lets go of assets: their devices fall back to what they do without a master."""
        self._released.extend(assets)

    def flush(self, at_s: float) -> None:
        """Writes what waits: on change, else a heartbeat keeps the lease. A refusal or a silent device is counted and left to the image."""
        devices = self.plant.devices
        for name in self._released:
            devices[name].lapse()
        self._released.clear()
        kept = set()
        for (name, command), kw in self._waiting.items():
            device = devices[name]
            try:
                if abs(self._known(name, command) - kw) > SAME_KW or self._is_told_again(name, command, at_s):
                    self._told_at_s[name, command] = at_s
                    device.write(command, kw, at_s, lease_s=lease_s(self.plant.site, name, kw))
                    self._note(name, command, kw)
                elif self._refresh and name not in kept:
                    device.keep_alive(at_s)
                    kept.add(name)
            except Refused:
                self.refused += 1
            except DeviceSilent:
                self.silent += 1
        self._waiting = {}

    def heartbeat(self, at_s: float) -> None:
        """Keeps the leases alive between two control steps that are further apart than a lease allows."""
        if not self._refresh:
            return
        for device in self.plant.devices.values():
            try:
                device.keep_alive(at_s)
            except DeviceSilent:
                self.silent += 1

    def _is_told_again(self, name: str, command: str, at_s: float) -> bool:
        return name in self._astray and at_s - self._told_at_s.get((name, command), -TOLD_AGAIN_S) >= TOLD_AGAIN_S

    def _known(self, name: str, command: str) -> float:
        reading = self._commands.get(name, {}).get(command)
        return reading.value if reading is not None and reading.value is not None else float("inf")

    def _note(self, name: str, command: str, kw: float) -> None:
        if name in self._commands:
            old = self._commands[name]  # an image may hold it: replaced, never changed
            self._commands[name] = {**old, command: Reading(kw, old[command].at)}
