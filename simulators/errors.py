"""How simulated equipment says no."""

from __future__ import annotations

from ems.errors import DeviceRefused


class Refused(DeviceRefused):
    """The device will not take this command now; the message says why."""
