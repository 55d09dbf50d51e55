"""What the plan leaves free to reduce import over a window: storage above its floors and reserve, work that can wait. In kW, with odds.

Resources are storage (energy planned to be left at the window's end, less floor or backup reserve) and the deferrable classes of each
cluster. Generators are not among them: emergency units are never offered. Loads are uncertain as the plan's quantiles say, and a
resource delivers with its own trust; both are enumerated, so that every quantile and every chance comes from one distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from statistics import NormalDist

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.errors import DataError
from ems.plan.plan import Plan
from ems.site.model import Site

Q90 = NormalDist().inv_cdf(0.9)
LOAD_POINTS = tuple(NormalDist().inv_cdf((n + 0.5) / 20) for n in range(20))  # equally likely loads
TRUSTED = 0.999  # at least: counted on
MOST_DOUBTFUL = 6  # resources whose failure is enumerated; beyond, the least trusted do not count
NOTHING = 1e-6


@dataclass(frozen=True)
class Free:
    """What one resource could take off the import throughout the window. `bound` says what keeps it from being more; `lost_kw` how much
    more its power would allow. `per_sigma_kw`: what it loses for each standard deviation the load lies under the median."""

    resource: str
    kw: float
    bound: str
    lost_kw: float
    cost_per_kwh: float
    per_sigma_kw: float = 0.0
    trust: float = 1.0
    response_s: float = 10.0


@dataclass(frozen=True)
class Flexibility:
    """A window's resources. `import_kw` is the planned import (lowest over the window), `sigma_kw` its standard deviation."""

    start: datetime
    hours: float
    free: tuple[Free, ...]
    import_kw: float
    highest_import_kw: float
    sigma_kw: float

    def kw_at(self, probability: float) -> float:
        """The reduction of the planned import that holds throughout with that probability."""
        return max(0.0, _lower_quantile([(w, avail) for w, avail, _ in self._outcomes()], probability))

    def below(self, basis_kw: float, probability: float) -> float:
        """How far under `basis_kw` the import can be held throughout with that probability; negative when not even there."""
        reached = [(w, basis_kw - max(0.0, self.highest_import_kw + up - avail)) for w, avail, up in self._outcomes()]
        return _lower_quantile(reached, probability)

    def chance_under(self, limit_kw: float) -> float:
        """The probability that the import can be held at or under a limit throughout."""
        return sum(w for w, avail, up in self._outcomes() if self.highest_import_kw + up - avail <= limit_kw + NOTHING)

    @property
    def limiting(self) -> str:
        """The resource that keeps the reduction from being larger, and by what."""
        total = sum(f.kw for f in self.free)
        if not self.free or total <= NOTHING:
            return "nothing is free to reduce the import"
        if total >= self.import_kw - NOTHING:
            return "the import itself: there is no more to take off"
        giving = [f for f in self.free if f.kw > NOTHING]  # what gives nothing (a reserve) is no lever
        worst = max(giving, key=lambda f: (f.lost_kw, -f.kw))
        return worst.bound

    def cost_of(self, kw: float) -> float:
        """What delivering `kw` throughout costs, the cheapest resources first."""
        cost, left = 0.0, kw
        for f in sorted(self.free, key=lambda f: f.cost_per_kwh):
            used = min(left, f.kw)
            cost, left = cost + used * self.hours * f.cost_per_kwh, left - used
        return cost

    def allocate(self, kw: float) -> tuple[dict[str, Promised], float]:
        """The resources that give `kw` throughout, the cheapest first, and the kW for which there is none."""
        taken: dict[str, Promised] = {}
        for f in sorted(self.free, key=lambda f: f.cost_per_kwh):
            used = min(kw, f.kw)
            if used > 0:
                taken[f.resource] = Promised(used, used * self.hours)
            kw -= used
        return taken, kw

    @property
    def response_s(self) -> float:
        """How long the slowest resource that is needed takes."""
        return max((f.response_s for f in self.free if f.kw > NOTHING), default=0.0)

    def _outcomes(self) -> list[tuple[float, float, float]]:
        """(probability, kW available, kW of import above the median)."""
        sure = [f for f in self.free if f.trust >= TRUSTED]
        doubtful = sorted((f for f in self.free if f.trust < TRUSTED), key=lambda f: -f.trust)[:MOST_DOUBTFUL]
        found = []
        for delivers in product((True, False), repeat=len(doubtful)):
            weight = 1.0
            for f, works in zip(doubtful, delivers, strict=True):
                weight *= f.trust if works else 1.0 - f.trust
            here = [*sure, *(f for f, works in zip(doubtful, delivers, strict=True) if works)]
            for z in LOAD_POINTS:
                kw = sum(max(0.0, f.kw + z * f.per_sigma_kw) for f in here)
                import_kw = max(0.0, self.import_kw + z * self.sigma_kw)
                found.append((weight / len(LOAD_POINTS), min(kw, import_kw), z * self.sigma_kw))
        return found


@dataclass(frozen=True)
class Promised:
    """What is already sold of a resource in a window, in kW and kWh."""

    kw: float = 0.0
    kwh: float = 0.0


def flexibility(
    site: Site,
    plan: Plan,
    start: datetime,
    end: datetime,
    reserve_kwh: Mapping[str, float],
    promised: Mapping[str, Promised] | None = None,
    trust: Mapping[str, float] | None = None,
) -> Flexibility:
    """What is free over `[start, end)`. `reserve_kwh`: per UPS, what must stay in its store. DataError where the plan does not reach."""
    steps = steps_of(plan, start, end)
    hours = (end - start).total_seconds() / 3600.0
    sold, odds = promised or {}, trust or {}
    free = [_battery(b, plan, steps, hours, sold.get(b.id, Promised())) for b in site.batteries if b.id in plan.energy_kwh]
    for ups in site.upses:
        if ups.is_grid_interactive and not ups.is_lead_acid and ups.id in plan.energy_kwh:
            free.append(_ups(ups, plan, steps, hours, reserve_kwh.get(ups.id), sold.get(ups.id, Promised())))
    for cluster in site.clusters:
        free += _work(cluster, plan, steps, hours, sold)
    return Flexibility(
        start,
        hours,
        tuple(_trusted(f, odds.get(f.resource, odds.get(f.resource.split("/")[0], 1.0))) for f in free),
        import_kw=max(0.0, min(plan.import_kw[i] for i in steps)),
        highest_import_kw=max(plan.import_kw[i] for i in steps),
        sigma_kw=max(sum(_sigma(plan, c.id, i) for c in site.clusters) for i in steps),
    )


def steps_of(plan: Plan, start: datetime, end: datetime) -> list[int]:
    """The plan's steps that a window touches. DataError where it begins before or ends after the plan."""
    horizon = plan.horizon
    if end <= start or start < plan.starts[0] or end > horizon.end:
        raise DataError(f"the plan reaches from {plan.starts[0].isoformat()} to {horizon.end.isoformat()}, not over the window")
    first, last = horizon.index_at(start), horizon.index_at(end)
    assert first is not None
    until = len(plan.starts) if last is None else last + (plan.starts[last] < end)
    return list(range(first, until))


def _battery(battery: Battery, plan: Plan, steps: Sequence[int], hours: float, sold: Promised) -> Free:
    left_kwh = _left_kwh(plan, battery.id, steps) - battery.min_energy_kwh
    return _store(
        battery.id, battery.power_kw, left_kwh * battery.discharge_efficiency, plan, steps, hours, sold, 2 * battery.wear_price_per_kwh
    )


def _ups(ups: Ups, plan: Plan, steps: Sequence[int], hours: float, reserve_kwh: float | None, sold: Promised) -> Free:
    """A UPS takes off at most the load it carries; without a known reserve nothing of it is offered."""
    kept_kwh = ups.energy_kwh if reserve_kwh is None else reserve_kwh
    left_kwh = _left_kwh(plan, ups.id, steps) - kept_kwh
    carried_kw = min(sum(plan.load_q50_kw[c][i] for c in ups.carries if c in plan.load_q50_kw) for i in steps)
    power_kw = ups.rating_kw if ups.is_bidirectional else min(ups.rating_kw, carried_kw)
    return _store(ups.id, power_kw, left_kwh * ups.discharge_efficiency, plan, steps, hours, sold, 2 * ups.wear_price_per_kwh)


def _store(
    name: str, power_kw: float, left_kwh: float, plan: Plan, steps: Sequence[int], hours: float, sold: Promised, cost_per_kwh: float
) -> Free:
    by_power = max(0.0, min(power_kw + plan.power_kw[name][i] for i in steps) - sold.kw)  # power counts + when charging
    by_energy = max(0.0, left_kwh - sold.kwh) / hours
    kw, bound = min((by_power, f"power of {name}"), (by_energy, f"energy of {name} above what it must keep"))
    return Free(name, kw, bound, max(0.0, by_power - kw), cost_per_kwh)


def _left_kwh(plan: Plan, name: str, steps: Sequence[int]) -> float:
    """The least energy planned to be in a store from the window's first step to the end of its last: what was never planned to be used."""
    return min(plan.energy_kwh[name][i] for i in (*steps, steps[-1] + 1))


def _work(cluster: Cluster, plan: Plan, steps: Sequence[int], hours: float, sold: Mapping[str, Promised]) -> list[Free]:
    found = []
    for name, kind in cluster.classes.items():
        if kind.defer_price_per_kwh is None or kind.deadline_h is None or cluster.id not in plan.load_q50_kw:
            continue
        resource = f"{cluster.id}/{name}"
        rows = plan.classes.get(cluster.id, {}).get(name)
        waiting = [0.0 if rows is None else rows.defer_kw[i] + rows.throttle_kw[i] - rows.recover_kw[i] for i in steps]
        present = [kind.share * max(0.0, plan.load_q50_kw[cluster.id][i] - cluster.idle_kw) for i in steps]
        served_kw = max(0.0, min(p - w for p, w in zip(present, waiting, strict=True)) - sold.get(resource, Promised()).kw)
        share = min(1.0, kind.deadline_h / hours)
        sigma = kind.share * max(_sigma(plan, cluster.id, i) for i in steps)
        bound = f"deadline of {resource}" if share < 1.0 else f"deferrable work of {resource}"
        found.append(Free(resource, served_kw * share, bound, served_kw * (1.0 - share), kind.defer_price_per_kwh, sigma * share))
    return found


def _sigma(plan: Plan, cluster: str, step: int) -> float:
    if cluster not in plan.load_q50_kw:
        return 0.0
    return max(0.0, plan.load_q90_kw[cluster][step] - plan.load_q50_kw[cluster][step]) / Q90


def _trusted(free: Free, trust: float) -> Free:
    return Free(**{**vars(free), "trust": trust})


def _lower_quantile(outcomes: Sequence[tuple[float, float]], probability: float) -> float:
    """The largest value that is reached with at least the probability."""
    reached = 0.0
    for weight, value in sorted(outcomes, key=lambda o: -o[1]):
        reached += weight
        if reached >= probability - 1e-9:
            return value
    return min((v for _, v in outcomes), default=0.0)
