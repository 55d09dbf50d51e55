"""What a summary does not say: how warm the loop became, whether work was cut in the order of its tiers, which system peaks were met."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ems.replay.runner import Run
from ems.replay.system_load import billed_peaks
from simulators.devices.chilled_water import ChilledWaterDevice
from simulators.devices.cluster import ClassWork
from simulators.plant import PlantStep

NOTHING_KW = 0.5
WARM_K = (
    0.5  # a loop this much above its commissioned supply is short of cooling: only then is work shed by tiers, else it is moved by price
)
HIT_SHARE, DISPATCH_SHARE = 0.5, 0.05  # of the battery's rating: given in the peak interval; given in any quarter hour of a dispatch day


class Watch:
    """Looks at every plant step of a run. The order of shedding counts while a loop is short of cooling."""

    def __init__(self, run: Run) -> None:
        self.run, self.step = run, run.plant.step
        self.warmest_c, self.out_of_order_s, self.least_it_kw, self.cut_s = -np.inf, 0.0, np.inf, 0.0
        run.plant.step = self._watched  # type: ignore[method-assign]

    def _watched(self, dt_s: float, at: datetime, *rest: Any) -> PlantStep:
        truth = self.step(dt_s, at, *rest)
        self.least_it_kw = min(self.least_it_kw, truth.it_kw)
        self.warmest_c = max([self.warmest_c, *(d.supply_temp_c for d in self.chilled)])
        is_warm = any(d.supply_temp_c > d.unit.supply_temp_c + WARM_K for d in self.chilled)
        for work in truth.work.values():
            cut = any(w.throttled_kwh or w.deferred_kwh for w in work.values())
            self.cut_s += dt_s * cut
            self.out_of_order_s += dt_s * (cut and is_warm and out_of_order(work, NOTHING_KW * dt_s / 3600.0))
        return truth

    @property
    def chilled(self) -> list[ChilledWaterDevice]:
        """The plants with a loop."""
        return [d for d in self.run.plant.coolings if isinstance(d, ChilledWaterDevice)]

    def found(self, folder: Path) -> dict[str, Any]:
        """Everything, as plain numbers."""
        result: dict[str, Any] = {"least_it_kw": self.least_it_kw, "cut_s": self.cut_s, "out_of_order_s": self.out_of_order_s}
        if self.chilled:
            result |= {"warmest_c": self.warmest_c, "allowed_c": min(d.unit.supply_limit_c for d in self.chilled)}
        return result | (peaks_met(self.run, folder) if self.run.world.site.tariff.coincident_peak is not None else {})


def out_of_order(work: dict[str, ClassWork], nothing_kwh: float) -> bool:
    """True when dearer work is cut while fresh work of a cheaper tier of the cluster is served: batch, then training, then interactive."""
    fresh = {name: w.served_kwh - w.recovered_kwh for name, w in work.items()}
    if work["interactive"].throttled_kwh > nothing_kwh:
        return fresh["batch"] > nothing_kwh or fresh["training"] > nothing_kwh
    return work["training"].deferred_kwh > nothing_kwh and fresh["batch"] > nothing_kwh


def peaks_met(run: Run, folder: Path) -> dict[str, Any]:
    """Of the billed peak intervals, in how many the battery gave at least half its rating; and the days on which it gave anything."""
    battery = run.world.site.batteries[0]
    table = pd.read_parquet(folder / "timeseries.parquet")
    given = -table.set_index("time")[f"asset:{battery.id}_kw"].resample("15min").mean() / battery.power_kw
    at_s = given.index.map(pd.Timestamp.timestamp).to_numpy()
    peaks = np.searchsorted(at_s, billed_peaks(run.world))
    days = given.index.tz_convert(ZoneInfo(run.world.site.time_zone)).date
    in_peaks = given.to_numpy()[peaks[peaks < len(given)]]
    return {
        "hits": int((in_peaks >= HIT_SHARE).sum()),
        "given_in_peaks": [round(float(x), 2) for x in in_peaks],
        "dispatch_days": len(set(days[given.to_numpy() >= DISPATCH_SHARE])),
    }
