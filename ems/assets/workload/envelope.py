"""What a cluster may be capped to: never under its idle power, never over its rating."""

from __future__ import annotations

from ems.assets.envelope import Envelope
from ems.assets.workload.model import Cluster, ClusterState


def cap_envelope(cluster: Cluster, state: ClusterState) -> Envelope:
    """The allowed cap in kW before the site's limits are shared out."""
    if state.is_local:
        held = min(max(state.power_kw, cluster.idle_kw), cluster.rating_kw)
        return Envelope(cluster.id, held, held, "device in LOCAL", "device in LOCAL")
    return Envelope(cluster.id, cluster.idle_kw, cluster.rating_kw, "idle power", "rating")


def assumed_cap_kw(cluster: Cluster, state: ClusterState, last_cap_kw: float | None) -> float:
    """The ceiling in kW this cluster has now: the cap read back, or, when it is silent, the larger of the last cap and the contract cap
    it will lapse to."""
    if state.cap_kw is not None:
        return min(cluster.rating_kw, state.cap_kw)
    if last_cap_kw is None:
        return cluster.rating_kw
    return min(cluster.rating_kw, max(last_cap_kw, cluster.contract_cap_kw))
