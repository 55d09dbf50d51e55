"""Offers come from what the plan leaves free, name what limits them, and never sell the same kWh twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.obligation import ObligationKind
from ems.plan.plan import ClassPlan, Plan
from ems.program.course import AT_THE_EDGE
from ems.program.event import EventInterval, GridEvent
from ems.program.flexibility import flexibility
from ems.program.judge import judge_event, quiet_limits
from ems.program.ledger import RESTORED_IN, Commitment, Ledger, Promised
from ems.program.library import find_program, program_paths
from ems.program.offer import offer
from ems.program.terms import Terms, terms_on
from ems.resources import bundled
from ems.site.load import load_site

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
N = 24
BATTERY, UPS = SITE.batteries[0], SITE.upses[0]
RESERVE = {UPS.id: UPS.energy_kwh}


@cache
def terms_of(name: str) -> Terms:
    return terms_on(find_program(name, Path("x.yaml")), date(2026, 7, 15))


def plan(
    energy_kwh: float = 800.0, charge_kw: float = 0.0, load_kw: float = 500.0, spread_kw: float = 0.0, import_kw: float = 1200.0
) -> Plan:
    """A plan of flat hours."""
    flat = (load_kw,) * N
    clusters = [c.id for c in SITE.clusters]
    return Plan(
        made_at=NOW,
        valid_until=NOW + HOUR,
        starts=tuple(NOW + n * HOUR for n in range(N)),
        duration_h=(1.0,) * N,
        power_kw={BATTERY.id: (charge_kw,) * N, UPS.id: (0.0,) * N, **dict.fromkeys(clusters, flat)},
        energy_kwh={BATTERY.id: (energy_kwh,) * (N + 1), UPS.id: (UPS.energy_kwh,) * (N + 1)},
        classes={c: {k: ClassPlan((0.0,) * N, (0.0,) * N, (0.0,) * N) for k in SITE.clusters[0].classes} for c in clusters},
        import_kw=(import_kw,) * N,
        load_q50_kw=dict.fromkeys(clusters, flat),
        load_q90_kw=dict.fromkeys(clusters, (load_kw + spread_kw,) * N),
        price_per_kwh=(0.05,) * N,
        marginal_price_per_kwh=(0.05,) * N,
        binding=("",) * N,
        peak_kw=1300.0,
        objective=0.0,
    )


def free_of(made: Plan, hours: float = 2.0, **more) -> dict[str, float]:
    found = flexibility(SITE, made, NOW, NOW + hours * HOUR, RESERVE, **more)
    return {f.resource: f.kw for f in found.free}


def test_storage_offers_what_lies_above_its_floor_and_no_more_than_its_power():
    above_kwh = (800.0 - BATTERY.min_energy_kwh) * BATTERY.discharge_efficiency
    assert free_of(plan(), 4.0)[BATTERY.id] == pytest.approx(above_kwh / 4.0)
    assert free_of(plan(), 0.25)[BATTERY.id] == pytest.approx(BATTERY.power_kw)
    assert free_of(plan(charge_kw=100.0), 0.25)[BATTERY.id] == pytest.approx(BATTERY.power_kw + 100.0)
    assert free_of(plan(charge_kw=-BATTERY.power_kw), 0.25)[BATTERY.id] == pytest.approx(0.0, abs=1e-9)


def test_the_backup_reserve_is_never_offered():
    assert free_of(plan())[UPS.id] == 0.0
    unknown = flexibility(SITE, plan(), NOW, NOW + HOUR, {})
    assert next(f for f in unknown.free if f.resource == UPS.id).kw == 0.0
    spare = {UPS.id: UPS.energy_kwh - 100.0}
    found = flexibility(SITE, plan(), NOW, NOW + HOUR, spare)
    assert next(f for f in found.free if f.resource == UPS.id).kw == pytest.approx(100.0 * UPS.discharge_efficiency)


def test_only_work_that_can_wait_is_offered_and_no_longer_than_it_can():
    cluster = SITE.clusters[0]
    found = free_of(plan(), 2.0)
    for name, kind in cluster.classes.items():
        resource = f"{cluster.id}/{name}"
        if kind.defer_price_per_kwh is None:
            assert resource not in found
        else:
            assert found[resource] == pytest.approx(kind.share * (500.0 - cluster.idle_kw) * min(1.0, kind.deadline_h / 2.0))


def test_resources_are_storage_and_work_and_never_a_generator():
    kinds = {b.id for b in SITE.batteries} | {u.id for u in SITE.upses} | {c.id for c in SITE.clusters}
    assert {r.split("/")[0] for r in free_of(plan())} <= kinds


def test_the_limiting_resource_is_named():
    short = flexibility(SITE, plan(energy_kwh=BATTERY.min_energy_kwh + 50.0), NOW, NOW + 4 * HOUR, RESERVE)
    assert short.limiting == f"energy of {BATTERY.id} above what it must keep"
    tiny = flexibility(SITE, plan(import_kw=100.0), NOW, NOW + HOUR, RESERVE)
    assert tiny.limiting.startswith("the import itself") and tiny.kw_at(0.5) <= 100.0


def test_more_confidence_offers_less():
    found = flexibility(SITE, plan(spread_kw=200.0), NOW, NOW + 2 * HOUR, RESERVE)
    p50, p90, p95 = (found.kw_at(p) for p in (0.5, 0.9, 0.95))
    assert p50 > p90 > p95 > 0
    certain = flexibility(SITE, plan(), NOW, NOW + 2 * HOUR, RESERVE)
    assert certain.kw_at(0.5) == certain.kw_at(0.95)


def test_a_device_that_is_not_trusted_does_not_count_at_ninety_percent():
    trusted = flexibility(SITE, plan(), NOW, NOW + 2 * HOUR, RESERVE)
    doubted = flexibility(SITE, plan(), NOW, NOW + 2 * HOUR, RESERVE, trust={BATTERY.id: 0.8})
    battery = free_of(plan())[BATTERY.id]
    assert doubted.kw_at(0.5) == pytest.approx(trusted.kw_at(0.5))
    assert doubted.kw_at(0.9) == pytest.approx(trusted.kw_at(0.9) - battery)


def test_the_chance_and_the_quantile_are_of_one_distribution():
    found = flexibility(SITE, plan(spread_kw=150.0), NOW, NOW + 2 * HOUR, RESERVE, trust={BATTERY.id: 0.93})
    basis = 1300.0
    for p in (0.5, 0.75, 0.9):
        assert found.chance_under(basis - found.below(basis, p)) >= p - 1e-9
        assert found.chance_under(basis - found.below(basis, p) - 1.0) < p + 0.06


def test_an_offer_steps_back_for_what_is_promised_and_never_sells_twice():
    ers, economic = terms_of("ercot-ers-30"), terms_of("nonfirm-connection")
    whole = offer(economic, SITE, plan(), NOW, RESERVE, Ledger())
    free = flexibility(SITE, plan(), NOW, NOW + whole.hours * HOUR, RESERVE)
    ledger = Ledger().promise("x", economic, free, NOW + whole.hours * HOUR, 200.0)
    later = offer(replace(economic, program="another"), SITE, plan(), NOW, RESERVE, ledger)
    assert later.kw[0.90] == pytest.approx(whole.kw[0.90] - 200.0)
    refused = offer(ers, SITE, plan(), NOW, RESERVE, ledger)
    assert "stands alone" in refused.refusal and refused.kw[0.90] == 0.0


def test_nested_programmes_count_the_same_reduction_once_each():
    capacity, economic = terms_of("pjm-capacity-dr"), terms_of("pjm-economic")
    free = flexibility(SITE, plan(), NOW, NOW + 4 * HOUR, RESERVE)
    ledger = Ledger().promise("cap", capacity, free, NOW + 4 * HOUR, 150.0)
    assert ledger.refusal(economic, NOW, NOW + 4 * HOUR) == "" and ledger.promised(economic, NOW, NOW + 4 * HOUR) == {}


def test_energy_promised_shortly_before_is_not_there_again():
    alone = replace(terms_of("nonfirm-connection"), program="second")
    first = Commitment("a", "first", NOW, NOW + HOUR, 300.0, {BATTERY.id: Promised(300.0, 300.0)})
    near = Ledger((first,)).promised(alone, NOW + 2 * HOUR, NOW + 3 * HOUR)
    assert near == {BATTERY.id: Promised(0.0, 300.0)}
    far = NOW + HOUR + RESTORED_IN
    assert Ledger((first,)).promised(alone, far, far + HOUR) == {}


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(1, 4), st.floats(0.0, 1.0)), max_size=12))
def test_whatever_is_promised_in_turn_a_store_never_owes_more_than_it_holds(asked):
    made, ledger = plan(), Ledger()
    holds_kwh = (800.0 - BATTERY.min_energy_kwh) * BATTERY.discharge_efficiency
    for n, (start_h, hours, share) in enumerate(asked):
        start, end = NOW + start_h * HOUR, NOW + (start_h + hours) * HOUR
        terms = replace(terms_of("nonfirm-connection"), program=f"p{n}")
        free = flexibility(SITE, made, start, end, RESERVE, ledger.promised(terms, start, end))
        kw = share * sum(f.kw for f in free.free)
        ledger = ledger.promise(f"c{n}", terms, free, end, kw)
        for at in range(24):
            window = [c for c in ledger.commitments if c.start < NOW + (at + 1) * HOUR and c.end > NOW + at * HOUR]
            owed = [c.resources.get(BATTERY.id, Promised()) for c in window]
            assert sum(p.kwh for p in owed) <= holds_kwh + 1e-6
            assert sum(p.kw for p in owed) <= BATTERY.power_kw + 1e-6


def test_more_than_is_free_cannot_be_promised():
    free = flexibility(SITE, plan(), NOW, NOW + HOUR, RESERVE)
    with pytest.raises(ValueError, match="are free"):
        Ledger().promise("x", terms_of("nonfirm-connection"), free, NOW + HOUR, 1e5)


def test_a_small_site_is_refused_by_a_large_programme():
    found = offer(terms_of("neso-dfs"), SITE, plan(), NOW, RESERVE, Ledger())
    assert "the programme takes 1000 kW at least" in found.refusal


def test_an_offer_beyond_the_plan_is_refused_with_its_reach():
    found = offer(terms_of("caiso-pdr"), SITE, plan(), NOW + 40 * HOUR, RESERVE, Ledger())
    assert "the plan reaches" in found.refusal


def event(kw: float, kind: ObligationKind = ObligationKind.REDUCE_BY) -> GridEvent:
    return GridEvent("e", "caiso-pdr", 0, kind, (EventInterval(NOW + HOUR, NOW + 3 * HOUR, kw),))


def test_an_event_is_judged_by_what_the_plan_leaves():
    able = free_of(plan())
    total = sum(able.values())
    easy = judge_event(event(0.5 * total), terms_of("caiso-pdr"), None, 1200.0, SITE, plan(), RESERVE, Ledger(), NOW)
    hard = judge_event(event(1.5 * total), terms_of("caiso-pdr"), None, 1200.0, SITE, plan(), RESERVE, Ledger(), NOW)
    assert easy.chance == pytest.approx(1.0) and hard.chance == 0.0
    rate = 1.0 + AT_THE_EDGE * ((1200.0 - SITE.fixed_loads[0].power_kw) / 1000.0 - 1.0)  # of import that goes with a kW of work
    assert hard.kw_p90 == pytest.approx(able[BATTERY.id] + rate * (total - able[BATTERY.id]), abs=0.01)
    assert easy.value == pytest.approx(0.5 * total * 2.0 * 0.05)
    assert judge_event(event(10.0), terms_of("caiso-pdr"), None, 1200.0, SITE, None, {}, Ledger(), NOW).limiting == "no plan to judge by"


def test_an_afternoon_that_may_be_the_peak_is_worth_its_part_of_the_tag():
    found = judge_event(event(200.0), terms_of("ercot-4cp"), None, 1200.0, SITE, plan(), RESERVE, Ledger(), NOW)
    assert found.value == pytest.approx(200.0 * 65.0 / 4 * 0.25) and found.net_value > 0


def test_quiet_limits_leave_the_load_alone_and_take_the_charging():
    made = plan(charge_kw=200.0, spread_kw=10.0)
    limits = quiet_limits(event(100.0), (NOW + HOUR, NOW + 3 * HOUR), SITE, made, NOW)
    assert [(o.start, o.end) for o in limits] == [(NOW + HOUR, NOW + 2 * HOUR), (NOW + 2 * HOUR, NOW + 3 * HOUR)]
    assert all(1000.0 < o.kw < 1200.0 for o in limits)


def test_a_quiet_step_that_reaches_into_the_event_leaves_what_the_event_takes_off():
    """Limited to what such a step imports in the mean, the load would be cut before the event, and with it the baseline."""
    made = plan(charge_kw=-400.0, spread_kw=10.0)  # the store gives in the event's part of the step
    limits = quiet_limits(event(100.0), (NOW + HOUR, NOW + 2 * HOUR), SITE, made, NOW)
    assert all(o.kw >= made.import_kw[0] + 400.0 for o in limits)


def test_every_shipped_programme_gets_an_offer_or_a_reason():
    for path in program_paths():
        found = offer(terms_of(path.stem), SITE, plan(), NOW, RESERVE, Ledger())
        assert found.kw[0.50] >= found.kw[0.90] >= found.kw[0.95] >= 0.0
        assert found.refusal or found.limiting
