"""Serve page and API: over TCP with a login, and on a UNIX socket for the command line.

    http://host:port/       Authenticator (login, or another way in)
    <data>/agent.sock       mode 0600: who may open it is the owner, no login

Both lead to the same home. Starts and stops; decides nothing.
"""

from collections.abc import Callable, Collection, Sequence
import contextlib
from importlib import resources
import logging
import os
from pathlib import Path
import socket
import stat

from aiohttp import web
from aiohttp.typedefs import Middleware
import yaml

from hearthgate.home.web.api.api import Api
from hearthgate.home.web.api.facade import HomeApi, Json
from hearthgate.home.web.errors import WebNotStartedError
from hearthgate.home.web.hosts import KnownHosts, host_of, known_hosts_only
from hearthgate.home.web.live.live import LivePages
from hearthgate.home.web.login.users import Authenticator, NoLogin
from hearthgate.home.web.middleware import (
    BODY_MAX_BYTES,
    add_headers,
    answer_errors,
    known_peers_only,
    known_users_only,
    own_page_only,
)
from hearthgate.home.web.page_files import PAGE_FOLDER, PageFiles
from hearthgate.shared.net.http_server import HttpBounds, HttpServer
from hearthgate.shared.process.seldom import Seldom
from hearthgate.shared.storage.private_files import StateError, clear_socket

_LOGGER = logging.getLogger(__name__)

# What is under way may end: a wish is taken in milliseconds, pairing in seconds.
_STOP_SECONDS = 5.0


class WebServer:
    """The home's web. start() it once, stop() it once."""

    def __init__(
        self,
        home: HomeApi,
        authenticator: Authenticator,
        *,
        host: str | None,
        port: int = 0,
        unix_socket: Path | None = None,
        page: Path = PAGE_FOLDER,
        own_host: Callable[[web.Request], str] = host_of,
        peers: Collection[str] | None = None,
        hosts: KnownHosts | None = None,
        live: LivePages | None = None,
    ) -> None:
        """Read the page's files; open nothing yet. Port 0 lets the system pick one.

        Without a host it is served on the UNIX socket alone.

        `own_host` tells the host and port that the browser believes to talk to, for
        who serves this behind a proxy that changes the Host header. `peers` are the
        only addresses that may connect over TCP; None: all. `hosts` are the names that
        it answers to over TCP; None: any, for who is asked by `peers` that check it.
        """
        self._home = home
        self._authenticator = authenticator
        self._address = (host, port)
        self._unix_socket = unix_socket
        self._own_host = own_host
        self._peers = peers
        self._hosts = hosts
        self._seldom = Seldom(_LOGGER)
        self._files = PageFiles(page)
        self._description = read_description()
        self._live = live or LivePages(home)
        self._servers: list[HttpServer] = []
        self._port = 0
        self._bound: Path | None = None  # the socket's path, once it is ours

    @property
    def port(self) -> int:
        """The TCP port in use, once started."""
        return self._port

    async def start(self) -> None:
        """Serve. Raises WebNotStartedError, with nothing left open."""
        try:
            host, port = self._address
            if host is not None:
                listener = _tcp_listener(host, port)
                self._port = listener.getsockname()[1]
                checks = []
                if self._peers is not None:
                    checks.append(known_peers_only(self._peers, self._seldom))
                if self._hosts is not None:
                    checks.append(known_hosts_only(self._hosts, self._seldom))
                await self._serve(listener, self._authenticator, checks)
            if self._unix_socket is not None:
                unix = _unix_listener(self._unix_socket)
                self._bound = self._unix_socket
                await self._serve(unix, NoLogin("command line"), [])
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the listeners, then the pages, then let requests end within seconds."""
        for server in self._servers:
            server.stop_listening()
        await self._live.close()
        for server in self._servers:
            await server.close()
        self._servers.clear()
        if self._bound is not None:
            with contextlib.suppress(StateError):  # the next start removes it
                clear_socket(self._bound)
            self._bound = None

    async def _serve(
        self,
        listener: socket.socket,
        who: Authenticator,
        checks: Sequence[Middleware],
    ) -> None:
        server = HttpServer(
            self._application(who, checks),
            HttpBounds(trusted=frozenset(self._peers or ())),
            what="page",
            stop_s=_STOP_SECONDS,
        )
        self._servers.append(server)
        await server.start(listener)

    def _application(
        self, who: Authenticator, checks: Sequence[Middleware]
    ) -> web.Application:
        application = web.Application(
            client_max_size=BODY_MAX_BYTES,
            middlewares=[
                answer_errors,
                *checks,
                own_page_only(self._own_host, self._seldom),
                known_users_only(who),
            ],
        )
        application.on_response_prepare.append(add_headers)
        api = Api(self._home, self._live, who, self._description)
        application.add_routes(api.routes())
        application.router.add_get("/{path:.*}", self._files.serve)
        return application


def read_description() -> Json:
    """Return openapi.yaml. Blocking."""
    text = (resources.files(__package__) / "openapi.yaml").read_text("utf-8")
    description: Json = yaml.safe_load(text)
    return description


def _tcp_listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as err:
        listener.close()
        raise WebNotStartedError(
            address=f"{host}:{port}", reason=err.strerror or err
        ) from err
    return listener


def _unix_listener(path: Path) -> socket.socket:
    """Bind a socket that is private from its first moment.

    What a killed agent left is removed; the lock on the data folder makes sure that no
    other one is alive. Raises WebNotStartedError, StateError.
    """
    clear_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the path the mode of the socket itself: no moment without it.
        os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        listener.bind(os.fspath(path))
    except OSError as err:
        listener.close()
        raise WebNotStartedError(address=path, reason=err.strerror or err) from err
    return listener
