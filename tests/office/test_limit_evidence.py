"""The bundle of a capacity limit proves from itself alone what was told, what held when, and whether the meter stayed under it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from typer.testing import CliRunner

from ems.app.cli import app
from ems.app.limit_evidence import limit_bundle
from ems.errors import DataError
from ems.history.tables import site_minute
from ems.history.write import put
from ems.program.evidence import MANIFEST, recompute
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW, HeadEnd, head_end
from tests.office.test_channels import Office


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    with head_end() as grid:
        made = Office(tmp_path, grid)
        yield made
        made.close()


def metered(office: Office, kw: dict[int, float]) -> None:
    """Four hours at the meter from NOW on: 850 kW, single minutes as given."""
    rows = [{"start": NOW + n * MINUTE, "poc_kw": kw.get(n, 850.0)} for n in range(240)]
    with office.engine.begin() as connection:
        put(connection, site_minute, rows)


def told(grid: HeadEnd, office: Office) -> str:
    """1,200 kW in the second hour, 600 kW in the third; 900 kW are subscribed."""
    event = grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [1200, 600])
    office.step()
    return f"dso:{event['id']}"


def proof(bundle: Path) -> dict[str, object]:
    with ZipFile(bundle) as files:
        return json.loads(files.read("limits.json"))


def test_a_limit_that_was_held_is_proven_and_one_that_was_not_is_told_by_the_minute(office: Office, tmp_path: Path):
    name, bundle = told(office.grid, office), tmp_path / "limit.zip"
    metered(
        office, {**dict.fromkeys(range(60, 120), 1100.0), **dict.fromkeys(range(120, 180), 590.0), **dict.fromkeys(range(150, 155), 660.0)}
    )
    for _ in range(24):
        office.step(10 * MINUTE)
    assert limit_bundle(office.programs, office.programs.desk(), name, None, None, NOW + 4 * HOUR, bundle) is not None
    found = proof(bundle)
    assert [(s["kw"], s["start"]) for s in found["spans"]] == [(1200.0, (NOW + HOUR).isoformat()), (600.0, (NOW + 2 * HOUR).isoformat())]
    assert (found["intervals_known"], found["intervals_held"]) == (8, 7)
    assert (found["minutes_above"], found["longest_min"], found["worst_kw"]) == (5, 5, pytest.approx(60.0))
    assert found["energy_above_kwh"] == pytest.approx(5.0)
    assert recompute(bundle) == []
    assert "limits agree" in CliRunner().invoke(app, ["events", "recompute", str(bundle)]).output


def test_a_connection_over_a_time_shows_subscription_limits_and_the_loss_of_the_head_end(office: Office, tmp_path: Path):
    told(office.grid, office)
    metered(office, {})
    bundle, span = tmp_path / "dso.zip", ((NOW).isoformat(), (NOW + 3 * HOUR).isoformat())
    assert limit_bundle(office.programs, office.programs.desk(), "dso", *span, NOW + 4 * HOUR, bundle)
    spans = proof(bundle)["spans"]
    assert [s["kw"] for s in spans] == [900.0, 900.0, 600.0]  # nobody was heard for 15 min: none above the subscription
    assert "communication lost" in spans[1]["source"] and recompute(bundle) == []


def test_a_limit_told_late_counts_after_the_response_time_and_a_hole_in_the_meter_is_not_held(office: Office, tmp_path: Path):
    event = office.grid.event(office.grid.program(), "IMPORT_CAPACITY_LIMIT", [700.0], start=NOW - HOUR, length="PT4H")
    office.step(MINUTE)
    with office.engine.begin() as connection:
        put(connection, site_minute, [{"start": NOW + n * MINUTE, "poc_kw": 650.0} for n in range(60) if n != 40])
    bundle = tmp_path / "late.zip"
    span = (NOW.isoformat(), (NOW + HOUR).isoformat())
    assert limit_bundle(office.programs, office.programs.desk(), f"dso:{event['id']}", *span, NOW + 4 * HOUR, bundle)
    found = proof(bundle)
    assert found["spans"][0]["kw"] == 900.0 and found["spans"][0]["end"] == (NOW + 6 * MINUTE).isoformat()  # 5 min to answer
    assert found["intervals_known"] == 3 and found["intervals_held"] == 3


def test_a_doctored_bundle_disagrees_and_what_is_not_there_is_one_line(office: Office, tmp_path: Path):
    name, bundle, wrong = told(office.grid, office), tmp_path / "limit.zip", tmp_path / "wrong.zip"
    with pytest.raises(DataError, match="no minute"):
        limit_bundle(office.programs, office.programs.desk(), name, None, None, NOW + 4 * HOUR, bundle)
    metered(office, {})
    assert limit_bundle(office.programs, office.programs.desk(), name, None, None, NOW + 4 * HOUR, bundle)
    with ZipFile(bundle) as files, ZipFile(wrong, "w") as doctored:
        for each in files.namelist():
            text = files.read(each).decode()
            doctored.writestr(each, text.replace("850.0", "500.0") if each == "meter.json" else text)
    faults = recompute(wrong)
    assert any(f.startswith("meter.json") for f in faults) and any("limits.json" in f for f in faults) and MANIFEST
    assert limit_bundle(office.programs, office.programs.desk(), "nobody", None, None, NOW, bundle) is None
    with pytest.raises(DataError, match="expected some of the past"):
        limit_bundle(office.programs, office.programs.desk(), name, (NOW + 9 * HOUR).isoformat(), None, NOW + timedelta(hours=4), bundle)
