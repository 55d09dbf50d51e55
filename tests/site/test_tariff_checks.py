from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ems.app.checking import complaints_of
from ems.errors import ConfigError
from ems.site.check import check_tariff
from ems.site.load import load_site
from ems.site.tariff_calendar import LocalTimes, period_table

HEAD = "name: t\nenergy: time_of_use\n"
PERIODS = HEAD + "energy_periods:\n"
PEAK = "  - {name: peak, price_per_kwh: 0.2, when: [{days: weekdays, hours: [14, 20]}]}\n"
REST = "  - {name: rest, price_per_kwh: 0.1, rest: true}\n"
PAIR = "utilisation_hours: {below: {demand_price_per_kw_year: 9, energy_price_per_kwh: 0.01}, above: {demand_price_per_kw_year: %s}}\n"

FAULTS: dict[str, tuple[str, int, str, str]] = {
    "unknown key": (HEAD + "energy_prds: []\n", 3, "energy_prds", "perhaps `energy_periods`"),
    "unknown key of a period": (
        PERIODS + PEAK.replace("when", "wen") + REST,
        4,
        "energy_periods[0].wen",
        "perhaps `when`",
    ),
    "overlap": (
        PERIODS + PEAK + "  - {name: eve, price_per_kwh: 0.3, when: [{months: [7], hours: [19, 22]}]}\n" + REST,
        5,
        "energy_periods[1].when",
        "hours no other period has (peak has mon 19:00 in July)",
    ),
    "uncovered": (PERIODS + PEAK, 3, "energy_periods", "nobody has mon 00:00 in January"),
    "two rests": (PERIODS + PEAK + REST + REST.replace("rest,", "rest2,"), 6, "energy_periods[2].rest", "one period"),
    "same name": (PERIODS + PEAK + REST.replace("rest,", "peak,"), 5, "energy_periods[1].name", "a name no other has"),
    "name of a part of the plan": (
        "name: t\ndemand_charges:\n  - {name: demand, price_per_kw_month: 3}\n",
        3,
        "demand_charges[0].name",
        "a name of its own",
    ),
    "name of the later of two": (
        "name: t\ndemand_charges:\n  - {name: 'peak, next month', price_per_kw_month: 3}\n",
        3,
        "demand_charges[0].name",
        "a name of its own",
    ),
    "exports at another market": ("name: t\nenergy: day_ahead\nexport_energy: real_time\n", 3, "export_energy", "fixed, or the market"),
    "no periods": (HEAD, 2, "energy", "energy_periods"),
    "negative spread": (HEAD + "export_price_per_kwh: 0.15\nenergy_periods:\n" + PEAK + REST, 3, "export_price_per_kwh", "negative spread"),
    "negative spread of a period": (
        PERIODS + PEAK.replace("when", "export_price_per_kwh: 0.21, when") + REST,
        4,
        "energy_periods[0].export_price_per_kwh",
        "at most the import price of the same hours (0.2)",
    ),
    "negative spread of a breach": (
        "name: t\ncontract_capacity: {kw: 5, price_per_kw_month: 3, breach_price_per_kw_month: 2}\n",
        2,
        "contract_capacity.breach_price_per_kw_month",
        "negative spread",
    ),
    "pair the wrong way": ("name: t\n" + PAIR % "8, energy_price_per_kwh: 0", 2, "utilisation_hours.above", "power at least as dear"),
    "hours": (
        PERIODS + PEAK.replace("[14, 20]", "[14, 20.25]") + REST,
        4,
        "energy_periods[0].when[0].hours",
        "half hours",
    ),
    "month": (
        PERIODS + PEAK.replace("{days", "{months: [13], days") + REST,
        4,
        "energy_periods[0].when[0].months[0]",
        "<= 12",
    ),
    "tiers": (
        "name: t\ndemand_charges:\n  - {name: d, tiers: [{up_to_kw: 5, price_per_kw_month: 1}]}\n",
        3,
        "demand_charges[0].tiers",
        "a last tier without up_to_kw",
    ),
    "share": ("name: t\ndemand_charges:\n  - {name: d, price_per_kw_month: 1, ratchet: {share: 80}}\n", 3, "ratchet.share", "<= 1"),
    "ratchet of other months": (
        "name: t\ndemand_charges:\n  - {name: d, price_per_kw_month: 1, when: [{months: [6]}], ratchet: {share: 0.8, of_months: [1]}}\n",
        3,
        "demand_charges[0]",
        "ratchet.of_months among the months of `when`",
    ),
    "past peak": ("name: t\npast_peaks_kw: {2024-05: {summer: 5}}\n", 2, "past_peaks_kw.2024-05.summer", "the name of a demand charge"),
    "past month": ("name: t\npast_peaks_kw: {May: {demand charge: 5}}\n", 2, "past_peaks_kw", "months such as 2024-07"),
    "holiday": ("name: t\nholidays: [2024-02-30]\n", 2, "holidays", "dates such as"),
    "carbon": ("name: t\ncarbon: {price_per_kg: 0.1, signal: green}\n", 2, "carbon.signal", "one of 'average' or 'marginal'"),
    "rule": ("name: t\ncoincident_peak: {rule: 3cp, price_per_kw_year: 1}\n", 2, "coincident_peak.rule", "one of '4cp', '5cp' or '12cp'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_tariff_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    text, line, key, words = FAULTS[name]
    (tmp_path / "t.yaml").write_text(text)
    found = check_tariff(tmp_path / "t.yaml")
    assert [c for c in found if c.line == line and c.key.endswith(key) and words in c.expected], found


def test_a_fault_of_a_sites_own_tariff_is_told_as_well(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "config" / "sites" / "demo-2mw.yaml"
    with pytest.raises(ConfigError, match="negative spread") as error:
        load_site(demo, {"tariff": {"energy": "fixed", "energy_price_per_kwh": 0.1, "export_price_per_kwh": 0.2}})
    assert error.value.complaints[0].key == "tariff.export_price_per_kwh"


def test_a_tariff_with_periods_only_is_known_as_one(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("name: t\nenergy_periods:\n" + REST)
    assert complaints_of(str(tmp_path / "t.yaml")) == []


def load_tariff(tmp_path: Path, text: str) -> Any:
    from ems.site.source import read_source
    from ems.site.tariff_checks import checked_tariff

    (tmp_path / "t.yaml").write_text(text)
    return checked_tariff(read_source(tmp_path / "t.yaml"))


def test_a_window_over_midnight_belongs_to_both_ends_of_the_day(tmp_path: Path) -> None:
    night = "  - {name: night, price_per_kwh: 0.1, when: [{hours: [22, 6]}]}\n"
    tariff = load_tariff(tmp_path, PERIODS + night + REST)
    assert [int(period_table(tariff.energy_periods)[0, 0, 2 * h]) for h in (0, 5, 6, 21, 22, 23)] == [0, 0, 1, 1, 0, 0]


def test_an_hour_is_looked_up_in_local_time_and_by_the_kind_of_day(tmp_path: Path) -> None:
    holidays = HEAD + "holidays: [2024-07-04]\nenergy_periods:\n"
    tariff = load_tariff(tmp_path, holidays + PEAK + REST)
    # 4 July 2024 is a Thursday and a holiday; 5 July 13:30, 14:00 and 19:59 in Chicago are UTC-5
    at = [1720119600.0, 1720204200.0, 1720206000.0, 1720227540.0]
    times = LocalTimes(at, "America/Chicago", tariff)
    assert times.in_table(period_table(tariff.energy_periods)).tolist() == [1, 1, 0, 0]
    assert times.hour().tolist() == [14.0, 13.5, 14.0, 19.5]
