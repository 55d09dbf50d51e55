"""The HTTP surface of the office: page, health, metrics, data, orders, event stream. Loopback only: nobody is asked who they are yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AwareDatetime
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from ems.errors import DataError
from ems.history.read import HistoryReader
from ems.mailbox import Mailbox
from ems.nearest import near_miss
from ems.office.health import Health
from ems.office.hooks import Hint, add_hooks
from ems.office.live import Live
from ems.office.metrics import SiteCollector, registry_of
from ems.office.orders import OrderForm, answer, give, order_from
from ems.office.render import Renderer
from ems.office.stream import STREAMS_LIMIT, Feed
from ems.program.envelope import FlexibilityEnvelope, envelope_schema

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
LONGEST = timedelta(days=31)
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass
class Office:
    """What the endpoints are made of."""

    live: Live
    mailbox: Mailbox  # for orders
    now: Callable[[], datetime]
    judged: Callable[[datetime], Health]
    renderer: Renderer
    feed: Feed
    history: HistoryReader
    counts: Callable[[], Mapping[tuple[str, str], float]]
    is_loopback: bool = True
    hint: Hint = lambda channel, token, body: False
    envelope: Callable[[], FlexibilityEnvelope | None] = lambda: None


def build_app(office: Office) -> FastAPI:
    """The application of one office."""
    app = FastAPI(title="aidc-ems office", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.add_exception_handler(RequestValidationError, _refused)
    if office.is_loopback:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))  # a foreign name that resolves to us is not us
    static = files("ems.office.dashboard") / "static"
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    registry = registry_of(SiteCollector(office.live, office.now, office.counts))
    _add_page(app, office)
    _add_data(app, office)
    _add_orders(app, office)
    add_hooks(app, office.hint)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _add_page(app: FastAPI, office: Office) -> None:
    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        now = office.now()
        return HTMLResponse(office.renderer.page(now, office.judged(now)), headers={**SAFE_HEADERS, "Cache-Control": "no-store"})

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        health = office.judged(office.now())
        return JSONResponse(health.encode(), 200 if health.is_good else 503)

    @app.get("/events")
    async def events(view: str = "", last_event_id: Annotated[str | None, Header()] = None) -> Response:
        if office.feed.open >= STREAMS_LIMIT:
            return JSONResponse({"error": f"{STREAMS_LIMIT} streams are open, which is all there are"}, 503)
        stream = office.feed.events(view == "page", last_event_id)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


def _add_data(app: FastAPI, office: Office) -> None:
    @app.get("/api/snapshot")
    async def snapshot() -> JSONResponse:
        live, now = office.live, office.now()
        if live.snapshot is None:
            return _no("control has not finished a cycle yet", 404)
        return JSONResponse({"is_fresh": live.is_fresh(now), "age_s": live.age_s(now), "snapshot": live.snapshot})

    @app.get("/api/plan")
    async def plan() -> JSONResponse:
        live, now = office.live, office.now()
        if live.plan is None:
            return _no("there is no plan yet", 404)
        return JSONResponse({"is_fresh": live.is_plan_fresh(now), "age_s": live.plan_age_s(now), "plan": live.plan_body})

    @app.get("/api/flexibility")
    async def flexibility() -> JSONResponse:
        found = office.envelope()
        return _no("there is no plan to reckon it from", 404) if found is None else JSONResponse(found.model_dump(mode="json"))

    @app.get("/api/flexibility/schema")
    async def flexibility_schema() -> Response:
        return Response(envelope_schema(), media_type="application/schema+json")

    @app.get("/api/grid-events")
    async def grid_events() -> JSONResponse:
        return JSONResponse({"events": [e.encode() for e in office.live.grid_events]})

    @app.get("/api/history")
    def history(
        asset: str,
        start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    ) -> JSONResponse:
        until = end.astimezone(UTC) if end else office.now()
        since = start.astimezone(UTC) if start else until - timedelta(days=1)
        if not timedelta(0) < until - since <= LONGEST:
            return _no(f"from, to: expected from before to, at most {LONGEST.days} days apart", 422)
        poc = office.live.site.point_of_connection.id
        known = (*office.live.site.assets, poc)
        if asset not in known:
            return _no(f"asset = {asset}: expected an asset, or the meter{near_miss(asset, known)}", 404)
        try:
            rows = office.history.site_minutes(since, until) if asset == poc else office.history.asset_minutes(asset, since, until)
        except SQLAlchemyError as error:
            return _no(f"the history cannot be read: {str(getattr(error, 'orig', None) or error).splitlines()[0]}", 503)
        return JSONResponse({"asset": asset, "from": since.isoformat(), "to": until.isoformat(), "rows": rows})


def _add_orders(app: FastAPI, office: Office) -> None:
    @app.post("/api/orders")
    async def post_order(form: OrderForm, request: Request) -> JSONResponse:
        if not office.is_loopback:
            return _no("orders are taken on the loopback address only", 403)
        if not _is_own(request):
            return _no("orders are taken from this page or from programs on this machine only", 403)
        try:
            result = await give(order_from(form, office.live.site, office.now()), office.mailbox)
        except DataError as error:
            return _no(str(error), 422)
        return JSONResponse(result, {True: 200, False: 409, None: 202}[result["is_done"]])

    @app.get("/api/orders/{sequence}")
    def order_answer(sequence: int) -> dict[str, Any]:
        return answer(sequence, office.mailbox)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, without what was sent: that may hold numbers JSON has no words for."""
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()]}, 422)


def _is_own(request: Request) -> bool:
    """False when a browser says that another site's page sends this."""
    origin = request.headers.get("origin")
    is_json = request.headers.get("content-type", "").split(";")[0].strip() == "application/json"
    return is_json and (origin is None or urlsplit(origin).netloc == request.headers.get("host"))


def _no(error: str, status: int) -> JSONResponse:
    return JSONResponse({"error": error}, status)
