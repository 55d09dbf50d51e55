"""A replay whose cycles last minutes sees the load and keeps the stores as one of seconds does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from ems.replay.planning import minutes_between
from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from tests.replay import made

MONDAY = datetime(2024, 8, 19, 5, tzinfo=UTC)


def test_every_minute_is_told_once_whatever_the_cycle() -> None:
    for cycle_s in (1, 20, 60, 90, 300):
        told, first = [], MONDAY
        for k in range(1, 1201 // cycle_s):
            now = MONDAY + timedelta(seconds=k * cycle_s)
            if now.replace(second=0) != first:  # a frame is done when another minute begins
                told += list(minutes_between(first, now))
                first = now.replace(second=0)
        assert told == [MONDAY + timedelta(minutes=m) for m in range(len(told))] and len(told) >= 15


def test_the_forecasts_of_a_replay_of_five_minute_cycles_are_no_nameplates(tmp_path: Path) -> None:
    path = made.write_scenario(tmp_path, 2.0)
    text = path.read_text()
    assert "control_step_s: 5" in text
    path.write_text(text.replace("control_step_s: 5", "control_step_s: 300"))
    run = Run(build_world(load_scenario(path), 7), "plan")
    summary = run.execute(tmp_path / "plan", lambda done: None)
    assert run.planning is not None
    for cluster in run.world.site.clusters:
        values = run.planning.loop.loads[cluster.id].rest._grid.values[-20:]  # type: ignore[attr-defined]
        assert np.isfinite(values).all()
        assert run.planning.loop.forecasts[cluster.id].q(0.5).max() < cluster.rating_kw
    assert summary["limits"]["soc_breach_kwh"] == 0.0
