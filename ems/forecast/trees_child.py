"""Fits quantile trees to a history read from stdin, writes them to stdout and ends. Started by `ems.forecast.trees`."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np

from ems.forecast.linear import features
from ems.forecast.protocol import Floats, History
from ems.forecast.trees import FITTED, with_lead

MOST_ORIGINS = 500
SETTINGS = {
    "objective": "quantile",
    "num_leaves": 15,
    "learning_rate": 0.05,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.8,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
ROUNDS = 80


def main() -> int:
    """Exit 3 and one line on stderr without lightgbm or its libgomp."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        print(f"lightgbm absent: {str(error).splitlines()[0]}", file=sys.stderr)
        return 3
    package = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    history = History(float(package["step_s"]), int(package["first"]), package["values"], package["estimate"], str(package["zone"]))
    x, y = rows(history, package["leads"])
    if len(y) < 10 * SETTINGS["min_data_in_leaf"]:  # type: ignore[operator]
        print("no trees: too few rows", file=sys.stderr)
        return 4
    models = [lightgbm.train({**SETTINGS, "alpha": level}, lightgbm.Dataset(x, y), ROUNDS) for level in FITTED]
    json.dump([[flat(t["tree_structure"]) for t in m.dump_model()["tree_info"]] for m in models], sys.stdout)
    return 0


def rows(history: History, leads: np.ndarray) -> tuple[Floats, Floats]:
    """Features and targets (above the newest value, in units) of every origin and lead whose target is known."""
    day = round(86400.0 / history.step_s)
    ends = np.arange(history.first + day, history.end)
    ends = ends[:: max(1, len(ends) // MOST_ORIGINS)]
    xs, ys = [], []
    for end in ends:
        level, unit, x = features(history.until(int(end)), leads)
        target = np.array([history.target(int(end + lead - 1)) for lead in leads])
        ok = np.isfinite(target)
        xs.append(with_lead(x, leads)[ok])
        ys.append((target[ok] - level) / unit - x[ok, 0])
    return (np.concatenate(xs), np.concatenate(ys)) if xs else (np.empty((0, 1)), np.empty(0))


def flat(structure: dict[str, Any]) -> dict[str, list[float]]:
    """A nested tree as lists; a leaf alone has no inner node."""
    parts: dict[str, list[float]] = {"feature": [], "threshold": [], "left": [], "right": [], "leaves": []}
    _place(structure, parts)
    return parts


def _place(node: dict[str, Any], parts: dict[str, list[float]]) -> int:
    if "leaf_value" in node:
        parts["leaves"].append(float(node["leaf_value"]))
        return -len(parts["leaves"])
    at = len(parts["feature"])
    parts["feature"].append(int(node["split_feature"]))
    parts["threshold"].append(float(node["threshold"]))
    parts["left"].append(0)
    parts["right"].append(0)
    parts["left"][at] = _place(node["left_child"], parts)
    parts["right"][at] = _place(node["right_child"], parts)
    return at


if __name__ == "__main__":
    sys.exit(main())
