"""What the owner of a relay may ask and do: `hearthgate relay …`.

    CLI ──UNIX socket, mode 0600──▶ Admin ──▶ Registry, Sessions

Only who may write the data folder reaches the socket. The same operations work on a
relay that is not running, through `Operations`.
"""

from collections.abc import Callable
import contextlib
import logging
import os
from pathlib import Path
import socket
import stat
import time
from typing import Any
from urllib.parse import unquote

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
import voluptuous as vol

from hearthgate import __version__
from hearthgate.errors import HearthgateError
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import Traffic
from hearthgate.relay.doors.requests import nameless_request
from hearthgate.relay.errors import (
    HomeUnknownError,
    RelayAddressMissingError,
    RelaySocketForbiddenError,
    RequestInvalidError,
    SocketPathError,
)
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.homes.invitations import INVITE_LIFETIME_S, Invitation, invite
from hearthgate.relay.homes.keys import Keys
from hearthgate.relay.homes.registry import Registry, ports_data
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.relay.owner.report import home_report, relay_report
from hearthgate.relay.settings import RelaySettings
from hearthgate.relay.visitors.pump import Pump
from hearthgate.shared.net.http_server import HttpBounds, HttpServer
from hearthgate.shared.storage.private_files import check_socket, clear_socket
from hearthgate.wire.ports import Ports, joined, read_ports

_LOGGER = logging.getLogger(__name__)

SOCKET_NAME = "relay.sock"
HEALTH_PATH = "/health"
_REQUEST_TIMEOUT_S = 20.0
_STOP_S = 5.0  # what is under way may end: a request takes milliseconds
LIFETIME_LEAST_S = 60
LIFETIME_MOST_S = 365 * 86400
_RANGES = vol.All([vol.All(str, vol.Length(max=11))], vol.Length(max=100))
_CLAIMS: dict[Any, object] = {
    vol.Optional("tcp", default=list): _RANGES,
    vol.Optional("udp", default=list): _RANGES,
}
_GRANT_BODY = vol.Schema(
    {
        vol.Optional("domains", default=list): vol.All([str], vol.Length(max=100)),
        **_CLAIMS,
        vol.Optional("remove", default=False): bool,
    },
    required=True,
)
_INVITE_BODY = vol.Schema(
    {
        "name": vol.All(str, vol.Length(max=100)),
        # None: a part of the relay's own name, or of one made of its address.
        vol.Optional("domains", default=list): vol.All([str], vol.Length(max=100)),
        **_CLAIMS,
        vol.Optional("lifetime_s", default=INVITE_LIFETIME_S): vol.All(
            int, vol.Range(LIFETIME_LEAST_S, LIFETIME_MOST_S)
        ),
        # Where the home shall dial, if the relay's own settings do not say it.
        vol.Optional("address", default=None): vol.Any(
            None, vol.All(str, vol.Length(max=262))
        ),
    },
    required=True,
)


class RelayAnswerError(HearthgateError):
    """Raise if a running relay refused a request of its owner."""

    code = "relay_answer"
    message = "{message}"
    hint = "{hint}"


class Operations:
    """What can be done to a data folder, whether or not its relay runs."""

    def __init__(
        self,
        registry: Registry,
        keys: Keys,
        settings: RelaySettings,
        *,
        sessions: Sessions | None = None,
        answers: Answers | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self._traffic = traffic
        self._registry = registry
        self._keys = keys
        self._settings = settings
        self._sessions = sessions
        self._answers = answers

    async def invite(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make a pairing code."""
        try:
            wanted = _INVITE_BODY(body)
        except vol.Invalid as err:
            raise RequestInvalidError(reason=str(err)) from err
        address = self._settings.address or wanted["address"]
        domains = tuple(wanted["domains"])
        if not domains:
            domain = self._settings.domain_for(wanted["name"], address)
            if domain is None:
                raise RelayAddressMissingError
            domains = (domain,)
        made: Invitation = await invite(
            self._registry,
            self._keys,
            address,
            name=wanted["name"],
            domains=domains,
            lifetime_s=wanted["lifetime_s"],
            ports=ports_of(wanted),
        )
        return {
            "code": made.code,
            "name": made.name,
            "domains": list(made.domains),
            "expires": made.expires,
            **ports_data(made.ports),
        }

    async def grant(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Add to a home's grant or take away from it; a running relay acts at once."""
        try:
            wanted = _GRANT_BODY(body)
        except vol.Invalid as err:
            raise RequestInvalidError(reason=str(err)) from err
        home = await self._registry.grant(
            name, tuple(wanted["domains"]), ports_of(wanted), remove=wanted["remove"]
        )
        if self._answers is not None:
            self._answers.keep(home.id, home.covers)
        if self._sessions is not None:
            self._sessions.regrant(home)
        _LOGGER.info("%s: Grant changed", name)
        return self._home(home.id)

    async def revoke(self, name: str) -> dict[str, Any]:
        """Remove a home or an unused code; cut what is live at once."""
        home = await self._registry.revoke(name)
        if home is not None and self._sessions is not None:
            self._sessions.revoke(home.id)
        if home is not None and self._answers is not None:
            self._answers.drop_all(home.id)
        _LOGGER.info("%s: Revoked", name)
        return {"name": name, "was_paired": home is not None}

    def homes(self) -> dict[str, Any]:
        """List homes and unused codes."""
        return {
            "homes": [self._home(home.id) for home in self._registry.homes],
            "invites": [
                {
                    "name": one.name,
                    "domains": list(one.domains),
                    "expires": one.expires,
                    **ports_data(one.ports),
                }
                for one in self._registry.invites
            ],
        }

    def show(self, name: str) -> dict[str, Any]:
        """Return all about one home, or about its unused code.

        Raises HomeUnknownError.
        """
        found = next((one for one in self._registry.homes if one.name == name), None)
        if found is None:
            invites = self.homes()["invites"]
            invited = next((one for one in invites if one["name"] == name), None)
            if invited is None:
                raise HomeUnknownError(name=name)
            return {**invited, "state": "invited"}
        presence = self._sessions.presences.get(found.id) if self._sessions else None
        return {**self._home(found.id), **home_report(presence, self._traffic)}

    def _home(self, home_id: str) -> dict[str, Any]:
        home = self._registry.home(home_id)
        presence = self._sessions.presences.get(home_id) if self._sessions else None
        session = presence.session if presence else None
        return {
            "name": home.name if home else "",
            "domains": list(home.domains) if home else [],
            "paired_at": home.paired_at if home else 0,
            **ports_data(home.ports if home else Ports()),
            "connected": session is not None,
            "parked": len(session.parked) if session else 0,
            "hostnames": sorted(presence.routes) if presence else [],
        }


def ports_of(body: dict[str, Any]) -> Ports:
    """Return the ports in a checked body or in an answer of ours."""
    return Ports(
        joined(read_ports(one) for one in body["tcp"]),
        joined(read_ports(one) for one in body["udp"]),
    )


class Admin:
    """Serve the owner's requests on a UNIX socket in the data folder."""

    def __init__(
        self,
        *,
        registry: Registry,
        keys: Keys,
        sessions: Sessions,
        pump: Pump,
        counters: Counters,
        answers: Answers,
        settings: RelaySettings,
        traffic: Traffic,
        addresses: Callable[[], tuple[str, ...]],
    ) -> None:
        self._traffic = traffic
        self._sessions = sessions
        self._settings = settings
        self._addresses = addresses
        self._operations = Operations(
            registry,
            keys,
            settings,
            sessions=sessions,
            answers=answers,
            traffic=traffic,
        )
        self._pump = pump
        self._counters = counters
        self._path = settings.data / SOCKET_NAME
        self._started = time.time()
        self._server: HttpServer | None = None

    async def open(self) -> None:
        """Begin to listen. The folder is locked, so a socket left there is dead."""
        clear_socket(self._path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            # Linux gives the path the mode of the socket itself: no moment without it.
            os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
            listener.bind(os.fspath(self._path))
        except OSError as err:
            listener.close()
            raise SocketPathError(path=self._path, reason=err.strerror or err) from err
        server = HttpServer(
            self._answer,
            HttpBounds(),
            what="relay",
            stop_s=_STOP_S,
            request_factory=nameless_request,
        )
        self._server = server
        await server.start(listener)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.close()
        with contextlib.suppress(HearthgateError):  # the next start removes it
            clear_socket(self._path)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            return await self._act(request)
        except HearthgateError as err:
            return web.json_response({"error": err.as_dict()}, status=err.status)

    async def _act(self, request: web.BaseRequest) -> web.Response:
        operations = self._operations
        answer: dict[str, Any]
        status = 200
        path = request.raw_path.partition("?")[0]
        match (request.method, *map(unquote, path.split("/")[1:])):
            case ("POST", "invites"):
                answer = await operations.invite(await _body(request))
                status = 201
            case ("GET", "homes"):
                answer = operations.homes()
            case ("GET", "homes", name):
                answer = operations.show(name)
            case ("DELETE", "homes", name):
                answer = await operations.revoke(name)
            case ("POST", "homes", name, "grant"):
                answer = await operations.grant(name, await _body(request))
            case ("GET", "status"):
                answer = self._status()
            case ("GET", "health"):
                answer = {"status": "ok"}
            case _:
                return web.Response(status=404, text="Not found.\n")
        return web.json_response(answer, status=status)

    def _status(self) -> dict[str, Any]:
        homes = self._operations.homes()["homes"]
        return {
            "software": __version__,
            "started": int(self._started),
            "homes": len(homes),
            "connected": sum(home["connected"] for home in homes),
            "visitors": len(self._pump.pairs),
            "refused": dict(self._counters.refused),
            "address": self._settings.address,
            "addresses": list(self._addresses()),
            **relay_report(self._sessions, self._traffic),
        }


async def _body(request: web.BaseRequest) -> dict[str, Any]:
    try:
        body: dict[str, Any] = await request.json()
    except ValueError as err:
        raise RequestInvalidError(reason="its body is no JSON") from err
    return body


class RelayNotRunningError(Exception):
    """Raise if nobody answers on the socket: the data folder may be used directly."""


async def ask(
    data: Path, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the relay that runs on a data folder.

    Raises RelayNotRunningError, or RelayAnswerError with the relay's own words;
    NotOursError if something else is where its socket belongs.
    """
    timeout = ClientTimeout(total=_REQUEST_TIMEOUT_S)
    check_socket(data / SOCKET_NAME)
    connector = UnixConnector(str(data / SOCKET_NAME))
    async with ClientSession(connector=connector, timeout=timeout) as client:
        try:
            async with client.request(
                method, f"http://relay{path}", json=body
            ) as response:
                answer: dict[str, Any] = await response.json()
        except PermissionError as err:
            raise RelaySocketForbiddenError from err
        except (ClientError, OSError) as err:
            if isinstance(err.__cause__, PermissionError):
                raise RelaySocketForbiddenError from err
            raise RelayNotRunningError(str(err)) from err
    if "error" in answer:
        error = answer["error"]
        raise RelayAnswerError(message=error["message"], hint=error["hint"])
    return answer
