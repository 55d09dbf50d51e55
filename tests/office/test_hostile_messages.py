"""Malformed and hostile payloads of a head-end: refused with a reason and kept, or handled by the documented fall-back; the limits that
control holds never leave what stood before because of a message."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.program.states import State
from tests.adapters.openadr3.headend import HOUR, MINUTE, NOW, HeadEnd, event_body, head_end
from tests.office.test_channels import Office

Body = dict[str, Any]


@pytest.fixture(scope="module")
def shared() -> Iterator[HeadEnd]:
    with head_end() as made:
        yield made


@pytest.fixture
def office(shared: HeadEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr("ems.office.lines.Line.start", lambda self: None)
    shared.time[0], shared.vtn.is_down = NOW, False
    for kind in shared.vtn.stored.values():
        kind.clear()
    shared.vtn.put("programs", {"programName": "Flex"}, name="flex")
    made = Office(tmp_path, shared)
    yield made
    made.close()


def put(office: Office, body: Body, name: str = "e1") -> None:
    """An object as the head-end shows it, checked by nobody."""
    office.grid.vtn.put("events", body, name=name)


def dispatch(kw: Any = 700.0, **more: Any) -> Body:
    return event_body("flex", "DISPATCH_SETPOINT", [kw], **more)


def limit(kw: Any = 600.0, **more: Any) -> Body:
    return event_body("flex", "IMPORT_CAPACITY_LIMIT", [kw], **more)


def refusals(office: Office) -> list[str]:
    return [m["why"] for m in office.trail("message") if m["verdict"] == "refused"]


REFUSED: list[tuple[Body, str]] = [
    (dispatch("700"), "expected one number"),
    (dispatch(True), "expected one number"),
    (dispatch(-5), "expected 0 to"),
    (dispatch(1e12), "expected 0 to"),
    (limit(None), "expected one number"),
    (limit(-1), "expected 0 to"),
    (dispatch(payloadDescriptors=[{"payloadType": "DISPATCH_SETPOINT", "units": "HORSEPOWER"}]), "expected KW"),
    (dispatch(start="soon"), "with its offset"),
    (dispatch(start="2027-07-15T13:00:00"), "with its offset"),
    (dispatch(length="P"), "expected a duration"),
    (dispatch(length="-PT1H"), "expected a duration"),
    (dispatch(priority="first"), "priority"),
    ({**dispatch(), "intervals": "all"}, "expected a list"),
    ({**dispatch(), "intervals": [{"id": 0}]}, "payloads"),
    ({**dispatch(), "intervalPeriod": []}, "expected an object"),
    ({**dispatch(), "programID": "another"}, "is not among those"),
    (event_body("flex", "SIMPLE", [2]), "does not say how many kW"),
    (event_body("flex", "SIMPLE", [9]), "expected 0 to 3"),
    (event_body("flex", "DISPATCH_SETPOINT_RELATIVE", [100]), "asks for more import"),
    (event_body("flex", "PRICE", [0.05 * 1000]), "expected -2 to 20"),
    (event_body("flex", "CURVE", [{"x": 1, "y": 2}]), "not understood"),
    ({"programID": "flex"}, "no payload"),
]


@pytest.mark.parametrize(("body", "why"), REFUSED, ids=[f"{n}" for n in range(len(REFUSED))])
def test_what_cannot_be_meant_is_refused_with_a_reason_and_changes_no_limit(office: Office, body: Body, why: str):
    put(office, body)
    office.step()
    assert any(why in r for r in refusals(office)), refusals(office)
    assert [office.limit_kw(NOW + n * 30 * MINUTE) for n in range(6)] == [900.0] * 6
    assert json.loads(office.trail("message")[0]["raw"])["id"] == "e1" and len(office.trail("message")) == 1


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (dispatch(start=NOW - 5 * HOUR), State.EXPIRED),
        (dispatch(length="P10Y"), State.REJECTED),
        (dispatch(start=NOW + timedelta(days=4000)), State.REJECTED),
    ],
    ids=["past", "ten years", "far away"],
)
def test_events_of_the_past_and_of_ten_years_are_kept_and_not_followed(office: Office, body: Body, state: State):
    put(office, body)
    office.step()
    assert office.programs.desk().events["dso:e1"].state is state
    assert [office.limit_kw(NOW + n * 30 * MINUTE) for n in range(6)] == [900.0] * 6


def test_a_message_that_is_repeated_changes_nothing_and_is_kept_once(office: Office):
    put(office, dispatch())
    for _ in range(5):
        office.step(MINUTE)
    office.channels._seen.clear()  # as after a restart
    office.step(MINUTE)
    assert len(office.trail("message")) == 1


def replayed(office: Office) -> None:
    """The first version again, with its own stamp."""
    put(office, dispatch(700.0))
    first = dict(office.grid.vtn.stored["events"]["e1"])
    office.step(MINUTE)
    put(office, dispatch(650.0))
    office.step(MINUTE)
    office.grid.vtn.stored["events"]["e1"] = first
    office.step(MINUTE)


def contradictory(office: Office) -> None:
    """Other content under the same stamp."""
    put(office, dispatch(650.0))
    office.step(MINUTE)
    stored = office.grid.vtn.stored["events"]["e1"]
    office.grid.vtn.stored["events"]["e1"] = {**dispatch(100.0), **{k: stored[k] for k in ("id", "objectType", "modificationDateTime")}}
    office.step(MINUTE)


def broken_later(office: Office) -> None:
    """A newer version that cannot be read: the version known stands."""
    put(office, dispatch(650.0))
    office.step(MINUTE)
    put(office, dispatch("zero"))
    office.step(MINUTE)


def moved_programme(office: Office) -> None:
    """A newer version under a programme that is not ours."""
    put(office, dispatch(650.0))
    office.step(MINUTE)
    put(office, {**dispatch(100.0), "programID": "free-money"})
    office.step(MINUTE)


@pytest.mark.parametrize("attack", [replayed, contradictory, broken_later, moved_programme])
def test_old_contradictory_and_broken_versions_are_refused_and_the_version_known_stands(office: Office, attack: Callable[[Office], None]):
    attack(office)
    assert len(refusals(office)) == 1
    assert office.programs.desk().events["dso:e1"].event.intervals[0].kw == 650.0
    assert office.limit_kw(NOW + 90 * MINUTE) == 650.0


def test_of_overlapping_limits_the_smallest_holds_and_none_may_lift_another(office: Office):
    put(office, limit(1400.0, length="PT3H"), "generous")
    put(office, limit(600.0, start=NOW + 2 * HOUR), "strict")
    put(office, dispatch(700.0, length="PT3H", priority=0), "dispatch")
    office.step()
    assert [office.limit_kw(NOW + n * HOUR + 30 * MINUTE) for n in (1, 2)] == [700.0, 600.0]


def test_a_limit_above_the_connection_lifts_nothing(office: Office):
    put(office, limit(4.9e6, start=NOW))
    office.step()
    limits = [p for p in (900.0, 4.9e6) if office.limit_kw() == p]
    assert limits == [4.9e6]  # one obligation among others: the guard holds the connection limit of the site file beside it
    assert office.programs.site.point_of_connection.import_limit_kw == 1450.0


def test_answers_that_are_no_list_and_floods_are_one_line_of_trouble(office: Office):
    for n in range(3):
        put(office, limit(600.0 + n, start=NOW), f"e{n}")
    office.step()
    held = office.limit_kw()
    office.grid.vtn.stored["events"] = {f"x{n}": "nonsense" for n in range(3)}  # type: ignore[dict-item]
    office.step(MINUTE)
    assert "channel dso" in " ".join(office.channels.notes(office.grid.now)) and office.limit_kw() == held


def test_an_event_without_an_id_is_kept_as_refused(office: Office):
    put(office, dispatch())
    office.grid.vtn.stored["events"]["e1"]["id"] = "../../etc"
    office.step()
    assert refusals(office) == ["an object without a usable id"]


def test_a_flood_is_taken_in_portions(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ems.office.channels.MOST_NEW", 5)
    for n in range(8):
        put(office, limit("flood", start=NOW), f"e{n}")
    office.channels.deliver(office.programs.desk(), NOW)
    for expected in (5, 8, 8):
        office.grid.wait(2 * MINUTE)
        for line in office.channels.lines.values():
            line.step()
        office.programs.tick(office.grid.now)
        assert len(office.trail("message")) == expected
    assert any("8 new objects at once" in r for r in office.channels.remarks)
