"""Say in HAProxy's language what a set of routes means. Pure functions over values.

    routes, settings, generation ─▶ haproxy.cfg
    routes                       ─▶ certificates.list

    frontend visitors   the hand-over socket; TLS; what may pass (requests.py)
      └─ backend NAME   two per hostname, named by it: access (access.py), one server

A file has only relative paths and takes the socket from the environment, so that it
depends on nothing but its arguments. Words from outside enter as checked hostnames,
addresses and ports, or escaped byte by byte. Must mean the same to HAProxy 2.6 and 3.0.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hearthgate.home.edge import access, requests
from hearthgate.home.edge.language import HTML, NO_STORE, page_file
from hearthgate.home.edge.routes import Route, checked, is_address
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.model import Scheme, Target

# What a generation's folder holds. Short and relative: a UNIX socket's address has room
# for 108 bytes, and a data folder may be deeper than that.
CONFIG: Final = "haproxy.cfg"
CERTIFICATES: Final = "certificates.list"
CONSOLE: Final = "console.sock"
CUT: Final = "cut.list"  # hostnames whose connections end here; empty at the start
DOOR_VARIABLE: Final = "HEARTHGATE_DOOR"  # holds the number of the hand-over socket

# Pages that HAProxy itself answers with; the others come from rules.
_HAPROXY_ERRORS: Final = (400, 408, 413, 502, 503, 504)
# TLS 1.2 without CBC and without key exchange that has no forward secrecy. TLS 1.3 has
# nothing to choose.
_CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)


def render(routes: Sequence[Route], settings: EdgeSettings, generation: int) -> str:
    """Return the configuration. Raises EdgeRefusedError for a route that is unfit."""
    routes = checked(routes)
    lines = [
        *_global(settings, generation),
        *access.settings_lines(routes),
        *_resolvers(routes),
        *_defaults(settings),
        *_frontend(routes),
        *access.tables(routes, settings),
    ]
    for route in routes:
        for name in requests.backends(route):
            lines += _backend(name, route, settings)
    return "\n".join(lines) + "\n"


def render_certificates(routes: Iterable[Route]) -> str:
    """Return the list of certificates, each for exactly its hostname.

    The explicit name keeps a wildcard certificate from answering for other names.
    """
    return "".join(
        f"{certificate_file(route)} {route.hostname}\n" for route in checked(routes)
    )


def certificate_file(route: Route) -> str:
    """Return the file name of the route's certificate in a generation's folder."""
    return f"{route.hostname}.pem"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _global(settings: EdgeSettings, generation: int) -> Iterator[str]:
    yield "global"
    yield f"  description generation-{generation}"
    yield f"  maxconn {settings.maxconn}"
    # A low limit of descriptors is no reason not to run at all.
    yield "  no strict-limits"
    yield f"  nbthread {settings.threads}"
    yield f"  hard-stop-after {settings.hard_stop_after_s}s"
    yield f"  stats socket unix@{CONSOLE} mode 600 level admin"
    # While it drains, the agent keeps one console open and asks about every second.
    yield "  stats timeout 60s"
    yield f"  ssl-default-bind-ciphers {_CIPHERS}"
    yield f"  tune.ssl.cachesize {settings.tls_sessions}"
    yield f"  tune.h2.max-concurrent-streams {settings.h2_streams}"
    yield f"  tune.h2.initial-window-size {settings.h2_window_bytes}"
    yield from requests.settings_lines()


def _resolvers(routes: Iterable[Route]) -> Iterator[str]:
    if all(is_address(route.target.host) for route in routes):
        return
    yield "resolvers home_dns"
    yield "  parse-resolv-conf"
    yield "  hold valid 30s"
    # What the C library found at the start (hosts file, mDNS) is kept when DNS does not
    # know the name. A service that moved is worth following, an outage of DNS is not.
    for outcome in ("nx", "refused", "timeout", "other", "obsolete"):
        yield f"  hold {outcome} 20d"


def _defaults(settings: EdgeSettings) -> Iterator[str]:
    yield "defaults"
    yield "  mode http"
    for name, seconds in (
        ("connect", settings.connect_s),
        ("client", settings.visitor_s),
        ("server", settings.service_s),
        ("tunnel", settings.tunnel_s),
        ("http-request", settings.request_s),
        ("http-keep-alive", settings.keep_alive_s),
        # Half-closed WebSockets and downloads whose visitor left must not linger.
        ("client-fin", settings.visitor_s),
        ("server-fin", settings.visitor_s),
    ):
        yield f"  timeout {name} {_milliseconds(seconds)}ms"
    yield "  retries 1"
    # Only requests that cannot be lost silently share a connection between visitors.
    yield "  http-reuse safe"
    # A camera's stream counts while it goes on, not only when it ends.
    yield "  option contstats"
    # Dead ends of a WebSocket are found here, not by its very long time-out.
    yield "  option clitcpka"
    yield "  clitcpka-idle 60s"
    yield "  clitcpka-intvl 20s"
    yield "  clitcpka-cnt 4"
    yield "  option srvtcpka"
    yield from requests.defaults_lines()
    for status in _HAPROXY_ERRORS:
        yield f"  http-error status {status} {HTML} {page_file(status)} {NO_STORE}"


def _frontend(routes: Iterable[Route]) -> Iterator[str]:
    yield "frontend visitors"
    yield (
        f'  bind "sockpair@${{{DOOR_VARIABLE}}}" accept-proxy ssl'
        f" crt-list {CERTIFICATES} strict-sni alpn h2,http/1.1 ssl-min-ver TLSv1.2"
    )
    yield "  tcp-request session set-var(sess.name) ssl_fc_sni,lower"
    # A hostname that was turned off ends here without an answer: a browser then opens a
    # new connection, which the current generation judges. The list is empty in life.
    yield f"  http-request reject if {{ var(sess.name) -m str -f {CUT} }}"
    yield from requests.frontend_rules(routes)
    yield from requests.answer_rules()


def _backend(name: str, route: Route, settings: EdgeSettings) -> Iterator[str]:
    yield f"backend {name}"
    if name != route.hostname:
        yield from requests.stream_lines()
    if route.access is not None:
        yield from access.rules(route.hostname, route.access, settings)
    yield from requests.service_rules(route)
    yield _server(route.target, tells_visitor=route.tells_visitor)


def _server(target: Target, *, tells_visitor: bool) -> str:
    words = [f"  server service {target.authority}"]
    if tells_visitor:
        # In front of TLS, as every reader of it expects. HAProxy shares no connection
        # between visitors whose headers would differ.
        words.append("send-proxy-v2")
    if not is_address(target.host):
        # The C library knows the hosts file; nothing at the start is no reason to fail.
        words.append("init-addr libc,none resolvers home_dns resolve-prefer ipv4")
    if target.scheme is Scheme.HTTPS:
        # Devices at home sign for themselves, and old ones know only old TLS. It is
        # still better than http, which is what their owner would use instead.
        words.append("ssl verify none ssl-min-ver TLSv1.0 ciphers DEFAULT:@SECLEVEL=0")
        if not is_address(target.host):
            words.append(f"sni str({target.host})")
    return " ".join(words)
