"""The controller in closed loop with the simulated plant, without sockets: one tick of actuation delay, seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ems.control.controller import Controller
from ems.control.decision import Decision
from ems.messages import Mode
from ems.replay.field import SimulatedField
from ems.site.load import load_site
from ems.site.model import Site
from ems.state.image import SiteImage
from simulators.plant import Demand, Plant

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def demo_site(import_limit_kw: float = 1370.0, cycle_s: float = 1.0, **overrides: Any) -> Site:
    """The demo site with another limit and cycle."""
    site = load_site(ROOT / "config/sites/demo-2mw.yaml", {"point_of_connection": {"import_limit_kw": import_limit_kw}, **overrides})
    return replace(site, control=replace(site.control, cycle_s=cycle_s))


def even(kw: float) -> Demand:
    """A demand above idle in the classes of the demo site."""
    return Demand(0.4 * kw, 0.4 * kw, 0.2 * kw, 0.0, 0.0)


def texture(rng: random.Random, mean_a: float = 600.0, mean_b: float = 260.0) -> dict[str, Demand]:
    """A demand that jumps as served requests do."""
    return {
        "hall-a": even(max(0.0, mean_a * (1 + 0.15 * rng.gauss(0, 1)))),
        "hall-b": even(max(0.0, mean_b * (1 + 0.5 * rng.gauss(0, 1)))),
    }


@dataclass
class Truth:
    """What the plant did."""

    over_s: float = 0.0
    longest_over_s: float = 0.0
    worst_kw: float = 0.0
    export_s: float = 0.0
    shortfall_s: float = 0.0
    soc_breach_kwh: float = 0.0
    throttled_kwh: float = 0.0
    deferred_kwh: float = 0.0
    poc_kw: list[float] = field(default_factory=list)


class Loop:
    """One site, one controller, one plant. Faults go into `plant.devices[..].inject`."""

    def __init__(self, site: Site, policy: str = "plan", modes: dict[str, Mode] | None = None, seed: int = 1, temp_c: float = 35.0) -> None:
        self.site, self.temp_c = site, temp_c
        self.dew_c: float | None = None  # the plant's own air
        self.plant = Plant(site, seed, starts_lapsed=True)
        self.modes = modes or dict.fromkeys(site.assets, Mode.CONTROL)
        self.controller = Controller(site, policy, self.modes)
        self.now = START
        self.field = SimulatedField(self.plant)
        self.truth = Truth()
        self.decisions: list[Decision] = []
        self.images: list[SiteImage] = []
        self.over_run_s = 0.0
        self._settle()

    @property
    def writes(self) -> int:
        """Register writes that reached any device."""
        return sum(d.writes for d in self.plant.devices.values())

    def _settle(self) -> None:
        """An hour with moderate load before the test begins, so that cooling and counters are where they belong."""
        moderate = {"hall-a": even(300.0), "hall-b": even(130.0)}
        if set(moderate) != {c.id for c in self.site.clusters}:
            moderate = {c.id: even(0.4 * (c.peak_kw - c.idle_kw)) for c in self.site.clusters}
        for _ in range(720):
            self.plant.step(5.0, self.now - timedelta(hours=1), moderate, self.temp_c)

    def cycle(self, demand: dict[str, Demand], news: Sequence[tuple[str, dict[str, Any]]] = (), journal_ok: bool = True) -> Decision:
        """One control cycle and the plant steps that follow; setpoints act one cycle later."""
        image = self.field.image(self.now)
        decision = self.controller.decide(image, news, self.now, journal_ok)
        self.field.flush(self.now.timestamp())
        self.field.apply(decision.written, refresh_leases=decision.is_healthy, astray=decision.astray)
        if decision.withdraw:
            self.field.release(decision.withdraw)
        self.images.append(image)
        self.decisions.append(decision)
        self._step_plant(demand)
        return decision

    def _step_plant(self, demand: dict[str, Demand]) -> None:
        cycle_s = self.site.control.cycle_s
        step_s = min(cycle_s, 5.0)
        for k in range(int(cycle_s / step_s)):
            step = self.plant.step(step_s, self.now + timedelta(seconds=k * step_s), demand, self.temp_c, self.dew_c)
            self._score(step, step_s)
        self.now += timedelta(seconds=cycle_s)

    def _score(self, step: Any, step_s: float) -> None:
        truth, limit_kw = self.truth, self.site.point_of_connection.import_limit_kw * 1.001
        self.over_run_s = self.over_run_s + step_s if step.poc_kw > limit_kw else 0.0
        truth.over_s += step_s if step.poc_kw > limit_kw else 0.0
        truth.longest_over_s = max(truth.longest_over_s, self.over_run_s)
        truth.worst_kw = max(truth.worst_kw, step.poc_kw)
        truth.export_s += step_s if step.poc_kw < -1.0 else 0.0
        truth.shortfall_s += 0.0 if all(step.reserve_ok.values()) else step_s
        truth.soc_breach_kwh += step.soc_breach_kwh
        truth.throttled_kwh += sum(w["interactive"].throttled_kwh for w in step.work.values())
        truth.deferred_kwh += sum(w[k].deferred_kwh for w in step.work.values() for k in ("batch", "training"))
        truth.poc_kw.append(step.poc_kw)

    def add_unknown_load(self, kw: float) -> None:
        """A load that the site file does not know, at the meter and in what the plant really imports."""
        fixed = self.site.fixed_loads[0].id
        self.plant._fixed[fixed] += kw
        self.plant._fixed_kw += kw

    def run(self, cycles: int, demand: Callable[[int], dict[str, Demand]], news: Callable[[int], Any] = lambda k: ()) -> Truth:
        """Many cycles."""
        for k in range(cycles):
            self.cycle(demand(k), news(k))
        return self.truth
