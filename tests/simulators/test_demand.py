"""Demand from tables and from the generator, whose statistics are held beside the measured ones."""

import numpy as np
import pandas as pd
import pytest

from simulators.demand import MEASURED, DemandSeries, GeneratedDemand, TableDemand, generated_statistics, request_rate, statistics
from tests.simulators.sites import two_mw_site

START_S = 1_724_040_000.0


def test_the_measured_figures_in_the_text_are_those_of_the_traces(data_dir) -> None:
    for name, file in (("ServeGen m-small", "servegen_m-small_14d_10min"), ("ServeGen m-large", "servegen_m-large_first10d_10min")):
        rate = pd.read_parquet(data_dir / "ai_requests" / f"{file}.parquet").requests_per_s
        measured = statistics(rate.replace(0.0, np.nan).ffill().to_numpy())
        assert measured == pytest.approx(MEASURED[name], rel=0.02)


def test_generated_load_varies_as_much_as_measured_load_does() -> None:
    rows = [generated_statistics(seed) for seed in range(1, 6)]
    median = {key: float(np.median([row[key] for row in rows])) for key in MEASURED["ServeGen m-small"]}
    for key, band in {"cv": 0.15, "lag1": 0.06, "peak_to_mean": 0.2, "q995_to_mean": 0.15, "q05_to_mean": 0.15}.items():
        low, high = sorted(row[key] for row in MEASURED.values())
        assert low * (1 - band) <= median[key] <= high * (1 + band), key
    assert all(0.2 < row["cv"] < 0.45 and 1.8 < row["peak_to_mean"] < 5.5 for row in rows)
    assert all(row["mean"] == pytest.approx(1.0, abs=0.15) for row in rows)


def test_ten_second_texture_is_as_rough_as_a_measured_service() -> None:
    windows = request_rate(3, "hall-a", START_S + np.arange(8640.0) * 10.0).reshape(-1, 60)
    assert 0.15 < (windows.std(axis=1) / windows.mean(axis=1)).mean() < 0.25  # Azure conversation: 0.20


def test_generated_demand_depends_on_seed_cluster_and_time_alone() -> None:
    site = two_mw_site()
    one, other = GeneratedDemand(site, 7), GeneratedDemand(site, 7)
    instants = [START_S + 7 * i for i in range(0, 3000, 100)]
    assert [one.at(t) for t in instants] == [other.at(t) for t in reversed(instants)][::-1]
    assert GeneratedDemand(site, 8).at(START_S) != one.at(START_S)
    assert one.at(START_S)["hall-a"] != one.at(START_S)["hall-b"]


def test_training_dips_at_its_checkpoints() -> None:
    site = two_mw_site()
    training = GeneratedDemand(site, 7).series(site.clusters[0], START_S + np.arange(360.0) * 10.0).training_kw / 126.0
    assert np.median(training) == pytest.approx(0.9, abs=0.05)
    assert training.min() < 0.8
    assert 6 <= (training < 0.82).sum() <= 72  # three jobs, two checkpoints of a minute each in the hour


def test_a_table_holds_each_row_for_its_step_and_the_ends_beyond() -> None:
    column = np.array([1.0, 2.0, 3.0])
    table = TableDemand(100.0, 10.0, {"hall-a": DemandSeries(*(column * k for k in (1, 2, 3, 4, 5)))})
    assert [table.at(t)["hall-a"].interactive_kw for t in (0.0, 100.0, 109.9, 110.0, 129.0, 500.0)] == [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]
    assert table.at(110.0)["hall-a"] == (2.0, 4.0, 6.0, 8.0, 10.0)


def test_tables_of_unequal_length_are_refused() -> None:
    rows = {"hall-a": DemandSeries(*[np.ones(2)] * 5), "hall-b": DemandSeries(*[np.ones(3)] * 5)}
    with pytest.raises(ValueError, match="one common length"):
        TableDemand(0.0, 10.0, rows)
