"""Events from receipt to settlement: written before anything is done, the same after any crash, never out of order."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from ems.errors import DataError, InvariantBroken
from ems.obligation import ObligationKind
from ems.program.decide import OUTSIDE, days_in_a_row, used_up
from ems.program.desk import Desk
from ems.program.enrolment import EnrolmentFile
from ems.program.event import LOWEST_PRIORITY, normalised_priority
from ems.program.flexibility import Promised
from ems.program.ledger import Commitment, Ledger
from ems.program.schema import ProgramFile, Rule
from ems.program.states import MOVES, MOVING, State
from ems.program.status import EventStatus
from ems.program.store import EventStore, broken_at
from tests.program.desks import (
    ENROLMENTS,
    HOUR,
    MINUTE,
    NOW,
    PROGRAMS,
    SITE,
    Killed,
    MortalStore,
    QuickStore,
    World,
    desk_on,
    event,
    history,
    message,
    modified,
    states,
)

FULL = ["received", "validated", "evaluated", "accepted", "scheduled", "prepositioning", "ramping_down", "holding", "recovering"]
FULL += ["completed", "measured", "reported", "settled_estimate"]


def run(desk, until_min: int, step_min: int = 1, start_min: int = 0) -> None:
    for minute in range(start_min, until_min + 1, step_min):
        desk.tick(NOW + minute * MINUTE)


def test_an_event_goes_all_the_way(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    assert desk.receive(message(event()), NOW).verdict == "taken"
    run(desk, 260)
    assert states(desk.store) == FULL
    assert broken_at(desk.store.since()) is None


def test_the_limits_go_down_hold_and_come_back_without_rebound(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    posted = desk.events["e1"].posted
    hold = [o for o in posted if "/hold" in o.id]
    ramp = [o for o in posted if "/ramp" in o.id]
    rise = [o for o in posted if "/rise" in o.id]
    rest = [o for o in posted if "/rest" in o.id]
    assert [(o.start, o.end, o.kw) for o in hold] == [(NOW + HOUR, NOW + 3 * HOUR, 800.0)]
    assert ramp[0].start == NOW + HOUR - 10 * MINUTE and ramp[-1].end == NOW + HOUR  # 200 kW at 20 kW a minute
    assert all(a.kw > b.kw for a, b in pairwise(ramp)) and ramp[-1].kw > 800.0
    assert all(a.kw < b.kw for a, b in pairwise(rise)) and rise[0].start == NOW + 3 * HOUR
    assert rest[-1].kw == 1000.0 and rest[-1].end == NOW + 4 * HOUR
    assert max(o.kw for o in posted if o.start >= NOW + HOUR) <= 1000.0


def test_the_reference_is_frozen_before_the_site_moves(tmp_path):
    world = World(measured_kw=1000.0)
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event()), NOW)
    world.measured_kw = 1200.0
    run(desk, 50)
    world.measured_kw = 700.0
    run(desk, 100, start_min=51)
    assert desk.events["e1"].reference_kw == 1200.0
    assert next(o for o in desk.events["e1"].posted if "/hold" in o.id).kw == 1000.0


def test_a_reduction_follows_its_baseline_from_interval_to_interval(tmp_path):
    """What is owed is counted in each interval: held under the mean of a falling baseline, the last hour would be measured short."""
    hours = [NOW + (60 + 60 * n) * MINUTE for n in range(2)]
    world = World(steps=tuple(zip(hours, (1000.0, 900.0), strict=True)))
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event(length_min=150)), NOW)

    def held() -> list[tuple[datetime, float]]:
        return [(o.start, o.kw) for o in desk.events["e1"].posted if "/hold" in o.id]

    assert held() == [(hours[0], 800.0), (hours[1], 700.0)]
    world.steps = ((hours[0], 1000.0), (hours[1], 1000.0))
    run(desk, 61)
    assert held() == [(hours[0], 800.0)]  # frozen as it is when the site begins to move
    world.steps = ((hours[0], 500.0),)
    run(desk, 100, start_min=61)
    assert held() == [(hours[0], 800.0)]
    assert desk.events["e1"].baseline_kw == 1000.0


def test_no_charging_is_prepared_inside_the_adjustment_window(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event(start_min=600)), NOW)
    run(desk, 480, 5)
    entry = next(r for r in desk.store.since(0, "e1") if r.body.get("to") == "prepositioning")
    opens = NOW + 6 * HOUR  # ERS: the window is the fourth and third hour before the event
    assert entry.body["allowed_until"] == opens.isoformat() and "sets the baseline" in entry.body["intent"]
    quiet = [o for o in desk.events["e1"].posted if "quiet" in o.id]
    assert [(o.start, o.end) for o in quiet] == [(opens, opens + 2 * HOUR)]


def test_what_cannot_be_delivered_is_declined_and_what_can_in_part_is_taken_in_part(tmp_path):
    world = World(can_kw=150.0)
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event()), NOW)
    assert states(desk.store)[3:5] == ["partial", "scheduled"]
    assert next(o for o in desk.events["e1"].posted if "/hold" in o.id).kw == 850.0
    world.can_kw = 50.0  # under the programme's 100 kW
    desk.receive(message(event("e2", start_min=2000)), NOW)
    assert states(desk.store, "e2")[-1] == "declined" and desk.events["e2"].posted == ()


def test_a_call_with_less_notice_than_agreed_may_be_taken_and_declining_it_is_outside_the_programme(tmp_path):
    world = World()
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event(start_min=10)), NOW)
    assert desk.events["e1"].opt == "in"
    world.can_kw = 50.0
    desk.receive(message(event("e2", start_min=2010, kw=150.0)), NOW)
    desk.receive(message(event("e3", start_min=2015, kw=150.0)), NOW + 1986 * MINUTE)
    assert not desk.events["e2"].why.startswith(OUTSIDE)  # told in time
    assert desk.events["e3"].why.startswith(f"{OUTSIDE}: 29 min of notice, 30 are agreed; 50 kW of 150 kW hold")


def test_what_costs_more_than_it_brings_is_declined(tmp_path):
    desk = desk_on(tmp_path / "p.db", World(value=0.5))
    desk.receive(message(event()), NOW)
    assert "costs more than it brings" in desk.events["e1"].why


def test_a_drop_to_a_level_that_is_charged_above_it_is_taken_whole(tmp_path):
    desk = desk_on(tmp_path / "p.db", World(can_kw=150.0, value=0.0))
    desk.receive(message(event(program="pge-bip", kw=600.0, kind=ObligationKind.REDUCE_TO)), NOW)
    assert desk.events["e1"].opt == "in" and desk.events["e1"].accepted_kw is None
    (decision,) = [r.body for r in desk.store.since(0, "e1") if r.body.get("to") == "accepted"]
    assert "charged, taken or not" in decision["why"]
    assert any("150 kW of 400 kW hold" in a for a in desk.alarms)


def test_a_mandatory_event_is_never_declined(tmp_path):
    desk = desk_on(tmp_path / "p.db", World(can_kw=0.0, value=-1e6))
    desk.receive(message(event(program="nonfirm-connection", kind=ObligationKind.IMPORT_LIMIT, kw=300.0)), NOW)
    assert states(desk.store)[3:5] == ["accepted", "scheduled"]
    assert any("700 kW of 700 kW may be missing" in a for a in desk.alarms)


def test_a_counter_that_is_used_up_declines(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    drop = {"program": "pge-bip", "kind": ObligationKind.REDUCE_TO, "kw": 300.0, "length_min": 60}
    desk.receive(message(event("e1", **drop)), NOW)
    desk.receive(message(event("e2", start_min=300, **drop)), NOW)
    assert desk.events["e2"].why == "outside the programme: 2 events a day, at most 1"


@pytest.mark.parametrize(("taken", "day", "count"), [((), 5, 1), ((3, 4), 5, 3), ((4, 6, 7), 5, 4), ((3, 7), 5, 1), ((5,), 5, 1)])
def test_days_in_a_row_are_counted_on_both_sides(taken, day, count):
    assert days_in_a_row(date(2026, 7, day), {date(2026, 7, d) for d in taken}) == count


def test_more_days_in_a_row_than_a_programme_allows_are_declined(tmp_path):
    terms = replace(desk_on(tmp_path / "p.db", World()).terms_of(event()), max_consecutive_days=2)
    stood = [EventStatus(event(str(n), start_min=60 - 1440 * n), State.COMPLETED, NOW, NOW, opt="in") for n in (1, 2)]
    assert used_up(terms, event(), stood) == "3 days in a row, at most 2" and used_up(terms, event(), stood[1:]) == ""


def test_a_call_that_is_taken_back_before_it_began_uses_up_no_counter(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    level = {"program": "pge-bip", "kind": ObligationKind.REDUCE_TO, "kw": 700.0}  # one call a day
    desk.receive(message(event("first", **level)), NOW)
    desk.receive(message(modified(event("first", **level), 1, is_cancelled=True)), NOW)
    desk.receive(message(event("second", start_min=240, **level)), NOW)
    assert desk.events["second"].opt == "in"
    desk.receive(message(event("third", start_min=400, **level)), NOW)
    assert desk.events["third"].opt == "out" and "events a day" in desk.events["third"].why


def test_a_repeated_message_changes_nothing(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    before = desk.store.since()
    for minute in range(3):
        assert desk.receive(message(event()), NOW + minute * MINUTE).verdict == "duplicate"
    assert desk.store.since() == before


def test_an_older_modification_never_wins_and_a_contradiction_is_refused(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event(modification=3)), NOW)
    assert desk.receive(message(event(modification=2, kw=900.0)), NOW).verdict == "refused"
    assert "same modification" in desk.receive(message(event(modification=3, kw=900.0)), NOW).why
    assert desk.events["e1"].event.intervals[0].kw == 200.0


def test_a_modification_is_looked_at_anew_while_the_old_one_is_held(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    run(desk, 90)
    assert desk.events["e1"].state is State.HOLDING
    longer = modified(event(length_min=180, kw=300.0), 1)
    desk.receive(message(longer), NOW + 90 * MINUTE)
    assert states(desk.store)[-6:] == ["modified", "evaluated", "accepted", "join_in_progress", "ramping_down", "holding"]
    hold = next(o for o in desk.events["e1"].posted if "/hold" in o.id)
    assert (hold.kw, hold.end) == (700.0, NOW + 4 * HOUR)
    assert desk.events["e1"].reference_kw == 1000.0


def test_a_faulty_modification_leaves_the_event_as_it_was(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    assert desk.receive(message(modified(event(kw=-5.0), 1)), NOW).verdict == "refused"
    assert desk.receive(message(modified(event(kw=float("nan")), 1)), NOW).verdict == "refused"
    assert desk.events["e1"].event.intervals[0].kw == 200.0 and desk.events["e1"].state is State.PREPOSITIONING


@pytest.mark.parametrize("minute", [10, 55, 90, 170])
def test_a_cancel_ends_within_the_recovery_ramp(tmp_path, minute):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    run(desk, minute)
    moved = desk.events["e1"].is_moving
    desk.receive(message(modified(event(), 1, is_cancelled=True)), NOW + minute * MINUTE)
    assert desk.events["e1"].state is (State.RECOVERING if moved else State.CANCELLED)
    run(desk, minute + 12, start_min=minute)
    now = NOW + (minute + 12) * MINUTE
    in_force = [o for o in desk.obligations() if o.is_in_force(now)]
    assert all(o.kw >= 1000.0 for o in in_force)  # up again within the ramp of ten minutes
    run(desk, minute + 80, start_min=minute + 13)
    assert desk.events["e1"].state in (State.CANCELLED, State.SETTLED_ESTIMATE)


def test_an_event_that_is_no_longer_listed_is_cancelled(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event("e1")), NOW)
    desk.receive(message(event("e2", start_min=2000)), NOW)
    assert desk.cancel_missing("ercot-ers-30", ["e2"], "poll", NOW + MINUTE) == ["e1"]
    assert desk.events["e1"].state is State.CANCELLED and desk.events["e2"].state is State.SCHEDULED
    assert "no longer listed" in desk.events["e1"].why


def test_an_event_joined_late_delivers_the_rest(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event(start_min=-30)), NOW)
    assert states(desk.store)[3:] == ["accepted", "join_in_progress", "ramping_down", "holding"]
    hold = next(o for o in desk.events["e1"].posted if "/hold" in o.id)
    assert hold.start == NOW + 10 * MINUTE and hold.end == NOW + 90 * MINUTE


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({"start_min": -300}, "expired", "over since"),
        ({"kw": -1.0}, "rejected", "-1.0 kW"),
        ({"kw": 1e12}, "rejected", "expected 0 to"),
        ({"length_min": -5}, "rejected", "not after its start"),
        ({"length_min": 10 * 365 * 1440}, "rejected", "3650 days"),
        ({"start_min": 10 * 365 * 1440}, "rejected", "begins in"),
        ({"spread_s": (0.0, 1e9)}, "rejected", "spread"),
    ],
)
def test_senseless_events_end_where_they_arrive(tmp_path, changes, state, says):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event(**changes)), NOW)
    assert states(desk.store)[-1] == state and says in desk.events["e1"].why
    assert desk.obligations() == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (event(program="free-money"), "no programme"),
        (event(program="caiso-pdr"), "not enrolled"),
        (event(kw=float("inf")), "not finite"),
        (replace(event(), intervals=()), "no interval"),
        (None, "not JSON"),
    ],
)
def test_what_is_no_event_of_ours_is_refused_with_a_record(tmp_path, given, says):
    desk = desk_on(tmp_path / "p.db", World())
    answer = desk.receive(message(given, raw="<hostile>", problem="not JSON"), NOW)
    assert answer.verdict == "refused" and says in answer.why
    assert [r.kind for r in desk.store.since()] == ["message"] and desk.events == {}
    desk.receive(message(given, raw="<hostile>", problem="not JSON"), NOW)
    assert len(desk.store.since()) == 1  # replayed: known as refused


def test_a_person_overrides_and_is_named(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    desk.override("e1", "out", "Ada Byron", "chiller in service", NOW)
    assert desk.events["e1"].decided_by == "Ada Byron" and desk.obligations() and not desk.events["e1"].posted
    desk.override("e1", "in", "Ada Byron", "chiller back", NOW)
    run(desk, 90)
    desk.override("e1", "abort", "Ada Byron", "smoke", NOW + 90 * MINUTE)
    assert desk.events["e1"].state is State.RECOVERING
    with pytest.raises(DataError, match="not possible"):
        desk.override("e1", "in", "Ada Byron", "again", NOW + 91 * MINUTE)


def test_what_is_not_held_is_derated_with_an_alarm_and_may_come_back(tmp_path):
    world = World()
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event()), NOW)
    run(desk, 60)
    world.measured_kw, world.ignores = 950.0, True
    run(desk, 70, start_min=61)
    assert desk.events["e1"].state is State.DERATED and "is not held" in desk.alarms[-1]
    world.measured_kw = 790.0
    run(desk, 72, start_min=71)
    assert desk.events["e1"].state is State.HOLDING


def test_priorities_are_normalised():
    assert normalised_priority(0, "openadr-2.0b") == LOWEST_PRIORITY and normalised_priority(1, "openadr-2.0b") == 0
    assert normalised_priority(0, "openadr-3") == 0 and normalised_priority(None, "openadr-3") == LOWEST_PRIORITY
    assert normalised_priority(2, "openadr-2.0b") < normalised_priority(3, "openadr-2.0b") < normalised_priority(0, "openadr-2.0b")


def test_the_draw_is_made_once_and_a_hard_limit_moves_only_the_safe_way(tmp_path):
    late = event(spread_s=(0.0, 600.0))
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(late), NOW)
    draw = desk.events["e1"].draw_s
    assert 0.0 < draw < 600.0 and desk_on(tmp_path / "p.db", World()).events["e1"].draw_s == draw
    hold = next(o for o in desk.events["e1"].posted if "/hold" in o.id)
    assert hold.start == late.start + timedelta(seconds=draw) and hold.end == late.end + timedelta(seconds=draw)
    hard = late.shifted(draw, is_hard=True)
    assert (hard.start, hard.end) == (late.start, late.end + timedelta(seconds=draw))
    early = late.shifted(-draw, is_hard=True)
    assert (early.start, early.end) == (late.start - timedelta(seconds=draw), late.end)


def test_a_clock_that_jumps_back_writes_no_record_before_the_last(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    desk.receive(message(event("e2", start_min=500)), NOW - 5 * HOUR)
    stamps = [r.at for r in desk.store.since()]
    assert stamps == sorted(stamps)


def test_every_write_waits_for_the_disk(tmp_path):
    store = EventStore(tmp_path / "p.db")
    assert store._db.execute("pragma synchronous").fetchone() == (2,)  # FULL


def test_what_an_accepted_event_takes_stands_in_the_ledger_until_it_is_over(tmp_path):
    world = World(resources={"bess-1": (200.0, 400.0)})
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event()), NOW)
    assert [(c.id, c.resources["bess-1"].kwh) for c in desk.ledger.commitments] == [("e1", 400.0)]
    assert desk_on(tmp_path / "p.db", world).ledger == desk.ledger
    run(desk, 200)
    assert desk.ledger.commitments == ()


def test_an_accepted_event_that_can_no_longer_be_delivered_is_told_once_and_again_when_it_can(tmp_path):
    world = World()
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(message(event(start_min=300)), NOW)
    run(desk, 20)
    world.can_kw = 50.0
    run(desk, 40, start_min=21)
    desk = desk_on(tmp_path / "p.db", world)  # a restart tells nothing twice
    run(desk, 60, start_min=41)
    world.can_kw = 1000.0
    run(desk, 80, start_min=61)
    notes = [r.body["why"] for r in desk.store.since(0, "e1") if r.kind == "note"]
    assert len(notes) == 2 and "probability 0.20: energy of bess-1" in notes[0] and "probability 1.00" in notes[1]


def test_an_offer_that_was_taken_stands_until_it_is_released(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.promise(Commitment("bid-1", "ercot-ers-30", NOW, NOW + HOUR, 100.0, {"bess-1": Promised(100.0, 100.0)}), NOW)
    assert desk_on(tmp_path / "p.db", World()).ledger == desk.ledger != Ledger()
    desk.release("bid-1", NOW)
    assert desk.ledger == Ledger()


def test_records_that_contradict_the_machine_are_not_swallowed(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(message(event()), NOW)
    desk.store.append(NOW, "state", "e1", {"to": "settled_final"})
    with pytest.raises(InvariantBroken, match="cannot go"):
        desk_on(tmp_path / "p.db", World())


def test_every_state_but_the_last_ones_has_a_way_on():
    reached = {s for after in MOVES.values() for s in after} | {State.RECEIVED}
    assert reached == set(State)
    assert set(State) - set(MOVES) == {State.REJECTED, State.EXPIRED, State.SETTLED_FINAL}


# No notice


def _waived(program: str) -> dict[str, ProgramFile]:
    rule = Rule[bool](value=True, effective=date(2020, 1, 1), basis="read", source="x")
    file = PROGRAMS[program]
    return {**PROGRAMS, program: file.model_copy(update={"rules": file.rules.model_copy(update={"waives_ramp": [rule]})})}


def _steps(desk, stage: str) -> list[tuple[float, float]]:
    """Minutes from now and kW of the limits of a stage."""
    found = [o for o in desk.events["e1"].posted if f"/{stage}" in o.id]
    return sorted(((o.start - NOW) / MINUTE, o.kw) for o in found)


@pytest.mark.parametrize("is_waived", [False, True])
def test_without_notice_the_way_down_keeps_the_ramp_unless_it_is_waived_and_the_way_up_always_does(tmp_path, is_waived):
    """20 kW a minute, 200 kW: ten minutes down where the ramp holds; ten and more up in either case."""
    world = World()
    world.desk = desk = Desk(QuickStore(tmp_path / "p.db"), SITE, _waived("ercot-ers-30") if is_waived else PROGRAMS, ENROLMENTS, world)
    desk.receive(message(event(start_min=0, length_min=60, kw=200.0)), NOW)
    down, hold, up = (_steps(desk, stage) for stage in ("ramp", "hold", "rise"))
    assert hold[0] == ((0.0, 800.0) if is_waived else (10.0, 800.0))
    assert bool(down) is not is_waived
    for (a, above), (b, below) in pairwise(down):
        assert above - below <= 20.0 * (b - a) + 1e-6
    for (a, below), (b, above) in pairwise([(60.0, 800.0), *up]):
        assert above - below <= 20.0 * max(b - a, 1.0) + 1e-6
    assert up[-1] == (69.0, 1000.0) and len(up) == 10


# A crash after any write


SECOND = event("e2", program="pge-bip", start_min=100, length_min=60, kind=ObligationKind.REDUCE_TO, kw=500.0)


def script(desk, minute: int) -> None:
    """What arrives and happens in a minute: two events, a modification, a cancel, a decline."""
    now = NOW + minute * MINUTE
    if minute == 0:
        desk.receive(message(event()), now)
    if minute == 3:
        desk.receive(message(SECOND), now)
    if minute == 20:
        desk.receive(message(modified(event(kw=250.0, spread_s=(0.0, 90.0)), 1)), now)
    if minute == 110:
        desk.receive(message(modified(SECOND, 1, is_cancelled=True)), now)
    if minute == 120:
        desk.receive(message(replace(SECOND, id="e3", intervals=event(start_min=300).intervals)), now)
    desk.tick(now)


BEGUN = event("j1", program="nonfirm-connection", start_min=-10, length_min=120, kind=ObligationKind.IMPORT_LIMIT, kw=700.0)
SETTLED = {"settlement": {"delivered_kwh": 1.0, "low": "0", "expected": "1", "high": "2"}}


def rare(desk, minute: int) -> None:
    """What the other script does not see: refused, past, begun already, taken in part, not held, held again, aborted, stated."""
    now, world = NOW + minute * MINUTE, desk.ports
    world.can_kw, world.ignores = 150.0, 20 <= minute < 40
    world.measure = lambda *_: SETTLED
    if minute == 0:
        desk.receive(message(event("r1", length_min=-5)), now)
        desk.receive(message(event("x1", start_min=-90, length_min=30)), now)
        desk.receive(message(BEGUN), now)
        desk.receive(message(event("e1", start_min=15, length_min=60, kw=400.0)), now)
    if minute == 60 and desk.events["j1"].state in MOVING:
        desk.override("j1", "abort", "Ada Byron", "a pump", now)
    if minute == 240 and desk.events["e1"].state is State.SETTLED_ESTIMATE:
        desk.statement("e1", Decimal(1), "Ada Byron", now)
    desk.tick(now)


def play(path, lives: int | None, script=script, minutes=(0, 3, 20, 40, 55, 62, 90, 110, 120, 150, 181, 250)) -> EventStore:
    """The whole script; the process dies after its n-th write, once, and a new one goes on with the same minute, told again."""
    world = World()
    store = QuickStore(path) if lives is None else MortalStore(path, lives)
    desk = desk_on(path, world, store)
    for minute in minutes:
        try:
            script(desk, minute)
        except Killed:
            desk = desk_on(path, world)
            script(desk, minute)
    return desk.store


def by_event(store: EventStore) -> dict[str, list[tuple[str, str, str, Any]]]:
    """Each event's history; which of several that came in the same minute was written first may differ."""
    return {name: history(store, name) for name in sorted({r.event for r in store.since() if r.kind == "state"})}


def reached(store: EventStore) -> set[str]:
    return {r.body["to"] for r in store.since() if r.kind == "state"}


RARE = (rare, (0, 10, 20, 30, 45, 60, 100, 200, 239, 240))


def test_the_two_scripts_reach_every_state(tmp_path):
    both = reached(play(tmp_path / "a.db", None)) | reached(play(tmp_path / "b.db", None, *RARE))
    assert both == {s.value for s in State}


@pytest.mark.parametrize("how", [(), RARE], ids=["usual", "rare"])
def test_a_crash_after_any_write_gives_the_identical_history(tmp_path, how):
    whole = play(tmp_path / "whole.db", None, *how)
    expected, writes = by_event(whole), len(whole.since())
    for life in range(1, writes + 1):
        store = play(tmp_path / f"{life}.db", life, *how)
        assert by_event(store) == expected, f"killed after write {life}"
        assert broken_at(store.since()) is None
        store.close()


PDT = timedelta(hours=-7)  # of pge-bip in summer


@pytest.mark.parametrize(
    ("since", "until", "received", "begins", "verdict"),
    [
        (date(2026, 1, 1), date(2026, 8, 1), (7, 31, 18, 0), (7, 31, 19, 0), "taken"),  # already August in UTC
        (date(2026, 1, 1), date(2026, 8, 1), (7, 31, 16, 30), (8, 1, 0, 30), "refused"),  # called on the last day, for the day after
        (date(2026, 7, 1), None, (6, 30, 16, 0), (7, 1, 0, 30), "taken"),  # called the day before for the first day
        (date(2026, 7, 1), None, (6, 30, 17, 30), (6, 30, 18, 30), "refused"),  # already July in UTC
    ],
)
def test_an_enrolment_holds_by_the_local_day_on_which_the_event_begins(tmp_path, since, until, received, begins, verdict):
    enrolment = enrolled("pge-bip", since=since, until=until)
    now, start = (datetime(2026, *clock, tzinfo=timezone(PDT)).astimezone(UTC) for clock in (received, begins))
    desk = Desk(QuickStore(tmp_path / "p.db"), SITE, PROGRAMS, (enrolment,), World())
    called = event(program="pge-bip", kind=ObligationKind.REDUCE_TO, start_min=(start - NOW) / MINUTE, kw=1000.0)
    answer = desk.receive(message(called), now)
    assert answer.verdict == verdict, answer.why


def test_an_event_of_an_enrolments_last_evening_may_be_withdrawn_the_day_after(tmp_path):
    """It is held over midnight; the counterparty sends it again without intervals, as OpenADR 3 does."""
    desk = Desk(QuickStore(tmp_path / "p.db"), SITE, PROGRAMS, (enrolled("pge-bip", until=date(2026, 7, 16)),), World())
    called = event(program="pge-bip", kind=ObligationKind.REDUCE_TO, start_min=18 * 60, kw=1000.0)  # 23:00 to 01:00 PDT
    desk.receive(message(called), NOW)
    gone = replace(called, modification=1, intervals=(), is_cancelled=True)
    assert desk.receive(message(gone), NOW + 19.5 * HOUR).verdict == "taken"


def test_a_known_event_may_be_withdrawn_though_the_enrolment_was_suspended_since(tmp_path):
    desk = Desk(QuickStore(tmp_path / "p.db"), SITE, PROGRAMS, (enrolled("pge-bip"),), World())
    called = event(program="pge-bip", kind=ObligationKind.REDUCE_TO, kw=1000.0)
    assert desk.receive(message(called), NOW).verdict == "taken"
    desk.enrolments["pge-bip"] = enrolled("pge-bip", status="suspended")
    changed = replace(called, modification=1)
    assert desk.receive(message(changed), NOW).verdict == "refused"
    assert desk.receive(message(replace(changed, modification=2, is_cancelled=True)), NOW).verdict == "taken"


def enrolled(program: str, **changes: Any) -> EnrolmentFile:
    return next(e for e in ENROLMENTS if e.program == program).model_copy(update=changes)


@pytest.mark.parametrize(
    ("kind", "asked_kw", "can_kw", "held_kw"),
    [
        (ObligationKind.REDUCE_BY, (200.0, 400.0), 1000.0, [800.0, 600.0]),
        (ObligationKind.REDUCE_TO, (800.0, 600.0), 1000.0, [800.0, 600.0]),
        (ObligationKind.REDUCE_BY, (200.0, 400.0), 300.0, [800.0, 700.0]),  # no more than was accepted
    ],
)
def test_an_event_in_steps_is_held_step_by_step(tmp_path, kind, asked_kw, can_kw, held_kw):
    """1,000 kW before the event."""
    desk = desk_on(tmp_path / "p.db", World(can_kw=can_kw))
    called = event(kind=kind, length_min=60)
    (first,) = called.intervals
    steps = tuple(replace(first, start=first.start + n * HOUR, end=first.end + n * HOUR, kw=kw) for n, kw in enumerate(asked_kw))
    desk.receive(message(replace(called, intervals=steps)), NOW)
    assert [(o.start, o.kw) for o in desk.events["e1"].posted if "/hold" in o.id] == list(
        zip((s.start for s in steps), held_kw, strict=True)
    )
