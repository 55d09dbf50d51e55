"""What every asset shares: an id, a device link, and the point names by which adapters and simulators speak of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceLink:
    """Where the device of an asset answers: its page in config/devices and its Modbus/TCP address."""

    page: str  # name of a page, or a path to one
    host: str
    port: int
    unit_id: int = 1
    lease_s: float = 60.0  # site seconds after which the device lets a setpoint lapse by itself

    @property
    def is_loopback(self) -> bool:
        """True when the device lives on this machine (simulated equipment)."""
        return self.host in {"127.0.0.1", "::1", "localhost"} or self.host.startswith("127.")
