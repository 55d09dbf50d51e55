"""`ems check` says all that is wrong at once, and beforehand what `ems run` would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from ems.app.checking import complaints_of, notes_of
from ems.app.prepare import prepared_run
from ems.app.statedir import StateDir
from ems.errors import ConfigError
from ems.resources import bundled

DEMO = bundled("config/sites/demo-2mw.yaml").read_text()
SHARES = "fraction_at_10c: 0.12\n    fraction_at_40c: 0.25"
PLANT = "plant: {capacity_kw: 2400, units: 4, redundant_units: 1, loop_m3: 300, supply_lowest_c: 14}"
UNKNOWN = (  # text, what is written, what is said
    ("tariff: ercot-indexed-demand", "tariff: ercot-indexd-demand", "tariff = ercot-indexd-demand: expected the name of a tariff"),
    ("page: sunspec-der-battery", "page: sunspec-der-batery", "bess-1.link.page = sunspec-der-batery: expected a device page"),
    ("soc_min: 0.05", "soc_minn: 0.05", "bess-1.soc_minn = 0.05: expected a known key, perhaps `soc_min`"),
    ("carries: [hall-a", "carries: [hall-c", "ups-1.carries[0] = hall-c: expected a cluster of this site"),
)
FEEDS = "feeds:\n  rt: awatar-day-ahead\n  temp: {page: open-meteo-forecast, per: V}\n"


def site(folder: Path, *changes: tuple[str, str], more: str = "") -> Path:
    text = DEMO
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "site.yaml"
    path.write_text(text + more)
    return path


def test_an_unknown_tariff_or_page_hides_nothing_else(tmp_path: Path):
    said = complaints_of(str(site(tmp_path, *((old, new) for old, new, _ in UNKNOWN), more=FEEDS)))
    assert all(any(words in line for line in said) for _, _, words in UNKNOWN), said
    assert any("feeds.rt = awatar-day-ahead: expected the name of a feed page" in line for line in said)
    assert any("feeds.temp.per = V" in line for line in said)
    for name in ("ercot-indexed-demand", "sunspec-der-battery", "awattar-day-ahead", "hall-b"):
        assert any(line.endswith(f"perhaps `{name}`") for line in said), name
    assert len(said) == len(UNKNOWN) + 2, "and nothing is said that follows from another fault alone"


def test_a_feed_that_was_left_out_for_its_page_is_not_told_as_missing(tmp_path: Path):
    feeds = "feeds:\n  rt: dropped-prices\n  da: no-such-page\n"
    tariff = ("tariff: ercot-indexed-demand", "tariff: {name: x, energy: day_ahead}")
    said = complaints_of(str(site(tmp_path, tariff, more=feeds)))
    assert not any("follows the day-ahead market" in line for line in said) and any("no-such-page" in line for line in said)


def test_a_faulty_page_is_told_beside_the_faults_of_the_site(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("title: mine\n")
    said = complaints_of(str(site(tmp_path, ("page: generic-cooling", "page: mine.yaml"), UNKNOWN[2][:2])))
    assert any("mine.yaml:1:1 points" in line for line in said) and any("soc_minn" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([("127.0.0.1", "192.0.2.7")], "commands.power_cap_kw.evidence = assumed"),
        ([(SHARES, PLANT)], "cooling-1.plant.supply_lowest_c = 14: expected a page with the command supply_setpoint_c"),
        ([("page: generic-cooling", "page: generic-it-cluster")], "expected a page for a cooling; this one is for a workload"),
    ],
)
def test_what_a_run_would_refuse_is_told_beforehand(tmp_path: Path, changes: list[tuple[str, str]], says: str):
    path = site(tmp_path, *changes)
    said = complaints_of(str(path))
    with pytest.raises(ConfigError) as refused:
        prepared_run(str(path), StateDir(tmp_path / "state"), None, None, 0, None)
    assert said == [str(c) for c in refused.value.complaints] and any(says in line for line in said), said


def test_a_plant_that_its_page_can_lead_is_sound(tmp_path: Path):
    assert complaints_of(str(site(tmp_path, (SHARES, PLANT), ("page: generic-cooling", "page: generic-led-chilled-water-plant")))) == []


def test_a_led_plant_whose_page_has_no_dew_point_is_noted(tmp_path: Path):
    page = bundled("config/devices/generic-led-chilled-water-plant.yaml").read_text()
    for name, kept in (("whole.yaml", page), ("blind.yaml", "\n".join(x for x in page.splitlines() if "dew_point_c:" not in x) + "\n")):
        (tmp_path / name).write_text(kept)
    notes = {}
    for name in ("whole.yaml", "blind.yaml"):
        path = site(tmp_path, (SHARES, PLANT), ("page: generic-cooling", f"page: {name}"))
        assert complaints_of(str(path)) == []
        notes[name] = notes_of(str(path))
    assert notes["whole.yaml"] == [] and len(notes["blind.yaml"]) == 1
    assert "cooling-1.plant.supply_lowest_c = 14: not led: blind has no dew_point_c" in notes["blind.yaml"][0]


def test_a_store_that_cannot_be_told_to_let_go_before_the_clusters_is_noted(tmp_path: Path):
    page = bundled("config/devices/generic-grid-interactive-ups.yaml").read_text()
    told = "  kind: heartbeat\n  seconds: lease_s\n  counter: heartbeat\n  before: {lease_s: lease_s}\n"
    assert told in page
    (tmp_path / "fixed.yaml").write_text(page.replace(told, "  kind: vendor_timeout\n  default_s: 75\n"))
    path = site(tmp_path, ("page: generic-grid-interactive-ups", "page: fixed.yaml"))
    assert complaints_of(str(path)) == []
    [note] = notes_of(str(path))
    assert "ups-1.link.lease_s = 75: fixed cannot be told a lease: it may still charge for a dead controller" in note


@pytest.mark.parametrize("key", ["tank_usable_share: 0.9", "tank_loss_per_day: 0.02"])
def test_a_key_of_a_tank_without_a_tank_is_not_passed_over(tmp_path: Path, key: str):
    led = ("page: generic-cooling", "page: generic-led-chilled-water-plant")
    alone, whole = (PLANT.replace("supply_lowest_c: 14", f"supply_lowest_c: 14, {more}") for more in (key, f"{key}, tank_m3: 0"))
    [said] = complaints_of(str(site(tmp_path, (SHARES, alone), led)))
    assert "cooling-1.plant" in said and "expected tank_m3 as well" in said
    assert complaints_of(str(site(tmp_path, (SHARES, whole), led))) == []


def test_notes_are_told_of_sound_sites_and_tariffs_and_of_nothing_else(tmp_path: Path):
    odd = site(tmp_path, ("cools: [hall-a, hall-b]", "cools: [hall-a]"))
    assert complaints_of(str(odd)) == [] and [line.split(" ")[2] for line in notes_of(str(odd))] == ["assets.hall-b.kind"]
    tariff = tmp_path / "tariff.yaml"
    tariff.write_text(
        "name: x\ndemand_charges: [{name: peak, price_per_kw_month: 1, when: [{months: [7]}]}]\npast_peaks_kw: {2026-01: {peak: 9}}\n"
    )
    assert notes_of(str(tariff))[0].startswith(f"note: {tariff}:3:27 past_peaks_kw.2026-01.peak = 9: peak has no windows in this month")
    assert notes_of("generic-cooling") == notes_of("demo-2mw") == []
