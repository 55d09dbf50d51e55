"""What is offered stands in the plan solved again by the optimizer that will deliver it; what does not is offered no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ems.forecast.quantiles import LEVELS as QUANTILES
from ems.forecast.quantiles import Quantiles
from ems.plan.loop import PlanLoop
from ems.plan.plan import Plan
from ems.plan.state import PlanState
from ems.program.ledger import Ledger
from ems.program.library import find_program
from ems.program.offer import Offer, offer
from ems.program.resolved_offer import Resolver, resolved
from ems.program.terms import terms_on
from ems.resources import bundled
from ems.signals.prices import PriceRow
from ems.site.load import load_site
from tests.assets.generator_site import GAS, off, site_with

NOW = datetime(2024, 8, 19, 17, 0, tzinfo=UTC)
START = NOW + timedelta(minutes=15)
HOUR = timedelta(hours=1)
SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
PEAK_KW = 1300.0


class Level:
    """A load that lies around one level."""

    def __init__(self, kw: float) -> None:
        self.kw = kw

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        pass

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        rows = {q: np.full(len(starts), self.kw * s) for q, s in zip(QUANTILES, (0.95, 1.0, 1.05, 1.1), strict=True)}
        return Quantiles(tuple(starts), tuple(duration_h), rows)

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        return 1.1 * self.kw


def state(energy_kwh: float = 900.0) -> PlanState:
    return PlanState(NOW, {"bess-1": energy_kwh, "ups-1": 400.0}, {}, 900.0, PEAK_KW, None, 0.0, 150.0, 1450.0, 1050.0, 30.0)


@cache
def running(energy_kwh: float) -> tuple[Plan, Resolver]:
    loop = PlanLoop(SITE, loads={c.id: Level(0.7 * c.peak_kw) for c in SITE.clusters})
    loop.add_prices([PriceRow(NOW - HOUR, NOW + 60 * HOUR, NOW - HOUR, 0.05)])
    plan = loop.plan(NOW, state(energy_kwh))
    return plan, Resolver(SITE, plan, state(energy_kwh), NOW)


def offered(plan: Plan, program: str = "nyiso-scr", hours: float = 2.0) -> Offer:
    terms = terms_on(find_program(program, Path("x.yaml")), date(2024, 8, 19))
    reserve = {u.id: u.energy_kwh for u in SITE.upses}
    return offer(terms, SITE, plan, START, reserve, Ledger(), hours=hours)


def test_what_the_plan_leaves_free_stands_when_it_is_solved_again():
    plan, resolver = running(900.0)
    first = offered(plan)
    found = resolved(first, resolver, None, {})
    assert found.is_solved_again and first.kw[0.90] > 300.0
    assert all(found.kw[p] == pytest.approx(first.kw[p]) for p in first.kw)  # all of it holds
    assert found.limiting == first.limiting


def test_more_than_can_be_delivered_is_offered_no_more_and_it_is_said_where_it_failed():
    plan, resolver = running(900.0)
    first = offered(plan)
    found = resolved(replace(first, kw={p: 3.0 * kw for p, kw in first.kw.items()}), resolver, None, {})
    assert 0.0 < found.kw[0.90] < 2.0 * first.kw[0.90]
    assert "solved again" in found.limiting and ("kW short at" in found.limiting or "throttled" in found.limiting)
    assert found.kw[0.50] >= found.kw[0.90] >= found.kw[0.95]
    assert resolver.holds(START, 2.0, found.kw[0.90], 0.90).is_held


def test_an_empty_battery_holds_less_than_a_full_one():
    most = []
    for energy_kwh in (60.0, 900.0):
        plan, resolver = running(energy_kwh)
        first = offered(plan)
        most.append(resolved(replace(first, kw=dict.fromkeys(first.kw, 1200.0)), resolver, None, {}).kw[0.90])
    assert most[0] < most[1]


def test_steps_of_a_programme_are_kept_and_the_same_question_is_solved_once(monkeypatch: pytest.MonkeyPatch):
    plan, resolver = running(900.0)
    memory: dict[tuple[float, float, float], tuple[float, str]] = {}
    found = resolved(offered(plan), resolver, 50.0, memory)
    assert all(kw % 50.0 == 0.0 for kw in found.kw.values()) and len(memory) == 3
    monkeypatch.setattr(resolver, "holds", None)
    assert resolved(offered(plan), resolver, 50.0, memory) == found


def test_for_a_programme_that_allows_no_generators_the_plan_is_solved_as_if_there_were_none():
    site = site_with(import_limit_kw=1450.0, gas_1=GAS)
    now = replace(state(900.0), runs={"gas-1": off()})
    loop = PlanLoop(site, loads={c.id: Level(0.7 * c.peak_kw) for c in site.clusters})
    loop.add_prices([PriceRow(NOW - HOUR, NOW + 60 * HOUR, NOW - HOUR, 0.5)])  # dear enough to run the machine for money
    resolver = Resolver(site, loop.plan(NOW, now), now, NOW)
    solved: list[Plan] = []
    planner, seen = resolver._loop.planner.plan, solved.append
    resolver._loop.planner.plan = lambda inputs: (seen(found := planner(inputs)), found)[1]  # type: ignore[method-assign]
    assert resolver.holds(START, 1.0, 100.0, 0.5, generators=False).is_held
    assert solved and all(max(map(abs, plan.power_kw["gas-1"])) == pytest.approx(0.0, abs=1e-6) for plan in solved)
    solved.clear()
    assert resolver.holds(START, 1.0, 100.0, 0.5).is_held
    assert solved and all(min(plan.power_kw["gas-1"]) < -100.0 for plan in solved)
