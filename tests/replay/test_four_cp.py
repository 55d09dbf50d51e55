"""Coincident peaks in closed loop: the battery gives on the day the system peaks, and is left alone on a cool one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from tests.campaign.watch import Watch

SITES = Path(__file__).resolve().parents[2] / "config" / "sites"
JUNE = datetime(2024, 6, 1, 5, tzinfo=UTC)
HOT, COOL = 20, 24  # days of June


def write_scenario(folder: Path, day: int) -> Path:
    """One day at the hall of 1 MW; the system's load of a June whose afternoons peak, by far the highest on one day."""
    hours = np.arange(30 * 24)
    mw = 70e3 - 20e3 * (1.0 - np.exp(-((((hours % 24) - 16.3) / 6) ** 2))) + 9e3 * (hours // 24 == HOT)
    rows = [f"{(JUNE + timedelta(hours=int(h))).isoformat()},{x:.0f}" for h, x in zip(hours, mw, strict=True)]
    (folder / "system.csv").write_text("time,load\n" + "\n".join(rows) + "\n")
    start = JUNE + timedelta(days=day)
    lines = {
        "site": SITES / "hall-1mw.yaml",
        "start": start.isoformat(),
        "end": (start + timedelta(days=1)).isoformat(),
        "control_step_s": 300,
        "plan_every_s": 1800,
        "seed": 9,
        "mismatch": 0.1,
        "load": "[{cluster: hall-a, trace: {kind: power, format: generated}}]",
        "system_load": "{path: system.csv}",
    }
    path = folder / "scenario.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


@pytest.mark.parametrize(("day", "hits", "days"), [(HOT, 1, 1), (COOL, 0, 0)])
def test_the_battery_gives_in_the_systems_peak_and_rests_on_a_cool_day(tmp_path: Path, day: int, hits: int, days: int):
    run = Run(build_world(load_scenario(write_scenario(tmp_path, day)), 9), "plan")
    watch = Watch(run)
    summary = run.execute(tmp_path / "plan", lambda done: None)
    found = watch.found(tmp_path / "plan")
    assert (found["hits"], found["dispatch_days"]) == (hits, days)
    assert summary["planner"]["fallbacks"] == 0 and summary["limits"]["import_excursion_s"] == 0.0
