"""The site as Prometheus metrics. A stale cycle gives its age and nothing it measured: missing is not zero, and old is not now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from ems.office.live import Live

LEVELS = ("L0", "L1", "L2", "L3", "L4", "L5")
RUN_COUNTERS = {
    "cycles": ("ems_cycles", "Control cycles finished"),
    "missed_cycles": ("ems_cycles_missed", "Control cycles that could not start in their period"),
    "plans_adopted": ("ems_plans_adopted", "Plans control took over"),
    "setpoints_written": ("ems_setpoints_written", "Setpoints handed to the field"),
    "setpoints_read_back": ("ems_setpoints_read_back", "Setpoints seen again on the device"),
    "starts": ("ems_control_starts", "Starts of the control process"),
}
SITE_GAUGES = {
    "import_kw": ("ems_import_kilowatts", "Import at the point of connection"),
    "export_kw": ("ems_export_kilowatts", "Export at the point of connection"),
    "limit_kw": ("ems_import_limit_kilowatts", "Import limit in force"),
    "target_kw": ("ems_import_target_kilowatts", "Import the guard steers below"),
    "month_peak_kw": ("ems_month_peak_kilowatts", "Highest billing-interval mean of the month"),
    "interval_kwh": ("ems_interval_energy_kilowatt_hours", "Energy imported in the running billing interval"),
}
ASSET_GAUGES = {
    "power_kw": ("ems_asset_power_kilowatts", "Power into the asset"),
    "low_kw": ("ems_asset_allowed_low_kilowatts", "Lower end of the interval the guard allows"),
    "high_kw": ("ems_asset_allowed_high_kilowatts", "Upper end of the interval the guard allows"),
    "demand_kw": ("ems_cluster_demand_kilowatts", "What a cluster would draw without its cap"),
    "backlog_kwh": ("ems_cluster_backlog_kilowatt_hours", "Deferred work"),
    "soc": ("ems_store_soc_ratio", "State of charge"),
    "reserve_soc": ("ems_store_reserve_soc_ratio", "State of charge that holds exactly the backup reserve"),
    "age_s": ("ems_asset_data_age_seconds", "Age of the oldest reading of an asset, site time"),
}


class SiteCollector(Collector):
    """Reads the live site whenever it is scraped. `office_counts` gives the counters of the office, by (name, label)."""

    def __init__(self, live: Live, now: Callable[[], datetime], office_counts: Callable[[], Mapping[tuple[str, str], float]]) -> None:
        self._live, self._now, self._office_counts = live, now, office_counts

    def collect(self) -> Iterator[Metric]:
        """All metrics of this moment."""
        live, now = self._live, self._now()
        yield from _ages(live, now)
        yield _counter("ems_import_excursions_seen", "Excursions above the import limit among the cycles the office saw", live.excursions)
        yield _counter("ems_import_excursion_seen_seconds", "Site seconds above the import limit, as the office saw them", live.excursion_s)
        yield _counter("ems_messages_refused", "Messages the office could not understand", live.refused)
        if live.snapshot is not None and live.is_fresh(now):
            yield from _measured(live.snapshot)
        yield from _office(self._office_counts())


def registry_of(collector: SiteCollector) -> CollectorRegistry:
    """A registry of its own, so that two services in one process do not meet."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _ages(live: Live, now: datetime) -> Iterator[Metric]:
    yield GaugeMetricFamily("ems_up", "1 while control turns", value=float(live.is_fresh(now)))
    yield GaugeMetricFamily("ems_plan_fresh", "1 while the newest plan is fresh", value=float(live.is_plan_fresh(now)))
    ages = {"ems_snapshot_age_seconds": live.age_s(now), "ems_plan_age_seconds": live.plan_age_s(now)}
    for name, age_s in ages.items():
        if age_s is not None:
            yield GaugeMetricFamily(name, "Age in site time", value=age_s)


def _measured(snapshot: Mapping[str, Any]) -> Iterator[Metric]:
    for key, (name, text) in SITE_GAUGES.items():
        if _is_number(snapshot.get(key)):
            yield GaugeMetricFamily(name, text, value=snapshot[key])
    for key, (name, text) in ASSET_GAUGES.items():
        yield _by_asset(name, text, key, snapshot["assets"])
    yield _tiers(snapshot["assets"])
    if snapshot["level"] in LEVELS:
        yield GaugeMetricFamily("ems_ladder_level", "0 fresh plan to 5 withdrawn", value=LEVELS.index(snapshot["level"]))
    yield GaugeMetricFamily("ems_alarms", "Alarms standing", value=len(snapshot["alarms"]))
    yield GaugeMetricFamily("ems_orders", "Orders of persons standing", value=len(snapshot["orders"]))
    yield from _run_counters(snapshot.get("counters") or {})


def _run_counters(counters: Mapping[str, Any]) -> Iterator[Metric]:
    for key, (name, text) in RUN_COUNTERS.items():
        if _is_number(counters.get(key)):
            yield _counter(name, text, counters[key])
    ladder = CounterMetricFamily("ems_ladder_seconds", "Site seconds on each level of the ladder", labels=["level"])
    for level, seconds in (counters.get("ladder_s") or {}).items():
        ladder.add_metric([str(level)], seconds)
    yield ladder


def _by_asset(name: str, text: str, key: str, assets: list[dict[str, Any]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["asset", "kind"])
    for asset in assets:
        if _is_number(asset.get(key)):
            family.add_metric([str(asset["id"]), str(asset["kind"])], asset[key])
    return family


def _tiers(assets: list[dict[str, Any]]) -> Metric:
    family = GaugeMetricFamily("ems_cluster_tier_used_ratio", "Work missing of what a class's tier allows", labels=["asset", "class"])
    for asset in assets:
        for name, share in (asset.get("tier_used") or {}).items():
            family.add_metric([str(asset["id"]), str(name)], share)
    return family


def _office(counts: Mapping[tuple[str, str], float]) -> Iterator[Metric]:
    for name in sorted({name for name, _ in counts}):
        family = CounterMetricFamily(name, "Counted by the office", labels=["what"])
        for (counted, label), value in counts.items():
            if counted == name:
                family.add_metric([label], value)
        yield family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
