"""A generator behind its own transfer control: start sequence, ramp, minimum load, cool-down, faults of its own.

It decides itself when to start, load and stop; a master only asks. While its transfer control has put load on it nothing a master asks
can stop it. Without a master a baseload machine stays at its rating and any other goes off by its own sequence.
"""

from __future__ import annotations

from random import Random

from ems.assets.generator.model import CAUSES, COMMANDS, MODES, Generator
from simulators.devices.converter import ramp_area
from simulators.devices.device import Device
from simulators.errors import Refused

START_PARTS = (("starting", 0.5), ("warming", 0.3), ("synchronising", 0.2))  # of the start time
LOCKED_OUT_S = 900.0  # after a start that failed
STOP_SHARE = 0.02  # the breaker opens once the power is this close to the minimum load, share of the rating


class GeneratorDevice(Device):
    """`generation_kw` is what it gives (never negative), `fuel` what it burnt in the last step, `starts` the starts begun in it."""

    COMMANDS = COMMANDS
    __slots__ = (
        "_cause",
        "_chance",
        "_locked_until_s",
        "_request",
        "_target_kw",
        "_transfer_kw",
        "_waited_s",
        "fuel",
        "generation_kw",
        "mode",
        "rating",
        "run_hours_h",
        "starts",
    )

    def __init__(self, rating: Generator, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        self.rating = rating
        self.mode = "loaded" if rating.is_on_at_start else "off"
        self.generation_kw = rating.power_kw if rating.is_on_at_start else 0.0
        self.power_now_kw = self.power_kw = -self.generation_kw
        self.run_hours_h = 0.0
        self.fuel = 0.0
        self.starts = 0
        self._chance = Random(f"start {rating.id} {rng.random()}")
        self._cause = "request" if rating.is_on_at_start else "none"
        self._waited_s = 0.0
        self._locked_until_s = 0.0
        self._transfer_kw = 0.0
        self._to_defaults()

    @property
    def carries_load(self) -> bool:
        """True while its transfer control has put load on it."""
        return self._transfer_kw > 0.0

    def transfer(self, load_kw: float) -> None:
        """The mains have failed (load to carry, kW) or are back (0): its own transfer control acts, whoever the master is."""
        self._transfer_kw = min(load_kw, self.rating.power_kw)
        if self.carries_load and self.mode in ("off", "cooling_down"):
            self._begin("transfer")

    def step(self, dt_s: float, at_s: float) -> None:
        """Moves the sequence and the power over one step."""
        self._begin_step(at_s)
        self.starts, before_kw = 0, self.generation_kw
        if "trip" in self.faults or self.rating.is_out(at_s):
            self._fall("fault" if "trip" in self.faults else "off")
        else:
            self._sequence(dt_s, at_s)
        mean_kw = self._follow(dt_s, before_kw)
        self.fuel = self._burnt(mean_kw, dt_s / 3600.0)
        self.run_hours_h += dt_s / 3600.0 if self.mode not in ("off", "fault") else 0.0
        self.power_kw, self.power_now_kw = -mean_kw, -self.generation_kw

    def _sequence(self, dt_s: float, at_s: float) -> None:
        wanted = self._request or self.carries_load
        self._waited_s += dt_s
        if self.mode == "fault" and at_s >= self._locked_until_s:
            self.mode = "off"
        if self.mode == "off" and wanted:
            self._begin("transfer" if self.carries_load else "request")
        elif self.mode in ("starting", "warming", "synchronising"):
            self._start_on(wanted, at_s)
        elif self.mode == "loaded" and not wanted and self.generation_kw <= self._least_kw() + STOP_SHARE * self.rating.power_kw:
            self.mode, self._waited_s = "cooling_down", 0.0
        elif self.mode == "cooling_down" and wanted:
            self.mode, self._waited_s = "synchronising", 0.0
        elif self.mode == "cooling_down" and self._waited_s >= self.rating.cooldown_s:
            self.mode, self._cause = "off", "none"

    def _begin(self, cause: str) -> None:
        self.mode, self._waited_s, self._cause = "starting", 0.0, cause
        self.starts += 1

    def _start_on(self, wanted: bool, at_s: float) -> None:
        if not wanted:
            self._fall("off")
            return
        parts = [name for name, _ in START_PARTS]
        for name, share in START_PARTS[parts.index(self.mode) :]:
            if self.mode != name or self._waited_s < share * self.rating.start_s:
                return
            self._waited_s -= share * self.rating.start_s
            if name == "starting" and self._chance.random() < self.rating.start_failure:
                self.mode, self._locked_until_s = "fault", at_s + LOCKED_OUT_S
                return
            self.mode = "loaded" if name == parts[-1] else parts[parts.index(name) + 1]

    def _fall(self, mode: str) -> None:
        self.mode, self.generation_kw, self._cause = mode, 0.0, "none"

    def _follow(self, dt_s: float, before_kw: float) -> float:
        """Mean power over the step; the breaker closes at no load and opens at the minimum load."""
        if self.mode != "loaded":
            self.generation_kw = 0.0
            return 0.0
        area, self.generation_kw = ramp_area(before_kw, self._aim_kw(), self.rating.ramp_kw_per_s, dt_s)
        return area / dt_s

    def _aim_kw(self) -> float:
        if self.carries_load:
            return self._transfer_kw
        asked_kw = self._target_kw if self._request else 0.0
        return min(self.rating.power_kw, max(self._least_kw(), asked_kw))

    def _least_kw(self) -> float:
        return self.rating.min_power_kw

    def _burnt(self, mean_kw: float, hours: float) -> float:
        """Units of fuel, straight between the points of the curve; running without load burns what stands at zero."""
        if self.mode in ("off", "fault") and mean_kw <= 0.0:
            return 0.0
        at, per_h = self.rating.fuel_at_kw, self.rating.fuel_per_h
        return _between(mean_kw, at, per_h) * hours

    def _readings(self) -> dict[str, float]:
        is_able = self.mode != "fault" and "trip" not in self.faults
        return {
            "power_kw": self._noisy(self.power_now_kw),
            "mode": float(MODES.index(self.mode)),
            "available_kw": self.rating.power_kw if is_able else 0.0,
            "carries_load": float(self.carries_load),
            "start_cause": float(CAUSES.index(self._cause)),
            "run_hours_h": self.run_hours_h,
            "is_local": float(self.is_local),
        }

    def _check(self, command: str, value: float) -> None:
        if command == "run_request":
            if value not in (0.0, 1.0):
                raise Refused(f"{self.id} {command}: {value:g} is neither 0 nor 1")
            if value == 0.0 and self.carries_load:
                raise Refused(f"{self.id} {command}: its transfer control carries load")
            if value == 1.0 and self.mode == "fault":
                raise Refused(f"{self.id} {command}: fault")
            return
        slack = 1e-3 * self.rating.power_kw
        if not (-self.rating.power_kw - slack <= value <= -self.rating.min_power_kw + slack or value == 0.0):
            low, high = self.rating.min_power_kw, self.rating.power_kw
            raise Refused(f"{self.id} {command}: {value:g} kW is neither 0 nor giving {low:g} to {high:g} kW")

    def _obey(self, command: str, value: float) -> None:
        if command == "run_request":
            self._request = value >= 0.5
        else:
            self._target_kw = -value

    def _to_defaults(self) -> None:
        kept = self.rating.is_baseload
        self._request, self._target_kw = kept, self.rating.power_kw if kept else 0.0
        self._registers = {"run_request": float(kept), "power_setpoint_kw": -self._target_kw}


def _between(kw: float, at_kw: tuple[float, ...], per_h: tuple[float, ...]) -> float:
    if len(at_kw) == 1 or kw >= at_kw[-1]:
        return per_h[-1] * kw / at_kw[-1] if at_kw[-1] > 0.0 else per_h[-1]
    if kw <= at_kw[0]:
        return per_h[0]
    for low, high, first, last in zip(at_kw, at_kw[1:], per_h, per_h[1:], strict=False):
        if kw <= high:
            return first + (last - first) * (kw - low) / (high - low)
    return per_h[-1]
