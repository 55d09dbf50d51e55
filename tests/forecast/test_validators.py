"""Every fault has a name; what is refused becomes a marked estimate; what is merely unusual is taken."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ems.forecast.catalogue import load_forecaster
from ems.forecast.fault_scores import fault_rows
from ems.forecast.load_series import read
from ems.forecast.measures import Q10, Q90
from ems.forecast.table_checks import edge_alarms, ratio_alarms, seam_alarms, share_alarms, zone_alarms
from ems.forecast.validators import (
    CARBON,
    FREQUENCY,
    LOAD,
    TEMPERATURE,
    Rules,
    Validator,
    local_day_alarms,
    screened,
    stamp_alarms,
    unit_factor,
)
from tests.forecast.series_maker import STEP_S, daily

CALM = daily(3, noise=4.0)


def faults(values, rules=LOAD):
    history, alarms = screened(values, STEP_S, rules)
    return history, {a.name: a for a in alarms}


def broken(at, value):
    values = CALM.copy()
    values[at] = value
    return values


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [
        ("missing", broken(slice(200, 204), np.nan), 4),
        ("all zero", broken(slice(200, 206), 0.0), 6),
        ("out of range", broken(slice(200, 202), -5.0), 2),
        ("jump", broken(slice(200, 202), 9000.0), 2),
        ("flat line", broken(slice(200, 250), 640.0), 14),
    ],
)
def test_a_fault_is_named_with_its_window_and_replaced_by_a_marked_estimate(name, values, count):
    history, alarms = faults(values)
    assert set(alarms) == {name} and alarms[name].count == count
    marked = np.flatnonzero(history.is_estimate)
    assert len(marked) == count and np.isfinite(history.values).all()
    assert alarms[name].from_s == marked[0] * STEP_S and alarms[name].to_s == (marked[-1] + 1) * STEP_S
    assert abs(history.values[marked] - CALM[marked]).max() < 80.0


def test_a_clean_series_and_a_real_spike_pass():
    assert faults(CALM)[1] == {}
    history, alarms = faults(broken(slice(200, 204), 1100.0))
    assert alarms == {} and not history.is_estimate.any()


def test_a_series_that_is_often_zero_may_be_zero():
    values = np.where(np.arange(400) % 3 == 0, 0.0, 50.0)
    assert faults(values)[1] == {}


def test_a_new_level_is_taken_once_enough_cells_agree():
    values = CALM.copy()
    values[250:] += 2500.0
    history, alarms = faults(values)
    assert alarms["jump"].count == LOAD.confirm - 1
    assert not history.is_estimate[255:].any()


def test_a_change_of_unit_stays_refused_until_it_is_acknowledged():
    validator = Validator(LOAD, STEP_S)
    values = CALM.copy()
    values[250:] *= 1000.0
    for i, v in enumerate(values[:300]):
        validator.take(i * STEP_S, v)
    assert validator.alarms[-1].name in ("unit change", "missing share")
    assert "x 1000" in next(a for a in validator.alarms if a.name == "unit change").detail
    assert validator.history().is_estimate[250:].all()
    validator.acknowledge(1000.0)
    assert validator.take(300 * STEP_S, values[300])
    assert validator.history().values[-1] == pytest.approx(CALM[300])


def test_a_unit_is_told_from_a_level():
    assert unit_factor(1000.0) == 1000.0 and unit_factor(700.0) == 1000.0 and unit_factor(1 / 900.0) == 1e-3
    assert unit_factor(3.6) == 3.6
    assert [unit_factor(x) for x in (2.0, 5.0, 0.5, 0.0)] == [None] * 4


def test_a_day_with_too_much_missing_is_told_once():
    history, alarms = screened(broken(slice(200, 240), np.nan), STEP_S, LOAD)
    assert [a.name for a in alarms].count("missing share") == 1
    assert history.is_estimate.sum() == 40


def test_stamps_that_repeat_go_back_or_are_absent_are_named_and_change_nothing():
    validator = Validator(LOAD, STEP_S)
    for i, v in enumerate(CALM[:100]):
        validator.take(i * STEP_S, v)
    for stamp in (99 * STEP_S, 50 * STEP_S, math.nan):
        assert not validator.take(stamp, 1.0)
    assert [a.name for a in validator.alarms] == ["duplicate stamp", "backward stamp", "no stamp"]
    assert (validator.history().values == CALM[:100]).all()
    assert not Validator(FREQUENCY, 1.0).take(math.nan, 0.0)


def test_a_gap_in_the_stamps_is_missing_and_not_zero():
    validator = Validator(LOAD, STEP_S)
    for i in [*range(200), *range(210, 300)]:
        validator.take(i * STEP_S, CALM[i])
    history = validator.history()
    assert history.is_estimate[200:210].all() and history.values[200:210].min() > 300.0
    assert len(history.values) == 300


def test_a_wrong_clock_is_told_both_ways():
    validator = Validator(LOAD, STEP_S)
    for i, skew in enumerate((5.0, 4000.0, -5000.0)):
        validator.take(i * STEP_S, 500.0, (i + 1) * STEP_S + skew)
    assert [a.name for a in validator.alarms] == ["clock skew", "clock skew"] or validator.alarms[0].count == 2


def test_feeds_stamps_of_two_steps_are_told():
    stamps = [*np.arange(0, 36000, 1800.0), *np.arange(36000, 50000, 900.0)]
    assert {a.name for a in stamp_alarms(stamps)} == {"step change"}
    assert stamp_alarms(list(np.arange(10.0))) == []


def test_local_days_forced_to_24_hours_are_told():
    days = ["2016-03-27"] * 24 + ["2016-10-30"] * 24 + ["2016-10-31"] * 24
    hours = list(range(24)) * 3
    alarm = local_day_alarms(hours, days, ["2016-03-27"], ["2016-10-30"])[0]
    assert alarm.name == "dst" and alarm.count == 2
    assert local_day_alarms(hours[:23], days[:23], ["2016-03-27"], []) == []


def test_a_temperature_may_fall_and_a_carbon_intensity_of_nearly_nothing_may_not():
    rng = np.random.default_rng(3)
    temperature = 20 + 8 * np.sin(np.arange(96) / 24 * 6.28) + rng.normal(0, 0.3, 96)
    assert faults(temperature - np.where(np.arange(96) > 60, 6.0, 0.0), TEMPERATURE)[1] == {}
    carbon = 400 + 30 * np.sin(np.arange(96) / 24 * 6.28)
    carbon[60:64] = 47.0
    assert faults(carbon, CARBON)[1]["jump"].count == 4


def test_rules_without_bounds_refuse_only_what_is_missing():
    assert faults([1.0, -1e9, 1e9, np.nan], Rules(zero_is_gap=False))[1].keys() == {"missing"}


def test_wall_time_without_a_zone_and_edges_half_filled_are_told():
    assert [a.name for a in zone_alarms(True, 5)] == ["no zone"] and zone_alarms(False, 5) == []
    first, last = edge_alarms(1004.0, 2007.0, 10.0)
    assert (first.name, first.from_s, last.from_s) == ("partial", 1000.0, 2000.0)
    assert "60 %" in first.detail and "70 %" in last.detail
    assert edge_alarms(1000.0, 1999.999, 10.0) == []


def test_totals_of_which_little_is_known_are_told():
    stamps = np.arange(5) * 600.0
    alarm = share_alarms(stamps, np.array([0.9, 0.4, 0.14, np.nan, 0.8]))[0]
    assert (alarm.name, alarm.count, alarm.from_s, alarm.to_s) == ("partly known", 3, 600.0, 1800.0) and "0.14" in alarm.detail
    assert share_alarms(stamps, np.full(5, 0.5)) == []


def test_parts_of_other_years_and_figures_that_contradict_themselves_are_told():
    assert seam_alarms(np.arange(4) * 3600.0, [2005, 2005, 2011, 2003])[0].count == 2
    assert seam_alarms(np.arange(3) * 3600.0, [2005] * 3) == []
    alarm = ratio_alarms(np.array([50.0, 0.0, 90.0, np.nan]), np.array([51.0, 40.0, 50.0, 50.0]))[0]
    assert (alarm.name, alarm.count) == ("inconsistent", 2) and "0 to 1.8" in alarm.detail
    assert ratio_alarms(np.array([50.0]), np.array([np.nan])) == []


def test_a_temperature_that_falls_below_zero_is_no_jump():
    values = np.concatenate([np.linspace(12.0, 2.0, 40), np.linspace(1.0, -6.0, 12)]) + np.tile([0.1, -0.1], 26)
    assert faults(values, TEMPERATURE)[1] == {}


def test_the_faults_of_the_raw_feeds_are_flagged(data_dir):
    rows = {name: alarms for name, alarms, _ in fault_rows(data_dir)}
    assert "all zero 37" in rows["ServeGen m-small, requests"]
    assert rows["ServeGen m-large, requests"] == "none"
    assert "missing 23" in rows["carbon PJM 2022"] and "jump" in rows["carbon PJM 2022"]
    assert rows["temperature ERCOT 2024"] == "missing 1"
    assert "out of range 1" in rows["frequency 2024-09-04"]
    assert all("missing" in rows[f"frequency 2024-{d}"] and "duplicate stamp" in rows[f"frequency 2024-{d}"] for d in ("08-24", "09-04"))
    assert "missing share" in rows["GPU server cbsugpu05"] and "missing share" in rows["GPU server cbsugpu06"]
    assert rows["generation PJM 2022, sum of fuels"].endswith("jump 3, unit change 2")  # the same five hours as the carbon's jumps
    assert "step change" in rows["carbon GB 2020 (stamps)"] and "no zone" in rows["carbon GB 2020 (stamps)"]
    assert all("no zone" in rows[f"frequency {d} (stamps)"] for d in ("2024-08-24", "2024-09-04"))
    assert all("dst 4" in rows[f"day-ahead {m} (stamps)"] for m in ("DE", "PJM"))  # two years, two changes of the clock each
    assert all("partly known" in rows[f"ServeGen {size}, tokens"] for size in ("m-small", "m-large"))
    assert rows["Azure requests per 10 s"] == "partial 2" and "partial" in rows["Mooncake requests per 10 s"]
    assert all("spliced" in rows[f"typical year {place}"] for place in ("dallas", "leesburg_va"))
    assert "inconsistent" in rows["serving runs, energy per token"]


def test_the_widening_by_a_real_feeds_faults_ends_with_them(data_dir):
    rates = read(data_dir / "ai_requests" / "servegen_m-small_14d_10min.parquet")["requests_per_s"].to_numpy(dtype=float)
    history, alarms = screened(rates, 600.0, LOAD)
    window = next(a for a in alarms if a.name == "all zero" and a.count >= 3)
    begin, end = (round(s / 600.0) for s in (window.from_s, window.to_s))
    leads = np.array([1, 6])
    faulty, clean = (load_forecaster("persistence", leads, 0.0) for _ in range(2))
    unmarked = replace(history, is_estimate=np.zeros_like(history.is_estimate))
    widths = {}
    for at in range(begin - 300, end + 2):
        both = [f.update(h.until(at)) for f, h in ((faulty, history), (clean, unmarked))]
        widths[at] = [float(f.values[Q90, 0] - f.values[Q10, 0]) for f in both]
    assert widths[begin][0] == pytest.approx(widths[begin][1], rel=0.2)
    assert widths[end][0] > 1.5 * widths[begin][0]
    assert widths[end + 1][0] == pytest.approx(widths[end + 1][1], rel=0.3)
