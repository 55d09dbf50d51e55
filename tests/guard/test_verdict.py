"""The verdict on its own: rules that the arbiter holds a second time must already hold here."""

from __future__ import annotations

from ems.control.decision import Decision
from ems.plan.plan import encode_plan
from ems.site.load import load_site
from tests.control.loop import ROOT, Loop, demo_site, even
from tests.control.plans import flat_plan


def decided(load_kw: float, ramp_kw_per_min: float | None = None) -> Decision:
    poc = {"ramp_limit_kw_per_min": ramp_kw_per_min} if ramp_kw_per_min else {}
    site = load_site(ROOT / "config/sites/demo-2mw.yaml", {"point_of_connection": poc, "assets": {"bess-1": {"power_kw": 1500.0}}})
    loop = Loop(site, "capped")
    demand = {"hall-a": even(load_kw), "hall-b": even(load_kw / 2)}
    loop.run(20, lambda k: demand)
    return loop.decisions[-1]


def test_all_storage_together_may_discharge_no_more_than_the_smallest_load_and_the_export_limit() -> None:
    verdict = decided(0.0).verdict
    discharge_kw = -sum(e.low_kw for e in verdict.storage.values())
    assert 0.0 < discharge_kw <= verdict.load_valley_kw + verdict.export_limit_kw
    assert verdict.storage["bess-1"].low_rule == "export limit"


def test_a_ramp_limit_bounds_the_import_while_it_is_the_tightest() -> None:
    free, ramped = decided(20.0).verdict, decided(20.0, 60.0).verdict
    assert free.limit_source != "ramp limit" and ramped.limit_source == "ramp limit"
    assert ramped.limit_kw < free.limit_kw


def test_a_discharge_counts_when_it_is_measured_and_a_charge_when_it_is_asked_for() -> None:
    """Told to discharge and to charge by turns: storage is counted at whichever of told and measured imports more."""
    loop, told = Loop(demo_site(), "plan"), 0.0
    for k in range(40):
        plan = encode_plan(flat_plan(loop.site, loop.now, -300.0 if k // 10 % 2 else 200.0))
        decision = loop.cycle({"hall-a": even(400.0), "hall-b": even(200.0)}, [("plan", plan)])
        measured_kw = decision.state.batteries["bess-1"].power_kw
        assert decision.verdict.storage_now_kw["bess-1"] == max(measured_kw, told if k else measured_kw)
        told = next(s.power_kw for s in decision.written if s.asset == "bess-1")
    assert told < 0.0
