"""The results' own parts: every case is a valid scenario, every goal that is missed says NO, shedding out of order is seen."""

from pathlib import Path
from typing import Any

import pytest

from ems.replay.mismatch import ALL_WORSE_EVERY
from ems.replay.scenario import load_scenario
from simulators.devices.cluster import ClassWork
from tests.campaign.results import tightened
from tests.campaign.results_cases import Case, cases, scenario_text
from tests.campaign.results_table import goals, table
from tests.campaign.watch import out_of_order

WEEK = Case("demand-charge", 9, ("capped", "plan"), "july", 2)
SUMMER = Case("four-cp", 33, ("plan",))
TRIP = Case("chiller-trip", 9, ("plan",))


def policy(total: float, **limits: float) -> dict[str, Any]:
    held = {"import_excursion_s": 0.0, "reserve_shortfall_s": 0.0, "soc_breach_kwh": 0.0, "thermal_breach_s": None, **limits}
    cost = {"total": total, "energy": total, "demand": 0.0, "workload": 0.0}
    return {"cost": cost, "limits": held, "planner": {"fallbacks": 0}, "generation": {}}


def week(plan: float, **limits: float) -> dict[str, Any]:
    bound = {"total": 60.0, "cost": {}, "solved": True, "why": ""}
    return {"code": "a", "policies": {"capped": policy(100.0), "plan": policy(plan, **limits)}, "bound": bound, "watched": {}}


def watched(**found: Any) -> dict[str, Any]:
    seen = {"out_of_order_s": 0.0, "cut_s": 60.0, "least_it_kw": 1000.0, **found}
    return {"code": "b", "policies": {"plan": policy(100.0, thermal_breach_s=0.0)}, "watched": {"plan": seen}}


def test_every_case_is_a_valid_scenario_with_a_mismatch_and_a_third_of_the_seeds_are_worse_in_all(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EMS_DATA_DIR", str(data_dir))
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    for case in cases():
        path = tmp_path / f"{case.name}.yaml"
        path.write_text(scenario_text(case))
        scenario = load_scenario(path)
        assert scenario.model.mismatch == 0.1 and scenario.model.seed == case.seed
        if case.week:
            assert (scenario.model.end - scenario.model.start).days == case.days
            assert [load.trace.skip_s for load in scenario.model.load] == [86400.0 * case.skip_days, 0.0]
    assert sum(case.seed % ALL_WORSE_EVERY == 0 for case in cases()) >= len(cases()) / 3


def test_a_tightened_scenario_has_the_limit_and_is_valid_yaml(tmp_path: Path):
    text = tightened("overrides:\n  point_of_connection: {import_limit_kw: 1130}   # why\n  tariff: {name: flat}\n", 987.6)
    assert text == "overrides:\n  point_of_connection: {import_limit_kw: 988}   # why\n  tariff: {name: flat}\n"


def test_goals_that_are_reached_say_yes():
    hit = watched(hits=4, dispatch_days=25, given_in_peaks=[1.0] * 4)
    lines = goals({WEEK: week(70.0), SUMMER: hit, TRIP: watched(warmest_c=31.0, allowed_c=32.0)})
    assert len(lines) > 6 and all(line.endswith("| yes |") for line in lines[2:])


@pytest.mark.parametrize(
    ("case", "result", "words"),
    [
        (WEEK, week(71.0), "median share"),
        (WEEK, week(70.0, import_excursion_s=5.0), "over the import limit"),
        (WEEK, week(70.0, reserve_shortfall_s=5.0), "short of reserve"),
        (WEEK, week(70.0, soc_breach_kwh=0.1), "0.1 (demand-charge"),
        (SUMMER, watched(hits=3, dispatch_days=20, given_in_peaks=[1.0]), "four-cp"),
        (SUMMER, watched(hits=4, dispatch_days=26, given_in_peaks=[1.0]), "four-cp"),
        (TRIP, watched(out_of_order_s=5.0), "out of tier order"),
    ],
)
def test_a_goal_that_is_missed_says_no(case: Case, result: dict[str, Any], words: str):
    missed = [line for line in goals({case: result}) if line.endswith("| NO |")]
    assert len(missed) == 1 and words in missed[0]


def test_the_page_says_how_many_cases_were_run_and_by_which_state_of_the_code():
    page = table(cases(), {WEEK: week(70.0), SUMMER: watched(hits=4, dispatch_days=20, given_in_peaks=[0.5])}, "a")
    assert f"2 of {len(cases())} cases run, 1 of them by an earlier state" in page
    assert "| demand-charge | july | 9* | 2 | 100 | 70 | 60 | 75% |" in page and "| 33* | 4 | 0.50 | 20 |" in page
    assert str(Path.cwd()) not in page


@pytest.mark.parametrize(
    ("batch", "training", "interactive", "is_wrong"),
    [
        (ClassWork(0.0, 1.0), ClassWork(1.0), ClassWork(1.0), False),
        (ClassWork(1.0, 0.0), ClassWork(0.0, 1.0), ClassWork(1.0), True),
        (ClassWork(0.0, 1.0), ClassWork(0.0, 1.0), ClassWork(1.0, throttled_kwh=1.0), False),
        (ClassWork(0.0, 1.0), ClassWork(1.0), ClassWork(1.0, throttled_kwh=1.0), True),
        (ClassWork(1.0, recovered_kwh=1.0), ClassWork(0.0, 1.0), ClassWork(1.0), False),
    ],
)
def test_work_that_is_cut_before_cheaper_work_is_seen(batch: ClassWork, training: ClassWork, interactive: ClassWork, is_wrong: bool):
    assert out_of_order({"interactive": interactive, "batch": batch, "training": training}, 1e-3) == is_wrong
