"""Notes: what a valid file says and surely does not mean."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ems.resources import bundled
from ems.site.check import check_site
from ems.site.load import site_source
from ems.site.notes import site_notes, tariff_notes
from ems.site.schema import SiteFile
from ems.site.source import read_source, validated
from ems.site.tariff_schema import TariffFile

Write = Callable[..., Path]
Changes = list[tuple[str, str]]

HOUSE, HALL_B, BESS = "  house:\n", "cools: [hall-a, hall-b]", "    initial_soc: 0.5\n"
MACHINE = (
    "  gen-1:\n    kind: generator\n    duty: {duty}\n    technology: {technology}\n    power_kw: 200\n    fuel_price: 1\n    {more}\n"
)
PERMIT = "permit_h_per_year: 200\n    permit_used_h: {used}"
CARBON = "emission_kg_per_fuel: 1\n    emission_kg_per_year: 100\n    emission_used_kg: {used}"
OTHER = "other_emissions: [{name: co, kg_per_fuel: 1, kg_per_year: 5, used_kg: 5}]"
SUMMER = "when: [{months: [6, 7, 8, 9]}]"


def machine(more: str, duty: str = "permitted", technology: str = "diesel") -> Changes:
    return [(HOUSE, MACHINE.format(duty=duty, technology=technology, more=more) + HOUSE)]


def battery(more: str) -> Changes:
    return [(BESS, f"{BESS}    {more}\n")]


def plant(rating_kw: float) -> Changes:
    text = f"rating_kw: {rating_kw}\n    plant: {{capacity_kw: 2000, cop_reference: 6, pump_fan_kw: 40, loop_m3: 10}}"
    return [("    lag_s: 300\n", f"    lag_s: 300\n    {text}\n")]


def charge(more: str, tariff: str = "", *changes: tuple[str, str]) -> Changes:
    text = f"tariff: {{name: x, demand_charges: [{{name: peak, price_per_kw_month: 1, {more}}}]{tariff}}}"
    return [("tariff: ercot-indexed-demand", text), *changes]


def limit(tolerance: float) -> Changes:
    return [("  export_limit_kw: 0", f"  limits: [{{kw: 1500, kind: billing, tolerance: {tolerance}}}]\n  export_limit_kw: 0")]


ODD = {  # what is changed in the demo site, the key, the words; and a change nearby that is meant
    "feeder": (
        [("{id: utility, limit_kw: 1000", "{id: utility, limit_kw: 450")],
        "feeders[1].limit_kw = 450",
        "can give together (500 kW): it holds in either direction",
        [("{id: utility, limit_kw: 1000", "{id: utility, limit_kw: 500")],
    ),
    "uncooled": ([(HALL_B, "cools: [hall-a]")], "assets.hall-b.kind = workload", "no cooling names this cluster", []),
    "plant": (plant(200), "assets.cooling-1.rating_kw = 200", "at its full capacity_kw and 42 °C", plant(900)),
    "worn out": (
        battery("state_of_health: 0.7\n    end_of_life_capacity: 0.7"),
        "assets.bess-1.state_of_health = 0.7",
        "worn out",
        battery("state_of_health: 0.71\n    end_of_life_capacity: 0.7"),
    ),
    "MWh": ([("energy_kwh: 1000", "energy_kwh: 1")], "bess-1.energy_kwh = 1", "expected kWh", [("energy_kwh: 1000", "energy_kwh: 50")]),
    "Wh": ([("energy_kwh: 1000", "energy_kwh: 1000000")], "bess-1.energy_kwh", "100 h", [("energy_kwh: 1000", "energy_kwh: 50000")]),
    "charging": ([("charge_efficiency: 0.94", "charge_efficiency: 0.1")], "bess-1.charge_efficiency = 0.1", "half of what it takes", []),
    "giving": ([("discharge_efficiency: 0.94", "discharge_efficiency: 0.4")], "bess-1.discharge_efficiency", "half of what it holds", []),
    "two wears": (
        battery("wear_by_depth: [[1, 0.03]]"),
        "assets.bess-1.wear_price_per_kwh = 0.02",
        "wear_by_depth replaces it",
        [("    wear_price_per_kwh: 0.02\n", "    wear_by_depth: [[1, 0.03]]\n")],
    ),
    "permit": (machine(PERMIT.format(used=200)), "gen-1.permit_used_h = 200", "no hour is left", machine(PERMIT.format(used=199))),
    "emissions": (machine(CARBON.format(used=100)), "gen-1.emission_used_kg", "used up", machine(CARBON.format(used=99))),
    "other emissions": (
        machine(CARBON.format(used=0) + "\n    " + OTHER),
        "gen-1.other_emissions",
        "kg_per_year of one of them",
        machine(CARBON.format(used=0) + "\n    " + OTHER.replace("used_kg: 5", "used_kg: 4")),
    ),
    "long up": (machine("min_up_h: 100"), "gen-1.min_up_h = 100", "longer than plan.horizon_h (48)", machine("min_up_h: 48")),
    "long down": (machine("min_down_h: 100"), "gen-1.min_down_h", "no plan sees the end", machine("min_down_h: 100", "baseload")),
    "usually long up": (machine("min_down_h: 10", technology="smr"), "gen-1.min_up_h = (missing)", "168 h are longer", []),
    "programme": (
        machine("ordered_by: [manual, ca-elpr]", "emergency"),
        "gen-1.ordered_by[1] = ca-elpr",
        "perhaps `ca-elrp`",
        machine("ordered_by: [manual, ca-elrp]", "emergency"),
    ),
    "tolerance": (limit(1), "limits[0].tolerance = 1", "2 times the limit is no breach; 1 % is 0.01", limit(0.4)),
    "export": (
        [("export_limit_kw: 0", "export_limit_kw: 15000")],
        "export_limit_kw = 15000",
        "ten times",
        [("export_limit_kw: 0", "export_limit_kw: 9000")],
    ),
    "ratchet": (
        charge(f"ratchet: {{share: 0.8, months: 2, in_months: [3], of_months: [6, 7, 8, 9]}}, {SUMMER}"),
        "demand_charges[0].ratchet.in_months = [3]",
        "within 2 months after of_months",
        charge(f"ratchet: {{share: 0.8, months: 6, in_months: [3], of_months: [6, 7, 8, 9]}}, {SUMMER}"),
    ),
    "past peak": (
        charge(SUMMER, ", past_peaks_kw: {2026-01: {peak: 900}}"),
        "tariff.past_peaks_kw.2026-01.peak = 900",
        "no windows in this month",
        charge(SUMMER, ", past_peaks_kw: {2026-07: {peak: 900}, 2026-01: {demand charge: 900}}"),
    ),
    "zone": (
        charge(SUMMER, "", ("America/Chicago", "MST")),
        "time_zone = MST",
        "no summer time",
        [("America/Chicago", "MST")],
    ),
    "zone of an offset": (charge(SUMMER, "", ("America/Chicago", "Etc/GMT+6")), "time_zone", "no summer time", charge(SUMMER)),
}


def notes(path: Path) -> list[str]:
    assert check_site(path) == []
    source = site_source(path)
    return site_notes(source, validated(source, SiteFile))


@pytest.mark.parametrize("case", ODD)
def test_what_is_hardly_meant_is_one_note_at_its_place_and_what_is_meant_is_none(case: str, demo_with: Write):
    changes, key, words, meant = ODD[case]
    path = demo_with(*changes)
    [note] = notes(path)
    assert note.startswith(f"note: {path}:") and key in note and words in note, note
    assert notes(demo_with(*meant)) == []


def test_shipped_files_have_no_notes_but_those_that_explain():
    found = {path.stem: [line.split(" ")[2] for line in notes(path)] for path in bundled("config/sites").glob("*.yaml")}
    assert {name: keys for name, keys in found.items() if keys} == {
        "annotated": ["assets.bess-1.wear_price_per_kwh", "assets.diesel-1.ordered_by[0]"],  # it shows every key
        "sovereign-100mw-smr": ["assets.diesel-1.ordered_by[0]", "assets.diesel-2.ordered_by[0]"],  # the order of its scenario
    }
    for path in bundled("config/tariffs").glob("*.yaml"):
        source = read_source(path)
        assert tariff_notes(source, validated(source, TariffFile)) == []
