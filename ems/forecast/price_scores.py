"""Scores of price, carbon and weather forecasts on real data, the last third of each series: `python -m ems.forecast.price_scores DIR`.

Every setting was chosen on the first two thirds; one code and one set of settings serve all series. Each origin sees what was known then: a
price from the end of its interval on, a day-ahead price from its publication on, a provider's forecast from its issue on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ems.errors import DataError
from ems.forecast.carbon import carbon
from ems.forecast.measures import Measures, measure
from ems.forecast.naive import DAY_S
from ems.forecast.price import RealTime, usual_day
from ems.forecast.price_dayahead import next_day
from ems.forecast.price_series import (
    MarketSeries,
    average_carbon,
    day_ahead_with_published,
    ercot_2024,
    irradiance_year,
    marginal_carbon,
    nem_victoria,
    temperature_2024,
)
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, Floats, Forecaster, Ints
from ems.forecast.renewable import Irradiance
from ems.forecast.yardsticks import NAIVE, naive_points

SPAN = (2 / 3, 1.0)
YARDSTICK_DAYS = 28.0  # ERCOT before its last third: 14, 28, 60 days and all give the day-ahead price 5.88 to 5.95 USD/MWh
HEAD = (
    "| series, lead | forecaster | MAE | against the best naive | goal | mean pinball | its yardstick | q10-q90 | q99 | MAE q10-q90 width |"
)


@dataclass(frozen=True)
class Line:
    """One line of the table: a forecaster at one lead, beside the best naive point and the yardstick quantiles."""

    series: str
    unit: str
    lead: str
    forecaster: str
    measures: Measures
    naive_mae: float
    naive_name: str
    yardstick_crps: float
    goal: str = ""
    is_reached: bool | None = None  # None without a goal

    @property
    def change(self) -> float:
        """MAE against the best naive's, as a share."""
        return self.measures.mae / self.naive_mae - 1.0

    def held_to(self, goal: str, is_reached: bool) -> Line:
        """The same line with a goal of its own."""
        return replace(self, goal=goal, is_reached=is_reached)

    def held_to_change(self, most: float | None) -> Line:
        """The same line with the goal that its MAE is below the best naive's by so much; None: no goal."""
        return self if most is None else self.held_to(f"MAE {most:+.0%}", self.change <= most)


def issue_every(
    series: MarketSeries, leads: Ints, forecaster: Forecaster, tell: Callable[[int], None] = lambda end: None, every: int = 1
) -> Floats:
    """`values[cells known, level, lead]` said after every `every`-th cell, NaN elsewhere."""
    history = series.history
    n = len(history.values)
    values = np.full((n + 1, len(LEVELS), len(leads)), np.nan)
    for end in range(every, n + 1, every):
        tell(end)
        values[end] = forecaster.update(history.until(history.first + end)).values
    return values


def score_lead(series: MarketSeries, name: str, lead: int, said: Floats, only: np.ndarray | None = None) -> Line:
    """The measures of `said[cells known, level]` at one lead over the span, of origins in `only`."""
    actual_all = series.history.values
    n, step_s = len(actual_all), series.history.step_s
    ends = np.arange(int(SPAN[0] * n), int(SPAN[1] * n) - lead + 1)
    if only is not None:
        ends = ends[only[ends]]
    points = {k: naive_points(k, actual_all, lead, step_s) for k in NAIVE}
    actual = np.where(series.history.is_estimate, np.nan, actual_all)[ends + lead - 1]
    ok = np.isfinite(actual) & np.isfinite(said[ends]).all(axis=1) & np.all([np.isfinite(p[ends]) for p in points.values()], axis=0)
    ends, actual = ends[ok], _clip(series, actual[ok])
    naive = {k: float(np.abs(actual - _clip(series, p[ends])).mean()) for k, p in points.items()}
    best = min(naive, key=lambda k: naive[k])
    block = max(lead, round(DAY_S / 2 / step_s))
    yardstick = measure(actual, _clip(series, own_error_quantiles(actual_all, points[best], lead, step_s)[ends]), block).crps
    label = _duration(lead * step_s)
    return Line(series.name, series.unit, label, name, measure(actual, _clip(series, said[ends]), block), naive[best], best, yardstick)


def ercot_lines(series: MarketSeries) -> Iterator[Line]:
    """Without and with the day-ahead price; with it on the origins at which the target's price is published, beside that price itself."""
    leads = np.array([1, 4, 16, 48, 96], dtype=np.intp)
    step_s = series.history.step_s
    plain = issue_every(series, leads, RealTime(leads, step_s, series.low, series.high))
    informed_forecaster = RealTime(leads, step_s, series.low, series.high)
    informed_forecaster.ahead = series.ahead
    informed = issue_every(series, leads, informed_forecaster)
    for i, lead in enumerate(leads):
        yield score_lead(series, "without day-ahead", int(lead), plain[:, :, i]).held_to_change(-0.20 if lead == 96 else None)
        published, only = day_ahead_points(series, int(lead))
        quantiles = own_error_quantiles(series.history.values, published, int(lead), step_s)
        theirs = score_lead(series, "day-ahead, own error quantiles", int(lead), _around(published, quantiles), only)
        ours = score_lead(series, "with day-ahead", int(lead), informed[:, :, i], only)
        gain = ours.measures.crps / theirs.measures.crps - 1.0
        goal = f"MAE {theirs.measures.mae:.2f}, pinball -5 % of the day-ahead's: {gain:+.1%}"
        yield ours.held_to(goal, ours.measures.mae <= theirs.measures.mae and gain <= -0.05)
        yield theirs
        yield score_lead(series, "with day-ahead where published, all origins", int(lead), informed[:, :, i])


def day_ahead_points(series: MarketSeries, lead: int) -> tuple[Floats, np.ndarray]:
    """Per origin the day-ahead price of the target (its true hour's), and at which origins it is published."""
    first, n = series.history.first, len(series.history.values)
    ends = np.arange(n + 1)
    cells = first + ends + lead - 1
    published = np.array([series.ahead.at(cells[i : i + 1], first + int(e))[0] for i, e in enumerate(ends)])
    ever = series.ahead.at(cells, 2**62)
    return ever, np.isfinite(published)


def _around(point: Floats, quantiles: Floats) -> Floats:
    """The yardstick's median is the point itself."""
    moved = quantiles.copy()
    moved[:, LEVELS.index(0.5)] = point
    return np.sort(moved, axis=1)


def plain_lines(series: MarketSeries, leads: dict[int, float | None]) -> Iterator[Line]:
    """A series from its own past and the calendar, goals per lead."""
    at = np.array(list(leads), dtype=np.intp)
    said = issue_every(series, at, usual_day(at, series.history.step_s, series.low, series.high))
    for i, (lead, goal) in enumerate(leads.items()):
        yield score_lead(series, "usual day", lead, said[:, :, i]).held_to_change(goal)


def next_day_lines(series: MarketSeries, goal: float) -> Iterator[Line]:
    """All hours of the next day from the end of the day before; the published forecasts beside it."""
    leads = np.arange(1, 25, dtype=np.intp)
    said = issue_every(series, leads, next_day(leads), every=24)
    n = len(series.history.values)
    by_target = np.full((n + 1, len(LEVELS)), np.nan)  # as a forecast at lead 24 of every hour, from the day before
    for end in range(24, n, 24):
        by_target[end - 23 : end + 1] = said[end].T
    yield score_lead(series, "next day", 24, by_target).held_to_change(goal)
    for name, values in series.published.items():
        point = np.append(values[23:], np.full(24, np.nan))
        yield score_lead(series, f"published {name} (also uses load and wind)", 24, np.repeat(point[:, None], len(LEVELS), axis=1))


def marginal_lines(series: MarketSeries) -> Iterator[Line]:
    """The blend beside its parents at every lead of the provider."""
    leads = series.provider_leads
    blend = carbon(leads, series.history.step_s, has_provider=True)
    first = series.history.first

    def tell(end: int) -> None:
        blend.provider.say(first + end, leads, series.provider[end - 1])

    said = issue_every(series, leads, blend, tell)
    for i, lead in enumerate(leads):
        provider = np.repeat(np.append(np.nan, series.provider[:, i])[:, None], len(LEVELS), axis=1)
        theirs = score_lead(series, "provider", int(lead), provider)
        ours = score_lead(series, "blend", int(lead), said[:, :, i])
        ratio = ours.measures.mae / min(theirs.measures.mae, ours.naive_mae)
        yield ours.held_to(f"MAE 1.01 of the better parent: {ratio:.3f}", ratio <= 1.01)
        yield theirs


def irradiance_lines(series: MarketSeries) -> Iterator[Line]:
    """Sun on the horizontal, from the clear-sky share of the days before."""
    leads = np.array([1, 3, 6, 24], dtype=np.intp)
    said = issue_every(series, leads, Irradiance(leads))
    for i, lead in enumerate(leads):
        yield score_lead(series, "clear-sky share", int(lead), said[:, :, i])


def carbon_lines(data_dir: Path) -> Iterator[Line]:
    """Average carbon of three operators."""
    for operator, name, hour, day in (("erco", "ERCOT", -0.30, -0.03), ("ciso", "CAISO", -0.30, -0.03), ("pjm", "PJM", None, None)):
        yield from plain_lines(average_carbon(data_dir, operator, name), {1: hour, 6: None, 24: day})


def all_lines(data_dir: Path) -> Iterator[Line]:
    """Every line of the table. Raises DataError where a file is not there."""
    yield from ercot_lines(ercot_2024(data_dir))
    yield from plain_lines(nem_victoria(data_dir), {1: None, 12: -0.08, 288: -0.10})
    yield from next_day_lines(day_ahead_with_published(data_dir, "de", "EUR/MWh"), -0.25)
    yield from next_day_lines(day_ahead_with_published(data_dir, "pjm", "USD/MWh"), -0.15)
    yield from carbon_lines(data_dir)
    yield from marginal_lines(marginal_carbon(data_dir))
    yield from plain_lines(temperature_2024(data_dir), {1: None, 6: None, 24: None})
    for place in ("dallas", "leesburg_va"):
        yield from irradiance_lines(irradiance_year(data_dir, place))


def own_error_quantiles(values: Floats, points: Floats, lead: int, step_s: float) -> Floats:
    """`[cells known, level]`: each point plus the quantiles of the last YARDSTICK_DAYS of its errors known then, read once a day."""
    day, kept = round(DAY_S / step_s), round(YARDSTICK_DAYS * DAY_S / step_s)
    quantiles = np.full((len(points), len(LEVEL_ARRAY)), np.nan)
    errors = values[lead - 1 :] - points[: len(values) - lead + 1]  # of the forecast made at each end; known `lead` cells later
    for end in range(2 * day + lead, len(points), day):
        known = errors[max(0, end - lead - kept) : end - lead + 1]
        known = known[np.isfinite(known)]
        if len(known):
            quantiles[end : end + day] = points[end : end + day, None] + np.quantile(known, LEVEL_ARRAY)
    return quantiles


def row(line: Line) -> str:
    """One row of the table."""
    m = line.measures
    goal = "" if line.is_reached is None else f"{line.goal}: {'reached' if line.is_reached else 'NOT REACHED'}"
    return (
        f"| {line.series}, {line.lead} | {line.forecaster} | {m.mae:.2f} {line.unit} | {line.change:+.1%} ({line.naive_name} "
        f"{line.naive_mae:.2f}) | {goal} | {m.crps / 2:.3f} | {line.yardstick_crps / 2:.3f} | {m.coverage:.3f} | "
        f"{m.coverage_q99:.3f} | {m.width:.1f} |"
    )


def _clip(series: MarketSeries, values: Floats) -> Floats:
    return np.clip(values, -series.clip, series.clip)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds % 3600 else f"{seconds / 3600:.0f} h"


def main(argv: list[str]) -> int:
    """Prints the table as it grows."""
    if len(argv) != 1:
        print("usage: python -m ems.forecast.price_scores DATA_DIR", file=sys.stderr)
        return 2
    try:
        print(HEAD, "|" + " --- |" * 10, sep="\n", flush=True)
        for line in all_lines(Path(argv[0])):
            print(row(line), flush=True)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
