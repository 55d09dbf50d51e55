"""The self-test of one device in closed loop with the simulated plant: what it proves, what ends it, what it never does."""

from __future__ import annotations

from typing import Any

import pytest

from ems.control.selftest import STEP_SHARE, Stage
from ems.guard.trust import Trust
from ems.messages import Mode, Order, OrderKind
from tests.control.loop import START, Loop, demo_site, even

CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}


def order(asset: str, kind: OrderKind = OrderKind.SELF_TEST) -> tuple[str, dict[str, Any]]:
    return "order", Order(kind, asset, "Ada", "commissioning", START).encode()


def observed(**modes: Mode) -> Loop:
    site = demo_site()
    loop = Loop(site, "capped", dict.fromkeys(site.assets, Mode.OBSERVE) | {k.replace("_", "-"): m for k, m in modes.items()})
    loop.run(20, lambda k: CALM)
    return loop


def report_of(loop: Loop, asset: str, seconds: int = 130) -> dict[str, Any] | None:
    """The report of a test ordered now, None when it did not end in time. Every setpoint written meanwhile stays within the step."""
    decision = loop.cycle(CALM, [order(asset)])
    assert decision.acknowledged == (f"self-test of {asset} by Ada begins",)
    for _ in range(seconds):
        decision = loop.cycle(CALM)
        assert all(s.asset == asset for s in decision.written)
        if loop.controller.commissioning.reports:
            return loop.controller.commissioning.reports[0]
    return None


@pytest.mark.parametrize(("asset", "rating_kw"), [("bess-1", 500.0), ("ups-1", 1600.0), ("hall-a", 1080.0)])
def test_a_sound_device_proves_identity_read_back_sign_and_lease_with_a_step_of_two_hundredths(asset: str, rating_kw: float):
    loop = observed()
    report = report_of(loop, asset)
    assert report is not None and report["is_passed"], report
    assert {what for what, is_proven, _ in report["findings"] if is_proven} >= {"identity", "read-back", "sign", "lease"}
    assert abs(report["step_kw"]) <= STEP_SHARE * rating_kw + 1e-6
    loop.cycle(CALM)
    assert loop.controller.commissioning.trust.records[asset].state is Trust.PROVEN
    assert loop.decisions[-1].written == ()


@pytest.mark.parametrize(
    ("fault", "failed", "words"),
    [("wrong_sign", "sign", "the wrong way"), ("ignores", "sign", "moved 0"), ("no_lease", "lease", "still holds"), ("reject", "", "")],
)
def test_a_device_that_fails_is_refused_control_and_the_report_says_why(fault: str, failed: str, words: str):
    loop = observed()
    loop.plant.devices["bess-1"].inject(fault, loop.now.timestamp() + 600.0)
    report = report_of(loop, "bess-1")
    assert report is not None and not report["is_passed"] and words in report["why"]
    assert failed in {what for what, is_proven, _ in report["findings"] if is_proven is False} or not failed
    refused = loop.cycle(CALM, [("order", Order(OrderKind.MODE, "bess-1", "Ada", "go", START, Mode.CONTROL).encode())])
    assert "failed its self-test" in refused.acknowledged[0]
    assert loop.controller.orders.modes["bess-1"] is Mode.OBSERVE


def test_a_test_begins_only_with_one_device_out_of_control_at_a_time():
    loop = observed(hall_b=Mode.CONTROL)
    refused = [loop.cycle(CALM, [order(a)]).acknowledged[0] for a in ("hall-b", "cooling-1", "nothing")]
    assert ["observe` first" in refused[0], "may not be led" in refused[1], "no asset nothing; there are" in refused[2]] == [True] * 3
    loop.cycle(CALM, [order("bess-1")])
    assert "is running; one device at a time" in loop.cycle(CALM, [order("ups-1")]).acknowledged[0]


@pytest.mark.parametrize(
    ("what", "words"),
    [("silent ups-1", "redundancy is not intact"), ("event", "a grid event"), ("stop", "stop by Ada"), ("local bess-1", "LOCAL")],
)
def test_whatever_stands_in_the_way_ends_the_test_without_a_verdict_and_nothing_more_is_written(what: str, words: str):
    loop = observed()
    loop.cycle(CALM, [order("bess-1")])
    loop.run(15, lambda k: CALM)
    assert [s.asset for s in loop.decisions[-1].written] == ["bess-1"]
    news: list[tuple[str, dict[str, Any]]] = []
    if what == "event":
        at = loop.now.isoformat()
        news = [
            ("event", {"id": "e", "kind": "import_limit", "kw": 1300.0, "start": at, "end": "2024-08-20T00:00:00+00:00", "notice_at": at})
        ]
    elif what == "stop":
        news = [order("bess-1", OrderKind.STOP)]
    else:
        fault, device = what.split()
        loop.plant.devices[device].inject(fault, loop.now.timestamp() + 600.0)
    reports = []
    for k in range(10):
        loop.cycle(CALM, news if k == 0 else ())
        reports += loop.controller.commissioning.reports
    assert len(reports) == 1 and words in reports[0]["why"]
    assert loop.decisions[-1].written == ()
    assert loop.controller.commissioning.trust.records["bess-1"].proof is None


def test_while_a_device_lets_go_nothing_ends_the_test_early():
    """Seen on a busy machine: the device lets go a moment before its lease as the controller counts it, or one reading comes late."""
    loop = observed()
    loop.cycle(CALM, [order("bess-1")])
    while (test := loop.controller.commissioning.test) is not None and test.stage is not Stage.LAPSE:
        loop.cycle(CALM)
    assert test is not None
    loop.plant.devices["bess-1"].inject("silent", loop.now.timestamp() + 8.0)
    reports = []
    for _ in range(90):
        loop.cycle(CALM)
        reports += loop.controller.commissioning.reports
    assert len(reports) == 1 and reports[0]["is_passed"], reports
