"""A 30 % cut without notice on the 2 MW site, at 1-s control in virtual time, judged at the simulated meter."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from ems.site.load import load_site
from tests.campaign.events_cases import Call, Case, InjectedFault
from tests.campaign.events_run import CONFIG, Outcome, run_case

CALLED_MIN, CALLED_S = 6, 360
DEPTH = 0.30
NO_FAULT = InjectedFault("message", "none", "", 0.0, 1.0)
FEW_KWH = {"assets": {"bess-1": {"initial_soc": 0.13}}}  # 75 kWh above the window
COMPUTE_ONLY = {"assets": {"bess-1": {"initial_soc": 0.05}, "ups-1": {"is_grid_interactive": False}}}


def cut(length_min: int) -> Case:
    call = Call(CALLED_MIN, "e1", 0, "events-mandatory", "reduce_to", DEPTH, CALLED_MIN, CALLED_MIN + length_min)
    return Case(7, "demo-2mw", "plain", datetime(2024, 8, 20, 16, tzinfo=UTC), (call,), NO_FAULT)


def told(overrides: dict[str, Any], minutes: int) -> tuple[Outcome, float]:
    """The run until so many minutes after the call, and the target in kW."""
    site = load_site(CONFIG / "sites" / "demo-2mw.yaml", overrides)
    outcome = run_case(cut(60), 1.0, site, CALLED_MIN + minutes)
    return outcome, outcome.asked_kw["e1", 0]


@cache
def with_storage() -> tuple[Outcome, float]:
    return told(FEW_KWH, 8)


def test_with_storage_the_meter_is_at_the_target_within_five_seconds():
    outcome, target_kw = with_storage()
    before, after = outcome.import_kw[CALLED_S - 1], outcome.import_kw[CALLED_S:]
    assert before > 1.3 * target_kw
    reached_s = next(s for s, kw in enumerate(after) if kw <= target_kw)
    assert reached_s <= 5
    assert max(after[reached_s:]) <= target_kw  # and stays there


def test_storage_hands_over_to_work_without_a_step_at_the_meter():
    outcome, target_kw = with_storage()
    given = np.subtract(outcome.load_kw, outcome.import_kw)[CALLED_S:]  # by storage
    first_kw, last_kw = given[3:6].max(), given[-60:].mean()
    assert last_kw < 0.8 * first_kw
    after = outcome.import_kw[CALLED_S + 4 :]
    assert max(abs(b - a) for a, b in pairwise(after)) < 0.10 * target_kw
    assert min(after) > 0.8 * target_kw  # nor is more cut than asked


def test_compute_alone_is_at_the_target_within_thirty_seconds():
    outcome, target_kw = told(COMPUTE_ONLY, 2)
    assert outcome.import_kw[CALLED_S - 1] > 1.3 * target_kw
    assert np.allclose(outcome.load_kw, outcome.import_kw)
    assert max(outcome.import_kw[CALLED_S + 30 :]) <= target_kw
    reached_s = next(s for s, kw in enumerate(outcome.import_kw[CALLED_S:]) if kw <= target_kw)
    assert reached_s <= 30
