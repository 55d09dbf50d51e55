"""Trust: who counts, who does not, and what survives a restart."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ems.control.controller import Controller
from ems.control.decision import Decision
from ems.guard.trust import Proof, Trust, TrustBook
from ems.messages import Mode, Order, OrderKind
from ems.plan.plan import encode_plan
from ems.reading import Reading
from ems.state.image import SiteImage
from tests.control.loop import Loop, demo_site, even
from tests.control.plans import flat_plan

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}
SITE = demo_site()
TOLD = "power_setpoint_kw: told -300, reads back 0 (acknowledged but not applied)"
CONTROL = {"bess-1": Mode.CONTROL}


def image(second: float, problem: str = "", is_answering: bool = True) -> SiteImage:
    at = START + timedelta(seconds=second)
    read_at = at if is_answering else at - timedelta(seconds=60)
    return SiteImage(at, {"bess-1": {"power_kw": Reading(0.0, read_at)}}, {}, {"bess-1": problem} if problem else {})


def state_after(book: TrustBook, rows: Sequence[tuple[float, str]]) -> Trust:
    for second, problem in rows:
        book.update(image(second, problem), CONTROL)
    return book.records["bess-1"].state


def test_a_device_goes_from_unknown_over_identified_and_proven_to_active():
    book = TrustBook(SITE)
    book.update(image(0.0, "no answer", is_answering=False), {})
    seen = [book.records["bess-1"].state]
    book.update(image(1.0), {"bess-1": Mode.OBSERVE})
    seen.append(book.records["bess-1"].state)
    book.prove("bess-1", Proof("Ada", START.isoformat(), is_passed=True))
    book.update(image(2.0), {"bess-1": Mode.OBSERVE})
    seen.append(book.records["bess-1"].state)
    book.update(image(3.0), CONTROL)
    assert [*seen, book.records["bess-1"].state] == [Trust.UNKNOWN, Trust.IDENTIFIED, Trust.PROVEN, Trust.ACTIVE]
    assert [(c.before, c.after) for c in book.changes] == [(Trust.PROVEN, Trust.ACTIVE)]


def test_the_third_disobedience_in_four_hours_is_quarantine_and_only_a_person_ends_it():
    book = TrustBook(SITE)
    assert state_after(book, [(0, TOLD), (5, "")]) is Trust.ACTIVE
    assert state_after(book, [(100, TOLD), (105, "")]) is Trust.ACTIVE
    assert state_after(book, [(200, TOLD), (205, ""), (3000, "")]) is Trust.QUARANTINED
    assert "acknowledged but not applied" in book.quarantined()["bess-1"]
    again = TrustBook(SITE)
    again.restore(book.encode())
    assert state_after(again, [(3001, "")]) is Trust.QUARANTINED
    again.release("bess-1")
    assert state_after(again, [(3002, "")]) is Trust.ACTIVE and not again.quarantined()


@pytest.mark.parametrize("seen_after_s", [0.0, 2.0, 30.0])
def test_a_device_that_trips_as_the_grid_goes_away_has_not_disobeyed(seen_after_s: float):
    """Campaign, whole days of seeds 3 and 4: twice disobedient, then an outage, and the battery was given up."""
    book = TrustBook(SITE)
    state_after(book, [(0, TOLD), (5, ""), (100, TOLD), (105, "")])
    for k in range(60):
        book.update(image(200.0 + k, TOLD), CONTROL, is_disturbed=k >= seen_after_s)
    is_given_up = seen_after_s > 3.0  # then it was disobedient before
    assert bool(book.quarantined()) is is_given_up
    assert len(book.records["bess-1"].strikes) == (3 if is_given_up else 2)


def test_what_flickers_within_a_minute_is_one_disobedience_and_old_ones_are_forgotten():
    book = TrustBook(SITE)
    assert state_after(book, [(k, TOLD if k % 2 else "") for k in range(50)]) is Trust.SUSPECT
    hours = [(3600.0 * 3 * k, TOLD) for k in range(1, 5)]
    assert state_after(book, [row for at, problem in hours for row in ((at, problem), (at + 5, ""))]) is Trust.ACTIVE


def test_a_disobedience_that_does_not_end_is_quarantine_after_twenty_minutes():
    book = TrustBook(SITE)
    assert state_after(book, [(float(k), TOLD) for k in range(1199)]) is Trust.SUSPECT
    assert state_after(book, [(float(k), TOLD) for k in range(1199, 1205)]) is Trust.QUARANTINED


def test_silence_and_doubt_beside_the_device_are_no_disobedience():
    book = TrustBook(SITE)
    for k in range(10):
        assert state_after(book, [(100.0 * k, "no answer within 0.4 s"), (100.0 * k + 50, "")]) is Trust.ACTIVE
    book.update(replace(image(2000.0), problems={"bess-1 charge": "the gauge shows 70.0 %"}), CONTROL)
    assert book.records["bess-1"].state is Trust.SUSPECT


def test_a_failed_self_test_refuses_control_until_one_is_passed():
    book = TrustBook(SITE)
    book.prove("bess-1", Proof("Ada", START.isoformat(), is_passed=False, why="the wrong way"))
    assert "the wrong way" in book.refusal("bess-1")
    book.prove("bess-1", Proof("Ada", START.isoformat(), is_passed=True))
    assert book.refusal("bess-1") == ""


def order(kind: OrderKind, asset: str, mode: Mode | None = None) -> tuple[str, dict[str, Any]]:
    return "order", Order(kind, asset, "Ada", "a test", START, mode).encode()


def test_a_quarantined_battery_gets_no_power_over_a_restart_and_its_release_gives_it_back():
    loop = Loop(demo_site(1370.0))
    plan = lambda kw: [("plan", encode_plan(flat_plan(loop.site, loop.now, kw)))]  # noqa: E731
    loop.cycle(CALM, plan(-200.0))
    loop.controller.commissioning.trust.records["bess-1"].quarantine = "three times"
    loop.run(10, lambda k: CALM)
    assert told(loop.decisions[-1]) == 0.0 and "quarantined" in " ".join(loop.decisions[-1].alarms)
    kept = loop.controller.memory()
    loop.controller = Controller(loop.site, "plan", loop.modes, kept)
    loop.cycle(CALM, plan(-200.0))
    assert told(loop.cycle(CALM)) == 0.0
    loop.cycle(CALM, [order(OrderKind.RELEASE, "all")])
    assert told(loop.cycle(CALM)) == 0.0
    loop.cycle(CALM, [order(OrderKind.RELEASE, "bess-1")])
    loop.run(10, lambda k: CALM)  # ten good cycles first
    assert told(loop.cycle(CALM)) < -100.0


def told(decision: Decision) -> float:
    return next(s.power_kw for s in decision.setpoints if s.asset == "bess-1")


@pytest.mark.parametrize(("host", "refused"), [("127.0.0.1", False), ("10.1.2.3", True)])
def test_real_equipment_is_taken_into_control_only_after_its_self_test(host: str, refused: bool):
    battery = SITE.batteries[0]
    assert battery.link is not None
    site = replace(SITE, assets={**SITE.assets, "bess-1": replace(battery, link=replace(battery.link, host=host))})
    controller = Controller(site, "capped")
    answer = controller.decide(SiteImage(START, {}), [order(OrderKind.MODE, "bess-1", Mode.CONTROL)], START).acknowledged[0]
    assert ("has not passed its self-test" in answer) == refused
    assert (controller.orders.modes["bess-1"] is Mode.CONTROL) != refused
