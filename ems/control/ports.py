"""What the controller needs from outside, and nothing more. Real sockets and files in the daemon, plain objects in replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from ems.dispatch.setpoint import Setpoint
from ems.state.image import SiteImage


class Field(Protocol):
    """The equipment. Adapters poll in the background; `image` only takes what has arrived."""

    def image(self, now: datetime) -> SiteImage:
        """The frozen readings known at `now`."""

    def apply(self, setpoints: Sequence[Setpoint], refresh_leases: bool, astray: Collection[str] = ()) -> None:
        """Hands over the setpoints to write (all of assets in control, none of the others). Returns at once; writes happen in the
        background on change or lease refresh, followed by read-back. With `refresh_leases` False nothing keeps a lease alive. Assets that
        are `astray` are told again from time to time: their registers may show what they were told and their power something else."""

    def release(self, assets: Sequence[str]) -> None:
        """Lets go of assets: commands return to the device's own defaults."""


class Record(Protocol):
    """The journal. `append` must be cheap; `is_healthy` is False when the last commit was late or failed."""

    @property
    def is_healthy(self) -> bool: ...

    def append(self, kind: str, at: datetime, body: dict[str, Any]) -> object:
        """Adds one entry to the hash chain."""


class Inbox(Protocol):
    """What other processes said since the last cycle."""

    def news(self, now: datetime) -> Sequence[tuple[str, dict[str, Any]]]:
        """New messages as (topic, body), oldest first; `order` and `event` each exactly once."""

    def post(self, topic: str, body: dict[str, Any], now: datetime, valid_until: datetime) -> None:
        """Sends a message; never blocks longer than 50 ms."""


class Authority(Protocol):
    """The right to write to the equipment: one process has it at a time, whatever decides who. On one host a lock and an epoch file do
    (`ems.app.fence`); a standby on a second host needs a lease in a store that both can see, behind the same four names."""

    @property
    def epoch(self) -> int:
        """Ours; it grows with every take-over, and devices see no write of an older one after a newer one."""

    @property
    def is_stalled(self) -> bool:
        """True when our last cycle is so old that everything must be read again before anything is written."""

    def feed(self) -> None:
        """A cycle on fresh readings is complete."""

    def may_write(self) -> bool:
        """Asked immediately before every write; False once anybody else may be in charge, or when that cannot be known."""
