"""The parts of the battery's results: every month is a valid scenario, a goal that is missed says NO, the yardstick looks at no future."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ems.replay.mismatch import ALL_WORSE_EVERY
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from tests.campaign.battery_yardstick import best, expected
from tests.campaign.results_battery import Month, months, per_day, scenario_text
from tests.campaign.results_battery_table import section
from tests.campaign.results_cases import iso


def test_every_month_is_a_valid_scenario_with_its_own_window_and_wear(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMS_DATA_DIR", str(data_dir))
    assert len({month.name for month in months()}) == len(months())
    for month in months()[::5]:
        path = tmp_path / "month.yaml"
        path.write_text(scenario_text(month))
        scenario = load_scenario(path)
        assert (scenario.model.start, scenario.model.end, scenario.model.seed) == (month.begin, month.end, month.seed)
        assert scenario.model.mismatch == 0.1 and scenario.model.prices is not None
        assert scenario.model.prices.known == f"interval_{month.known}"
        assert scenario.site.batteries[0].wear_price_per_kwh == (0.01 if month.wear else 0.0)
    assert sum(month.seed % ALL_WORSE_EVERY == 0 for month in months()) >= len(months()) / 3


def made(plan: float) -> dict[str, Any]:
    return {
        "code": "a",
        "plan": [plan] * 20,
        "bound": [100.0] * 19 + [900.0],
        "programme": 1400.0,
        "planner": {"fallbacks": 0},
        "limits": {"import_excursion_s": 0.0},
    }


def test_a_share_below_its_goal_says_no_and_a_part_of_the_months_only_so_far():
    wanted = [Month("nem", "start", 0), Month("nem", "start", 1)]
    low, part = section(wanted, {m: made(90.0) for m in wanted}, "a"), section(wanted, {wanted[0]: made(120.0)}, "a")
    assert "| nem-start | 2 of 2 | 70% | 64.3% | 90.0% | 50.0% | NO |" in low
    assert "| so far |" in part
    assert "| yes |" in section(wanted, {m: made(120.0) for m in wanted}, "a")


def test_days_sum_to_the_total_with_what_no_day_holds():
    assert sum(per_day(np.ones(96), 0.5, 100.0)) == pytest.approx(100.0) and len(per_day(np.ones(96), 0.5, 100.0)) == 2


def test_the_yardstick_charges_below_what_a_stored_kwh_is_worth_and_sells_above():
    levels = np.linspace(0.0, 2000.0, 41)
    for price, kw in ((0.05, 1000.0), (0.099, 0.0), (0.2, -1000.0)):
        assert best(np.array([1000.0]), levels, 0.1 * levels, price, 0.25, 1000.0, (0.938, 0.938), 0.0)[1][0] == kw


def test_the_yardstick_looks_at_no_future(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMS_DATA_DIR", str(data_dir))
    for market in ("ercot", "nem"):
        month = Month(market, "start", 1)
        path = tmp_path / "month.yaml"
        path.write_text(scenario_text(month).replace(iso(month.end), iso(month.begin + timedelta(days=3))))
        world = build_world(load_scenario(path), 31)
        steps, at_s = world.signals.price, (month.begin + timedelta(days=1)).timestamp()
        assert steps is not None
        before = expected(world, steps, at_s)
        steps.value[steps.begin_s >= at_s] = 9.0
        told = world.signals.day_ahead
        if told is not None:
            told.value[told.begin_s >= at_s + 24 * 3600.0] = 9.0
        assert (expected(world, steps, at_s) == before).all()
