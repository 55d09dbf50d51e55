"""Our VEN against the simulated head-end, whose business side is an independent client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from ems.obligation import ObligationKind
from tests.adapters.openadr3.headend import HOUR, NOW, HeadEnd, event_body, head_end


@pytest.fixture
def grid() -> Iterator[HeadEnd]:
    with head_end() as made:
        yield made


def test_capacity_limits_arrive_in_kw_with_their_intervals(grid: HeadEnd, tmp_path):
    program = grid.program(
        payloadDescriptors=[{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}]
    )
    event = grid.event(program, "IMPORT_CAPACITY_LIMIT", [1200, 950.5])
    look = grid.ven(tmp_path).look(NOW, ())
    assert look.trouble == "" and [h.id for h in look.heard] == [f"dso:{event['id']}"]
    assert [(i.start, i.end, i.kw) for i in look.heard[0].limits] == [
        (NOW + HOUR, NOW + 2 * HOUR, 1200.0),
        (NOW + 2 * HOUR, NOW + 3 * HOUR, 950.5),
    ]
    assert look.heard[0].event is None and look.heard[0].problem == ""


def test_a_setpoint_is_a_level_and_its_priority_zero_is_the_highest(grid: HeadEnd, tmp_path):
    program = grid.program()
    grid.event(program, "DISPATCH_SETPOINT", [800], priority=0)
    grid.event(program, "DISPATCH_SETPOINT", [700], priority=7)
    first, second = (h.event for h in grid.ven(tmp_path).look(NOW, ()).heard)
    assert first is not None and second is not None
    assert (first.kind, first.program, first.intervals[0].kw) == (ObligationKind.REDUCE_TO, "nonfirm-connection", 800.0)
    assert first.priority == 0 < second.priority


def test_an_event_that_is_no_longer_listed_is_gone_only_when_it_is_unknown_by_its_id(grid: HeadEnd, tmp_path):
    program, ven = grid.program(), grid.ven(tmp_path)
    event = grid.event(program, "DISPATCH_SETPOINT", [800])
    name = f"dso:{event['id']}"
    stored = grid.vtn.stored["events"][event["id"]]
    stored["targets"] = ["somebody-else"]  # hidden from the list and from us
    grid.vtn.stored["vens"]["v"] = {"clientID": "ven-client", "targets": ["somebody-else"]}
    look = ven.look(NOW, (name,))
    assert look.heard == () and look.gone == ()
    grid.business.delete_event(event["id"])
    assert ven.look(NOW, (name,)).gone == (name,)


def test_a_changed_event_has_a_higher_version_and_the_same_one_the_same(grid: HeadEnd, tmp_path):
    program, ven = grid.program(), grid.ven(tmp_path)
    event = grid.event(program, "DISPATCH_SETPOINT", [800])
    first, again = (ven.look(NOW, ()).heard[0] for _ in range(2))
    grid.wait(timedelta(seconds=5))
    grid.business.update_event(event["id"], event_body(program, "DISPATCH_SETPOINT", [600]))
    changed = ven.look(grid.now, ()).heard[0]
    assert first == again and first.event and changed.event
    assert changed.event.modification > first.event.modification and changed.event.intervals[0].kw == 600.0


def test_more_objects_than_a_page_holds_are_all_seen(grid: HeadEnd, tmp_path):
    program = grid.program()
    for n in range(120):
        grid.vtn.put("events", event_body(program, "DISPATCH_SETPOINT", [n]))
    assert len(grid.ven(tmp_path).look(NOW, ()).heard) == 120


def test_a_token_that_was_revoked_is_asked_for_again(grid: HeadEnd, tmp_path):
    ven = grid.ven(tmp_path)
    grid.program()
    assert ven.look(NOW, ()).trouble == ""
    grid.vtn.revoke_tokens()
    assert ven.look(NOW, ()).trouble == ""


def test_a_head_end_that_is_down_or_refuses_us_is_one_line_of_trouble(grid: HeadEnd, tmp_path):
    ven = grid.ven(tmp_path)
    grid.vtn.is_down = True
    assert "HTTP 503" in ven.look(NOW, ("dso:x",)).trouble
    grid.vtn.is_down = False
    assert "no token: HTTP 401" in grid.ven(tmp_path, client_id="nobody").look(NOW, ()).trouble


def test_the_site_makes_itself_known_once(grid: HeadEnd, tmp_path):
    for _ in range(2):
        grid.ven(tmp_path, ven_name="hall-1").look(NOW, ())
    assert [v["venName"] for v in grid.vtn.stored["vens"].values()] == ["hall-1"]


def test_a_binding_event_that_changes_all_the_same_is_followed_and_told(grid: HeadEnd, tmp_path):
    program, ven = grid.program(attributes=[{"type": "BINDING_EVENTS", "values": [True]}]), grid.ven(tmp_path)
    event = grid.event(program, "DISPATCH_SETPOINT", [800])
    assert ven.look(NOW, ()).remarks == () == ven.look(NOW, ()).remarks
    grid.wait(timedelta(seconds=5))
    grid.business.update_event(event["id"], event_body(program, "DISPATCH_SETPOINT", [600]))
    look = ven.look(grid.now, ())
    assert "though its programme says" in look.remarks[0] and look.heard[0].event and look.heard[0].event.intervals[0].kw == 600.0


def test_the_older_profile_speaks_with_an_older_head_end(tmp_path):
    with head_end("3.0.1") as grid:
        program = grid.program()
        event = grid.event(program, "IMPORT_CAPACITY_LIMIT", [900], reportDescriptors=[{"payloadType": "DEMAND"}])
        (tmp_path / "hook").write_text("token")
        webhook = {"callback_url": "https://site.example/hooks/dso", "token_file": "hook"}
        ven = grid.ven(tmp_path, profile="openadr-3.0.1", targets=["group-1"], webhook=webhook)
        look = ven.look(NOW, ())
        assert (look.trouble, look.remarks, [i.kw for i in look.heard[0].limits]) == ("", (), [900.0])
        ask = look.heard[0].asks[0]
        assert (ask.event, ask.program) == (event["id"], program)
        body = {"programID": program, "eventID": event["id"], "clientName": "site", "resources": []}
        assert ven.send([("k", body)], NOW) == ((("k", json.dumps(body, sort_keys=True)),), "")
        assert [s["programID"] for s in grid.vtn.stored["subscriptions"].values()] == [program]
        assert ("GET", "/auth/server") not in grid.vtn.requests[1:]  # a 3.0.1 head-end has its token at its own place
