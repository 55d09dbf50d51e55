"""Rolling-origin scores of the load forecaster beside the naive forecasts it must not be worse than."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from ems.errors import DataError
from ems.forecast.grid import CELL_S, CELLS_PER_DAY, Floats
from ems.forecast.load import LoadForecaster

SCORED_LEADS_MIN = (10, 60, 240, 1440)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)  # a series without a calendar is scored as if it began here


@dataclass(frozen=True)
class LeadScore:
    """Errors at one lead over the origins that every method could serve. MAE and pinball loss in kW, coverage as a fraction."""

    lead_min: int
    origins: int
    mae_kw: float
    mae_pct: float  # of the mean load
    persistence_mae_kw: float
    day_ago_mae_kw: float
    pinball_q50: float
    pinball_q90: float
    coverage_q10_q90: float
    coverage_q99: float


def score_load(
    values_kw: Sequence[float | None] | Floats,
    rating_kw: float,
    idle_kw: float,
    step_s: float = CELL_S,
    warmup_days: float = 1.0,
    every_cells: int = 1,
    leads_min: Sequence[int] = SCORED_LEADS_MIN,
) -> list[LeadScore]:
    """Scores per lead of a load series in kW (None or NaN: missing). The forecaster sees each value only after its interval; the same
    origins and targets serve persistence (the last 5 minutes) and day-ago; the target is the 5-minute mean that ends the lead."""
    cells, issued = _run(values_kw, rating_kw, idle_kw, step_s, int(warmup_days * CELLS_PER_DAY), every_cells, leads_min)
    return [_score(cells, issued, i, m) for i, m in enumerate(leads_min)]


def table(scores: Sequence[LeadScore]) -> str:
    """The scores as text, one line per lead."""
    head = f"{'lead':>7} {'origins':>7} {'MAE kW':>8} {'%':>5} {'persist.':>8} {'day-ago':>8} {'q10-q90':>8} {'q99':>6}"
    lines = [
        f"{s.lead_min:>3} min {s.origins:>7} {s.mae_kw:>8.2f} {s.mae_pct:>5.1f} {s.persistence_mae_kw:>8.2f} {s.day_ago_mae_kw:>8.2f}"
        f" {s.coverage_q10_q90:>8.3f} {s.coverage_q99:>6.3f}"
        for s in scores
    ]
    return "\n".join([head, *lines])


def score_report(data_dir: Path) -> str:
    """The score tables of every real series in a data folder, as text. Raises DataError where a file is not there."""
    from ems.forecast.series import real_series  # pandas, only when asked

    parts = [(s.name, score_load(s.values_kw, s.rating_kw, s.idle_kw, s.step_s)) for s in real_series(data_dir)]
    return "\n\n".join(f"{name}\n{table(scores)}" for name, scores in parts)


def _run(
    values: Sequence[float | None] | Floats, rating_kw: float, idle_kw: float, step_s: float, warmup: int, every: int, leads: Sequence[int]
) -> tuple[Floats, dict[int, Floats]]:
    """The series on the 5-minute grid, and per origin cell the quantiles [level, lead] issued from it."""
    forecaster = LoadForecaster(rating_kw, idle_kw)
    cells, issued = np.full(int(len(values) * step_s / CELL_S) + 1, np.nan), {}
    for i, value in enumerate(values):
        kw = None if value is None or not np.isfinite(value) else float(value)
        forecaster.observe(EPOCH + timedelta(seconds=i * step_s), step_s, kw)
        first, end = int(i * step_s // CELL_S), int((i + 1) * step_s // CELL_S)
        cells[first:end] = np.nan if kw is None else kw
        if end > warmup and end // every != first // every:
            now = EPOCH + timedelta(seconds=end * CELL_S)
            starts = tuple(now + timedelta(minutes=m - 5) for m in leads)
            q = forecaster.forecast(now, starts, (1 / 12,) * len(leads))
            issued[end] = np.array([q.q(level) for level in (0.1, 0.5, 0.9, 0.99)])
    return cells, issued


def _score(cells: Floats, issued: dict[int, Floats], i: int, lead_min: int) -> LeadScore:
    lead = lead_min * 60 // CELL_S
    origins = np.array([k for k in issued if k + lead <= len(cells) and k >= CELLS_PER_DAY], dtype=int)
    target = origins + lead - 1
    actual, persistence = cells[target], cells[origins - 1]
    ago = cells[target - CELLS_PER_DAY * -(-lead // CELLS_PER_DAY)]
    ok = np.isfinite(actual) & np.isfinite(persistence) & np.isfinite(ago)
    actual, persistence, ago = actual[ok], persistence[ok], ago[ok]
    low, middle, high, top = np.array([issued[k][:, i] for k in origins[ok]]).T if ok.any() else np.empty((4, 0))
    mae = _mean(abs(actual - middle))
    return LeadScore(
        lead_min,
        len(actual),
        mae,
        100.0 * mae / _mean(actual),
        _mean(abs(actual - persistence)),
        _mean(abs(actual - ago)),
        _pinball(actual - middle, 0.5),
        _pinball(actual - high, 0.9),
        _mean((low <= actual) & (actual <= high)),
        _mean(actual <= top),
    )


def _pinball(error: Floats, level: float) -> float:
    return _mean(np.maximum(level * error, (level - 1.0) * error))


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def main(argv: list[str]) -> int:
    """Prints the table of every real series."""
    parser = argparse.ArgumentParser(prog="python -m ems.forecast.score", description="Scores the load forecaster in service on real data.")
    parser.add_argument("data_dir", type=Path, help="the folder of data sets")
    try:
        print(score_report(parser.parse_args(argv).data_dir))
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
