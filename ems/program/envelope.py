"""The flexibility envelope: by how much the import could be reduced, for how long, how soon, with which confidence, beside all promises.

One reckoning (ems.program.flexibility), published as plain data with a JSON schema, on the API and on the gateway's registers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from ems.errors import DataError
from ems.plan.plan import Plan
from ems.program.flexibility import flexibility
from ems.program.ledger import Ledger
from ems.program.terms import Terms
from ems.site.model import Site
from ems.site.source import FileModel, Instant

HOURS = (0.25, 1.0, 2.0, 4.0)
LEVELS = (0.50, 0.90, 0.95)
Kilowatts = Annotated[float, Field(ge=0.0)]


class Reduction(FileModel):
    """What can be held throughout `[start, start + hours)`; `kw` by the probability that it holds."""

    hours: float = Field(gt=0.0, description="how long it is held")
    kw: dict[str, Kilowatts] = Field(description="reduction of the planned import in kW by probability: p50, p90, p95")
    planned_import_kw: float = Field(description="the lowest planned import in the window")
    response_s: Kilowatts = Field(description="until the slowest resource that is needed has answered")
    limiting: str = Field(description="the resource that keeps it from being more")


class FlexibilityEnvelope(FileModel):
    """The reductions one may choose from: one of them, not their sum. Nothing in it is promised to anybody else (`is_stack_safe`); it holds
    no backup reserve and no generator."""

    version: int = Field(default=1, description="of this schema")
    site: str
    at: Instant = Field(description="when it was reckoned")
    start: Instant = Field(description="where the windows begin")
    is_stack_safe: bool = Field(default=True, description="what is promised to other programmes is taken out")
    promised_kw: Kilowatts = Field(default=0.0, description="what was taken out, over the first window")
    reductions: list[Reduction]


def envelope(
    site: Site,
    plan: Plan,
    reserve_kwh: Mapping[str, float],
    ledger: Ledger,
    terms: Terms,
    now: datetime,
    trust: Mapping[str, float] | None = None,
) -> FlexibilityEnvelope:
    """The envelope from the plan's step at `now` on. `terms`: of a programme that nests with no other; `trust`: odds that a resource
    delivers, 1 where it is not named. Windows that the plan does not reach over are left out."""
    reductions, promised_kw = [], 0.0
    start = max(now, plan.starts[0])
    for hours in HOURS:
        end = start + timedelta(hours=hours)
        sold = ledger.promised(terms, start, end)
        try:
            free = flexibility(site, plan, start, end, reserve_kwh, sold, trust)
        except DataError:
            break
        kw = {f"p{round(100 * level)}": round(free.kw_at(level), 3) for level in LEVELS}
        reductions.append(
            Reduction(hours=hours, kw=kw, planned_import_kw=free.import_kw, response_s=free.response_s, limiting=free.limiting)
        )
        promised_kw = promised_kw or sum(p.kw for p in sold.values())
    return FlexibilityEnvelope(site=site.name, at=now, start=start, promised_kw=promised_kw, reductions=reductions)


def envelope_schema() -> str:
    """The JSON schema of an envelope, as published (config/programs/flexibility.schema.json)."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **FlexibilityEnvelope.model_json_schema()}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
