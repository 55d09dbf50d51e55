"""The demo's head-end calls once; the site joined by three files goes down, and the page and the summary say that it delivered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ems.app.head_end import LENGTH, called_at, event_lines, join_head_end
from ems.history.tables import site_minute
from ems.history.write import put
from ems.office.channels import Channels
from ems.office.grid_events import ShownEvent
from ems.office.programs import Programs
from ems.program.states import State
from simulators.openadr3.serve import call
from tests.adapters.openadr3.headend import MINUTE, NOW, HeadEnd, head_end
from tests.office.given import Running
from tests.office.test_channels import SITE, Office, Standing
from tests.office.test_feeds_page import page_of


@pytest.fixture
def grid() -> Iterator[HeadEnd]:
    with head_end() as made:
        yield made


def joined(grid: HeadEnd, folder: Path) -> Office:
    """An office that was joined as the demo does it."""
    office = Office(folder, grid)
    office.close()
    for name in ("channels.yaml", "enrolments.yaml", "secret"):
        (folder / name).unlink()
    assert join_head_end(folder, grid.server.port, 1450.0)
    office.programs = Programs(SITE, folder, office.mailbox, office.engine)
    clock: object = Standing(grid)
    office.channels = Channels(office.programs, folder, office.mailbox, clock)  # type: ignore[arg-type]
    office.programs.before, office.programs.others = office.channels.deliver, office.channels.obligations
    return office


def test_one_call_of_the_demo_is_delivered_and_shown(grid: HeadEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    office, start = joined(grid, tmp_path), called_at(NOW)
    name = call(grid.vtn, start, LENGTH, 940.0)
    office.step()
    assert office.limit_kw(start + MINUTE) == 940.0
    minutes = int((start - NOW) / MINUTE)
    rows = [{"start": NOW + n * MINUTE, "poc_kw": 930.0 if minutes <= n < minutes + 15 else 1100.0} for n in range(-120, 90)]
    with office.engine.begin() as connection:
        put(connection, site_minute, rows)
    said = []
    for _ in range(24):
        office.step(3 * MINUTE)
        said.append(office.programs.shown[0].state)
    assert {State.HOLDING, State.RECOVERING, State.SETTLED_ESTIMATE} <= set(said)
    shown: ShownEvent = office.programs.shown[0]
    assert shown.id == f"head-end:{name}" and not shown.is_bad
    assert "reduce to 940 kW" in shown.said("UTC") and "delivered 130 of 128 kWh" in shown.said("UTC")
    (tmp_path / "page").mkdir()
    running = Running(tmp_path / "page")
    running.cycle()
    service = running.service()
    service.live.grid_events = office.programs.shown
    assert "● <b>nonfirm-connection</b> reduce to 940 kW" in page_of(running, service)
    service.close()
    office.close()
    assert event_lines(tmp_path) == [f"grid event of nonfirm-connection: {shown.said('UTC')} (UTC)"]


def test_a_site_that_is_joined_already_is_left_alone_and_no_record_is_no_line(tmp_path: Path):
    (tmp_path / "enrolments.yaml").write_text("enrolments: []\n")
    assert not join_head_end(tmp_path, 1, 1450.0) and event_lines(tmp_path) == []


def test_the_call_begins_on_a_quarter_with_at_least_its_notice():
    for minutes in range(0, 61, 7):
        now = NOW + minutes * MINUTE
        assert timedelta(minutes=5) <= called_at(now) - now < timedelta(minutes=20) and called_at(now).minute % 15 == 0
