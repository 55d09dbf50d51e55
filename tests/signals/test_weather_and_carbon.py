"""Temperature and carbon intensity, from what was known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.signals.carbon import CarbonBook, CarbonRow
from ems.signals.weather import FORECAST, WeatherBook, WeatherRow

NOW = datetime(2024, 7, 3, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def observed(start: datetime, temp_c: float, source: str = "observed") -> WeatherRow:
    return WeatherRow(start, start + HOUR, start + HOUR, temp_c, source)


def weather(*rows: WeatherRow) -> WeatherBook:
    book = WeatherBook()
    book.add(rows)
    return book


def carbon(*rows: CarbonRow) -> CarbonBook:
    book = CarbonBook()
    book.add(rows)
    return book


def intensity(start: datetime, grams: float, source: str = "average") -> CarbonRow:
    return CarbonRow(start, start + HOUR, start + HOUR, grams, source)


def hourly(n: int) -> tuple[tuple[datetime, ...], tuple[float, ...]]:
    return tuple(NOW + HOUR * i for i in range(n)), (1.0,) * n


def daily_swing(last_hours_c: float = 0.0) -> list[WeatherRow]:
    hours = [NOW - HOUR * i for i in range(1, 60)]
    return [observed(h, 25.0 + 8.0 * np.sin(h.hour / 24 * 2 * np.pi) + last_hours_c * (h > NOW - HOUR * 4)) for h in hours]


def test_without_observations_the_declared_default_is_expected():
    assert WeatherBook(default_c=31.0).forecast(NOW, *hourly(2)) == pytest.approx([31.0, 31.0])


def test_one_observation_is_expected_to_last():
    book = weather(observed(NOW - HOUR, 33.0))
    assert book.forecast(NOW, *hourly(5)) == pytest.approx([33.0] * 5)
    assert book.at(NOW) == pytest.approx(33.0)


def test_a_warm_afternoon_is_expected_to_return_to_the_day_before():
    usual, warm = weather(*daily_swing()).forecast(NOW, *hourly(20)), weather(*daily_swing(4.0)).forecast(NOW, *hourly(20))
    above = warm[:20] - usual[:20]
    assert 3.0 < above[0] < 4.0
    assert above[18] < 0.5


def test_a_providers_forecast_is_preferred_from_when_it_is_known():
    issued = WeatherRow(NOW + HOUR, NOW + HOUR * 2, NOW, 40.0, FORECAST)
    later = WeatherRow(NOW + HOUR, NOW + HOUR * 2, NOW + HOUR, 50.0, FORECAST)
    assert weather(*daily_swing(), issued, later).forecast(NOW, *hourly(2))[1] == pytest.approx(40.0)


def test_weather_not_yet_observed_changes_nothing():
    poison = [observed(NOW + HOUR * i, 55.0) for i in range(-1, 40) if i != -1]
    clean, poisoned = weather(*daily_swing()), weather(*daily_swing(), *poison)
    assert (clean.forecast(NOW, *hourly(30)) == poisoned.forecast(NOW, *hourly(30))).all()


def test_an_absurd_or_missing_temperature_is_counted_and_left_out():
    book = weather(observed(NOW - HOUR * 2, 30.0), observed(NOW - HOUR, 999.0), observed(NOW - HOUR * 3, float("nan")))
    assert book.at(NOW) == pytest.approx(30.0)
    assert book.data_quality() == {"observed_absurd": 1, "observed_missing": 1, "observed_rows": 1}


def test_without_a_carbon_feed_there_is_no_forecast_rather_than_zero():
    assert CarbonBook().forecast(NOW, *hourly(2)) is None


def test_carbon_not_yet_known_changes_nothing():
    rows = [intensity(NOW - HOUR * i, 300.0 + i) for i in range(40, 0, -1)]
    poison = [intensity(NOW + HOUR * i, 900.0) for i in range(10)]
    assert (carbon(*rows).forecast(NOW, *hourly(5)) == carbon(*rows, *poison).forecast(NOW, *hourly(5))).all()


def test_a_sudden_fall_of_average_carbon_is_a_fault_and_a_lasting_one_is_not():
    usual = [intensity(NOW - HOUR * i, 380.0) for i in range(60, 30, -1)]
    fault = [intensity(NOW - HOUR * i, 47.0) for i in range(30, 26, -1)]
    back = [intensity(NOW - HOUR * i, 380.0) for i in range(26, 0, -1)]
    book = carbon(*usual, *fault, *back)
    assert book.data_quality()["jump"] == 4
    assert book.forecast(NOW, *hourly(24)).min() == pytest.approx(380.0)
    lasting = carbon(*usual, *(intensity(NOW - HOUR * i, 47.0) for i in range(30, 0, -1)))
    assert lasting.forecast(NOW, *hourly(2))[0] < 100.0


def test_marginal_carbon_may_fall_to_zero():
    rows = [intensity(NOW - HOUR * i, 300.0, "marginal") for i in range(40, 1, -1)] + [intensity(NOW - HOUR, 0.0, "marginal")]
    assert "jump" not in carbon(*rows).data_quality()


def test_a_day_dirtier_than_this_one_makes_no_negative_carbon():
    """Marginal intensity that falls from 300 to 0 within an hour of a day that was flat: what is expected of it ends at nothing."""
    before = [intensity(NOW - HOUR * i, 300.0 if i > 20 else 5.0, "marginal") for i in range(40, 0, -1)]
    dirty_then = [intensity(NOW - HOUR * 24 + HOUR * k, g, "marginal") for k, g in ((-1, 400.0), (0, 30.0), (1, 20.0))]
    expected = carbon(*before, *dirty_then).forecast(NOW, *hourly(6))
    assert expected is not None and expected.min() >= 0.0


def test_the_faults_of_a_real_carbon_feed_are_rejected_and_nothing_else(data_dir):
    import pandas as pd

    found = {}
    for name in ("pjm", "ciso", "erco"):
        table = pd.read_parquet(data_dir / f"carbon/{name}_mix_and_avg_carbon_1h_2022.parquet").set_index("t_utc")["avg_carbon_g_per_kwh"]
        found[name] = carbon(*(intensity(t.to_pydatetime(), v) for t, v in table.items())).data_quality().get("jump", 0)
    assert 4 <= found.pop("pjm") <= 6
    assert found == {"ciso": 0, "erco": 0}
