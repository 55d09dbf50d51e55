"""What one cycle decided, with everything needed to explain it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ems.assets.generator.model import GeneratorRun
from ems.assets.workload.model import TierPast
from ems.control.ladder import Rung
from ems.dispatch.setpoint import Setpoint
from ems.guard.degraded import Standing
from ems.guard.exposure import Exposure
from ems.guard.guard import Verdict
from ems.state.estimate import SiteState


@dataclass(frozen=True)
class Decision:
    """Setpoints of every asset that can be commanded; only those in `written` (mode control) go to the field."""

    state: SiteState
    verdict: Verdict
    rung: Rung
    adviser: str
    setpoints: tuple[Setpoint, ...]
    written: tuple[Setpoint, ...]
    withdraw: tuple[str, ...]  # assets to let go of
    alarms: tuple[str, ...]
    acknowledged: tuple[str, ...]  # answers to the orders of this cycle
    interval_kwh: float  # energy imported so far in the running billing interval
    month_peak_kw: float
    critical_kw: float  # 24-h peak hold of the critical load
    is_healthy: bool  # leases may be refreshed
    degraded: tuple[Standing, ...]  # modes in force
    exposure: Exposure  # what outlives the controller if it dies now
    runs: Mapping[str, GeneratorRun] = field(default_factory=dict)  # per generator
    astray: frozenset[str] = frozenset()  # assets that do not do what they were told, though they say they were told
    given_kwh: Mapping[str, float] = field(default_factory=dict)  # per store with a daily budget: discharged since local midnight
    tier_past: Mapping[str, Mapping[str, TierPast]] = field(default_factory=dict)  # per cluster and class with a tier
    lasting_limit_kw: float = math.inf  # of import: without what a ramp or the running window of a mean leaves just now
