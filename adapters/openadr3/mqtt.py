"""MQTT notifications of an OpenADR 3.1 head-end: a hint to look at once, never the truth. What a notification says is not even read.

Needs the extra `mqtt` (paho-mqtt). The client runs in a thread of the library and comes back by itself after a loss.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ems.errors import DataError
from ems.program.channel import LOOPBACK, ChannelFile

PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEP_ALIVE_S = 60
LONGEST_WAIT_S = 120  # between two attempts
MOST_TOPICS = 20
QUALITY = 0  # of service: a hint that is lost is made good by the poll


class Hints:
    """One broker, followed. `token()` gives the bearer token for now; `on_hint` is called from the library's thread."""

    def __init__(
        self,
        channel: ChannelFile,
        tls: ssl.SSLContext,
        notifier: Any,
        topics: Sequence[str],
        token: Callable[[], str],
        on_hint: Callable[[], None],
    ) -> None:
        """Raises DataError where the broker cannot be followed."""
        try:
            from paho.mqtt.client import Client, MQTTv311
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise DataError("needs the extra `mqtt` (paho-mqtt)") from None
        host, port, is_tls = broker_of(notifier)
        self._topics, self._token, self._on_hint = tuple(topics[:MOST_TOPICS]), token, on_hint
        self._user = user_of(notifier, channel)
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv311)
        self._client.reconnect_delay_set(1, LONGEST_WAIT_S)
        if is_tls:
            self._client.tls_set_context(tls)
        self._client.on_pre_connect = self._before
        self._client.on_connect = self._connected
        self._client.on_message = lambda client, data, message: self._on_hint()
        self._client.connect_async(host, port, KEEP_ALIVE_S)
        self._client.loop_start()

    def close(self) -> None:
        """Ends the connection and the library's thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _before(self, client: Any, data: Any) -> None:
        """A token lasts for hours, a connection may last longer: each connection takes the newest."""
        if self._user is not None:
            client.username_pw_set(self._user, self._token() or None)

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        """What was missed while nobody listened is seen by looking."""
        if not reason.is_failure:
            client.subscribe([(topic, QUALITY) for topic in self._topics])
            self._on_hint()


def broker_of(notifier: Any) -> tuple[str, int, bool]:
    """Host, port and whether it is TLS, of the first address that is safe; DataError where there is none."""
    addresses = notifier.get("URIS") if isinstance(notifier, Mapping) else None
    for address in addresses if isinstance(addresses, list) else ():
        try:
            parts = urlsplit(str(address))
            port = parts.port
        except ValueError:
            continue
        if parts.hostname and (parts.scheme == "mqtts" or (parts.scheme == "mqtt" and parts.hostname in LOOPBACK)):
            return parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts"
    raise DataError("the head-end names no broker with mqtts://")


def user_of(notifier: Mapping[str, Any], channel: ChannelFile) -> str | None:
    """The name that goes with the token; None without one. A private key that the head-end hands out is not used: we have our own."""
    way = notifier.get("authentication")
    method = way.get("method") if isinstance(way, Mapping) else None
    if method == "OAUTH2_BEARER_TOKEN" and isinstance(way, Mapping):
        return str(way.get("username", "")).replace("{clientID}", channel.client_id or "")[:256]
    if method in ("ANONYMOUS", "CERTIFICATE"):
        return None
    raise DataError(f"the head-end's broker asks for {str(method)[:40]}")


def topics_in(answer: Any) -> list[str]:
    """The topics of an answer, () where it is none. Wild cards are not asked for."""
    topics = answer.get("topics") if isinstance(answer, Mapping) else None
    found = [t for t in topics.values() if isinstance(t, str)] if isinstance(topics, Mapping) else []
    return list(dict.fromkeys(t for t in found if 0 < len(t) <= 1024 and not {"#", "+", "\0"} & set(t)))
