"""Stand in for Home Assistant's Supervisor, which cannot run on a test machine.

    home ──Bearer token──▶ StandInSupervisor ──/core/websocket──▶ a Core, or a script

Follows the API as it is written in the Supervisor's source (supervisor/api: paths,
names, {"result", "data"}, the WebSocket's own auth before Core's), as far as a home
asks for it. What only a real one can show: its firewall, its ingress sessions, the
roles that it checks, the addresses of its network. No pytest here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
import contextlib
import threading
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

Json = dict[str, Any]
TOKEN = "a-token-of-this-start"
SLUG = "0ab1cd2e_hearthgate"

Connect = Callable[[ClientSession], Awaitable[ClientWebSocketResponse]]


class StandInSupervisor:
    """Serve the Supervisor's API on loopback, until the context ends."""

    def __init__(self, *, ingress_port: int = 0, core_port: int = 8123) -> None:
        """Tell the add-on and Core's ports; all else is changed on the attributes."""
        self.own: Json = {
            "slug": SLUG,
            "name": "Hearthgate",
            "ip_address": "127.0.0.1",
            "ingress_port": ingress_port,
            "host_network": True,
            "options": {},
        }
        self.core: Json = {
            "version": "2026.11.0",
            "ip_address": "127.0.0.1",
            "port": core_port,
            "ssl": False,
            "boot": True,
        }
        self.network: Json = {
            "interfaces": [
                {
                    "interface": "eth0",
                    "ipv4": {"method": "auto", "address": ["192.0.2.10/24"]},
                    "ipv6": {"method": "auto", "address": ["fe80::1/64"]},
                }
            ],
            "docker": {"gateway": "172.30.32.1"},
            "host_internet": True,
        }
        self.add_ons: dict[str, Json] = {}
        self.broker: Json | None = None
        self.commands: dict[str, Any] = {}  # of a scripted Core; an Exception refuses
        self.heard: list[Json] = []  # what that Core was asked
        self.connect: Connect | None = None  # to a real Core, authenticated
        self.core_is_up = True
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._client: ClientSession | None = None

    @property
    def url(self) -> str:
        """Where the Supervisor answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a home is started with, as an add-on."""
        return {"SUPERVISOR_TOKEN": TOKEN, "HEARTHGATE_HASS__SUPERVISOR": self.url}

    async def __aenter__(self) -> Self:
        application = web.Application(middlewares=[_known_add_ons_only])
        application.add_routes(
            [
                web.get("/{part:core|network}/info", self._facts),
                web.get("/addons/self/info", self._self),
                web.get("/supervisor/info", self._supervisor),
                web.get("/addons/{slug}/info", self._add_on),
                web.get("/services/mqtt", self._mqtt),
                web.get("/core/websocket", self._websocket),
            ]
        )
        self._client = ClientSession()
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()
        if self._client:
            await self._client.close()

    async def _self(self, _request: web.Request) -> web.Response:
        return await self._ok(self.own)

    async def _facts(self, request: web.Request) -> web.Response:
        return await self._ok(getattr(self, request.match_info["part"]))

    async def _ok(self, data: object) -> web.Response:
        return web.json_response({"result": "ok", "data": data})

    async def _supervisor(self, _request: web.Request) -> web.Response:
        listed = [
            {"name": one["name"], "slug": slug, "state": one.get("state", "started")}
            for slug, one in {SLUG: self.own, **self.add_ons}.items()
        ]
        return await self._ok({"version": "2026.11.1", "addons": listed})

    async def _add_on(self, request: web.Request) -> web.Response:
        one = self.add_ons.get(request.match_info["slug"])
        if one is None:
            return _error("App does not exist", 404)
        return await self._ok({"slug": request.match_info["slug"], **one})

    async def _mqtt(self, _request: web.Request) -> web.Response:
        if self.broker is None:
            return _error("Service not enabled", 400)
        return await self._ok(self.broker)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        if not self.core_is_up:
            raise web.HTTPBadGateway
        server = web.WebSocketResponse()
        await server.prepare(request)
        version = self.core["version"]
        await server.send_json({"type": "auth_required", "ha_version": version})
        said = await server.receive_json()
        if said.get("access_token") != TOKEN:
            await server.send_json({"type": "auth_invalid", "message": "Invalid"})
            return server
        await server.send_json({"type": "auth_ok", "ha_version": version})
        if self.connect is None:
            await self._play(server)
        else:
            await self._pass_on(server)
        return server

    async def _play(self, server: web.WebSocketResponse) -> None:
        async for frame in server:
            asked = frame.json()
            self.heard.append(asked)
            await server.send_json(
                {"id": asked["id"], "type": "result", **self._answer(asked)}
            )

    def _answer(self, asked: Json) -> Json:
        if asked["type"] not in self.commands:
            error = {"code": "unknown_command", "message": "Unknown command."}
            return {"success": False, "error": error}
        found = self.commands[asked["type"]]
        found = found(asked) if callable(found) else found
        if isinstance(found, Exception):
            code = found.args[1] if len(found.args) > 1 else "invalid_format"
            error = {"code": code, "message": str(found.args[0])}
            return {"success": False, "error": error}
        return {"success": True, "result": found}

    async def _pass_on(self, server: web.WebSocketResponse) -> None:
        """Carry messages both ways, as the Supervisor does; it ends as Core ends."""
        if self.connect is None or self._client is None:
            return
        try:
            client = await self.connect(self._client)
        except Exception:  # noqa: BLE001  whatever it is, the Supervisor just closes
            return
        back = asyncio.create_task(_carry(client, server), name="core to add-on")
        try:
            await _carry(server, client)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            await client.close()


async def _carry(
    source: web.WebSocketResponse | ClientWebSocketResponse,
    to: web.WebSocketResponse | ClientWebSocketResponse,
) -> None:
    with contextlib.suppress(ConnectionError):
        async for frame in source:
            if frame.type is WSMsgType.TEXT:
                await to.send_str(frame.data)
    await to.close()


def _error(message: str, status: int) -> web.Response:
    return web.json_response({"result": "error", "message": message}, status=status)


@web.middleware
async def _known_add_ons_only(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    told = request.headers.get("Authorization", "")
    is_open = request.path == "/core/websocket"  # has its own auth
    if not is_open and told != f"Bearer {TOKEN}":
        raise web.HTTPUnauthorized
    return await handler(request)


@contextlib.contextmanager
def in_thread(stand_in: StandInSupervisor) -> Iterator[StandInSupervisor]:
    """Run a stand-in in a thread of its own, for who blocks the test's loop."""
    started, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with stand_in:
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        if not started.wait(30):
            raise TimeoutError("the stand-in did not start")
        yield stand_in
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()
