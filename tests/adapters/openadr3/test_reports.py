"""When reports fall due, what they cover, and how far their numbers can be trusted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.openadr3.reports import Figure, Period, body_of, due
from ems.mailbox import Mailbox
from ems.office.figures import OfficeFigures
from ems.office.programs import RunPorts
from ems.plan.plan import encode_plan
from ems.program.channel import ChannelFile
from ems.program.heard import Ask
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW
from tests.program import test_offers
from tests.program.desks import World, desk_on

GIVEN = {"id": "dso", "profile": "openadr-3.1", "url": "https://vtn.example", "programs": {"Flex": "nonfirm-connection"}}
CHANNEL = ChannelFile.model_validate(GIVEN)
QUARTERS = tuple((NOW + n * 15 * MINUTE, NOW + (n + 1) * 15 * MINUTE) for n in range(4))


class Known:
    """Measured and planned power that is the minute of the hour at the start; half of the second quarter is missing, all of the third."""

    def demand_kw(self, period: Period) -> Figure | None:
        minute = (period[0] - NOW) / MINUTE
        return None if minute == 30 else Figure(minute, 0.5 if minute == 15 else 1.0)

    def forecast_kw(self, period: Period) -> Figure | None:
        return Figure(1000.0, half_width=80.0)

    def baseline_kw(self, event: str) -> float | None:
        return 1000.0

    def flexible_kw(self, period: Period, probability: float) -> float | None:
        return 300.0 * probability

    def storage(self) -> dict[str, float]:
        return {"energy_kwh": 500.0}

    def state_of(self, event: str) -> str:
        return "opted_out"


def covered(now: Any = NOW + 2 * HOUR, **descriptor: Any) -> list[tuple[int, int]]:
    ask = Ask("e1", "p1", 0, QUARTERS, {"payloadType": "DEMAND", **descriptor})
    return [(r.first, r.last) for r in due(ask, 1, now)]


@pytest.mark.parametrize(
    ("descriptor", "expected"),
    [
        ({}, [(0, 4)]),
        ({"startInterval": 1, "numIntervals": 1, "repeat": -1}, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ({"startInterval": 2, "numIntervals": 2, "repeat": 2}, [(0, 2), (2, 4)]),
        ({"startInterval": 2}, [(0, 2)]),
        ({"startInterval": 1, "numIntervals": 1, "frequency": 2, "repeat": -1}, [(0, 1), (2, 3)]),
        ({"historical": False}, [(0, 4)]),
        ({"historical": False, "startInterval": 1, "numIntervals": 2}, [(1, 3)]),
        ({"startInterval": "one", "numIntervals": True, "repeat": None}, [(0, 4)]),
        ({"startInterval": 9}, []),
    ],
)
def test_a_descriptor_says_which_intervals_are_reported_when_all_is_over(descriptor: dict[str, Any], expected: list[tuple[int, int]]):
    assert covered(**descriptor) == expected


def test_nothing_is_reported_before_it_is_due_and_a_forecast_at_once():
    assert covered(NOW + 59 * MINUTE) == [] and covered(NOW + 60 * MINUTE) == [(0, 4)]
    assert covered(NOW + 31 * MINUTE, startInterval=1, numIntervals=1, repeat=-1) == [(0, 1), (1, 2)]
    assert covered(NOW, historical=False) == [(0, 4)] and covered(NOW - MINUTE, historical=False) == []


def body(kind: str, **descriptor: Any) -> dict[str, Any]:
    ask = Ask("e1", "p1", 0, QUARTERS, {"payloadType": kind, **descriptor})
    found = body_of(next(iter(due(ask, 1, NOW + 2 * HOUR))), CHANNEL, Known(), "dso:e1")
    assert found is not None
    return found


def values(found: dict[str, Any]) -> list[list[tuple[str, Any]]]:
    return [[(p["type"], p["values"][0]) for p in i["payloads"]] for i in found["resources"][0]["intervals"]]


def test_what_is_missing_is_told_and_never_zero():
    assert values(body("DEMAND")) == [
        [("DEMAND", 0.0)],
        [("DEMAND", 15.0), ("DATA_QUALITY", "ESTIMATED")],
        [("DATA_QUALITY", "MISSING")],
        [("DEMAND", 45.0)],
    ]
    assert [v[0][1] for v in values(body("DATA_QUALITY"))] == ["OK", "ESTIMATED", "MISSING", "OK"]
    assert body("DEMAND")["payloadDescriptors"][0] | {} == {
        "objectType": "REPORT_PAYLOAD_DESCRIPTOR",
        "payloadType": "DEMAND",
        "units": "KW",
        "readingType": "MEAN",
        "confidence": 50,
    }


def test_energy_is_power_times_time_and_a_change_is_against_the_baseline():
    assert values(body("USAGE"))[3] == [("USAGE", 11.25)] and values(body("DELTA_USAGE"))[3] == [("DELTA_USAGE", -238.75)]
    assert values(body("OPERATING_STATE"))[0] == [("OPERATING_STATE", "RUNNING_OPTED_OUT")]


def test_a_forecast_carries_its_band_and_an_offer_its_probability():
    forecast = body("USAGE_FORECAST", historical=False)
    assert values(forecast)[0] == [("USAGE_FORECAST", 250.0)]
    assert {k: forecast["payloadDescriptors"][0][k] for k in ("accuracy", "confidence", "readingType")} == {
        "accuracy": 20.0,
        "confidence": 80,
        "readingType": "FORECAST",
    }
    offered = body("LOAD_SHED_DELTA_AVAILABLE", historical=False)
    assert values(offered)[0] == [("LOAD_SHED_DELTA_AVAILABLE", 270.0)] and offered["payloadDescriptors"][0]["confidence"] == 90


def test_a_payload_we_do_not_have_is_no_report():
    ask = Ask("e1", "p1", 0, QUARTERS, {"payloadType": "WATER_LEVEL"})
    assert body_of(next(iter(due(ask, 1, NOW + 2 * HOUR))), CHANNEL, Known(), "dso:e1") is None


def test_the_running_office_forecasts_from_its_plan_and_says_what_it_does_not_know(tmp_path: Path):
    mailbox = Mailbox(tmp_path / "mailbox.db", busy_ms=2000)
    now = test_offers.NOW
    plan = test_offers.plan(spread_kw=60.0, import_kw=1100.0)
    mailbox.post("plan", encode_plan(plan), now, now + HOUR)
    ports = RunPorts(test_offers.SITE, mailbox, None)  # type: ignore[arg-type]
    figures = OfficeFigures(ports, desk_on(tmp_path / "programs.db", World()), mailbox, now)
    found = figures.forecast_kw((now + timedelta(minutes=30), now + timedelta(minutes=90)))
    assert found is not None and (round(found.value, 6), round(found.half_width or 0, 6)) == (1100.0, 60.0 * len(test_offers.SITE.clusters))
    assert figures.forecast_kw((now, now + 30 * HOUR)) is None and figures.forecast_kw((now - HOUR, now)) is None
    assert (figures.flexible_kw((now, now + HOUR), 0.9) or 0.0) > 0.0 and figures.storage() == {} and figures.baseline_kw("x") is None
