"""A setpoint that explains itself. It cannot be built without a finite number and a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from ems.errors import InvariantBroken


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What one command of one asset should be now. `power_kw` is in our sign (positive into the asset); `command` is a point name
    of the asset's kind, e.g. `power_setpoint_kw`, `power_cap_kw`."""

    asset: str
    command: str
    power_kw: float
    reason: str
    at: datetime

    def __post_init__(self) -> None:
        if not math.isfinite(self.power_kw):
            raise InvariantBroken(f"{self.asset} {self.command}: {self.power_kw} is not a number to act on")
        if not self.reason:
            raise InvariantBroken(f"{self.asset} {self.command}: a setpoint needs a reason")
