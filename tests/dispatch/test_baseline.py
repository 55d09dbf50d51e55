"""While a grid event's baseline is read the plan spends no storage and puts no work off; outside of it nothing changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ems.dispatch.advice import Advice, Wish
from ems.dispatch.baseline import leave_baseline
from ems.dispatch.trend import ClusterTrend
from ems.obligation import Obligation, ObligationKind

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
TRENDS = {"hall-a": ClusterTrend(500.0, {}, {"batch": 120.0, "training": 200.0})}
READING = Obligation(
    "e1/quiet-0", ObligationKind.IMPORT_LIMIT, 1400.0, NOW, NOW + timedelta(minutes=15), NOW - timedelta(hours=1), sets_baseline=True
)


def advice() -> Advice:
    storage = {"bess-1": Wish(-300.0, "plan"), "ups-1": Wish(50.0, "plan")}
    return Advice("L0", storage, {"hall-a": {"batch": Wish(40.0, "cut by plan"), "training": Wish(260.0, "recovery by plan")}})


def test_nothing_is_spent_and_nothing_put_off_while_the_baseline_is_read():
    left = leave_baseline(advice(), [READING], TRENDS, NOW)
    assert left.storage["bess-1"].kw == 0.0 and "e1/quiet-0" in left.storage["bess-1"].reason
    assert left.limits["hall-a"]["batch"].kw == 120.0
    assert left.storage["ups-1"] == advice().storage["ups-1"]  # charging is the import limit's matter
    assert left.limits["hall-a"]["training"] == advice().limits["hall-a"]["training"]  # recovery is bounded as planned


@pytest.mark.parametrize("o", [replace(READING, sets_baseline=False), replace(READING, start=NOW + timedelta(seconds=1))])
def test_the_advice_stands_where_no_baseline_is_read(o):
    assert leave_baseline(advice(), [o], TRENDS, NOW) == advice()
