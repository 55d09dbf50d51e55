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
    """The ceiling in kW this cluster may have before the next cycle: the larger of the cap read back and the cap last sent, which may
    still be on its way. A silent cluster counts with the contract cap it will lapse to, if that is larger; without any cap, the rating."""
    known_kw = state.cap_kw if state.cap_kw is not None else (cluster.contract_cap_kw if last_cap_kw is not None else cluster.rating_kw)
    return min(cluster.rating_kw, max(known_kw, last_cap_kw or 0.0))
