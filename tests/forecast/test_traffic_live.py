"""Traffic to power in the planner process: simulated clusters that count tokens, minute frames in, alarms out; in virtual time."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ems.alarms import conditions
from ems.app.planner import PlannerProcess
from ems.app.prepare import prepared_run
from ems.app.statedir import StateDir
from ems.clock import Clock
from ems.control.minutes import MinuteMeans
from ems.forecast.traffic import followed_within
from ems.forecast.traffic_watch import TrafficWatch
from ems.mailbox import Mailbox
from ems.messages import MinuteFrame
from ems.office.health import judge
from ems.office.live import Live
from ems.site.model import Site
from simulators.demand import GeneratedDemand
from tests.plan.given import demo_site

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)
MINUTES, CHANGE = 2 * 1440, 2 * 1440 - 300  # the last of them ends at noon


@cache
def frames(factor: float, seed: int = 3) -> list[MinuteFrame]:
    """What control measures of the generated demand of every cluster; hall-a's tokens per joule change by a factor at CHANGE."""
    site = demo_site()
    start = NOON - timedelta(minutes=MINUTES)
    series = {c.id: GeneratedDemand(site, seed).series(c, start.timestamp() + 60.0 * np.arange(MINUTES)) for c in site.clusters}
    idle = {c.id: c.idle_kw for c in site.clusters}
    noise = 1.0 + 0.005 * np.random.default_rng(seed).standard_normal((len(series), MINUTES))
    out = []
    for i in range(MINUTES):
        classes = {k: {n: float(getattr(d, f"{n}_kw")[i]) for n in ("interactive", "batch", "training")} for k, d in series.items()}
        demand: dict[str, float | None] = {k: idle[k] + sum(parts.values()) for k, parts in classes.items()}
        power: dict[str, float | None] = {k: noise[j, i] * (demand[k] or 0.0) for j, k in enumerate(demand)}
        share = {k: factor if k == "hall-a" and i >= CHANGE else 1.0 for k in series}
        tokens = {k: (share[k] * float(d.prompt_tokens_per_s[i]), share[k] * float(d.output_tokens_per_s[i])) for k, d in series.items()}
        by_class: dict[str, dict[str, float | None]] = {k: dict(parts) for k, parts in classes.items()}
        out.append(MinuteFrame(start + timedelta(minutes=i), None, power, demand, by_class, {}, None, tokens_per_s=tokens))
    return out


def watched(site: Site, told: list[MinuteFrame]) -> TrafficWatch:
    watch = TrafficWatch(site.clusters)
    for frame in told:
        watch.observe(frame)
    return watch


def test_a_simulated_step_to_fewer_tokens_per_joule_is_an_alarm_of_that_cluster_in_the_office(tmp_path: Path):
    state = StateDir(tmp_path)
    run_file = prepared_run("demo-2mw", state, None, None, 1, None)
    run_file.save(state.site)
    clock = Clock.starting_at(NOON, 1.0)
    clock.save(state.clock)
    mailbox = Mailbox(state.mailbox)
    process = PlannerProcess(state)
    for frame in frames(0.7):
        assert mailbox.post("minute", frame.encode(), frame.start, NOON + timedelta(hours=1))
    process.look()

    changed = NOON - timedelta(minutes=MINUTES - CHANGE)
    assert followed_within(process.traffic.models["hall-a"], changed)
    live = Live(run_file.site, mailbox)
    message = mailbox.latest("health", clock.now())
    assert message is not None
    live.health["planner"] = message.body
    said = conditions(judge(live, clock.now()).notes, run_file.site.assets)
    assert {c.key for c in said} >= {("tokens-per-joule", "hall-a"), ("model-change", "hall-a")}
    assert not any(c.subject == "hall-b" for c in said)


def test_more_tokens_per_joule_are_followed_and_are_no_regression():
    watch = watched(demo_site(), frames(1.35))
    names = {(k, a.name) for k, m in watch.models.items() for a in m.alarms}
    assert names == {("hall-a", "model change")}


def test_two_days_of_the_simulators_own_traffic_raise_nothing():
    watch = watched(demo_site(), frames(1.0))
    assert len(watch.models) == 2 and watch.notes(NOON) == []


def test_what_was_noticed_is_told_for_a_day():
    watch = watched(demo_site(), frames(0.7))
    at = watch.models["hall-a"].alarms[-1].at
    assert watch.notes(at + timedelta(hours=23)) and not watch.notes(at + timedelta(hours=25))


@pytest.mark.parametrize("counted", [{}, {"hall-a": (float("nan"), 1.0)}, {"hall-a": (-5.0, 1.0)}, {"hall-z": (1.0, 1.0)}])
def test_a_cluster_without_sound_counters_is_never_judged(counted: dict[str, tuple[float, float]]):
    site = demo_site()
    told = frames(1.0)[:200]
    bare = [MinuteFrame(f.start, None, f.asset_kw, f.demand_kw, f.class_demand_kw, {}, None, tokens_per_s=counted) for f in told]
    watch = watched(site, bare)
    assert watch.models == {} and watch.notes(NOON) == []


def test_capped_minutes_accuse_nobody():
    site = demo_site()
    told = frames(1.0)
    capped = [
        MinuteFrame(f.start, None, {k: 0.6 * (v or 0.0) for k, v in f.asset_kw.items()}, f.demand_kw, f.class_demand_kw, {}, None)
        for f in told[CHANGE:]
    ]
    half = [
        MinuteFrame(f.start, None, f.asset_kw, f.demand_kw, f.class_demand_kw, {}, None, tokens_per_s=told[0].tokens_per_s) for f in capped
    ]
    assert watched(site, told[:CHANGE] + half).notes(NOON) == []


def test_control_means_the_tokens_of_a_minute_per_cluster_and_leaves_out_who_counts_none():
    site = demo_site()
    assert MinuteMeans(site)._tokens_per_s() == {}
    means = MinuteMeans(site)
    means._sums, means._counts = (
        {"prompt:hall-a": 30.0, "output:hall-a": 6.0, "output:hall-b": 6.0},
        dict.fromkeys(("prompt:hall-a", "output:hall-a", "output:hall-b"), 2),
    )
    assert means._tokens_per_s() == {"hall-a": (15.0, 3.0)}
