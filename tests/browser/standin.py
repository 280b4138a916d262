"""Stand in for the home's web API, in tests of the page's elements only.

    test ──▶ StandIn.state, .refuse(), .phase() ──▶ REST and api/live ──▶ the page

It speaks the API's shapes with the state that a test scripts, below a path prefix and
under the page's strict Content-Security-Policy. It knows no relay, edge or certificate
and enforces no rule of theirs: whether the page and the real home understand each other
is what the end-to-end browser test is for.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
import time
from typing import Any, Self

from aiohttp import WSMsgType, web

import hearthgate.home.web

__all__ = ["Json", "StandIn", "exposure", "hass", "problem", "relay", "service"]

Json = dict[str, Any]

PAGE = Path(hearthgate.home.web.__file__).parent / "page"
PREFIX = "/ingress/token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">'
    b'<circle cx="4" cy="4" r="4" fill="#c2185b"/></svg>'
)


def relay(relay_id: str = "r1", **fields: object) -> Json:
    """Return a connected relay, changed by `fields`."""
    return {
        "id": relay_id,
        "name": "cottage",
        "host": "relay.example.com",
        "port": 443,
        "state": "connected",
        "since": time.time() - 3600,
        "rtt_ms": 23.4,
        "parked": 4,
        "sealed": False,
        "domains": ["cottage.example.com"],
        "addresses": ["203.0.113.5"],
        "problem": None,
        **fields,
    }


def service(service_id: str = "camera", name: str = "Camera", **fields: object) -> Json:
    """Return a reachable, discovered service that is not exposed."""
    return {
        "id": service_id,
        "name": name,
        "origin": "discovered",
        "kind": "web",
        "url": "http://192.168.1.20:8080/",
        "scheme": "http",
        "host": "192.168.1.20",
        "port": 8080,
        "title": None,
        "icon": None,
        "reachable": True,
        "problem": None,
        "moved_from": None,
        "local_trust": None,
        "present": True,
        "exposure": None,
        "suggested_hostname": f"{service_id}.cottage.example.com",
        **fields,
    }


def exposure(phase: str, hostname: str = "camera.cottage.example.com") -> Json:
    """Return an exposure in a phase; off is the only one that is not wanted."""
    return {
        "enabled": phase not in {"off", "switching_off"},
        "hostname": hostname,
        "url": f"https://{hostname}/",
        "relay_id": "r1",
        "access": None,
        "hass_may_switch": False,
        "was_public": phase != "off",
        "status": {
            "phase": phase,
            "since": time.time(),
            "problem": None,
            "certificate_expires": None,
        },
    }


def hass(state: str = "refused", **fields: object) -> Json:
    """Return what is known of a Home Assistant of today, changed by `fields`.

    Those of its trust are told apart by their names.
    """
    changes = [
        {"name": "use_x_forwarded_for", "before": "false", "after": "true"},
        {"name": "trusted_proxies", "before": "", "after": "127.0.0.1"},
    ]
    trust: Json = {
        "state": state,
        "proxy": "127.0.0.1",
        "by": "api",
        "changes": changes if state == "refused" else [],
        "yaml": None,
        "login_attempts": -1,
        "problem": None,
    }
    trust |= {name: fields.pop(name) for name in list(fields) if name in trust}
    url = "https://ha.cottage.example.com/"
    known: Json = {"version": "2026.11.0", "external_url": None, "public_url": url}
    return {**known, "trust": trust, **fields}


def problem(message: str, hint: str = "", retry_in: float | None = None) -> Json:
    """Return a problem as relays and exposures carry it."""
    retry_at = None if retry_in is None else time.time() + retry_in
    words = {"message": message, "hint": hint}
    return {"code": "test", **words, "retry_at": retry_at, "fields": {}}


class StandIn:
    """Serve the page and a scripted API on loopback, until the context ends."""

    def __init__(self) -> None:
        """Start with nothing: no relay, no service, no password."""
        self.relays: dict[str, Json] = {}
        self.services: dict[str, Json] = {}
        self.staging = False
        self.hass: Json | None = None
        self.damage: Json | None = None
        self.problems: list[Json] = []
        self.mqtt = False
        self.password: str | None = None
        self.forbidden = False  # as to someone who is no administrator
        self.calls: asyncio.Queue[tuple[str, str, Json]] = asyncio.Queue()
        self.gate = asyncio.Event()  # cleared: answers to wishes have to wait
        self.gate.set()
        # What happens between an answer and its arrival.
        self.overtake: Callable[[], Awaitable[None]] | None = None
        self.port = 0
        self._cookie = False
        self._refusals: deque[tuple[int, Json]] = deque()
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where the page is, below its prefix."""
        return f"http://127.0.0.1:{self.port}{PREFIX}/"

    # --- what tests script ---

    def add(self, *things: Json) -> None:
        """Have relays and services from the start; nobody is told."""
        for thing in things:
            (self.relays if "rtt_ms" in thing else self.services)[thing["id"]] = thing

    def refuse(
        self,
        code: str,
        message: str,
        hint: str = "",
        status: int = 409,
        fields: Json | None = None,
    ) -> None:
        """Answer the next wish with an error."""
        error = {"code": code, "message": message, "hint": hint, "fields": fields or {}}
        self._refusals.append((status, {"error": error}))

    async def tell(self, message: Json) -> None:
        """Send one message to every page that listens."""
        for socket in list(self._sockets):
            await socket.send_json(message)

    async def change_service(self, service_id: str, **fields: object) -> None:
        """Change a service and tell it."""
        self.services[service_id] = {**self.services[service_id], **fields}
        await self.tell({"type": "service", "service": self.services[service_id]})

    async def change_hass(self, known: Json) -> None:
        """Change what is known of Home Assistant and tell it."""
        self.hass = known
        await self.tell({"type": "hass", "hass": known})

    async def change_problems(self, *problems: Json) -> None:
        """Change what is wrong with parts of the home and tell it."""
        self.problems = list(problems)
        await self.tell({"type": "home", "home": self._home()})

    async def change_relay(self, relay_id: str, **fields: object) -> None:
        """Change a relay and tell it."""
        self.relays[relay_id] = {**self.relays[relay_id], **fields}
        await self.tell({"type": "relay", "relay": self.relays[relay_id]})

    async def phase(
        self, service_id: str, phase: str, trouble: Json | None = None
    ) -> None:
        """Move an exposure on and tell it."""
        old = self.services[service_id]["exposure"]
        status = {**old["status"], "phase": phase, "problem": trouble}
        await self.change_service(service_id, exposure={**old, "status": status})

    async def called(self) -> tuple[str, str, Json]:
        """Return the next wish: method, path below api/, body."""
        return await asyncio.wait_for(self.calls.get(), 20)

    async def start(self) -> None:
        """Listen, on the same port again if it was stopped before."""
        app = web.Application(middlewares=[self._policy])
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every WebSocket and stop listening."""
        for socket in list(self._sockets):
            await socket.close()
        if self._runner:
            await self._runner.cleanup()

    # --- what it serves ---

    def _routes(self) -> list[web.AbstractRouteDef]:
        api = f"{PREFIX}/api"
        wish = self._wish
        return [
            web.get(f"{api}/session", self._session),
            web.post(f"{api}/login", self._login),
            web.post(f"{api}/logout", self._logout),
            web.get(f"{api}/live", self._live),
            web.get(f"{api}/services/{{id}}/icon", self._icon),
            web.post(f"{api}/relays", wish(self._pair)),
            web.delete(f"{api}/relays/{{id}}", wish(self._forget)),
            web.post(f"{api}/relays/{{id}}/reconnect", wish(self._nothing)),
            web.post(f"{api}/hass/{{wish}}", wish(self._hass)),
            web.post(f"{api}/services", wish(self._add)),
            web.patch(f"{api}/services/{{id}}", wish(self._edit)),
            web.delete(f"{api}/services/{{id}}", wish(self._remove)),
            web.put(f"{api}/services/{{id}}/exposure", wish(self._expose)),
            web.post(f"{api}/services/{{id}}/exposure/retry", wish(self._retry)),
            web.get("/", self._around),
            web.get(f"{PREFIX}/", self._index),
            web.static(f"{PREFIX}/", PAGE),
        ]

    @web.middleware
    async def _policy(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        response = await handler(request)
        if request.path.startswith(PREFIX) and not response.prepared:
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers["Cache-Control"] = "no-cache"
        return response

    async def _around(self, _: web.Request) -> web.Response:
        """Serve an empty page of the same origin, for a test to put frames into."""
        page = "<!doctype html><title>around</title>"
        return web.Response(text=page, content_type="text/html")

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _icon(self, _: web.Request) -> web.Response:
        return web.Response(body=ICON, content_type="image/svg+xml")

    @property
    def _inside(self) -> bool:
        return self.password is None or self._cookie

    async def _session(self, _: web.Request) -> web.Response:
        if self.forbidden:
            return web.json_response({"error": {"message": "No."}}, status=403)
        login = "none" if self.password is None else "password"
        return web.json_response({"authenticated": self._inside, "login": login})

    async def _login(self, request: web.Request) -> web.Response:
        if (await request.json())["password"] != self.password:
            error = {
                "code": "wrong_password",
                "message": "This is not the password.",
                "hint": "",
                "fields": {},
            }
            return web.json_response({"error": error}, status=401)
        self._cookie = True
        return web.Response(status=204)

    async def _logout(self, _: web.Request) -> web.Response:
        self._cookie = False
        return web.Response(status=204)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if not self._inside:
            return web.json_response({"error": {"message": "Log in."}}, status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "state", "state": self._state()})
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self._sockets.discard(socket)
        return socket

    def _state(self) -> Json:
        return {
            "home": self._home(),
            "relays": list(self.relays.values()),
            "services": list(self.services.values()),
            "hass": self.hass,
        }

    def _home(self) -> Json:
        return {
            "version": "0.1.0",
            "acme": {"directory": "test", "staging": self.staging},
            "damage": self.damage,
            "problems": self.problems,
            "mqtt": self.mqtt,
        }

    def _wish(
        self, handler: Callable[[str, Json], web.Response]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            body = await request.json() if request.can_read_body else {}
            path = request.path.removeprefix(f"{PREFIX}/api/")
            self.calls.put_nowait((request.method, path, body))
            await self.gate.wait()
            if self._refusals:
                status, error = self._refusals.popleft()
                return web.json_response(error, status=status)
            found = request.match_info.get("id", "")
            response = handler(found, body)
            if self.overtake:
                await self.overtake()
                await asyncio.sleep(0.3)  # a slow answer, as over a bad connection
            return response

        return answer

    # --- wishes; what the page sees afterwards is up to the test ---

    def _pair(self, _: str, __: Json) -> web.Response:
        self.add(relay())
        return web.json_response(self.relays["r1"], status=201)

    def _forget(self, relay_id: str, _: Json) -> web.Response:
        del self.relays[relay_id]
        return web.Response(status=204)

    def _nothing(self, _: str, __: Json) -> web.Response:
        return web.Response(status=202)

    def _hass(self, _: str, __: Json) -> web.Response:
        return web.json_response(self.hass, status=202)

    def _add(self, _: str, body: Json) -> web.Response:
        url = f"http://{body['url']}/"
        self.add(service("byhand", body["name"], origin="manual", url=url))
        return web.json_response(self.services["byhand"], status=201)

    def _edit(self, service_id: str, body: Json) -> web.Response:
        self.services[service_id] |= body
        return web.json_response(self.services[service_id])

    def _remove(self, service_id: str, _: Json) -> web.Response:
        del self.services[service_id]
        return web.Response(status=204)

    def _expose(self, service_id: str, body: Json) -> web.Response:
        found = self.services[service_id]
        phase = "checking_dns" if body["enabled"] else "off"
        old = found["exposure"] or exposure(phase, body.get("hostname", ""))
        access = body.get("access", old["access"])
        hostname = body.get("hostname", old["hostname"])
        found["exposure"] = {
            **exposure(phase, hostname),
            "access": access and {"username": access["username"]},
            "hass_may_switch": body.get("hass_may_switch", old["hass_may_switch"]),
        }
        return web.json_response(found, status=202)

    def _retry(self, service_id: str, _: Json) -> web.Response:
        found = self.services[service_id]
        found["exposure"] = exposure("checking_dns", found["exposure"]["hostname"])
        return web.json_response(found, status=202)
