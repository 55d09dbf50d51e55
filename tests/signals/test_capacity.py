"""The fail-safe of a flexible connection, and one envelope that names what binds among all sources."""

from datetime import UTC, datetime, timedelta

import pytest

from ems.limit import Limit, LimitKind
from ems.obligation import Obligation, ObligationKind
from ems.signals.capacity import CapacityBook, CapacityInterval, firm_and_flexible, operator_cap
from ems.signals.envelope import import_envelope

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def book() -> CapacityBook:
    made = CapacityBook(subscription_kw=800.0, stale_after=timedelta(minutes=15))
    made.take("doe-1", [CapacityInterval(NOW + n * HOUR, NOW + (n + 1) * HOUR, kw) for n, kw in enumerate((1200.0, 700.0))], NOW)
    return made


def limit_at(made: CapacityBook, now: datetime, at: datetime) -> float:
    return min(x.kw for x in made.limits(now) if x.is_valid(at))


def test_limits_that_are_told_hold_and_when_used_up_the_subscription_does():
    made = book()
    assert [limit_at(made, NOW, NOW + h * HOUR) for h in (0, 1, 2, 100)] == [1200.0, 700.0, 800.0, 800.0]


def test_when_nobody_is_heard_nothing_above_the_subscription_counts():
    made = book()
    later = NOW + timedelta(minutes=16)
    assert limit_at(made, NOW + timedelta(minutes=15), NOW + 0.3 * HOUR) == 1200.0
    assert [limit_at(made, later, NOW + h * HOUR) for h in (0.5, 1, 2)] == [800.0, 700.0, 800.0]
    made.heard(later)
    assert limit_at(made, later, NOW + 0.5 * HOUR) == 1200.0


def test_a_gap_in_a_schedule_falls_back():
    made = book()
    made.take("doe-1", [CapacityInterval(NOW, NOW + HOUR, 1200.0), CapacityInterval(NOW + 2 * HOUR, NOW + 3 * HOUR, 1100.0)], NOW)
    assert [limit_at(made, NOW, NOW + h * HOUR) for h in (0, 1, 2, 3)] == [1200.0, 800.0, 1100.0, 800.0]


def test_after_an_outage_every_limit_is_discarded_and_asked_for_again():
    made = book()
    assert not made.must_poll
    made.outage()
    assert made.must_poll and limit_at(made, NOW, NOW) == 800.0
    made.take("doe-2", [CapacityInterval(NOW, NOW + HOUR, 1300.0)], NOW)
    assert not made.must_poll and limit_at(made, NOW, NOW) == 1300.0


def test_the_most_restrictive_of_two_schedules_wins():
    made = book()
    made.take("doe-2", [CapacityInterval(NOW, NOW + HOUR, 900.0)], NOW)
    assert limit_at(made, NOW, NOW) == 900.0
    made.take("doe-2", [], NOW)
    assert limit_at(made, NOW, NOW) == 1200.0


def test_a_reservation_raises_the_subscription_for_its_time():
    made = CapacityBook(800.0, timedelta(minutes=15))
    made.reserve("bid-1", CapacityInterval(NOW + HOUR, NOW + 2 * HOUR, 250.0), NOW)
    assert [limit_at(made, NOW, NOW + h * HOUR) for h in (0, 1, 2)] == [800.0, 1050.0, 800.0]


def test_control_falls_back_by_itself_when_this_process_is_gone():
    last = max(book().obligations(NOW), key=lambda o: o.end)
    assert last.kw == 800.0 and last.start == NOW + 2 * HOUR and last.end > NOW + timedelta(days=300)


def test_the_envelope_merges_every_source_and_names_what_binds():
    limits = [
        Limit(1500.0, source="breaker"),
        *firm_and_flexible(600.0, 1400.0, [CapacityInterval(NOW + 2 * HOUR, NOW + 3 * HOUR, 600.0)]),
        operator_cap(1000.0, "Ada Byron", NOW + 3 * HOUR, NOW + 4 * HOUR),
        Limit(100.0, LimitKind.BILLING),
    ]
    made = CapacityBook(1450.0, timedelta(hours=10))
    made.take("doe-1", [CapacityInterval(NOW + HOUR, NOW + 2 * HOUR, 1300.0)], NOW)
    made.reserve("bid-1", CapacityInterval(NOW + 6 * HOUR, NOW + 7 * HOUR, 20.0), NOW)
    event = Obligation("ers-7/hold-0", ObligationKind.IMPORT_LIMIT, 900.0, NOW + 4 * HOUR, NOW + 5 * HOUR, NOW, "ercot-ers-30")
    order = Obligation("sb6-1/hold-0", ObligationKind.REDUCE_TO, 500.0, NOW + 5 * HOUR, NOW + 6 * HOUR, NOW, "texas-sb6")
    starts = [NOW + n * HOUR for n in range(7)]
    kw, sources = import_envelope([*limits, *made.limits(NOW)], [event, order], starts, [1.0] * 7, NOW)
    assert kw.tolist() == [1400.0, 1300.0, 600.0, 1000.0, 900.0, 500.0, 1400.0]
    assert [s.split(" (")[-1].rstrip(")") for s in sources] == [
        "non-firm connection",
        "capacity limit doe-1",
        "non-firm part curtailed",
        "operator cap by Ada Byron",
        "event ers-7/hold-0",
        "event sb6-1/hold-0",
        "non-firm connection",
    ]


@pytest.mark.parametrize("minutes", [0, 14, 16, 59, 61, 119, 121, 10_000])
def test_there_is_always_a_limit_for_now(minutes):
    made, now = book(), NOW + timedelta(minutes=minutes)
    assert any(x.is_valid(now) for x in made.limits(now))
