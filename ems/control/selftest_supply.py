"""The self-test of a plant whose supply may be led: half a kelvin colder inside all the guard allows, read back, felt, and let lapse.

The supply is only ever sent colder than commissioned, so a lease that lapses lets the loop warm up to where it was; never into the dew, nor
faster than the plant may, nor with more power than the import limit leaves. It is slow: a loop takes minutes to follow.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ems.assets.cooling.envelope import ASTRAY_K, supply_envelope
from ems.assets.cooling.model import Cooling
from ems.assets.cooling.plant import CoolingPlant
from ems.control.selftest import BASE_S, FOLLOWED, HOLD_S, LAPSE_SLACK_S, NOT_THIS, READ_BACK_WITHIN_S, SelfTest, Stage
from ems.dispatch.setpoint import Setpoint
from ems.state.estimate import SiteState
from ems.state.image import SiteImage

STEP_K = 0.5  # colder, at most
LEAST_STEP_K = 0.2  # less is not told from what a loop does by itself
AT_HOME_K = 0.15  # this near its commissioned supply a plant is at rest
SHOWN_WITHIN_K = 0.06  # pages show tenths
GRAIN_K = 0.05  # of what is told
REACHED_WITHIN_S, FOLLOWS_WITHIN_S = 300.0, 900.0  # until all of the step is told, and until half of it is there
SUPPLY_LASTS_S = REACHED_WITHIN_S + FOLLOWS_WITHIN_S + HOLD_S
HEAT_MOVED = 0.1  # of the heat at the beginning: more, and the loop follows that
ROOM_SHARE = 0.5  # of what the import limit leaves is the test's


@dataclass
class SupplyTest(SelfTest):
    """One running test of a led plant; temperatures in degrees C."""

    _home: list[tuple[float, float]] = field(default_factory=list)  # supply, and IT power, before the step
    _goal_c: float = 0.0
    _aim_c: float = 0.0
    _sent_c: float = 0.0
    _base_c: float = 0.0
    _base_heat_kw: float = 0.0
    _is_reached: bool = False

    def step(self, image: SiteImage, state: SiteState, objection: str, limit_kw: float) -> Setpoint | None:
        """One cycle, as of any other device."""
        now = state.now
        self._since = self._since or now
        if self.is_done:
            return None
        if problem := self._problem(image):
            self._fail("identity" if problem.startswith(NOT_THIS) else "trouble", problem)
            return None
        if self.stage is Stage.LAPSE:
            self._lapse(now, image)
            return None
        supply_c = state.coolings[self.asset.id].supply_temp_c
        if stop := objection or self._loop_objection(supply_c, state):
            self.cancel(f"at {self.stage.value}: {stop}")
            return None
        assert supply_c is not None
        if self.stage is Stage.BASE:
            self._rest(now, supply_c, state)
            return None
        low_c, rule = self._lowest(state, limit_kw)
        if self.stage is Stage.STEP:
            return self._lead(now, supply_c, image, low_c, rule)
        return self._stay(now, supply_c) if self._is_inside(now, low_c, rule) else None

    def report(self) -> dict[str, Any]:
        """As of any other device, the step in K."""
        return {**super().report(), "step_kw": 0.0, "step_k": round(self._sent_c - self._base_c, 3) if self._written_at else 0.0}

    # -- the stages -----------------------------------------------------------------------------------------------------------------

    def _rest(self, now: datetime, supply_c: float, state: SiteState) -> None:
        self._home.append((supply_c, state.it_kw))
        if not self._has_lasted(now, BASE_S):
            return
        home_c = self._plant.supply_temp_c
        self._base_c = statistics.fmean(c for c, _ in self._home)
        self._base_heat_kw = statistics.fmean(kw for _, kw in self._home)
        dew_c = state.coolings[self.asset.id].dew_point_c
        if abs(self._base_c - home_c) > AT_HOME_K:
            self._end(f"the supply is at {self._base_c:.2f} degrees C, not at its {home_c:g}; a test begins at rest")
        elif dew_c is None:
            self._end("the dew point is not measured: without one the supply stays as commissioned")
        else:
            self._goal_c = max(home_c - STEP_K, self._plant.coldest_c(dew_c))
            self._aim_c = self._sent_c = home_c
            if home_c - self._goal_c < LEAST_STEP_K:
                self._end(f"the dew point leaves {home_c - self._goal_c:.2f} K, the test needs {LEAST_STEP_K:g} K")
                return
            self._prove("identity", True, "answers as the device its page describes")
            self._go(Stage.STEP, now)

    def _lead(self, now: datetime, supply_c: float, image: SiteImage, low_c: float, rule: str) -> Setpoint | None:
        """Down to the goal, as fast as the guard lets it; then it must read back and be felt."""
        if not self._is_inside(now, low_c, rule):
            return None
        if not self._is_reached:
            return self._told(now)
        shown = image.commands.get(self.asset.id, {}).get(self.command)
        self._is_read_back |= shown is not None and shown.value is not None and abs(shown.value - self._sent_c) <= SHOWN_WITHIN_K
        moved_k = self._base_c - supply_c
        if self._is_read_back and moved_k >= FOLLOWED * self._step_k:
            self._prove("read-back", True, f"told {self._goal_c:.2f} degrees C, shown as told")
            self._prove("sign", True, f"{moved_k:.2f} K colder within {self._lasted_s(now):.0f} s")
            self._go(Stage.HOLD, now)
        elif not self._is_read_back and self._has_lasted(now, READ_BACK_WITHIN_S):
            value = "no value" if shown is None or shown.value is None else f"{shown.value:.2f} degrees C"
            self._fail("read-back", f"told {self._goal_c:.2f} degrees C, reads back {value}")
        elif moved_k <= -FOLLOWED * self._step_k:
            self._fail("sign", f"told {self._goal_c:.2f} degrees C, the supply became {-moved_k:.2f} K warmer")
        elif self._has_lasted(now, FOLLOWS_WITHIN_S):
            self._fail("sign", f"told {self._goal_c:.2f} degrees C, the supply moved {moved_k:.2f} K in {FOLLOWS_WITHIN_S:.0f} s")
        return None if self.stage is Stage.DONE else self._told(now)

    def _is_inside(self, now: datetime, low_c: float, rule: str) -> bool:
        """Follows the goal inside the guard's envelope; ends the test where that keeps the supply from it, or takes it back."""
        self._aim_c = min(self._plant.supply_temp_c, max(self._goal_c, low_c))
        grains = math.ceil(self._aim_c / GRAIN_K - 1e-6)  # few writes, and none colder than it may be
        self._sent_c = min(self._plant.supply_temp_c, grains * GRAIN_K)
        is_over = not self._is_reached and self._has_lasted(now, REACHED_WITHIN_S)
        if is_over and self._plant.supply_temp_c - self._sent_c >= LEAST_STEP_K:
            self._goal_c = self._sent_c  # as far as it is let in this time: enough to be felt
        is_there = self._sent_c <= self._goal_c + SHOWN_WITHIN_K
        if is_there and not self._is_reached:
            self._is_reached, self._since = True, now  # all of it is told from here on
        if not is_there and (self._is_reached or is_over):
            self.cancel(f"at {self.stage.value}: {rule} allows {self._sent_c:.1f} degrees C, the test needs {self._goal_c:.1f}")
        return not self.is_done

    def _stay(self, now: datetime, supply_c: float) -> Setpoint | None:
        if self._base_c - supply_c < 0.5 * FOLLOWED * self._step_k:
            self._fail("sign", f"did not stay at {self._goal_c:.2f} degrees C: {supply_c:.2f}")
            return None
        if not self._has_lasted(now, HOLD_S):
            return self._told(now)
        self._go(Stage.LAPSE, now)
        return None

    def _lapse(self, now: datetime, image: SiteImage) -> None:
        """Nothing is written any more: the setpoint must leave what was told by itself. The loop warms up in its own time."""
        assert self._written_at is not None
        shown = image.commands.get(self.asset.id, {}).get(self.command)
        is_known = shown is not None and shown.value is not None
        is_told = shown is not None and shown.value is not None and abs(shown.value - self._sent_c) <= SHOWN_WITHIN_K
        passed_s = (now - self._written_at).total_seconds()
        if is_known and not is_told:
            self._prove("lease", True, f"let go by itself {passed_s:.0f} s after the last write (lease {self.lease_s:g} s)")
            self.stage = Stage.DONE
        elif passed_s > self.lease_s + LAPSE_SLACK_S and not is_known:
            self.cancel(f"at lapse: {self.asset.id} cannot be read")
        elif passed_s > self.lease_s + LAPSE_SLACK_S:
            self._fail(
                "lease",
                f"still sent to {self._goal_c:.2f} degrees C {passed_s:.0f} s after the last write; its lease is {self.lease_s:g} s",
            )

    # -- parts ----------------------------------------------------------------------------------------------------------------------

    @property
    def _plant(self) -> CoolingPlant:
        assert isinstance(self.asset, Cooling) and self.asset.plant is not None
        return self.asset.plant

    @property
    def _step_k(self) -> float:
        return self._plant.supply_temp_c - self._goal_c

    def _told(self, now: datetime) -> Setpoint:
        self._written_at = now
        return Setpoint(self.asset.id, self.command, self._sent_c, f"self-test by {self.by}: {self.stage.value}", now)

    def _lowest(self, state: SiteState, limit_kw: float) -> tuple[float, str]:
        """How cold the supply may be sent in this cycle, and why no colder: the guard's own envelope."""
        assert isinstance(self.asset, Cooling)
        seen, asset = state.coolings[self.asset.id], self.asset
        most_kw = min(asset.rating_kw, seen.power_kw + ROOM_SHARE * max(0.0, limit_kw - state.poc_kw))
        heat_kw = sum(state.clusters[c].power_kw for c in asset.cools if c in state.clusters)
        found = supply_envelope(asset, seen, heat_kw, most_kw, self._aim_c, self.site.control.cycle_s)
        return found.low_c, found.low_rule

    def _loop_objection(self, supply_c: float | None, state: SiteState) -> str:
        """Why the loop is no place for a test now, "" when it is one."""
        seen, plant = state.coolings[self.asset.id], self._plant
        if supply_c is None or seen.able_kw is None or seen.outdoor_temp_c is None:
            return f"{self.asset.id} cannot be read"
        if seen.has_leak:
            return f"{self.asset.id} shows water where none should be"
        if supply_c > min(plant.supply_temp_c + ASTRAY_K, plant.supply_limit_c):
            return f"the supply is at {supply_c:.1f} degrees C"
        if seen.able_kw < 0.999 * plant.capacity_kw:
            return f"redundancy is not intact: {seen.able_kw:.0f} of {plant.capacity_kw:.0f} kW of {self.asset.id} are there"
        if self._base_heat_kw and abs(state.it_kw - self._base_heat_kw) > HEAT_MOVED * self._base_heat_kw:
            return "the heat moves: the loop follows that, not the test"
        return ""
