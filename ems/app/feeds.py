"""`ems feeds`: how the running site's feeds are, and what a feed would take from one response."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems.app.options import StateOption, show
from ems.app.statedir import StateDir, running_state_dir, shared_clock
from ems.errors import DataError

if TYPE_CHECKING:
    from adapters.feeds.rows import FeedValue, Response
    from ems.site.feed import Feed

feeds_app = typer.Typer(help="Live feeds of price, carbon and weather.", no_args_is_help=True)
SHOWN_VALUES, SHOWN_COMPLAINTS = 4, 5


@feeds_app.callback()
def feeds() -> None:
    """Live feeds of price, carbon and weather."""


@feeds_app.command("list")
def feeds_list(state_dir: StateOption = None) -> None:
    """Every feed of the running site: where it comes from, its newest value, how old it is."""
    state = running_state_dir(state_dir)
    show(list(feed_lines(state)) or ["no feed has said anything yet"])


@feeds_app.command("try")
def feeds_try(
    site: Annotated[str, typer.Argument(help="A site file, or the name of a shipped one.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The feed's name in the site file.", show_default=False)],
    body: Annotated[Path | None, typer.Option("--body", help="Reads this saved response instead of asking.", show_default=False)] = None,
) -> None:
    """Asks a feed once (or reads a saved response) and shows what would be taken and what refused. Changes nothing."""
    feed = feed_of(site, name)
    show(response_lines(feed, body.read_bytes() if body else asked(feed)))


def feed_of(site: str, name: str) -> Feed:
    """The feed of that name; WrongUsage with the names there are."""
    from ems.app.prepare import find_file
    from ems.app.wrong_usage import WrongUsage
    from ems.nearest import near_miss
    from ems.site.load import load_site

    known = {feed.name: feed for feed in load_site(find_file("sites", site)).live_feeds}
    if name not in known:
        raise WrongUsage(f"{site} has no feed {name}" + (near_miss(name, known) if known else "; it names none under `feeds`"))
    return known[name]


def asked(feed: Feed) -> bytes:
    """The body of one response, or of the newest file dropped. DataError when there is none."""
    from adapters.feeds.http import fetch, new_client
    from ems.clock import Clock
    from ems.office.fetching import files_in

    async def once() -> bytes:
        async with new_client() as client:
            return (await fetch(client, feed, Clock.real().now(), os.environ, {})).body or b""

    if feed.url is not None:
        return asyncio.run(once())
    files = files_in(Path(feed.folder or ""))
    if not files:
        raise DataError(f"{feed.folder}: no file has been dropped here")
    return max(files, key=lambda path: path.stat().st_mtime).read_bytes()


def response_lines(feed: Feed, body: bytes) -> Iterator[str]:
    """What a body holds. DataError when it cannot be used as a whole."""
    from adapters.feeds.kinds import KINDS
    from adapters.feeds.rows import read_response

    found: Response = read_response(body, feed)
    unit = KINDS[feed.kind][0].value
    yield f"{feed.name}: {feed.kind}, {len(body)} bytes, {len(found.values)} values, {found.counts['refused']} rows refused"
    yield from (_value_line(value, unit) for value in found.values[:SHOWN_VALUES])
    if len(found.values) > SHOWN_VALUES:
        yield f"  ... {_value_line(found.values[-1], unit).strip()}"
    yield from (f"  refused: {said}" for said in found.complaints[:SHOWN_COMPLAINTS])
    odd = {what: n for what, n in found.counts.items() if n and what != "refused"}
    if odd:
        yield "  " + ", ".join(f"{n} {what}" for what, n in odd.items())


def _value_line(value: FeedValue, unit: str) -> str:
    public = "when fetched" if value.public_at is None else f"{value.public_at:%Y-%m-%d %H:%M}Z"
    return f"  {value.start:%Y-%m-%d %H:%M}Z to {value.end:%H:%M}Z  {unit} {value.value:.6g}  public {public}"


def feed_lines(state: StateDir) -> Iterator[str]:
    """One line per feed of the running site, for `ems status` as well."""
    from ems.mailbox import Mailbox

    mailbox = Mailbox(state.mailbox, busy_ms=1000)
    now = shared_clock(state).now()
    try:
        message = mailbox.latest("feeds", now)
    finally:
        mailbox.close()
    for shown in message.body["feeds"] if message else ():
        yield from feed_line(shown, now).splitlines()


def feed_line(shown: dict[str, Any], now: datetime) -> str:
    """`feed rt: 0.0412 per kWh until Mon 12:15Z from prices.example, fetched 3 min ago`, and its alarm on a line of its own."""
    from ems.office.feed_words import feed_words

    alarm = f"\nalarm: {shown['problem']}" if shown["problem"] else ""
    return f"feed {shown['name']}: {feed_words(shown, now, '{:%a %H:%M}Z'.format)}{alarm}"
