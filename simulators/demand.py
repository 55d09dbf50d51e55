"""What the users of the clusters ask for: tables (traces), and a seeded generator whose statistics stand beside measured ones.

Measured on 10-minute request rates of two production LLM services (alibaba/ServeGen, commit f891d11, Apache-2.0; all-zero
windows held; computed 2026-11 with `statistics`), each value relative to the series' own mean:

    series                 coefficient of variation   lag-1 autocorrelation   peak / mean   99.5 % / mean   5 % / mean
    m-small, 14 days                 0.31                     0.88                3.24           2.31           0.55
    m-large, first 10 days           0.33                     0.84                2.73           2.27           0.57

and on 10-s request counts of one service (Azure/AzurePublicDataset, conversation 2023-11-16, commit b469a11, CC-BY-4.0):
coefficient of variation within 10-minute windows 0.20, lag-1 autocorrelation within windows 0.1 to 0.6. Checkpoints:
every 10-60 minutes, 20-120 s near idle (published planning figures). `python -m simulators.demand` prints ours beside them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.model import CLASSES, Cluster
from ems.site.model import Site
from simulators.devices.cluster import Demand

Array = NDArray[np.float64]

MEASURED = {  # coefficient of variation, lag-1 autocorrelation, peak / mean, at 10 minutes
    "ServeGen m-small": {"cv": 0.312, "lag1": 0.884, "peak_to_mean": 3.24, "q995_to_mean": 2.31, "q05_to_mean": 0.55},
    "ServeGen m-large": {"cv": 0.334, "lag1": 0.840, "peak_to_mean": 2.73, "q995_to_mean": 2.27, "q05_to_mean": 0.57},
}
STEP_S = 10.0  # grid of the generator
BLOCK_STEPS = 360
FULL_RATE = 2.3  # request rate, relative to its mean, that fills a class: the 99.5th percentile of the measured series
TOKENS_PER_REQUEST = (1155.0, 211.0)  # prompt, output: means of the Azure conversation trace
REQUESTS_PER_S_PER_KW = 0.02  # at the mean rate, per kW of interactive and batch rating

# (lattice spacing in s, standard deviation of the logarithm): slow drift between days down to the texture within minutes
OCTAVES = ((21600.0, 0.24), (7200.0, 0.12), (1800.0, 0.10), (600.0, 0.13))
TEXTURE = (20.0, 0.21)
DIURNAL = ((1, 0.21, 21.0), (2, 0.10, 21.0))  # harmonic, amplitude of the logarithm, hour of its crest (UTC)
BURST_EVERY_S, BURST_CHANCE, BURST_SD = 10800.0, 0.12, 0.55
BURST_RISE_S, BURST_FALL_S = 120.0, 1500.0
TRAINING_JOBS = 3
CHECKPOINT_EVERY_S, CHECKPOINT_S, CHECKPOINT_LEVEL = 1800.0, 60.0, 0.5
TRAINING_LEVEL = 0.9


class DemandSource(Protocol):
    """Anything that says what each cluster is asked for at an instant."""

    def at(self, at_s: float) -> Mapping[str, Demand]:
        """Demand per cluster at an epoch second."""


@dataclass(frozen=True)
class DemandSeries:
    """One cluster's demand, one value per step: kW above idle per class, tokens per second."""

    interactive_kw: Array
    batch_kw: Array
    training_kw: Array
    prompt_tokens_per_s: Array
    output_tokens_per_s: Array

    def rows(self) -> list[Demand]:
        """The steps one by one."""
        columns = (self.interactive_kw, self.batch_kw, self.training_kw, self.prompt_tokens_per_s, self.output_tokens_per_s)
        return [Demand(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


class TableDemand:
    """Demand from arrays on one grid: row i holds over `[start_s + i * step_s, start_s + (i + 1) * step_s)`; the ends hold outside."""

    def __init__(self, start_s: float, step_s: float, series: Mapping[str, DemandSeries]) -> None:
        lengths = {len(s.interactive_kw) for s in series.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(f"demand tables of {', '.join(series)} have {sorted(lengths)} rows: expected one common length above 0")
        self._start_s, self._step_s = start_s, step_s
        self._last = lengths.pop() - 1
        self._rows = {cluster: s.rows() for cluster, s in series.items()}
        self._index = -1
        self._now: dict[str, Demand] = {}

    def at(self, at_s: float) -> Mapping[str, Demand]:
        """Demand per cluster at an epoch second."""
        index = min(self._last, max(0, int((at_s - self._start_s) // self._step_s)))
        if index != self._index:
            self._index = index
            self._now = {cluster: rows[index] for cluster, rows in self._rows.items()}
        return self._now


class GeneratedDemand:
    """Seeded demand for every cluster of a site, the same for the same seed at the same instant, in whatever order it is asked.

    Inference (interactive and batch) follows the day, drifts, bursts and has a 10-s texture; training jobs stand at a level and
    dip at their checkpoints.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self._clusters = site.clusters
        self._seed = seed
        self._block = -1
        self._table: TableDemand | None = None

    def at(self, at_s: float) -> Mapping[str, Demand]:
        """Demand per cluster at an epoch second."""
        block = int(at_s // (STEP_S * BLOCK_STEPS))
        if block != self._block or self._table is None:
            starts_s = (block * BLOCK_STEPS + np.arange(BLOCK_STEPS, dtype=np.float64)) * STEP_S
            self._table = TableDemand(float(starts_s[0]), STEP_S, {c.id: self.series(c, starts_s) for c in self._clusters})
            self._block = block
        return self._table.at(at_s)

    def series(self, cluster: Cluster, starts_s: Array) -> DemandSeries:
        """The demand of one cluster at the given epoch seconds."""
        dynamic_kw = cluster.peak_kw - cluster.idle_kw
        interactive, batch, training = (dynamic_kw * cluster.classes[c].share if c in cluster.classes else 0.0 for c in CLASSES)
        rate = request_rate(self._seed, cluster.id, starts_s)
        requests_per_s = rate * REQUESTS_PER_S_PER_KW * (interactive + batch)
        fill = rate / FULL_RATE
        return DemandSeries(
            interactive_kw=interactive * fill,
            batch_kw=batch * fill,
            training_kw=training * training_level(self._seed, cluster.id, starts_s),
            prompt_tokens_per_s=requests_per_s * TOKENS_PER_REQUEST[0],
            output_tokens_per_s=requests_per_s * TOKENS_PER_REQUEST[1],
        )


def request_rate(seed: int, name: str, starts_s: Array) -> Array:
    """Request rate relative to its long mean (about 1), at each epoch second."""
    log = np.zeros_like(starts_s)
    for harmonic, amplitude, crest_h in DIURNAL:
        log += amplitude * np.cos(2.0 * np.pi * harmonic * (starts_s / 3600.0 - crest_h) / 24.0)
    for spacing_s, sd in (*OCTAVES, TEXTURE):
        log += sd * smooth_noise(seed, name, spacing_s, starts_s)
    log += bursts(seed, name, starts_s)
    return np.asarray(np.exp(log) / MEAN_OF_EXP)


MEAN_OF_EXP = 1.08  # long mean of the exponential above, measured over 20 seeds x 60 days


def bursts(seed: int, name: str, starts_s: Array) -> Array:
    """Sudden crowds: a rise within minutes and a slow fall, in the logarithm of the rate."""
    total = np.zeros_like(starts_s)
    slot = np.floor(starts_s / BURST_EVERY_S)
    for back in (0, 1):
        index = (slot - back).astype(np.int64)
        chance, height, delay = (_lattice(seed, f"{name} burst {k}", index, is_uniform=True) for k in ("chance", "height", "delay"))
        age_s = starts_s - (index + delay) * BURST_EVERY_S
        shape = np.where(age_s < BURST_RISE_S, age_s / BURST_RISE_S, np.exp(-(age_s - BURST_RISE_S) / BURST_FALL_S))
        total += np.where((chance < BURST_CHANCE) & (age_s > 0.0), 2.0 * BURST_SD * height * shape, 0.0)
    return total


def training_level(seed: int, name: str, starts_s: Array) -> Array:
    """Mean level of the training jobs, 0 to 1: each stands at its level and dips at its own checkpoints."""
    level = np.zeros_like(starts_s)
    for job in range(TRAINING_JOBS):
        key = f"{name} training {job}"
        phase_s = _uniform_once(seed, key) * CHECKPOINT_EVERY_S
        is_saving = (starts_s + phase_s) % CHECKPOINT_EVERY_S < CHECKPOINT_S
        level += np.where(is_saving, CHECKPOINT_LEVEL, TRAINING_LEVEL + 0.02 * smooth_noise(seed, key, 3600.0, starts_s))
    return np.clip(level / TRAINING_JOBS, 0.0, 1.0)


def smooth_noise(seed: int, name: str, spacing_s: float, starts_s: Array) -> Array:
    """Unit-variance noise at the lattice points, straight lines between them: a function of time alone, so it has no state."""
    position = starts_s / spacing_s
    below = np.floor(position).astype(np.int64)
    share = position - below
    left, right = (_lattice(seed, f"{name} {spacing_s}", below + k) for k in (0, 1))
    return left * (1.0 - share) + right * share


LATTICE_BLOCK = 1024


def _lattice(seed: int, name: str, index: NDArray[np.int64], is_uniform: bool = False) -> Array:
    """The random number that belongs to each lattice index."""
    blocks = index // LATTICE_BLOCK
    values = np.empty(index.shape)
    for block in np.unique(blocks):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), int(block)])
        numbers = rng.random(LATTICE_BLOCK) if is_uniform else rng.standard_normal(LATTICE_BLOCK)
        chosen = blocks == block
        values[chosen] = numbers[index[chosen] - block * LATTICE_BLOCK]
    return values


def _uniform_once(seed: int, name: str) -> float:
    return float(np.random.default_rng([seed, zlib.crc32(name.encode())]).random())


def statistics(series: Sequence[float] | Array) -> dict[str, float]:
    """How a series varies, relative to its mean: the figures of the table above."""
    x = np.asarray(series, dtype=float)
    mean = float(x.mean())
    return {
        "cv": float(x.std()) / mean,
        "lag1": float(np.corrcoef(x[:-1], x[1:])[0, 1]),
        "peak_to_mean": float(x.max()) / mean,
        "q995_to_mean": float(np.quantile(x, 0.995)) / mean,
        "q05_to_mean": float(np.quantile(x, 0.05)) / mean,
    }


def generated_statistics(seed: int, days: int = 14) -> dict[str, float]:
    """The same figures of the generator's 10-minute means over a number of days."""
    steps = days * 144 * 60
    rate = request_rate(seed, "hall-a", 1.7e9 + np.arange(steps, dtype=np.float64) * STEP_S)
    return statistics(rate.reshape(-1, 60).mean(axis=1)) | {"mean": float(rate.mean())}


def main() -> None:
    """Prints the generator's statistics beside the measured ones."""
    for name, row in MEASURED.items():
        print(f"{name:24s}", " ".join(f"{k} {v:.2f}" for k, v in row.items()))
    for seed in range(1, 6):
        print(f"{f'generated, seed {seed}':24s}", " ".join(f"{k} {v:.2f}" for k, v in generated_statistics(seed).items()))


if __name__ == "__main__":
    main()
