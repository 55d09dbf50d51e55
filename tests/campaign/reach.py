"""What anybody could reach now who acts at once: a search over what each device can still do, with its rating, its stored energy and the
lag between a write and its effect. Knows nothing of how the controller decides, and imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.campaign.faults import KINDS, RELEASED_AFTER_S, Fault
from tests.campaign.world import Second, World

BACK_S = 10.0  # a device that comes back is in service again within so many seconds
STRIKES, STRIKES_WITHIN_S = 3, 4 * 3600.0  # a device that so many faults took away within this time need not be counted on


@dataclass(frozen=True)
class Reach:
    """One world, its faults, and the highest IT power so far, which the reserve must carry."""

    world: World
    faults: Sequence[Fault]
    peak_it_kw: float
    distrusted: frozenset[str] = frozenset()  # assets that the controller says it no longer counts on: believed where faults bear it out

    def least_import_kw(self, second: Second) -> float:
        """The smallest import anybody could reach now: what still obeys does its utmost, the rest is as it is."""
        at_s, step, site = second.at_s, second.step, self.world.site
        it_kw = 0.0
        for cluster in site.clusters:
            own_kw = step.asset_kw[cluster.id]
            it_kw += min(own_kw, cluster.idle_kw) if self.obeys(cluster.id, at_s) else own_kw
        saved_kw = step.it_kw - it_kw
        losses_kw = step.loss_kw - saved_kw * max((u.loss_fraction for u in site.upses), default=0.0)
        storage_kw = sum(self.lowest_kw(a.id, at_s, it_kw) for a in (*site.batteries, *site.upses))
        fixed_kw = sum(f.power_kw for f in site.fixed_loads)
        return it_kw + losses_kw + step.cooling_kw + fixed_kw + storage_kw

    def lowest_kw(self, store: str, at_s: float, it_kw: float) -> float:
        """The lowest power (discharging negative) a store could have now."""
        now_kw = self.world.plant.devices[store]
        measured = now_kw.battery_kw if hasattr(now_kw, "battery_kw") else now_kw.power_kw  # type: ignore[attr-defined]
        if not self.obeys(store, at_s):
            return float(measured)
        rating = now_kw.rating  # type: ignore[attr-defined]
        if hasattr(rating, "carries"):
            spare_kwh = now_kw.energy_kwh - reserve_floor_kwh(rating, self.peak_it_kw)  # type: ignore[attr-defined]
            return -min(rating.rating_kw, it_kw) if spare_kwh > 3.0 else 0.0
        spare_kwh = now_kw.energy_kwh - rating.soc_min * rating.energy_kwh  # type: ignore[attr-defined]
        return -float(rating.power_kw) if spare_kwh > 15.0 else 0.0

    def obeys(self, asset: str, at_s: float) -> bool:
        """True when a write to the asset now would have had its effect by now: two seconds for the way."""
        if self.world.control is None or is_away(self.faults, at_s):
            return False
        if asset in self.distrusted and strikes(self.faults, asset, at_s) >= STRIKES:
            return False
        return not any(is_hit(f, asset) and f.is_active(at_s, BACK_S) for f in self.faults)


def is_away(faults: Sequence[Fault], at_s: float) -> bool:
    """True while nobody acts: the process is gone or stands still, or a person has stopped everything."""
    return any(f.kind in ("kill", "pause", "stop") and f.is_active(at_s, BACK_S + f.strength) for f in faults)


def strikes(faults: Sequence[Fault], asset: str, at_s: float) -> int:
    """How often faults took the asset away in the last hours, or in those before it was given up half an hour ago."""
    since_s = at_s - STRIKES_WITHIN_S - RELEASED_AFTER_S
    hits = [f for f in faults if KINDS[f.kind].takes_away and since_s <= f.at_s <= at_s]
    return sum(f.target == asset for f in hits)


def is_hit(fault: Fault, asset: str) -> bool:
    """True when the fault takes the asset away."""
    return KINDS[fault.kind].takes_away and fault.target in (asset, "site")


def reserve_floor_kwh(rating: Any, peak_it_kw: float) -> float:
    """The energy a UPS must keep for the promised minutes."""
    carried_kw = min(rating.rating_kw, max(rating.reserve_floor_kw, peak_it_kw))
    share = (rating.blocks - rating.redundant_blocks) / rating.blocks
    return float(carried_kw * rating.ride_through_min / 60.0 / rating.discharge_efficiency / rating.aged_capacity / share)
