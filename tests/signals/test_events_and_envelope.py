"""Events become obligations; limits and obligations become one import envelope that knows what binds."""

from datetime import UTC, datetime, timedelta

import pytest

from ems.errors import DataError
from ems.limit import Limit, LimitKind
from ems.obligation import Obligation, ObligationKind
from ems.signals.envelope import NO_LIMIT_KW, import_envelope
from ems.signals.events import frozen_baseline, known_obligations, obligation_from

NOW = datetime(2024, 8, 20, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVENT = {
    "kind": "import_limit",
    "kw": 1200,
    "start": "2024-08-20T19:00:00Z",
    "end": "2024-08-20T21:00:00Z",
    "notice_at": "2024-08-20T17:00:00Z",
}
STARTS = tuple(NOW + HOUR * i for i in range(4))
HOURS = (1.0,) * 4


def asked(kw: float, **changes: object) -> Obligation:
    fields = {"id": "e1", "kind": ObligationKind.IMPORT_LIMIT, "kw": kw, "start": NOW + HOUR, "end": NOW + 2 * HOUR, "notice_at": NOW}
    return Obligation(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_event_becomes_an_obligation():
    o = obligation_from(EVENT)
    assert (o.kind, o.kw, o.start, o.end) == (ObligationKind.IMPORT_LIMIT, 1200.0, NOW + HOUR, NOW + 3 * HOUR)
    assert (o.notice_at, o.program, o.id) == (NOW - HOUR, "manual", "manual-20240820T1900Z")


def test_a_fraction_is_taken_of_the_baseline_or_of_the_reference():
    by = {**EVENT, "kind": "reduce_by", "kw": None, "fraction": 0.25}
    assert obligation_from({**by, "baseline_kw": 1000}).import_limit_kw() == 750.0
    assert obligation_from({**by, "kind": "reduce_to"}, reference_kw=1400).import_limit_kw() == 350.0


def test_a_baseline_is_frozen_once():
    o = frozen_baseline(obligation_from({**EVENT, "kind": "reduce_by", "kw": 300}), 1100.0)
    assert o.import_limit_kw() == 800.0
    assert frozen_baseline(o, 5.0) == o


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "please"}, "kind = please"),
        ({"kw": -5}, "kw = -5"),
        ({"kw": float("nan")}, "kw = nan"),
        ({"kw": None}, "exactly one"),
        ({"fraction": 0.2}, "exactly one"),
        ({"kw": None, "fraction": 1.5, "baseline_kw": 100}, "fraction = 1.5"),
        ({"kw": None, "fraction": 0.5}, "baseline_kw"),
        ({"end": "2024-08-20T18:00:00Z"}, "later than start"),
        ({"start": "2024-08-20T19:00:00"}, "time zone"),
        ({"start": "soon"}, "start = soon"),
        ({"colour": "red"}, "colour = red"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused_by_name(change: dict[str, object], says: str):
    with pytest.raises(DataError, match=says):
        obligation_from({**EVENT, **change})


def test_an_obligation_is_known_from_its_notice_until_its_end_and_the_newest_version_counts():
    first, changed = asked(1200), asked(1100, notice_at=NOW + timedelta(minutes=10))
    assert known_obligations([changed, first], NOW - HOUR) == ()
    assert known_obligations([changed, first], NOW) == (first,)
    assert known_obligations([changed, first], NOW + timedelta(minutes=10)) == (changed,)
    assert known_obligations([changed, first], NOW + 2 * HOUR) == ()


def test_the_lowest_bound_holds_in_each_step_and_is_named():
    kw, sources = import_envelope([Limit(1370.0), Limit(1500.0, LimitKind.CONNECTION)], [asked(1200)], STARTS, HOURS, NOW)
    assert list(kw) == [1370.0, 1200.0, 1370.0, 1370.0]
    assert sources == ("protective limit (site file)", "event e1", "protective limit (site file)", "protective limit (site file)")


def test_an_obligation_above_the_limit_loosens_nothing():
    kw, sources = import_envelope([Limit(1370.0)], [asked(1600)], STARTS, HOURS, NOW)
    assert set(kw) == {1370.0} and len(set(sources)) == 1


def test_an_obligation_without_notice_is_not_foreseen():
    kw, _ = import_envelope([Limit(1370.0)], [asked(1200, notice_at=NOW + timedelta(seconds=1))], STARTS, HOURS, NOW)
    assert set(kw) == {1370.0}


def test_a_step_touched_in_part_is_held_whole():
    half = asked(1200, start=NOW + timedelta(minutes=90), end=NOW + timedelta(minutes=91))
    assert list(import_envelope([], [half], STARTS, HOURS, NOW)[0]) == [NO_LIMIT_KW, 1200.0, NO_LIMIT_KW, NO_LIMIT_KW]


def test_a_limit_holds_only_while_it_is_valid_and_a_billing_limit_does_not_bind():
    evening = Limit(900.0, LimitKind.CONNECTION, valid_from=NOW + 2 * HOUR, valid_to=NOW + 3 * HOUR)
    kw, sources = import_envelope([evening, Limit(100.0, LimitKind.BILLING, 900.0)], [], STARTS, HOURS, NOW)
    assert list(kw) == [NO_LIMIT_KW, NO_LIMIT_KW, 900.0, NO_LIMIT_KW]
    assert sources == ("", "", "connection limit (site file)", "")
