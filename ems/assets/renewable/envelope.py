"""What a plant fed by sun or wind may do now: anything up to its rating; nature decides the rest."""

from __future__ import annotations

from ems.assets.envelope import Envelope
from ems.assets.renewable.model import Renewable, RenewableState


def renewable_envelope(renewable: Renewable, state: RenewableState) -> Envelope:
    """The allowed power in kW, generating negative: `low_kw` bounds the ceiling that may be set."""
    if not state.is_fresh:
        return Envelope(renewable.id, 0.0, 0.0, "device not trusted", "device not trusted")
    if state.is_local:
        return Envelope(renewable.id, state.power_kw, state.power_kw, "device in LOCAL", "device in LOCAL")
    return Envelope(renewable.id, -renewable.power_kw, 0.0, "rating", "may be curtailed")
