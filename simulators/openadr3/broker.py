"""As much of an MQTT 3.1.1 broker as a VTN's notifications need: connect, subscribe to named topics, publish at quality 0."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 8, 9, 12, 13, 14
REFUSED = 5  # not authorised


class Broker:
    """Listens on a free port of this machine. `admits` judges user and password of each connection."""

    def __init__(self, admits: Callable[[str, str], bool] = lambda user, password: True) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.seen: list[tuple[str, str]] = []  # user and password of those who came
        self._admits = admits
        self._subscribers: dict[socket.socket, set[str]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def subscribed(self) -> set[str]:
        """Topics that somebody listens to."""
        with self._lock:
            return set().union(*self._subscribers.values()) if self._subscribers else set()

    def publish(self, topic: str, body: bytes) -> None:
        """Sends a message to whoever listens."""
        packet = _packet(PUBLISH, _text(topic) + body)
        with self._lock:
            for peer, topics in self._subscribers.items():
                if topic in topics:
                    _send(peer, packet)

    def drop_all(self) -> None:
        """Cuts every connection, as a restart does."""
        with self._lock:
            peers, self._subscribers = list(self._subscribers), {}
        for peer in peers:
            _close(peer)

    def close(self) -> None:
        """Ends the broker."""
        _close(self._socket)
        self.drop_all()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            while (read := _read(peer)) is not None and self._answer(peer, *read):
                pass
        except (OSError, IndexError, struct.error, UnicodeDecodeError):
            pass
        with self._lock:
            self._subscribers.pop(peer, None)
        _close(peer)

    def _answer(self, peer: socket.socket, kind: int, body: bytes) -> bool:
        """False ends the connection."""
        if kind == CONNECT:
            user, password = _credentials(body)
            self.seen.append((user, password))
            is_welcome = self._admits(user, password)
            _send(peer, _packet(CONNACK, bytes([0, 0 if is_welcome else REFUSED])))
            return is_welcome
        if kind == SUBSCRIBE:
            topics, at = [], 2
            while at < len(body):
                topic, at = _read_text(body, at)
                topics.append(topic)
                at += 1
            with self._lock:
                self._subscribers.setdefault(peer, set()).update(topics)
            _send(peer, _packet(SUBACK, body[:2] + bytes(len(topics))))
        elif kind == PINGREQ:
            _send(peer, _packet(PINGRESP, b""))
        return kind != DISCONNECT


def _credentials(body: bytes) -> tuple[str, str]:
    flags, (_, at) = body[7], _read_text(body, 10)
    user, at = _read_text(body, at) if flags & 0x80 else ("", at)
    password, _ = _read_text(body, at) if flags & 0x40 else ("", at)
    return user, password


def _read(peer: socket.socket) -> tuple[int, bytes] | None:
    head = _exactly(peer, 1)
    if head is None:
        return None
    length, shift = 0, 0
    while True:
        byte = _exactly(peer, 1)
        if byte is None or shift > 21:
            return None
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            break
    body = _exactly(peer, length)
    return None if body is None else (head[0] >> 4, body)


def _exactly(peer: socket.socket, count: int) -> bytes | None:
    found = b""
    while len(found) < count:
        part = peer.recv(count - len(found))
        if not part:
            return None
        found += part
    return found


def _packet(kind: int, body: bytes) -> bytes:
    left, size = len(body), b""
    while True:
        left, low = left >> 7, left & 0x7F
        size += bytes([low | (0x80 if left else 0)])
        if not left:
            break
    return bytes([kind << 4]) + size + body


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">H", body, at)
    return body[at + 2 : at + 2 + length].decode(), at + 2 + length


def _send(peer: socket.socket, packet: bytes) -> None:
    try:
        peer.sendall(packet)
    except OSError:
        _close(peer)


def _close(peer: socket.socket) -> None:
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    peer.close()
