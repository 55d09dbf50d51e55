"""The self-tests of a led plant and of generators in closed loop with the simulated site: what they prove, what ends them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ems.control.selftest import STEP_SHARE
from ems.control.selftest_supply import STEP_K
from ems.errors import EmsError
from ems.guard.trust import Trust
from ems.messages import Mode, Order, OrderKind
from ems.reading import Reading
from ems.site.model import Site
from ems.state.estimate import LOCKED_OUT
from ems.state.image import SiteImage
from tests.assets.generator_site import DIESEL, GAS, SMR
from tests.assets.generator_site import site_with as machine_site
from tests.assets.test_cooling import site_with as cooled_site
from tests.control.loop import START, Loop, even

CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}
BUSY = {"hall-a": even(480.0), "hall-b": even(240.0)}
COOLED = cooled_site(supply_lowest_c=18, has_economiser=False)
PLANT = COOLED.coolings[0].plant


def order(asset: str, kind: OrderKind = OrderKind.SELF_TEST) -> tuple[str, dict[str, Any]]:
    return "order", Order(kind, asset, "Ada", "commissioning", START).encode()


def observed(site: Site, dew_c: float = 12.0) -> Loop:
    loop = Loop(site, "capped", dict.fromkeys(site.assets, Mode.OBSERVE), temp_c=30.0)
    loop.dew_c = dew_c
    loop.run(20, lambda k: CALM)
    return loop


def report_of(loop: Loop, asset: str, seconds: int) -> dict[str, Any]:
    """The report of a test ordered now. Nothing but this device is written meanwhile."""
    assert loop.cycle(CALM, [order(asset)]).acknowledged == (f"self-test of {asset} by Ada begins",)
    for _ in range(seconds):
        decision = loop.cycle(CALM)
        assert all(s.asset == asset for s in decision.written)
        if loop.controller.commissioning.reports:
            return dict(loop.controller.commissioning.reports[0])
    raise AssertionError("no report")


def sent(loop: Loop) -> list[float]:
    return [s.power_kw for d in loop.decisions for s in d.written if s.command == "supply_setpoint_c"]


def test_a_led_plant_proves_identity_read_back_sign_and_lease_with_half_a_kelvin():
    loop = observed(COOLED)
    report = report_of(loop, "cooling-1", 1300)
    assert report["is_passed"] and report["step_k"] == pytest.approx(-STEP_K, abs=0.06), report
    assert {what for what, is_proven, _ in report["findings"] if is_proven} == {"identity", "read-back", "sign", "lease"}
    assert PLANT is not None and min(sent(loop)) >= max(PLANT.supply_temp_c - STEP_K, PLANT.coldest_c(12.0)) - 1e-9
    loop.cycle(CALM)
    assert loop.controller.commissioning.trust.records["cooling-1"].state is Trust.PROVEN
    assert loop.truth.over_s == 0.0 and loop.field.refused == 0


@pytest.mark.parametrize(("fault", "failed"), [("reject", ""), ("ignores", "sign"), ("no_lease", "lease")])
def test_a_plant_that_fails_is_refused_control_and_the_report_says_why(fault: str, failed: str):
    loop = observed(COOLED)
    loop.plant.devices["cooling-1"].inject(fault, loop.now.timestamp() + 3000.0)
    report = report_of(loop, "cooling-1", 1400)
    assert not report["is_passed"] and (not failed or failed in {w for w, is_proven, _ in report["findings"] if is_proven is False}), report
    if failed:
        go = ("order", Order(OrderKind.MODE, "cooling-1", "Ada", "go", START, Mode.CONTROL).encode())
        assert "failed its self-test" in loop.cycle(CALM, [go]).acknowledged[0]


def test_where_the_dew_point_leaves_no_room_nothing_is_written():
    loop = observed(COOLED, dew_c=22.5)
    report = report_of(loop, "cooling-1", 40)
    assert not report["is_passed"] and "the dew point leaves" in report["why"] and sent(loop) == []


EVENT = {"id": "e", "kind": "import_limit", "kw": 1300.0, "end": "2024-08-20T00:00:00+00:00"}
ABORTS = {
    "event": "a grid event",
    "stop": "stop by Ada",
    "release all": "release by Ada",
    "leak": "shows water",
    "trip": "redundancy is not intact",
    "silent cooling-1": "",
    "silent ups-1": "redundancy is not intact",
    "lock-out": "locked out",
    "heat": "the heat moves",
}


@pytest.mark.parametrize("what", ABORTS)
@settings(max_examples=2, phases=(Phase.generate,))  # each example is minutes of a site: none is made smaller
@given(after=st.integers(12, 150))
def test_whenever_something_gets_in_the_way_the_plant_is_let_go_of_without_a_verdict(what: str, after: int):
    loop = observed(COOLED)
    loop.cycle(CALM, [order("cooling-1")])
    loop.run(after, lambda k: CALM)
    test = loop.controller.commissioning.test
    assert test is not None and test.stage.value in ("step", "hold") and sent(loop)
    reports = disturbed(loop, what)
    assert len(reports) == 1 and not reports[0]["is_passed"] and ABORTS[what] in reports[0]["why"], reports
    assert loop.decisions[-1].written == ()
    proof = loop.controller.commissioning.trust.records["cooling-1"].proof
    assert proof is None or (what == "silent cooling-1" and not proof.is_passed)
    assert PLANT is not None and all(PLANT.supply_temp_c - STEP_K - 1e-9 <= c <= PLANT.supply_temp_c for c in sent(loop))


def disturbed(loop: Loop, what: str) -> list[dict[str, Any]]:
    """The reports of the half minute after something happened."""
    news: list[tuple[str, dict[str, Any]]] = []
    if what == "event":
        news = [("event", {**EVENT, "start": loop.now.isoformat(), "notice_at": loop.now.isoformat()})]
    elif what in ("stop", "release all"):
        news = [order("cooling-1", OrderKind.STOP) if what == "stop" else order("all", OrderKind.RELEASE)]
    elif what == "lock-out":
        lock(loop, "cooling-1")
    elif what != "heat":
        fault, _, device = what.partition(" ")
        loop.plant.devices[device or "cooling-1"].inject(fault, loop.now.timestamp() + 3000.0)
    reports = []
    for k in range(30):
        loop.cycle(BUSY if what == "heat" else CALM, news if k == 0 else ())
        reports += loop.controller.commissioning.reports
    return reports


def lock(loop: Loop, device: str) -> None:
    image = loop.field.image

    def with_key(now: Any) -> SiteImage:
        seen = image(now)
        seen.readings[device] = {**seen.readings[device], "is_local": Reading(LOCKED_OUT, now)}
        return seen

    loop.field.image = with_key  # type: ignore[method-assign]


# -- generators -------------------------------------------------------------------------------------------------------------------------

LINK = {"page": "generic-generator", "host": "127.0.0.1", "port": 15030, "lease_s": 90}
MACHINES = machine_site(1450.0, smr_1={**SMR, "link": LINK}, gas_1=GAS, diesel_1=DIESEL)


def test_a_baseload_machine_proves_itself_by_a_step_towards_less_and_goes_back_by_its_lease():
    loop = observed(MACHINES)
    report = report_of(loop, "smr-1", 400)
    assert report["is_passed"] and 0.0 < report["step_kw"] <= STEP_SHARE * 300.0 + 1e-6, report
    assert {what for what, is_proven, _ in report["findings"] if is_proven} >= {"identity", "read-back", "sign", "lease"}
    loop.run(120, lambda k: CALM)
    assert loop.plant.devices["smr-1"].power_kw == pytest.approx(-300.0, abs=1.0)
    asked = {s.command for d in loop.decisions for s in d.written if s.asset == "smr-1"}
    assert asked == {"power_setpoint_kw"}  # it is never asked to start or stop


@pytest.mark.parametrize(("fault", "failed"), [("ignores", "sign"), ("no_lease", "lease"), ("wrong_sign", "")])
def test_a_machine_that_fails_is_refused_control(fault: str, failed: str):
    loop = observed(MACHINES)
    loop.cycle(CALM, [order("smr-1")])
    loop.run(5, lambda k: CALM)
    loop.plant.devices["smr-1"].inject(fault, loop.now.timestamp() + 3000.0)
    reports: list[dict[str, Any]] = []
    while not reports and loop.controller.commissioning.test is not None:
        loop.cycle(CALM)
        reports += loop.controller.commissioning.reports
    assert len(reports) == 1 and not reports[0]["is_passed"]
    assert not failed or failed in {w for w, is_proven, _ in reports[0]["findings"] if is_proven is False}, reports


@pytest.mark.parametrize(
    ("asset", "words"),
    [("gas-1", "runs on request only, and the end of its lease would stop it"), ("diesel-1", "runs in emergencies only")],
)
def test_a_machine_that_does_not_run_of_its_own_accord_is_refused_with_the_reason(asset: str, words: str):
    loop = observed(MACHINES)
    assert words in loop.cycle(CALM, [order(asset)]).acknowledged[0]


def test_a_machine_under_its_transfer_control_or_tripped_is_left_alone():
    for disturb in ("transfer", "trip"):
        loop = observed(MACHINES)
        loop.cycle(CALM, [order("smr-1")])
        loop.run(3, lambda k: CALM)
        machine = next(g for g in loop.plant.generators if g.id == "smr-1")
        machine.transfer(200.0) if disturb == "transfer" else machine.inject("trip", loop.now.timestamp() + 600.0)
        reports = []
        for _ in range(30):
            loop.cycle(CALM)
            reports += loop.controller.commissioning.reports
        assert len(reports) == 1 and not reports[0]["is_passed"] and loop.decisions[-1].written == ()
        assert any(words in reports[0]["why"] for words in ("carries load", "not running under load")), reports


def test_a_device_that_nothing_proves_is_still_refused_by_name():
    from ems.control.selftest import testable

    with pytest.raises(EmsError, match="house cannot be tested by a step"):
        testable(MACHINES, "house")
