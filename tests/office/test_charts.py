"""Rows of the charts, and powers in words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.office import words
from ems.office.charts import plan_rows, trail_rows
from ems.office.live import TRAIL, Live
from tests.office.given import START, Running


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


def live_of(running: Running) -> Live:
    live = Live(running.site, running.mailbox)
    live.look(running.now)
    return live


def test_a_step_is_drawn_to_its_end(running: Running):
    plan = running.plan()
    rows = plan_rows(live_of(running)) or {}
    assert rows["t"][0] == plan.starts[0].timestamp()
    assert rows["t"][-1] == plan.horizon.end.timestamp()
    assert {len(rows[k]) for k in ("t", "import_kw", "price", "load_q50", "load_q90")} == {193}
    assert rows["import_kw"][-1] == rows["import_kw"][-2]


def test_the_fan_is_the_forecast_summed_over_the_halls(running: Running):
    plan = running.plan()
    running.forecast(plan)
    rows = plan_rows(live_of(running)) or {}
    median = sum(row[0] for row in plan.load_q50_kw.values())
    assert rows["load_q10"][0] == pytest.approx(0.9 * median, abs=0.1)
    assert rows["load_q90"][0] == pytest.approx(1.1 * median, abs=0.1)


@pytest.mark.parametrize(
    "changes",
    [{"series": {}}, {"series": {"hall-a": 3}}, {"series": {"hall-a": {"starts": []}, "hall-b": {}}}],
)
def test_without_a_forecast_that_fits_the_plans_own_quantiles_are_drawn(running: Running, changes: dict[str, Any]):
    plan = running.plan()
    running.forecast(plan, **changes)
    rows = plan_rows(live_of(running)) or {}
    assert rows["load_q10"] is None
    assert rows["load_q90"][0] == pytest.approx(sum(row[0] for row in plan.load_q90_kw.values()), abs=0.1)


def test_stores_show_charge_in_percent_and_what_must_stay(running: Running):
    running.plan()
    bess, ups = (plan_rows(live_of(running)) or {})["stores"]
    assert (bess["id"], bess["soc"][0], bess["floor"], bess["is_reserve"]) == ("bess-1", 50.0, 5.0, False)
    assert ups["is_reserve"] and 60 < ups["floor"] < 70


def test_the_trail_is_the_last_half_hour_minutes_first_then_cycles(running: Running):
    running.minutes(45)
    live = Live(running.site, running.mailbox)
    live.remember_minutes(running.now)
    snapshot = running.cycle()
    live.look(running.now)
    rows = trail_rows(live)
    assert len(rows) == 31
    assert rows[0][0] == (START - TRAIL).timestamp() and rows[0][2] is None
    assert rows[-1][1:] == [round(snapshot["import_kw"], 1), 1370.0]


def test_a_trail_that_jumped_back_is_cut_there(running: Running):
    live = Live(running.site, running.mailbox)
    for k in (10, 20, 5):
        running.cycle(at=(START + timedelta(seconds=k)).isoformat())
        live.look(START)
    assert [row[0] - START.timestamp() for row in trail_rows(live)] == [5.0]


@pytest.mark.parametrize(
    ("kind", "power_kw", "battery_kw", "said"),
    [
        ("battery", -1850.4, None, "discharging 1,850 kW"),
        ("battery", 39.0, None, "charging 39 kW"),
        ("battery", 0.2, None, "idle"),
        ("ups", 41.0, 0.0, "idle"),
        ("ups", -160.0, -200.0, "discharging 200 kW"),
        ("cluster", 640.0, None, "drawing 640 kW"),
        ("battery", None, None, "unknown"),
    ],
)
def test_powers_are_told_in_words_and_magnitudes(kind: str, power_kw: float | None, battery_kw: float | None, said: str):
    assert words.doing(kind, power_kw, battery_kw) == said


@pytest.mark.parametrize(
    ("kind", "low", "high", "said"),
    [
        ("battery", -500.0, 500.0, ("discharging up to 500 kW", "charging up to 500 kW")),
        ("battery", 0.0, 0.0, ("no discharging", "no charging")),
        ("battery", -300.0, -100.0, ("discharging up to 300 kW", "discharging from 100 kW")),
        ("battery", 50.0, 80.0, ("charging from 50 kW", "charging up to 80 kW")),
        ("cluster", 270.0, 1080.0, ("from 270 kW", "to 1,080 kW")),
        ("cooling", None, None, ("", "")),
    ],
)
def test_an_allowed_interval_is_told_without_a_minus_sign(kind: str, low: float | None, high: float | None, said: tuple[str, str]):
    assert words.ends(kind, low, high) == said
