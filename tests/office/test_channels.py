"""Channels in the office: limits reach control, everything is kept with its hash, lost and exhausted limits fall back, reports go out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.app.channels import channel_lines
from ems.app.checking import complaints_of
from ems.history import schema
from ems.history.engine import open_engine
from ems.history.tables import site_minute
from ems.history.write import put
from ems.mailbox import Mailbox
from ems.office.channels import Channels
from ems.office.programs import Programs
from ems.program.states import State
from ems.program.status import decode_obligation
from ems.program.store import EventStore, broken_at
from ems.resources import bundled
from ems.signals.events import known_obligations
from ems.site.load import load_site
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW, HeadEnd, event_body, head_end

SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
ENROLMENTS = """enrolments:
  - {program: nonfirm-connection, status: active, since: 2026-01-01, level_kw: 700, constant_kw: 1450}
"""


class Standing:
    """A clock that a test moves; ten wall seconds pass between two looks at it."""

    def __init__(self, grid: HeadEnd) -> None:
        self._grid, self._wall_s = grid, 0.0

    def now(self) -> datetime:
        return self._grid.now

    def wall_s(self) -> float:
        self._wall_s += 10.0
        return self._wall_s


class Office:
    """Programmes and channels of one office on a folder, stepped by hand."""

    def __init__(self, folder: Path, grid: HeadEnd, **channel: Any) -> None:
        self.folder, self.grid = folder, grid
        given = {"capacity": {"subscription_kw": 900, "stale_after_s": 900}, **channel}
        made = grid.channel(folder, **given).model_dump(mode="json", exclude_none=True)
        (folder / "channels.yaml").write_text(json.dumps({"channels": [made]}))
        (folder / "enrolments.yaml").write_text(ENROLMENTS)
        url = f"sqlite:///{folder / 'history.db'}"
        if not (folder / "history.db").exists():
            schema.upgrade(url)
        self.mailbox = Mailbox(folder / "mailbox.db", busy_ms=2000)
        self.engine = open_engine(url)
        self.programs = Programs(SITE, folder, self.mailbox, self.engine)
        clock: Any = Standing(grid)
        self.channels = Channels(self.programs, folder, self.mailbox, clock)
        self.programs.before, self.programs.others = self.channels.deliver, self.channels.obligations

    def step(self, after: timedelta = timedelta(0)) -> None:
        """The lines look, then the events move."""
        now = self.grid.wait(after)
        for _ in range(2):
            self.programs.tick(now)
            for line in self.channels.lines.values():
                line.step()
        self.programs.tick(now)

    def limit_kw(self, at: datetime | None = None) -> float:
        """The import limit that control holds at an instant, from what was sent by now."""
        sent = [decode_obligation(m.body) for m in self.mailbox.since("event", 0, 10_000)]
        at = at or self.grid.now
        return min((o.import_limit_kw() for o in known_obligations(sent, self.grid.now) if o.is_in_force(at)), default=9999.0)

    def trail(self, kind: str) -> list[dict[str, Any]]:
        return [r.body for r in EventStore(self.folder / "programs.db").since() if r.kind == kind]

    def close(self) -> None:
        self.channels.close()
        self.programs.close()
        self.engine.dispose()


@pytest.fixture
def grid() -> Iterator[HeadEnd]:
    with head_end() as made:
        yield made


@pytest.fixture
def office(grid: HeadEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    made = Office(tmp_path, grid)
    yield made
    made.close()


def test_a_capacity_limit_holds_for_its_intervals_and_the_subscription_before_and_after(grid, office):
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [1200, 600])
    office.step()
    holds = [office.limit_kw(NOW + h * HOUR + MINUTE) for h in (0, 1, 2, 3, 24 * 30)]
    assert holds == [900.0, 1200.0, 600.0, 900.0, 900.0]
    kept = office.trail("message")
    assert len(kept) == 1 and kept[0]["verdict"] == "taken" and json.loads(kept[0]["raw"])["objectType"] == "EVENT" and kept[0]["sha256"]
    assert broken_at(EventStore(office.folder / "programs.db").since()) is None


def test_when_nobody_is_heard_the_subscription_holds_also_where_more_was_allowed(grid, office):
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [1200, 600])
    office.step()
    grid.vtn.is_down = True
    office.step(70 * MINUTE)
    assert office.limit_kw() == 900.0 and office.limit_kw(NOW + 2 * HOUR + MINUTE) == 600.0
    assert any("communication lost" in n for n in office.channels.notes(grid.now))
    grid.vtn.is_down = False
    office.step(10 * MINUTE)
    assert office.limit_kw() == 1200.0


def test_after_a_grid_outage_limits_are_discarded_and_asked_for_again(grid, office):
    event = grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [1200], length="PT6H", start=NOW)
    office.step()
    assert office.limit_kw() == 1200.0
    grid.vtn.is_down = True
    snapshot = {"degraded": [{"name": "grid outage", "why": "", "since": grid.now.isoformat()}]}
    office.mailbox.post("snapshot", snapshot, grid.now, grid.now + HOUR)
    office.step(MINUTE)
    assert office.limit_kw() == 900.0
    office.mailbox.post("snapshot", {"degraded": []}, grid.now, grid.now + HOUR)
    grid.vtn.is_down = False
    grid.business.update_event(event["id"], event_body(event["programID"], "IMPORT_CAPACITY_LIMIT", [1100], length="PT6H", start=NOW))
    office.step(MINUTE)
    assert office.limit_kw() == 1100.0


def test_a_deleted_limit_ends_and_a_restarted_office_goes_on_with_what_was_told(grid, office, tmp_path):
    event = grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [600], length="P9999Y", start=NOW)
    office.step()
    office.close()
    grid.vtn.is_down = True
    again = Office(tmp_path, grid)
    again.step(MINUTE)
    assert again.limit_kw() == 600.0
    grid.vtn.is_down = False
    grid.business.delete_event(event["id"])
    again.step(5 * MINUTE)
    assert again.limit_kw() == 900.0
    again.close()


def test_a_dispatch_goes_through_the_event_machine_and_ends_when_it_is_deleted(grid, office):
    event = grid.event(grid.program(), "DISPATCH_SETPOINT", [700])
    office.step()
    desk = office.programs.desk()
    status = desk.events[f"dso:{event['id']}"]
    assert status.opt == "in" and office.limit_kw(NOW + 90 * MINUTE) == 700.0
    grid.business.delete_event(event["id"])
    office.step(5 * MINUTE)
    assert desk.events[f"dso:{event['id']}"].state is State.CANCELLED and office.limit_kw(NOW + 90 * MINUTE) == 900.0


def test_an_event_rewritten_to_now_and_nothing_is_cancelled(grid, office):
    event = grid.event(grid.program(), "DISPATCH_SETPOINT", [700])
    office.step()
    grid.wait(MINUTE)
    period = {"start": "0001-01-01T00:00:00Z", "duration": "PT0S"}
    grid.business.update_event(event["id"], {"programID": event["programID"], "intervalPeriod": period, "intervals": []})
    office.step(5 * MINUTE)
    assert office.programs.desk().events[f"dso:{event['id']}"].state is State.CANCELLED


def test_reports_asked_for_are_sent_once_and_the_business_side_reads_them(grid, office):
    asked = [{"payloadType": "DEMAND", "repeat": -1, "numIntervals": 1, "startInterval": 1}, {"payloadType": "USAGE"}]
    minutes = [{"start": NOW + n * MINUTE, "poc_kw": 600.0 + n} for n in range(60)]
    with office.engine.begin() as connection:
        put(connection, site_minute, minutes)
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [1000, 1000], start=NOW, length="PT15M", reportDescriptors=asked)
    office.step()
    for _ in range(4):
        office.step(15 * MINUTE)
    reports = grid.business.reports()
    found = sorted(
        (r.payload_descriptors[0].payload_type, [float(i.payloads[0].values[0]) for i in r.resources[0].intervals]) for r in reports
    )
    assert found == [("DEMAND", [607.0]), ("DEMAND", [622.0]), ("USAGE", [151.75, 155.5])]
    assert {r.payload_descriptors[0].confidence for r in reports} == {100}
    assert len([n for n in office.trail("note") if "report" in n and n["raw"]]) == 3


def test_a_webhook_only_makes_the_line_look_and_only_with_its_token(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    (tmp_path / "hook").write_text("s3cret")
    webhook = {"callback_url": "https://site.example/hooks/dso", "token_file": "hook"}
    office = Office(tmp_path, grid, webhook=webhook, poll_s=3600.0)
    program = grid.program()
    office.step()
    grid.event(program, "IMPORT_CAPACITY_LIMIT", [500], start=NOW)
    office.step(MINUTE)
    assert office.limit_kw() == 900.0 and not office.channels.hint("dso", "guess") and not office.channels.hint("other", "s3cret")
    assert office.channels.hint("dso", "s3cret")
    office.step()
    assert office.limit_kw() == 500.0
    assert next(iter(grid.vtn.stored["subscriptions"].values()))["objectOperations"][0]["callbackUrl"] == webhook["callback_url"]
    office.close()


def test_the_limits_of_a_channel_that_is_no_more_end_also_after_a_restart(grid, office, tmp_path):
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [600], length="P9999Y", start=NOW)
    office.step()
    office.close()
    again = Office(tmp_path, grid)
    (tmp_path / "channels.yaml").unlink()
    again.step(MINUTE)
    assert again.limit_kw() == 9999.0
    again.close()


def test_a_channels_file_that_is_wrong_is_told_and_changes_no_limit(grid, office, tmp_path):
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [600], length="P9999Y", start=NOW)
    office.step()
    (tmp_path / "channels.yaml").write_text("channels:\n  - {id: dso, profile: openadr-9}\n")
    office.step(MINUTE)
    assert office.limit_kw() == 600.0 and any("channels.yaml:2" in n for n in office.channels.notes(grid.now))


def test_the_worked_enrolment_of_the_readme_is_valid(tmp_path):
    text = (Path(__file__).parents[2] / "adapters" / "README.md").read_text()
    enrolments, channels = (part.split("```")[0] for part in text.split("```yaml\n")[1:3])
    (tmp_path / "enrolments.yaml").write_text(enrolments)
    gateway = "\n" + next(line.split("`")[1] for line in text.splitlines() if line.startswith("`gateway:")) + "\n"
    (tmp_path / "channels.yaml").write_text(channels + gateway)
    assert complaints_of(str(tmp_path / "enrolments.yaml")) == complaints_of(str(tmp_path / "channels.yaml")) == []
    (tmp_path / "channels.yaml").write_text(channels.replace("nonfirm-connection", "nonfirm-conection"))
    assert "perhaps `nonfirm-connection`" in complaints_of(str(tmp_path / "channels.yaml"))[0]


def test_a_person_sees_the_channel_and_what_it_allows(grid, office, tmp_path):
    grid.event(grid.program(), "IMPORT_CAPACITY_LIMIT", [600], start=NOW)
    office.step()
    lines = list(channel_lines(tmp_path, office.programs.desk(), grid.now))
    assert "openadr-3.1" in lines[0] and lines[1].strip() == "subscription 900 kW, heard 2027-07-15 12:00 UTC"
    assert "2027-07-15 12:00 to 2027-07-15 13:00 UTC  600 kW  capacity limit dso:event-" in lines[2]
    later = "\n".join(channel_lines(tmp_path, office.programs.desk(), grid.now + HOUR))
    assert "communication lost" in later


def test_prices_feed_the_plan_only_where_the_channel_says_so(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    program = grid.program()
    grid.event(program, "PRICE", [0.08, 0.09], start=NOW)
    for folder, more in (("without", {}), ("with", {"price_source": "real_time"})):
        (tmp_path / folder).mkdir()
        office = Office(tmp_path / folder, grid, **more)
        office.step()
        office.step(MINUTE)
        posted = [r for m in office.mailbox.since("prices", 0) for r in m.body["rows"]]
        assert [r["price_per_kwh"] for r in posted] == ([0.08, 0.09] if more else [])
        assert "not used" in office.trail("message")[0]["why"] or more
        office.close()


def test_a_gateway_in_the_file_is_served_and_its_silence_holds_the_site_at_the_fall_back(grid, office, tmp_path):
    gateway = {"port": 0, "capacity": {"subscription_kw": 640, "stale_after_s": 600}}
    (tmp_path / "channels.yaml").write_text(json.dumps({"gateway": gateway}))
    office.step(MINUTE)
    assert office.channels.gateway is not None and office.channels.gateway.server.port > 0
    assert office.limit_kw() == 640.0 and "channel gateway: communication lost" in office.channels.notes(grid.now)
    office.channels.gateway.server._take("import_limit_kw", 500.0)
    office.step(MINUTE)
    assert office.limit_kw() == 500.0
    (tmp_path / "channels.yaml").write_text("{}")
    office.step(MINUTE)
    assert office.channels.gateway is None and office.limit_kw() == 9999.0
