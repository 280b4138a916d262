"""What every request passes, and what every answer carries.

    request ──▶ errors ──▶ known peer, host ──▶ own page ──▶ known user ──▶ handler
    answer  ◀── JSON   ◀────────────────────────────────────── headers

`Sec-Fetch-Site` says where a request comes from; browsers send it to https and
localhost only, so over plain http the Origin decides. A request with neither comes from
no browser, and has no cookie to abuse.
"""

from collections.abc import Callable, Collection
import logging
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hearthgate.errors import HearthgateError
from hearthgate.home.web.errors import (
    BodyTooLargeError,
    CrossSiteError,
    LoginNeededError,
    NotFoundError,
    PeerUnknownError,
    TooManyLoginsError,
)
from hearthgate.home.web.login.users import Authenticator
from hearthgate.shared.process.seldom import Seldom

_LOGGER = logging.getLogger(__name__)

# No request of ours needs more; the longest is a hostname, a name and a password.
BODY_MAX_BYTES = 64 * 1024

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What the login itself needs, and a health check of the container.
_OPEN = frozenset({"/api/session", "/api/login", "/api/health"})


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put our headers on an answer that is about to start, also on a WebSocket's."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into JSON. A bug gets a number that the log has too."""
    try:
        return await handler(request)
    except HearthgateError as err:
        _LOGGER.debug("%s %s: %s", request.method, request.path, err)
        return error_response(err)
    except web.HTTPRequestEntityTooLarge:
        return error_response(BodyTooLargeError(limit=BODY_MAX_BYTES))
    except web.HTTPNotFound:
        return error_response(NotFoundError(path=request.path[:200]))
    except web.HTTPException as err:
        return _plain_error(err)
    except Exception:
        # One broken request must not look like a broken home; the traceback is ours.
        number = secrets.token_hex(4)
        _LOGGER.exception("%s %s failed (%s)", request.method, request.path, number)
        return _internal_error(number)


def error_response(error: HearthgateError) -> web.Response:
    """Return an error as the API tells it."""
    response = web.json_response({"error": error.as_dict()}, status=error.status)
    if isinstance(error, TooManyLoginsError):
        response.headers["Retry-After"] = str(error.fields["seconds"])
    return response


def _plain_error(error: web.HTTPException) -> web.Response:
    body = {
        "code": (error.reason or "error").lower().replace(" ", "_"),
        "message": f"{error.reason}.",
        "hint": "",
        "fields": {},
    }
    response = web.json_response({"error": body}, status=error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _internal_error(number: str) -> web.Response:
    body = {
        "code": "internal",
        "message": "Hearthgate made a mistake.",
        "hint": f"The log says more; look for {number}.",
        "fields": {"id": number},
    }
    return web.json_response({"error": body}, status=500)


def known_peers_only(peers: Collection[str], seldom: Seldom) -> Middleware:
    """Refuse whoever connects from another address; what headers say counts nothing."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        peer = transport.get_extra_info("peername") if transport else None
        if not peer or peer[0] not in peers:
            seldom.warn(
                "peer",
                "%s: refused, only %s may connect here",
                peer[0] if peer else "unknown",
                ", ".join(sorted(peers)),
            )
            raise PeerUnknownError(address=peer[0] if peer else "unknown")
        return await handler(request)

    return check


def own_page_only(own_host: Callable[[web.Request], str], seldom: Seldom) -> Middleware:
    """Refuse what another page sends in the user's name.

    `own_host` returns the host and port that the browser believes to talk to.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _may_do_harm(request) and not _is_own(request, own_host(request)):
            seldom.warn(
                "another page",
                "%s: refused %s %s of another page (%s)",
                request.remote,
                request.method,
                request.path,
                request.headers.get("Origin", "no origin"),
            )
            raise CrossSiteError
        return await handler(request)

    return check


def _may_do_harm(request: web.Request) -> bool:
    """Tell what changes something, or a WebSocket: it knows no same-origin."""
    return request.method not in _READING or "Upgrade" in request.headers


def _is_own(request: web.Request, host: str) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site.lower() != "same-origin":
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    if site is not None:
        return True  # the browser compared them, and knows its own address best
    # Schemes differ behind a proxy that ends TLS; the host is what tells pages apart.
    _scheme, _mark, place = origin.lower().partition("://")
    return place == host.lower() != ""


def known_users_only(authenticator: Authenticator) -> Middleware:
    """Refuse whoever is nobody, except on the page itself and the way to log in."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_open = not _is_api(request) or request.path in _OPEN
        if not is_open and await authenticator.user(request) is None:
            raise LoginNeededError
        return await handler(request)

    return check


def _is_api(request: web.Request) -> bool:
    return request.path == "/api" or request.path.startswith("/api/")
