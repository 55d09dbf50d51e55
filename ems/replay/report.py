"""report.html: one self-contained file with pictures, readable without a network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ems.replay.chart import BLUE, COLOURS, GREEN, GREY, ORANGE, PURPLE, RED, Band, Line, bars, chart
from ems.replay.scenario import Scenario
from ems.replay.table import comparison_rows
from ems.replay.world import stores

POINTS = 1400  # per line; each is drawn as the extreme of its bin, so that no excursion is averaged away
SHOWN = ("plan", "oracle", "rules", "capped", "none")
STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1080px;padding:0 1rem;color:#1d2430;background:#fff}
h1{font-size:1.5rem;margin:0} h2{font-size:1.1rem;margin:2rem 0 .3rem} p{margin:.3rem 0 .8rem;color:#4b5565}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e3e7ed} td:first-child,th:first-child{text-align:left;white-space:pre}
tr.total td{font-weight:600;border-top:2px solid #8a94a6}
svg{width:100%;height:auto;display:block} svg text{font:12px system-ui,sans-serif;fill:#4b5565}
pre{overflow:auto;background:#f5f7fa;padding:.8rem;font-size:12px} .scroll{overflow-x:auto}
@media(prefers-color-scheme:dark){
body{color:#e6e9ef;background:#14181f} p{color:#a5afbf} td,th{border-color:#2b3340} pre{background:#1c222c} svg text{fill:#a5afbf}}
"""


def write_report(
    path: Path,
    scenario: Scenario,
    folders: Mapping[str, Path],
    summaries: Mapping[str, Sequence[Mapping[str, Any]]],
    compared: Mapping[str, Any],
) -> None:
    """Pictures of the first seed of the best policy run, and the table of all of them."""
    shown = next(name for name in SHOWN if name in folders)
    first = summaries[shown][0]
    series = read_series(folders[shown] / "timeseries.parquet")
    body = [
        f"<h1>{html.escape(scenario.site.name)}: {scenario.path.stem}</h1>",
        f"<p>{first['start']} to {first['end']}, control step {scenario.control_step_s:g} s, plant step {scenario.plant_step_s:g} s, "
        f"seeds {', '.join(str(r['seed']) for r in summaries[shown])}. Pictures: policy <b>{shown}</b>, seed {first['seed']}. "
        "Simulated plant; limits, energy and service are its truth.</p>",
        "<h2>Cost and what it took</h2>",
        table_html(comparison_rows(compared, summaries, scenario.site.currency)),
        "<h2>Cost against the other policies</h2>",
        cost_chart(compared, scenario.site.currency),
        *picture_parts(series, scenario, folders[shown]),
        "<h2>What does not flatter</h2>",
        unflattering(first),
        "<h2>Data quality</h2>",
        f"<pre>{html.escape(pretty(first['data_quality']))}</pre>",
    ]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(scenario.path.stem)}</title><style>{STYLE}</style>'
    path.write_text(page + "\n".join(body) + "</html>\n")


def read_series(path: Path) -> dict[str, np.ndarray]:
    """Numeric columns of a timeseries; `time` in seconds since 1970 UTC."""
    table = pq.read_table(path)
    columns = {n: table[n].to_numpy() for n in table.column_names if n not in ("time", "binding", "ladder")}
    return {"time": table["time"].to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6, **columns}


def picture_parts(series: dict[str, np.ndarray], scenario: Scenario, folder: Path) -> list[str]:
    """The pictures, each with its heading and a sentence."""
    site = scenario.site
    time = series["time"]
    thin = lambda name, sign=1.0: thinned(time, sign * series[name])  # noqa: E731
    limit = Line("limit", *thin("limit_kw"), RED, dashed=True)
    demand = thinned(time, unmanaged(series, scenario))
    parts = [
        "<h2>Import against its limit</h2><p>The highest value of each pixel. Grey: imported with nothing done (estimate).</p>",
        chart([Line("unmanaged, estimated", *demand, GREY), Line("import", *thin("import_kw"), BLUE), limit], "kW", site.time_zone),
        "<h2>Dispatch and price</h2><p>Storage power (charging up, discharging down) above the price of the same hours.</p>",
    ]
    held = [s.id for s in stores(site)]
    storage = [Line(b.id, *thin(f"asset:{b.id}_kw"), c) for b, c in zip(site.batteries, COLOURS, strict=False)]
    parts.append(chart(storage, "kW", site.time_zone, zero=True))
    parts.append(chart([Line("price", *thin("price_per_kwh"), ORANGE)], f"{site.currency}/kWh", site.time_zone, zero=True))
    parts.append("<h2>Stored energy and reserve</h2><p>Dashed: what must stay in the UPS for the ride-through at its floor load.</p>")
    energy = [Line(s, *thin(f"store:{s}_energy_kwh"), c) for s, c in zip(held, COLOURS, strict=False)]
    ends = time[[0, -1]]
    energy += [Line(f"{u.id} reserve", ends, np.full(2, u.reserve_soc(0.0) * u.energy_kwh), RED, dashed=True) for u in site.upses]
    parts.append(chart(energy, "kWh", site.time_zone, zero=True))
    return parts + forecast_part(series, scenario, folder)


def forecast_part(series: dict[str, np.ndarray], scenario: Scenario, folder: Path) -> list[str]:
    """The forecast fan of the plan made in the middle of the window, beside what came."""
    fan_file = folder / "fan.npz"
    if not fan_file.exists():
        return []
    fan = np.load(fan_file)
    head = "<h2>Forecast fan</h2><p>IT load ahead as seen at the middle of the window: median, 10 to 90 %, and what came (5-min means).</p>"
    parts = [head]
    for cluster in scenario.site.clusters:
        begin, q10, q50, q90 = (fan[f"{cluster.id}:{k}"] for k in ("begin", "q10", "q50", "q90"))
        inside = (series["time"] >= begin[0]) & (series["time"] < begin[-1])
        came = five_minute_means(series["time"][inside], series[f"demand:{cluster.id}_kw"][inside])
        lines = [Line(f"{cluster.id} median", begin, q50, PURPLE), Line("came", *came, GREEN)]
        parts.append(chart(lines, "kW", scenario.site.time_zone, band=Band("10-90 %", begin, q10, q90, PURPLE)))
    return parts


def unmanaged(series: dict[str, np.ndarray], scenario: Scenario) -> np.ndarray:
    """An estimate of import with nothing done: the present overhead per IT power applied to the demand."""
    site = scenario.site
    asked = sum(series[f"demand:{c.id}_kw"] for c in site.clusters)
    fixed = sum(a.power_kw for a in site.fixed_loads)
    overhead = sum(series[f"asset:{c.id}_kw"] for c in site.coolings) / np.maximum(series["it_kw"], 1.0)
    losses = max((u.loss_fraction for u in site.upses), default=0.0)
    return np.asarray(asked * (1.0 + overhead + losses) + fixed)


def thinned(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS points: in each bin the value furthest from zero, at its own instant."""
    if len(time) <= POINTS:
        return time, values
    per = -(-len(time) // POINTS)
    n = len(time) // per
    block = values[: n * per].reshape(n, per)
    at = np.abs(block).argmax(axis=1) + np.arange(n) * per
    return time[at], values[at]


def five_minute_means(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over five minutes, at their starts."""
    if not len(time):
        return time, values
    index = ((time - time[0]) // 300).astype(int)
    count = np.maximum(1, np.bincount(index))
    return time[0] + 300.0 * np.arange(len(count)), np.bincount(index, weights=values) / count


def cost_chart(compared: Mapping[str, Any], currency: str) -> str:
    """Stacked parts of the bill per policy, the bound last."""
    parts = ("energy", "demand", "wear", "workload", "limit_breach")
    rows = {name: [max(0.0, p["cost"][k]) for k in parts] for name, p in compared["policies"].items()}
    if compared["bound"]["total"] is not None:
        rows["bound"] = [max(0.0, compared["bound"]["cost"].get(k, 0.0)) for k in parts]
    return bars(rows, parts, currency)


def table_html(rows: list[list[str]]) -> str:
    """The printed table as HTML."""
    head = "".join(f"<th>{html.escape(c)}</th>" for c in rows[0])
    lines = []
    for row in rows[1:]:
        kind = ' class="total"' if row[0] == "total" else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def tier_lines(service: Mapping[str, Any]) -> list[str]:
    """What of its tier each class used in its worst window, and how often more was missing than allowed."""
    used = service.get("tier_budget_used") or {}
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in used.items())
    return [f"of what its tier allows, used in the worst window: {shares}; {service['tier_violations']} times beyond it"] if used else []


def unflattering(run: Mapping[str, Any]) -> str:
    """Excursions, lost work, fallbacks and forecast errors in words."""
    limits, service, planner = run["limits"], run["service"], run["planner"]
    items = [
        f"{limits['import_excursion_s']:g} s above the limit, longest {limits['import_excursion_longest_s']:g} s, "
        f"at worst {limits['import_excursion_max_kw']:.1f} kW over; reserve short for {limits['reserve_shortfall_s']:g} s",
        f"{service['deferred_kwh']:,.0f} kWh of work put off, {service['unrecovered_kwh']:,.1f} kWh never done, "
        f"{service['throttled_kwh']:,.1f} kWh of interactive work cut",
        *tier_lines(service),
        f"{planner['fallbacks']} of {planner['solves']} plans failed, {planner['verify_failures']} of them in verification",
        "seconds on each ladder level: " + ", ".join(f"{k} {v:g}" for k, v in run["control"]["ladder_seconds"].items()),
    ]
    for lead, score in run["forecast"]["load_kw"].items():
        if score:
            inside = 100 * score["coverage_q10_q90"]
            items.append(f"load forecast {lead} ahead: mean error {score['mae_pct']:.1f} %, {inside:.0f} % inside the 80 % band")
    for lead, score in run["forecast"]["price"].items():
        if score:
            items.append(f"price forecast {lead} ahead: mean error {score['mae_per_kwh']:.4f} per kWh, bias {score['bias_per_kwh']:+.4f}")
    return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"


def pretty(quality: Mapping[str, Any]) -> str:
    """One line per source, faults only where there are some."""
    return "\n".join(f"{name}: " + ", ".join(f"{k} {v}" for k, v in counts.items() if v) for name, counts in quality.items())
