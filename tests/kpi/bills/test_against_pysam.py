"""A non-leap year in standard time, billed by NREL's PySAM (UtilityRate5) and by us: equal within a cent, month by month."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from datetime import UTC, datetime

import numpy as np
import PySAM.Utilityrate5 as Utilityrate5
import pytest
from PySAM.UtilityRateTools import URDBv8_to_ElectricityRates

from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.lines import total
from ems.kpi.bills.metered import Metered
from ems.kpi.bills.urdb import urdb_tariff
from ems.site.tariff_build import build_tariff
from ems.site.tariff_schema import TariffFile
from tests.kpi.bills.rates import RATES

NEW_YEAR = datetime(2018, 1, 1, 6, tzinfo=UTC)  # a Monday, as PySAM's year begins; local time is UTC-6 all year
STANDARD_TIME = "Etc/GMT+6"
MONTH_BOUNDS = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) * 24


def load_kw(per_hour: int) -> np.ndarray:
    """A year of a data centre's import, with a few spikes that set peaks."""
    rng = np.random.default_rng(7)
    hour = np.arange(8760 * per_hour) / per_hour
    kw = 620 + 120 * np.sin(2 * np.pi * (hour - 9) / 24) + 90 * np.sin(2 * np.pi * (hour / 24 - 110) / 365) + rng.normal(0, 40, len(hour))
    kw[rng.integers(0, len(kw), 12)] += 250
    return np.maximum(kw, 50.0)


def pysam_year(rate: dict, kw: np.ndarray) -> tuple[float, np.ndarray]:
    """PySAM's bill of the year, and of each month."""
    model = Utilityrate5.new()
    model.Lifetime.assign({"analysis_period": 1, "inflation_rate": 0.0, "system_use_lifetime_output": 0})
    model.SystemOutput.assign({"gen": [0.0] * len(kw), "degradation": [0.0]})
    model.Load.load = kw.tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        rates = URDBv8_to_ElectricityRates(json.loads(json.dumps(rate)))  # it counts up in place, in rows that may be shared
    if rates["ur_enable_billing_demand"]:
        counts = rate.get("lookbackmonths", [True] * 12)
        # the helper writes every month's share into one shared row; [share in %, 1: the month's own peak counts]
        rates["ur_billing_demand_lookback_percentages"] = [[100.0 * rate["lookbackpercent"] * c, 1] for c in counts]
        rates["ur_yearzero_usage_peaks"] = [0.0] * 12
    model.ElectricityRates.assign({"rate_escalation": [0.0], **rates})
    model.execute(0)
    return model.Outputs.utility_bill_wo_sys_year1, np.array(model.Outputs.year1_monthly_utility_bill_wo_sys)


def our_year(rate: dict, kw: np.ndarray, interval_min: int):
    tariff = build_tariff(TariffFile.model_validate(urdb_tariff(rate)))
    return make_bills(tariff, "USD", STANDARD_TIME, Metered(NEW_YEAR, interval_min, kw))


@pytest.mark.parametrize("name", RATES)
def test_a_year_equals_pysam_within_a_cent(name: str) -> None:
    kw = load_kw(1)
    year, months = pysam_year(RATES[name], kw)
    ours = our_year(RATES[name], kw, 60)
    assert float(total(ours)) == pytest.approx(year, abs=0.01)
    assert np.array([float(b.total) for b in ours]) == pytest.approx(months, abs=0.01)


def test_the_comparison_tells_a_wrong_hour() -> None:
    kw = load_kw(1)
    rate = copy.deepcopy(RATES["time of use"])
    year, _ = pysam_year(rate, kw)
    shifted = our_year(rate, np.roll(kw, 1), 60)
    assert abs(float(total(shifted)) - year) > 1.0


def test_half_hourly_data_equals_pysam_too() -> None:
    kw = load_kw(2)
    name = "ratchet with windows"
    rate = {**RATES[name], "demandwindow": 30}
    year, _ = pysam_year(RATES[name], kw)
    assert float(total(our_year(rate, kw, 30))) == pytest.approx(year, abs=0.01)
