"""Scores of forecasters on a series, each origin seeing only what was known then, beside the yardsticks on the same origins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ems.forecast.catalogue import load_forecaster, usual_leads
from ems.forecast.measures import Measures, measure
from ems.forecast.naive import DAY_S
from ems.forecast.protocol import LEVELS, Floats, Forecaster, History, Ints, history_of
from ems.forecast.yardsticks import NAIVE, linear_points, naive_points, own_error_quantiles

Q95 = LEVELS.index(0.95)
YARDSTICKS = (*NAIVE, "daily linear")
BLOCK_S = DAY_S / 2  # errors further apart count as independent, at most a quarter of the span


@dataclass(frozen=True)
class Series:
    """A series to be scored: interval means (NaN where missing), one per `step_s`; `low` and `high` are its bounds where known."""

    name: str
    values: Floats
    step_s: float
    unit: str
    high: float = np.inf
    low: float = 0.0
    first: int = 0  # cell number of the first value, for the calendar


@dataclass(frozen=True)
class Row:
    """One line of the table. `is_yardstick`: a naive point with the quantiles of its own errors. `peak_holds`: share of origins whose
    highest value up to the lead stays below the highest q95 up to it (of a yardstick: below the q95 of that lead)."""

    series: str
    unit: str
    lead_s: float
    forecaster: str
    is_yardstick: bool
    measures: Measures
    peak_holds: float = float("nan")


@dataclass(frozen=True)
class Issued:
    """`values[end, level, lead]` of one forecaster, NaN where none was made."""

    leads: Ints
    values: Floats


def issue_all(forecaster: Forecaster, history: History, first: int = 1) -> Issued:
    """What the forecaster says at the end of every cell, seeing nothing after it."""
    n = len(history.values)
    values = np.full((n + 1, len(LEVELS), len(forecaster.leads)), np.nan)
    for end in range(first, n + 1):
        values[end] = forecaster.update(history.until(history.first + end)).values
    return Issued(forecaster.leads, values)


def score_series(series: Series, names: Sequence[str], leads_s: Sequence[float], span: tuple[float, float] = (2 / 3, 1.0)) -> list[Row]:
    """Rows of every lead that is a whole number of cells and fits twice into the span: `names` of the catalogue, then the yardsticks."""
    return score_issued(series, replayed(series, names, leads_s, span), leads_s, span)


def replayed(series: Series, names: Sequence[str], leads_s: Sequence[float], span: tuple[float, float] = (2 / 3, 1.0)) -> dict[str, Issued]:
    """What each forecaster of the catalogue says at the end of every cell; it learns the usual leads and the scored ones."""
    history = history_of(series.values, series.step_s, series.first)
    wanted = [round(s / series.step_s) for s in leads_s if _fits(series, s, span)]
    leads = np.union1d(usual_leads(series.step_s), np.array(wanted, dtype=np.intp))
    return {name: issue_all(load_forecaster(name, leads, series.low, series.high), history) for name in names}


def score_issued(
    series: Series, issued: dict[str, Issued], leads_s: Sequence[float], span: tuple[float, float] = (2 / 3, 1.0)
) -> list[Row]:
    """Rows of forecasts already issued, beside the yardsticks on the same origins."""
    rows: list[Row] = []
    for lead_s in leads_s:
        if _fits(series, lead_s, span):
            lead = round(lead_s / series.step_s)
            columns = {name: i.values[:, :, int(np.searchsorted(i.leads, lead))] for name, i in issued.items()}
            columns |= yardsticks(series, lead)
            tops = {name: c[:, Q95] for name, c in columns.items()}
            tops |= {name: i.values[:, Q95, i.leads <= lead].max(axis=1) for name, i in issued.items()}
            rows += _rows(series, lead, columns, tops, span)
    return rows


def yardsticks(series: Series, lead: int) -> dict[str, Floats]:
    """`[end, level]` of every yardstick at one lead."""
    points = {f"{name} (own errors)": naive_points(name, series.values, lead, series.step_s) for name in NAIVE}
    points["daily linear (own errors)"] = linear_points(series.values, lead, series.step_s)
    return {name: own_error_quantiles(series.values, p, lead) for name, p in points.items()}


def targets(n: int, lead: int, span: tuple[float, float]) -> Ints:
    """Ends of history whose target lies in the span, and which lie in it themselves."""
    return np.arange(max(1, int(span[0] * n)), int(span[1] * n) - lead + 1)


def peaks_ahead(values: Floats, lead: int) -> Floats:
    """Per end of history the highest of the next `lead` values, NaN where one of them is missing or not there."""
    whole = np.append(values, np.full(lead, np.nan))
    highest: Floats = sliding_window_view(whole, lead).max(axis=1)
    return highest[: len(values) + 1]


def _rows(series: Series, lead: int, columns: dict[str, Floats], tops: dict[str, Floats], span: tuple[float, float]) -> list[Row]:
    ends = targets(len(series.values), lead, span)
    actual = series.values[ends + lead - 1]
    useful = {name: c for name, c in columns.items() if np.isfinite(c[ends]).any()}
    ok = np.isfinite(actual) & np.all([np.isfinite(c[ends]).all(axis=1) for c in useful.values()], axis=0)
    block = max(lead, round(BLOCK_S / series.step_s))
    peak = peaks_ahead(series.values, lead)[ends][ok]
    whole = np.isfinite(peak)

    def peak_holds(name: str) -> float:
        return float((peak[whole] <= tops[name][ends][ok][whole]).mean()) if whole.any() else float("nan")

    return [
        Row(
            series.name,
            series.unit,
            lead * series.step_s,
            name,
            name.endswith("(own errors)"),
            measure(actual[ok], c[ends][ok], block),
            peak_holds(name),
        )
        for name, c in useful.items()
        if ok.sum() >= 20
    ]


def _fits(series: Series, lead_s: float, span: tuple[float, float]) -> bool:
    lead = lead_s / series.step_s
    return lead >= 1.0 and abs(lead - round(lead)) < 1e-6 and 2 * lead <= (span[1] - span[0]) * len(series.values)
