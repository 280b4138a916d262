"""The routes of the API. Each checks its body, asks the home, and answers JSON.

    request ──▶ bodies ──▶ HomeApi ──▶ JSON

Described in openapi.yaml; a test compares the two. Who may call is decided before
(middleware), what a call means behind (HomeApi).
"""

from dataclasses import dataclass

from aiohttp import web

from hearthgate.home.web.api import bodies
from hearthgate.home.web.api.facade import HomeApi, Json
from hearthgate.home.web.errors import NoLoginError
from hearthgate.home.web.icons import icon_response
from hearthgate.home.web.live.live import LivePages
from hearthgate.home.web.login.login import Login
from hearthgate.home.web.login.users import Authenticator
from hearthgate.shared.settings.kinds import Secret

_SERVICE = "/api/services/{service_id:[a-z0-9-]{1,64}}"
_RELAY = "/api/relays/{relay_id:[a-z0-9-]{1,64}}"
# Who changes the password opens the live page again with the new cookie until then.
_NEW_COOKIE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Api:
    """Answer for one home, to whoever this authenticator knows."""

    home: HomeApi
    live: LivePages
    authenticator: Authenticator
    description: Json  # openapi.yaml

    def routes(self) -> list[web.RouteDef]:
        """Return every route below /api."""
        return [
            web.get("/api/health", self.health),
            web.get("/api/openapi.json", self.openapi),
            web.get("/api/session", self.session),
            web.post("/api/login", self.log_in),
            web.post("/api/logout", self.log_out),
            web.post("/api/password", self.change_password),
            web.get("/api/state", self.state),
            web.get("/api/live", self.live_page, allow_head=False),
            web.post("/api/relays", self.pair),
            web.delete(_RELAY, self.forget_relay),
            web.post(f"{_RELAY}/reconnect", self.reconnect),
            web.post("/api/services", self.add_service),
            web.patch(_SERVICE, self.edit_service),
            web.delete(_SERVICE, self.remove_service),
            web.put(f"{_SERVICE}/exposure", self.set_exposure),
            web.post(f"{_SERVICE}/exposure/retry", self.retry),
            web.get(f"{_SERVICE}/icon", self.icon),
            web.post("/api/hass/check", self.check_hass),
            web.post("/api/hass/trust", self.trust_hass),
            web.post("/api/hass/public_url", self.use_public_url),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Say that this process answers."""
        return web.json_response({"status": "ok"})

    async def openapi(self, _request: web.Request) -> web.Response:
        """Describe this API."""
        return web.json_response(self.description)

    async def session(self, request: web.Request) -> web.Response:
        """Tell the page whether it has to show a login, and which."""
        who = self.authenticator
        is_in = await who.user(request) is not None
        answer: Json = {"authenticated": is_in, "login": who.login}
        if is_in and isinstance(who, Login):
            answer["can_change_password"] = who.can_change_password
        return web.json_response(answer)

    async def log_in(self, request: web.Request) -> web.Response:
        """Exchange the password for a cookie."""
        body = await bodies.read_body(request, bodies.LOGIN)
        return await self._login().log_in(request, Secret(body["password"]))

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of this request."""
        answer = await self._login().log_out(request)
        self.live.look_again()
        return answer

    async def change_password(self, request: web.Request) -> web.Response:
        """Set another password, for who knows the current one."""
        login = self._login()
        body = await bodies.read_body(request, bodies.PASSWORD_CHANGE)
        current, password = Secret(body["current"]), Secret(body["password"])
        answer = await login.change_password(request, current, password)
        self.live.look_again(_NEW_COOKIE_SECONDS)
        return answer

    def _login(self) -> Login:
        if not isinstance(self.authenticator, Login):
            raise NoLoginError
        return self.authenticator

    async def state(self, _request: web.Request) -> web.Response:
        """Answer with everything the page shows."""
        return web.json_response(self.home.snapshot())

    async def live_page(self, request: web.Request) -> web.StreamResponse:
        """Serve a page's WebSocket."""
        return await self.live.serve(request, self.authenticator)

    async def pair(self, request: web.Request) -> web.Response:
        """Join a relay by its pairing code."""
        body = await bodies.read_body(request, bodies.PAIR)
        return web.json_response(await self.home.pair(body["code"]), status=201)

    async def forget_relay(self, request: web.Request) -> web.Response:
        """Leave a relay."""
        await self.home.forget_relay(request.match_info["relay_id"])
        return web.Response(status=204)

    async def reconnect(self, request: web.Request) -> web.Response:
        """Dial a relay now."""
        await self.home.reconnect(request.match_info["relay_id"])
        return web.Response(status=202)

    async def add_service(self, request: web.Request) -> web.Response:
        """Add a service by hand."""
        body = await bodies.read_body(request, bodies.NEW_SERVICE)
        service = await self.home.add_service(body["name"], body["url"])
        return web.json_response(service, status=201)

    async def edit_service(self, request: web.Request) -> web.Response:
        """Change the name or the address of a service."""
        body = await bodies.read_body(request, bodies.SERVICE_CHANGE)
        service = await self.home.edit_service(
            request.match_info["service_id"],
            name=body.get("name"),
            target=body.get("url"),
        )
        return web.json_response(service)

    async def remove_service(self, request: web.Request) -> web.Response:
        """Remove a service that was added by hand."""
        await self.home.remove_service(request.match_info["service_id"])
        return web.Response(status=204)

    async def set_exposure(self, request: web.Request) -> web.Response:
        """Take the wish; the page follows what becomes of it on its WebSocket."""
        wish = await bodies.read_body(request, bodies.EXPOSURE)
        service = await self.home.set_exposure(request.match_info["service_id"], wish)
        return web.json_response(service, status=202)

    async def retry(self, request: web.Request) -> web.Response:
        """Try what failed again, now."""
        service = await self.home.retry(request.match_info["service_id"])
        return web.json_response(service, status=202)

    async def icon(self, request: web.Request) -> web.Response:
        """Answer with a service's icon."""
        return await icon_response(
            request, self.home.icon(request.match_info["service_id"])
        )

    async def check_hass(self, _request: web.Request) -> web.Response:
        """Look at Home Assistant now."""
        return web.json_response(await self.home.check_hass())

    async def trust_hass(self, request: web.Request) -> web.Response:
        """Let Home Assistant accept visitors; the page follows on its WebSocket."""
        body = await bodies.read_body(request, bodies.TRUST)
        hass = await self.home.trust_hass(body["login_attempts"])
        return web.json_response(hass, status=202)

    async def use_public_url(self, _request: web.Request) -> web.Response:
        """Tell Home Assistant its public address."""
        return web.json_response(await self.home.use_public_url())
