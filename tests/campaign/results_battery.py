"""A battery alone on two markets, month by month: the plan in closed loop, a dozen-line dynamic programme, perfect foresight.

The same code and settings on both markets. Each month begins half full and is credited for what it leaves; its plant is 10 % off its file,
signs by the seed, every third month worse in everything. Finished months are kept (.results_battery/), so that a run goes on where it was
stopped; months made by other code are run again unless --keep. The section is results-battery.md.

    python -m tests.campaign.results_battery [--only ercot-start,nem-end] [--keep] [--table]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.campaign.battery_yardstick import programme_money
from tests.campaign.results import code_hash
from tests.campaign.results_battery_table import section
from tests.campaign.results_cases import CHECKOUT, iso

CACHE = Path(__file__).with_name(".results_battery")
TABLE = Path(__file__).with_name("results-battery.md")
WEAR_PER_KWH = 0.01  # of throughput, in the cases with wear
FIRST_SEED = 30
SPANS = {
    "ercot": [
        datetime(2024, 1, 8, 6, tzinfo=UTC),
        *(datetime(2024, m, 1, 6, tzinfo=UTC) for m in range(2, 13)),
        datetime(2024, 12, 31, 6, tzinfo=UTC),
    ],
    "nem": [
        datetime(2024, 12, 4, 14, tzinfo=UTC),
        *(datetime(2024, 12, 31, 14, tzinfo=UTC) + timedelta(days=d) for d in (0, 31, 59, 90, 120)),
        datetime(2025, 5, 31, 14, tzinfo=UTC),
    ],
}


@dataclass(frozen=True)
class Month:
    """One month of one market; `known` is when the price of an interval is: at its start or its end."""

    market: str
    known: str
    number: int
    wear: bool = False

    @property
    def group(self) -> str:
        """What is summed to one share."""
        return f"{self.market}-{self.known}{'-wear' if self.wear else ''}"

    @property
    def name(self) -> str:
        """Folder of what is kept."""
        return f"{self.group}-{self.begin + timedelta(hours=12):%Y-%m}"  # local midnight may lie on the day before

    @property
    def begin(self) -> datetime:
        """First instant."""
        return SPANS[self.market][self.number]

    @property
    def end(self) -> datetime:
        """First instant after."""
        return SPANS[self.market][self.number + 1]

    @property
    def seed(self) -> int:
        """Draws the plant."""
        return FIRST_SEED + self.number


def months() -> list[Month]:
    """All cases, the two markets by turns, those with wear last."""
    plain = [(known, False) for known in ("start", "end")]
    return [
        Month(market, known, number, wear)
        for known, wear in (*plain, ("start", True))
        for number in range(12)
        for market in SPANS
        if number < len(SPANS[market]) - 1
    ]


def scenario_text(month: Month) -> str:
    """The scenario file with this month's window, seed, knowledge and wear."""
    text = (CHECKOUT / "config" / "scenarios" / f"battery-{month.market}.yaml").read_text()
    lines = []
    for line in text.splitlines():
        key = line.split(":", 1)[0]
        changed = {"start": iso(month.begin), "end": iso(month.end), "seed": str(month.seed)}.get(key)
        lines.append(line if changed is None else f"{key}: {changed}")
    text = "\n".join(lines).replace("known: interval_start", f"known: interval_{month.known}") + "\n"
    text = text.replace("site: ../sites/", f"site: {CHECKOUT / 'config' / 'sites'}/")
    wear = f"{{assets: {{bess-1: {{wear_price_per_kwh: {WEAR_PER_KWH}}}}}"
    if month.wear and "overrides: {" in text:
        return text.replace("overrides: {", f"overrides: {wear}, ", 1)
    return f"{text}overrides: {wear}}}\n" if month.wear else text


def run_month(month: Month, code: str) -> None:
    """Replays a month and solves its bound; money earned per day is kept, the credit for what is left on the last."""
    from ems.replay.bound import solve_window
    from ems.replay.runner import Run
    from ems.replay.scenario import load_scenario
    from ems.replay.world import build_world

    folder = CACHE / month.name
    folder.mkdir(exist_ok=True)
    path = folder / "scenario.yaml"
    path.write_text(scenario_text(month))
    world = build_world(load_scenario(path), month.seed)
    summary = Run(world, "plan").execute(folder / "plan", lambda done: None)
    found = solve_window(world)
    step_h = float((month.end - month.begin) / timedelta(hours=1)) / len(found.import_kw)
    prices = world.price.reshape(len(found.import_kw), -1).mean(axis=1)
    result: dict[str, Any] = {
        "code": code,
        "plan": days_of_plan(folder / "plan", summary["cost"]["total"]),
        "bound": per_day(-(found.import_kw - found.export_kw) * prices * step_h, step_h, -found.total),
        "programme": programme_money(world, month.known == "start", step_h),
        "planner": summary["planner"],
        "limits": summary["limits"],
        "wall_s": summary["wall_s"],
    }
    shutil.rmtree(folder / "plan")
    (folder / "result.json").write_text(json.dumps(result))


def days_of_plan(folder: Path, total: float) -> list[float]:
    """Money earned per day of the window, from the time series."""
    table = pd.read_parquet(folder / "timeseries.parquet", columns=["time", "poc_kw", "price_per_kwh"])
    step_h = (table["time"].iloc[1] - table["time"].iloc[0]) / pd.Timedelta(hours=1)
    return per_day(-(table["poc_kw"] * table["price_per_kwh"]).to_numpy() * step_h, step_h, -total)


def per_day(money: np.ndarray, step_h: float, total: float) -> list[float]:
    """Sums of whole days; what else the total holds (wear, credit for what is left) is spread evenly."""
    days = np.add.reduceat(money, np.arange(0, len(money), round(24.0 / step_h)))
    return [float(x) for x in days + (total - days.sum()) / len(days)]


def kept(month: Month, code: str | None) -> dict[str, Any] | None:
    """A kept result, unless it was made by other code."""
    try:
        result: dict[str, Any] = json.loads((CACHE / month.name / "result.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return result if code is None or result["code"] == code else None


def main() -> int:
    """Runs what is missing, one month after another, and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda t: t.split(","), default=[])
    parser.add_argument("--keep", action="store_true", help="use kept months of other code too")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table from what is kept")
    args = parser.parse_args()
    os.environ.setdefault("EMS_DATA_DIR", str(CHECKOUT.parent / "shared" / "data"))
    if not Path(os.environ["EMS_DATA_DIR"]).is_dir():
        print("the results need the real data: set EMS_DATA_DIR", file=sys.stderr)
        return 2
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    code = code_hash()
    for month in months():
        if args.table or (args.only and month.group not in args.only) or kept(month, None if args.keep else code) is not None:
            continue
        begun = time.perf_counter()
        run_month(month, code)
        result = kept(month, None)
        assert result is not None
        share = sum(result["plan"]) / sum(result["bound"])
        print(f"{month.name}: {share:.1%} of perfect foresight, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    found = {month: result for month in months() if (result := kept(month, None)) is not None}
    TABLE.write_text(section(months(), found, code))
    print(TABLE.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
