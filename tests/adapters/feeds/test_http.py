"""One response over HTTP from a real server: whatever goes wrong is a refusal with its reason, within the deadline."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from adapters.feeds.http import FeedRefused, Fetched, address, fetch, new_client
from tests.adapters.feeds.made import Answer, Server, feed, says, serving

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)


async def got(server: Server, marks: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None, **keys: Any) -> Fetched:
    given = {"url": f"{server.url}/prices", "timeout_s": 60.0, **keys}
    async with new_client() as client:
        return await fetch(client, feed(**given), NOON, environment or {}, marks or {})


async def refused(answer: Answer, **keys: Any) -> FeedRefused:
    with serving(answer) as server, pytest.raises(FeedRefused) as found:
        await got(server, **keys)
    return found.value


async def test_a_body_comes_as_it_was_sent() -> None:
    with serving(says(b"\x00[1]\xff")) as server:
        assert (await got(server)).body == b"\x00[1]\xff"


async def test_dates_and_keys_are_filled_in_and_the_key_is_told_nowhere() -> None:
    keys = {"url": "", "headers": {"X-Key": "${MARKET_KEY}"}, "time_zone": "America/Chicago"}
    with serving(says("[]")) as server:
        url = f"{server.url}/p?from={{today:%Y-%m-%d}}T{{now:%H:%M}}&to={{tomorrow:%d}}&key=${{MARKET_KEY}}"
        await got(server, environment={"MARKET_KEY": "s3cret\n"}, **{**keys, "url": url})
        path, headers = server.asked[0]
    assert path == "/p?from=2024-08-20T07:00&to=21&key=s3cret" and headers["x-key"] == "s3cret"
    gone = {**keys, "url": url}
    with pytest.raises(FeedRefused) as found:
        await got(server, environment={"MARKET_KEY": "s3cret"}, **gone)
    assert "127.0.0.1 cannot be asked" in str(found.value) and "s3cret" not in str(found.value)
    with pytest.raises(FeedRefused, match="MARKET_KEY is not set in the environment"):
        address(feed(url=url), NOON, {})


async def test_what_has_not_changed_is_not_sent_again() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        is_same = request.headers.get("If-None-Match") == '"a1"'
        says("" if is_same else "[1]", 304 if is_same else 200, etag='"a1"')(request)

    with serving(answer) as server:
        first = await got(server)
        again = await got(server, marks=first.marks)
    assert first.body == b"[1]" and again.body is None and again.marks == first.marks


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_an_answer_that_is_none_is_told_with_its_status(status: int) -> None:
    error = await refused(says("<html>no</html>", status, retry_after="120"))
    assert f"127.0.0.1 answers {status}" in str(error) and error.retry_after_s == 120.0


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        says("[1]")(request) if request.path == "/new" else says("", 301, location="/new")(request)

    with serving(answer) as server:
        assert (await got(server)).body == b"[1]"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://elsewhere.example/prices", "a redirect to http://elsewhere.example"),
        ("file:///etc/passwd", "a redirect to file://"),
        ("http://127.0.0.1:1/prices", "a redirect to port 1"),
        ("/prices", "more than 3 redirects"),
        ("http://[::1", "cannot be asked"),
    ],
)
async def test_a_redirect_elsewhere_is_refused(location: str, said: str) -> None:
    assert said in str(await refused(says("", 302, location=location)))


async def test_a_huge_body_is_refused_before_it_is_read() -> None:
    assert "a body of 2000 bytes: expected at most 1000" in str(await refused(says(b"x" * 2000), max_bytes=1000))


async def test_a_huge_body_that_does_not_say_its_size_is_cut_off() -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not request.server.over.is_set():  # type: ignore[attr-defined]
            request.wfile.write(b"x" * 10_000)

    assert "a body of more than 1000 bytes" in str(await refused(endless, max_bytes=1000))


def drip(part: bytes, begin: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(begin)
        while not request.server.over.wait(0.02):  # type: ignore[attr-defined]
            request.wfile.write(part)
            request.wfile.flush()

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        drip(b" ", b"HTTP/1.1 200 OK\r\n\r\n"),
        drip(b"X-More: 1\r\n", b"HTTP/1.1 200 OK\r\n"),
        drip(b"", b""),
    ],
    ids=["body", "headers", "silence"],
)
async def test_a_server_that_drips_is_given_up_at_the_deadline(answer: Answer) -> None:
    began = time.monotonic()
    reason = str(await refused(answer, timeout_s=0.3))
    assert reason == "no whole response within 0.3 s" or "cannot be asked" in reason  # a header without end is cut at its size
    assert time.monotonic() - began < 30.0  # it would drip for ever


def nonsense(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("answer", [nonsense, says("short", content_length="50")], ids=["no HTTP", "cut off"])
async def test_what_is_no_http_is_refused(answer: Answer) -> None:
    assert "cannot be asked" in str(await refused(answer))


async def test_certificates_are_verified_and_a_server_without_tls_is_refused() -> None:
    async with new_client() as client:
        context = client._transport._pool._ssl_context  # type: ignore[attr-defined]
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    with serving(says("[1]")) as server, pytest.raises(FeedRefused, match="cannot be asked"):
        await got(server, url=server.url.replace("http://", "https://"))


async def test_a_host_that_is_none_is_refused() -> None:
    with serving(says("")) as server, pytest.raises(FeedRefused, match="cannot be asked"):
        await got(server, url="http://no-such-host.invalid/x")
