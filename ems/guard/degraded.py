"""Degraded modes as data: what must be seen, how long it is kept, and what of the site's freedom it takes.

A mode only narrows. It begins in the cycle that shows it, is kept `hold_s` after it was last seen, and then gives the caps back in a
straight line over `return_s`: after an outage the halls come back by stages and not at once. What a mode takes is the same whoever asks.

Storage: `free`, `no charging`, or `idle` (no power either way; what it is told is zero, and the device's own ride-through is not touched).
Caps: `free`, `contract` (the contract caps, which hold without storage), or `essential` (idle power and interactive work).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ems.assets.cooling.model import Cooling, CoolingState
from ems.assets.workload.model import Cluster, ClusterState
from ems.guard.loops import Loop, cooled_kw, loop_of
from ems.site.model import Site
from ems.state.estimate import SiteState

ON_BATTERY = ("on_battery", "generator")
DIP_WINDOW = timedelta(seconds=60)
DIPS = 3
WARM_K = 2.0  # above its commissioned supply a plant has lost capacity
DEAD_GRID = 0.1  # of the import limit: what may still flow at the meter of a site without grid
DEAD_DEVICE = 0.02  # of its rating: what may still be read of a device without power
LEAST_FLOW = 0.25  # of what its speed should move: below it a pump is lost
REFUSED_WINDOW, REFUSALS = timedelta(seconds=60), 3  # so many plans that cannot be followed, and the planner is not believed for a while
PLAN_MISSED_S = 60.0  # a start finds its plan within seconds
ESSENTIAL_MARGIN = 1.05  # on interactive demand: its own steps within a cycle


@dataclass(frozen=True)
class Facts:
    """What modes look at in a cycle, beside the state."""

    state: SiteState
    dips: int = 0  # transfers to battery within DIP_WINDOW
    unheard: str = ""  # who gives limits and is not heard, "" when everybody is
    plan_gone_s: float = 0.0  # for how long there has been no valid plan to follow; 0 where none is wanted
    plans_refused: int = 0  # within REFUSED_WINDOW
    loops: Mapping[str, Loop] = field(default_factory=dict)  # per chilled-water plant, also while it is silent


@dataclass(frozen=True)
class Seen:
    """Why a mode is on in a cycle, and the clusters it concerns (empty: all)."""

    why: str
    clusters: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Mode:
    """One way in which a site is not whole."""

    name: str
    seen: Callable[[Site, Facts], Seen | None]
    storage: str = "free"
    caps: str = "free"
    hold_s: float = 10.0
    return_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A mode in force: why, since when, and how much of its narrowing is left (1: all, falling to 0 while the caps come back)."""

    mode: Mode
    why: str
    since: datetime
    share: float
    clusters: frozenset[str] = frozenset()  # it concerns; empty: all


def _said(why: str, clusters: Iterable[str] = ()) -> Seen | None:
    return Seen(why, frozenset(clusters)) if why else None


def _has_outage(site: Site, state: SiteState) -> bool:
    """Every UPS is on battery and nothing that lives on the grid has power (a device that is silent says nothing against it). Where gensets
    have taken load over, what cooling and batteries draw says nothing of the grid."""
    modes = [state.upses[u.id].mode for u in site.upses if state.upses[u.id].is_fresh]
    if _imports(site, state) or (_draws_power(site, state) and not (modes and _is_on_gensets(state))):
        return False
    return all(m in ON_BATTERY for m in modes) if modes else _works_on_nothing(site, state)


def _works_on_nothing(site: Site, state: SiteState) -> bool:
    """No UPS can be read, the meter and all cooling say that they have no power, and the halls work on more than is generated here."""
    fresh = [state.connection.is_fresh, *(c.is_fresh for c in state.coolings.values())]
    fresh += [*(g.is_fresh for g in state.generators.values()), *(r.is_fresh for r in state.renewables.values())]
    are_read = bool(site.upses) and bool(site.coolings) and all(fresh)
    it_kw = sum(c.power_kw for c in state.clusters.values() if c.is_fresh) - state.generation_kw
    return are_read and it_kw > DEAD_GRID * site.point_of_connection.import_limit_kw


def _is_on_gensets(state: SiteState) -> bool:
    """A transfer control has put load on a machine, or a UPS is fed by one."""
    return any(g.carries_load for g in state.generators.values()) or any(u.is_fresh and u.mode == "generator" for u in state.upses.values())


def _imports(site: Site, state: SiteState) -> bool:
    """The meter shows that the grid is there."""
    return abs(state.connection.power_kw or 0.0) > DEAD_GRID * site.point_of_connection.import_limit_kw


def _draws_power(site: Site, state: SiteState) -> bool:
    """Batteries or cooling have power from somewhere."""
    batteries = [(state.batteries[b.id].power_kw, b.power_kw) for b in site.batteries if state.batteries[b.id].is_fresh]
    coolings = [(state.coolings[c.id].power_kw, c.rating_kw) for c in site.coolings if state.coolings[c.id].is_fresh]
    return any(abs(kw) > DEAD_DEVICE * rating_kw for kw, rating_kw in (*batteries, *coolings))


def _grid_outage(site: Site, facts: Facts) -> Seen | None:
    is_told = any(u.is_fresh for u in facts.state.upses.values())
    why = "every UPS carries its load from its battery" if is_told else "no UPS can be read, and the halls work without power of the grid"
    return _said(why if _has_outage(site, facts.state) else "")


def _feed_lost(site: Site, facts: Facts) -> Seen | None:
    """It concerns the halls that the lost UPSs carry: the others draw from a grid that is whole."""
    state = facts.state
    lost = [u for u in site.upses if state.upses[u.id].is_fresh and state.upses[u.id].mode in ON_BATTERY]
    if not lost or _has_outage(site, state):
        return None
    is_there = ", the grid is there" if _imports(site, state) else ""
    return _said(f"{', '.join(u.id for u in lost)} on battery{is_there}", [c for u in lost for c in u.carries])


def _dips(site: Site, facts: Facts) -> Seen | None:
    return _said(f"{facts.dips} transfers to battery within {DIP_WINDOW.seconds} s" if facts.dips >= DIPS else "")


def _cooling_lost(site: Site, facts: Facts) -> Seen | None:
    """A chilled-water plant that removes less than the halls give off, or whose supply has run warm; a silent one as last heard."""
    for cooling in site.coolings:
        loop, plant = loop_of(facts.loops, cooling, facts.state), cooling.plant
        if plant is None or loop.able_kw is None or loop.supply_c is None:
            continue
        heat_kw, when = cooled_kw(cooling, facts.state), " when last heard" if loop.is_silent else ""
        if loop.able_kw < heat_kw:
            return _said(f"{cooling.id} removes {loop.able_kw:.0f} of {heat_kw:.0f} kW{when}")
        if loop.supply_c > plant.supply_temp_c + WARM_K:
            return _said(f"{cooling.id} supplies {loop.supply_c:.1f} °C{when}")
    return None


def _pump_lost(site: Site, facts: Facts) -> Seen | None:
    """Water that moves slower than the heat needs carries it nowhere, whatever the chillers could remove."""
    lost = [c for c in site.coolings if _flow(facts.state.coolings[c.id]) < LEAST_FLOW]
    return _said(", ".join(f"{c.id} moves {_flow(facts.state.coolings[c.id]):.0%} of its water" for c in lost), _cooled(lost))


def _flow(seen: CoolingState) -> float:
    return 1.0 if seen.flow_share is None else seen.flow_share


def _leak(site: Site, facts: Facts) -> Seen | None:
    """Water where none should be: the halls it cools go to what they can hold, until somebody has looked."""
    wet = [c for c in site.coolings if facts.state.coolings[c.id].has_leak]
    return _said(", ".join(f"{c.id} shows a leak" for c in wet), _cooled(wet))


def _cooled(coolings: Iterable[Cooling]) -> frozenset[str]:
    return frozenset(cluster for c in coolings for cluster in c.cools)


def _storage_lost(site: Site, facts: Facts) -> Seen | None:
    stores = [b.is_fresh for b in facts.state.batteries.values()] + [u.is_fresh for u in facts.state.upses.values()]
    return _said("no store can be counted on" if stores and not any(stores) else "")


def _meter_lost(site: Site, facts: Facts) -> Seen | None:
    return _said("" if facts.state.connection.is_fresh else "the meter at the point of connection cannot be read")


def _limit_source_lost(site: Site, facts: Facts) -> Seen | None:
    return _said(facts.unheard)


def _plan_lost(site: Site, facts: Facts) -> Seen | None:
    return _said(f"no valid plan for {facts.plan_gone_s:.0f} s" if facts.plan_gone_s > PLAN_MISSED_S else "")


def _planner_hostile(site: Site, facts: Facts) -> Seen | None:
    is_hostile = facts.plans_refused >= REFUSALS
    return _said(f"{facts.plans_refused} plans refused within {REFUSED_WINDOW.seconds} s" if is_hostile else "")


def _local(site: Site, facts: Facts) -> Seen | None:
    state = facts.state
    parts = (state.batteries, state.upses, state.clusters, state.generators, state.renewables)
    local = [k for part in parts for k, device in part.items() if device.is_local and k not in state.locked_out]
    return _said(", ".join(f"{k} in LOCAL" for k in local))


def _lock_out(site: Site, facts: Facts) -> Seen | None:
    """Whoever is locked out gets no write at all (control/controller.py) and lapses; for the rest it is as one in LOCAL."""
    return _said(", ".join(f"{k} locked out" for k in sorted(facts.state.locked_out)))


# The ladder answers to a plan that is lost or hostile (control/controller.py), the limits to a source that is not heard (heartbeat.py), and
# the envelope of the device to LOCAL: here they get their name, their time and their alarm.
MODES = (
    Mode("grid outage", _grid_outage, storage="idle", caps="essential", hold_s=300.0, return_s=300.0),
    Mode("dips", _dips, storage="idle", hold_s=600.0),
    Mode("feed lost", _feed_lost, storage="no charging", caps="essential", hold_s=60.0, return_s=60.0),
    Mode("pump lost", _pump_lost, storage="no charging", caps="essential", hold_s=60.0, return_s=300.0),
    Mode("leak", _leak, storage="no charging", caps="contract", hold_s=300.0, return_s=60.0),
    Mode("cooling lost", _cooling_lost, storage="no charging", hold_s=60.0),
    Mode("storage lost", _storage_lost, caps="contract"),
    Mode("meter lost", _meter_lost, storage="no charging", caps="contract"),
    Mode("limit source lost", _limit_source_lost),
    Mode("planner hostile", _planner_hostile, hold_s=300.0),
    Mode("plan lost", _plan_lost),
    Mode("lock-out", _lock_out),
    Mode("local", _local),
)


class Degraded:
    """Follows all modes from cycle to cycle, each per set of clusters: a hall keeps its own time while the mode goes on for another."""

    def __init__(self) -> None:
        self._last_seen: dict[tuple[str, frozenset[str]], tuple[datetime, str]] = {}  # a mode and whom it concerns: when, and why
        self._since: dict[tuple[str, frozenset[str]], datetime] = {}
        self._was_on_battery: dict[str, bool] = {}
        self._dips: deque[datetime] = deque(maxlen=DIPS)

    def update(self, site: Site, facts: Facts) -> tuple[Standing, ...]:
        """The modes in force in this cycle, in the order of MODES. Dips are counted here."""
        now = facts.state.now
        facts = replace(facts, dips=self._count_dips(facts.state))
        for mode in MODES:
            seen = mode.seen(site, facts)
            if seen is not None:
                self._last_seen[mode.name, seen.clusters] = (now, seen.why)
                self._since.setdefault((mode.name, seen.clusters), now)
        return tuple(s for mode in MODES for s in self._standing(mode, now))

    def is_on(self, name: str) -> bool:
        """True while a mode is in force, as of the last update."""
        return any(name == seen for seen, _ in self._last_seen)

    def encode(self) -> dict[str, Any]:
        """What must survive a restart, as plain data."""
        return {
            ":".join([name, *sorted(clusters)]): [at.isoformat(), why, self._since[name, clusters].isoformat(), sorted(clusters)]
            for (name, clusters), (at, why) in self._last_seen.items()
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave."""
        for name, (at, why, since, *clusters) in data.items():
            key = name.partition(":")[0], frozenset(clusters[0] if clusters else ())
            self._last_seen[key], self._since[key] = (datetime.fromisoformat(at), why), datetime.fromisoformat(since)

    def _standing(self, mode: Mode, now: datetime) -> Iterator[Standing]:
        for key in [k for k in self._last_seen if k[0] == mode.name]:
            at, why = self._last_seen[key]
            gone_s = (now - at).total_seconds()
            if gone_s > mode.hold_s + mode.return_s:
                del self._last_seen[key], self._since[key]
                continue
            share = 1.0 if gone_s <= mode.hold_s else 1.0 - (gone_s - mode.hold_s) / mode.return_s
            yield Standing(mode, why if gone_s <= 0.0 else f"{why} until {gone_s:.0f} s ago", self._since[key], share, key[1])

    def _count_dips(self, state: SiteState) -> int:
        for name, ups in state.upses.items():
            is_on_battery = ups.is_fresh and ups.mode == "on_battery"
            if is_on_battery and not self._was_on_battery.get(name, False):
                self._dips.append(state.now)
            if ups.is_fresh:
                self._was_on_battery[name] = is_on_battery
        return sum(state.now - at <= DIP_WINDOW for at in self._dips)


def storage_bounds(standing: tuple[Standing, ...]) -> tuple[float, float, str]:
    """Factors on (discharge, charge) power that the modes leave, 0 or 1, and the mode that takes most."""
    idle = [s.mode.name for s in standing if s.mode.storage == "idle" and s.share >= 1.0]
    closed = [s.mode.name for s in standing if s.mode.storage == "no charging" and s.share >= 1.0]
    return (0.0 if idle else 1.0), (0.0 if idle or closed else 1.0), next(iter([*idle, *closed]), "")


def cap_bound_kw(cluster: Cluster, state: ClusterState, standing: tuple[Standing, ...]) -> tuple[float, str]:
    """The highest cap in kW that the modes leave a cluster, and the mode that says so; its rating where none does."""
    bounds = [(cluster.rating_kw, "")]
    for s in standing:
        if s.mode.caps != "free" and (not s.clusters or cluster.id in s.clusters):
            narrow_kw = min(cluster.rating_kw, cluster.contract_cap_kw if s.mode.caps == "contract" else _essential_kw(cluster, state))
            bounds.append((cluster.rating_kw - s.share * (cluster.rating_kw - narrow_kw), s.mode.name))
    return min(bounds)


def _essential_kw(cluster: Cluster, state: ClusterState) -> float:
    interactive = state.classes.get("interactive")
    return cluster.idle_kw + ESSENTIAL_MARGIN * (interactive.demand_kw if interactive is not None else 0.0)
