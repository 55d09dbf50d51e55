"""A bundle proves an event by itself, and says so when a single number in it was changed."""

import hashlib
import json
import zipfile
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ems.app.cli import app
from ems.errors import DataError
from ems.program.evidence import MANIFEST, Evidence, recompute, write_bundle
from ems.program.library import program_path
from ems.program.measure import MeasureInputs, measure_event
from ems.program.meter import MeterSeries
from ems.program.stages import acting_event
from tests.program.desks import HOUR, NOW, World, desk_on, event, message, states

LOOKBACK = timedelta(days=40)


class MeteredWorld(World):
    """Measures from a meter: 1,000 kW with a little life, 800 kW in the event."""

    def meter(self) -> MeterSeries:
        start = (NOW - LOOKBACK).replace(minute=0)
        steps = range(int((LOOKBACK + 6 * HOUR) / timedelta(minutes=15)))
        held = (NOW + HOUR, NOW + 3 * HOUR)
        kw = [800.0 if held[0] <= start + n * HOUR / 4 < held[1] else 1000.0 + n % 7 for n in steps]
        return MeterSeries.of(start, 15, kw)

    def inputs(self, status, terms) -> MeasureInputs:
        return MeasureInputs(acting_event(status, terms), status.accepted_kw, status.event.end, self.meter())

    def measure(self, status, terms, enrolment, now):
        return measure_event(self.inputs(status, terms), terms, enrolment)


@pytest.fixture
def bundle(tmp_path) -> Path:
    world = MeteredWorld()
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event("other", start_min=3000)), NOW)
    desk.receive(message(event(), raw='{"eventID": "e1"}', source="test head-end"), NOW)
    for minute in range(0, 300, 5):
        desk.tick(NOW + minute * timedelta(minutes=1))
    path = tmp_path / "e1.zip"
    write_bundle(
        Evidence(
            event="e1",
            records=desk.store.since(0, "e1"),
            chain=[r.hash for r in desk.store.since()],
            program="ercot-ers-30",
            program_text=program_path("ercot-ers-30", Path("x.yaml")).read_text(),
            enrolment=desk.enrolments["ercot-ers-30"],
            setpoints=[{"at": NOW.isoformat(), "setpoints": [["bess-1", "power_setpoint_kw", -200.0, "plan", True]]}],
        ),
        path,
    )
    return path


def changed(path: Path, name: str, old: str, new: str, with_manifest: bool) -> Path:
    """The bundle with one text in one file changed; with the manifest's hash put right by a clever hand, or not."""
    with zipfile.ZipFile(path) as bundle:
        files = {n: bundle.read(n).decode() for n in bundle.namelist()}
    assert old in files[name], f"{old} is not in {name}"
    files[name] = files[name].replace(old, new, 1)
    if with_manifest:
        manifest = json.loads(files[MANIFEST])
        manifest["files"][name] = hashlib.sha256(files[name].encode()).hexdigest()
        files[MANIFEST] = json.dumps(manifest)
    other = path.with_name("changed.zip")
    with zipfile.ZipFile(other, "w") as bundle:
        for n, text in files.items():
            bundle.writestr(n, text)
    return other


def test_a_bundle_agrees_with_itself_and_holds_everything(bundle):
    assert recompute(bundle) == []
    with zipfile.ZipFile(bundle) as found:
        names = set(found.namelist())
        days = json.loads(found.read("baseline.json"))["days"]
        settlement = json.loads(found.read("settlement.json"))
        raw = found.read("raw_messages.jsonl").decode()
    assert names >= {
        "records.jsonl",
        "chain.json",
        "raw_messages.jsonl",
        "setpoints.jsonl",
        "meter.json",
        "baseline.json",
        "settlement.json",
    }
    assert names >= {"program.yaml", "enrolment.json", "inputs.json", MANIFEST}
    assert sum(d["is_used"] for d in days) == 8 and all(d["why"] for d in days)
    assert settlement["delivered_kwh"] == pytest.approx(400.0, abs=15.0) and settlement["rule_version"]
    assert "eventID" in raw and "other" not in raw


@pytest.mark.parametrize("with_manifest", [False, True])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("meter.json", "800.0", "799.0"),
        ("meter.json", "1003.0", "1103.0"),
        ("settlement.json", '"delivered_kwh": ', '"delivered_kwh": 1'),
        ("baseline.json", '"is_used": true', '"is_used": false'),
        ("records.jsonl", '"by": "automatic"', '"by": "nobody"'),
        ("chain.json", '"]', '0"]'),
        ("program.yaml", "floor: 0.0, cap: 1.0", "floor: 0.0, cap: 1.1"),
        ("enrolment.json", '"committed_kw":200.0', '"committed_kw":300.0'),
        ("inputs.json", '"accepted_kw": null', '"accepted_kw": 50.0'),
    ],
)
def test_one_changed_number_disagrees(bundle, name, old, new, with_manifest):
    assert recompute(changed(bundle, name, old, new, with_manifest))


def test_a_missing_file_or_no_bundle_is_told(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as found:
        files = {n: found.read(n) for n in found.namelist() if n != "meter.json"}
    torn = tmp_path / "torn.zip"
    with zipfile.ZipFile(torn, "w") as out:
        for n, body in files.items():
            out.writestr(n, body)
    assert any("meter.json" in fault for fault in recompute(torn))
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(DataError, match="not an evidence bundle"):
        recompute(tmp_path / "text.zip")


def test_equal_events_give_equal_bundles(bundle):
    again = bundle.with_name("again.zip")
    again.write_bytes(bundle.read_bytes())
    assert recompute(again) == []


def test_recompute_on_the_command_line(bundle):
    runner = CliRunner()
    assert "agree" in runner.invoke(app, ["events", "recompute", str(bundle)]).output
    wrong = changed(bundle, "meter.json", "800.0", "790.0", True)
    result = runner.invoke(app, ["events", "recompute", str(wrong)])
    assert result.exit_code != 0 and "recomputed" in str(result.exception)


def test_a_statement_closes_the_settlement_with_its_difference(tmp_path):
    desk = desk_on(tmp_path / "p.db", MeteredWorld())
    desk.receive(message(event()), NOW)
    with pytest.raises(DataError, match="no estimate"):
        desk.statement("e1", Decimal("10.00"), "Ada Byron", NOW)
    for minute in range(0, 300, 10):
        desk.tick(NOW + minute * timedelta(minutes=1))
    estimate = Decimal(desk.events["e1"].result["settlement"]["expected"])
    said = desk.statement("e1", estimate + 5, "Ada Byron", NOW + 6 * HOUR)
    assert "outside low to high, difference 5" in said and states(desk.store)[-1] == "settled_final"
    assert desk.events["e1"].result["difference"].startswith("5")


def test_an_event_measured_only_in_part_is_bundled_all_the_same(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    records = desk.store.since(0, "e1")
    text = program_path("ercot-ers-30", Path("x.yaml")).read_text()
    write_bundle(Evidence("e1", records, [r.hash for r in records], "ercot-ers-30", text, None), tmp_path / "e1.zip")
    assert recompute(tmp_path / "e1.zip") == []
    assert replace(records[0], hash="0" * 64) != records[0]
