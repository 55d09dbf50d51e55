"""A month of stacked programmes: nothing is promised, counted or paid twice, no new billing peak; and the checks can say no."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.campaign.program_year import shown
from tests.campaign.year_calls import CALIFORNIA, TEXAS, calls_of
from tests.campaign.year_checks import CHECKS, accepted, faults_of
from tests.campaign.year_run import Year, run_year


@pytest.fixture(scope="module")
def july(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    year = run_year(CALIFORNIA, [7], 1, tmp_path_factory.mktemp("year"))
    yield year
    year.desk.store.close()


def test_a_month_under_five_programmes_of_california_is_sound(july: Year):
    assert not any((found := faults_of(july)).values()), found
    programs = {s.event.program for s in accepted(july)}
    assert {"pge-bip", "ca-elrp", "caiso-pdr", "nonfirm-connection"} <= programs
    assert any((s.result or {}).get("settlement") for s in accepted(july)) and any(s.opt == "out" for s in july.desk.events.values())


@pytest.mark.slow
def test_a_month_under_five_programmes_of_texas_is_sound_and_its_table_says_so():
    lines, faults = shown(TEXAS, [8], 1)
    assert not any(faults.values())
    text = "\n".join(lines)
    assert "| ercot-4cp |" in text and "coincident peak (4cp)" in text and text.count("| nothing |") == len(faults)


def test_the_calls_are_the_same_whenever_they_are_drawn_and_others_for_another_seed():
    months = range(1, 13)
    assert calls_of(CALIFORNIA, 2026, months, 1) == calls_of(CALIFORNIA, 2026, months, 1) != calls_of(CALIFORNIA, 2026, months, 2)
    drawn = calls_of(CALIFORNIA, 2026, months, 1)
    assert len({c.event.id for c in drawn}) == sum(c.calls_a_year for c in CALIFORNIA.callers)
    assert [c.at for c in drawn] == sorted(c.at for c in drawn)


def test_a_rebound_that_makes_the_month_s_peak_is_found(july: Year):
    worst = replace(july.quarters[1000], import_kw=1449.0, is_recovering=True)
    assert list(CHECKS["billing peaks"](replace(july, quarters=(*july.quarters[:1000], worst, *july.quarters[1001:]))))


def test_a_double_sale_a_used_up_counter_and_wrong_money_are_found(july: Year):
    one, other = (next(s for s in accepted(july) if s.event.program == p and s.result) for p in ("caiso-pdr", "ca-elrp"))
    sold = (one.feasibility or {}) | {"resources": {"bess-1": [900.0, 900.0]}}
    there = replace(other, event=replace(other.event, intervals=one.event.intervals), received_at=one.received_at + timedelta(minutes=1))
    result = dict(other.result or {})
    wrong = {**result, "settlement": {**result["settlement"], "expected": "1.23"}}
    longer = replace(other.event.intervals[0], end=other.event.intervals[0].start + timedelta(hours=61))
    cases = {
        "two that stand alone at one time": {other.event.id: replace(there, ended_at=one.ended_at)},
        "kW or kWh promised twice": {
            one.event.id: replace(one, feasibility=sold),
            other.event.id: replace(there, feasibility=sold, ended_at=None),
        },
        "counters of the programme files": {other.event.id: replace(other, event=replace(other.event, intervals=(longer,)))},
        "settlements that do not come out again": {other.event.id: replace(other, result=wrong)},
    }
    before = dict(july.desk.events)
    try:
        for check, changes in cases.items():
            july.desk.events = before | changes
            assert list(CHECKS[check](july)), check
    finally:
        july.desk.events = before
