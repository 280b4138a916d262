"""Everything of Hearthgate on one machine: an authority, a relay, a home and a service.

    visit() ──TLS, Pebble's root verified──▶ RelayProcess ──▶ HomeProcess ──▶ WebService
                                                  ▲ port 80       │
                                                  └─── Pebble ◀───┘ orders

All of it are real processes on loopback, joined by a real pairing code. A scene holds
nothing of an event loop, so it may be entered in one and used in another. No pytest
here: the demonstration and the benchmark use it too.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass, replace
import json
from pathlib import Path
import socket
import ssl
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import ClientSession, ClientTimeout, TCPConnector, encode_basic_auth
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.harness.hearthgate import HomeProcess, Json, ProcessError, RelayProcess
from tests.harness.pebble import Pebble, PebbleSettings
from tests.harness.ports import free_port
from tests.harness.webservice import WebService

LOOPBACK = "127.0.0.1"
DOMAIN = "home.example.com"
VISIT_DEADLINE_S = 60.0
_Part = TypeVar("_Part")


# Limits of a relay for what a busy machine takes: how long a visitor waits for a home
# that is on its way back, or is in the middle of its hello.
PATIENT = {
    "HEARTHGATE_LIMITS__WAITING_DEADLINE_S": "60",
    "HEARTHGATE_LIMITS__RECONNECT_GRACE_S": "60",
    "HEARTHGATE_LIMITS__HELLO_DEADLINE_S": "60",
}


class SceneError(Exception):
    """Raise if the scene cannot be set; says what the processes said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a visitor got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401  JSON is anything
        """Return the body as JSON."""
        return json.loads(self.body)


class Scene:
    """A home with its relay. An async context manager; ends all that it started."""

    def __init__(
        self,
        *,
        domain: str = DOMAIN,
        name: str = "cottage",
        relay_environment: Mapping[str, str] | None = None,
        home_environment: Mapping[str, str] | None = None,
        pebble: PebbleSettings | None = None,
        paired: bool = True,
    ) -> None:
        """Take what differs from the usual.

        paired False: stop before the pairing; `pair` does it later.
        """
        self.domain = domain
        self.name = name
        self._is_to_be_paired = paired
        # Pebble has to know the relay's port 80 before either of them runs.
        # A short drain: a visitor of this process can't leave while the end is awaited.
        self.relay = RelayProcess(
            environment={"HEARTHGATE_DRAIN": "1", **(relay_environment or {})},
            http_port=free_port(),
        )
        self._pebble_settings = pebble
        self._home_environment = dict(home_environment or {})
        self._stack = contextlib.ExitStack()
        self._pebble: Pebble | None = None
        self._home: HomeProcess | None = None
        self._web: WebService | None = None

    # --- life -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start all and pair. Blocks the loop meanwhile: the children belong to it.

        Linux ends them with the thread that started them, so it can't be a helper's.
        """
        try:
            with self._stack as stack:
                self._start(stack)
                if self._is_to_be_paired:
                    await self.pair()
                self._stack = stack.pop_all()
        except ProcessError as err:
            raise SceneError(str(err)) from err
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        settings = self._pebble_settings or PebbleSettings()
        if settings.http_port is None:
            settings = replace(settings, http_port=self.relay.http_port)
        self._pebble = stack.enter_context(Pebble(settings))
        stack.enter_context(self.relay)
        self._home = stack.enter_context(
            HomeProcess({**self.acme_environment(), **self._home_environment})
        )
        self._web = stack.enter_context(WebService())

    def acme_environment(self) -> dict[str, str]:
        """Return the settings that make a home use this scene's authority."""
        host, port = self.pebble.dns
        return {
            "HEARTHGATE_ACME__DIRECTORY": self.pebble.directory,
            "HEARTHGATE_ACME__CA_FILE": str(self.pebble.ca_file),
            "HEARTHGATE_DNS_SERVERS": f"{host}:{port}",
        }

    @property
    def pebble(self) -> Pebble:
        """The authority, with the DNS that it and the home ask."""
        return _there(self._pebble)

    @property
    def home(self) -> HomeProcess:
        """The home's agent."""
        return _there(self._home)

    @property
    def web(self) -> WebService:
        """A service at home."""
        return _there(self._web)

    def use(self, home: HomeProcess) -> None:
        """Let another home be the one of this scene; its owner starts and ends it."""
        self._home = home

    # --- what a user does -------------------------------------------------------------

    async def pair(self, address: str | None = None) -> None:
        """Invite the home and let it take the code; wait until it is connected.

        address: where the home reaches the relay if not directly, host and port.
        """
        more = ("--address", address) if address else ()
        code = await asyncio.to_thread(self.relay.invite, self.domain, self.name, *more)
        async with self.home.api() as api:
            await api.call("POST", "relays", {"code": code})
            await api.connected()

    async def add(self, url: str, name: str) -> Json:
        """Add a service by hand."""
        async with self.home.api() as api:
            added: Json = await api.call("POST", "services", {"name": name, "url": url})
            return added

    async def expose(
        self, url: str, name: str, *, hostname: str | None = None, **wish: object
    ) -> Json:
        """Add a service and switch it on; return it once it is live.

        Its hostname leads to the relay in the scene's DNS. Raises SceneError with the
        problem if it does not become live.
        """
        service = await self.add(url, name)
        hostname = hostname or str(service["suggested_hostname"])
        await self.pebble.set_a_async(hostname, [LOOPBACK])
        async with self.home.api() as api:
            shown = await api.expose(service["id"], hostname=hostname, **wish)
        if shown["exposure"]["status"]["phase"] != "live":
            raise SceneError(f"{shown['exposure']}\n{self.home.log[-4000:]}")
        return shown

    async def remove(self, service_id: str) -> None:
        """Remove a service that was added by hand."""
        async with self.home.api() as api:
            await api.call("DELETE", f"services/{service_id}")

    # --- what a visitor does ----------------------------------------------------------

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts what this scene's authority has signed."""
        return ssl.create_default_context(cadata=self.pebble.root_pem().decode())

    @contextlib.asynccontextmanager
    async def visitor(
        self, hostname: str, *, source: str | None = None
    ) -> AsyncIterator[ClientSession]:
        """Give a client for one public hostname, which it finds at the relay.

        source: the visitor's own address, any of 127.0.0.0/8.
        """
        connector = TCPConnector(
            resolver=AtRelay(self.relay.https_port),
            use_dns_cache=False,
            ssl=await asyncio.to_thread(self.trust),
            local_addr=(source, 0) if source else None,
            limit=0,
        )
        async with ClientSession(
            f"https://{hostname}:{self.relay.https_port}/",
            connector=connector,
            timeout=ClientTimeout(total=VISIT_DEADLINE_S),
            auto_decompress=False,
        ) as client:
            yield client

    async def visit(
        self,
        hostname: str,
        path: str = "/",
        *,
        method: str = "GET",
        source: str | None = None,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """Make one request on a connection of its own. Raises aiohttp's errors."""
        told = {"Authorization": encode_basic_auth(*auth)} if auth else {}
        async with (
            self.visitor(hostname, source=source) as client,
            client.request(
                method,
                path,
                headers={**told, **(headers or {})},
                data=data,
                allow_redirects=False,
            ) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    async def open(
        self, hostname: str, *, protocols: Sequence[str] = ()
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a bare TLS connection to a public hostname. The caller closes it."""
        context = await asyncio.to_thread(self.trust)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return await asyncio.open_connection(
            LOOPBACK, self.relay.https_port, ssl=context, server_hostname=hostname
        )

    async def curl(self, hostname: str, path: str, *arguments: str) -> bytes:
        """Visit with curl, on the port that a browser would use; return its output."""
        root = self.relay.folder / "root.pem"
        await asyncio.to_thread(_write, root, self.pebble)
        child = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"),
            *("--cacert", str(root)),
            *("--connect-to", f"{hostname}:443:{LOOPBACK}:{self.relay.https_port}"),
            *arguments,
            f"https://{hostname}{path}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
        if child.returncode:
            raise SceneError(f"curl: {child.returncode} {err.decode()}")
        return out


async def furnish(home: HomeProcess, code: str, url: str, hostname: str) -> None:
    """Pair one more home, and switch its one service on."""
    async with home.api() as api:
        await api.call("POST", "relays", {"code": code})
        await api.connected()
        service = await api.call("POST", "services", {"name": "Shelf", "url": url})
        shown = await api.expose(service["id"], hostname=hostname)
    if shown["exposure"]["status"]["phase"] != "live":
        raise SceneError(f"{hostname} is not live: {shown['exposure']['status']}")


class AtRelay(AbstractResolver):
    """Find every name at the relay."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Return the one address that there is."""
        del port, family
        return [
            {
                "hostname": host,
                "host": LOOPBACK,
                "port": self._port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _write(path: Path, pebble: Pebble) -> None:
    path.write_bytes(pebble.root_pem())


def _there(part: _Part | None) -> _Part:
    if part is None:
        raise SceneError("the scene has not been entered")
    return part
