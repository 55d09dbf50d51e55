"""Could a case have been delivered at all? One linear program over the whole window with the true load and the simulator's ratings.

It knows the future, answers at once and leaves out what only takes away (tapered charging, deadlines beyond the window, the lag of
cooling): a relaxation, so that what it cannot do nobody can. Levers are the stores above window and reserve and the work that may wait;
interactive work is not touched. It shares no equation with ems.plan. One step is a minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, lil_matrix, vstack

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.site.model import Site
from tests.campaign.events_cases import AFTER_MIN, Call, Case
from tests.campaign.events_judge import QUARTER, mean_import
from tests.campaign.events_run import Outcome

Array = np.ndarray
WAITING = ("batch", "training")


def is_feasible(case: Case, outcome: Outcome, site: Site) -> bool:
    """True when every call of the case can be held in full, and the import kept at the baseline for an hour after."""
    first = case.calls[0].at_min
    limits = _limits_kw(case, outcome, site)[first:]
    return _solve(outcome, site, limits, first)


def baseline_of(case: Case, outcome: Outcome, call: Call) -> float:
    """The mean import of the quarter of an hour before the event, or before the one that lasts when it begins."""
    starts = [c.start_min for c in case.calls if c.start_min <= call.start_min < c.end_min]
    edge = case.begins_at + timedelta(minutes=min(starts))
    return mean_import(outcome, edge - QUARTER, edge)


def _limits_kw(case: Case, outcome: Outcome, site: Site) -> Array:
    """The highest import allowed in each minute of the window."""
    limits = np.full(case.end_min, site.point_of_connection.import_limit_kw)
    calls = [c for c in case.calls if not c.is_cancelled]
    for call in calls:
        later = [c.at_min for c in calls if c.event == call.event and c.modification > call.modification]
        begin, end = max(call.start_min, call.at_min), min([call.end_min, *later])
        if end > begin:
            limits[begin:end] = np.minimum(limits[begin:end], _level_kw(case, outcome, call))
    last = max(c.end_min for c in _final(calls))
    baseline_kw = min(baseline_of(case, outcome, c) for c in _final(calls))
    limits[last : last + AFTER_MIN] = np.minimum(limits[last : last + AFTER_MIN], baseline_kw)
    return limits


def _final(calls: list[Call]) -> list[Call]:
    return [c for c in calls if not any(o.event == c.event and o.modification > c.modification for o in calls)]


def _level_kw(case: Case, outcome: Outcome, call: Call) -> float:
    asked_kw = outcome.asked_kw[call.event, call.modification]
    return baseline_of(case, outcome, call) - asked_kw if call.kind == "reduce_by" else asked_kw


def _solve(outcome: Outcome, site: Site, limits_kw: Array, first: int) -> bool:
    """Variables, in blocks of n: per store charge, discharge, energy; per waiting class power served and kWh that wait."""
    n = len(limits_kw)
    stores = [*_groups(site.batteries), *site_upses(site)]
    hour = 1.0 / 60.0
    demand = {name: _minutes(outcome, name, first, n) for name in ("interactive", *WAITING)}
    before = outcome.before
    follow = 1.0 + (before["cooling_kw"] + before["loss_kw"]) / before["it_kw"]
    idle_kw = sum(c.idle_kw for c in site.clusters)
    fixed_kw = sum(f.power_kw for f in site.fixed_loads)
    width = n * (3 * len(stores) + 2 * len(WAITING))
    low, high = np.zeros(width), np.full(width, np.inf)
    balance, wait = lil_matrix((n, width)), len(stores) * 3 * n
    rows, right = [], []
    for k, store in enumerate(stores):
        c, d, e = (3 * k * n + j * n for j in range(3))
        high[c : c + n], high[d : d + n] = store.charge_kw, store.discharge_kw
        low[e : e + n] = store.least_kwh(demand, idle_kw, n)
        high[e : e + n] = store.most_kwh
        for t in range(n):
            balance[t, c + t], balance[t, d + t] = 1.0, -1.0
        given = sum(outcome.stored_kwh[m] for m in store.members)
        low[e : e + n] = np.minimum(low[e : e + n], given)  # what is short at the start may stay so
        rows.append(_store_rows(n, width, c, d, e, store, hour))
        right.append(np.concatenate([[given], np.zeros(n - 1)]))
    for k, name in enumerate(WAITING):
        x, b = wait + 2 * k * n, wait + (2 * k + 1) * n
        for t in range(n):
            balance[t, x + t] = follow
        rows.append(_waiting_rows(n, width, x, b, hour))
        begun = outcome.backlog_kwh if k == 0 else 0.0
        right.append(demand[name] * hour + np.concatenate([[begun], np.zeros(n - 1)]))
        high[x : x + n] = sum(c.rating_kw - c.idle_kw for c in site.clusters)
    room = limits_kw - fixed_kw - follow * (idle_kw + demand["interactive"])
    result = linprog(
        np.zeros(width),
        A_ub=balance.tocsr(),
        b_ub=room,
        A_eq=vstack(rows).tocsr(),
        b_eq=np.concatenate(right),
        bounds=np.column_stack([low, high]),
        method="highs",
    )
    return bool(result.status == 0)


class Store:
    """Alike stores as one: powers at the terminals in kW, energies in kWh."""

    def __init__(self, members: list[Battery] | list[Ups]) -> None:
        one, many = members[0], len(members)
        self.one, self.many, self.members = one, many, [m.id for m in members]
        self.charge_efficiency, self.discharge_efficiency = one.charge_efficiency, one.discharge_efficiency
        if isinstance(one, Ups):
            self.charge_kw, self.discharge_kw = many * one.charge_kw, many * one.rating_kw * one.is_grid_interactive
            self.most_kwh = many * one.energy_kwh
        else:
            self.charge_kw = self.discharge_kw = many * one.power_kw
            self.most_kwh = many * one.soc_max * one.energy_kwh

    def least_kwh(self, demand: dict[str, Array], idle_kw: float, n: int) -> Array:
        """What must stay: the window's edge, or what carries the load of the site for the promised minutes."""
        one = self.one
        if isinstance(one, Battery):
            return np.full(n, self.many * one.soc_min * one.energy_kwh)
        load_kw = idle_kw + sum(demand.values())
        usable = one.aged_capacity * (1.0 - one.redundant_blocks / one.blocks)
        return np.minimum(self.most_kwh, load_kw * one.ride_through_min / 60.0 / one.discharge_efficiency / usable)


def _groups(batteries: Iterable[Battery]) -> list[Store]:
    alike: dict[tuple[float, ...], list[Battery]] = {}
    for b in batteries:
        alike.setdefault((b.power_kw, b.energy_kwh, b.charge_efficiency, b.discharge_efficiency, b.soc_min, b.soc_max), []).append(b)
    return [Store(members) for members in alike.values()]


def site_upses(site: Site) -> list[Store]:
    """All UPS as one: they carry all halls between them."""
    return [Store(list(site.upses))] if site.upses else []


def _store_rows(n: int, width: int, c: int, d: int, e: int, store: Store, hour: float) -> coo_matrix:
    """e[t] - e[t-1] = efficiency x charge - discharge / efficiency, over a minute; the energy stands at the minute's end."""
    rows = lil_matrix((n, width))
    for t in range(n):
        rows[t, e + t] = 1.0
        if t:
            rows[t, e + t - 1] = -1.0
        rows[t, c + t], rows[t, d + t] = -store.charge_efficiency * hour, hour / store.discharge_efficiency
    return rows.tocoo()


def _waiting_rows(n: int, width: int, x: int, b: int, hour: float) -> coo_matrix:
    """What waits at a minute's end is what waited, and what came, less what was served."""
    rows = lil_matrix((n, width))
    for t in range(n):
        rows[t, b + t], rows[t, x + t] = 1.0, hour
        if t:
            rows[t, b + t - 1] = -1.0
    return rows.tocoo()


def _minutes(outcome: Outcome, name: str, first: int, n: int) -> Array:
    """The true demand of a class, all halls together, in kW per minute."""
    per = round(60.0 / outcome.step_s)
    total = sum(kw for key, kw in outcome.demand.items() if key.endswith(f"/{name}"))
    whole = np.asarray(total)[: len(total) // per * per].reshape(-1, per).mean(axis=1)
    return whole[first : first + n]
