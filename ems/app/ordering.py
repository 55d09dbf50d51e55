"""What a person orders of a running site, and how the site answers. Works with planner and office dead: only the mailbox is used."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, shared_clock
from ems.app.wrong_usage import WrongUsage
from ems.errors import EmsError
from ems.mailbox import Mailbox
from ems.messages import Mode, Order, OrderKind
from ems.nearest import perhaps

ANSWER_WITHIN_S = 10.0  # wall
ORDER_VALID = timedelta(minutes=10)  # of site time: an order nobody took by then is void
LOOK_EVERY_S = 0.05
LONGEST_S = 7 * 86400.0
UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600}


def give_order(
    state: StateDir,
    kind: OrderKind,
    asset: str,
    by: str,
    why: str,
    mode: Mode | None = None,
    kw: float | None = None,
    lasts: timedelta | None = None,
) -> str:
    """Sends an order and returns the site's answer once it stands in the journal. EmsError when refused or not answered in time."""
    clock = shared_clock(state)
    mailbox = Mailbox(state.mailbox, busy_ms=3000)
    now = clock.now()
    order = Order(kind, asset, by, why, now, mode, kw, now + lasts if lasts else None)
    sequence = mailbox.post("order", order.encode(), now, now + ORDER_VALID)
    if sequence is None:
        raise EmsError(f"the order could not be sent: {mailbox.notes[-1]}")
    give_up_at = time.monotonic() + ANSWER_WITHIN_S
    while time.monotonic() < give_up_at:
        for message in mailbox.since("order_ack", sequence):
            if message.body["sequence"] == sequence:
                if not message.body["is_done"]:
                    raise EmsError(message.body["text"] + _near(state, asset))
                return str(message.body["text"])
        time.sleep(LOOK_EVERY_S)
    raise EmsError(
        f"no answer within {ANSWER_WITHIN_S:.0f} s: is the site running? The order stands until {now + ORDER_VALID:%H:%M:%S} UTC"
    )


def _near(state: StateDir, asset: str) -> str:
    """`, perhaps ...` for an asset that the site does not have."""
    try:
        known = RunFile.load(state.site).site.assets
    except EmsError:
        return ""
    return perhaps(asset, (*known, "all")) if asset not in (*known, "all") else ""


def duration(text: str) -> timedelta:
    """A duration such as 90s, 15m or 1h30m; WrongUsage on anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|[smh])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise WrongUsage(f"--for {text}: expected a duration such as 90s, 15m or 1h30m")
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in parts)
    if seconds <= 0:
        raise WrongUsage(f"--for {text}: expected a duration above zero")
    if seconds > LONGEST_S:
        raise WrongUsage(f"--for {text}: expected a duration of at most 7 days")
    return timedelta(seconds=seconds)
