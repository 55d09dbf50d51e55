"""What frequency droop will ask of a store: energy through it per kW armed, from the frequency as measured, second by second."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ems.forecast.banded import Banded
from ems.forecast.conformal import Conformal
from ems.forecast.naive import DAY_S
from ems.forecast.protocol import Floats, Forecaster, History, Ints, history_of

LOW_SHARE, HIGH_SHARE = 0.9, 1.1  # of the nominal frequency: a synchronous grid does not work outside
LEAST_SEEN = 0.5  # of a cell's seconds; below it the cell is missing
GAP_S = 1.5  # between two samples a second apart


@dataclass(frozen=True)
class Droop:
    """Symmetric droop: nothing within the dead band, full power at `full_hz` off nominal, linear between."""

    nominal_hz: float = 50.0
    dead_band_hz: float = 0.01
    full_hz: float = 0.2

    def share(self, hz: Floats) -> Floats:
        """Power as a share of the armed power: above nominal charging +, below discharging -."""
        off = hz - self.nominal_hz
        beyond = np.maximum(np.abs(off) - self.dead_band_hz, 0.0) / (self.full_hz - self.dead_band_hz)
        return np.asarray(np.sign(off) * np.minimum(beyond, 1.0), float)


@dataclass(frozen=True)
class DroopUse:
    """Per cell and kW armed: throughput (both directions) and net energy in hours; NaN where too little was seen. Faults are counted."""

    throughput_h: Floats
    net_h: Floats
    first: int
    step_s: float
    faults: dict[str, int]

    def history(self) -> History:
        """The throughput as a history to forecast."""
        return history_of(self.throughput_h, self.step_s, self.first)


def droop_use(seconds: Floats, hz: Floats, droop: Droop, step_s: float = 900.0) -> DroopUse:
    """Energy per kW armed from samples a second apart (epoch seconds). Stamps may repeat, run backward or leave gaps; values may be absurd:
    those are counted and left out, and a cell's mean over what was seen stands for all of it."""
    faults = {
        "duplicate": int((np.diff(seconds) == 0).sum()),
        "backward": int((np.diff(seconds) < 0).sum()),
        "gap": int((np.diff(np.unique(seconds)) > GAP_S).sum()),
        "out of range": int(((hz < LOW_SHARE * droop.nominal_hz) | (hz > HIGH_SHARE * droop.nominal_hz)).sum()),
        "missing": int((~np.isfinite(hz)).sum()),
    }
    good = np.isfinite(hz) & (hz >= LOW_SHARE * droop.nominal_hz) & (hz <= HIGH_SHARE * droop.nominal_hz)
    seconds, index = np.unique(seconds[good], return_index=True)
    share = droop.share(hz[good][index])
    if not len(seconds):
        return DroopUse(np.empty(0), np.empty(0), 0, step_s, faults)
    cell = np.floor(seconds / step_s).astype(np.intp)
    first, n = int(cell[0]), int(cell[-1] - cell[0]) + 1
    seen = np.bincount(cell - first, minlength=n)
    enough = seen >= LEAST_SEEN * step_s
    means = [np.bincount(cell - first, weights=w, minlength=n) / np.maximum(seen, 1) for w in (np.abs(share), share)]
    throughput, net = (np.where(enough, mean * step_s / 3600.0, np.nan) for mean in means)
    return DroopUse(throughput, net, first, step_s, faults)


class RecentMean:
    """A point forecaster: half the last hours' mean, half the last day's; the statistics of frequency hardly know the time of day."""

    name = "recent mean"

    def __init__(self, leads: Ints, hours: float = 2.0) -> None:
        self.leads, self.hours = leads, hours

    def update(self, history: History) -> Floats:
        """One value per lead, NaN where nothing is known."""
        last = [history.values[-max(1, round(s / history.step_s)) :] for s in (3600.0 * self.hours, DAY_S)]
        means = [mean_or_nan(values) for values in last]
        point = mean_or_nan(np.array(means))
        return np.full(len(self.leads), point)


def droop_throughput(leads: Ints) -> Forecaster:
    """Quantiles of the throughput per cell and kW armed."""
    return Conformal(Banded(RecentMean(leads), 0.0), low=0.0)


def mean_or_nan(values: Floats | Iterable[float]) -> float:
    """Mean of what is finite."""
    array = np.asarray(values, dtype=float)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if len(finite) else float("nan")
