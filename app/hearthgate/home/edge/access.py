"""Say in HAProxy's language who is let in to a hostname. Pure functions over values.

    cookie ─────────────────────────────────────────────────▶ in
    Basic, our name ─▶ remembered ──────────────────────────▶ in, with a cookie
                    └▶ passwords.lua ─▶ agent ─▶ right ─────▶ in, with a cookie
                                              ├▶ wrong ─────▶ 401
                                              ├▶ limited ───▶ 429
                                              └▶ no answer ─▶ 503
    anything else ──────────────────────────────────────────▶ 401, counted nowhere

HAProxy knows no hash and counts no guesses: the agent does both, so neither a change of
the edge nor its end forgets a guess. It remembers what was right as a keyed digest, for
the address from which it was right, and looks there only while every attempt from this
address at this hostname was right: the first one that is not found closes the memory,
before anybody is asked, until the agent has let somebody in again. So a memory tells a
guesser nothing that the agent did not count.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
import hmac
from typing import Final

from hearthgate.home.access.wish import PASSWORD_MAX
from hearthgate.home.edge.language import HTML, NO_STORE, escape, page_file
from hearthgate.home.edge.pages import UNCHECKED_FILE
from hearthgate.home.edge.requests import COOKIE, COOKIE_VARIABLE
from hearthgate.home.edge.routes import Route
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.model import Access

# What a generation's folder holds for this.
SCRIPT: Final = "passwords.lua"
SOCKET: Final = "passwords.sock"
KEY_VARIABLE: Final = "HEARTHGATE_MEMORY_KEY"  # base64, new for each process

PASSWORD_MAX_BYTES: Final = 4 * PASSWORD_MAX  # UTF-8

# Three tables, and with them all of the counters (sc0 to sc2) that HAProxy 2.6 has; but
# a request takes them only if it has a password that must be looked at.
_ASKS: Final = "password_asks"  # by address
_MEMORIES: Final = "password_memories"  # by hostname and address: 1 is open
_RIGHT: Final = "right_passwords"  # by hostname, address and password
_ASKS_PERIOD_S: Final = 10
_RETRY_S: Final = 5  # when the agent has no answer
_ADDRESS: Final = "src,ipmask(32,64)"


def settings_lines(routes: Iterable[Route]) -> Iterator[str]:
    """Yield what the section "global" needs."""
    if any(route.access is not None for route in routes):
        yield f"  lua-load {SCRIPT}"


def tables(routes: Iterable[Route], settings: EdgeSettings) -> Iterator[str]:
    """Yield the tables that all hostnames share."""
    if all(route.access is None for route in routes):
        return
    yield f"backend {_ASKS}"
    yield (
        "  stick-table type ipv6 size 20k"
        f" expire {2 * _ASKS_PERIOD_S}s store gpc0_rate({_ASKS_PERIOD_S}s)"
    )
    for table in (_MEMORIES, _RIGHT):
        yield f"backend {table}"
        yield (
            "  stick-table type binary len 32 size 20k"
            f" expire {settings.credential_s}s store gpt0"
        )


def rules(hostname: str, access: Access, settings: EdgeSettings) -> Iterator[str]:
    """Yield the rules of a backend, which let nobody else through."""
    yield from _attempt(hostname, access)
    yield from _remembered(hostname)
    yield from _asked(hostname, settings)
    yield from _kept_from_the_service(access)
    yield (
        f"  http-response add-header Set-Cookie {COOKIE}={_token(hostname, access)};"
        "\\ Path=/;\\ Secure;\\ HttpOnly;\\ SameSite=Lax"
        " if !{ var(txn.cookie) -m bool }"
    )


def _attempt(hostname: str, access: Access) -> Iterator[str]:
    """Let the cookie in, and tell an attempt from everything else.

    An attempt is one Authorization header, Basic, with our name. What is meant for the
    service itself (Bearer, Digest, other names) is none, and is no guess either. Of two
    headers nobody knows which one counts. From here on only what HAProxy read in it is
    used, so another spelling of the same is the same.
    """
    # Digests are compared: how long that takes tells nothing of the cookie.
    digest = sha256(_token(hostname, access).encode()).hexdigest()
    yield (
        "  http-request set-var(txn.cookie) bool(true)"
        f" if {{ var({COOKIE_VARIABLE}),sha2(256),hex -m str -i {digest} }}"
    )
    yield (
        f'  http-request set-var-fmt(txn.attempt) "{hostname} %[{_ADDRESS}]'
        ' %[http_auth_pass,sha2(256),hex]"'
        " if !{ var(txn.cookie) -m bool } { req.fhdr_cnt(authorization) eq 1 }"
        f" {{ http_auth_user -m str -- {escape(access.username)} }}"
        f" {{ http_auth_pass -m len 0:{PASSWORD_MAX_BYTES} }}"
    )
    yield (
        f"{_ask_for_password(hostname)}"
        " if !{ var(txn.cookie) -m bool } !{ var(txn.attempt) -m found }"
    )


_ATTEMPT: Final = "{ var(txn.attempt) -m found }"
_UNKNOWN: Final = f"{_ATTEMPT} !{{ var(txn.known) -m bool }}"
# A word in double quotes: this is where the environment has something to say.
_CREDENTIAL: Final = f'"var(txn.attempt),hmac(sha256,${{{KEY_VARIABLE}}})'


def _remembered(hostname: str) -> Iterator[str]:
    """Look into the memory of an address, which the first miss closes."""
    yield (
        f'  http-request set-var-fmt(txn.whence) "{hostname} %[{_ADDRESS}]"'
        f" if {_ATTEMPT}"
    )
    yield (
        f"  http-request track-sc1 var(txn.whence),sha2(256) table {_MEMORIES}"
        f" if {_ATTEMPT}"
    )
    yield (
        f'  http-request set-var(txn.known) {_CREDENTIAL},in_table({_RIGHT})"'
        f" if {_ATTEMPT} {{ sc1_get_gpt0({_MEMORIES}) eq 1 }}"
    )
    yield f"  http-request sc-set-gpt0(1) 0 if {_UNKNOWN}"


def _asked(hostname: str, settings: EdgeSettings) -> Iterator[str]:
    """Ask the agent, but not more often than it can bear from one address."""
    yield f"  http-request track-sc0 {_ADDRESS} table {_ASKS} if {_UNKNOWN}"
    yield (
        f"{_too_many(settings)} if {_UNKNOWN}"
        f" {{ sc0_gpc0_rate({_ASKS}) ge {settings.password_asks_max} }}"
    )
    yield f"  http-request sc-inc-gpc0(0) if {_UNKNOWN}"
    asks, wait_s = settings.password_asks_per_second, settings.password_wait_s
    yield f"  http-request lua.ask_agent {hostname} {asks} {wait_s} if {_UNKNOWN}"
    yield f"{_too_many(settings)} if {_UNKNOWN} {{ var(txn.verdict) -m str limited }}"
    yield (
        f"{_ask_for_password(hostname)}"
        f" if {_UNKNOWN} {{ var(txn.verdict) -m str wrong }}"
    )
    yield (
        f"  http-request return status 503 {HTML} {UNCHECKED_FILE} {NO_STORE}"
        f" hdr Retry-After {_RETRY_S}"
        f" if {_UNKNOWN} !{{ var(txn.verdict) -m str right }}"
    )
    yield f"  http-request sc-set-gpt0(1) 1 if {_UNKNOWN}"
    yield f'  http-request track-sc2 {_CREDENTIAL}" table {_RIGHT} if {_UNKNOWN}'


def _ask_for_password(hostname: str) -> str:
    return (
        f"  http-request return status 401 {HTML} {page_file(401)} {NO_STORE}"
        f' hdr WWW-Authenticate "Basic realm=\\"{hostname}\\", charset=\\"UTF-8\\""'
    )


def _too_many(settings: EdgeSettings) -> str:
    return (
        f"  http-request return status 429 {HTML} {page_file(429)} {NO_STORE}"
        f" hdr Retry-After {settings.wrong_passwords_s}"
    )


def _kept_from_the_service(access: Access) -> Iterator[str]:
    """Remove what was meant for the edge.

    That is the password, which browsers go on sending, even a mistyped one. The cookie
    is gone by now (requests.py). Whoever has it may use the Authorization header for
    the service, as Home Assistant's page does, and WebSockets come in from browsers
    that send them no password (Safari).
    """
    is_basic = (
        "{ req.fhdr(authorization) -m reg -i '(^|,)[[:space:]]*basic([^a-z0-9]|$)' }"
    )
    for ours in (
        f"{{ http_auth_user -m str -- {escape(access.username)} }}",
        "{ req.fhdr_cnt(authorization) gt 1 }",  # which of them was not looked at
        # HAProxy cannot read it (no padding, a tab), but a service perhaps can.
        f"{is_basic} !{{ http_auth_user -m found }}",
    ):
        yield f"  http-request del-header Authorization if {ours}"


def _token(hostname: str, access: Access) -> str:
    """Return what the cookie says: nobody can guess the hash with its salt.

    Made of the policy alone, it holds over every change of the edge, and ends with the
    password.
    """
    policy = f"cookie of {hostname} for {access.username}"
    return hmac.digest(access.password_hash.encode(), policy.encode(), "sha256").hex()
