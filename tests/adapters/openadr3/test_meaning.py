"""What events mean: units, sign, several payloads, randomisation; and whatever an answer holds raises nothing."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openadr3.meaning import FAR, Notice, meaning_of
from ems.obligation import ObligationKind
from ems.program.channel import ChannelFile
from ems.program.heard import Heard
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW, event_body

GIVEN = {"id": "dso", "profile": "openadr-3.1", "url": "https://vtn.example", "programs": {"Flex": "nonfirm-connection"}}
EVENT_DESCRIPTOR = "EVENT_PAYLOAD_DESCRIPTOR"


def heard(kind: str, values: list[Any], channel: dict[str, Any] | None = None, program: dict[str, Any] | None = None, **more: Any) -> Heard:
    raw = {"id": "e1", "modificationDateTime": "2027-07-15T11:00:00Z", **event_body("flex", kind, values, **more)}
    holder = {"programName": "Flex", **(program or {})}
    return meaning_of(Notice(raw, holder, ChannelFile.model_validate({**GIVEN, **(channel or {})}), NOW, 1), json.dumps(raw))


def units(kind: str, unit: str) -> dict[str, Any]:
    return {"payloadDescriptors": [{"objectType": EVENT_DESCRIPTOR, "payloadType": kind, "units": unit}]}


@pytest.mark.parametrize(("unit", "value", "kw"), [("KW", 750000, 750000.0), ("MW", 750, 750000.0), ("W", 5e5, 500.0), (None, 12, 12.0)])
def test_powers_are_read_in_the_unit_that_is_said(unit: str | None, value: float, kw: float):
    said = units("IMPORT_CAPACITY_LIMIT", unit) if unit else {}
    assert heard("IMPORT_CAPACITY_LIMIT", [value], **said).limits[0].kw == kw
    assert heard("IMPORT_CAPACITY_LIMIT", [value], program=said).limits[0].kw == kw


def test_the_event_s_own_unit_goes_before_the_programme_s():
    found = heard("IMPORT_CAPACITY_LIMIT", [1], program=units("IMPORT_CAPACITY_LIMIT", "W"), **units("IMPORT_CAPACITY_LIMIT", "MW"))
    assert found.limits[0].kw == 1000.0


def test_a_relative_setpoint_reduces_by_the_sign_the_channel_says():
    negative = heard("DISPATCH_SETPOINT_RELATIVE", [-200]).event
    positive = heard("DISPATCH_SETPOINT_RELATIVE", [200], {"relative_is": "reduction"}).event
    assert negative and positive and negative.kind is ObligationKind.REDUCE_BY
    assert negative.intervals[0].kw == positive.intervals[0].kw == 200.0
    assert "asks for more import" in heard("DISPATCH_SETPOINT_RELATIVE", [200]).problem


def test_simple_levels_mean_what_the_channel_says_and_level_zero_nothing():
    event = heard("SIMPLE", [1, 0, 3], {"simple_levels_kw": [100, 200, 300]}).event
    assert event and [(i.start, i.kw) for i in event.intervals] == [(NOW + HOUR, 100.0), (NOW + 3 * HOUR, 300.0)]
    nothing = heard("SIMPLE", [0, 0], {"simple_levels_kw": [100]}).event
    assert nothing and nothing.is_cancelled


def test_of_several_dispatch_payloads_the_richest_is_acted_on_and_they_are_never_summed():
    raw = event_body("flex", "SIMPLE", [2])
    raw["intervals"][0]["payloads"] += [
        {"type": "DISPATCH_SETPOINT", "values": [640]},
        {"type": "DISPATCH_SETPOINT_RELATIVE", "values": [-5]},
    ]
    channel = ChannelFile.model_validate({**GIVEN, "simple_levels_kw": [1, 2, 3]})
    event = meaning_of(Notice({"id": "e1", **raw}, {"programName": "Flex"}, channel, NOW, 1), "").event
    assert event and (event.kind, [i.kw for i in event.intervals]) == (ObligationKind.REDUCE_TO, [640.0])


def test_randomisation_may_go_both_ways_for_an_event_and_not_at_all_for_a_limit():
    period = {"start": "2027-07-15T13:00:00Z", "duration": "PT1H", "randomizeStart": "PT10M"}
    event = heard("DISPATCH_SETPOINT", [700], intervalPeriod=period).event
    assert event and event.spread_s == (-600.0, 600.0)
    shifted = event.shifted(300.0, is_hard=True)
    assert (shifted.start, shifted.end) == (NOW + HOUR, NOW + 2 * HOUR + 5 * MINUTE)  # a hard one never begins later nor ends earlier
    assert heard("IMPORT_CAPACITY_LIMIT", [700], intervalPeriod=period).limits[0].start == NOW + HOUR


def test_now_is_when_the_event_was_written_however_late_it_is_read():
    event = heard("DISPATCH_SETPOINT", [700], start="0001-01-01T00:00:00Z", length="PT3H").event
    assert event and (event.start, event.end) == (NOW - HOUR, NOW + 2 * HOUR)


def test_a_subscription_without_end_and_packed_prices():
    assert heard("IMPORT_CAPACITY_SUBSCRIPTION", [1200], length="P9999Y").subscriptions[0].end == FAR
    raw = event_body("flex", "PRICE", [0])
    raw["intervals"][0]["payloads"] = [{"type": "PRICE", "values": [50, 60, 70, 80]}]
    raw |= units("PRICE", "MWH")
    rows = meaning_of(Notice({"id": "e1", **raw}, {"programName": "Flex"}, ChannelFile.model_validate(GIVEN), NOW, 1), "").prices
    assert [(r.valid_from - NOW - HOUR, round(r.price_per_kwh, 6)) for r in rows] == [
        (n * timedelta(minutes=15), p) for n, p in enumerate((0.05, 0.06, 0.07, 0.08))
    ]


def test_an_alert_is_told_in_words():
    assert heard("ALERT_GRID_EMERGENCY", ["save power"]).alerts == ("ALERT_GRID_EMERGENCY from 2027-07-15 13:00 UTC: save power",)
    assert heard("IMPORT_CAPACITY_AVAILABLE", [300]).alerts == ("IMPORT_CAPACITY_AVAILABLE from 2027-07-15 13:00 UTC: 300",)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["P1D", "PT0S", "0001-01-01", "PRICE", "é", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "values", "start", "duration", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ["intervals", "intervalPeriod", "duration", "priority", "payloadDescriptors", "reportDescriptors", "modificationDateTime", "targets"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), JSON, JSON)
def test_whatever_stands_in_an_event_it_is_a_meaning_or_a_reason(broken: dict[str, Any], payload: Any, period: Any):
    raw = {"id": "e1", **event_body("flex", "DISPATCH_SETPOINT", [700])}
    raw["intervals"][0] |= {"payloads": [payload], "intervalPeriod": period}
    for content in ({**raw, **broken}, raw):
        found = meaning_of(Notice(content, {"programName": "Flex"}, ChannelFile.model_validate(GIVEN), NOW, 1), "")
        assert found.id == "dso:e1"
