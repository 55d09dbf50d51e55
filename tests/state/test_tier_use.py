"""Tiers beside the plan: counted from readings whoever cuts, cut last once used up, kept over a restart, judged by the plant's truth."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.workload.model import ClassState, ClusterState, WorkloadClass
from ems.assets.workload.tier import TierWindow
from ems.control.controller import Controller
from ems.control.plan_state import plan_state
from ems.control.snapshot import encode_snapshot
from ems.dispatch.arbiter import _cut
from ems.kpi.tiers import TierScore
from ems.messages import Mode
from ems.office.metrics import _tiers
from ems.office.view import _also
from ems.plan.loop import PlanLoop
from ems.plan.state import PlanState
from ems.replay.report import tier_lines
from ems.site.model import Site
from ems.state.tier_use import TierUse
from tests.control.loop import START, Loop, demo_site, even

TIGHT = {"hall-a": even(560.0), "hall-b": even(240.0)}
KIND = WorkloadClass(0.4, None, 0.03, 1.0, 8.0, tier_loss=0.25, tier_window_h=1.0)


def tiered(limit_kw: float = 1300.0, **classes: dict[str, float]) -> Site:
    hall = {"classes": {name: {"tier_window_h": 1.0, **tier} for name, tier in classes.items()}}
    overrides: dict[str, Any] = {"assets": {"hall-a": hall, "hall-b": hall}}
    return demo_site(limit_kw, 20.0, **overrides)


def run(site: Site, cycles: int = 150, policy: str = "capped") -> tuple[Loop, dict[str, list[float]]]:
    """The loop after some cycles, and kWh put off in the last 5 s of each by class over both halls."""
    loop, put_off = Loop(site, policy), {"batch": [], "training": []}
    for _ in range(cycles):
        loop.cycle(TIGHT)
        for name, rows in put_off.items():
            rows.append(sum(d.work[name].deferred_kwh for d in loop.plant.clusters))
    return loop, put_off


def test_a_class_whose_tier_is_used_up_is_cut_last_and_the_limit_holds_as_before() -> None:
    (plain, before), (loop, put_off) = run(tiered()), run(tiered(batch={"tier_loss": 0.1}))
    assert sum(before["batch"]) > 10.0 and sum(before["training"]) == 0.0  # without a tier batch bears it all
    assert sum(put_off["batch"][:10]) > 0.5 and sum(put_off["training"][:10]) == 0.0  # as long as its tier lasts it is cut first
    assert sum(put_off["batch"][-50:]) < 0.4 * sum(before["batch"][-50:])
    assert sum(put_off["training"]) > 0.4 * sum(before["batch"])
    assert loop.truth.over_s == plain.truth.over_s == 0.0
    assert sum(loop.truth.poc_kw) == pytest.approx(sum(plain.truth.poc_kw), rel=0.01)  # another class, the same import
    said = {s.reason for d in loop.decisions[-5:] for s in d.setpoints if s.command == "training_limit_kw"}
    assert any("batch, whose tier is used up" in reason for reason in said)


def test_a_billing_mean_is_held_by_the_classes_in_turn_and_by_those_used_up_last() -> None:
    site = tiered()
    loop = Loop(site, "capped")
    state = loop.cycle(TIGHT).state
    trends, batch = loop.controller.trend.update(state), frozenset({("hall-a", "batch"), ("hall-b", "batch")})

    def cut(over_kw: float, spent: frozenset[tuple[str, str]]) -> dict[str, dict[str, float]]:
        limits, left_kw = _cut(site, state, trends, {"hall-a": {}, "hall-b": {}}, over_kw, 1.2, "why", spent, recovery_only=False)
        assert left_kw <= 1e-6
        return {hall: {name: wish.kw for name, wish in own.items()} for hall, own in limits.items()}

    assert set(cut(24.0, frozenset())["hall-a"]) == {"batch"}
    assert set(cut(24.0, batch)["hall-a"]) == {"training"}
    assert set(cut(24.0, frozenset({("hall-a", "batch")}))["hall-b"]) == {"batch"}  # another hall's batch before training
    everything = sum(state.clusters[hall].classes[name].demand_kw for hall in ("hall-a", "hall-b") for name in ("batch", "training"))
    deep = cut(1.2 * 0.9 * everything, batch)
    assert deep["hall-a"]["training"] == deep["hall-b"]["training"] == 0.0 and deep["hall-a"]["batch"] < 1.0  # last, but cut


def test_where_both_are_used_up_or_none_has_a_tier_the_setpoints_are_those_of_before() -> None:
    plain, _ = run(tiered(), 40)
    both, _ = run(tiered(batch={"tier_loss": 0.0}, training={"tier_loss": 0.0}), 40)
    assert plain.controller.tiers.windows == {} and len(both.controller.tiers.spent) == 4
    for a, b in zip(plain.decisions, both.decisions, strict=True):
        assert [(s.asset, s.command, s.power_kw) for s in a.setpoints] == [(s.asset, s.command, s.power_kw) for s in b.setpoints]


def test_what_control_counts_is_what_the_plant_did() -> None:
    site = tiered(batch={"tier_loss": 0.3}, interactive={"tier_loss": 0.3}, training={"tier_loss": 0.3})
    loop = Loop(site, "capped")
    truth = {key: TierScore(site.clusters[0].classes[key[1]]) for key in loop.controller.tiers.windows}
    for k in range(150):
        asked = TIGHT if k % 50 < 30 else {"hall-a": even(300.0), "hall-b": even(100.0)}  # cut, then made up
        begin_s = loop.now.timestamp()
        loop.cycle(asked)
        for device in loop.plant.clusters:
            for name, w in device.work.items():  # the last of the cycle's four steps of 5 s stands for all
                missing = 4.0 * (w.deferred_kwh + w.throttled_kwh - w.recovered_kwh)
                truth[device.id, name].add(begin_s, 20.0, 4.0 * w.served_kwh + missing, missing)
    for key, score in truth.items():
        counted = loop.controller.tiers.windows[key]
        assert counted.allowed_kwh == pytest.approx(score.window.allowed_kwh, rel=0.03)
        assert counted.used == pytest.approx(score.window.used, abs=0.05)
    assert truth["hall-a", "batch"].window.used > 0.2


def test_an_operator_and_a_replay_report_see_how_much_of_each_tier_is_used() -> None:
    site = tiered(batch={"tier_loss": 0.1})
    loop, _ = run(site, 30)
    seen = encode_snapshot(loop.controller, loop.decisions[-1], loop.images[-1], {})
    hall = next(asset for asset in seen["assets"] if asset["id"] == "hall-a")
    assert hall["tier_used"]["batch"] == pytest.approx(loop.controller.tiers.used()["hall-a"]["batch"])
    assert f"{100 * hall['tier_used']['batch']:.0f} % of the tier of batch used" in _also("cluster", hall)
    (told,) = _tiers(seen["assets"]).samples[:1]
    assert told.labels == {"asset": "hall-a", "class": "batch"} and told.value == hall["tier_used"]["batch"]
    assert tier_lines({"tier_budget_used": {"batch": 0.8}, "tier_violations": 1}) == [
        "of what its tier allows, used in the worst window: batch 80 %; 1 times beyond it"
    ]
    assert tier_lines({"tier_budget_used": None, "tier_violations": None}) == []


def test_work_that_is_dropped_stays_missing_and_work_made_up_does_not() -> None:
    site = tiered(batch={"tier_loss": 0.25})
    state = Loop(site, "capped").cycle(TIGHT).state
    use, key = TierUse(site), ("hall-a", "batch")
    fresh_kw = 120.0 + sum(work.demand_kw for name, work in state.clusters["hall-a"].classes.items() if name != "batch")
    hall = replace(state.clusters["hall-a"], power_kw=270.0 + fresh_kw + 60.0, cap_kw=1080.0)
    trained = ClassState(state.clusters["hall-a"].classes["training"].demand_kw, 0.0, (0.0,) * 6)

    def at(minutes: float, backlog_kwh: float) -> float:
        classes = {**hall.classes, "training": trained, "batch": ClassState(120.0, backlog_kwh, (0.0,) * 6)}
        clusters = {**state.clusters, "hall-a": replace(hall, classes=classes)}
        use.update(replace(state, now=state.now + timedelta(minutes=minutes), clusters=clusters))
        return use.windows[key]._sums[2]

    at(0.0, 100.0)
    assert at(1.0, 102.0) == pytest.approx(2.0)
    assert at(2.0, 101.0) == pytest.approx(1.0)  # 60 kW beyond what came in may have made up 1 kWh in a minute
    assert at(3.0, 50.0) == pytest.approx(0.0)  # but not 51 kWh: they were dropped
    assert at(4.0, 450.0) == pytest.approx(2.0)  # of 120 kW no more than 2 kWh arrive in a minute: the reading before was none
    assert at(60.0, 490.0) == pytest.approx(2.0)  # nobody saw the hour between


def hall_at(at_s: float, backlog_kwh: float, power_kw: float, *, is_fresh: bool = True) -> Any:
    """Both halls of the site with 252 kW of batch alone coming in; hall-b is always seen."""
    hall = ClusterState(power_kw, 600.0, 1080.0, {"batch": ClassState(252.0, backlog_kwh, (backlog_kwh,) * 6)}, is_fresh)
    return SimpleNamespace(now=START + timedelta(seconds=at_s), clusters={"hall-a": hall, "hall-b": replace(hall, is_fresh=True)})


@given(st.integers(1, 600), st.integers(1, 60), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_a_hall_that_was_silent_for_up_to_ten_minutes_is_counted_as_if_it_had_been_seen(gap_s: int, step_s: int, share: float) -> None:
    """The work put off while one hall is silent counts for its tier, although the rest of the site went on."""
    site = tiered(batch={"tier_loss": 0.25})
    silent, seen, key = TierUse(site), TierUse(site), ("hall-a", "batch")
    for at_s in (*range(0, gap_s, step_s), gap_s):
        state = hall_at(at_s, share * 252.0 * at_s / 3600.0, 522.0 - share * 252.0)
        seen.update(state)
        hidden = replace(state.clusters["hall-a"], is_fresh=at_s in (0, gap_s))
        silent.update(SimpleNamespace(now=state.now, clusters={**state.clusters, "hall-a": hidden}))
    assert silent.windows[key]._sums == pytest.approx(seen.windows[key]._sums, abs=1e-6)
    assert silent.windows[key]._sums[2] == pytest.approx(share * 252.0 * gap_s / 3600.0, abs=1e-6)


def test_a_hall_that_was_silent_for_longer_is_not_counted_for_that_time() -> None:
    use = TierUse(tiered(batch={"tier_loss": 0.25}))
    for at_s, is_fresh in ((0, True), (5, True), (300, False), (606, True), (611, True)):
        use.update(hall_at(at_s, 252.0 * at_s / 3600.0, 270.0, is_fresh=is_fresh))
    assert use.windows["hall-a", "batch"]._sums == pytest.approx([10.0, 252.0 / 360.0, 252.0 / 360.0])


@pytest.mark.parametrize("step_s", [1, 5, 60, 300])
def test_a_drop_is_no_work_made_up_however_slow_the_cycle(step_s: int) -> None:
    """All power above idle does fresh work: nothing can have been made up when 50 kWh vanish."""
    use = TierUse(tiered(batch={"tier_loss": 0.25}))
    for at_s in range(0, 1201, step_s):
        use.update(hall_at(at_s, 50.0 if at_s < 600 else 0.0, 270.0 + 252.0))
    assert use.windows["hall-a", "batch"]._sums[2] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("step_s", [1, 5, 60, 300])
def test_fresh_work_that_is_put_off_leaves_room_to_make_up_older_work(step_s: int) -> None:
    """Of 300 kW of training a third is put off while its power makes up batch: what was made up is what was put off."""
    use = TierUse(tiered(batch={"tier_loss": 0.25}, training={"tier_loss": 0.25}))
    for at_s in range(0, 1201, step_s):
        moved = 100.0 * at_s / 3600.0
        state = hall_at(at_s, 50.0 - moved, 270.0 + 252.0 + 300.0)
        classes = {**state.clusters["hall-a"].classes, "training": ClassState(300.0, moved, (0.0,) * 6)}
        state.clusters["hall-a"] = replace(state.clusters["hall-a"], classes=classes)
        use.update(state)
    assert use.windows["hall-a", "batch"]._sums[2] == pytest.approx(-100.0 / 3.0)
    assert use.windows["hall-a", "training"]._sums[2] == pytest.approx(100.0 / 3.0)


def test_the_use_survives_a_restart_and_travels_to_the_planner() -> None:
    site = tiered(batch={"tier_loss": 0.1})
    loop, _ = run(site, 60)
    memory = json.loads(json.dumps(loop.controller.memory()))
    again = Controller(site, "capped", dict.fromkeys(site.assets, Mode.CONTROL), memory)
    assert again.tiers.used()["hall-a"] == pytest.approx(loop.controller.tiers.used()["hall-a"])
    assert again.tiers.used()["hall-a"]["batch"] > 0.9
    state = plan_state(site, loop.decisions[-1], None)
    told = PlanState.decode(json.loads(json.dumps(state.encode())))
    assert told.tier_past == state.tier_past
    past = PlanLoop(site).make_inputs(loop.now, told).tier_past["hall-a"]["batch"]
    assert past.held_kwh[-1] == pytest.approx(loop.controller.tiers.windows["hall-a", "batch"]._sums[2])
    assert past.hours[-1] <= 1.0 + 5.0 / 60.0 + 1e-6
    bad = {**state.encode(), "tier_past": {"hall-a": {"batch": [[0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]}}}
    with pytest.raises(ValueError, match="hours that rise"):
        PlanState.decode(bad)


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(-0.5, 1.0)), min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_a_window_holds_the_last_hour_and_forgets_the_rest(rows: list[tuple[float, float]]) -> None:
    window = TierWindow(KIND)
    for k, (arrived, share) in enumerate(rows):
        window.add(300.0 * k, 300.0, arrived, share * arrived)
    last = rows[-13:] if len(rows) > 13 else rows  # twelve whole buckets and the running one at most
    kept = rows[-len(window.encode()) :]
    assert 12 <= len(kept) <= len(last) or len(kept) == len(rows)
    assert window._sums[1:] == pytest.approx([sum(a for a, _ in kept), sum(a * s for a, s in kept)], abs=1e-6)
    again = TierWindow(KIND)
    again.restore(window.encode())
    assert (again.used, again.is_spent) == (pytest.approx(window.used), window.is_spent)


def test_a_score_counts_the_worst_whole_window_and_each_time_too_much_is_missing() -> None:
    score = TierScore(KIND)
    for k in range(72):  # six hours: nothing missing but for 30 minutes at 60 % in the third and in the fifth
        share = 0.6 if 24 <= k < 30 or 48 <= k < 54 else 0.0
        score.add(300.0 * k, 300.0, 10.0, 10.0 * share)
    score.close()
    assert score.violations == 2
    assert score.worst_used == pytest.approx(0.6 * 0.5 / 0.25, rel=0.1)
    short = TierScore(KIND)
    short.add(0.0, 300.0, 10.0, 2.0)
    short.close()  # a run shorter than a window
    assert short.violations == 0 and short.worst_used == pytest.approx(2.0 / 10.0 / 0.25 / 12.0)
