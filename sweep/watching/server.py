"""Serves the live page: to this machine, or to whoever has the token."""

import hashlib
import secrets
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sweep.watching.pages import Pages, beside
from trials.spec import SpecError

COOKIE = "poisonsweep"
SHORTEST = 16  # characters of a token
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-src 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Next = Callable[[Request], Awaitable[Response]]


def app_of(pages: Pages, token: str, local: bool, host: str = "") -> Starlette:
    """The application.

    Args:
        pages: what it shows.
        token: asked of each request; empty for none.
        local: it is served on the loopback address: other names of the host are refused, so that no
            page of another site can be made to read it.
        host: the loopback address, where it is another than the usual ones.
    """

    async def page(_: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(pages.page), headers=_HEADERS)

    async def now(_: Request) -> Response:
        html = await run_in_threadpool(pages.fragment)
        return HTMLResponse(html, headers={**_HEADERS, "X-Report": quote(pages.version())})

    async def report(_: Request) -> Response:
        kept = {k: v for k, v in _HEADERS.items() if k != "Content-Security-Policy"}
        return HTMLResponse(await run_in_threadpool(pages.report), headers=kept)  # it has its own

    def file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def give(_: Request) -> Response:
            return Response(beside(name), media_type=kind, headers=_HEADERS)

        return give

    routes = [
        Route("/", page),
        Route("/now", now),
        Route("/report", report),
        Route("/watch.css", file("watch.css", "text/css")),
        Route("/watch.js", file("watch.js", "text/javascript")),
    ]
    names = [*LOOPBACK, host] if host else list(LOOPBACK)
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=names)] if local else []
    if token:
        guards.append(Middleware(_Guard, token=token))
    return Starlette(routes=routes, middleware=guards, exception_handlers={SpecError: _refused})


async def _refused(_: Request, problem: Exception) -> Response:
    return PlainTextResponse(str(problem), 503)


class _Guard(BaseHTTPMiddleware):
    """Lets those pass who have the token: once in the address, then in a cookie."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        super().__init__(app)
        self._token = token
        self._digest = hashlib.sha256(token.encode()).hexdigest()  # any token fits a cookie so

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        asked = request.query_params.get("token")
        if asked is not None and _same(asked, self._token):
            answer = RedirectResponse(request.url.path, 303)  # out of the address bar
            answer.set_cookie(COOKIE, self._digest, httponly=True, samesite="strict")
            return answer
        if not _same(request.cookies.get(COOKIE, ""), self._digest):
            return PlainTextResponse("Add ?token=TOKEN to the address.", 401)
        return await call_next(request)


def _same(given: str, right: str) -> bool:
    return secrets.compare_digest(given.encode(), right.encode())


def serve(pages: Pages, host: str, port: int, token: str, told: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        pages: what is shown.
        host: the address to listen at.
        port: 0 for any that is free.
        token: asked of each request; needed where the address is not the loopback one.
        told: given the page's address once it can be opened.

    Raises:
        SpecError: no token for an address that others reach, a short one, or no such port.
    """
    local = _is_loopback(host)
    if not local and not token:
        raise SpecError(
            f"other machines could read a page at {host}. Give --token TEXT, or leave --host out."
        )
    if token and len(token) < SHORTEST:
        raise SpecError(
            f"the token has {len(token)} characters; needed are {SHORTEST} or more, such as "
            f"{secrets.token_urlsafe(SHORTEST)}."
        )
    pages.row()  # refuses at once what cannot be shown
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError, TypeError, ValueError) as problem:
            raise SpecError(
                f"nothing can be served at {host}, port {port}: {str(problem).rstrip('.')}. Give "
                "this machine's own address as --host, and another --port; 0 is any free one."
            ) from problem
        shown = f"[{host}]" if ":" in host else host
        asked = f"?token={quote(token, safe='')}" if token else ""
        told(f"http://{shown}:{listening.getsockname()[1]}/{asked}")
        app = app_of(pages, token, local, host)
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
