"""Limits over a window of the meter: what flowed in the running one counts, also what flowed before a restart."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from ems.control.window_means import WindowMeans
from ems.limit import Allowed, Limit, LimitKind
from tests.control.loop import demo_site
from tests.control.test_limits import with_limits

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUARTER = Limit(1150.0, LimitKind.CONNECTION, window_s=900.0, source="utility")


def followed(import_kw: float, seconds: int) -> WindowMeans:
    means = WindowMeans(with_limits(demo_site(), QUARTER))
    for second in range(seconds + 1):
        means.update(NOON + timedelta(seconds=second), import_kw, None, True)
    return means


@pytest.mark.parametrize("import_kw", [900.0, 1400.0])
def test_what_flowed_before_a_restart_counts_after_it(import_kw: float) -> None:
    now = NOON + timedelta(seconds=600)
    means, again = followed(import_kw, 600), WindowMeans(with_limits(demo_site(), QUARTER))
    again.restore(json.loads(json.dumps(means.encode())))
    assert again.lowest(now, {}) == means.lowest(now, {})
    left_kw, _ = means.lowest(now, {})
    assert left_kw == pytest.approx(1150.0 + (1150.0 - import_kw) * 600 / 300, abs=60.0)


def test_what_a_device_allows_stands_in_for_the_number_of_the_file() -> None:
    means, now = followed(800.0, 300), NOON + timedelta(seconds=300)
    usual_kw, words = means.lowest(now, {})
    lower_kw, lower_words = means.lowest(now, {QUARTER: Allowed(900.0, " fail-safe")})
    assert lower_kw < usual_kw - 200.0
    assert words != lower_words


def test_a_site_without_such_a_limit_has_no_bound() -> None:
    assert WindowMeans(demo_site()).lowest(NOON, {}) == (math.inf, "")
