"""The sweep's own parts: every case is a valid scenario, and a requirement that is not met is named."""

from datetime import timedelta
from pathlib import Path

import pytest

from ems.replay.scenario import load_scenario
from tests.campaign.sweep import LIMITS, SEEDS, WEEKS, Case, failures, scenario_text, table

GOOD = {
    "code": "0123456789abcdef",
    "limit_kw": 1370.0,
    "total": {"capped": 200.0, "rules": 190.0, "plan": 150.0, "bound": 120.0},
    "share": 0.62,
    "excursion_s": {"capped": 0.0, "rules": 5.0, "plan": 60.0},
    "reserve_s": {"capped": 0.0, "rules": 0.0, "plan": 0.0},
}


@pytest.mark.parametrize("week", WEEKS)
def test_every_case_is_a_whole_week_at_thirty_seconds_with_its_own_skip_and_limit(
    week: str, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EMS_DATA_DIR", str(data_dir))
    for limit in LIMITS:
        path = tmp_path / f"{limit}.yaml"
        path.write_text(scenario_text(Case(week, SEEDS[-1], limit)))
        scenario = load_scenario(path)
        assert scenario.model.end - scenario.model.start == timedelta(days=7)
        assert scenario.control_step_s == 30.0 and scenario.plant_step_s == 5.0
        assert [load.trace.skip_s for load in scenario.model.load] == [4 * 86400, 0]
        assert scenario.model.start - scenario.model.load[0].trace.begins_at == timedelta(days=3)
    limits = {load_scenario(tmp_path / f"{limit}.yaml").site.point_of_connection.import_limit_kw for limit in LIMITS}
    assert max(limits) / min(limits) == pytest.approx(1.05 / 0.95)


def test_a_case_that_meets_everything_is_no_failure():
    assert failures([(Case("august", 7, 1.0), GOOD)]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"total": {**GOOD["total"], "rules": 201.0}}, "order"),
        ({"total": {**GOOD["total"], "plan": 119.0}}, "cheaper than the bound"),
        ({"share": 0.29}, "share of the bound 29%"),
        ({"excursion_s": {**GOOD["excursion_s"], "plan": 65.0}}, "plan was 65 s over"),
        ({"reserve_s": {**GOOD["reserve_s"], "rules": 5.0}}, "short of reserve"),
    ],
)
def test_a_requirement_that_is_not_met_is_named(change: dict, words: str):
    found = failures([(Case("august", 7, 1.0), {**GOOD, **change})])
    assert len(found) == 1 and words in found[0] and found[0].startswith("august-7-100")


def test_the_table_holds_one_line_per_case_and_names_no_place_on_this_machine():
    text = table([(Case("july", 9, 0.95), GOOD)], [])
    assert "| july | 9 | 2 | 1370 | 200 | 190 | 150 | 120 | 62 % | 0, 5, 60 | 0 |" in text
    assert str(Path.cwd()) not in text
