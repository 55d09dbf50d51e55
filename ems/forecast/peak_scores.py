"""How well the peak of the next window is covered, on measured serving power and on request arrivals, beside a fixed margin."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from ems.forecast.load_series import even, read
from ems.forecast.peaks import PeakForecaster
from ems.forecast.protocol import Floats

LEVEL = 0.95
RATING_W_PER_GPU = 700.0
GENERATED_SEED = 7
MADE_AT = datetime(2024, 1, 1, tzinfo=UTC)  # the forecaster does not look at the clock


@dataclass(frozen=True)
class PeakScore:
    """Windows in a row; `headroom`: q95 of the peak above the newest value, `fixed`: the constant margin of equal coverage."""

    name: str
    window_s: float
    n: int
    coverage: float
    headroom: float
    fixed: float
    ramp_coverage: float

    @property
    def ratio(self) -> float:
        """Mean headroom over the fixed margin."""
        return self.headroom / self.fixed if self.fixed else float("nan")


def score_peaks(name: str, runs: Sequence[Floats], step_s: float, window_s: float, rating: float, span: float = 2 / 3) -> PeakScore:
    """One forecaster sees the runs one after another; scored are the windows of the last third (of the runs, of a single run's steps)."""
    forecaster = PeakForecaster(rating, (window_s,), step_s)
    steps, rows = round(window_s / step_s), []
    for number, run in enumerate(runs):
        forecaster.restart()
        for i, value in enumerate(run):
            forecaster.observe(float(value) if np.isfinite(value) else None)
            ahead = run[i + 1 : i + 1 + steps]
            is_scored = number >= span * len(runs) if len(runs) > 1 else i >= span * len(run)
            if is_scored and (i + 1) % steps == 0 and len(ahead) == steps and np.isfinite(ahead).all() and np.isfinite(value):
                q = forecaster.forecast(MADE_AT)
                rise = np.diff(np.concatenate([[value], ahead])).max() / step_s
                rows.append((q.peak_kw(window_s, LEVEL) - value, ahead.max() - value, rise <= q.ramps_kw_per_s[2, 0]))
    headroom, peak, held = np.array(rows, dtype=float).reshape(-1, 3).T
    coverage = float(np.mean(peak <= headroom + 1e-9))
    fixed = float(np.sort(peak)[min(len(peak) - 1, int(np.ceil(coverage * len(peak))) - 1)])
    return PeakScore(name, window_s, len(peak), coverage, float(headroom.mean()), fixed, float(held.mean()))


def all_peak_scores(data_dir: Path) -> list[PeakScore]:
    """The measured runs by themselves, then arrivals. Raises DataError where a file is not there."""
    runs, whole = serving_runs(data_dir, True), serving_runs(data_dir, False)
    scores = [score_peaks("serving power, inference (W per GPU)", runs, 1.0, w, RATING_W_PER_GPU) for w in (10.0, 30.0, 60.0)]
    scores += [score_peaks("serving power, with loading and idle (W per GPU)", whole, 1.0, w, RATING_W_PER_GPU) for w in (10.0, 30.0, 60.0)]
    generated = servegen_arrivals(data_dir)
    for name, series in (
        ("Azure chat arrivals (requests per 10 s)", [table_10s(data_dir, "azure_conv_2023-11-16_10s")[1:-1]]),
        ("Mooncake arrivals (requests per 10 s)", [table_10s(data_dir, "mooncake_conversation_10s")[1:-1]]),
        ("ServeGen m-large client arrivals, generated (requests per 10 s)", [generated]),
    ):
        rating = 3.0 * float(np.nanmax(series[0][: len(series[0]) // 3]))
        scores += [
            score_peaks(name, series, 10.0, w, rating)
            for w in ((10.0, 60.0, 300.0) if len(series[0]) < 1000 else (10.0, 60.0, 300.0, 900.0))
        ]
    return scores


def serving_runs(data_dir: Path, only_inference: bool) -> list[Floats]:
    """Power per GPU of each run in 1-s means, the runs in the order of the hash of their name."""
    table = read(data_dir / "power" / "llm_serving_gpu_power.parquet")
    groups = {name: g for name, g in table.groupby("run") if not only_inference or (g["phase"] == "inference").sum() >= 10}
    order = sorted(groups, key=lambda name: hashlib.sha256(str(name).encode()).hexdigest())
    return [_seconds(groups[name], only_inference) for name in order]


def _seconds(run: pd.DataFrame, only_inference: bool) -> Floats:
    part = run[run["phase"] == "inference"] if only_inference else run
    second = np.floor(part["t_s"] - part["t_s"].iloc[0]).astype(int)
    means = even((part["power_w_total"] / part["n_gpu"]).groupby(second).mean())
    held = pd.Series(means).ffill(limit=1).to_numpy(dtype=float)  # samples 1.003 s apart leave out a second now and then
    return np.asarray(held, dtype=np.float64)


def table_10s(data_dir: Path, name: str) -> Floats:
    """Requests per 10 s."""
    return read(data_dir / "ai_requests" / f"{name}.parquet")["requests"].to_numpy(dtype=float)


def servegen_arrivals(data_dir: Path, days: float = 2.0) -> Floats:
    """Generated: requests per 10 s of the first days; each client's arrivals as gamma-mixed Poisson counts of its published rate and CV."""
    table = read(data_dir / "ai_requests" / "servegen_m-large_first10d_clients.parquet")
    table = table[(table["t_s"] < days * 86400) & (table["rate_per_s"] > 0)]
    rng = np.random.default_rng(GENERATED_SEED)
    counts = np.zeros(int(days * 8640))
    mean = 10.0 * table["rate_per_s"].to_numpy()
    dispersion = np.maximum(table["cv"].fillna(1.0).to_numpy() ** 2 - 1.0, 0.0).clip(max=50.0)
    first = (table["t_s"].to_numpy() // 10).astype(int)
    for step in range(60):
        rate = np.where(
            dispersion > 0, rng.gamma(np.maximum(mean / np.maximum(dispersion, 1e-9), 1e-9), np.maximum(dispersion, 1e-9)), mean
        )
        np.add.at(counts, first + step, rng.poisson(rate))
    return counts
