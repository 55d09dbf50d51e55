"""HTTP with a head-end: OAuth2 client credentials, pages, verified TLS, bounded answers. Every trouble is one DataError in one line."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from ems.errors import DataError
from ems.program.channel import LOOPBACK, ChannelFile, beside, secret_from

PAGE = 50  # the largest the standard allows
MOST_PAGES = 100
MOST_BYTES = 8_000_000
TIMEOUT = httpx.Timeout(10.0)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per poll says nothing
RENEWED_BEFORE = timedelta(seconds=60)  # a token is asked for again so long before it ends


@dataclass(frozen=True)
class Answer:
    """Status, body as it came, and its JSON (None where there is none)."""

    status: int
    text: str
    data: Any


def tls_context(channel: ChannelFile, path: Path) -> ssl.SSLContext:
    """TLS 1.2 or later, verified unless the channel says otherwise, with our certificate if there is one. DataError on unusable files."""
    try:
        context = ssl.create_default_context(cafile=str(beside(path, channel.ca_file)) if channel.ca_file else None)
        if channel.cert_file and channel.key_file:
            context.load_cert_chain(beside(path, channel.cert_file), beside(path, channel.key_file))
    except (OSError, ssl.SSLError) as error:
        raise DataError(f"channel {channel.id}: certificates cannot be used: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not channel.verify_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class HeadEndClient:
    """One head-end. `path` is channels.yaml, beside which secrets and certificates stand. Not to be shared between threads."""

    def __init__(self, channel: ChannelFile, path: Path) -> None:
        self.channel = channel
        self._path = path
        self._token = ""
        self._token_until: datetime | None = None
        self._http = httpx.Client(
            base_url=channel.url.rstrip("/") + "/", verify=tls_context(channel, path), timeout=TIMEOUT, headers={"User-Agent": "aidc-ems"}
        )

    @property
    def bearer(self) -> str:
        """The token as it was last given, "" without one. May be read from another thread."""
        if self.channel.client_id is None and self.channel.secret_file is not None:
            return secret_from(self._path, self.channel.secret_file)
        return self._token

    def close(self) -> None:
        """Drops the connections."""
        self._http.close()

    def listed(self, what: str, now: datetime, **query: Any) -> list[dict[str, Any]]:
        """Every object of a collection that we may see, page by page. DataError where an answer is not such a list."""
        found: list[dict[str, Any]] = []
        for page in range(MOST_PAGES):
            answer = self.ask("GET", what, now, params=[*self._targets(), *query.items(), ("skip", page * PAGE), ("limit", PAGE)])
            if answer.status != 200 or not isinstance(answer.data, list) or not all(isinstance(o, dict) for o in answer.data):
                raise DataError(f"{self.channel.id}: {what}: {problem_in(answer)}")
            found += answer.data
            if len(answer.data) < PAGE:
                return found
        raise DataError(f"{self.channel.id}: {what}: more than {MOST_PAGES * PAGE} objects")

    def ask(
        self, method: str, what: str, now: datetime, params: Sequence[tuple[str, Any]] = (), body: Mapping[str, Any] | None = None
    ) -> Answer:
        """One request with our token; after a 401 once more with a new one. DataError when there is no answer."""
        answer = self._send(method, what, now, params, body)
        if answer.status == 401 and self._token:
            self._token = ""
            answer = self._send(method, what, now, params, body)
        return answer

    def _send(self, method: str, what: str, now: datetime, params: Sequence[tuple[str, Any]], body: Mapping[str, Any] | None) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if (token := self._bearer(now)) else {}
        request = self._http.build_request(method, what, params=list(params), headers=headers, json=body)
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> Answer:
        try:
            response = self._http.send(request, stream=True)
            try:
                text = _bounded_text(response)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DataError(f"{self.channel.id}: {request.url.path}: {type(error).__name__}: {error}") from None
        try:
            return Answer(response.status_code, text, json.loads(text) if text.strip() else None)
        except (ValueError, RecursionError):
            return Answer(response.status_code, text, None)

    def _bearer(self, now: datetime) -> str:
        """The token; asked for when there is none or it ends soon. A secret without a client's name is the token itself; without
        credentials we try without."""
        if self.channel.client_id is None and self.channel.secret_file is None:
            return ""
        if self._token and (self._token_until is None or now < self._token_until):
            return self._token
        try:
            secret = secret_from(self._path, self.channel.secret_file)
        except OSError as error:
            raise DataError(f"{self.channel.id}: the secret cannot be read: {error.strerror}") from None
        if self.channel.client_id is None:
            return secret
        form = {"grant_type": "client_credentials", "client_id": self.channel.client_id, "client_secret": secret}
        answer = self._answer(self._http.build_request("POST", self._token_url(), data=form))
        token = answer.data.get("access_token") if isinstance(answer.data, dict) else None
        if answer.status != 200 or not isinstance(token, str) or not token:
            raise DataError(f"{self.channel.id}: no token: {problem_in(answer)}")
        lasts = answer.data.get("expires_in")
        is_number = isinstance(lasts, int | float) and not isinstance(lasts, bool) and 0 < lasts < 1e8
        self._token, self._token_until = token, now + timedelta(seconds=lasts) - RENEWED_BEFORE if is_number else None
        return token

    def _token_url(self) -> str:
        """As configured, else as the VTN says (3.1), else at its own place (3.0.1). It must be as safe as the VTN itself."""
        url = self.channel.token_url
        if url is None and self.channel.profile == "openadr-3.0.1":
            return "auth/token"
        if url is None:
            answer = self._answer(self._http.build_request("GET", "auth/server"))
            url = answer.data.get("tokenURL") if isinstance(answer.data, dict) else None
        if not isinstance(url, str):
            return "auth/token"
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise DataError(f"{self.channel.id}: the token would go to {url[:80]}: expected https://")
        return url

    def _targets(self) -> Iterator[tuple[str, str]]:
        if self.channel.profile == "openadr-3.0.1" and self.channel.targets:
            yield "targetType", "VEN_NAME"
            yield from (("targetValues", t) for t in self.channel.targets)
        elif self.channel.profile == "openadr-3.1":
            yield from (("targets", t) for t in self.channel.targets)


def problem_in(answer: Answer) -> str:
    """What an answer that is no success says, in one line."""
    data = answer.data if isinstance(answer.data, dict) else {}
    told = data.get("detail") or data.get("title") or data.get("error_description") or data.get("error") or ""
    return f"HTTP {answer.status} {' '.join(str(told).split())[:160]}".strip()


def _bounded_text(response: httpx.Response) -> str:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            raise httpx.DecodingError(f"more than {MOST_BYTES} bytes")
    return body.decode("utf-8", "replace")
