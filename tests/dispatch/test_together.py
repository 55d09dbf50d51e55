"""Stores share the export limit and their feeders by what they want, and their sum never passes either."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.envelope import Envelope
from ems.dispatch.advice import Wish
from ems.dispatch.arbiter import arbitrate
from ems.dispatch.rules import advise_limits_only
from ems.dispatch.together import within
from tests.control.loop import Loop, demo_site, even

LINK = {"page": "sunspec-der-battery", "host": "127.0.0.1", "lease_s": 75}
MORE = {"kind": "battery", "power_kw": 500, "energy_kwh": 1000, "ramp_kw_per_s": 250}
ASSETS = {"bess-2": {**MORE, "link": {**LINK, "port": 15027}}, "bess-3": {**MORE, "link": {**LINK, "port": 15028}}}
FEEDERS = [{"id": "yard", "limit_kw": 700, "assets": ["bess-2", "bess-3", "hall-b"]}]
SITE = demo_site(1450.0, assets=ASSETS, feeders=FEEDERS)
LOOP = Loop(SITE, "plan")
DECISION = [LOOP.cycle({"hall-a": even(300.0), "hall-b": even(100.0)}) for _ in range(5)][-1]
TRENDS = LOOP.controller._follow(DECISION.state)
STORES = sorted(DECISION.verdict.storage)
POWER = st.floats(0.0, 700.0)
EACH = st.lists(POWER, min_size=4, max_size=4)
EITHER = st.lists(st.floats(-700.0, 700.0), min_size=4, max_size=4)


@given(POWER, EACH, EACH)
def test_nobody_gets_more_than_asked_and_all_stay_within_the_room_while_some_still_hold_what_they_had(
    room_kw: float, asked: list[float], has: list[float]
) -> None:
    told = within(room_kw, dict(zip(STORES, asked, strict=True)), held := dict(zip(STORES, has, strict=True)))
    assert all(-1e-9 <= told[k] <= kw + 1e-9 for k, kw in zip(STORES, asked, strict=True))
    assert sum(told.values()) <= room_kw + 1e-6
    assert sum(max(told[k], held[k]) for k in told) <= max(room_kw, sum(has)) + 1e-6
    if sum(asked) <= room_kw - sum(has):
        assert list(told.values()) == pytest.approx(asked)


@settings(max_examples=300, deadline=None)
@given(
    wishes=EITHER,
    now=EITHER,
    low=EACH,
    high=EACH,
    ordered=st.lists(st.booleans(), min_size=4, max_size=4),
    valley_kw=st.floats(-200.0, 1500.0),
    export_kw=st.sampled_from([0.0, 150.0]),
    goal_kw=st.one_of(st.none(), st.floats(0.0, 1500.0)),
    spends=st.booleans(),
    storage_high_kw=st.floats(-1500.0, 500.0),
    ceilings=st.tuples(st.floats(270.0, 1080.0), st.floats(150.0, 600.0)),
)
def test_whatever_is_wished_no_export_and_no_feeder_passes_its_limit(
    wishes: list[float],
    now: list[float],
    low: list[float],
    high: list[float],
    ordered: list[bool],
    valley_kw: float,
    export_kw: float,
    goal_kw: float | None,
    spends: bool,
    storage_high_kw: float,
    ceilings: tuple[float, float],
) -> None:
    has = dict(zip(STORES, now, strict=True))
    verdict = replace(
        DECISION.verdict,
        storage={k: Envelope(k, -lo, hi, "any", "any") for k, lo, hi in zip(STORES, low, high, strict=True)},
        storage_now_kw=has,
        storage_least_kw=has,
        load_valley_kw=valley_kw,
        export_limit_kw=export_kw,
        storage_high_kw=storage_high_kw,
        ceilings_kw=dict(zip(("hall-a", "hall-b"), ceilings, strict=True)),
    )
    storage = {k: Wish(kw, "any", is_ordered=o) for k, kw, o in zip(STORES, wishes, ordered, strict=True)}
    advice = replace(advise_limits_only(SITE), storage=storage, goal_kw=goal_kw, spend_storage_at_limit=spends)
    told = {s.asset: s.power_kw for s in arbitrate(SITE, DECISION.state, verdict, advice, TRENDS, goal_kw) if s.asset in has}
    gives = {k: max(0.0, -kw) for k, kw in told.items()}
    gave = {k: max(0.0, -kw) for k, kw in has.items()}
    room_kw = max(0.0, valley_kw - verdict.trip_kw) * 0.98 + export_kw
    assert sum(gives.values()) <= room_kw + 1e-6
    assert sum(max(gives[k], gave[k]) for k in told) <= max(room_kw, sum(gave.values())) + 1e-6  # nor while one takes over from another
    [feed] = verdict.feeds
    assert sum(gives[k] for k in ("bess-2", "bess-3")) <= feed.given_kw + 1e-6
    assert sum(max(0.0, told[k]) for k in ("bess-2", "bess-3")) <= feed.charging_kw(verdict.ceilings_kw) + 1e-6
