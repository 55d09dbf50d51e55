"""Power judged by the tokens it makes, per cluster that counts them: the planner process feeds it minute by minute and tells its notes.

A cluster without token counters is never judged. A minute in which the cluster does not run as its users ask (capped, or recovering work
put off) says nothing of its efficiency and is left out; training makes no tokens and is taken off the power.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from ems.assets.workload.model import Cluster
from ems.forecast.traffic import PowerAlarm, Traffic, TrafficPower
from ems.messages import MinuteFrame

LEARNT_FIRST = 60  # minutes with tokens that say how many the cluster makes at its rating
FREE_SHARE = 0.02  # of the rating: power this close to the demand is neither capped nor recovering
TOLD_FOR = timedelta(hours=24)
MOST_KEPT = 20  # alarms of one cluster
PROMPT_WEIGHT = 0.1  # of a prompt token, in output tokens
NO_TOKENS = "training"  # the class of work that makes none


class TrafficWatch:
    """One model of power by traffic per cluster; `notes` are the lines of what it noticed within the last day."""

    def __init__(self, clusters: Iterable[Cluster]) -> None:
        self._clusters = {c.id: c for c in clusters}
        self._first: dict[str, list[tuple[float, float]]] = {name: [] for name in self._clusters}
        self.models: dict[str, TrafficPower] = {}

    def observe(self, frame: MinuteFrame) -> None:
        """One minute of the site; clusters whose tokens or power are not known are skipped."""
        for name, (prompt, output) in frame.tokens_per_s.items():
            cluster, kw = self._clusters.get(name), serving_kw(frame, name, self._clusters)
            if cluster is None or kw is None or not (prompt >= 0.0 and output >= 0.0):
                continue
            model = self.models.get(name) or self._begun(cluster, prompt, output, kw)
            if model is not None:
                self.models[name] = model
                model.observe(frame.start, Traffic((prompt,), (output,)), kw)
                del model.alarms[:-MOST_KEPT]

    def notes(self, now: datetime) -> list[str]:
        """`CLUSTER: what`, newest last."""
        return [said(name, alarm) for name, m in self.models.items() for alarm in m.alarms if now - alarm.at <= TOLD_FOR]

    def _begun(self, cluster: Cluster, prompt: float, output: float, kw: float) -> TrafficPower | None:
        """The model once LEARNT_FIRST minutes with work have shown how many tokens the cluster makes per kW."""
        work = PROMPT_WEIGHT * prompt + output
        if work > 0.0 and kw > cluster.idle_kw:
            self._first[cluster.id].append((work, kw - cluster.idle_kw))
        if len(self._first[cluster.id]) < LEARNT_FIRST:
            return None
        seen = self._first.pop(cluster.id)
        per_kw = sum(w for w, _ in seen) / sum(k for _, k in seen)
        span = cluster.rating_kw - cluster.idle_kw
        return TrafficPower(1, cluster.idle_kw, cluster.rating_kw, per_kw * span, PROMPT_WEIGHT)


def serving_kw(frame: MinuteFrame, name: str, clusters: dict[str, Cluster]) -> float | None:
    """Power that made this minute's tokens, None where it is not known or the cluster did not run as its users ask."""
    kw, demand = frame.asset_kw.get(name), frame.demand_kw.get(name)
    if kw is None or demand is None or name not in clusters or abs(kw - demand) > FREE_SHARE * clusters[name].rating_kw:
        return None
    return kw - (frame.class_demand_kw.get(name, {}).get(NO_TOKENS) or 0.0)


def said(name: str, alarm: PowerAlarm) -> str:
    """The line of one alarm."""
    at, change = f"{alarm.at:%Y-%m-%d %H:%M}Z", f"{100.0 * abs(alarm.change_share):.0f} %"
    if alarm.name == "tokens per joule":
        return f"{name}: tokens per joule fell: {change} more energy per token than in the last weeks, since {at}"
    more = "more" if alarm.change_share > 0 else "less"
    return f"{name}: traffic takes {change} {more} power than learnt since {at} (another model, batch or firmware?), learnt anew"
