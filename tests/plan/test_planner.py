"""From measured states, sensible or not, to plans that stand their check."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ems.errors import InvariantBroken, PlanInfeasible
from ems.plan.inputs import DemandMeter, ImportEnvelope, PlanInputs
from ems.plan.plan import Plan, decode_plan, encode_plan
from ems.plan.planner import Planner
from ems.plan.problem import PlanProblem
from ems.plan.verify import verify
from ems.site.model import Site
from ems.timegrid import boundaries_h
from tests.plan.given import MONDAY, backlog, demo_site, plan_inputs

SITE = demo_site()


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner(SITE)


def calm(inputs: PlanInputs) -> PlanInputs:
    """The same load and price in every step, no backlog, batteries in the middle."""
    n = inputs.horizon.n
    load = {c.id: np.full(n, c.idle_kw + 0.5 * (c.peak_kw - c.idle_kw)) for c in SITE.clusters}
    return replace(
        inputs,
        load_q50_kw=load,
        load_q90_kw=load,
        import_price_per_kwh=np.full(n, 0.05),
        outdoor_temp_c=np.full(n, 25.0),
        store_energy_kwh={"bess-1": 500.0, "ups-1": 400.0},
        backlog={},
        cooling_kw=None,
    )


def test_a_plan_survives_the_mailbox_unchanged(planner: Planner) -> None:
    plan = planner.plan(plan_inputs(SITE))
    assert decode_plan(encode_plan(plan)).hash() == plan.hash()
    assert plan.is_valid(MONDAY) and len(plan.import_kw) == planner.grid.n


def test_a_quiet_site_is_left_alone(planner: Planner) -> None:
    inputs = replace(calm(plan_inputs(SITE)), meter=DemandMeter(peak_so_far_kw=1400.0))
    inputs = replace(inputs, store_energy_kwh={"bess-1": 950.0, "ups-1": 400.0}, settle_at=MONDAY + timedelta(hours=1))
    plan = planner.plan(inputs)
    assert max(abs(p) for p in plan.power_kw["bess-1"]) < 1e-6
    assert all(max(c.defer_kw) < 1e-6 and max(c.throttle_kw) < 1e-6 for k in plan.classes.values() for c in k.values())


def test_a_dear_hour_is_met_from_the_battery_and_by_deferring(planner: Planner) -> None:
    inputs = calm(plan_inputs(SITE))
    price = inputs.import_price_per_kwh.copy()
    price[50] = 4.0
    plan = planner.plan(replace(inputs, import_price_per_kwh=price))
    gain = 1.04 + SITE.coolings[0].fraction(25.0)
    assert plan.power_kw["bess-1"][50] < -400
    assert plan.classes["hall-a"]["batch"].defer_kw[50] == pytest.approx(0.4 * 315)
    throttled = [plan.classes[c]["interactive"].throttle_kw[50] for c in ("hall-a", "hall-b")]
    assert sum(throttled) > 40  # 4 per kWh is more than its 3
    assert plan.marginal_price_per_kwh[50] == pytest.approx(3.0 / gain, rel=1e-3)  # one kW less import keeps this much work alive


def test_the_peak_the_month_will_set_anyway_is_not_defended(planner: Planner) -> None:
    inputs = plan_inputs(SITE)
    low, high = (planner.plan(replace(inputs, meter=DemandMeter(0.0, expected))) for expected in (0.0, 1365.0))
    assert low.peak_kw < 1300 and low.cost["demand"] > 0 and "demand charge" in low.binding
    assert high.peak_kw >= 1365 and high.cost["demand"] == pytest.approx(0.0, abs=12 * 5.1)
    assert high.cost["workload"] <= low.cost["workload"]


def test_short_steps_stay_level_within_a_quarter_of_an_hour(planner: Planner) -> None:
    inputs = plan_inputs(SITE)
    plan = planner.plan(replace(inputs, meter=DemandMeter(1100.0), store_energy_kwh={"bess-1": 100.0, "ups-1": 300.0}))
    assert max(plan.import_kw[:13]) <= plan.peak_kw + 1e-3


def test_energy_metered_in_the_running_interval_counts_against_its_peak(planner: Planner) -> None:
    inputs = replace(calm(plan_inputs(SITE, MONDAY + timedelta(minutes=10))), meter=DemandMeter(900.0, 0.0, interval_energy_kwh=300.0))
    plan = planner.plan(inputs)
    assert plan.peak_kw * 0.25 >= 300 + plan.import_kw[0] / 12 - 1e-6
    assert plan.power_kw["bess-1"][0] < -100


def test_a_peak_after_the_month_turned_is_charged_to_the_next_month(planner: Planner) -> None:
    inputs = calm(plan_inputs(SITE))
    meter = DemandMeter(1000.0, next_month_at=MONDAY + timedelta(hours=19))
    plan = planner.plan(replace(inputs, meter=meter))
    assert plan.cost["next demand"] == pytest.approx(12 * max(plan.import_kw[60:]), rel=0.2)
    assert plan.peak_kw == pytest.approx(1000.0, abs=1)


def test_deferred_work_is_back_within_its_deadline(planner: Planner) -> None:
    for seed in range(4):
        inputs = plan_inputs(SITE, MONDAY + timedelta(minutes=17 * seed), seed=seed)
        plan = planner.plan(replace(inputs, backlog={}, envelope=ImportEnvelope(np.full(82, 1200.0), ("event",) * 82)))
        at_h, hours = boundaries_h(inputs.horizon), np.array(inputs.horizon.duration_h)
        for cluster in SITE.clusters:
            batch = plan.classes[cluster.id]["batch"]
            deferred, recovered = (np.r_[0, np.cumsum(hours * np.array(v))] for v in (batch.defer_kw, batch.recover_kw))
            dropped_or_late = np.interp(at_h - 8.0, at_h, deferred) - recovered
            money = sum(plan.cost.values())
            assert dropped_or_late[42:].max() < 1e-3 or money > 0
            assert (deferred - recovered).min() > -1e-4


def test_nothing_waits_when_the_accounts_close(planner: Planner) -> None:
    closing = MONDAY + timedelta(hours=12)
    inputs = replace(plan_inputs(SITE, peak_so_far_kw=1370.0), settle_at=closing, backlog={"hall-a": backlog(100.0, 20.0)})
    plan = planner.plan(inputs)
    hours = np.array(plan.duration_h)
    k = plan.horizon.index_at(closing)
    for name, before in (("batch", 100.0), ("training", 20.0)):
        c = plan.classes["hall-a"][name]
        left = before + np.cumsum(hours * (np.array(c.defer_kw) - np.array(c.recover_kw)))
        assert k is not None and left[k - 1] < 1e-3
    assert max(abs(p) for p in plan.power_kw["bess-1"][k:]) < 1e-6


STRANGE: dict[str, dict[str, object]] = {
    "battery below its window": {"store_energy_kwh": {"bess-1": 0.0, "ups-1": 400.0}},
    "battery above its window": {"store_energy_kwh": {"bess-1": 1000.0, "ups-1": 400.0}},
    "ups empty": {"store_energy_kwh": {"bess-1": 500.0, "ups-1": 0.0}},
    "ups above full": {"store_energy_kwh": {"bess-1": 500.0, "ups-1": 500.0}},
    "reserve beyond the store": {"reserve_kwh": {"ups-1": 900.0}},
    "limit below the idle power": {"envelope": ImportEnvelope(np.full(82, 200.0), ("event",) * 82)},
    "limit of zero": {"envelope": ImportEnvelope(np.zeros(82), ("event",) * 82)},
    "a mountain of overdue backlog": {"backlog": {c.id: backlog(5000.0, 5000.0) for c in SITE.clusters}},
    "load above the rating": {"load_q50_kw": {c.id: np.full(82, 5000.0) for c in SITE.clusters}},
    "load below idle": {"load_q50_kw": {c.id: np.zeros(82) for c in SITE.clusters}},
    "more in the interval than a limit allows": {"meter": DemandMeter(100.0, 0.0, 5000.0)},
    "negative prices": {"import_price_per_kwh": np.full(82, -0.05)},
    "prices of five per kWh": {"import_price_per_kwh": np.full(82, 5.0)},
    "no store available": {"unavailable": frozenset({"bess-1", "ups-1"})},
    "cooling far above its load": {"cooling_kw": 900.0},
    "accounts closed already": {"settle_at": MONDAY - timedelta(hours=1)},
}


@pytest.mark.parametrize("what", STRANGE)
def test_any_measured_state_gives_a_plan_that_stands_its_check(planner: Planner, what: str) -> None:
    inputs = replace(plan_inputs(SITE, seed=3), **STRANGE[what])  # type: ignore[arg-type]
    plan = planner.plan(inputs)
    assert verify(SITE, inputs, plan) == []
    assert all(np.isfinite(plan.import_kw))


BROKEN: dict[str, dict[str, object]] = {
    "load of hall-a is not finite": {"load_q50_kw": {c.id: np.full(82, np.nan) for c in SITE.clusters}},
    "price: 3 values for 82 steps": {"import_price_per_kwh": np.zeros(3)},
    "temperature is not finite": {"outdoor_temp_c": np.full(82, np.inf)},
    "energy of bess-1 is not finite": {"store_energy_kwh": {"bess-1": float("nan"), "ups-1": 400.0}},
    "peak so far is not finite": {"meter": DemandMeter(float("inf"))},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_inputs_that_are_no_numbers_are_named_and_the_next_plan_is_made_as_ever(planner: Planner, fault: str) -> None:
    with pytest.raises(PlanInfeasible, match=fault):
        planner.plan(replace(plan_inputs(SITE), **BROKEN[fault]))  # type: ignore[arg-type]
    assert planner.plan(plan_inputs(SITE)).status == "optimal"


def test_a_limit_that_cannot_be_held_is_said_in_words(planner: Planner) -> None:
    plan = planner.plan(replace(plan_inputs(SITE), envelope=ImportEnvelope(np.full(82, 200.0), ("event 7",) * 82)))
    assert any("cannot be met" in line for line in plan.lines)
    assert plan.binding[0] == "event 7"


def test_the_upper_load_quantile_keeps_energy_in_the_store(planner: Planner) -> None:
    inputs = calm(plan_inputs(SITE))
    # no work can wait: only storage and spare import can carry what the quantile adds
    price = np.full(82, 0.05)
    price[20] = 0.9
    limit_kw = 1000.0
    narrow = replace(inputs, import_price_per_kwh=price, envelope=ImportEnvelope(np.full(82, limit_kw), ("event",) * 82))
    q90 = {k: v + 330.0 for k, v in inputs.load_q50_kw.items()}
    relaxed, careful = planner.plan(narrow), planner.plan(replace(narrow, load_q90_kw=q90))
    assert careful.energy_kwh["bess-1"][21] >= relaxed.energy_kwh["bess-1"][21] + 40


def test_a_term_with_a_parameter_times_a_parameter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import cvxpy as cp

    monkeypatch.setattr(PlanProblem, "_cost", lambda self: cp.Parameter(nonneg=True) * (self.duration_h @ self.import_kw))
    with pytest.raises(InvariantBroken, match="not DPP"):
        Planner(SITE).plan(plan_inputs(SITE, MONDAY))


def tampered(plan: Plan) -> dict[str, Plan]:
    def row(values: tuple[float, ...], step: int, change: float) -> tuple[float, ...]:
        return tuple(v + change * (k == step) for k, v in enumerate(values))

    batch = plan.classes["hall-a"]["batch"]
    classes = {**plan.classes, "hall-a": {**plan.classes["hall-a"], "batch": replace(batch, recover_kw=row(batch.recover_kw, 2, 500.0))}}
    dearer = {**plan.cost, "energy": plan.cost["energy"] * 1.01}
    return {
        "import is not the sum": replace(plan, import_kw=row(plan.import_kw, 4, 5.0)),
        "energy from nowhere": replace(plan, energy_kwh={**plan.energy_kwh, "bess-1": row(plan.energy_kwh["bess-1"], 6, 5.0)}),
        "above its rating": replace(plan, power_kw={**plan.power_kw, "bess-1": row(plan.power_kw["bess-1"], 3, 2000.0)}),
        "below its reserve": replace(plan, energy_kwh={**plan.energy_kwh, "ups-1": row(plan.energy_kwh["ups-1"], 81, -300.0)}),
        "recovers more than waits": replace(plan, classes=classes),
        "does not start where it is": replace(plan, energy_kwh={**plan.energy_kwh, "bess-1": row(plan.energy_kwh["bess-1"], 0, 9.0)}),
        "peak is below": replace(plan, peak_kw=plan.peak_kw - 50.0),
        "not finite": replace(plan, import_kw=row(plan.import_kw, 0, float("nan"))),
        "values for": replace(plan, import_kw=plan.import_kw[:-1]),
        "energy costs": replace(plan, cost=dearer),
        "the objective says": replace(plan, objective=plan.objective + 10.0),
    }


TAMPERED = ["import is not the sum", "energy from nowhere", "above its rating", "below its reserve", "recovers more than waits"]
TAMPERED += ["does not start where it is", "peak is below", "not finite", "values for", "energy costs", "the objective says"]


@pytest.fixture(scope="module")
def honest(planner: Planner) -> tuple[Site, PlanInputs, Plan]:
    inputs = plan_inputs(SITE, seed=5)
    return SITE, inputs, planner.plan(inputs)


@pytest.mark.parametrize("fault", TAMPERED)
def test_a_tampered_plan_is_caught(honest: tuple[Site, PlanInputs, Plan], fault: str) -> None:
    site, inputs, plan = honest
    assert verify(site, inputs, plan) == []
    assert any(fault in line for line in verify(site, inputs, tampered(plan)[fault]))


def test_a_plan_that_does_not_stand_its_check_is_never_handed_out(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ems.plan.planner.verify", lambda *_: ["import is made up"])
    with pytest.raises(PlanInfeasible, match="made up"):
        planner.plan(plan_inputs(SITE))


def test_the_path_that_answered_is_in_the_plan() -> None:
    slow = Planner(SITE)
    slow.engine.iterations = 3
    plan = slow.plan(plan_inputs(SITE))
    assert plan.status == "optimal (second solver)" and slow.last_path == "second solver"
