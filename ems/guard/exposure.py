"""Safe to die now? What every lease still holds when the controller dies in this instant, and the most the site imports until all have
lapsed.

Three phases: all leases run (nothing changes that the standing caps are not already charged with); the stores with the shorter leases have
let go and the caps still stand; everything has lapsed, storage is at zero and the clusters are at their contract caps, with the heat of
the time before still in the cooling.

What charges lets go before any cap does (`ems/site/leases.py`), so that halls which then draw their contract caps find it at rest. Not so a
store whose page cannot be told a lease; `ems check` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ems.guard.guard import Verdict
from ems.site.leases import ACTUATION_S, lease_s
from ems.site.model import Site

NOTHING_KW = 1.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A setpoint that outlives the controller: `kw` is how far it lies from what the device does by itself."""

    asset: str
    kw: float
    lease_s: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """`import_kw` is the highest import of the three phases; `phase` says which one that is."""

    is_safe: bool
    import_kw: float
    limit_kw: float
    phase: str
    leases: tuple[Lease, ...]


def exposure(site: Site, verdict: Verdict, storage_kw: Mapping[str, float], caps_kw: Mapping[str, float]) -> Exposure:
    """`storage_kw` (charging positive) and `caps_kw` are what is about to be sent; an asset that gets nothing is absent."""
    phases = {
        "while the leases last": _caps_stand_kw(verdict, sum(storage_kw.values())),
        "after the shorter leases": _caps_stand_kw(verdict, _outlasting_kw(site, storage_kw, caps_kw)),
        "after all leases": _lapsed_kw(site, verdict),
    }
    worst = max(phases, key=lambda phase: phases[phase])
    contract_kw = {c.id: c.contract_cap_kw for c in site.clusters}
    held = {**storage_kw, **{c: kw - contract_kw[c] for c, kw in caps_kw.items()}}
    leases = tuple(Lease(a, kw, lease_s(site, a, kw)) for a, kw in held.items() if abs(kw) >= NOTHING_KW)
    lasting_kw = verdict.room.lasting_kw / (1.0 - site.control.import_margin)
    is_safe = phases[worst] <= verdict.limit_kw and phases["after all leases"] <= lasting_kw
    return Exposure(is_safe, phases[worst], verdict.limit_kw, worst, leases)


def _caps_stand_kw(verdict: Verdict, storage_kw: float) -> float:
    return verdict.room.load_kw(verdict.confirmed_it_kw) + storage_kw


def _outlasting_kw(site: Site, storage_kw: Mapping[str, float], caps_kw: Mapping[str, float]) -> float:
    """Storage that is still at its setpoint when the last cap has lapsed; what charges counts as long as any cap stands."""
    last_s = max((lease_s(site, c, kw) + ACTUATION_S for c, kw in caps_kw.items()), default=0.0)
    return sum(kw for asset, kw in storage_kw.items() if kw > 0.0 or lease_s(site, asset, kw) >= last_s)


def _lapsed_kw(site: Site, verdict: Verdict) -> float:
    room = verdict.room
    heat_kw = room.cooling_kw + room.growth * max(0.0, room.cooling_fraction * verdict.confirmed_it_kw - room.cooling_kw)
    it_kw = sum(min(c.contract_cap_kw, c.rating_kw) for c in site.clusters)
    return it_kw * (1.0 + room.loss_fraction) + heat_kw + room.fixed_kw
