"""Which lease ends first, at whatever instant the controller dies; as the lifelines of the field keep them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.lifeline import Lifeline
from adapters.modbus.page_file import load_page
from ems.site.leases import ACTUATION_S, TAKING_KW, charging_lease_s, lease_s, least_cluster_lease_s, outlasts_s
from tests.control.loop import demo_site

START = datetime(2024, 8, 19, tzinfo=UTC)
HEARTBEAT, TIMER = load_page("generic-it-cluster"), load_page("sunspec-der-battery")


class Kept:
    """A device whose lease is kept cycle by cycle, as `Device` does it."""

    def __init__(self, page, lease_s: float) -> None:
        self.lifeline, self.ends_at = Lifeline(page, lease_s), START

    def cycle(self, now: datetime) -> None:
        if self.lifeline.needs_arming(now):
            self.lifeline.arm(now)
            self.ends_at = now + timedelta(seconds=self.lifeline.asked_s)
        if self.lifeline.needs_beat(now):
            self.lifeline.feed(now)
            self.ends_at = now + timedelta(seconds=self.lifeline.seconds)


@given(
    more_s=st.integers(0, 300),
    cycle_s=st.sampled_from([0.25, 1.0, 2.0, 5.0]),
    starts=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    dies_after=st.integers(401, 900),
)
def test_workload_lapses_before_what_gives_and_after_what_takes_whenever_the_controller_dies(more_s, cycle_s, starts, dies_after):
    cluster_s = math.ceil(least_cluster_lease_s(cycle_s)) + more_s
    store_s = next(s for s in range(cluster_s, 1000) if outlasts_s(s, cycle_s) >= cluster_s)
    site = demo_site(cycle_s=cycle_s)
    assets = {a: replace(x, link=replace(x.link, lease_s=cluster_s)) for a, x in site.assets.items() if x in site.clusters}
    taking_s = charging_lease_s(replace(site, assets={**site.assets, **assets}))
    halls, gives, takes = Kept(HEARTBEAT, cluster_s), Kept(TIMER, store_s), Kept(TIMER, taking_s)
    for k in range(dies_after):
        now = START + timedelta(seconds=k * cycle_s)
        for device, start in ((halls, starts[0]), (gives, starts[1]), (takes, starts[1])):
            if k >= start:
                device.cycle(now)
    follows = timedelta(seconds=ACTUATION_S)
    assert halls.ends_at + follows <= gives.ends_at
    assert takes.ends_at + follows <= halls.ends_at
    assert takes.ends_at >= now + timedelta(seconds=2.0 * cycle_s), "a lease that is kept never lapses"


def test_only_a_store_that_takes_has_the_shorter_lease():
    site = demo_site()
    assert [lease_s(site, "bess-1", kw) for kw in (-1.0, 0.0, TAKING_KW)] == [75.0, 75.0, 51.0]
    assert lease_s(site, "hall-a", 500.0) == 60.0
    assert lease_s(site, "nobody", 1.0) == 0.0


def test_without_clusters_to_wait_for_a_store_keeps_its_own_lease():
    site = demo_site()
    alone = replace(site, assets={a: x for a, x in site.assets.items() if x not in site.clusters})
    assert math.isinf(charging_lease_s(alone)) and lease_s(alone, "bess-1", TAKING_KW) == 75.0
