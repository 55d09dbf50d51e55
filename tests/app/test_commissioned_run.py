"""`ems run` holds a real site to what it was commissioned with; `ems commission` takes over a looser one, by name."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ems.app import cli, supervisor
from ems.app.commissioned import FILE_NAME, commission, hold_commissioned
from ems.app.prepare import prepared_run
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir
from ems.clock import Clock
from ems.errors import ConfigError, EmsError
from ems.resources import bundled
from ems.site.load import load_site

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# The battery is not of this machine, so the site is a real one; nothing is ever connected here.
DEMO = (
    bundled("config/sites/demo-2mw.yaml")
    .read_text()
    .replace("sunspec-der-battery, host: 127.0.0.1", "sunspec-der-battery, host: 192.0.2.7")
)


class Desk:
    """A site file, its state directory, and a daemon that is started without running."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.state = folder / "site.yaml", StateDir(folder / "state")
        monkeypatch.setattr(supervisor, "hold_lock", lambda *_: 0)
        monkeypatch.setattr(supervisor, "setproctitle", lambda _: None)
        monkeypatch.setattr(supervisor, "Supervisor", lambda *_: self)

    def run(self) -> None:
        """What the supervisor would do."""

    def start(self, *changes: tuple[str, str]) -> RunFile:
        text = DEMO
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        self.path.write_text(text)
        supervisor.supervise(self.state, lambda: prepared_run(str(self.path), self.state, None, None, 0, None), Clock.real())
        return RunFile.load(self.state.site)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


RAMP = "export_limit_kw: 0\n  ramp_limit_kw_per_min: 400"
CAP = "rating_kw: 1080\n    contract_cap_kw: 500"


CHANGES = (  # as commissioned, looser, tighter, key
    ("import_limit_kw: 1450", "import_limit_kw: 1500", "import_limit_kw: 1440", "limits.protective"),
    ("export_limit_kw: 50", "export_limit_kw: 60", "export_limit_kw: 40", "export_limit_kw"),
    ("ramp_limit_kw_per_min: 400", "ramp_limit_kw_per_min: 500", "ramp_limit_kw_per_min: 300", "ramp_limit_kw_per_min"),
    ("contract_cap_kw: 500", "contract_cap_kw: 520", "contract_cap_kw: 480", "hall-a.contract_cap_kw"),
    ("ride_through_min: 10", "ride_through_min: 9", "ride_through_min: 10.5", "ups-1.ride_through_min"),
    ("reserve_floor_kw: 1400", "reserve_floor_kw: 1000", "reserve_floor_kw: 1410", "ups-1.reserve_floor_kw"),
    ("soc_min: 0.05", "soc_min: 0.04", "soc_min: 0.1", "bess-1.soc_min"),
    ("soc_max: 0.95", "soc_max: 0.96", "soc_max: 0.9", "bess-1.soc_max"),
    ("limit_kw: 2000", "limit_kw: 2100", "limit_kw: 1900", "feeders.halls.limit_kw"),
    ("rating_kw: 1600", "rating_kw: 1700", "rating_kw: 1590", "ups-1.rating_kw"),
    ("power_kw: 500", "power_kw: 550", "power_kw: 450", "bess-1.power_kw"),
    ("lease_s: 75", "lease_s: 90", "lease_s: 72", "bess-1.link.lease_s"),
)


def test_a_file_that_loosens_is_refused_by_every_key_and_one_that_tightens_runs(desk: Desk):
    base = [("export_limit_kw: 0", RAMP.replace("kw: 0", "kw: 50")), ("rating_kw: 1080", CAP)]
    first = desk.start(*base)
    record = (desk.state.path / FILE_NAME).read_text()
    with pytest.raises(ConfigError) as refused:
        desk.start(*base, *((old, looser) for old, looser, _, _ in CHANGES))
    lines = [str(c) for c in refused.value.complaints]
    assert all(any(key in line for line in lines) for *_, key in CHANGES), lines
    assert all(line.startswith(f"{desk.path}:") and "as commissioned on" in line for line in lines)
    assert RunFile.load(desk.state.site) == first  # nothing was taken over
    assert desk.start(*base, *((old, tighter) for old, _, tighter, _ in CHANGES)).site != first.site
    assert desk.start(*base).site == first.site and (desk.state.path / FILE_NAME).read_text() == record


@pytest.mark.parametrize("change", [CHANGES[0], CHANGES[4], CHANGES[6]], ids=lambda c: c[3])
def test_one_loosened_line_among_tightened_ones_is_enough(desk: Desk, change: tuple[str, str, str, str]):
    base = [("export_limit_kw: 0", RAMP.replace("kw: 0", "kw: 50")), ("rating_kw: 1080", CAP)]
    desk.start(*base)
    with pytest.raises(ConfigError) as refused:
        desk.start(*base, *((old, looser if old == change[0] else tighter) for old, looser, tighter, _ in CHANGES))
    assert any(change[3] in str(c) for c in refused.value.complaints) and len(refused.value.complaints) <= 2  # hall-b may get more, too


def test_a_named_person_may_take_over_a_looser_file(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    change = ("import_limit_kw: 1450", "import_limit_kw: 1500")
    desk.start()
    with pytest.raises(ConfigError):
        desk.start(change)  # the looser file stands there now
    words = ["ems", "commission", str(desk.path), "--by", "Ada Byron", "--why", "new transformer", "--state-dir", str(desk.state.path)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (
        not ended.value.code and "loosened point_of_connection.limits.protective.1s: lasts 1450 kW, now 1500 kW" in capsys.readouterr().out
    )
    assert desk.start(change).site.point_of_connection.import_limit_kw == 1500.0
    [first, last] = json.loads((desk.state.path / FILE_NAME).read_text())["history"]
    assert (first["by"], last["by"], last["why"]) == ("first start", "Ada Byron", "new transformer") and last["loosened"]


def test_a_record_that_cannot_be_read_is_no_leave_to_start(desk: Desk):
    desk.start()
    (desk.state.path / FILE_NAME).write_text('{"bounds": {"a": ["most"]}}')
    with pytest.raises(EmsError, match="not the record of a commissioning"):
        desk.start()
    commission(load_site(desk.path), desk.state, "Ada Byron", "looked at it", NOW)
    assert (desk.state.path / FILE_NAME).with_suffix(".unread").read_text().startswith('{"bounds"')
    assert desk.start() and "not the record" in json.loads((desk.state.path / FILE_NAME).read_text())["history"][0]["why"]


def test_a_limit_that_was_added_may_be_taken_away_again(desk: Desk):
    line = "import_limit_kw: 1450\n"
    desk.start()
    desk.start((line, line + "  limits: [{kw: 1200, kind: connection, window_s: 900}]\n"))
    desk.start()
    with pytest.raises(ConfigError):
        desk.start(("import_limit_kw: 1450", "import_limit_kw: 1500"))


def test_a_new_asset_is_added_to_the_record_and_held_from_then_on(desk: Desk):
    desk.start()
    link = "{page: sunspec-der-battery, host: 192.0.2.8, port: 502, lease_s: 75}"
    battery = f"  bess-2: {{kind: battery, power_kw: 100, energy_kwh: 200, link: {link}}}\n"
    desk.start(("assets:\n", f"assets:\n{battery}"))
    with pytest.raises(ConfigError, match=r"assets\.bess-2\.power_kw"):
        desk.start(("assets:\n", f"assets:\n{battery.replace('power_kw: 100', 'power_kw: 120')}"))


def test_a_site_of_simulated_equipment_has_no_record(tmp_path: Path):
    state = StateDir(tmp_path)
    hold_commissioned(prepared_run("demo-2mw", state, None, None, 8080, None), state, NOW)
    assert not (tmp_path / FILE_NAME).exists()
