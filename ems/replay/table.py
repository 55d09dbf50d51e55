"""What a replay prints: policies beside each other, with the lines that do not flatter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

PRINTED_STEP_S = 5.0
LIMIT_FACTOR, LIMIT_ROUNDING_KW = 0.9, 10.0
COST_ROWS = ("energy", "demand", "fuel", "wear", "workload", "stored_energy_credit", "limit_breach")


def comparison_text(compared: Mapping[str, Any], summaries: Mapping[str, Sequence[Mapping[str, Any]]], currency: str) -> str:
    """One column per policy; money, then what it cost to earn it."""
    rows = comparison_rows(compared, summaries, currency)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(lines)


def comparison_rows(compared: Mapping[str, Any], summaries: Mapping[str, Sequence[Mapping[str, Any]]], currency: str) -> list[list[str]]:
    """The same as cells, the head first."""
    policies, bound = compared["policies"], compared["bound"]
    names = list(policies)
    with_bound = bound["total"] is not None
    rows = [[f"{currency}", *names, *(["bound"] if with_bound else [])]]

    def add(label: str, cells: list[str], of_bound: str = "") -> None:
        rows.append([label, *cells, *([of_bound] if with_bound else [])])

    for key in COST_ROWS:
        if key == "fuel" and not any(policies[n]["cost"].get(key) for n in names):
            continue
        add(key.replace("_", " "), [_money(policies[n]["cost"][key]) for n in names], _money((bound.get("cost") or {}).get(key)))
    add("total", [_money(policies[n]["total"]) for n in names], _money(bound["total"]))
    add("saving against capped", [_money(policies[n]["saving_vs_capped"]) for n in names])
    add("share of the bound's saving", [_percent(policies[n]["saving_share_of_bound"]) for n in names])
    interval_min = summaries[names[0]][0]["peak"]["interval_min"]
    add(f"{interval_min}-min peak kW", [_number(_mean(summaries[n], "peak", "import_kw")) for n in names])
    add("over the limit s", [_number(policies[n]["limits"]["import_excursion_s"]) for n in names])
    add("  longest s", [_number(policies[n]["limits"]["import_excursion_longest_s"]) for n in names])
    add("  worst kW over", [_number(policies[n]["limits"]["import_excursion_max_kw"], 1) for n in names])
    add("reserve short s", [_number(policies[n]["limits"]["reserve_shortfall_s"]) for n in names])
    add("work deferred kWh", [_number(_mean(summaries[n], "service", "deferred_kwh")) for n in names])
    add("  dropped kWh", [_number(_mean(summaries[n], "service", "unrecovered_kwh"), 1) for n in names])
    add("  throttled kWh", [_number(_mean(summaries[n], "service", "throttled_kwh"), 1) for n in names])
    add(
        "battery throughput kWh",
        [_number(_mean(summaries[n], "energy", "charge_kwh") + _mean(summaries[n], "energy", "discharge_kwh")) for n in names],
    )
    add("planner fallbacks", [_number(_mean(summaries[n], "planner", "fallbacks")) for n in names])
    add("below L0 share", [_percent(_below_l0(summaries[n])) for n in names])
    return rows


def unmanaged_kw(path: Path, control_step_s: float) -> tuple[float, float]:
    """The 99.5th percentile of 5-s import in kW, and 0.9 times that rounded to 10 kW."""
    import_kw = pq.read_table(path, columns=["import_kw"])["import_kw"].to_numpy()
    per = round(PRINTED_STEP_S / control_step_s)
    if per > 1:
        import_kw = import_kw[: len(import_kw) // per * per].reshape(-1, per).mean(axis=1)
    p995 = float(np.percentile(import_kw, 99.5))
    return p995, round(LIMIT_FACTOR * p995 / LIMIT_ROUNDING_KW) * LIMIT_ROUNDING_KW


def unmanaged_text(path: Path, control_step_s: float) -> str:
    """What `--policy none` prints about the load nobody manages."""
    p995, limit = unmanaged_kw(path, control_step_s)
    return f"unmanaged import: 99.5th percentile of 5-s means {p995:.1f} kW; {LIMIT_FACTOR} of it, rounded to 10 kW: {limit:.0f} kW"


def clipped_lines(quality: Mapping[str, Mapping[str, Any]], steps: int) -> Iterator[str]:
    """What of the traces was not replayed as it stands there: a cluster draws at least its idle power and at most its rating."""
    bounds = {"clipped_at_idle_steps": "below idle_kw and count as idle", "clipped_at_rating_steps": "above rating_kw and count as it"}
    for cluster, counts in quality.items():
        for key, where in bounds.items():
            if counts.get(key):
                yield f"{cluster}: {counts[key]} of {steps} steps of its trace lie {where}"


def window_lines(summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What no policy may do to a store, and no other line would show."""
    for name, runs in summaries.items():
        kwh = sum(run["limits"]["soc_breach_kwh"] for run in runs)
        if kwh > 0.0:
            yield f"{name}: {kwh:,.1f} kWh moved outside the state-of-charge window of a store"


def _mean(runs: Sequence[Mapping[str, Any]], part: str, key: str) -> float:
    return sum(run[part][key] for run in runs) / len(runs)


def _below_l0(runs: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of the time a planning policy was not on a fresh plan; None for the others."""
    if not runs[0]["planner"]["solves"]:
        return None
    seconds = [run["control"]["ladder_seconds"] for run in runs]
    return 1.0 - sum(s["L0"] for s in seconds) / sum(sum(s.values()) for s in seconds)


def _money(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
