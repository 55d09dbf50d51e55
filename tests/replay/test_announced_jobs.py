"""Jobs of a scenario in the replayed plan: from their announcement on, and the peaks to come in the guard of the same replay."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ems.replay.planning import Planning
from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import World, build_world
from tests.replay import made

HOUR = timedelta(hours=1)


def world_with(tmp_path: Path, announced_after_h: float) -> World:
    begin, end, told = (made.START + h * HOUR for h in (2.0, 3.0, announced_after_h))
    job = f"[{{cluster: hall-a, announced_at: {told.isoformat()}, start: {begin.isoformat()}, end: {end.isoformat()}, kw: 200}}]"
    path = made.write_scenario(tmp_path, hours=4.0, jobs=job, control_step_s="60")
    return build_world(load_scenario(path), 7)


def upper_kw(planning: Planning, after_h: float) -> np.ndarray:
    """q90 of hall-a at the hours of the window, as forecast so long after its start."""
    starts = [made.START + h * HOUR for h in range(4)]
    return planning.loop.loads["hall-a"].forecast(made.START + after_h * HOUR, starts, [1.0] * 4).q(0.9)


def test_a_job_of_the_scenario_is_in_the_quantiles_of_the_plan_from_its_announcement_on(tmp_path: Path):
    planning = Planning(world_with(tmp_path, 0.5), is_oracle=False)
    rise_kw = upper_kw(planning, 0.6) - upper_kw(planning, 0.4)
    assert rise_kw[2] > 150.0
    assert np.abs(rise_kw[[0, 1, 3]]).max() < 20.0


def test_the_peaks_to_come_reach_the_guard_of_a_replay(tmp_path: Path, monkeypatch: Any):
    path = made.write_scenario(tmp_path, hours=0.25, control_step_s="60")
    run = Run(build_world(load_scenario(path), 7), "plan")
    assert run.controller is not None
    taken: list[dict[str, Any]] = []
    monkeypatch.setattr(run.controller.foreseen, "take", taken.append)
    run.execute(tmp_path / "out", lambda done: None)
    assert taken and set(taken[0]["peaks_kw"]) == {"hall-a", "hall-b"}
    assert all(len(row) == len(body["windows_s"]) for body in taken for row in body["peaks_kw"].values())
