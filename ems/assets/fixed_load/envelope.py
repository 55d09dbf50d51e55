"""What a fixed load may do now: what it does."""

from __future__ import annotations

from ems.assets.envelope import Envelope
from ems.assets.fixed_load.model import FixedLoad


def fixed_envelope(load: FixedLoad, measured_kw: float) -> Envelope:
    """The interval in kW: nobody can move this load."""
    return Envelope(load.id, measured_kw, measured_kw, "nobody can move it", "nobody can move it")
