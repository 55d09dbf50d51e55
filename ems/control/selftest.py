"""The self-test of one device: a small step, read back, measured, and let lapse. Pure: one `step` per cycle, no clock, no I/O.

BASE: the device stands still for ten seconds. STEP: it is told at most two hundredths of its rating; the command must read back and the
power must come, with the right sign, at the device and (where the load is calm enough to see it) at the meter. LAPSE: nothing is written
any more; the device must let go by itself within its lease. Anything unexpected ends the test, and the device is let go of.

A baseload generator is tested at its load, by a step towards less; one that runs only on request cannot be: its lease would stop it. A
plant whose supply may be led is tested in kelvin (selftest_supply.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ems.assets.battery.model import Battery
from ems.assets.cooling.model import Cooling
from ems.assets.generator.model import Generator
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.dispatch.setpoint import Setpoint
from ems.errors import EmsError
from ems.site.model import Site
from ems.state.estimate import SiteState
from ems.state.image import SiteImage

STEP_SHARE = 0.02  # of the rating, at most
BASE_S, HOLD_S = 10.0, 10.0
READ_BACK_WITHIN_S, FOLLOWS_WITHIN_S, LAPSE_SLACK_S = 5.0, 8.0, 3.0
FOLLOWED = 0.5  # of the step: less is no answer
STAYED = 0.4  # of the step, while it is held: a slow machine is still on its way, and readings are noisy
SEEN = 3.0  # standard errors: less is not seen at the meter
MARGIN_KWH = 2.0  # times the energy of the test, above floor or reserve
NOT_THIS = "not a "  # how the field begins when another device answers
IDLE_SHARE = 0.01  # of the rating: a store that moves more is not at rest

Testable = Battery | Ups | Cluster | Generator | Cooling
COMMAND_OF: Mapping[type, str] = {
    Battery: "power_setpoint_kw",
    Ups: "battery_setpoint_kw",
    Cluster: "power_cap_kw",
    Generator: "power_setpoint_kw",
    Cooling: "supply_setpoint_c",
}


class Stage(StrEnum):
    """Where the test is."""

    BASE = "base"
    STEP = "step"
    HOLD = "hold"
    LAPSE = "lapse"
    DONE = "done"


@dataclass(frozen=True)
class Finding:
    """One thing the test was to prove; `is_proven` None where it could not be told."""

    what: str
    is_proven: bool | None
    detail: str


@dataclass
class SelfTest:
    """One running test. `step` gives the setpoint to write in this cycle, None for nothing; `stage` DONE ends it."""

    site: Site
    asset: Testable
    by: str
    asked_at: datetime
    lease_s: float
    stage: Stage = Stage.BASE
    findings: list[Finding] = field(default_factory=list)
    failure: str = ""
    was_cancelled: bool = False
    _since: datetime | None = None
    _base: list[tuple[float, float | None]] = field(default_factory=list)  # power of the device, import less the other devices
    _held: list[float] = field(default_factory=list)  # import less the other devices during the step
    _base_kw: float = 0.0
    _told_kw: float = 0.0
    _written_at: datetime | None = None
    _is_read_back: bool = False

    @property
    def is_passed(self) -> bool:
        """True when everything that could be told was proven."""
        return self.stage is Stage.DONE and not self.failure and all(f.is_proven is not False for f in self.findings)

    @property
    def is_done(self) -> bool:
        """True when the test has ended, however."""
        return self.stage is Stage.DONE

    @property
    def command(self) -> str:
        """The command the test writes."""
        return COMMAND_OF[type(self.asset)]

    def step(self, image: SiteImage, state: SiteState, objection: str, limit_kw: float) -> Setpoint | None:
        """One cycle. `objection` is why the test must end now, "" while nothing is in the way; `limit_kw` is what may be imported now."""
        now = state.now
        self._since = self._since or now
        if self.is_done:
            return None
        kw, problem = _power_kw(self.asset, state), self._problem(image)
        if problem:
            self._fail("identity" if problem.startswith(NOT_THIS) else "trouble", problem)
            return None
        if self.stage is Stage.LAPSE:
            self._lapse(now, image)
            return None
        stop = objection or energy_objection(self.asset, state, self.lease_s) or ("" if kw is not None else "it cannot be read")
        if stop:
            self.cancel(f"at {self.stage.value}: {stop}")
            return None
        assert kw is not None
        import_kw = state.poc_kw - _others_kw(self.asset, state) if state.connection.is_fresh else None
        if self.stage is Stage.BASE:
            return self._stand(now, kw, import_kw, state)
        if self.stage is Stage.STEP:
            return self._wait(now, kw, image)
        return self._hold(now, kw, import_kw)

    def cancel(self, why: str) -> None:
        """Ends the test without a verdict on the device."""
        self.was_cancelled = True
        self._end(f"cancelled: {why}")

    def report(self) -> dict[str, Any]:
        """Plain data: what was proven, by whom, when."""
        return {
            "asset": self.asset.id,
            "by": self.by,
            "asked_at": self.asked_at.isoformat(),
            "is_passed": self.is_passed,
            "why": self.failure or "; ".join(f.detail for f in self.findings if f.is_proven is False),
            "step_kw": round(self._told_kw - self._from_kw, 3),
            "findings": [[f.what, f.is_proven, f.detail] for f in self.findings],
        }

    # -- the stages -----------------------------------------------------------------------------------------------------------------

    def _stand(self, now: datetime, kw: float, import_kw: float | None, state: SiteState) -> Setpoint | None:
        self._base.append((kw, import_kw))
        if not self._has_lasted(now, BASE_S):
            return None
        self._base_kw = statistics.fmean(power for power, _ in self._base)
        at_rest_kw = IDLE_SHARE * rating_kw(self.asset)
        if isinstance(self.asset, Battery | Ups) and abs(self._base_kw) > at_rest_kw:
            self._end(f"{self.asset.id} moves {self._base_kw:.1f} kW by itself; a test begins at rest")
            return None
        self._told_kw = told_kw(self.asset, state, self._base_kw)
        self._prove("identity", True, "answers as the device its page describes")
        self._go(Stage.STEP, now)
        return self._told(now)

    def _wait(self, now: datetime, kw: float, image: SiteImage) -> Setpoint | None:
        shown = image.commands.get(self.asset.id, {}).get(self.command)
        tolerance_kw = 0.1 * self._step_kw
        if shown is not None and shown.value is not None and abs(shown.value - self._told_kw) <= tolerance_kw:
            self._is_read_back = True
        moved_kw = self._moved_kw(kw)
        if self._is_read_back and moved_kw >= FOLLOWED * self._step_kw:
            self._prove("read-back", True, f"told {self._told_kw:.1f} kW, shown as told")
            self._prove("sign", True, f"moved {moved_kw:.1f} kW the right way within {self._lasted_s(now):.0f} s")
            self._go(Stage.HOLD, now)
        elif not self._is_read_back and self._has_lasted(now, READ_BACK_WITHIN_S):
            value = "no value" if shown is None or shown.value is None else f"{shown.value:.1f} kW"
            self._fail("read-back", f"told {self._told_kw:.1f} kW, reads back {value}")
        elif moved_kw <= -FOLLOWED * self._step_kw:
            self._fail("sign", f"told {self._told_kw:.1f} kW, the power moved {abs(moved_kw):.1f} kW the wrong way")
        elif self._has_lasted(now, follows_within_s(self.asset)):
            self._fail("sign", f"told {self._told_kw:.1f} kW, the power moved {moved_kw:.1f} kW")
        return None if self.stage is Stage.DONE else self._told(now)

    def _hold(self, now: datetime, kw: float, import_kw: float | None) -> Setpoint | None:
        if import_kw is not None:
            self._held.append(import_kw)
        if self._moved_kw(kw) < STAYED * self._step_kw:
            self._fail("sign", f"did not stay at {self._told_kw:.1f} kW: {kw:.1f} kW")
            return None
        if not self._has_lasted(now, HOLD_S):
            return self._told(now)
        self._prove(*self._seen_at_meter())
        if self.stage is not Stage.DONE:
            self._go(Stage.LAPSE, now)
        return None

    def _lapse(self, now: datetime, image: SiteImage) -> None:
        """The device must let go by itself: its command is no longer what it was told, and its power is back.

        Nothing is written any more, so nothing is won by ending early: an event waits for it to let go all the same, and a device that lets
        go a moment before we expect it reads back otherwise than it was told, which the estimate takes for not following.
        """
        assert self._written_at is not None
        shown = image.commands.get(self.asset.id, {}).get(self.command)
        is_told = shown is not None and shown.value is not None and abs(shown.value - self._told_kw) <= 0.1 * self._step_kw
        kw = image.value(self.asset.id, "battery_kw" if isinstance(self.asset, Ups) else "power_kw", self.site.control.stale_after_s)
        is_back = isinstance(self.asset, Cluster) or (kw is not None and self._moved_kw(kw) < FOLLOWED * self._step_kw)
        passed_s = (now - self._written_at).total_seconds()
        if is_back and shown is not None and not is_told:
            self._prove("lease", True, f"let go by itself {passed_s:.0f} s after the last write (lease {self.lease_s:g} s)")
            self.stage = Stage.DONE
        elif passed_s <= self.lease_s + LAPSE_SLACK_S + follows_within_s(self.asset) - FOLLOWS_WITHIN_S:
            return
        elif kw is None or shown is None:
            self.cancel(f"at lapse: {self.asset.id} cannot be read")
        else:
            said = f"still holds {self._told_kw:.1f} kW {passed_s:.0f} s after the last write"
            self._fail("lease", f"{said}; its lease is {self.lease_s:g} s")

    # -- parts ----------------------------------------------------------------------------------------------------------------------

    @property
    def _from_kw(self) -> float:
        """Where the step begins: a store is at rest, whatever its meter shows."""
        return 0.0 if isinstance(self.asset, Battery | Ups) else self._base_kw

    @property
    def _step_kw(self) -> float:
        """The size of the step, in kW, never negative."""
        return abs(self._told_kw - self._from_kw)

    def _moved_kw(self, kw: float) -> float:
        """How far the power moved towards what was told; negative away from it. A cluster at or under its cap has arrived."""
        if isinstance(self.asset, Cluster):
            return self._step_kw if kw <= self._told_kw + 0.5 * self._step_kw else self._base_kw - kw
        return (kw - self._base_kw) * (1.0 if self._told_kw > self._from_kw else -1.0)

    def _told(self, now: datetime) -> Setpoint:
        self._written_at = now
        return Setpoint(self.asset.id, self.command, self._told_kw, f"self-test by {self.by}: {self.stage.value}", now)

    def _seen_at_meter(self) -> tuple[str, bool | None, str]:
        """The step as the meter saw it, where it stands out of the load's own noise; a cluster's step is its own noise."""
        before = [kw for _, kw in self._base if kw is not None]
        if isinstance(self.asset, Cluster) or len(before) < 3 or len(self._held) < 3:
            return "meter", None, "not told: nothing to compare at the meter"
        change_kw = statistics.fmean(self._held) - statistics.fmean(before)
        error_kw = (statistics.variance(before) / len(before) + statistics.variance(self._held) / len(self._held)) ** 0.5
        said = f"told {self._told_kw:.1f} kW, the meter less the other devices moved {change_kw:.1f} kW (error {error_kw:.1f} kW)"
        if abs(change_kw) <= SEEN * error_kw or abs(change_kw) < FOLLOWED * self._step_kw:
            return "meter", None, f"not told: {said}"
        return "meter", change_kw * (self._told_kw - self._from_kw) > 0.0, said

    def _problem(self, image: SiteImage) -> str:
        """What is wrong with the device itself; while it lets go, only that it is another one."""
        problem = image.problems.get(self.asset.id, "")
        return "" if self.stage is Stage.LAPSE and not problem.startswith(NOT_THIS) else problem

    def _prove(self, what: str, is_proven: bool | None, detail: str) -> None:
        self.findings.append(Finding(what, is_proven, detail))
        if is_proven is False:
            self._end(detail)

    def _fail(self, what: str, detail: str) -> None:
        self._prove(what, False, detail)

    def _end(self, failure: str) -> None:
        self.failure, self.stage = failure, Stage.DONE

    def _go(self, stage: Stage, now: datetime) -> None:
        self.stage, self._since = stage, now

    def _lasted_s(self, now: datetime) -> float:
        assert self._since is not None
        return (now - self._since).total_seconds()

    def _has_lasted(self, now: datetime, seconds: float) -> bool:
        return self._lasted_s(now) >= seconds


def testable(site: Site, asset_id: str) -> Testable:
    """The asset, when a step can prove it. Raises EmsError in one line when not."""
    asset = site.assets.get(asset_id)
    if asset is None:
        raise EmsError(f"no asset {asset_id}; there are {', '.join(site.assets)}")
    if isinstance(asset, Generator) and not asset.is_baseload:
        why = "runs in emergencies only" if asset.is_emergency else "runs on request only, and the end of its lease would stop it"
        raise EmsError(f"{asset_id} cannot be tested by a step: it {why}")
    if isinstance(asset, Cooling) and not asset.is_led:
        raise EmsError(f"{asset_id} cannot be tested by a step: its supply may not be led")
    if isinstance(asset, Cooling) and asset.plant is not None and asset.plant.tank_m3 > 0.0:
        raise EmsError(f"{asset_id} cannot be tested by a step: its tank moves slower than a test may take")
    if not isinstance(asset, Battery | Ups | Cluster | Generator | Cooling):
        raise EmsError(f"{asset_id} cannot be tested by a step; stores, clusters, baseload generators and led cooling can")
    if asset.link is None:
        raise EmsError(f"{asset_id} has no device")
    return asset


def rating_kw(asset: Testable) -> float:
    """The rating a step is a share of."""
    return asset.power_kw if isinstance(asset, Battery | Generator) else asset.rating_kw


def follows_within_s(asset: Testable) -> float:
    """How long its power may take to come: a machine that is led slowly gets the time its ramp takes besides."""
    return FOLLOWS_WITHIN_S + (STEP_SHARE * asset.power_kw / asset.ramp_kw_per_s if isinstance(asset, Generator) else 0.0)


def lasts_s(asset: Testable) -> float:
    """The longest a test takes once its step is told, its lease aside."""
    return 2.0 * follows_within_s(asset) - FOLLOWS_WITHIN_S + HOLD_S


def told_kw(asset: Testable, state: SiteState, base_kw: float) -> float:
    """What the device is told: a store charges where it has room, else gives; a cluster is capped just under what it draws."""
    step_kw = STEP_SHARE * rating_kw(asset)
    if isinstance(asset, Cluster):
        return max(asset.idle_kw, base_kw - step_kw)
    if isinstance(asset, Generator):
        less_kw = base_kw + step_kw  # generating counts negative
        return less_kw if less_kw <= -asset.min_power_kw else max(-asset.power_kw, base_kw - step_kw)
    if isinstance(asset, Battery):
        return step_kw if state.batteries[asset.id].soc < asset.soc_max - 0.05 else -step_kw
    return -step_kw


def energy_objection(asset: Testable, state: SiteState, lease_s: float) -> str:
    """Why the store has no energy for the test, "" when it has: the state of charge stays above floor or reserve."""
    hours = (BASE_S + FOLLOWS_WITHIN_S + HOLD_S + lease_s + LAPSE_SLACK_S) / 3600.0
    need_kwh = MARGIN_KWH * STEP_SHARE * rating_kw(asset) * hours
    if isinstance(asset, Battery):
        soc, floor = state.batteries[asset.id].soc, asset.soc_min
    elif isinstance(asset, Ups):
        soc, floor = state.upses[asset.id].soc, asset.reserve_soc(max(state.it_kw, asset.reserve_floor_kw))
    else:
        return ""
    spare_kwh = (soc - floor) * asset.energy_kwh
    return "" if spare_kwh >= need_kwh else f"{spare_kwh:.1f} kWh above floor or reserve, the test needs {need_kwh:.1f} kWh"


def objection(site: Site, asset: Testable, state: SiteState, trusts: Mapping[str, str], events: int, limit_kw: float) -> str:
    """Why no test may run now, "" when one may. `trusts` are the states of all devices, `events` how many are in force or near."""
    if events:
        return "a grid event is in force or announced"
    lame = [other for other, trust in trusts.items() if other != asset.id and trust in ("unknown", "suspect", "quarantined")]
    if lame:
        return f"redundancy is not intact: {lame[0]} is {trusts[lame[0]]}"
    if not state.connection.is_fresh:
        return "the meter at the point of connection cannot be read"
    if state.poc_kw + STEP_SHARE * rating_kw(asset) > limit_kw:
        return f"import of {state.poc_kw:.0f} kW leaves no room for the step under {limit_kw:.0f} kW"
    if asset.id in state.locked_out:
        return f"{asset.id} is locked out: a person works on it"
    if isinstance(asset, Cooling):
        return "" if state.coolings[asset.id].is_fresh else f"{asset.id} cannot be read or is not trusted"
    seen = state.batteries.get(asset.id) or state.upses.get(asset.id) or state.clusters.get(asset.id) or state.generators.get(asset.id)
    if seen is None or not seen.is_fresh:
        return f"{asset.id} cannot be read or is not trusted"
    if seen.is_local:
        return f"{asset.id} is in LOCAL: a person has taken it"
    if isinstance(asset, Ups) and state.upses[asset.id].mode != "normal":
        return f"{asset.id} is not in normal operation"
    return _machine_objection(asset, state) if isinstance(asset, Generator) else ""


def _machine_objection(machine: Generator, state: SiteState) -> str:
    """A machine is tested while it runs of its own accord, and will go on doing so."""
    seen, until_s = state.generators[machine.id], state.now.timestamp() + lasts_s(machine) + 60.0
    if seen.carries_load:
        return f"the transfer control of {machine.id} carries load"
    if seen.mode != "loaded":
        return f"{machine.id} is not running under load ({seen.mode}): there is nothing to step from"
    return f"an outage of {machine.id} is announced" if machine.is_out(until_s) or machine.is_out(state.now.timestamp()) else ""


def _others_kw(asset: Testable, state: SiteState) -> float:
    """What every other device draws: the load's own noise lies in it."""
    kw = {k: b.power_kw for k, b in state.batteries.items()} | {k: u.power_kw for k, u in state.upses.items()}
    kw |= {k: c.power_kw for k, c in state.clusters.items()} | {k: c.power_kw for k, c in state.coolings.items()}
    kw |= {k: g.power_kw for k, g in state.generators.items()} | {k: r.power_kw for k, r in state.renewables.items()}
    return sum(power_kw for name, power_kw in kw.items() if name != asset.id)


def _power_kw(asset: Testable, state: SiteState) -> float | None:
    seen = state.batteries.get(asset.id) or state.clusters.get(asset.id) or state.generators.get(asset.id) or state.coolings.get(asset.id)
    if seen is not None:
        return seen.power_kw if seen.is_fresh else None
    ups = state.upses[asset.id]
    return ups.battery_kw if ups.is_fresh else None
