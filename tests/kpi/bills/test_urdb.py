from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import typer.testing
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ems.app.tariffs import tariffs_app
from ems.errors import DataError
from ems.kpi.bills.urdb import main, tariff_text, urdb_tariff, windows
from ems.site.check import check_tariff
from ems.site.tariff_build import build_tariff
from ems.site.tariff_calendar import period_table
from ems.site.tariff_schema import TariffFile
from tests.kpi.bills.rates import FLAT, RATES, schedule


@pytest.mark.parametrize("name", ["seasonal time of use", "ratchet with windows", "tiers per kW", "generated 3"])
def test_an_imported_rate_is_a_tariff_file_without_a_fault(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rate.json").write_text(json.dumps({"items": [{"name": name, **RATES[name]}]}))
    assert main([str(tmp_path / "rate.json")]) == 0
    (tmp_path / "tariff.yaml").write_text(capsys.readouterr().out)
    assert check_tariff(tmp_path / "tariff.yaml") == []
    assert YAML(typ="safe").load((tmp_path / "tariff.yaml").read_text())["name"] == name


def test_the_windows_of_a_schedule_give_the_schedule_back() -> None:
    weekday, weekend = schedule(0, 1, range(13, 19), range(5, 9), shoulder=2), schedule(0, 2, range(8, 10))
    periods = [{"name": f"{n}", "price_per_kwh": 0.1, "when": windows(weekday, weekend, n)} for n in range(3)]
    tariff = build_tariff(TariffFile.model_validate({"name": "back", "energy": "time_of_use", "energy_periods": periods}))
    table = period_table(tariff.energy_periods)
    assert (table[:, 0, ::2].tolist(), table[:, 5, 1::2].tolist()) == (weekday, weekend)


FAULTY = {
    "energyweekdayschedule: expected 12 months of 24 hours": {"energyweekdayschedule": [[0] * 24] * 11},
    "energyweekendschedule: expected numbers of the 1 periods": {"energyweekendschedule": [[1] * 24] * 12},
    "expected one unit of kwh": {"energyratestructure": [[{"rate": 0.1, "unit": "therm"}]]},
    "flatdemandstructure: expected the unit kW, not hp": {"flatdemandstructure": [[{"rate": 1.0, "unit": "hp"}]]},
    "fixedchargeunits: expected": {"fixedchargefirstmeter": 1.0, "fixedchargeunits": "$/fortnight"},
    "demandrateunit: expected the unit kW, not kVA": {"demandrateunit": "kVA"},
    "flatdemandunit: expected the unit kW, not kW daily": {"flatdemandunit": "kW daily"},
    "coincidentratestructure: a charge that is not taken over": {"coincidentratestructure": [[{"rate": 4.2}]]},
    "fueladjustmentsmonthly: a charge that is not taken over": {"fueladjustmentsmonthly": [0.0] * 11 + [0.01]},
    "rate: expected a number, not 'abc'": {"energyratestructure": [[{"rate": "abc"}]]},
    "rate: expected a number, not None": {"energyratestructure": [[{"rate": None}]]},
    "max: expected a number, not None": {"energyratestructure": [[{"rate": 0.1}, {"rate": 0.2}]]},
    "lookbackrange: expected a number, not '11 months'": {"lookbackpercent": 0.8, "lookbackrange": "11 months"},
}


@pytest.mark.parametrize("words", FAULTY)
def test_a_rate_that_cannot_be_read_names_its_field(words: str) -> None:
    sound = {"energyratestructure": [[{"rate": 0.1}]], "energyweekdayschedule": FLAT, "energyweekendschedule": FLAT}
    with pytest.raises(DataError, match=words):
        urdb_tariff({**sound, **FAULTY[words]})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "unit", "max", "items"]), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("energyratestructure", "energyweekdayschedule", "demandratestructure", "flatdemandstructure", "flatdemandmonths", "mincharge")
MORE = ("demandwindow", "lookbackrange", "lookbackpercent", "name", "items")


@given(st.dictionaries(st.sampled_from([*FIELDS, *MORE]), ANYTHING) | ANYTHING)
def test_no_json_makes_the_import_say_anything_but_one_line(data: object) -> None:
    sound = {"energyratestructure": [[{"rate": 0.1}]], "energyweekdayschedule": FLAT, "energyweekendschedule": FLAT}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rate.json"
        path.write_text(json.dumps({**sound, **data} if isinstance(data, dict) else data))
        try:
            tariff_text(path)
        except DataError as error:
            assert str(error).startswith(str(path))


def test_a_rate_is_imported_by_the_command_line_and_checked(tmp_path: Path) -> None:
    (tmp_path / "rate.json").write_text(json.dumps(RATES["seasonal time of use"]))
    run = typer.testing.CliRunner()
    done = run.invoke(tariffs_app, ["import", str(tmp_path / "rate.json"), "--out", str(tmp_path / "mine.yaml")])
    assert done.exit_code == 0 and check_tariff(tmp_path / "mine.yaml") == []
    assert "us-tou-demand-ratchet        energy time of use; demand" in run.invoke(tariffs_app, ["list"]).output


@pytest.mark.parametrize(
    "answer", [{}, {"items": []}, {"error": {"message": "API key invalid"}}, {"name": "x", "fixedchargefirstmeter": 3.0}]
)
def test_an_answer_without_any_rate_is_no_free_electricity(answer: dict[str, object]) -> None:
    with pytest.raises(DataError, match="expected a rate with one of energyratestructure"):
        urdb_tariff(answer)


@pytest.mark.parametrize("nothing", [0, 0.0, None, [], [0.0] * 12, [[{"rate": 0.0, "unit": "kW", "max": 100.0}]]])
def test_a_charge_of_nothing_is_no_charge(nothing: object) -> None:
    sound = {"energyratestructure": [[{"rate": 0.1}]], "energyweekdayschedule": FLAT, "energyweekendschedule": FLAT}
    assert urdb_tariff({**sound, "coincidentratestructure": nothing, "demandrateunit": "kW"}) == urdb_tariff(sound)


def test_a_file_that_is_no_rate_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rate.json").write_text("{")
    assert main([str(tmp_path / "rate.json")]) == 2 and main([]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
