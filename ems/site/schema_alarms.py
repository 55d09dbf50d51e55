"""The key `alarms` of a site file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ems.site.alarm_hook import AlarmHook
from ems.site.source import FileModel


class HookFile(FileModel):
    """One hook: an address or a command."""

    severity: Literal["info", "minor", "major", "critical"] = Field("minor", description="the least severity it gets")
    url: str | None = Field(None, pattern=r"^https?://[^\s]+$", description="an http or https address")
    command: list[str] = Field([], max_length=50, description="a program and its arguments")
    timeout_s: float = Field(5.0, gt=0, le=60)
    retries: int = Field(3, ge=0, le=10)

    @model_validator(mode="after")
    def _one_way(self) -> HookFile:
        if (self.url is None) == (not self.command):
            raise ValueError("either url or command")
        return self


def build_hook(name: str, file: HookFile) -> AlarmHook:
    """The hook of a site file."""
    return AlarmHook(name, file.severity, file.url, tuple(file.command), file.timeout_s, file.retries)
