"""A simulated OpenADR 3.1 VTN: objects in memory, OAuth2 client credentials, roles, targets, pages, webhooks.

Business side and VENs are clients with a secret each. A VEN sees objects without targets, and those whose targets it names and was
granted. With `profile` 3.0.1 it speaks as much of that version as a VEN uses. No state survives it.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.openadr3 import objects
from simulators.openadr3.broker import Broker

TOKEN_LASTS_S = 3600
MOST_BODY = 2_000_000
OBJECT_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")


@dataclass(frozen=True)
class Collection:
    """One kind of object: who may write it, what refers to what, which name is its own."""

    path: str
    kind: str
    model: type[BaseModel]
    writers: tuple[str, ...]
    unique: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)  # key -> path of the collection it must exist in
    is_private: bool = False  # a VEN sees its own only


COLLECTIONS = {
    c.path: c
    for c in (
        Collection("programs", "PROGRAM", objects.Program, ("bl",), unique="programName"),
        Collection("events", "EVENT", objects.Event, ("bl",), parents={"programID": "programs"}),
        Collection("reports", "REPORT", objects.Report, ("ven",), parents={"eventID": "events"}, is_private=True),
        Collection(
            "subscriptions", "SUBSCRIPTION", objects.Subscription, ("bl", "ven"), parents={"programID": "programs"}, is_private=True
        ),
        Collection("vens", "VEN", objects.Ven, ("bl", "ven"), unique="venName", is_private=True),
        Collection("resources", "RESOURCE", objects.Resource, ("bl", "ven"), parents={"venID": "vens"}, is_private=True),
    )
}
FILTERS = {"events": ("programID",), "reports": ("programID", "eventID", "clientName"), "subscriptions": ("programID", "clientName")}
FILTERS |= {"vens": ("venName",), "resources": ("venID", "resourceName")}
QUERY = {"targets", "skip", "limit", "active", "objects", "targetType", "targetValues", *(k for f in FILTERS.values() for k in f)}


TOPIC = "openadr3/events"  # of notifications of events


class Problem(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class Client:
    """Somebody with a secret: the business side (bl) or a VEN."""

    id: str
    secret: str
    role: str


class Vtn:
    """The head-end. `now` gives its clock; `clients` who may ask; `is_down` makes it answer 503."""

    def __init__(self, clients: list[Client], now: Callable[[], datetime], profile: str = "3.1", verify: Any = True) -> None:
        self.clients = {c.id: c for c in clients}
        self.stored: dict[str, dict[str, dict[str, Any]]] = {path: {} for path in COLLECTIONS}
        self.is_down = False
        self.requests: list[tuple[str, str]] = []
        self.undelivered: list[str] = []
        self.broker: Broker | None = None  # of MQTT notifications, where there are any
        self._now, self._profile, self._verify = now, profile, verify
        self._tokens: dict[str, Client] = {}
        self._count = 0
        self._lock = threading.RLock()
        self.app = Starlette(routes=self._routes(), exception_handlers={Problem: _problem_answer, 404: _not_found, 405: _not_found})

    def revoke_tokens(self) -> None:
        """As after a restart of the token service."""
        self._tokens.clear()

    def put(self, path: str, body: dict[str, Any], client: str = "", name: str | None = None) -> dict[str, Any]:
        """An object as if the business side had written it, unchecked: tests of hostile content use it."""
        with self._lock:
            return self._store(COLLECTIONS[path], dict(body), client, name)

    # -- HTTP -----------------------------------------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        plain = [Route(f"/{p}", self._collection(c), methods=["GET", "POST"]) for p, c in COLLECTIONS.items()]
        single = [Route(f"/{p}/{{id}}", self._object(c), methods=["GET", "PUT", "DELETE"]) for p, c in COLLECTIONS.items()]
        auth = [Route("/auth/server", self._server), Route("/auth/token", self._token, methods=["POST"])]
        mqtt = [Route("/notifiers/mqtt/topics/events", self._topics), Route("/notifiers/mqtt/topics/vens/{id}/events", self._topics)]
        return [*plain, *single, *auth, Route("/notifiers", self._notifiers), *mqtt]

    def _collection(self, c: Collection) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            client = self._who(request)
            if request.method == "GET":
                return JSONResponse(self._listed(c, client, request))
            self._may_write(c, client)
            body = await _body(request)
            with self._lock:
                made = self._store(c, self._checked(c, body, client, None), client.id, None)
            self._tell(c, "CREATE", made)
            return JSONResponse(made, 201)

        return answer

    def _object(self, c: Collection) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            client, name = self._who(request), request.path_params["id"]
            if not OBJECT_ID.fullmatch(name):
                raise Problem(400, "an id of letters, digits, - and _")
            if request.method != "GET":
                self._may_write(c, client)
            self._seen(c, client, name, request)
            body = await _body(request) if request.method == "PUT" else None
            with self._lock:
                found = self._seen(c, client, name, request)
                if request.method == "PUT":
                    found = self._store(c, self._checked(c, body, client, name), str(found.get("clientID", "")), name)
                elif request.method == "DELETE":
                    self._delete(c, name)
            if request.method != "GET":
                self._tell(c, {"PUT": "UPDATE", "DELETE": "DELETE"}[request.method], found)
            return JSONResponse(found)

        return answer

    def _seen(self, c: Collection, client: Client, name: str, request: Request) -> dict[str, Any]:
        """The object, where there is one that this client may see."""
        found = self.stored[c.path].get(name)
        if found is None or not self._is_visible(c, client, found, self._targets(request), by_id=True):
            raise Problem(404, f"no {c.kind.lower()} {name}")
        return found

    async def _server(self, request: Request) -> Response:
        self._up(request)
        return JSONResponse({"tokenURL": str(request.base_url) + "auth/token"})

    async def _token(self, request: Request) -> Response:
        self._up(request)
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials" or not form.get("client_id") or not form.get("client_secret"):
            raise Problem(400, "grant_type=client_credentials, client_id and client_secret are needed")
        client = self.clients.get(form["client_id"])
        if client is None or not secrets.compare_digest(client.secret.encode(), form["client_secret"].encode()):
            raise Problem(401, "unknown client or wrong secret")
        token = secrets.token_urlsafe(24)
        self._tokens[token] = client
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LASTS_S})

    async def _notifiers(self, request: Request) -> Response:
        self._who(request)
        if self.broker is None:
            return JSONResponse({"WEBHOOK": True})
        way = {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}
        mqtt = {"URIS": [f"mqtt://127.0.0.1:{self.broker.port}"], "serialization": "JSON", "authentication": way}
        return JSONResponse({"WEBHOOK": True, "MQTT": mqtt})

    async def _topics(self, request: Request) -> Response:
        client, ven = self._who(request), request.path_params.get("id")
        if self.broker is None:
            raise Problem(404, "no broker")
        if client.role != "bl" and (ven is None or self.stored["vens"].get(ven, {}).get("clientID") != client.id):
            raise Problem(403, "topics of another")
        return JSONResponse({"topics": {name: f"{TOPIC}/{name.lower()}" for name in ("CREATE", "UPDATE", "DELETE")}})

    # -- rules ----------------------------------------------------------------------------------------------------------------------

    def _up(self, request: Request) -> None:
        self.requests.append((request.method, request.url.path))
        if self.is_down:
            raise Problem(503, "down")

    def _who(self, request: Request) -> Client:
        self._up(request)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        client = self._tokens.get(token) if kind.lower() == "bearer" else None
        if client is None:
            raise Problem(401, "no valid bearer token")
        return client

    def _may_write(self, c: Collection, client: Client) -> None:
        if client.role not in c.writers:
            raise Problem(403, f"{client.role} may not write {c.path}")

    def _checked(self, c: Collection, body: Any, client: Client, name: str | None) -> dict[str, Any]:
        """The object as it may be stored. Problem otherwise."""
        if not isinstance(body, dict):
            raise Problem(400, "expected an object")
        nulls = objects.without_nulls(c.model, body)
        if self._profile == "3.0.1" and c.path == "vens":
            body = {"objectType": "VEN_VEN_REQUEST", **body}
        try:
            c.model.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            raise Problem(400, f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from None
        if nulls:
            raise Problem(400, f"{nulls[0]}: null")
        if c.path in ("vens", "resources"):
            _check_side(body, client)
        if c.unique and any(o[c.unique] == body[c.unique] and i != name for i, o in self.stored[c.path].items()):
            raise Problem(409 if c.path == "programs" else 403, f"{c.unique} {body[c.unique]} exists")  # vens know no 409
        for key, path in c.parents.items():
            if body.get(key) is not None and body[key] not in self.stored[path]:
                raise Problem(409, f"{key} {body[key]} does not exist")
        return body

    def _store(self, c: Collection, body: dict[str, Any], client: str, name: str | None) -> dict[str, Any]:
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if name is None:
            self._count += 1
            name = f"{c.kind.lower()}-{self._count}"
        before = self.stored[c.path].get(name, {})
        meta = {"id": name, "createdDateTime": before.get("createdDateTime", stamp), "modificationDateTime": stamp, "objectType": c.kind}
        if c.is_private:
            meta["clientID"] = str(body.get("clientID") or client)
        made = {**body, **meta}
        if c.path in ("vens", "resources"):
            made.setdefault("targets", before.get("targets"))
        self.stored[c.path][name] = made
        return made

    def _delete(self, c: Collection, name: str) -> None:
        """With all that refers to it."""
        del self.stored[c.path][name]
        for other in COLLECTIONS.values():
            for key, path in other.parents.items():
                if path == c.path:
                    for child in [i for i, o in self.stored[other.path].items() if o.get(key) == name]:
                        self._delete(other, child)

    def _listed(self, c: Collection, client: Client, request: Request) -> list[dict[str, Any]]:
        skip, limit = _whole(request, "skip", 0, None), _whole(request, "limit", 50, 50)
        active = request.query_params.get("active")
        if active not in (None, "true", "false"):
            raise Problem(400, "active: true or false")
        targets = self._targets(request)
        wanted = {k: request.query_params[k] for k in FILTERS.get(c.path, ()) if k in request.query_params}
        for key, value in wanted.items():
            if not 1 <= len(value) <= 128 or (key.endswith("ID") and not OBJECT_ID.fullmatch(value)):
                raise Problem(400, f"{key}: 1 to 128 letters")
        for kind in request.query_params.getlist("objects"):
            if kind not in objects.ObjectType.__args__:  # type: ignore[attr-defined]
                raise Problem(400, "objects: a type of object")
        with self._lock:
            seen = [o for o in self.stored[c.path].values() if self._is_visible(c, client, o, targets)]
        matching = [o for o in seen if all(o.get(k) == v for k, v in wanted.items())]
        return matching[skip : skip + limit]

    def _targets(self, request: Request) -> set[str]:
        query = request.query_params
        found = query.getlist("targets") + query.getlist("targetValues")
        if any(not 1 <= len(t) <= 128 for t in found):
            raise Problem(400, "targets: 1 to 128 letters each")
        return set(found)

    def _is_visible(self, c: Collection, client: Client, found: dict[str, Any], targets: set[str], by_id: bool = False) -> bool:
        if client.role == "bl":
            return True
        if c.is_private:
            return bool(found.get("clientID") == client.id)
        own = {t for t in found.get("targets") or [] if isinstance(t, str)}
        if not own:
            return True
        granted = {t for v in self.stored["vens"].values() if v.get("clientID") == client.id for t in v.get("targets") or []}
        return bool(own & granted & (granted if by_id else targets))

    # -- webhooks -------------------------------------------------------------------------------------------------------------------

    def _tell(self, c: Collection, operation: str, found: Mapping[str, Any]) -> None:
        """Calls every subscriber, in a thread: a subscriber that is slow or gone holds up nobody."""
        if self.broker is not None and c.path == "events":
            body = {"objectType": c.kind, "operation": operation, "object": dict(found)}
            self.broker.publish(f"{TOPIC}/{operation.lower()}", json.dumps(body).encode())
        for subscription in list(self.stored["subscriptions"].values()):
            for wanted in subscription["objectOperations"]:
                if c.kind in wanted["objects"] and operation in wanted["operations"]:
                    body = {"objectType": c.kind, "operation": operation, "object": dict(found)}
                    threading.Thread(target=self._call, args=(wanted, body), daemon=True).start()

    def _call(self, wanted: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {wanted['bearerToken']}"} if wanted.get("bearerToken") else {}
        try:
            with httpx.Client(verify=self._verify, timeout=5.0) as client:
                echo = secrets.token_urlsafe(8)
                asked = client.get(wanted["callbackUrl"], params={"echo": echo}, headers=headers)
                if asked.status_code != 200 or echo not in asked.text:
                    raise httpx.HTTPError("the echo did not come back")
                client.post(wanted["callbackUrl"], json=body, headers=headers).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self.undelivered.append(str(error))


def _check_side(body: Mapping[str, Any], client: Client) -> None:
    is_bl = str(body["objectType"]).startswith("BL_")
    if is_bl != (client.role == "bl"):
        raise Problem(403, f"{body['objectType']} is not what a {client.role} writes")
    if is_bl and not body.get("clientID"):
        raise Problem(400, "clientID: missing")


def _whole(request: Request, key: str, otherwise: int, most: int | None) -> int:
    text = request.query_params.get(key)
    if text is None:
        return otherwise
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > (2**31 - 1 if most is None else most):
        raise Problem(400, f"{key}: a whole number" + (f" up to {most}" if most else ""))
    return int(text)


async def _body(request: Request) -> Any:
    raw = await request.body()
    if len(raw) > MOST_BODY:
        raise Problem(400, "too large")
    try:
        return json.loads(raw, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))
    except (ValueError, RecursionError):
        raise Problem(400, "not JSON") from None


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"type": "about:blank", "title": detail[:80], "status": status, "detail": detail}, status)


async def _problem_answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _problem(error.status, error.detail)


async def _not_found(request: Request, error: Exception) -> Response:
    answer = _problem(getattr(error, "status_code", 404), "no such path or method")
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer
