"""A running site for the office's tests: real cycles of the controller and the simulated plant, posted into a real mailbox."""

from __future__ import annotations

import copy
import math
import random
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ems.clock import Clock
from ems.control.snapshot import encode_snapshot
from ems.mailbox import Mailbox
from ems.messages import MinuteFrame
from ems.office.service import MAILBOX, Service
from ems.plan.plan import Plan, encode_plan
from ems.site.model import Site
from tests.control.loop import START, Loop, demo_site, even
from tests.control.plans import flat_plan

COUNTERS = {
    "cycles": 90, "missed_cycles": 1, "plans_adopted": 2, "setpoints_written": 40, "setpoints_read_back": 39, "setpoints_replaced": 1,
    "starts": 1, "ladder_s": {"L0": 80.0, "L1": 0.0, "L2": 10.0, "L3": 0.0, "L4": 0.0, "L5": 0.0},
}  # fmt: skip
KEPT = timedelta(days=4)


@cache
def settled() -> Loop:
    """The demo site after an hour of moderate load, made once and copied."""
    return Loop(demo_site())


class Running:
    """A fake control and planner beside one state directory. `now` is site time."""

    def __init__(self, state_dir: Path, site: Site | None = None, seed: int = 5) -> None:
        self.state_dir = state_dir
        self.mailbox = Mailbox(state_dir / MAILBOX, busy_ms=1000)
        self.loop = Loop(site) if site else copy.deepcopy(settled())
        self.site = self.loop.site
        self.rng = random.Random(seed)

    @property
    def now(self) -> datetime:
        return self.loop.now

    def cycle(self, demand_kw: float = 500.0, **changes: Any) -> dict[str, Any]:
        """One real cycle; its snapshot, with `changes`, is posted."""
        scale = 1 + 0.1 * self.rng.gauss(0, 1)
        self.loop.cycle({"hall-a": even(demand_kw * scale), "hall-b": even(0.4 * demand_kw * scale)})
        snapshot = {**encode_snapshot(self.loop.controller, self.loop.decisions[-1], self.loop.images[-1], COUNTERS), **changes}
        at = datetime.fromisoformat(snapshot["at"])
        self.mailbox.post("snapshot", snapshot, at, at + timedelta(seconds=30))
        return snapshot

    def plan(self, **changes: Any) -> Plan:
        """A plan of 48 h, given to the controller and posted."""
        plan = replace(two_day_plan(self.site, self.now), **changes)
        body = encode_plan(plan)
        self.loop.controller.plan = plan
        self.mailbox.post("plan", body, self.now, plan.valid_until)
        return plan

    def forecast(self, plan: Plan, **changes: Any) -> None:
        """The fans the plan was made for, as the planner posts them."""
        series = {
            hall: {
                "starts": [t.isoformat() for t in plan.starts],
                "q10": [0.9 * v for v in row],
                "q50": list(row),
                "q90": [1.1 * v for v in row],
            }
            for hall, row in plan.load_q50_kw.items()
        }
        body = {"made_at": plan.made_at.isoformat(), "series": series, **changes}
        self.mailbox.post("forecast", body, self.now, self.now + timedelta(hours=1))

    def minutes(self, count: int) -> None:
        """Minute means of the time before now."""
        first = self.now - timedelta(minutes=count)
        frames = [minute_frame(self.site, first + timedelta(minutes=k), 1050.0 + 150.0 * math.sin(k / 5.0)) for k in range(count)]
        self.mailbox.post_many("minute", [(f.encode(), self.now, self.now + KEPT) for f in frames])

    def clock(self, speed: float = 1.0) -> Clock:
        """A clock that shows the time after the newest cycle and stands there: no cycle grows old because the machine is slow."""
        return FollowingClock(self, speed)

    def service(self, speed: float = 1.0) -> Service:
        """An office on this state directory."""
        return Service(self.state_dir, self.site, self.clock(speed), f"sqlite:///{self.state_dir / 'history.sqlite'}")


class FollowingClock(Clock):
    """The time of a running site, which a test moves."""

    def __init__(self, running: Running, speed: float) -> None:
        super().__init__(running.now, time.monotonic(), speed)
        object.__setattr__(self, "_running", running)

    def now(self) -> datetime:
        return self._running.now  # type: ignore[attr-defined,no-any-return]


def minute_frame(site: Site, start: datetime, poc_kw: float | None) -> MinuteFrame:
    """A plausible minute."""
    return MinuteFrame(
        start=start,
        poc_kw=poc_kw,
        asset_kw={"bess-1": -50.0, "ups-1": 40.0, "hall-a": 600.0, "hall-b": 300.0, "cooling-1": None, "house": 30.0},
        demand_kw={"hall-a": 640.0, "hall-b": 310.0},
        class_demand_kw={c.id: {name: 100.0 for name in c.classes} for c in site.clusters},
        soc={"bess-1": 0.6, "ups-1": 1.0},
        outdoor_temp_c=31.0,
    )


def two_day_plan(site: Site, now: datetime) -> Plan:
    """48 h in quarter hours: evenings are dear, the battery follows."""
    n = 192
    begin = now.replace(second=0, microsecond=0)
    starts = tuple(begin + timedelta(minutes=15 * k) for k in range(n))
    hours = [(k / 4.0) % 24.0 for k in range(n)]
    wave = [math.sin((h - 8.0) / 24.0 * 2 * math.pi) for h in hours]
    price = tuple(0.04 + 0.03 * w + (0.35 if 13.5 < h < 15.0 else 0.0) for w, h in zip(wave, hours, strict=True))
    battery = tuple(-260.0 if 13.0 <= h < 15.5 else (180.0 if 1.0 <= h < 5.0 else 0.0) for h in hours)
    energy = [500.0]
    for power in battery:
        energy.append(min(950.0, max(50.0, energy[-1] + power / 4.0)))
    load = {c.id: tuple(c.idle_kw + (c.peak_kw - c.idle_kw) * (0.55 + 0.2 * w) for w in wave) for c in site.clusters}
    imports = tuple(60.0 + 1.2 * sum(load[c.id][k] for c in site.clusters) + battery[k] for k in range(n))
    flat = flat_plan(site, now)
    zero = tuple(0.0 for _ in range(n))
    return replace(
        flat,
        made_at=now,
        starts=starts,
        duration_h=tuple(0.25 for _ in range(n)),
        power_kw={**{s: zero for s in flat.power_kw}, "bess-1": battery},
        energy_kwh={"bess-1": tuple(energy), "ups-1": tuple(400.0 for _ in range(n + 1))},
        classes={c: {k: type(v)(zero, zero, zero) for k, v in named.items()} for c, named in flat.classes.items()},
        import_kw=imports,
        load_q50_kw=load,
        load_q90_kw={c: tuple(1.12 * v for v in row) for c, row in load.items()},
        price_per_kwh=price,
        marginal_price_per_kwh=price,
        binding=tuple("" for _ in range(n)),
        peak_kw=1290.0,
    )


__all__ = ["START", "Running", "minute_frame", "two_day_plan"]
