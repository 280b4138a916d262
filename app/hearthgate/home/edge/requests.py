"""Say in HAProxy's language what of a request reaches a service. Pure functions.

    the frontend   size, method, target, host ─▶ tunnel ─▶ cookie, headers ─▶ a backend
    each backend   access (config.py) ─▶ what the edge says of itself ─▶ the service

What is passed on of the host, the target and an upgrade is set here from what was
checked, never copied. A request whose body has no length goes to a backend of its own,
where its trailers are refused: they would come behind all these rules. From HAProxy 3.2
on an option drops them. See docs/decisions.md for what else was tried.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from hearthgate.home.edge import headers
from hearthgate.home.edge.language import HTML, NO_STORE, page_file
from hearthgate.home.edge.routes import Route
from hearthgate.wire.names import format_address

# What a generation's folder holds for this.
TRAILERS_SCRIPT: Final = "no_trailers.lua"

# The prefix keeps other names and plain http from setting it (RFC 6265bis §4.1.3.2).
COOKIE: Final = "__Host-hearthgate"
COOKIE_VARIABLE: Final = "txn.our_cookie"  # what it says

# No hostname has an underscore.
_STREAM: Final = "_stream"
_DROPS_TRAILERS: Final = "version_atleast(3.2)"

# The line of the request and its headers, as they are kept. The buffer is larger, so
# that a rule of ours can answer, and has room for what is added to an answer.
HEAD_MAX_BYTES: Final = 64 * 1024
HEADERS_MAX: Final = 500
_BUFFER_BYTES: Final = 80 * 1024
_URL_IS_LONG_BYTES: Final = HEAD_MAX_BYTES // 2  # then it is to blame

_TUNNEL: Final = "{ var(txn.tunnel) -m bool }"
# Each letter as itself or as a code: some services decode the names of cookies.
_OUR_NAME: Final = "".join(
    f"(?:{letter}|%{ord(letter):02x}|%{ord(letter.swapcase()):02x})"
    for letter in COOKIE
)
_OUR_COOKIE: Final = rf'[\s"]*{_OUR_NAME}[\s"]*(?:=[^;,]*)?(?=[;,]|$)'
_COOKIE_ROUNDS: Final = 4


def settings_lines() -> Iterator[str]:
    """Yield what the section "global" needs."""
    yield f"  tune.bufsize {_BUFFER_BYTES}"
    # One line more than is let in, so that a rule of ours can answer.
    yield f"  tune.http.maxhdr {2 * HEADERS_MAX}"
    yield f".if !{_DROPS_TRAILERS}"
    yield f"  lua-load-per-thread {TRAILERS_SCRIPT}"
    yield ".endif"


def defaults_lines() -> Iterator[str]:
    """Yield what the section "defaults" needs."""
    yield f".if {_DROPS_TRAILERS}"
    yield "  option http-drop-request-trailers"
    yield ".endif"


def backends(route: Route) -> tuple[str, str]:
    """Return the names of a route's backends: for most requests, and for streams."""
    return route.hostname, f"{route.hostname}{_STREAM}"


def hostname_of(backend: str) -> str:
    """Return the hostname that a backend belongs to."""
    return backend.removesuffix(_STREAM)


def stream_lines() -> Iterator[str]:
    """Yield what only the backend for streams has."""
    yield f".if !{_DROPS_TRAILERS}"
    yield "  filter lua.no_trailers"
    yield ".endif"


def frontend_rules(routes: Iterable[Route]) -> Iterator[str]:
    """Yield the rules that every request passes first, and the way to its backend."""
    yield from _size()
    # What it opens no rule sees. The CONNECT of a WebSocket over HTTP/2 (RFC 8441) is a
    # GET with "Upgrade" by now.
    yield f"{_answer(405)} hdr Allow GET if {{ method -m str -i connect }}"
    yield from _target()
    yield from _host()
    yield from _tunnel(routes)
    yield from _cookie()
    yield f"  http-request del-header {headers.pattern()} -m reg"
    yield "  http-request set-header X-Forwarded-For %[src]"
    yield "  http-request set-header X-Forwarded-Proto https"
    yield from _way()


def answer_rules() -> Iterator[str]:
    """Yield the rules that every answer of a service passes."""
    # A service that switches without being asked, or to something else, is not heard.
    yield (
        "  http-response deny deny_status 502 if { status 101 }"
        " !{ res.fhdr(upgrade),lower,strcmp(txn.upgrade) eq 0 }"
    )
    # What exactly runs at home is nobody's business.
    for name in ("Server", "X-Powered-By"):
        yield rf"  http-response replace-header {name} '^([^/\s(]*).*' '\1'"


def service_rules(route: Route) -> Iterator[str]:
    """Yield the last rules of a route, when it is decided that a request passes."""
    where = format_address(route.hostname, route.public_port)
    yield f"  http-request set-header Host {where}"
    yield f"  http-request set-header X-Forwarded-Host {where}"
    yield f"  http-request set-header X-Forwarded-Port {route.public_port}"


def _answer(status: int) -> str:
    return (
        f"  http-request return status {status} {HTML} {page_file(status)} {NO_STORE}"
    )


def _size() -> Iterator[str]:
    """Refuse what services would not take either. Cheap for what is small."""
    large = f"{{ internal.htx.data gt {HEAD_MAX_BYTES} }}"
    long = f"{{ url,length gt {_URL_IS_LONG_BYTES} }}"
    yield f"{_answer(414)} if {large} {long}"
    # Bodies count there as well, so look closer.
    yield f"{_answer(431)} if {large} {{ req.hdrs,length gt {HEAD_MAX_BYTES} }}"
    yield f"{_answer(431)} if {{ req.fhdr_cnt gt {HEADERS_MAX} }}"


def _target() -> Iterator[str]:
    """Let in what a browser asks for: a path, also behind https and an authority.

    HAProxy has compared that authority with the host by now (RFC 9112 §3.2.2).
    """
    path = "{ url_beg / }"
    absolute = "{ var(txn.absolute) -m bool }"
    yield (
        "  http-request set-var(txn.absolute) bool(true)"
        f" if !{path} {{ url -m reg -i '^https://[^/?#@]+([/?]|$)' }}"
    )
    yield (
        "  http-request set-var(txn.server) bool(true)"
        f" if !{path} !{absolute} METH_OPTIONS {{ url -m str * }}"
    )
    yield f"{_answer(400)} if !{path} !{absolute} !{{ var(txn.server) -m bool }}"
    # In HTTP/2 it is always absolute here, and HAProxy makes a path of it by itself.
    # "https://cottage.example.com" is valid and has none (RFC 9110 §4.2.3).
    yield f"  http-request set-uri / if {absolute} !{{ pathq -m found }}"
    yield f"  http-request set-uri %[pathq] if {absolute} !{{ fc_http_major 2 }}"


def _host() -> Iterator[str]:
    """Let in requests for the name of the connection.

    Browsers reuse a connection for other names of the same certificate (RFC 9113
    §9.1.1). The policy belongs to the authority of the request, so they must agree.
    """
    host = "req.fhdr(host),lower"
    bare = f"{host},regsub(:[0-9]*$,),regsub([.]$,)"
    # Most say nothing but the name, which is cheap to see.
    yield (
        f"{_answer(421)} if !{{ req.fhdr_cnt(host) eq 1 }}"
        f" || !{{ {host},strcmp(sess.name) eq 0 }} !{{ {bare},strcmp(sess.name) eq 0 }}"
    )


def _tunnel(routes: Iterable[Route]) -> Iterator[str]:
    """Offer one tunnel, and nothing that anybody asks for beside it.

    Inside of another one (h2c) a visitor could send whole requests past these rules.
    And "Connection: X-Forwarded-For" would have services that are proxies themselves
    drop what is set below (RFC 9110 §7.6.1).
    """
    asked = "{ req.fhdr(upgrade) -m found }"
    yield (
        "  http-request set-var(txn.upgrade) req.fhdr(upgrade),lower"
        " if { req.fhdr_cnt(upgrade) eq 1 } { req.hdr(connection) -m str -i upgrade }"
        " !{ req.fhdr(transfer-encoding) -m found }"  # a body comes first, and trailers
    )
    yield (
        "  http-request set-var(txn.tunnel) bool(true)"
        " if METH_GET { var(txn.upgrade) -m str websocket }"
    )
    for route in routes:
        if route.protocols:
            yield (
                "  http-request set-var(txn.tunnel) bool(true)"
                f" if {{ var(sess.name) -m str {route.hostname} }}"
                f" {{ var(txn.upgrade) -m str {' '.join(route.protocols)} }}"
            )
    # HTTP/2 knows no other reason for this header than CONNECT with a protocol.
    yield f"{_answer(400)} if {{ fc_http_major 2 }} {asked} !{_TUNNEL}"
    yield "  http-request del-header Upgrade"
    yield "  http-request del-header Connection"
    yield f"  http-request unset-var(txn.upgrade) if !{_TUNNEL}"
    yield f"  http-request set-header Upgrade %[var(txn.upgrade)] if {_TUNNEL}"
    yield f"  http-request set-header Connection Upgrade if {_TUNNEL}"


def _way() -> Iterator[str]:
    """Choose the backend: strict-sni let only our hostnames in, and each has two."""
    yield f".if !{_DROPS_TRAILERS}"
    whole = (
        "{ internal.htx.has_eom } !{ internal.htx_blk.type(tail) -m str HTX_BLK_EOT }"
    )
    # HAProxy sends no trailers where it sends a length.
    for known in ("{ req.fhdr(content-length) -m found }", _TUNNEL, whole):
        yield f"  use_backend %[var(sess.name)] if {known}"
    yield f"  use_backend %[var(sess.name)]{_STREAM}"
    yield ".else"
    yield "  use_backend %[var(sess.name)]"
    yield ".endif"


def _cookie() -> Iterator[str]:
    """Keep our cookie for the rules of access, and take it out, however it is spelled.

    One round takes one out of each Cookie line. What is left after the rounds came from
    nobody's browser, so everything goes.
    """
    ours = "{ var(txn.ours) -m bool }"
    look = (
        "  http-request set-var(txn.ours) bool(true)"
        f" if {{ req.fhdr(cookie) -m reg -i '(?:^|[;,]){_OUR_COOKIE}' }}"
    )
    yield look
    yield f"  http-request set-var({COOKIE_VARIABLE}) req.cook({COOKIE}) if {ours}"
    for _ in range(_COOKIE_ROUNDS):
        yield (
            "  http-request replace-header Cookie"
            rf" '(?i)^(|.*[;,]\s*){_OUR_COOKIE}[;,]?\s*(.*)$' '\1\2' if {ours}"
        )
    # What stood before it ends in a separator now.
    yield rf"  http-request replace-header Cookie '^(.*?)[;,\s]+$' '\1' if {ours}"
    yield f"  http-request unset-var(txn.ours) if {ours}"
    yield look
    yield (
        f"  http-request del-header Cookie if {ours} ||"
        " { req.fhdr_cnt(cookie) eq 1 } { req.fhdr(cookie) -m len 0 }"
    )
