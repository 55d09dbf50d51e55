"""Prices, weather and carbon of a scenario: what is known when, and what happens to rows that cannot be used."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ems.errors import DataError
from ems.replay.scenario import Scenario, load_scenario
from ems.replay.signals import read_signals, truth
from ems.replay.world import build_world
from tests.replay import made

CHICAGO = ZoneInfo("America/Chicago")


def scenario(folder: Path, **changes: str) -> Scenario:
    return load_scenario(made.write_scenario(folder, **changes))


def test_a_real_time_price_is_known_at_the_end_of_its_interval_and_a_day_ahead_price_the_day_before(tmp_path: Path):
    made.write_prices(tmp_path / "da.csv", made.START - timedelta(days=2), 60, 60)
    signals = read_signals(scenario(tmp_path, day_ahead='{path: da.csv, currency: USD, known_at: "13:30", time_zone: America/Chicago}'))
    for row in signals.price_rows:
        if row.source == "real_time":
            assert row.available_at == row.valid_to == row.valid_from + timedelta(minutes=15)
        else:
            local = row.available_at.astimezone(CHICAGO)
            assert (local.hour, local.minute) == (13, 30)
            assert local.date() == row.valid_from.astimezone(CHICAGO).date() - timedelta(days=1)


def test_a_price_known_at_the_interval_start_is_available_then(tmp_path: Path):
    signals = read_signals(scenario(tmp_path, prices="{path: prices.csv, currency: USD, known: interval_start}"))
    assert all(row.available_at == row.valid_from for row in signals.price_rows)


def test_stamps_at_interval_ends_are_turned_round(tmp_path: Path):
    starts = read_signals(scenario(tmp_path)).price_rows
    ends = read_signals(scenario(tmp_path, prices="{path: prices.csv, currency: USD, label: end}")).price_rows
    assert ends[0].valid_from == starts[0].valid_from - timedelta(minutes=15)


def test_prices_with_gaps_duplicates_backward_and_absurd_rows_are_counted_and_never_zero(tmp_path: Path):
    path = made.write_scenario(tmp_path)
    head, *rows = (tmp_path / "prices.csv").read_text().splitlines()
    middle = next(i for i, row in enumerate(rows) if row.startswith(made.START.isoformat()))
    del rows[middle + 1 : middle + 3]  # a gap inside the window
    rows[middle + 3] = rows[middle + 3].split(",")[0] + ",99999999"
    rows[middle + 4] = rows[middle + 4].split(",")[0] + ","
    rows[middle + 5] = rows[middle + 5].split(",")[0] + ",-250"
    rows.insert(5, rows[4])
    rows[10], rows[11] = rows[11], rows[10]
    (tmp_path / "prices.csv").write_text("\n".join([head, *rows]) + "\n")
    world = build_world(load_scenario(path), 7)
    quality = world.quality["prices"]
    assert quality | {"gaps": 2, "duplicates": 1, "backward": 1, "absurd": 1, "blank": 1} == quality
    assert quality["steps_without_price"] > 0
    assert (world.price != 0).all()
    assert world.price.min() == pytest.approx(-0.25), "a negative price is a price"


def test_a_step_without_any_price_takes_the_day_ahead_price_else_the_last_one():
    class Covering:
        def __init__(self, low: float, high: float, value: float):
            self.low, self.high, self.value = low, high, value

        def at(self, points: np.ndarray) -> np.ndarray:
            return np.where((points >= self.low) & (points < self.high), self.value, np.nan)

    values, missing = truth(Covering(0, 2, 0.03), Covering(2, 4, 0.05), np.arange(6.0), 0.9)  # type: ignore[arg-type]
    assert values.tolist() == [0.03, 0.03, 0.05, 0.05, 0.05, 0.05]
    assert missing == 4


def test_a_typical_year_is_read_by_local_standard_hour(tmp_path: Path):
    rows = "\n".join(f"{h},-6,{h % 24}" for h in range(8760))
    (tmp_path / "tmy.csv").write_text("hour_of_year_std,utc_offset_h,dry_bulb_c\n" + rows + "\n")
    world = build_world(scenario(tmp_path, weather="{path: tmy.csv, format: tmy}"), 7)
    assert world.temp_c[0] == 23.0, "05:00 UTC is 23:00 standard time at UTC-6, daylight saving or not"
    assert world.temp_c[-1] == 0.0


def test_the_dew_point_of_a_weather_file_is_the_plants_and_one_it_does_not_have_is_none(tmp_path: Path):
    rows = "\n".join(f"{h},-6,{h % 24},{h % 24 - 3}" for h in range(8760))
    (tmp_path / "tmy.csv").write_text("hour_of_year_std,utc_offset_h,dry_bulb_c,dew_point_c\n" + rows + "\n")
    (tmp_path / "blank.csv").write_text("hour_of_year_std,utc_offset_h,dry_bulb_c,dew_point_c\n0,-6,20,\n")
    (tmp_path / "w.csv").write_text("time,t,dew\n" + "".join(f"{made.START + timedelta(hours=h - 2)},21,{h}\n" for h in range(8)))
    world = build_world(scenario(tmp_path, weather="{path: tmy.csv, format: tmy}"), 7)
    assert world.dew_point_c is not None and (world.dew_point_c == world.temp_c - 3.0).all()
    assert build_world(scenario(tmp_path, weather="{path: blank.csv, format: tmy}"), 7).dew_point_c is None
    named = build_world(scenario(tmp_path, weather="{path: w.csv, columns: {temp_c: t, dew_point_c: dew}}"), 7)
    assert named.dew_point_c is not None and named.dew_point_c[0] == 2.0
    assert build_world(scenario(tmp_path, weather="{path: w.csv, columns: {temp_c: t}}"), 7).dew_point_c is None


def test_weather_that_is_absurd_or_missing_holds_the_last_value(tmp_path: Path):
    begin = made.START - timedelta(hours=2)
    values = np.array([20.0, 21.0, 400.0, 22.0])
    made.write_prices(tmp_path / "w.csv", begin, 4, 60, values)
    world = build_world(scenario(tmp_path, weather="{path: w.csv, columns: {temp_c: price}}"), 7)
    assert world.quality["weather"]["absurd"] == 1
    assert set(world.temp_c) == {21.0, 22.0}


def test_a_carbon_hour_that_lost_most_of_its_plants_is_rejected(tmp_path: Path):
    begin = made.START - timedelta(hours=48)
    values = np.full(60, 400.0)
    values[49] = 47.0
    made.write_prices(tmp_path / "c.csv", begin, 60, 60, values)
    world = build_world(scenario(tmp_path, carbon="{path: c.csv, columns: {carbon: price}}"), 7)
    assert world.quality["carbon"]["absurd"] == 1
    assert world.carbon_g is not None and (world.carbon_g == 400.0).all()


def test_prices_of_another_year_are_an_error_and_not_a_silent_zero(tmp_path: Path):
    path = made.write_scenario(tmp_path)
    made.write_prices(tmp_path / "prices.csv", datetime(2019, 1, 1, tzinfo=UTC), 100)
    with pytest.raises(DataError, match="no usable row"):
        build_world(load_scenario(path), 7)


def test_naive_local_times_are_read_in_their_zone_and_the_hour_that_does_not_exist_is_counted(tmp_path: Path):
    start = datetime(2024, 3, 10, 6, tzinfo=UTC)
    naive = datetime(2024, 3, 8)
    rows = "\n".join(f"{(naive + timedelta(hours=i)).isoformat()},{30 + i % 24}" for i in range(72))
    path = made.write_scenario(tmp_path, start=start, prices="{path: local.csv, currency: USD, time_zone: America/Chicago}")
    (tmp_path / "local.csv").write_text("time,price\n" + rows + "\n")
    world = build_world(load_scenario(path), 7)
    assert world.quality["prices"]["unreadable_times"] == 1
    assert world.price[0] == pytest.approx(0.030), "06:00 UTC is local midnight"
    assert world.price[-1] == pytest.approx(0.031), "02:00 does not exist on this day"


def test_exports_at_a_market_price_beside_imports_at_a_fixed_one_are_refused(tmp_path: Path):
    """The account of a replay knows the price of imports alone: it would earn nothing for them and compare policies on wrong totals."""
    tariff = "{tariff: {energy: fixed, energy_price_per_kwh: 0.1, export_energy: real_time}}"
    with pytest.raises(DataError, match="cannot bill exports at a market price"):
        build_world(scenario(tmp_path, overrides=tariff), 7)
