"""An IT cluster: demand in three classes, power that can be capped at once, work that can be deferred at a price.

The cap is a ceiling, not an order: the cluster clips at it by itself and at once, first batch, then training, then interactive.
Class limits are ceilings on one class's draw, backlog recovery included; the cluster recovers backlog first-come below its
limits. A cap is a lease: when the heartbeat stops the cluster falls to its contract cap.
"""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink

CLASSES = ("interactive", "batch", "training")
DEFERRABLE = ("batch", "training")
DUE_HOURS = (1, 2, 4, 8, 16, 24)  # the backlog is reported as the energy due within these hours

READINGS = (
    "power_kw",
    "demand_kw",  # what the cluster would draw now without any cap, without backlog recovery
    "interactive_demand_kw",  # per class, above idle
    "batch_demand_kw",
    "training_demand_kw",
    "batch_backlog_kwh",
    "training_backlog_kwh",
    *(f"{c}_due_{h}h_kwh" for c in DEFERRABLE for h in DUE_HOURS),
    "prompt_tokens_per_s",
    "output_tokens_per_s",
    "is_local",
)
COMMANDS = ("power_cap_kw", "interactive_limit_kw", "batch_limit_kw", "training_limit_kw")


@dataclass(frozen=True)
class WorkloadClass:
    """A share of the power above idle. None where the class cannot be throttled, deferred or dropped. Prices per kWh of IT energy."""

    share: float
    throttle_price_per_kwh: float | None
    defer_price_per_kwh: float | None
    drop_price_per_kwh: float | None
    deadline_h: float | None
    tier_loss: float | None = None  # of what arrives within any `tier_window_h` hours, the most that may be missing at their end
    tier_window_h: float = 6.0
    throughput_by_power: tuple[tuple[float, float], ...] = ()  # (share of power, share of work), concave; (): in proportion


@dataclass(frozen=True)
class Cluster:
    """Ratings in kW of IT power. `rating_kw` is the most the cluster can draw, backlog recovery included."""

    id: str
    idle_kw: float
    peak_kw: float
    rating_kw: float
    contract_cap_kw: float
    ramp_kw_per_s: float
    classes: dict[str, WorkloadClass]
    link: DeviceLink | None

    def price_of_cutting(self, name: str) -> float:
        """Money per kWh finally lost by cutting a class: its drop price, or its throttle price."""
        c = self.classes[name]
        return c.drop_price_per_kwh if c.drop_price_per_kwh is not None else (c.throttle_price_per_kwh or 0.0)


@dataclass(frozen=True, slots=True)
class ClassState:
    """One class now: demand above idle without caps, backlog, and backlog energy due within DUE_HOURS (cumulative)."""

    demand_kw: float
    backlog_kwh: float
    due_kwh: tuple[float, ...]


@dataclass(frozen=True)
class TierPast:
    """What a class got to do and did not do before now: over the last `hours` (rising from 0) in all."""

    hours: tuple[float, ...]
    arrived_kwh: tuple[float, ...]
    held_kwh: tuple[float, ...]


NO_PAST = TierPast((0.0,), (0.0,), (0.0,))


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Measured IT power and uncapped demand; `cap_kw` is the cap read back from the device (None when unknown)."""

    power_kw: float
    demand_kw: float
    cap_kw: float | None
    classes: dict[str, ClassState]
    is_fresh: bool
    is_local: bool = False
