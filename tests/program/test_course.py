"""An event is judged step by step: what the plan does anyway is taken back first, work waits, stores hold the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.program.course import Course, Store, Work, course
from ems.program.judge import judge_event
from ems.program.ledger import Commitment, Ledger, Promised
from ems.resources import bundled
from ems.site.load import load_site
from ems.site.storage_classes import planned_site
from tests.program.test_offers import BATTERY, HOUR, NOW, RESERVE, SITE, N, event, plan, terms_of

LARGE = load_site(bundled("config/sites/enterprise-50mw.yaml"))


def simple(stores: tuple[Store, ...], load_kw: list[float], work_kw: float = 0.0, sigma_kw: float = 0.0) -> Course:
    n = len(load_kw)
    works = (Work("hall/batch", np.full(n, work_kw), np.zeros(n), 0.03, 1.0),)
    return Course(np.full(n, 0.25), np.array(load_kw), np.full(n, sigma_kw), np.ones(n, bool), stores, works)


def test_a_store_that_is_planned_to_charge_in_the_event_need_not():
    """Its charging is no load that has to be met, and an empty store can still stop charging."""
    empty = BATTERY.min_energy_kwh
    made = plan(energy_kwh=empty, charge_kw=300.0, import_kw=1500.0)
    found = judge_event(event(100.0), terms_of("caiso-pdr"), None, 1200.0, SITE, made, RESERVE, Ledger(), NOW)
    assert found.chance == 1.0


def test_energy_is_counted_over_the_whole_event_and_power_in_each_step():
    store = Store("bess-1", 400.0, 100.0, 1.0)
    peak = simple((store,), [1000.0, 1350.0, 1000.0, 1000.0])
    assert peak.chance(np.full(4, 1000.0)) == 1.0  # 350 kW for a quarter of an hour
    assert peak.chance(np.full(4, 940.0)) == 0.0  # 350 + 4 x 60 kW: 147 kWh
    assert simple((replace(store, kw=300.0, kwh=1e3),), [1000.0, 1350.0]).chance(np.full(2, 1000.0)) == 0.0


def test_a_small_store_takes_the_peak_and_a_long_one_the_foot():
    both = (Store("long", 200.0, 1000.0, 1.0), Store("short", 400.0, 50.0, 1.0))
    assert simple(both, [1200.0, 1400.0, 1200.0]).chance(np.full(3, 1000.0)) == 1.0


def test_work_waits_before_stores_give_and_what_they_give_is_named():
    found = simple((Store("bess-1", 400.0, 100.0, 1.0),), [1000.0] * 4, work_kw=150.0).taken(np.full(4, 800.0))
    assert found["hall/batch"] == Promised(150.0, 150.0) and found["bess-1"] == Promised(50.0, 50.0)


@given(st.floats(0, 400), st.floats(0, 300), st.floats(0, 100))
def test_what_holds_with_90_percent_is_what_has_that_chance(kwh, work_kw, sigma_kw):
    made = simple((Store("bess-1", 400.0, kwh, 1.0),), [1000.0, 1100.0, 900.0, 1000.0], work_kw, sigma_kw)
    kw = made.held_kw(np.full(4, 300.0), 1000.0, 0.9)
    assert 0.0 <= kw <= 700.0
    assert kw == 0.0 or made.chance(np.full(4, 1000.0 - kw + 1.0)) >= 0.9
    assert kw == 700.0 or made.chance(np.full(4, 1000.0 - kw - 2.0)) < 0.9


def test_the_hour_after_counts_too():
    """Stores that have given all cannot keep the import at what it was."""
    made = plan(energy_kwh=BATTERY.min_energy_kwh + 100.0, load_kw=500.0)
    risen = replace(made, import_kw=(1200.0, 1200.0, *(3000.0,) * (N - 2)))
    asked = event(50.0)
    assert judge_event(asked, terms_of("caiso-pdr"), None, 1200.0, SITE, made, RESERVE, Ledger(), NOW).chance == 1.0
    assert judge_event(asked, terms_of("caiso-pdr"), None, 1200.0, SITE, risen, RESERVE, Ledger(), NOW).chance == 0.0


def test_strings_count_as_what_they_are_planned_as_and_silent_ones_do_not():
    planned = planned_site(LARGE)
    made = plan()
    clusters = [c.id for c in LARGE.clusters]
    flat = (7000.0,) * N
    large = replace(
        made,
        power_kw={
            **{b.id: (0.0,) * N for b in planned.batteries},
            **{u.id: (0.0,) * N for u in LARGE.upses},
            **dict.fromkeys(clusters, flat),
        },
        energy_kwh={**{b.id: (0.5 * b.energy_kwh,) * (N + 1) for b in planned.batteries}},
        classes={},
        import_kw=(34000.0,) * N,
        load_q50_kw=dict.fromkeys(clusters, flat),
        load_q90_kw=dict.fromkeys(clusters, flat),
    )
    window = (NOW, NOW + HOUR, NOW + 2 * HOUR)
    stores = {s.name: s.kw for s in course(LARGE, large, window, {}, {}, {}).stores}
    assert stores == {b.id: pytest.approx(b.power_kw) for b in planned.batteries} and sum(stores.values()) == pytest.approx(12000.0)
    silent = {b.id: 0.0 for b in LARGE.batteries[:4]}
    fewer = {s.name: s.kw for s in course(LARGE, large, window, {}, {}, silent).stores}
    assert sum(fewer.values()) == pytest.approx(10000.0)


def test_events_of_one_programme_at_one_time_share_what_they_take():
    total = (800.0 - BATTERY.min_energy_kwh) * BATTERY.discharge_efficiency
    same = Commitment("e0", "caiso-pdr", NOW, NOW + 4 * HOUR, 300.0, {BATTERY.id: Promised(BATTERY.power_kw, total)})
    asked, made = event(700.0), plan()

    def chance(beside: Commitment) -> float:
        return judge_event(asked, terms_of("caiso-pdr"), None, 1200.0, SITE, made, RESERVE, Ledger((beside,)), NOW).kw_p90

    assert chance(same) == chance(replace(same, resources={}))
    assert chance(replace(same, program="ca-elrp")) < chance(same)
    later = replace(same, start=NOW + timedelta(hours=6), end=NOW + timedelta(hours=8))
    assert chance(later) < chance(same)  # the store may not be full again by then
