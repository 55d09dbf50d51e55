"""A scenario file is checked strictly: every fault with its place, before anything runs."""

from pathlib import Path

import pytest

from ems.errors import ConfigError
from ems.replay.scenario import load_scenario
from tests.replay import made

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "config" / "scenarios").glob("*.yaml"))


def complaints(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    return [str(c) for c in caught.value.complaints]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_scenario_is_valid(path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    if "generated" in path.stem:
        monkeypatch.delenv("EMS_DATA_DIR", raising=False)
    else:
        monkeypatch.setenv("EMS_DATA_DIR", str(request.getfixturevalue("data_dir")))
    assert load_scenario(path).cycles > 0


def test_the_three_real_scenarios_share_one_limit(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMS_DATA_DIR", str(data_dir))
    limits = {load_scenario(p).site.point_of_connection.import_limit_kw for p in SHIPPED if p.stem.startswith("real-")}
    assert len(limits) == 1


def test_an_override_reaches_the_site(tmp_path: Path):
    path = made.write_scenario(tmp_path, overrides="{point_of_connection: {import_limit_kw: 1333}}")
    assert load_scenario(path).site.point_of_connection.import_limit_kw == 1333


def test_every_fault_is_reported_at_once_with_its_line(tmp_path: Path):
    path = made.write_scenario(tmp_path, speed="2", seed="seven", end="2024-08-20")
    found = complaints(path)
    assert len(found) == 3
    assert all(line.startswith(str(path)) for line in found)
    assert any("speed" in line for line in found)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"end": made.START.isoformat()}, "an instant after start"),
        ({"end": "9999-12-31T00:00:00Z"}, "a window of at most"),
        ({"seed": "-7"}, "a number >= 0"),
        ({"seed": "99999999999999999999999"}, "a number < "),
        ({"site": "../sites/nowhere.yaml"}, "the path of a site file"),
        ({"prices": "{path: nowhere.csv, currency: USD}"}, "EMS_DATA_DIR"),
        ({"prices": "{path: prices.csv, currency: EUR}"}, "the site's currency USD"),
        ({"load": "[{cluster: hall-a, trace: {kind: rates, path: rates-a.csv}}]"}, "a trace for cluster hall-b too"),
        ({"load": "[{cluster: hall-x, trace: {kind: rates, path: rates-a.csv}}]"}, "one of hall-a, hall-b"),
        ({"control_step_s": "0.1"}, "a number >= 1"),
        ({"faults": "[{at: 2024-08-20T05:10:00Z, device: bess-9, fault: silent, for_s: 10}]"}, "one of"),
        ({"load": "[{cluster: hall-a, trace: {kind: jobs, path: rates-a.csv}}]"}, "one of 'requests', 'rates' or 'power'"),
    ],
)
def test_what_cannot_work_says_what_would_be_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], expected: str):
    monkeypatch.delenv("EMS_DATA_DIR", raising=False)
    assert any(expected in line for line in complaints(made.write_scenario(tmp_path, **change)))


def test_data_is_looked_up_beside_the_scenario_and_then_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = tmp_path / "data"
    data.mkdir()
    path = made.write_scenario(tmp_path)
    (tmp_path / "prices.csv").rename(data / "prices.csv")
    monkeypatch.setenv("EMS_DATA_DIR", str(data))
    assert load_scenario(path).files["prices.csv"] == data / "prices.csv"
