"""Device pages as operators write them: what is wrong is said with its line and what would be right."""

from pathlib import Path

import pytest

from adapters.modbus.page_file import load_page, read_page
from ems.errors import ConfigError
from ems.resources import bundled
from ems.site.source import parse_source

GOOD = """\
title: A battery
asset_kind: battery
source: a document that exists only here
defaults: {evidence: document}
points:
  power_kw: {address: 10, type: int32, scale: 0.1}
  soc: {address: 12, scale: 0.01, invalid: [0xFFFF]}
registers:
  heartbeat: {address: 30, default: 0}
commands:
  power_setpoint_kw: {address: 20, type: int32, min_kw: -500, max_kw: 500, memory: volatile}
lease: {kind: heartbeat, counter: heartbeat, release: {heartbeat: 0}}
"""

SOC = "  soc: {address: 12, scale: 0.01, invalid: [0xFFFF]}\n"
WRONG = {
    "a word for a number": ("address: 12", "address: twelve", "points.soc.address = twelve: expected a whole number"),
    "an unknown key": ("invalid:", "invalids:", "perhaps `invalid`"),
    "an unknown type": ("type: int32, scale", "type: int33, scale", "one of"),
    "an unknown kind": ("kind: battery", "kind: accumulator", "asset_kind = accumulator: expected one of"),
    "a point of another kind": ("soc:", "demand_kw:", "points.demand_kw = demand_kw: expected a reading of the kind: power_kw, soc"),
    "a command of another kind": ("power_setpoint_kw:", "power_cap_kw:", "expected a command of the kind: power_setpoint_kw"),
    "no state of charge": (
        "  soc: {address: 12, scale: 0.01, invalid: [0xFFFF]}\n",
        "",
        "the reading soc, which the kind battery requires",
    ),
    "registers used twice": ("address: 12", "address: 11", "points.soc.address = 11: expected registers that power_kw does not use"),
    "limits the wrong way round": ("min_kw: -500", "min_kw: 501", "commands.power_setpoint_kw.min_kw = 501: expected at most max_kw (500)"),
    "a lease on nothing": ("counter: heartbeat", "counter: beat", "lease.counter = beat: expected an entry of registers"),
    "a heartbeat without its register": ("counter: heartbeat, ", "", "counter: the register of the heartbeat"),
    "nothing to let go with": (", release: {heartbeat: 0}", "", "release: what lets go"),
    "a scale of zero": ("scale: 0.01", "scale: 0", "points.soc.scale = 0: expected a number other than 0"),
    "no evidence": ("defaults: {evidence: document}\n", "", "evidence = (missing): expected document, secondary or assumed"),
    "a code that is a word": ("invalid: [0xFFFF]", "values: {full: 1}", "expected a whole number on the left"),
    "an address off the wire": ("source:", "address_base: 40001\nsource:", "expected a register from 40001 to 105536"),
    "a command in the input table": ("address: 20,", "address: 20, table: input,", "input registers can't be written"),
    "a key twice": ("points:\n", "points:\n  soc: {address: 40}\n", "each key once"),
}


def page_of(text: str):
    return read_page(parse_source(text, Path("battery.yaml")))


def test_a_good_page_is_read():
    page = page_of(GOOD)
    assert (page.name, page.reading("soc").invalid, page.commands[0].max_kw) == ("battery", (65535,), 500.0)


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_named_with_its_line_and_what_would_be_right(fault: str):
    before, after, expected = WRONG[fault]
    assert before in GOOD
    with pytest.raises(ConfigError) as error:
        page_of(GOOD.replace(before, after, 1))
    assert expected in str(error.value)
    assert all(line.startswith("battery.yaml:") for line in str(error.value).splitlines())


def test_all_faults_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        page_of(
            GOOD.replace("scale: 0.01", "scale: 0").replace("min_kw: -500", "min_kw: 501").replace("counter: heartbeat", "counter: beat")
        )
    assert len(error.value.complaints) == 3


def test_a_bare_name_is_a_shipped_page_and_a_path_is_a_file(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert load_page("janitza-umg-96pa").title == "Janitza UMG 96-PA"
    assert load_page(str(tmp_path / "mine.yaml")).title == "A battery"
    assert load_page("mine.yaml", beside=tmp_path / "site.yaml").title == "A battery"
    with pytest.raises(FileNotFoundError, match="no-such-page"):
        load_page("no-such-page")


def test_a_mode_is_spelled_in_our_words():
    page = load_page(bundled("config/devices/vertiv-liebert-nxc.yaml"))
    assert dict(page.reading("mode").values) == {3: 0.0, 4: 2.0, 5: 1.0}
    assert page.reading("load_kw").address == 437
    assert page.commands == ()
