"""Where head-ends may call: `/hooks/<channel>`. A call only makes its line look; who calls must show the token of channels.yaml.

The office listens on the loopback address: a head-end outside reaches it through the site's own HTTPS proxy.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

MOST_BODY = 1_000_000
Hint = Callable[[str, str, bytes], bool]  # (channel, token, body): False for a wrong token or an unknown channel


def add_hooks(app: FastAPI, hint: Hint) -> None:
    """The routes on an application."""

    @app.get("/hooks/{channel}")
    async def echo(channel: str, echo: str = "") -> Response:
        """The question a VTN asks before it calls: does somebody answer here?"""
        return PlainTextResponse(echo[:200])

    @app.post("/hooks/{channel}")
    async def called(channel: str, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BODY:
                return JSONResponse({"error": f"at most {MOST_BODY} bytes"}, 413)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hint(channel, token.strip(), bytes(body)):
            return JSONResponse({"error": "expected the token of this channel"}, 401)
        return JSONResponse({"taken": True})
