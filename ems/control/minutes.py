"""Minute means of what was measured, for the planner's forecasts and the history. Missing stays missing."""

from __future__ import annotations

from datetime import UTC, datetime

from ems.messages import MinuteFrame
from ems.site.model import Site
from ems.state.estimate import SiteState
from ems.state.image import SiteImage


class MinuteMeans:
    """Averages the cycles of one minute of site time (cycles longer than a minute give one frame per cycle's minute)."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._start: datetime | None = None
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def update(self, state: SiteState, image: SiteImage) -> MinuteFrame | None:
        """Takes one cycle; returns the frame of the minute before when a new one begins."""
        start = datetime.fromtimestamp(int(state.now.timestamp()) // 60 * 60, UTC)
        done = None
        if self._start is not None and start != self._start:
            done = self._frame(self._start)
            self._sums, self._counts = {}, {}
        self._start = start
        for key, value in self._values(state, image):
            self._sums[key] = self._sums.get(key, 0.0) + value
            self._counts[key] = self._counts.get(key, 0) + 1
        return done

    def _values(self, state: SiteState, image: SiteImage) -> list[tuple[str, float]]:
        values = [("poc", state.poc_kw)] if state.connection.is_fresh else []
        for part in (state.batteries, state.upses, state.clusters, state.coolings):
            values += [(f"kw:{k}", a.power_kw) for k, a in part.items() if a.is_fresh]
        for k, cluster in state.clusters.items():
            if cluster.is_fresh:
                values.append((f"demand:{k}", cluster.demand_kw))
                values += [(f"class:{k}:{n}", c.demand_kw) for n, c in cluster.classes.items()]
        values += [(f"soc:{k}", a.soc) for part in (state.batteries, state.upses) for k, a in part.items() if a.is_fresh]
        values += [(f"kw:{k}", g.power_kw) for k, g in state.generators.items() if g.is_fresh]
        values += [(f"kw:{k}", r.power_kw) for k, r in state.renewables.items() if r.is_fresh]
        values += [(f"available:{k}", r.available_kw) for k, r in state.renewables.items() if r.is_fresh and r.available_kw is not None]
        if state.outdoor_temp_c is not None:
            values.append(("temp", state.outdoor_temp_c))
        return values + self._token_values(state, image)

    def _token_values(self, state: SiteState, image: SiteImage) -> list[tuple[str, float]]:
        stale = self._site.control.stale_after_s
        read = {f"{what}:{k}": image.value(k, f"{what}_tokens_per_s", stale) for k in state.clusters for what in ("prompt", "output")}
        values = [(key, value) for key, value in read.items() if value is not None]
        made = [value for key, value in values if key.startswith("output:")]
        return [*values, ("tokens", sum(made))] if made else values

    def _mean(self, key: str) -> float | None:
        return self._sums[key] / self._counts[key] if key in self._counts else None

    def _frame(self, start: datetime) -> MinuteFrame:
        site = self._site
        fixed = {f.id: f.power_kw for f in site.fixed_loads}
        assets: dict[str, float | None] = {k: fixed.get(k, self._mean(f"kw:{k}")) for k in site.assets}
        tokens = self._mean("tokens")
        return MinuteFrame(
            start=start,
            poc_kw=self._mean("poc"),
            asset_kw=assets,
            demand_kw={c.id: self._mean(f"demand:{c.id}") for c in site.clusters},
            class_demand_kw={c.id: {n: self._mean(f"class:{c.id}:{n}") for n in c.classes} for c in site.clusters},
            soc={k: self._mean(f"soc:{k}") for k in [*(b.id for b in site.batteries), *(u.id for u in site.upses)]},
            outdoor_temp_c=self._mean("temp"),
            available_kw={r.id: self._mean(f"available:{r.id}") for r in site.renewables},
            tokens=None if tokens is None else tokens * 60.0,
            tokens_per_s=self._tokens_per_s(),
        )

    def _tokens_per_s(self) -> dict[str, tuple[float, float]]:
        means = {c.id: (self._mean(f"prompt:{c.id}"), self._mean(f"output:{c.id}")) for c in self._site.clusters}
        return {k: (prompt, output) for k, (prompt, output) in means.items() if prompt is not None and output is not None}
