"""Fetching one response over HTTP: one deadline for all of it, at most so many bytes, TLS verified, no way to another host.

Whatever goes wrong is a FeedRefused with the reason in one line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo

import httpx

from ems.errors import DataError
from ems.site.feed import Feed

MOST_REDIRECTS = 3
AGENT = "aidc-ems"
LONGEST_WAIT_S = 3600.0


class FeedRefused(DataError):
    """A response that is not taken; `retry_after_s` where the server asks for patience."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Fetched:
    """A response. `body` is None when nothing has changed since the one with these marks."""

    body: bytes | None
    marks: Mapping[str, str]  # headers that ask for changes only, next time


def new_client() -> httpx.AsyncClient:
    """A client for all feeds; a proxy of the environment is used, but not for this machine itself."""
    direct: dict[str, httpx.AsyncBaseTransport | None] = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
    return httpx.AsyncClient(follow_redirects=False, headers={"User-Agent": AGENT, "Accept-Encoding": "identity"}, mounts=direct)


async def fetch(client: httpx.AsyncClient, feed: Feed, now: datetime, environment: Mapping[str, str], marks: Mapping[str, str]) -> Fetched:
    """The response of a feed's address at `now` (site time, for the dates in it). Raises FeedRefused with the reason."""
    try:
        url = address(feed, now, environment)
        headers = {name: filled(text, environment) for name, text in feed.headers.items()}
        async with asyncio.timeout(feed.timeout_s):
            return await _fetch(client, feed, url, {**headers, **marks})
    except TimeoutError:
        raise FeedRefused(f"no whole response within {feed.timeout_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise FeedRefused(f"{host_of(feed)} cannot be asked: {reason}") from None


def address(feed: Feed, now: datetime, environment: Mapping[str, str]) -> str:
    """The URL with dates of the feed's time zone and names of the environment filled in. Raises FeedRefused for a name that is not set."""
    local = now.astimezone(ZoneInfo(feed.time_zone))
    day = timedelta(days=1)
    dates = {"now": local, "today": local, "yesterday": local - day, "tomorrow": local + day}
    text = re.sub(r"\$\{([^}]*)\}", r"${{\1}}", feed.url or "")  # names of the environment are no dates
    return filled(text.format(**dates), environment)


def filled(text: str, environment: Mapping[str, str]) -> str:
    """Text with `${NAME}` replaced. Raises FeedRefused for a name that is not set; its value is shown nowhere."""

    def value(match: re.Match[str]) -> str:
        if match.group(1) not in environment:
            raise FeedRefused(f"{match.group(1)} is not set in the environment")
        return environment[match.group(1)].strip()

    return re.sub(r"\$\{([^}]*)\}", value, text)


def host_of(feed: Feed) -> str:
    """The host of a feed's address, for eyes: an address may hold a key."""
    return urlsplit(re.sub(r"\$?\{[^}]*\}", "x", feed.url or "")).hostname or "?"


async def _fetch(client: httpx.AsyncClient, feed: Feed, url: str, headers: Mapping[str, str]) -> Fetched:
    for _ in range(MOST_REDIRECTS + 1):
        async with client.stream("GET", url, headers=dict(headers), timeout=feed.timeout_s) as response:
            if not response.has_redirect_location:
                return await _taken(feed, response)
            url = _followed(url, response.headers.get("location", ""))
    raise FeedRefused(f"more than {MOST_REDIRECTS} redirects")


def _followed(url: str, location: str) -> str:
    """Where a redirect leads, when that is the same host and no step down from TLS."""
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    if new.hostname != old.hostname or (new.scheme, old.scheme) == ("http", "https") or new.scheme not in ("http", "https"):
        raise FeedRefused(f"a redirect to {new.scheme}://{new.hostname}, which is not {old.scheme}://{old.hostname}")
    if old.scheme == new.scheme and old.port != new.port:
        raise FeedRefused(f"a redirect to port {new.port} of {new.hostname}")
    return target


async def _taken(feed: Feed, response: httpx.Response) -> Fetched:
    if response.status_code == 304:
        return Fetched(None, _marks(response))
    if response.status_code != 200:
        reason = f"{host_of(feed)} answers {response.status_code} {response.reason_phrase}".rstrip()
        raise FeedRefused(reason, _retry_after_s(response.headers.get("retry-after", "")))
    told = response.headers.get("content-length", "")
    if told.isdecimal() and int(told) > feed.max_bytes:
        raise FeedRefused(f"a body of {told} bytes: expected at most {feed.max_bytes}")
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > feed.max_bytes:
            raise FeedRefused(f"a body of more than {feed.max_bytes} bytes")
    return Fetched(bytes(body), _marks(response))


def _marks(response: httpx.Response) -> dict[str, str]:
    asked = {"If-None-Match": response.headers.get("etag"), "If-Modified-Since": response.headers.get("last-modified")}
    return {name: value for name, value in asked.items() if value}


def _retry_after_s(text: str) -> float | None:
    return min(float(text), LONGEST_WAIT_S) if text.isdecimal() else None
