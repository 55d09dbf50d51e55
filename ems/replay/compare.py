"""comparison.json: policies beside each other, and beside the bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

SCHEMA = 1
WORTH_A_SHARE = 0.01  # a bound that saves less than this part of capped's total gives no share
ROUNDING = 1e-6  # relative: totals closer than this are equal
UNGUARDED = ("none",)

Summary = Mapping[str, Any]
Bound = Mapping[str, Any]  # {"total", "cost", "solved", "gap"}


def comparison(summaries: Mapping[str, Sequence[Summary]], bounds: Sequence[Bound]) -> dict[str, Any]:
    """Means over the seeds, policy -> its seeds' summaries in seed order; every seed's figures under `seeds` when there are several."""
    bound = mean_bound(bounds)
    capped = _total(summaries["capped"]) if "capped" in summaries else None
    policies = {name: _policy(runs, capped, bound) for name, runs in summaries.items()}
    result: dict[str, Any] = {"schema": SCHEMA, "policies": policies, "bound": bound}
    if any(len(runs) > 1 for runs in summaries.values()):
        result["seeds"] = _by_seed(summaries, bounds)
    return result


def defects(summaries: Mapping[str, Sequence[Summary]], bounds: Mapping[int, Bound]) -> list[str]:
    """A guarded policy cheaper than the bound of its seed: impossible unless plant, accounts or bound are wrong. A run that broke its
    limit bought something the bound may not buy, and is left out."""
    found = []
    for name, runs in summaries.items():
        for run in runs:
            bound = bounds.get(run["seed"])
            if bound is None or not bound["solved"] or name in UNGUARDED or run["limits"]["import_excursion_kwh"] > 0:
                continue
            slack = ROUNDING * max(1.0, abs(bound["total"]))
            if run["cost"]["total"] < bound["total"] - slack:
                found.append(f"{name}, seed {run['seed']}: total {run['cost']['total']:.2f} is cheaper than the bound {bound['total']:.2f}")
    return found


def mean_bound(bounds: Sequence[Bound]) -> dict[str, Any]:
    """The bound's mean total; not solved unless it was for every seed."""
    if not bounds or not all(b["solved"] for b in bounds):
        return {"total": None, "solved": False, "gap": None}
    keys = bounds[0]["cost"]
    cost = {k: fmean(b["cost"][k] for b in bounds) for k in keys if isinstance(keys[k], (int, float))}
    return {"total": fmean(b["total"] for b in bounds), "solved": True, "gap": max(b["gap"] for b in bounds), "cost": cost}


def share_of_bound(total: float, capped: float | None, bound: float | None) -> float | None:
    """The part of what the bound saves over capped that a policy saves; None where the bound saves less than 1 % of capped's total."""
    if capped is None or bound is None or capped - bound < WORTH_A_SHARE * abs(capped):
        return None
    return (capped - total) / (capped - bound)


def _policy(runs: Sequence[Summary], capped: float | None, bound: Mapping[str, Any]) -> dict[str, Any]:
    total = _total(runs)
    return {
        "total": total,
        "saving_vs_capped": None if capped is None else capped - total,
        "saving_share_of_bound": share_of_bound(total, capped, bound["total"]),
        "cost": _means([run["cost"] for run in runs]),
        "limits": _worst([run["limits"] for run in runs]),
    }


def _by_seed(summaries: Mapping[str, Sequence[Summary]], bounds: Sequence[Bound]) -> dict[str, Any]:
    by_seed = {b["seed"]: b for b in bounds}
    seeds: dict[str, Any] = {}
    for name, runs in summaries.items():
        for run in runs:
            seed = seeds.setdefault(str(run["seed"]), {"bound": (by_seed.get(run["seed"]) or {}).get("total"), "policies": {}})
            seed["policies"][name] = run["cost"]["total"]
    return seeds


def _total(runs: Sequence[Summary]) -> float:
    return fmean(run["cost"]["total"] for run in runs)


def _means(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {k: fmean(p[k] for p in parts) if isinstance(v, (int, float)) else v for k, v in parts[0].items()}


def _worst(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {k: max(p[k] for p in parts) if isinstance(v, (int, float)) else v for k, v in parts[0].items()}
