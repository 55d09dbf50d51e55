"""`ems programs channels`: who is spoken with, when they were last heard, and what they allow, from the record of the running site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ems.app.options import StateOption, show

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ems.program.connection import Connection
    from ems.program.desk import Desk


def programs_channels(state_dir: StateOption = None) -> None:
    """The channels to head-ends: their programmes, the last contact, and the limits of a flexible connection."""
    from ems.app.events import opened

    with opened(state_dir) as (programs, desk, now):
        show(channel_lines(programs.state_dir, desk, now))


def channel_lines(state_dir: Path, desk: Desk, now: datetime) -> Iterator[str]:
    """A line per channel, and one per limit that stands."""
    from ems.program.channel import FILE_NAME, load_channels
    from ems.program.connection import Connection

    file = load_channels(state_dir / FILE_NAME, set(desk.enrolments))
    if not file.channels and file.gateway is None:
        yield f"no channels: there is no {FILE_NAME} in {state_dir}"
    for channel in file.channels:
        yield f"{channel.id}  {channel.profile}  {channel.url}  {', '.join(channel.programs.values())}"
        if channel.capacity is not None:
            yield from connection_lines(Connection(channel.id, channel.capacity, "", desk.store), now)
    if file.gateway is not None:
        yield f"gateway  Modbus/TCP  {file.gateway.host}:{file.gateway.port}  {file.gateway.program}"
        yield from connection_lines(Connection("gateway", file.gateway.capacity, file.gateway.program, desk.store), now)


def connection_lines(connection: Connection, now: datetime) -> Iterator[str]:
    """When it was last heard, and what holds from now on."""
    last = connection.last_contact
    book = connection.book(now)
    state = "never heard" if last is None else f"heard {last:%Y-%m-%d %H:%M} UTC" + (": communication lost" if book.is_lost(now) else "")
    yield f"  subscription {connection.subscription_kw(now):.0f} kW, {state}"
    for x in sorted(book.limits(now), key=lambda x: x.valid_from or now)[:12]:
        yield f"  {x.valid_from:%Y-%m-%d %H:%M} to {x.valid_to:%Y-%m-%d %H:%M} UTC  {x.kw:.0f} kW  {x.source}"
