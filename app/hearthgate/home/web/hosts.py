"""Which names the page answers to: those that nobody on the Internet can point here.

    Host: 192.168.1.5:8099, nas, nas.local, nas.lan, nas.fritz.box   ──▶ served
    Host: evil.example                                               ──▶ 421, and why

A page of a stranger can let its own name lead to an address at home, a moment after the
browser has loaded it (DNS rebinding). To the browser, page and agent are then one site,
so the stranger's script may use whatever the agent answers. The name is what gives it
away: it is the stranger's. An address has no name to turn, and a name that only a home
network knows is in nobody else's DNS.
"""

from collections.abc import Callable, Collection
import ipaddress
import re
import socket
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hearthgate.home.i18n.problems import words
from hearthgate.home.web.errors import HostUnknownError
from hearthgate.shared.process.seldom import Seldom

# No one can register these: RFC 6761 and 6762, RFC 8375, and what ICANN has reserved
# for homes (.internal) or keeps out of the root because routers use it.
_LOCAL: Final = ("local", "localhost", "lan", "home", "home.arpa", "internal")
_LOCAL_OLD: Final = ("intranet", "localdomain", "corp")
# Names of routers below which a machine has its own name, and which belong to somebody
# who makes routers: only this machine's own is good there.
_ROUTERS: Final = ("fritz.box", "speedport.ip")
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")
_LANGUAGE: Final = re.compile(r"\s*([A-Za-z]{2,8})")


def host_of(request: web.Request) -> str:
    """Return host and port as the browser has sent them; empty if they are not clear.

    aiohttp's own `request.host` asks DNS, while everybody waits, if there are none.
    """
    named = request.headers.getall("Host", [])
    return named[0].strip().lower() if len(named) == 1 else ""


def name_in(host: str) -> str:
    """Return the name or address in a Host header, without port; empty if it has none.

    An IPv6 address keeps its brackets.
    """
    if host.startswith("["):
        name, bracket, port = host.partition("]")
        name += bracket
        port = port.removeprefix(":") if port else "0"
    else:
        name, colon, port = host.partition(":")
        port = port if colon else "0"
    return name.removesuffix(".") if _PORT.match(port) else ""


class KnownHosts:
    """Tell which names are ours."""

    def __init__(
        self, more: Callable[[], Collection[str]], *, machine: str | None = None
    ) -> None:
        """Ask `more` for further names each time. machine: how this one is called."""
        self._more = more
        self._machine = (machine or socket.gethostname()).lower().removesuffix(".")

    def knows(self, host: str) -> bool:
        """Tell whether a Host header names us."""
        name = name_in(host)
        return (
            is_address(name)
            or (_NAME.match(name) is not None and self._knows_name(name))
            or (name != "" and name in self._more())
        )

    def _knows_name(self, name: str) -> bool:
        if "." not in name:
            # Looked up on the home network only; no site of the Internet has one label.
            return not name.isdigit()
        if name.endswith(tuple(f".{suffix}" for suffix in (*_LOCAL, *_LOCAL_OLD))):
            return True
        label = self._machine.partition(".")[0]
        return name == self._machine or name in {f"{label}.{one}" for one in _ROUTERS}


def is_address(name: str) -> bool:
    """Tell whether the name in a Host header is an address as browsers write them."""
    try:
        if name.startswith("[") and name.endswith("]"):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def known_hosts_only(hosts: KnownHosts, seldom: Seldom) -> Middleware:
    """Refuse what was meant for another name: in JSON, or in sentences for a person."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = host_of(request)
        if hosts.knows(host):
            return await handler(request)
        error = HostUnknownError(host=name_in(host)[:253] or "?")
        seldom.warn("host", "%s: %s %s", request.remote, error, error.advice)
        if request.path.startswith("/api/"):
            raise error
        return _for_a_person(request, error)

    return check


def _for_a_person(request: web.Request, error: HostUnknownError) -> web.Response:
    """Return plain text: whatever the host is called, nothing of it is run."""
    language = _LANGUAGE.match(request.headers.get("Accept-Language", "en"))
    told = words(language[1] if language else "en").told(error.as_dict())
    return web.Response(text="\n\n".join(told) + "\n", status=error.status)
