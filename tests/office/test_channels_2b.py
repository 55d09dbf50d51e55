"""OpenADR 2.0b through the office: openleadr's VTN hears whether the site takes part, and reads its telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ems.history.tables import site_minute
from ems.history.write import put
from ems.program.states import State
from tests.adapters.openadr2.vtn import Vtn, signal
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW, head_end
from tests.office.test_channels import Office


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Vtn, Office]]:
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    with Vtn() as vtn, head_end() as grid:
        channel = {"id": "util", "profile": "openadr-2.0b", "url": vtn.url, "programs": {"http://context": "nonfirm-connection"}}
        office = Office(tmp_path, grid, **channel, client_id=None, secret_file=None, poll_s=10.0)
        yield vtn, office
        office.close()


def test_opts_follow_decisions_and_a_removed_event_ends(joined: tuple[Vtn, Office]):
    vtn, office = joined
    vtn.add("good", signal("LOAD_DISPATCH", "setpoint", 700, NOW + HOUR))
    vtn.add("other", signal("LOAD_DISPATCH", "setpoint", 700, NOW + HOUR), context="http://other")
    vtn.add("past", signal("LOAD_DISPATCH", "setpoint", 700, NOW - 9 * HOUR))
    for _ in range(2):
        office.step(timedelta(seconds=20))
    assert sorted(vtn.opts) == [("good", "optIn"), ("other", "optOut"), ("past", "optOut")]
    assert office.limit_kw(NOW + 90 * MINUTE) == 700.0
    vtn.drop("good")
    office.step(MINUTE)
    assert office.programs.desk().events["util:good"].state is State.CANCELLED
    assert len([n for n in office.trail("note") if "opt" in n.get("report", "")]) == 3


def test_telemetry_goes_out_and_what_was_missed_while_the_head_end_was_down_comes_late(joined: tuple[Vtn, Office]):
    vtn, office = joined
    with office.engine.begin() as connection:
        put(connection, site_minute, [{"start": NOW + n * MINUTE, "poc_kw": 900.0 + n} for n in range(-10, 60)])
    office.step()
    office.step(6 * MINUTE)
    before = len(vtn.rows)
    vtn.stop()
    for _ in range(4):
        office.step(5 * MINUTE)
    assert len(vtn.rows) == before
    vtn.restart()
    for _ in range(3):
        office.step(5 * MINUTE)
    minutes = sorted({(at, kw) for at, kw in vtn.rows})
    assert len(minutes) >= 35 and all(kw == 900.0 + (at - NOW) / MINUTE for at, kw in minutes)
    assert all(b[0] - a[0] == MINUTE for a, b in pairwise(minutes))
