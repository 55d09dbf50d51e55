"""Orders of a person through the API: named, with a reason, answered by control once the journal holds them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ems.errors import DataError
from ems.mailbox import Mailbox
from ems.messages import Mode, Order, OrderKind
from ems.nearest import near_miss
from ems.site.model import Site

ORDER_VALID = timedelta(minutes=10)  # of site time: an order nobody took by then is void
ANSWER_WITHIN_S = 3.0  # wall; afterwards the order stands and the answer comes later
LOOK_EVERY_S = 0.05
LONGEST_MIN = 7 * 24 * 60.0

SHOWABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"  # one line, nothing that steers a terminal

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=SHOWABLE)]


class OrderForm(BaseModel):
    """What the body of an order must be. `for_minutes` is site time."""

    model_config = ConfigDict(extra="forbid")

    kind: OrderKind
    asset: Words
    by: Words
    why: Words
    mode: Mode | None = None
    kw: Annotated[float | None, Field(allow_inf_nan=False, ge=-1e6, le=1e6)] = None
    for_minutes: Annotated[float | None, Field(allow_inf_nan=False, gt=0, le=LONGEST_MIN)] = None

    @model_validator(mode="after")
    def is_complete(self) -> OrderForm:
        """Each kind brings what it needs and nothing else."""
        if (self.kind is OrderKind.MODE) != (self.mode is not None):
            raise ValueError("mode: expected observe, advise or control with kind mode, and only there")
        is_override = self.kind is OrderKind.OVERRIDE
        if is_override != (self.kw is not None) or is_override != (self.for_minutes is not None):
            raise ValueError("kw and for_minutes: expected both with kind override, and only there")
        return self


def commandable(site: Site) -> tuple[str, ...]:
    """Ids of the assets a person can give orders to."""
    stores_and_clusters = (*(b.id for b in site.batteries), *(u.id for u in site.upses), *(c.id for c in site.clusters))
    return (*stores_and_clusters, *(g.id for g in site.generators), *(r.id for r in site.renewables))


def order_from(form: OrderForm, site: Site, now: datetime) -> Order:
    """The order a form means; DataError when it names no asset of the site that can be commanded."""
    known = commandable(site)
    if form.asset not in (*known, "all"):
        raise DataError(f"asset = {form.asset}: expected all, or an asset that takes orders{near_miss(form.asset, ('all', *known))}")
    until = now + timedelta(minutes=form.for_minutes) if form.for_minutes else None
    return Order(form.kind, form.asset, form.by, form.why, now, form.mode, form.kw, until)


async def give(order: Order, mailbox: Mailbox, wait_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
    """Posts the order and waits a little for control's answer: {"sequence", "is_done": True, False or None when not answered yet, "text"}.
    DataError when the mailbox does not take it."""
    sequence = await asyncio.to_thread(mailbox.post, "order", order.encode(), order.at, order.at + ORDER_VALID)
    if sequence is None:
        raise DataError("the order could not be sent: the mailbox is busy")
    for _ in range(int(wait_s / LOOK_EVERY_S)):
        found = await asyncio.to_thread(answer, sequence, mailbox)
        if found["is_done"] is not None:
            return found
        await asyncio.sleep(LOOK_EVERY_S)
    return await asyncio.to_thread(answer, sequence, mailbox)


def answer(sequence: int, mailbox: Mailbox) -> dict[str, Any]:
    """What control said to an order so far."""
    for message in mailbox.since("order_ack", sequence):
        if message.body.get("sequence") == sequence:
            return {"sequence": sequence, "is_done": bool(message.body.get("is_done")), "text": str(message.body.get("text"))}
    return {"sequence": sequence, "is_done": None, "text": "not answered yet; the order stands for 10 min of site time"}
