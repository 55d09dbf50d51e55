"""Can an event be held, step by step of the plan: the load as it would be, the work that may wait, and what the stores hold then.

Storage and waiting work of the plan are taken back first: an accepted event is planned for anew, so a store that is planned to charge in
its hours need not, and one that is planned to give gives under the event. Loads are uncertain as the plan's quantiles say, all steps
together; a resource delivers with its own trust. The hour after an event counts too: the import must stay at the ceiling then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ems.plan.plan import Plan
from ems.program.flexibility import LOAD_POINTS, MOST_DOUBTFUL, NOTHING, Q90, TRUSTED, Promised, steps_of
from ems.site.model import Site
from ems.site.storage_classes import planned_site, storage_classes

Array = NDArray[np.float64]
AT_THE_EDGE = 0.9  # of the overheads of a kW of work that goes with it at once: pumps and fans stay
BISECTIONS = 20  # a thousandth of a kW of a megawatt


@dataclass(frozen=True)
class Store:
    """Terminal kW, and deliverable kWh above what must stay, from the window's start on."""

    name: str
    kw: float
    kwh: float
    trust: float


@dataclass(frozen=True)
class Work:
    """Per step the import that goes when one class waits, its rise per standard deviation of the load, and how long it may wait."""

    name: str
    kw: Array
    per_sigma_kw: Array
    cost_per_kwh: float
    trust: float


@dataclass(frozen=True)
class Course:
    """A window's steps: `load_kw` is the import with stores idle and no work waiting; `is_event` tells the event from the time after."""

    hours: Array
    load_kw: Array
    sigma_kw: Array
    is_event: NDArray[np.bool_]
    stores: tuple[Store, ...]
    works: tuple[Work, ...]

    def chance(self, limit_kw: Array) -> float:
        """The probability that the import can be held at or under the limits throughout."""
        return math.fsum(weight for weight, z, there in self._cases() if self._holds(limit_kw, z, there))

    def held_kw(self, limit_kw: Array, basis_kw: float, probability: float) -> float:
        """How far under `basis_kw` the event can be held with a probability, at most as far as its limits ask."""
        asked_kw = basis_kw - float(limit_kw[self.is_event].min())
        if self.chance(limit_kw) >= probability - 1e-9:
            return max(0.0, asked_kw)
        low, high = 0.0, max(0.0, asked_kw)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            eased = np.where(self.is_event, np.maximum(limit_kw, basis_kw - middle), limit_kw)
            low, high = (middle, high) if self.chance(eased) >= probability - 1e-9 else (low, middle)
        return low

    def taken(self, limit_kw: Array) -> dict[str, Promised]:
        """What holding the limits takes of each resource at the median load, the cheapest work first, then the stores that last."""
        left = np.maximum(0.0, self.load_kw - limit_kw)
        found: dict[str, Promised] = {}
        cheapest: list[Store | Work] = [*sorted(self.works, key=lambda w: w.cost_per_kwh), *_lasting(self.stores)]
        for resource in cheapest:
            given = np.minimum(left, resource.kw) if isinstance(resource, Work) else self._given(resource, left)
            left = left - given
            kwh = float((given * self.hours).sum())
            if kwh > NOTHING:
                found[resource.name] = Promised(float(given.max()), kwh)
        return found

    def _holds(self, limit_kw: Array, z: float, there: frozenset[str]) -> bool:
        left = self.load_kw + z * self.sigma_kw - limit_kw
        for work in self.works:
            if work.name in there:
                left = left - np.maximum(0.0, work.kw + z * work.per_sigma_kw)
        left = np.maximum(0.0, left)
        for store in _lasting(self.stores):
            if store.name in there and left.any():
                left = left - self._given(store, left)
        return not bool((left > 1e-3).any())

    def _given(self, store: Store, left: Array) -> Array:
        """What a store gives of a need: all of it up to its power, or up to the level at which its energy lasts."""
        given = np.minimum(left, store.kw)
        if float((given * self.hours).sum()) <= store.kwh:
            return given
        low, high = 0.0, store.kw
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if float((np.minimum(left, middle) * self.hours).sum()) <= store.kwh else (low, middle)
        return np.minimum(left, low)

    def _cases(self) -> list[tuple[float, float, frozenset[str]]]:
        """Equally likely loads times which of the doubtful resources deliver."""
        each: list[Store | Work] = [*self.stores, *self.works]
        sure = [r.name for r in each if r.trust >= TRUSTED]
        doubtful = sorted((r for r in each if NOTHING < r.trust < TRUSTED), key=lambda r: -r.trust)[:MOST_DOUBTFUL]
        found = []
        for delivers in product((True, False), repeat=len(doubtful)):
            pairs = list(zip(doubtful, delivers, strict=True))
            weight = float(np.prod([r.trust if works else 1.0 - r.trust for r, works in pairs]))
            there = frozenset([*sure, *(r.name for r, works in pairs if works)])
            found += [(weight / len(LOAD_POINTS), z, there) for z in LOAD_POINTS]
        return found


def course(
    site: Site,
    plan: Plan,
    window: tuple[datetime, datetime, datetime],
    reserve_kwh: Mapping[str, float],
    sold: Mapping[str, Promised],
    trust: Mapping[str, float],
) -> Course:
    """The course over start, end of the event, and end of the time after. DataError where the plan does not reach over the event."""
    start, end, until = window
    steps = steps_of(plan, start, end)
    after = [i for i in range(steps[-1] + 1, len(plan.starts)) if plan.starts[i] < until]
    every = [*steps, *after]
    share, site = present_share(site, trust), planned_site(site)
    given_kw = _sum(plan.power_kw[s] for s in _stores(site) if s in plan.power_kw)
    rate = _import_per_it(site, plan, given_kw)
    waiting = _sum(np.subtract(np.add(r.defer_kw, r.throttle_kw), r.recover_kw) for rows in plan.classes.values() for r in rows.values())
    load_kw = np.asarray(plan.import_kw) - given_kw + rate * waiting
    sigma_kw = rate * _sum(np.maximum(0.0, np.subtract(plan.load_q90_kw[c], plan.load_q50_kw[c])) / Q90 for c in plan.load_q50_kw)
    event_h = (end - start).total_seconds() / 3600.0
    return Course(
        np.array([_overlap_h(plan, i, start, until) for i in every]),
        load_kw[every],
        np.broadcast_to(sigma_kw, load_kw.shape)[every],
        np.array([i in set(steps) for i in every]),
        tuple(_stores_of(site, plan, steps, reserve_kwh, sold, trust, share)),
        tuple(_works_of(site, plan, every, rate, event_h, sold, trust)),
    )


def _overlap_h(plan: Plan, i: int, start: datetime, until: datetime) -> float:
    begin, hours = plan.starts[i], plan.duration_h[i]
    inside_h = min(hours, (until - begin).total_seconds() / 3600.0) - max(0.0, (start - begin).total_seconds() / 3600.0)
    return max(0.0, inside_h)


def _stores(site: Site) -> list[str]:
    return [*(b.id for b in site.batteries), *(u.id for u in site.upses)]


def _sum(rows: Iterable[object]) -> Array:
    return np.asarray(sum((np.asarray(r, float) for r in rows), np.zeros(1)))


def _import_per_it(site: Site, plan: Plan, given_kw: Array) -> Array:
    """kW of import that go with a kW of work, per step, as the plan itself reckons losses and cooling."""
    it_kw = _sum(plan.power_kw[c.id] for c in site.clusters if c.id in plan.power_kw)
    fixed_kw = sum(f.power_kw for f in site.fixed_loads)
    ratio = (np.asarray(plan.import_kw) - given_kw - fixed_kw) / np.maximum(it_kw, 1.0)
    return np.asarray(1.0 + AT_THE_EDGE * (np.clip(ratio, 1.0, 1.5) - 1.0))


def _stores_of(
    site: Site,
    plan: Plan,
    steps: Sequence[int],
    reserve_kwh: Mapping[str, float],
    sold: Mapping[str, Promised],
    trust: Mapping[str, float],
    share: Mapping[str, float],
) -> list[Store]:
    """Batteries above their window, grid-interactive UPS above their reserve. A store may be kept as full as it is now."""
    found = []
    for b in site.batteries:
        if b.id in plan.energy_kwh:
            kwh = (_held_kwh(plan, b.id, steps) - b.min_energy_kwh) * b.discharge_efficiency
            part = share.get(b.id, 1.0)
            found.append(_store(b.id, part * b.power_kw, part * kwh, sold, trust))
    for u in site.upses:
        if u.is_grid_interactive and not u.is_lead_acid and u.id in plan.energy_kwh and u.id in reserve_kwh:
            carried_kw = min(sum(plan.load_q50_kw[c][i] for c in u.carries if c in plan.load_q50_kw) for i in steps)
            kw = u.rating_kw if u.is_bidirectional else min(u.rating_kw, carried_kw)
            kwh = (_held_kwh(plan, u.id, steps) - reserve_kwh[u.id]) * u.discharge_efficiency
            found.append(_store(u.id, kw, kwh, sold, trust))
    return found


def _store(name: str, kw: float, kwh: float, sold: Mapping[str, Promised], trust: Mapping[str, float]) -> Store:
    taken = sold.get(name, Promised())
    return Store(name, max(0.0, kw - taken.kw), max(0.0, kwh - taken.kwh), trust.get(name, 1.0))


def _held_kwh(plan: Plan, name: str, steps: Sequence[int]) -> float:
    return max(plan.energy_kwh[name][0], plan.energy_kwh[name][steps[0]])


def _works_of(
    site: Site,
    plan: Plan,
    steps: Sequence[int],
    rate: Array,
    event_h: float,
    sold: Mapping[str, Promised],
    trust: Mapping[str, float],
) -> list[Work]:
    """Every class that may wait, for at most its deadline."""
    found = []
    for cluster in (c for c in site.clusters if c.id in plan.load_q50_kw):
        above_kw = np.maximum(0.0, np.asarray(plan.load_q50_kw[cluster.id]) - cluster.idle_kw)
        sigma_kw = np.maximum(0.0, np.subtract(plan.load_q90_kw[cluster.id], plan.load_q50_kw[cluster.id])) / Q90
        for name, kind in cluster.classes.items():
            if kind.defer_price_per_kwh is None or kind.deadline_h is None:
                continue
            resource = f"{cluster.id}/{name}"
            share = kind.share * min(1.0, kind.deadline_h / event_h)
            kw = np.maximum(0.0, rate * share * above_kw - sold.get(resource, Promised()).kw)[list(steps)]
            odds = trust.get(resource, trust.get(cluster.id, 1.0))
            found.append(Work(resource, kw, (rate * share * sigma_kw)[list(steps)], kind.defer_price_per_kwh, odds))
    return found


def _lasting(stores: Sequence[Store]) -> list[Store]:
    """Those first that last longest at full power: they take the foot of a need, the others its peaks."""
    return sorted((s for s in stores if s.kw > NOTHING and s.kwh > NOTHING), key=lambda s: -s.kwh / s.kw)


def present_share(site: Site, trust: Mapping[str, float]) -> dict[str, float]:
    """Of each class of strings the share of its power that counts."""
    return {
        name: sum(s.power_kw * trust.get(s.id, 1.0) for s in strings) / sum(s.power_kw for s in strings)
        for name, strings in storage_classes(site).items()
    }
