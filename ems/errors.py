"""The error families of the house. Each names what is wrong and what would be right."""

from __future__ import annotations

from dataclasses import dataclass


class EmsError(Exception):
    """Any error this software raises on purpose."""


@dataclass(frozen=True)
class Complaint:
    """One fault in an operator's file: where it is, what stands there, what would be right."""

    file: str
    line: int
    column: int
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.key} = {self.value}: expected {self.expected}"


class ConfigError(EmsError):
    """A site, scenario, device or tariff file that cannot be used; carries every complaint at once."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__("\n".join(str(c) for c in complaints))
        self.complaints = complaints


class DataError(EmsError):
    """Missing, stale or senseless data; handled by degrading, never by guessing zero."""


class FieldError(EmsError):
    """Device trouble; recorded, never swallowed."""


class DeviceSilent(FieldError):
    """No (complete) answer within the deadline."""


class DeviceLied(FieldError):
    """An answer that does not fit the request: wrong unit, function, count, echo or transaction."""


class DeviceRefused(FieldError):
    """The device answered with a refusal (a Modbus exception, or a command outside what it accepts)."""


class PlanInfeasible(EmsError):
    """No plan satisfies the hard constraints; the message names the clash."""


class InvariantBroken(EmsError):
    """A number that must never become an action (not finite, outside its interval, without a reason)."""
