"""Types that the models of a site file share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ems.site.source import FileModel

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Positive = Annotated[float, Field(gt=0, le=1e7)]
NotNegative = Annotated[float, Field(ge=0, le=1e7)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Efficiency = Annotated[float, Field(gt=0, le=1)]
Price = Annotated[float, Field(ge=0, le=1e4)]


class LinkFile(FileModel):
    """A device's page and its Modbus/TCP address."""

    page: str = Field(min_length=1, max_length=400, description="the name of a device page, or a path to one")
    host: str = Field(min_length=1, max_length=253, description="the device's host name or address")
    port: int = Field(ge=1, le=65535, description="the device's TCP port")
    unit_id: int = Field(default=1, ge=0, le=247)
    lease_s: float = Field(default=60.0, gt=0, le=86400)
